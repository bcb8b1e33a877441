"""Masks, class means and class boundaries of features in NumPy, as one straightforward process makes them.

    features.py denoise|average|boundaries FEATURES OUT

FEATURES is a folder with features.npy (float32 [N, D]) and labels.npy (int64 [N]); results go to OUT as .npy files.
Prints its peak of resident memory and its processor time as JSON. Rules: methods.md 4.2, 4.3, 4.5.
"""

import json
import math
import os
import resource
import sys

import numpy as np


def unit(x):
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return x / lengths


def runs(labels):
    """First row and end of each stretch of equal labels."""
    ends = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return zip(np.concatenate(([0], ends)).tolist(), np.concatenate((ends, [len(labels)])).tolist())


def denoise(x, labels, keep=0.9):
    x = unit(x)
    x /= np.linalg.norm(x, axis=0, keepdims=True)
    mask = np.zeros(len(x), dtype=bool)
    for start, end in runs(labels):
        rows = x[start:end]
        distances = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
        nearest = np.argsort(distances, kind="stable")[: math.ceil(keep * len(rows))]
        mask[start + nearest] = True
    return {"mask": mask}


def average(x, labels):
    order = np.argsort(labels, kind="stable")
    x, labels = x[order], labels[order]
    return {"prototypes": unit(np.stack([x[start:end].mean(axis=0) for start, end in runs(labels)]))}


def boundaries(x, labels):
    x = unit(x)
    order = np.argsort(labels, kind="stable")
    centres, radii, kept = [], [], []
    for start, end in runs(labels[order]):
        rows = x[order[start:end]]
        centre = rows.mean(axis=0)
        distances = sorted(np.linalg.norm(rows - centre, axis=1).tolist())
        n = len(distances)
        if n >= 4:
            q1, q3 = distances[n // 4], distances[3 * n // 4]
            reach = 1.5 * (q3 - q1)
            distances = [d for d in distances if q1 - reach <= d <= q3 + reach] or distances
        centres.append(centre)
        radii.append(distances[-1])
        kept.append(len(distances))
    return {"centres": np.stack(centres), "radii": np.float32(radii), "kept": np.int32(kept)}


def peak_mb():
    """Of this program alone: ru_maxrss begins with what the process that started it had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    command, features, out = sys.argv[1:]
    x, labels = (np.load(os.path.join(features, f"{name}.npy")) for name in ("features", "labels"))
    for name, array in {"denoise": denoise, "average": average, "boundaries": boundaries}[command](x, labels).items():
        np.save(os.path.join(out, f"{name}.npy"), array)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpuSeconds": usage.ru_utime + usage.ru_stime, "peakMb": peak_mb()}))
