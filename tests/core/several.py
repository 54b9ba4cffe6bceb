"""Several grouping factors by brute force, from the dense covariance matrix of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from blocklmm import _core

KINDS = ("crossed", "nested", "partly crossed", "nested twice", "crossed in nested", "sparse")
ENDS = ("dense", "both")  # so many levels that the factor gets a dense end, alone or after others


@dataclass
class Term:
    Z: np.ndarray
    groups: np.ndarray

    @property
    def n_groups(self):
        return int(self.groups.max()) + 1


@dataclass
class Design:
    y: np.ndarray
    X: np.ndarray
    factors: list[Term]
    weights: np.ndarray

    @property
    def q(self):
        return sum(factor.Z.shape[1] for factor in self.factors)


def _compact(labels):
    return np.unique(labels, return_inverse=True)[1]


def _labels(kind, rng, n):
    """The levels of each factor, row by row."""
    if kind == "crossed":
        return [rng.integers(0, 9, n), rng.integers(0, 5, n), rng.integers(0, 3, n)][
            : rng.integers(2, 4)
        ]
    if kind == "partly crossed":
        pupil = rng.integers(0, 14, n)
        school = np.where(rng.random(n) < 0.8, pupil % 4, rng.integers(0, 4, n))
        return [pupil, school]
    if kind == "dense":
        return [rng.integers(0, 150, n), rng.integers(0, 130, n)]
    if kind == "both":  # classes of a school that few pupils leave, and raters of everybody
        pupil = rng.integers(0, n // 3, n)
        room = np.where(rng.random(n) < 0.97, pupil % 120, rng.integers(0, 120, n))
        return [pupil, room, rng.integers(0, 40, n)]
    if kind == "sparse":  # a chain: the factor stays sparse though nothing is nested
        a = rng.integers(0, 12, n)
        return [a, (a + rng.integers(0, 2, n)) // 2, (a + rng.integers(0, 2, n)) // 4]
    outer = rng.integers(0, 5, n)
    inner = outer * 10 + rng.integers(0, 3, n)
    if kind == "nested":
        return [outer, inner]
    if kind == "nested twice":
        return [outer, inner, inner * 10 + rng.integers(0, 2, n)]
    return [inner, outer, outer * 10 + rng.integers(0, 4, n)]


def random_design(seed, kind, widths=(1, 1, 1), p=2, n=60, weighted=False):
    rng = np.random.default_rng(seed)
    factors = []
    for k, labels in enumerate(_labels(kind, rng, n)):
        Z = rng.normal(size=(n, widths[k]))
        if rng.random() < 0.7:
            Z[:, 0] = 1
        factors.append(Term(Z, _compact(labels)))
    rng.shuffle(factors)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y = X.sum(axis=1) + rng.normal(size=n)
    for factor in factors:
        b = rng.normal(size=(factor.n_groups, factor.Z.shape[1]))
        y += (factor.Z * b[factor.groups]).sum(axis=1)
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    return Design(y, X, factors, weights)


def statistics(design, n_threads=1, step=None):
    Z = [column for factor in design.factors for column in factor.Z.T]
    columns = [*Z, *design.X.T, design.y]
    sources = [np.ascontiguousarray(c) for c in [*columns, design.weights]]
    fixed = list(range(len(Z), len(columns)))
    factors, at = [], 0
    for factor in design.factors:
        q = factor.Z.shape[1]
        factors.append(([*range(at, at + q), *fixed], q, factor.n_groups))
        at += q
    core = _core.Statistics(
        recipes=[("numeric", k) for k in range(len(sources))],
        columns=list(range(len(columns))),
        shifted=[False] * len(columns),
        factors=factors,
        n_sources=len(sources),
        weight=len(columns),
    )
    n = len(design.y)
    labels = [factor.groups for factor in design.factors]
    for start in range(0, n, step or n):
        rows = slice(start, start + (step or n))
        core.update(
            [s[rows] for s in sources],
            [g[rows] for g in labels],
            [0] * len(labels),
            len(design.y[rows]),
            n_threads,
        )
    core.finish()
    return core


def blocks(design):
    return [factor.Z.shape[1] for factor in design.factors]


def slices(design):
    ends = np.cumsum(blocks(design))
    return [slice(end - size, end) for size, end in zip(blocks(design), ends, strict=True)]


def objective(design, core=None, memory_limit=1e9):
    q, p = design.q, design.X.shape[1]
    members = [list(range(s.start, s.stop)) for s in slices(design)]
    return _core.SparseObjective(
        statistics=core or statistics(design),
        x_columns=list(range(q, q + p)),
        members=members,
        blocks=blocks(design),
        memory_limit=memory_limit,
    )


def random_factor(seed, design, n_zero=0):
    """A block diagonal lambda with some columns of zeros in random places."""
    rng = np.random.default_rng(seed)
    out = np.zeros((design.q, design.q))
    for s in slices(design):
        size = s.stop - s.start
        out[s, s] = np.tril(rng.normal(size=(size, size)))
    out[:, rng.permutation(design.q)[:n_zero]] = 0
    return out


def scaled(design, core):
    """X, y and the Z of each factor in the core's units, rows times the square root of w."""
    root = np.sqrt(design.weights)[:, None]
    M = root * np.column_stack([design.X, design.y]) / core.m_scale
    Zs = [
        root * factor.Z / core.z_scale[s]
        for factor, s in zip(design.factors, slices(design), strict=True)
    ]
    return M[:, :-1], M[:, -1], Zs


def covariance(design, Zs, factor):
    """V / sigma^2 of the rows scaled by the square root of w."""
    V = np.eye(len(design.y))
    for term, Z, s in zip(design.factors, Zs, slices(design), strict=True):
        same = term.groups[:, None] == term.groups
        V += same * (Z @ factor[s, s] @ factor[s, s].T @ Z.T)
    return V


def projections(design, core, factor):
    """V^-1, P and the response, of the scaled rows."""
    X, y, Zs = scaled(design, core)
    V = covariance(design, Zs, factor)
    inverse = np.linalg.inv(V)
    S = X.T @ inverse @ X
    P = inverse - inverse @ X @ np.linalg.solve(S, X.T @ inverse)
    return V, inverse, S, P, y, Zs


def criterion(design, core, factor, reml):
    """f and Gamma (block diagonal) from the dense V."""
    V, inverse, S, P, y, Zs = projections(design, core, factor)
    n, p = design.X.shape
    Py = P @ y
    nu = n - p if reml else n
    f = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * (y @ Py) / nu))
    if reml:
        f += np.linalg.slogdet(S)[1]
    gamma = np.zeros((design.q, design.q))
    for term, Z, s in zip(design.factors, Zs, slices(design), strict=True):
        for i in range(term.n_groups):
            rows = term.groups == i
            inner = (P if reml else inverse)[np.ix_(rows, rows)]
            z = Z[rows].T @ Py[rows]
            gamma[s, s] += Z[rows].T @ inner @ Z[rows] - nu / (y @ Py) * np.outer(z, z)
    return f, gamma


def entries(design):
    return [
        (i, j)
        for s in slices(design)
        for j in range(s.start, s.stop)
        for i in range(s.start, s.stop)
    ]


def average_information(design, core, factor, reml):
    """The average information in the entries of lambda, and the curvature of T beside it."""
    _, _, _, P, y, Zs = projections(design, core, factor)
    n, p = design.X.shape
    nu = n - p if reml else n
    Py = P @ y
    r2 = y @ Py
    _, gamma = criterion(design, core, factor, reml)
    W = []
    for i, j in entries(design):
        unit = np.zeros((design.q, design.q))
        unit[i, j] = 1
        T_k = unit @ factor.T + factor @ unit.T
        w = np.zeros(n)
        for term, Z, s in zip(design.factors, Zs, slices(design), strict=True):
            z = np.zeros((term.n_groups, Z.shape[1]))
            np.add.at(z, term.groups, Z * Py[:, None])
            w += np.einsum("nq,nq->n", Z, (z @ T_k[s, s])[term.groups])
        W.append(w)
    W = np.column_stack(W)
    slopes = W.T @ Py
    out = nu / r2 * W.T @ P @ W - nu / r2**2 * np.outer(slopes, slopes)
    for k, (a, b) in enumerate(entries(design)):
        for m, (c, d) in enumerate(entries(design)):
            if b == d:
                out[k, m] += 2 * gamma[a, c]
    return out
