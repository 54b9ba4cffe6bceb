"""Small data made to trap optimisers: singular truths, few groups, covariates scaled and shifted.

``python -m tests.hard_data 500`` fits that many with one grouping factor, each from its own start
and from many others, and prints the fits that end above the best optimum found, or that are not
certified; ``python -m tests.hard_data 500 several`` does so with two.
"""

from __future__ import annotations

import sys

import blocklmm as bl
import numpy as np

FORMULA = "y ~ t + z + (t + z | g)"
OTHERS = ("y ~ t + z + (t | g)", "y ~ t + z + (t + z || g)", "y ~ t + z + (0 + t + z | g)")


def make(seed):
    """A formula, data and whether to fit by REML."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(32, 301))
    n_groups = int(rng.integers(4, max(5, min(n // 4, 40))))
    groups = np.arange(n) % n_groups
    if rng.random() < 0.5:
        groups[n_groups:] = rng.integers(0, n_groups, n - n_groups)
    t = rng.normal(size=n) if rng.random() < 0.5 else rng.integers(0, 6, n).astype(float)
    z = rng.normal(size=n)
    factor = np.tril(rng.normal(size=(3, 3))) * rng.choice([0.1, 0.5, 1, 3])
    truth = rng.integers(0, 6)
    if truth < 3:
        factor[:, truth:] = 0  # rank 0, 1, 2
    elif truth == 3:
        factor[0] = 0  # no random intercept
    elif truth == 4:
        factor = np.diag(rng.choice([0, 0.3, 1], 3))
    effects = rng.normal(size=(n_groups, 3)) @ factor.T
    y = 1 + 0.5 * t - z + (np.column_stack([np.ones(n), t, z]) * effects[groups]).sum(axis=1)
    y += rng.normal(size=n) * rng.choice([0.1, 1, 5])
    scale = rng.choice([1e-3, 1, 1e3])
    t = t * scale + rng.choice([0, 10, 1000]) * scale
    formula = FORMULA if rng.random() < 0.7 else OTHERS[rng.integers(len(OTHERS))]
    return formula, {"y": y, "t": t, "z": z, "g": groups}, bool(rng.random() < 0.5)


SEVERAL = (
    "y ~ t + (1 | g) + (1 | h)",
    "y ~ t + (t | g) + (1 | h)",
    "y ~ t + (t | g) + (t | h)",
    "y ~ t + (1 | g/h)",
    "y ~ t + (t | g/h)",
    "y ~ t + (t || g) + (1 | h) + (1 | g:h)",
)


def make_several(seed):
    """The same with two grouping factors, nested, crossed or partly so."""
    rng = np.random.default_rng(seed)
    n_g, n_h = int(rng.integers(4, 16)), int(rng.integers(3, 9))
    n = 3 * n_g * n_h + int(rng.integers(0, 200))
    g = rng.integers(0, n_g, n)
    h = np.where(rng.random(n) < rng.choice([0.0, 0.7]), g % n_h, rng.integers(0, n_h, n))
    t = rng.normal(size=n) if rng.random() < 0.5 else rng.integers(0, 6, n).astype(float)
    y = 1 + 0.5 * t + rng.normal(size=n) * rng.choice([0.1, 1, 5])
    for labels in (g, h, g * n_h + h):
        factor = np.tril(rng.normal(size=(2, 2))) * rng.choice([0, 0.1, 0.5, 2])
        factor[:, rng.integers(0, 3) :] = 0
        effects = rng.normal(size=(labels.max() + 1, 2)) @ factor.T
        y += effects[labels, 0] + effects[labels, 1] * t
    scale = rng.choice([1e-3, 1, 1e3])
    t = t * scale + rng.choice([0, 10]) * scale
    formula = SEVERAL[rng.integers(len(SEVERAL))]
    return formula, {"y": y, "t": t, "g": g, "h": h}, bool(rng.random() < 0.5)


def best_of_many(model, reml, n_theta, n_starts, seed):
    """The lowest criterion from random starts, whether certified or not."""
    rng = np.random.default_rng(seed)
    problem = model._prepared(1)
    structure = problem.structure
    lowest = np.inf
    for k in range(n_starts):
        factor = structure.matrix(rng.normal(size=n_theta)) * rng.choice([0.05, 0.3, 1, 3, 20])
        if k == 0:
            factor = 0.01 * np.eye(structure.q)
        start = problem.units.to_user(structure.theta(structure.canonical(factor)))
        lowest = min(lowest, model.fit(reml, start=start).objective)
    return lowest


def study(seeds, n_starts, make=make):
    """Return (seed, formula, excess over the best, evaluations, certified) for each data set."""
    rows = []
    for seed in seeds:
        formula, data, reml = make(seed)
        model = bl.LinearMixedModel(formula, data)
        fit = model.fit(reml)
        best = best_of_many(model, reml, len(fit.theta), n_starts, seed)
        evaluations = fit.certificate.n_evaluations
        rows.append((seed, formula, fit.objective - best, evaluations, fit.converged))
    return rows


if __name__ == "__main__":
    kind = make_several if sys.argv[2:] == ["several"] else make
    rows = study(range(int(sys.argv[1])), n_starts=20, make=kind)
    for row in rows:
        if row[2] > 1e-6 or not row[4]:
            print(*row)
    counts = [row[3] for row in rows]
    print(
        f"{len(rows)} data sets: {sum(row[2] > 1e-6 for row in rows)} more than 1e-6 above the "
        f"best of 21 starts, {sum(not row[4] for row in rows)} not certified; evaluations: median "
        f"{np.median(counts):.0f}, largest {max(counts)}"
    )
