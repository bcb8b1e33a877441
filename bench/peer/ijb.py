"""IJB-C scoring from cached features as a straightforward NumPy program does it: methods.md 6.4 to 6.6, self-test.

usage: ijb.py COLUMNS FEATURES OUT    folder of .npy columns, features.npy [N, D], JSON file for the results
"""

import json
import sys

import numpy as np

FARS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
FPIRS = np.logspace(-4, 0, 101)
BATCH = 5000


def pool(features, images, wanted):
    """Rows of length 1 for each of the templates wanted, ascending."""
    rows = np.zeros((len(wanted), features.shape[1]))
    for row, template in enumerate(wanted):
        chosen = np.where(images["templates"] == template)[0]
        faces = features[chosen]
        media = images["media"][chosen]
        means = [np.mean(faces[media == medium], axis=0) for medium in np.unique(media)]
        rows[row] = np.sum(means, axis=0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def verify(rows, ids, gallery, query, same):
    place = np.zeros(ids.max() + 1, dtype=int)
    place[ids] = np.arange(len(ids))
    scores = np.zeros(len(gallery))
    for start in range(0, len(scores), BATCH):
        left = rows[place[gallery[start : start + BATCH]]]
        right = rows[place[query[start : start + BATCH]]]
        scores[start : start + BATCH] = np.sum(left * right, axis=-1)
    order = np.argsort(scores, kind="mergesort")[::-1]
    scores, same = scores[order], same[order]
    last = np.r_[np.where(np.diff(scores))[0], len(scores) - 1]
    accepted = np.cumsum(same)[last]
    passed = 1 + last - accepted
    corner = np.r_[True, (np.diff(passed, 2) != 0) | (np.diff(accepted, 2) != 0), True]
    far = np.r_[0, passed[corner]] / passed[-1]
    tar = np.r_[0, accepted[corner]] / accepted[-1]
    far_down, tar_down = far[::-1], tar[::-1]
    return {
        "auc": float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2)),
        "tar": [float(tar_down[np.argmin(np.abs(far_down - x))]) for x in FARS],
    }


def identify(gallery_rows, gallery_subjects, probe_rows, probe_subjects):
    similarity = np.dot(probe_rows, gallery_rows.T)
    hits = np.zeros(3, dtype=int)
    own, others, alarms = [], [], []
    for row, subject in zip(similarity, probe_subjects):
        at = np.where(gallery_subjects == subject)[0]
        if len(at) == 0:
            alarms.append(row.max())
            continue
        best = np.argsort(row)[::-1]
        hits += [at[0] in best[:k] for k in (1, 5, 10)]
        own.append(row[at[0]])
        others.append(np.delete(row, at[0]).max())
    own, others = np.array(own), np.array(others)
    alarms = np.sort(alarms)[::-1]
    rates = []
    for x in FPIRS:
        threshold = alarms[max(int(len(alarms) * x) - 1, 0)]
        rates.append(float(np.mean((own > others) & (own > threshold))))
    return {"top": (hits / len(own)).tolist(), "tpir": rates}


def main(columns, features_file, out):
    column = {
        name: np.load(f"{columns}/{name}.npy")
        for name in (
            "templates media detector pair_gallery pair_query pair_same gallery1 gallery1_subjects gallery2"
            " gallery2_subjects probes probe_subjects"
        ).split()
    }
    features = np.load(features_file) * column["detector"][:, np.newaxis]
    ids = np.unique(column["templates"])
    verification = verify(
        pool(features, column, ids), ids, column["pair_gallery"], column["pair_query"], column["pair_same"]
    )
    probes = pool(features, column, column["probes"])
    identification = [
        identify(pool(features, column, column[name]), column[f"{name}_subjects"], probes, column["probe_subjects"])
        for name in ("gallery1", "gallery2")
    ]
    with open(out, "w") as file:
        json.dump({"verification": verification, "identification": identification}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
