"""Linear adapters from the feature set x to y in NumPy, in one process that holds everything.

    adapt.py lstsq|same FOLDER OUT STRENGTH RANK

lstsq   one fit of each map by np.linalg.lstsq and np.linalg.svd, with the strength and the rank given
same    strength and rank chosen by five-fold cross-validation from sums over the rows, which are taken once: the work of mixbct

Maps w [P, Q] go to OUT as .npy files. Prints as JSON how long each took, in seconds and in seconds of a processor, and the
peak of resident memory.
"""

import json
import os
import sys
import time

import numpy as np

STRENGTHS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10]
FOLDS = 5

parts = {}


def timed(name, work):
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    result = work()
    parts[name] = {"seconds": time.perf_counter() - seconds, "cpuSeconds": time.process_time() - cpu_seconds}
    return result


def unit(path):
    x = np.load(os.path.join(path, "features.npy")).astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def load(folder):
    return unit(os.path.join(folder, "x")), unit(os.path.join(folder, "y"))


def directions(w, xx):
    """Of what a regression explains, the most important first."""
    _, vectors = np.linalg.eigh(w.T @ xx @ w)
    return vectors[:, ::-1]


def lstsq(folder, strength, rank):
    def read():
        x, y = load(folder)
        return x - x.mean(axis=0), y - y.mean(axis=0)

    x, y = timed("read", read)
    (_, p), (_, q) = x.shape, y.shape

    def procrustes():
        u, _, vh = np.linalg.svd(x.T @ y, full_matrices=False)
        return u @ vh

    def ridge():
        own = np.sqrt(strength * np.einsum("ij,ij->", x, x) / p) * np.eye(p)
        return np.linalg.lstsq(np.vstack([x, own]), np.vstack([y, np.zeros((p, q))]), rcond=None)[0]

    maps = {"procrustes": timed("procrustes", procrustes), "ridge": timed("ridge", ridge)}

    def low_rank():
        xx = x.T @ x
        xx += strength * np.trace(xx) / p * np.eye(p)
        first = directions(maps["ridge"], xx)[:, :rank]
        return maps["ridge"] @ first @ first.T

    maps["low-rank"] = timed("low-rank", low_rank)
    return maps, strength, rank


def total(moments):
    return tuple(sum(parts) for parts in zip(*moments))


def centred(moments, means):
    count, sx, sy, xx, xy = moments
    mx, my = means
    about_x = xx - np.outer(mx, sx) - np.outer(sx, mx) + count * np.outer(mx, mx)
    about_xy = xy - np.outer(mx, sy) - np.outer(sx, my) + count * np.outer(mx, my)
    return about_x, about_xy


def means_of(moments):
    count, sx, sy, *_ = moments
    return sx / count, sy / count


class System:
    """A ridge regression in the eigenvectors of the centred products of x."""

    def __init__(self, moments):
        self.means = means_of(moments)
        xx, xy = centred(moments, self.means)
        values, self.vectors = np.linalg.eigh(xx)
        self.values = np.maximum(values, 0)
        self.right = self.vectors.T @ xy

    def denominator(self, strength):
        return (self.values + strength * self.values.mean())[:, None]

    def rotated_weight(self, strength):
        return self.right / self.denominator(strength)

    def rotated(self, moments):
        xx, xy = centred(moments, self.means)
        return self.vectors.T @ xx @ self.vectors, self.vectors.T @ xy


def gain(weight, xx, xy):
    return (weight * (2 * xy - xx @ weight)).sum(axis=0)


def directions_of(system, strength):
    weight = system.rotated_weight(strength)
    _, vectors = np.linalg.eigh(weight.T @ (weight * system.denominator(strength)))
    return vectors[:, ::-1]


def same(folder, *_):
    def read():
        x, y = load(folder)
        fold = np.load(os.path.join(folder, "x", "labels.npy")) % FOLDS
        return [
            (len(a), a.sum(axis=0), b.sum(axis=0), a.T @ a, a.T @ b) for a, b in ((x[fold == f], y[fold == f]) for f in range(FOLDS))
        ]

    folds = timed("moments", read)

    def procrustes():
        moments = total(folds)
        u, _, vh = np.linalg.svd(centred(moments, means_of(moments))[1], full_matrices=False)
        return u @ vh

    def held_out():
        systems = [System(total(folds[:f] + folds[f + 1 :])) for f in range(FOLDS)]
        return [(system, *system.rotated(folds[f])) for f, system in enumerate(systems)]

    def ridge():
        splits = held_out()
        gains = [[gain(s.rotated_weight(strength), xx, xy).sum() for strength in STRENGTHS] for s, xx, xy in splits]
        strength = STRENGTHS[int(np.sum(gains, axis=0).argmax())]
        system = System(total(folds))
        return system.vectors @ system.rotated_weight(strength), strength, splits, system

    maps = {"procrustes": timed("procrustes", procrustes)}
    maps["ridge"], strength, splits, system = timed("ridge", ridge)

    def low_rank():
        gains = []
        for s, xx, xy in splits:
            way = directions_of(s, strength)
            gains.append(np.cumsum(gain(s.rotated_weight(strength) @ way, xx, xy @ way)))
        rank = 1 + int(np.sum(gains, axis=0).argmax())
        first = directions_of(system, strength)[:, :rank]
        return maps["ridge"] @ first @ first.T, rank

    maps["low-rank"], rank = timed("low-rank", low_rank)
    return maps, strength, rank


def peak_mb():
    """Of this program alone: ru_maxrss begins with what the process that started it had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    style, folder, out, strength, rank = sys.argv[1:]
    maps, strength, rank = {"lstsq": lstsq, "same": same}[style](folder, float(strength), int(rank))
    for name, array in maps.items():
        np.save(os.path.join(out, f"{name}.npy"), np.ascontiguousarray(array))
    sums = {key: sum(cost[key] for cost in parts.values()) for key in ("seconds", "cpuSeconds")}
    print(json.dumps({"parts": parts, "total": sums, "strength": strength, "rank": rank, "peakMb": peak_mb()}))
