"""Checkpoints as PyTorch writes them, with the embeddings their networks give: for the tests of src/torch/pytorch.ts and src/runs/import-model.ts.

The networks are written from methods.md alone (sections 3.1, 3.3, 3.4; state names as listed there), the weights and the input are its formulas (8.13).
Run: python3 test/golden/make_state_dicts.py                  (PyTorch 2.13, CPU; rewrites state_dicts/ and state_dicts.json beside this file)
     python3 test/golden/make_state_dicts.py --full FOLDER    (the networks at full size, D = 8, into FOLDER)
"""

import json
import math
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

# ---------------------------------------------------------------------------------------------------------------- iresnet (3.1)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (self.downsample(x) if hasattr(self, "downsample") else x)


class Iresnet(nn.Module):
    def __init__(self, blocks, dim, side, width):
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

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


# ----------------------------------------------------------------------------------------------------------- MobileFaceNet (3.3)


class Layers(nn.Module):
    """Its parts stand under the name `layers`, one after the other."""

    def __init__(self, *parts):
        super().__init__()
        self.layers = nn.Sequential(*parts)

    def forward(self, x):
        return self.layers(x)


def linear_block(inputs, outputs, kernel, stride=1, padding=0, groups=1):
    return Layers(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs))


def conv_block(inputs, outputs, kernel, stride=1, padding=0, groups=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return Layers(conv, nn.BatchNorm2d(outputs), nn.PReLU(outputs))


class DepthWise(Layers):
    def __init__(self, inputs, outputs, inner, stride=2, residual=False):
        super().__init__(
            conv_block(inputs, inner, 1),
            conv_block(inner, inner, 3, stride, 1, groups=inner),
            linear_block(inner, outputs, 1),
        )
        self.residual = residual

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.residual else y


def residual(channels, count, inner):
    return Layers(*(DepthWise(channels, channels, inner, 1, True) for _ in range(count)))


class MobileFaceNet(nn.Module):
    def __init__(self, blocks, scale, dim, side, width):
        super().__init__()
        c = max(1, round(64 * width))
        n, w = c * scale, 2 * c * scale
        second = conv_block(n, n, 3, 1, 1, groups=c) if blocks[0] == 1 else residual(n, blocks[0], 2 * c)
        self.layers = nn.Sequential(
            conv_block(3, n, 3, 2, 1),
            second,
            DepthWise(n, n, 2 * c),
            residual(n, blocks[1], 2 * c),
            DepthWise(n, w, 4 * c),
            residual(w, blocks[2], 4 * c),
            DepthWise(w, w, 8 * c),
            residual(w, blocks[3], 4 * c),
        )
        self.conv_sep = conv_block(w, 8 * c, 1)
        self.features = Layers(
            linear_block(8 * c, 8 * c, side // 16, groups=8 * c),
            nn.Flatten(),
            nn.Linear(8 * c, dim, bias=False),
            nn.BatchNorm1d(dim),
        )

    def forward(self, x):
        return self.features(self.conv_sep(self.layers(x)))


# --------------------------------------------------------------------------------------------------------------------- ViT (3.4)

HEADS, PATCH = 8, 9


class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.qkv = nn.Linear(size, 3 * size, bias=False)
        self.proj = nn.Linear(size, size)

    def forward(self, x):
        batch, tokens, size = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, HEADS, size // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (size // HEADS) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, size))


class Mlp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fc1 = nn.Linear(size, 4 * size)
        self.fc2 = nn.Linear(4 * size, size)

    def forward(self, x):
        return self.fc2(F.relu6(self.fc1(x)))


class VitBlock(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm1 = nn.LayerNorm(size)
        self.norm2 = nn.LayerNorm(size)  # before the attention in the state, after it in the network
        self.attn = Attention(size)
        self.mlp = Mlp(size)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.proj = nn.Conv2d(3, size, PATCH, PATCH)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Vit(nn.Module):
    def __init__(self, full_size, depth, dim, side, width):
        super().__init__()
        size, tokens = max(8, round(full_size * width / 8) * 8), (side // PATCH) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size))
        self.patch_embed = PatchEmbed(size)
        self.blocks = nn.ModuleList(VitBlock(size) for _ in range(depth))
        self.norm = nn.LayerNorm(size)
        self.feature = nn.Sequential(
            nn.Linear(tokens * size, size, bias=False),
            nn.BatchNorm1d(size, eps=2e-5),
            nn.Linear(size, dim, bias=False),
            nn.BatchNorm1d(dim, eps=2e-5),
        )

    def forward(self, x):
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.feature(self.norm(x).flatten(1))


# ------------------------------------------------------------------------------------------------------------ weights and numbers

NETWORKS = {
    "r18": lambda *size: Iresnet((2, 2, 2, 2), *size),
    "r50": lambda *size: Iresnet((3, 4, 14, 3), *size),
    "mbf": lambda *size: MobileFaceNet((1, 4, 6, 2), 2, *size),
    "vit_t": lambda *size: Vit(256, 12, *size),
}


def wave(shape, a, b):
    count = math.prod(shape)
    return torch.sin(a + b * torch.arange(count, dtype=torch.float64)).reshape(shape)


def fill_state(net):
    """The weight rule of 8.13; returns how many entries it went through."""
    kinds = {path: type(module) for path, module in net.named_modules()}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
    entries = 0
    for path, value in net.state_dict().items():
        module, name = path.rpartition(".")[::2]
        if name == "num_batches_tracked":
            continue
        e, slow = entries, wave(value.shape, entries, 0.5)
        if name == "running_var":
            value.copy_(1 + 0.1 * slow)
        elif name == "running_mean":
            value.copy_(0.05 * slow)
        elif issubclass(kinds[module], norms):
            value.copy_(1 + 0.1 * slow if name == "weight" else 0.05 * slow)
        elif kinds[module] is nn.PReLU:
            value.copy_(0.25 + 0.05 * slow)
        elif name in ("pos_embed", "mask_token"):
            value.copy_(0.02 * slow)
        elif value.dim() >= 2:
            value.copy_(math.sqrt(2 / math.prod(value.shape[1:])) * wave(value.shape, e, 0.37))
        else:
            value.copy_(0.05 * slow)
        entries += 1
    return entries


def build(name, dim, side, width=1.0, dtype=None):
    """A network by the weight rule, and the embeddings of fill((2,3,side,side), 0, 0.01); `dtype` rounds its state first."""
    net = NETWORKS[name](dim, side, width).eval()
    entries = fill_state(net)
    if dtype:
        net.to(dtype).float()
    with torch.no_grad():
        embeddings = net(wave((2, 3, side, side), 0, 0.01).float())
    numbers = {"network": name, "embeddingDim": dim, "side": side, "width": width}
    return net, {**numbers, "entries": entries, "embeddings": embeddings.tolist()}


def make_full(folder):
    numbers = []
    for name in NETWORKS:
        net, about = build(name, 8, 112)
        torch.save(net.state_dict(), folder / f"{name}.pt")
        numbers.append({"file": f"{name}.pt", **about})
        print(name, about["entries"], about["embeddings"][0])
    (folder / "embeddings.json").write_text(json.dumps(numbers, indent=1) + "\n")


# ------------------------------------------------------------------------------------------------------------------ small fixtures

DIM, SIDE, CLASSES = 8, 32, 5


def make_small(folder):
    """Each network small, each saved another way that reference checkpoints are saved."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    numbers = []

    def keep(name, width, dress, left_out=(), dtype=None):
        net, about = build(name, DIM, SIDE, width, dtype)
        torch.save(dress(net.state_dict()), folder / f"{name}.pt")
        numbers.append({"file": f"{name}.pt", **about, "leftOut": list(left_out)})

    # *_softmax and *_bct: a classifier and old prototypes beside the backbone (3.2)
    classifier = {"cls_fc.weight": torch.randn(CLASSES, DIM), "cls_fc.bias": torch.zeros(CLASSES)}
    prototypes = {"BCT_FC.weight": torch.randn(DIM, CLASSES)}
    extra = {**classifier, **prototypes}
    keep("r18", 1 / 16, lambda state: OrderedDict(state, **extra), extra)

    # half precision
    halved = lambda state: OrderedDict((k, v.half() if v.is_floating_point() else v) for k, v in state.items())
    keep("r50", 1 / 32, halved, dtype=torch.float16)

    # *_advBCT, saved from the wrapper of data-parallel training
    adversary = nn.Sequential(OrderedDict(d_fc1=nn.Linear(DIM, 100), d_bn1=nn.BatchNorm1d(100), d_fc2=nn.Linear(100, 2)))
    extra = {f"discriminator.{k}": v for k, v in adversary.state_dict().items()}
    extra["eboundary.weight"] = torch.ones(CLASSES)
    keep("mbf", 1 / 32, lambda state: {f"module.{k}": v for k, v in {**state, **extra}.items()}, extra)

    # save_all_states (2.10): the state is one entry of several
    def checkpoint(state):
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        return {
            "epoch": 3,
            "global_step": 70,
            "state_dict_backbone": state,
            "state_dict_softmax_fc": {"weight": torch.randn(CLASSES, DIM)},
            "state_optimizer": optimizer.state_dict(),
            "state_lr_scheduler": schedule.state_dict(),
        }

    keep("vit_t", 1 / 16, checkpoint)
    return numbers


def make_tensors(folder):
    """Every kind of storage, and views that are not laid out in order: the file, and the elements as numbers."""
    base = wave((4, 6), 0.1, 0.3)
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    state = {kind: (base * 9).to(getattr(torch, kind)) for kind in kinds}
    state["transposed"] = base.float().t()
    state["column"] = base.float()[:, 2]
    state["block"] = base.float()[1:3, 1:6:2]
    state["expanded"] = base.float()[:1].expand(3, 6)
    state["channelsLast"] = wave((2, 3, 2, 2), 0, 1).float().to(memory_format=torch.channels_last)
    shared = torch.arange(10, dtype=torch.int64)
    state["head"], state["tail"], state["whole"] = shared[:4], shared[6:], shared
    state["parameter"] = nn.Parameter(base.float()[0])
    state["scalar"] = torch.tensor(7)
    state["empty"] = torch.zeros(0, 3)
    torch.save(state, folder / "tensors.pt")
    return {k: {"shape": list(v.shape), "numbers": v.double().flatten().tolist()} for k, v in state.items()}


def make_refused(folder):
    """Files of PyTorch that hold no state on their own."""
    torch.save({"weight": torch.ones(2)}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(nn.Linear(2, 2), folder / "module.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(folder / "script.pt"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--full"]:
        make_full(Path(sys.argv[2]))
    else:
        here = Path(__file__).with_name("state_dicts")
        result = {"networks": make_small(here), "tensors": make_tensors(here)}
        make_refused(here)
        here.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
