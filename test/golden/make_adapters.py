"""Golden numbers of adapters, by NumPy: python test/golden/make_adapters.py > test/golden/adapters.json"""

import json
import numpy as np


def rows(count, dim, phase):
    i, d = np.meshgrid(np.arange(count), np.arange(dim), indexing="ij")
    x = np.sin(phase + 0.77 * i * (d + 1) + 1.3 * d * d + 0.013 * i * i)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def listed(a):
    return [float(f"{v:.12g}") for v in np.asarray(a).ravel()]


cases = []
for p, q in [(5, 5), (6, 4), (4, 6)]:
    x, y = rows(40, p, 0.3), 0.5 * rows(40, q, 1.1)
    y[:, : min(p, q)] += x[:, : min(p, q)]
    cx, cy = x - x.mean(0), y - y.mean(0)
    u, _, vh = np.linalg.svd(cx.T @ cy, full_matrices=False)
    strength, rank = 0.1, 2
    strength_times_mean = strength * np.trace(cx.T @ cx) / p
    # ridge as least squares with rows √λ·I added: no product of matrices is inverted
    stacked = np.vstack([cx, np.sqrt(strength_times_mean) * np.eye(p)])
    ridge = np.linalg.lstsq(stacked, np.vstack([cy, np.zeros((p, q))]), rcond=None)[0]
    # reduced rank: the fitted values of the stacked system projected on their first right singular vectors
    _, _, directions = np.linalg.svd(stacked @ ridge, full_matrices=False)
    low = ridge @ directions[:rank].T @ directions[:rank]
    cases.append(
        dict(x=listed(x), y=listed(y), p=p, q=q, strength=strength, rank=rank, procrustes=listed(u @ vh), ridge=listed(ridge), lowRank=listed(low))
    )
print(json.dumps(cases))
