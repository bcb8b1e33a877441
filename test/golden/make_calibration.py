"""Golden numbers of calibrations, by NumPy: python test/golden/make_calibration.py > test/golden/calibration.json

Genuine pairs weigh one half, impostor pairs the other; targets are Platt's (1999). Platt: Newton's method on standardised scores.
Isotonic: the max-min formula of every score instead of pool-adjacent-violators, and np.interp between block means.
"""

import json
import numpy as np


def scores(count, centre, width, phase, digits):
    i = np.arange(count)
    return np.round(centre + width * np.sin(phase + 1.7 * i + 0.011 * i * i), digits)


def listed(a):
    return [float(f"{v:.12g}") for v in np.asarray(a).ravel()]


def problem(genuine, impostor):
    g, i = len(genuine), len(impostor)
    x = np.concatenate([genuine, impostor])
    weight = np.concatenate([np.full(g, 0.5 / g), np.full(i, 0.5 / i)])
    target = np.concatenate([np.full(g, (g + 1) / (g + 2)), np.full(i, 1 / (i + 2))])
    return x, weight, target


def loss(theta, design, weight, target):
    z = design @ theta
    return np.sum(weight * (np.logaddexp(0, z) - target * z))


def platt(genuine, impostor):
    x, weight, target = problem(genuine, impostor)
    centre, width = x.mean(), x.std()
    design = np.stack([(x - centre) / width, np.ones_like(x)], 1)
    theta = np.array([1.0, 0.0])
    for _ in range(200):
        p = 1 / (1 + np.exp(-design @ theta))
        gradient = design.T @ (weight * (p - target))
        step = np.linalg.solve(design.T @ (design * (weight * p * (1 - p))[:, None]), gradient)
        size = 1.0
        while size > 1e-12 and loss(theta - size * step, design, weight, target) > loss(theta, design, weight, target):
            size /= 2
        theta = theta - size * step
    assert np.abs(gradient).max() < 1e-13
    slope = theta[0] / width
    return slope, theta[1] - slope * centre


def isotonic(genuine, impostor):
    x, weight, target = problem(genuine, impostor)
    values = np.unique(x)
    w = np.array([weight[x == v].sum() for v in values])
    t = np.array([(weight * target)[x == v].sum() for v in values])
    n = len(values)
    mean = lambda a, b: t[a : b + 1].sum() / w[a : b + 1].sum()
    fit = np.array([max(min(mean(a, b) for b in range(k, n)) for a in range(k + 1)) for k in range(n)])
    blocks = np.split(np.arange(n), np.flatnonzero(np.diff(fit) > 1e-12) + 1)
    knots = [np.average(values[b], weights=w[b]) for b in blocks]
    rates = np.array([fit[b[0]] for b in blocks])
    return knots, np.log(rates / (1 - rates))


def held_out(genuine, impostor, slope, intercept):
    return (np.logaddexp(0, -(slope * genuine + intercept)).mean() + np.logaddexp(0, slope * impostor + intercept).mean()) / 2


cases = []
for genuine, impostor in [
    (scores(40, 0.45, 0.3, 0.2, 12), scores(160, 0.1, 0.3, 1.1, 12)),
    (scores(30, 0.4, 0.4, 0.7, 1), scores(90, 0.1, 0.4, 0.4, 1)),  # many ties
    (scores(25, 0.7, 0.1, 0.5, 12), scores(70, 0.1, 0.2, 0.9, 12)),  # separable
    (np.array([0.5]), np.array([0.125])),
]:
    slope, intercept = platt(genuine, impostor)
    knots, log_odds = isotonic(genuine, impostor)
    asked = np.linspace(knots[0], knots[-1], 9)
    cases.append(
        dict(
            genuine=listed(genuine),
            impostor=listed(impostor),
            slope=float(f"{slope:.12g}"),
            intercept=float(f"{intercept:.12g}"),
            loss=float(f"{held_out(genuine, impostor, slope, intercept):.12g}"),
            knots=listed(knots),
            logOdds=listed(log_odds),
            asked=listed(asked),
            answered=listed(np.interp(asked, knots, log_odds)),
        )
    )
print(json.dumps(cases))
