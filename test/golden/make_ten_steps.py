"""Ten training steps of a small iresnet18 in plain PyTorch, as numbers for src/train/ten-steps.test.ts.

Written from methods.md alone (sections 2.3-2.7, 3.1, 4.5, 5.1-5.6; the repairs of D-04, D-06 and D-28 where it says so). All inputs are formulas, so that both sides make their own.
Run: python3 test/golden/make_ten_steps.py [NAME ...]   (PyTorch 2.13, CPU; rewrites the files ten_steps*.json beside this file, or those named; ten_steps_field.json from the formulas of docs/methods.md)
"""

import json
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

B, C, D, SIDE, STEPS = 16, 10, 16, 32, 10
P = 12  # dimension of the old embeddings where there is a projection
CHANNELS = [8, 16, 32, 64]
BASE_LR, MOMENTUM, DECAY, CLIP = 0.02, 0.9, 5e-4, 5.0
TEMPERATURE = 0.5  # at 0.05 ten steps amplify the last bits of float32


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


class Iresnet18(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        self.prelu = nn.PReLU(CHANNELS[0])
        before = CHANNELS[0]
        for stage, channels in enumerate(CHANNELS, 1):
            setattr(self, f"layer{stage}", nn.Sequential(Block(before, channels, 2), Block(channels, channels, 1)))
            before = channels
        self.bn2 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before * (SIDE // 16) ** 2, D)
        self.features = nn.BatchNorm1d(D)
        self.features.weight.requires_grad = False

    def forward(self, x):
        with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):  # the trunk alone (2.7)
            x = self.prelu(self.bn1(self.conv1(x)))
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
            x = torch.flatten(self.bn2(x), 1)
        return self.features(self.fc(x.float()))


def noise(shape, stream, scale):
    """Uniform in ± scale / 2, the same on every machine: the fraction of a large multiple of a sine."""
    count = math.prod(shape)
    values = [math.sin(12.9898 * (k + 1) + 78.233 * stream) * 43758.5453 for k in range(count)]
    return torch.tensor([scale * (v - math.floor(v) - 0.5) for v in values], dtype=torch.float64).reshape(shape)


def set_weights(net):
    """Weights of two or more dimensions are noise of standard deviation 1/sqrt(fan in); the others keep PyTorch's defaults."""
    for entry, (name, value) in enumerate(net.state_dict().items()):
        if value.dim() >= 2:
            value.copy_(noise(value.shape, entry, math.sqrt(12 / math.prod(value.shape[1:]))))
    net.fc.bias.data.zero_()


def batch(step, old_dim):
    labels = [(step * 7 + 3 * i) % C for i in range(B)]
    size = SIDE * SIDE * 3
    pattern = torch.stack([noise((size,), 1000 + label, 100) for label in labels])  # what a class looks like
    grain = torch.stack([noise((size,), 2000 + B * step + i, 100) for i in range(B)])
    pixels = torch.floor(127.5 + pattern + grain).to(torch.uint8)
    images = pixels.reshape(B, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    images = images.float().div(127.5).sub(1)
    old = F.normalize(noise((B, old_dim), 3000 + step, 1).float())
    rows = [(3 * step + 5 * k) % B for k in range(math.floor(B * 0.3))]
    return images, torch.tensor(labels), old, rows


LEAST = -math.log(1e-30)


def saturated(logits, labels):
    """Cross-entropy whose reported value stops at -ln 1e-30 for each sample while its gradient does not (2.9)."""
    each = F.cross_entropy(logits, labels, reduction="none")
    return (each + (each.clamp(max=LEAST) - each).detach()).mean()


def arcface(embeddings, weight, labels, m=0.5, s=64.0):
    cos = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    target = cos.gather(1, labels[:, None])
    sine = (1 - target.square()).clamp(min=1e-12).sqrt()
    inside = target * math.cos(m) - sine * math.sin(m)
    beyond = target - math.sin(math.pi - m) * m
    target = torch.where(target > math.cos(math.pi - m), inside, beyond)
    return saturated(s * cos.scatter(1, labels[:, None], target), labels)


def cosface(embeddings, weight, labels, m=0.4, s=64.0):
    cos = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    shift = torch.zeros_like(cos).scatter(1, labels[:, None], m)
    return saturated(s * (cos - shift), labels)


def prototypes(dim=D):
    return F.normalize(noise((C, dim), 5003, 1).float())


def influence(embeddings, rows, labels, scale, margin=0):
    cos = F.linear(F.normalize(embeddings), rows)
    return F.cross_entropy(scale * (cos - margin * F.one_hot(labels, C)), labels)


def refined(step):
    """UniBCT's prototypes with rows of the graph normalised (D-04), from 6 samples of each class, before `step`."""
    rows = []
    for label in range(C):
        old = noise((6, D), 6000 + label, 1).float().double()
        new = F.normalize(noise((6, D), 7000 + 100 * step + label, 1).float().double())
        graph = new @ new.T / 0.05
        graph.fill_diagonal_(-1e9)
        spread = 0.1 * torch.linalg.inv(torch.eye(6, dtype=torch.float64) - 0.9 * torch.softmax(graph, 1))
        rows.append(F.normalize((spread @ old).mean(0, keepdim=True)))
    return torch.cat(rows).float()


class Queue:
    """NCCL's memory of the last 24 old embeddings; one row at a time."""

    def __init__(self, dim):
        self.rows, self.labels, self.at = torch.zeros(24, dim), torch.full((24,), -1), 0

    def push(self, rows, labels):
        for row, label in zip(rows, labels):
            self.rows[self.at], self.labels[self.at] = row, label
            self.at = (self.at + 1) % 24

    def contrast(self, similarity, old, labels):
        weights = (old @ self.rows.T + 1) / 2
        chosen = labels[:, None] == self.labels[None, :]
        terms = (chosen * weights * torch.log_softmax(similarity, 1)).sum(1) / chosen.sum(1)
        return -terms.mean()


class Pairs:
    """The queue of NCCL as a gallery, and the decision by the old model's impostor pairs among 6 samples of each class."""

    def __init__(self, dim, far=0.1, sharpness=4):
        self.queue, self.far = Queue(dim), far
        olds = F.normalize(torch.cat([noise((6, dim), 6000 + label, 1).float() for label in range(C)]))
        labels = torch.arange(C).repeat_interleave(6)
        first, second = torch.tril_indices(len(olds), len(olds), -1)
        impostors = (olds @ olds.T)[first, second][labels[first] != labels[second]]
        self.threshold = impostors.sort(descending=True).values[math.ceil(far * len(impostors)) - 1]
        self.factor = sharpness / (self.threshold - impostors.mean())

    def loss(self, unit, old, labels):
        self.queue.push(old, labels)
        z = (unit @ self.queue.rows.T - self.threshold) * self.factor
        accept = reject = 0
        for row, label in zip(z, labels):
            genuine, filled = self.queue.labels == label, self.queue.labels >= 0
            impostor = filled & ~genuine
            accept = accept - F.logsigmoid(row[genuine]).mean()
            if impostor.any():
                reject = reject - F.logsigmoid(-row[impostor]).mean()
        return (accept + reject / self.far) / len(labels)


def perturbed(old, sums, neighbours=4, strength=2):
    """NDPP by the rule of docs/methods.md, class by class."""
    news, rows = F.normalize(sums), []
    for c in range(C):
        others = [j for j in range(C) if j != c]
        nearest = sorted(others, key=lambda j: -float(old[c] @ old[j]))[:neighbours]
        moved = old[c]
        for j in nearest:
            gained = float(old[c] @ old[j] - news[c] @ news[j])
            if gained > 0 and news[c].any() and news[j].any():
                moved = moved + strength * gained * (old[c] - old[j])
        rows.append(F.normalize(moved, dim=0))
    return torch.stack(rows)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def centres_and_radii(dim):
    """What AdvBCT and LCE have of the old classes; class 9 has one kept distance."""
    several = torch.tensor([0.0 if label == 9 else 1.0 for label in range(C)])
    return 0.8 * prototypes(dim), torch.tensor([0.2 + 0.06 * label for label in range(C)]), several


def rotated(angles, dim):
    """The first `dim` rows of Cayley's rotation."""
    skew, identity = angles - angles.T, torch.eye(D)
    return ((identity - skew) @ torch.linalg.inv(identity + skew))[:dim]


def class_alignment(weight, embeddings, labels, projection, back):
    """LCE: both directions of the transform, and the boundary's missing cosine."""
    centres, radii, several = centres_and_radii(D if projection is None else P)
    news, olds = F.normalize(weight), F.normalize(centres)
    if projection is None:
        align, shared = (news - olds).square().sum(1).mean(), embeddings
    else:
        there = (F.normalize(news @ projection.T) - olds).square().sum(1).mean()
        align = (there + (F.normalize(olds @ back.T) - news).square().sum(1).mean()) / 2
        shared = embeddings @ projection.T
    length = centres.norm(dim=1)
    boundary = (1 + length.square() - radii.square()) / (2 * length)
    cosines = F.cosine_similarity(shared, centres[labels])
    missing = several[labels] * (boundary[labels] - cosines).clamp(min=0)
    return align + missing.mean()


def regression_alleviating(embeddings, old, labels, temperature):
    """RACT, sample by sample."""
    unit = F.normalize(embeddings)
    losses = []
    for row in range(B):
        others = labels != labels[row]
        cosines = torch.cat([(unit[row] @ old[row])[None], old[others] @ unit[row], unit[others] @ unit[row]])
        losses.append(-torch.log_softmax(cosines / temperature, 0)[0])
    return torch.stack(losses).mean()


def simplex():
    """D unit axes and one more point, less their mean, to length 1."""
    points = torch.cat([torch.eye(D), torch.full((1, D), (1 - math.sqrt(D + 1)) / D)])
    return F.normalize(points - points.mean(0))


def higher_order(embeddings, old, labels, scale):
    """HOC, sample by sample: the old embedding against new ones of other classes."""
    unit = F.normalize(embeddings)
    losses = []
    for row in range(B):
        others = labels != labels[row]
        negatives = torch.logsumexp(scale * unit[others] @ old[row], 0)
        losses.append(negatives - scale * unit[row] @ old[row])
    return torch.stack(losses).mean()


class Adversary(nn.Module):
    def __init__(self):
        super().__init__()
        self.d_fc1, self.d_bn1, self.d_fc2 = nn.Linear(D, 100), nn.BatchNorm1d(100), nn.Linear(100, 2)
        self.eboundary = nn.Parameter(noise((C,), 8004, 2).float())
        for stream, value in enumerate((self.d_fc1.weight, self.d_fc1.bias, self.d_fc2.weight, self.d_fc2.bias)):
            value.data.copy_(noise(value.shape, 8000 + stream, 0.5))

    def tell(self, x):
        return torch.log_softmax(self.d_fc2(torch.relu(self.d_bn1(self.d_fc1(x)))), 1)

    def terms(self, embeddings, old, labels, progress):
        unit = F.normalize(embeddings)
        strength = 2 / (1 + math.exp(-10 * progress)) - 1
        news, olds = self.tell(Reverse.apply(unit, strength)), self.tell(old)
        adversarial = -news[:, 0].mean() - olds[:, 1].mean()
        centres = 0.8 * prototypes()
        beyond = []
        for row, label in zip(unit, labels.tolist()):
            largest = 0.2 + 0.06 * label
            if label == 9:
                continue  # a class with one kept distance
            moved = abs(largest - 0.4) * torch.sigmoid(self.eboundary[label])
            boundary = largest + moved if largest < 0.4 else largest - moved
            excess = (row - centres[label]).norm() - boundary
            if excess > 0:
                beyond.append(excess)
        return 4 * torch.stack(beyond).mean() + 4 * 2 * adversarial  # (epochs - epoch + 1) / epochs = 2 in the only epoch


def run(method, head, optimizer, precision="float32"):
    """`method` is one or several: l2+bct. Then the regression is the weakened one. `nccl/p` and its like have a projection."""
    projected = method.endswith("/p")
    kinds = method.removesuffix("/p").split("+")
    threshold = 0.2 if len(kinds) > 1 else 0
    net = Iresnet18({"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    scaler = torch.amp.GradScaler("cpu", growth_interval=100, enabled=precision == "fp16")
    set_weights(net)
    weight = nn.Parameter(noise((C, D), 4000, 0.5).float())
    parameters = [p for p in net.parameters() if p.requires_grad]
    clipped, parts = list(parameters), [weight]
    if head == "simplex":
        parts = []
    if head == "softmax":
        bias = nn.Parameter(noise((C,), 4001, 0.1).float())
        parts.append(bias)
        clipped += parts
    loss_of = {
        "arcface": lambda e, y: arcface(e, weight, y),
        "cosface": lambda e, y: cosface(e, weight, y),
        "softmax": lambda e, y: F.cross_entropy(F.linear(e, weight, bias), y),
        "simplex": lambda e, y: F.cross_entropy(F.linear(e, simplex().roll(-3, 0)), y),  # firstVertex 3
    }[head]
    old_dim = P if projected else D
    queue, adversary, pairs = Queue(old_dim), Adversary(), Pairs(old_dim)
    towards, sums = prototypes(old_dim), torch.zeros(C, old_dim)  # NDPP's
    projection = None
    if projected:
        projection = nn.Parameter(noise((P, D), 9000, math.sqrt(12 / D)).float())
        if "bt2" in kinds:
            projection = nn.Parameter(noise((D, D), 9000, 0.5).float())
        parameters.append(projection)
        clipped.append(projection)
    back = nn.Parameter(noise((D, P), 9100, math.sqrt(12 / P)).float())
    if "lce" in kinds and projected:
        parameters.append(back)
        clipped.append(back)
    if "advbct" in kinds:
        parameters += list(adversary.parameters())
        clipped += list(adversary.parameters())
    if optimizer == "sgd":
        opt = torch.optim.SGD(parameters + parts, lr=BASE_LR, momentum=MOMENTUM, weight_decay=DECAY)
    else:
        opt = torch.optim.AdamW(parameters + parts, lr=BASE_LR / 20, weight_decay=0.1)
    base = opt.param_groups[0]["lr"]
    losses, norms = [], []
    net.train()
    for step in range(STEPS):
        images, labels, old, rows = batch(step, old_dim)
        for group in opt.param_groups:
            group["lr"] = base * (1 - step / STEPS) ** 2
        embeddings = net(images.contiguous(memory_format=torch.channels_last))
        matrix = rotated(projection, P) if "bt2" in kinds else projection
        shared = F.linear(embeddings, matrix) if projected else embeddings
        classified = embeddings
        if "mixbct" in kinds:
            classified = embeddings.clone()
            classified[rows] = old[rows]
        loss = (0.1 if "hoc" in kinds else 1) * loss_of(classified, labels)
        if "l2" in kinds:
            distances = (old - F.normalize(shared)).norm(dim=1)
            loss = loss + 10 * (distances - threshold).clamp(min=0).mean()
        if "bct" in kinds:
            loss = loss + influence(shared, prototypes(), labels, 16, 0.1)
        if "ndpp" in kinds:
            if step == STEPS // 2:  # its second epoch
                towards = perturbed(prototypes(old_dim), sums)
            sums.index_add_(0, labels, F.normalize(shared).detach())
            loss = loss + influence(shared, towards, labels, 16)
        if "unibct" in kinds:
            loss = loss + influence(shared, refined(0), labels, 30)
        if "nccl" in kinds:
            queue.push(old, labels)
            unit = F.normalize(shared)
            loss = loss + queue.contrast(unit @ queue.rows.T / TEMPERATURE, old, labels)
            if not projected:
                centres = F.normalize(weight)
                profiles_of_queue = F.normalize(queue.rows @ centres.T).detach()
                profiles = F.normalize(unit @ centres.T)
                loss = loss + 0.01 * queue.contrast(profiles @ profiles_of_queue.T / TEMPERATURE, old, labels)
        if "advbct" in kinds:
            loss = loss + adversary.terms(shared, old, labels, step / STEPS)
        if "lce" in kinds:
            loss = loss + class_alignment(weight, embeddings, labels, projection, back)
        if "ract" in kinds:
            loss = loss + regression_alleviating(shared, old, labels, 0.5)
        if "hoc" in kinds:
            loss = loss + 0.9 * higher_order(shared, old, labels, 10)
        if "bt2" in kinds:
            loss = loss + influence(shared, prototypes(old_dim), labels, 16)
            loss = loss + 5 * (1 - (F.normalize(shared) * old).sum(1).mean())
        if "joint" in kinds:
            loss = loss + loss_of(old @ matrix if projected else old, labels)
        if "pairs" in kinds:
            loss = loss + pairs.loss(F.normalize(shared), old, labels)
        opt.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        norm = nn.utils.clip_grad_norm_(clipped, CLIP).item()
        norms.append(norm if math.isfinite(norm) else None)  # a step that the scaler leaves out
        scaler.step(opt)
        scaler.update()
        losses.append(loss.item())
    state = net.state_dict()
    return {
        "method": method,
        "head": head,
        "optimizer": optimizer,
        "precision": precision,
        "losses": losses,
        "gradNorms": norms,
        "conv1": state["conv1.weight"].flatten()[:8].tolist(),
        "runningMean": state["layer2.0.bn2.running_mean"][:8].tolist(),
        "features": state["features.bias"][:8].tolist(),
        "headWeight": (simplex().roll(-3, 0) if head == "simplex" else weight.detach()).flatten()[:8].tolist(),
        **({"projection": projection.detach().flatten()[:8].tolist()} if projected else {}),
    }


def main():
    torch.set_num_threads(1)
    cases = [
        ("independent", "arcface", "sgd"),
        ("mixbct", "arcface", "sgd"),
        ("l2", "arcface", "sgd"),
        ("bct", "arcface", "sgd"),
        ("unibct", "arcface", "sgd"),
        ("nccl", "arcface", "sgd"),
        ("advbct", "arcface", "sgd"),
        ("independent", "softmax", "sgd"),
        ("mixbct", "cosface", "sgd"),
        ("independent", "arcface", "adamw"),
    ]
    methods = ["independent", "mixbct", "l2", "bct", "unibct", "nccl", "advbct"]
    half = [(method, "arcface", "sgd", "bf16") for method in methods] + [("mixbct", "arcface", "sgd", "fp16")]
    composed = [(method, "arcface", "sgd") for method in ("l2+bct", "mixbct+bct", "nccl+l2/p", "mixbct+nccl+l2")]
    field = [(method, "arcface", "sgd") for method in ("lce", "ract", "bt2/p", "lce+ract/p", "ract+bct")] + [("hoc", "simplex", "sgd")]
    own = [(method, "arcface", "sgd") for method in ("pairs", "pairs+bct", "joint", "pairs+joint", "joint/p", "ndpp", "ndpp/p", "pairs+joint+nccl/p")]
    groups = {"ten_steps": cases, "ten_steps_half": half, "ten_steps_composed": composed, "ten_steps_field": field, "ten_steps_own": own}
    for name, runs in groups.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        result = {"torch": torch.__version__, "cases": [run(*case) for case in runs]}
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
