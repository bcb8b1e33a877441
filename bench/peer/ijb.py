"""IJB-C scoring from cached features as a straightforward NumPy program does it: methods.md 6.4 to 6.6, self-test.

usage: ijb.py META FEATURES OUT    folder of the protocol's text files, features.npy [N, D], JSON file for the results
"""

import json
import sys
import time

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


def enrolment(path):
    """Templates, once each, and whom their first mention says they show."""
    templates, subjects = np.loadtxt(path, dtype=int, delimiter=",", skiprows=1, usecols=(0, 1), unpack=True)
    templates, first = np.unique(templates, return_index=True)
    return templates, subjects[first]


def peak_mb():
    """Of this program alone: ru_maxrss begins with what the process that started it had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def main(meta, features_file, out):
    templates, media = np.loadtxt(f"{meta}/ijbc_face_tid_mid.txt", dtype=int, usecols=(1, 2), unpack=True)
    detector = np.loadtxt(f"{meta}/ijbc_name_5pts_score.txt", dtype=np.float32, usecols=11)
    gallery, query, same = np.fromfile(f"{meta}/ijbc_template_pair_label.txt", dtype=np.int32, sep=" ").reshape(-1, 3).T
    images = {"templates": templates, "media": media}
    features = np.load(features_file) * detector[:, np.newaxis]
    ids = np.unique(templates)
    verification = verify(pool(features, images, ids), ids, gallery, query, same)
    probes, probe_subjects = enrolment(f"{meta}/ijbc_1N_probe_mixed.csv")
    probe_rows = pool(features, images, probes)
    identification = []
    for name in ("G1", "G2"):
        entries, subjects = enrolment(f"{meta}/ijbc_1N_gallery_{name}.csv")
        identification.append(identify(pool(features, images, entries), subjects, probe_rows, probe_subjects))
    cost = {"cpuSeconds": time.process_time(), "peakMb": peak_mb()}
    with open(out, "w") as file:
        json.dump({"verification": verification, "identification": identification, "cost": cost}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
