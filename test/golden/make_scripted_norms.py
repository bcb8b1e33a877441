"""The network of make_scripted.py with norms that see one image at a time, and ten training steps of it in plain PyTorch.

GroupNorm stands in the place of BatchNorm2d, LayerNorm in that of BatchNorm1d: several processes then make what one makes.
Run: python3 test/golden/make_scripted_norms.py   (PyTorch 2.13, CPU; rewrites scripted_norms.pt and scripted_norms.json beside this file)
"""

import json
import math
from pathlib import Path

import torch
from make_scripted import GeluNet, run
from make_ten_steps import D, noise
from torch import nn


def network():
    net = GeluNet()
    for stage in (net.stage1, net.stage2, net.stage3):
        stage.bn1 = nn.GroupNorm(4, stage.bn1.num_features)
        stage.bn2 = nn.GroupNorm(4, stage.bn2.num_features)
    net.bn = nn.LayerNorm(D)
    with torch.no_grad():
        for entry, value in enumerate(net.parameters()):
            if value.dim() >= 2:
                fan_in = math.prod(value.shape[1:])
                value.copy_(noise(value.shape, 9000 + entry, math.sqrt(12 / fan_in)))
        net.fc.bias.zero_()
    return net


def main():
    torch.set_num_threads(1)
    here = Path(__file__).parent
    torch.jit.script(network()).save(str(here / "scripted_norms.pt"))
    result = {
        "torch": torch.__version__,
        "names": list(network().state_dict()),
        "cases": [run([], network)],
    }
    (here / "scripted_norms.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
