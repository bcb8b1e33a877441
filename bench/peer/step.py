"""A training step in PyTorch, for `npm run bench -- step` and `binding`: the same network, head, batch and update as ours.

Usage: step.py MODE WORKLOAD, where MODE is
  stock      eager PyTorch as its tutorials write it
  tuned      channels-last weights and images, fused SGD (and an allocator that bench/step.ts preloads)
  compiled   torch.compile of forward and loss, channels-last
  same-ops   the operators of our trainer one by one, in our layout: what is left to differ is the language
and WORKLOAD the JSON of bench/workload.ts. Warms up, prints its losses, then answers `run N` on standard input.
"""

import ctypes
import json
import math
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LR, MOMENTUM, DECAY, CLIP = 0.01, 0.9, 5e-4, 5.0
MARGIN, SCALE = 0.5, 64.0
LIMIT = -math.log(1e-30)  # of an image's loss as our trainer tells it; its gradient has none
MODES = ["stock", "tuned", "compiled", "same-ops"]


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


BLOCKS = {"r18": (2, 2, 2, 2), "r50": (3, 4, 14, 3)}
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Iresnet(nn.Module):
    def __init__(self, blocks, width, side, dim):
        super().__init__()
        channels = [max(1, round(full * width)) for full in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.prelu = nn.PReLU(channels[0])
        before = channels[0]
        for stage, (count, after) in enumerate(zip(blocks, channels), 1):
            rest = [Block(after, after, 1) for _ in range(count - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(Block(before, after, 2), *rest))
            before = after
        self.bn2 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before * (side // 16) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)
        self.features.weight.requires_grad = False

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


def arcface(embeddings, centres, labels):
    """ArcFace as its authors publish it: the target's cosine is turned by the margin, then scaled cross-entropy. [B]"""
    cos = F.linear(F.normalize(embeddings), F.normalize(centres)).clamp(-1, 1)
    rows = torch.arange(len(labels), device=labels.device)
    target = cos[rows, labels]
    sine = torch.sqrt((1 - target.square()).clamp(min=1e-12))
    inside = target * math.cos(MARGIN) - sine * math.sin(MARGIN)
    beyond = target - math.sin(math.pi - MARGIN) * MARGIN
    logits = cos.clone()
    logits[rows, labels] = torch.where(target > math.cos(math.pi - MARGIN), inside, beyond)
    return F.cross_entropy(SCALE * logits, labels, reduction="none")


def our_normalize(x):
    return x / torch.linalg.vector_norm(x, 2, [-1], True).clamp(1e-12)


def our_arcface(embeddings, centres, labels):
    """The operators of src/heads/margin.ts and head.ts, in their order."""
    cos = F.linear(our_normalize(embeddings), our_normalize(centres)).clamp(-1, 1)
    column = labels.unsqueeze(1)
    index = column.clamp(0)
    target = cos.gather(1, index)
    sine = (target.square() * -1 - -1).clamp(1e-12).sqrt()
    inside = target * math.cos(MARGIN) - sine * math.sin(MARGIN)
    beyond = target - math.sin(math.pi - MARGIN) * MARGIN
    turned = torch.where(target > math.cos(math.pi - MARGIN), inside, beyond)
    logits = cos.scatter(1, index, torch.where(column > -1, turned, target)) * SCALE
    each = -logits.log_softmax(-1).gather(1, labels.unsqueeze(1))
    limited = each.clamp(max=LIMIT)
    return (each + (limited - each).detach()).mean()


class OurConv(nn.Conv2d):
    """Our addon's operator, from the addon itself: its symbols of Node are looked up only when they are called."""

    def forward(self, x):
        return torch.ops.mixbct.conv3x3(x, self.weight)


class OurNorm(nn.BatchNorm2d):
    """Batch norm with the PReLU behind it, of which it has taken the slope."""

    def forward(self, x):
        self.num_batches_tracked.add_(1)
        state = (self.weight, self.bias, self.slope, self.running_mean, self.running_var)
        return torch.ops.mixbct.batch_norm(x, *state, True, self.momentum, self.eps)


def use_our_operators(net):
    ctypes.CDLL(os.environ["MIXBCT_ADDON"], mode=os.RTLD_LAZY | os.RTLD_GLOBAL)
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.stride == (1, 1):
            module.__class__ = OurConv
        if isinstance(module, (Block, Iresnet)):
            norm = module.bn2 if isinstance(module, Block) else module.bn1
            norm.__class__ = OurNorm
            norm.slope = module.prelu.weight
            module.prelu = nn.Identity()


class OurSgd:
    """The operators of src/optim/clip.ts and sgd.ts, in their order."""

    def __init__(self, clipped, parameters):
        self.clipped, self.parameters = clipped, parameters
        self.velocities = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self):
        grads = [p.grad for p in self.clipped]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2)), 2).item()
        factor = CLIP / (norm + 1e-6)
        if factor < 1:
            torch._foreach_mul_(grads, factor)
        grads = [p.grad for p in self.parameters]
        torch._foreach_add_(grads, self.parameters, alpha=DECAY)
        torch._foreach_mul_(self.velocities, MOMENTUM)
        torch._foreach_add_(self.velocities, grads)
        torch._foreach_add_(self.parameters, self.velocities, alpha=-LR)
        for p in self.parameters:
            p.grad = None


def normal(shape, seed, std):
    return torch.empty(shape).normal_(0, std, generator=torch.Generator().manual_seed(seed))


def draw_weights(net):
    """The weights of bench/ours/training.ts, drawn from the same generators."""
    with torch.no_grad():
        for entry, value in enumerate(net.state_dict().values()):
            if value.dim() >= 2:
                value.copy_(normal(value.shape, 100 + entry, 1 / math.sqrt(math.prod(value.shape[1:]))))
        net.fc.bias.zero_()


def make_step(mode, width, side, batch, dim, classes, network="r18", precision="float32", device="cpu"):
    net = Iresnet(BLOCKS[network], width, side, dim).train()
    draw_weights(net)
    net.to(device)
    centres = nn.Parameter(normal((classes, dim), 99, 1).to(device))
    pixels = torch.empty(batch * side * side * 3).uniform_(0, 256, generator=torch.Generator().manual_seed(1))
    pixels = pixels.to(torch.uint8).reshape(batch, side, side, 3)
    labels = torch.tensor([31 * i % classes for i in range(batch)]).to(device)

    def images_of_bytes():
        return pixels.permute(0, 3, 1, 2).to(torch.float32).div(127.5).add(-1)

    # A data loader would hand the other modes floats in the layout they want: the conversion is not part of their step.
    images = images_of_bytes().to(device).contiguous()
    if mode in ("tuned", "compiled"):
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    clipped = [p for p in net.parameters() if p.requires_grad]
    if mode == "same-ops":
        use_our_operators(net)
        sgd = OurSgd(clipped, [*clipped, centres])

        def step():
            loss = our_arcface(net(images_of_bytes()), centres, labels)
            loss.backward()
            sgd.step()
            return loss.item()

        return step

    def forward(images, labels):
        with torch.autocast(device, HALF.get(precision), enabled=precision != "float32"):
            embeddings = net(images)
        return arcface(embeddings.float(), centres, labels)

    loss_of = torch.compile(forward) if mode == "compiled" else forward
    fused = {"fused": True} if mode == "tuned" or device != "cpu" else {}
    sgd = torch.optim.SGD([*clipped, centres], lr=LR, momentum=MOMENTUM, weight_decay=DECAY, **fused)

    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")

    def step():
        sgd.zero_grad()
        losses = loss_of(images, labels)
        scaler.scale(losses.mean()).backward()
        scaler.unscale_(sgd)
        nn.utils.clip_grad_norm_(clipped, CLIP)
        scaler.step(sgd)
        scaler.update()
        return losses.detach().clamp(max=LIMIT).mean().item()

    return step


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    mode, workload = sys.argv[1], json.loads(sys.argv[2])
    assert mode in MODES, f"unknown mode {mode}"
    torch.set_num_threads(workload.pop("threads"))
    warmup = workload.pop("warmup")
    step = make_step(mode, **workload)
    losses = [step() for _ in range(warmup)]
    say({"torch": torch.__version__, "threads": torch.get_num_threads(), "losses": losses})
    for line in sys.stdin:
        steps = int(line.split()[1])
        start = time.perf_counter()
        for _ in range(steps):
            step()
        say({"seconds": time.perf_counter() - start})


main()
