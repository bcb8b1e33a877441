"""Masks, class means and class boundaries of features in NumPy, in one process that holds everything.

    features.py walk|slices denoise|average|boundaries FEATURES OUT

walk    as the reference's tools go about it: labels are walked one by one, distances to boundaries taken row by row
slices  the same with a Python step for each class only: what someone who knows NumPy writes

FEATURES is a folder with features.npy (float32 [N, D]) and labels.npy (int64 [N]); results go to OUT as .npy files.
Prints as JSON how long that took, in seconds and in seconds of a processor, and its peak of resident memory. Rules: methods.md 4.2, 4.3, 4.5.
"""

import json
import math
import os
import sys
import time

import numpy as np


def unit(x):
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return x / lengths


def walked(labels):
    """First row and end of each stretch of equal labels."""
    start, current = 0, labels[0]
    for i in range(1, len(labels)):
        if labels[i] != current:
            yield start, i
            start, current = i, labels[i]
    yield start, len(labels)


def sliced(labels):
    ends = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return zip([0, *ends.tolist()], [*ends.tolist(), len(labels)])


def row_by_row(rows, centre):
    return [np.linalg.norm(row - centre).item() for row in rows]


def at_once(rows, centre):
    return np.linalg.norm(rows - centre, axis=1).tolist()


def denoise(x, labels, runs, _, keep=0.9):
    x = unit(x)
    x /= np.linalg.norm(x, axis=0, keepdims=True)
    mask = np.zeros(len(x), dtype=bool)
    for start, end in runs(labels):
        rows = x[start:end]
        distances = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
        nearest = np.argsort(distances, kind="stable")[: math.ceil(keep * len(rows))]
        mask[start + nearest] = True
    return {"mask": mask}


def average(x, labels, runs, _):
    order = np.argsort(labels, kind="stable")
    x, labels = x[order], labels[order]
    return {"prototypes": unit(np.stack([x[start:end].mean(axis=0) for start, end in runs(labels)]))}


def boundaries(x, labels, runs, distances_of):
    x = unit(x)
    order = np.argsort(labels, kind="stable")
    centres, radii, kept = [], [], []
    for start, end in runs(labels[order]):
        rows = x[order[start:end]]
        centre = rows.mean(axis=0)
        distances = sorted(distances_of(rows, centre))
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
    style, command, features, out = sys.argv[1:]
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    x, labels = (np.load(os.path.join(features, f"{name}.npy")) for name in ("features", "labels"))
    means = {"walk": (walked, row_by_row), "slices": (sliced, at_once)}[style]
    results = {"denoise": denoise, "average": average, "boundaries": boundaries}[command](x, labels, *means)
    for name, array in results.items():
        np.save(os.path.join(out, f"{name}.npy"), array)
    seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
    print(json.dumps({"seconds": seconds, "cpuSeconds": cpu_seconds, "peakMb": peak_mb()}))
