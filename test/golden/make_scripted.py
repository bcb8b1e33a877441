"""A small ResNet with GELU as a TorchScript file, and ten training steps of it in plain PyTorch, for src/models/scripted.test.ts.

Batches, losses and the optimiser are those of make_ten_steps.py; the steps are of MixBCT with ArcFace.
Run: python3 test/golden/make_scripted.py   (PyTorch 2.13, CPU; rewrites scripted.pt and scripted.json beside this file)
"""

import json
import math
from pathlib import Path

import torch
from make_ten_steps import BASE_LR, CLIP, D, DECAY, MOMENTUM, STEPS, C, arcface, batch, noise
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        # no strided 1x1 convolution: oneDNN's own writes past its memory with so few channels (docs/backbones.md)
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))
        self.act = nn.GELU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(y + self.skip(x))


class GeluNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stemConv = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.stage1 = Block(8, 8)
        self.stage2 = Block(8, 16)
        self.stage3 = Block(16, 24)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.0)
        self.fc = nn.Linear(24, D)
        self.bn = nn.BatchNorm1d(D)

    def forward(self, x):
        x = self.stage3(self.stage2(self.stage1(self.stemConv(x))))
        return self.bn(self.fc(self.drop(torch.flatten(self.pool(x), 1))))


def network():
    net = GeluNet()
    with torch.no_grad():
        for entry, value in enumerate(net.parameters()):
            if value.dim() >= 2:
                fan_in = math.prod(value.shape[1:])
                value.copy_(noise(value.shape, 9000 + entry, math.sqrt(12 / fan_in)))
        net.fc.bias.zero_()
    return net


def run(frozen, network=network):
    net = network()
    net.train()
    for name in frozen:
        part = net.get_submodule(name)
        part.eval()
        part.requires_grad_(False)
    weight = nn.Parameter(noise((C, D), 4000, 0.5).float())
    parameters = [p for p in net.parameters() if p.requires_grad]
    opt = torch.optim.SGD([*parameters, weight], lr=BASE_LR, momentum=MOMENTUM, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        images, labels, old, rows = batch(step)
        for group in opt.param_groups:
            group["lr"] = BASE_LR * (1 - step / STEPS) ** 2
        mixed = net(images.contiguous(memory_format=torch.channels_last)).clone()
        mixed[rows] = old[rows]
        loss = arcface(mixed, weight, labels)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        opt.step()
        losses.append(loss.item())
    state = net.state_dict()
    net.eval()
    images, *_ = batch(0)
    norm = "stage1.bn1.running_mean" if "stage1.bn1.running_mean" in state else "stage1.bn1.weight"
    return {
        "frozen": frozen,
        "losses": losses,
        "norm": {"name": norm, "numbers": state[norm][:8].tolist()},
        "fc": state["fc.weight"].flatten()[:8].tolist(),
        "embedding": net(images)[0].tolist(),
    }


def main():
    torch.set_num_threads(1)
    here = Path(__file__).parent
    torch.jit.script(network()).save(str(here / "scripted.pt"))
    result = {
        "torch": torch.__version__,
        "names": list(network().state_dict()),
        "cases": [run([]), run(["stage1", "stage2.bn1"])],
    }
    (here / "scripted.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
