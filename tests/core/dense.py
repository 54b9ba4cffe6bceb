"""The same quantities by brute force, from the dense covariance matrix of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from blocklmm import _core


@dataclass
class Design:
    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    @property
    def n_groups(self):
        return int(self.groups.max()) + 1


def random_design(seed, q, p=2, n_groups=6, n=40, weighted=False):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n - n_groups)])
    Z = rng.normal(size=(n, q))
    if seed % 2:
        Z[:, 0] = 1
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y = X.sum(axis=1) + (Z * rng.normal(size=(n_groups, q))[groups]).sum(axis=1)
    y += rng.normal(size=n)
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    return Design(y, X, Z, rng.permutation(n_groups)[groups], weights)


def random_factor(seed, q, rank):
    """A lower triangular lambda of the given rank, columns of zeros in random places."""
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(q, q)))
    factor[:, rng.permutation(q)[: q - rank]] = 0
    return factor


def statistics(design, n_threads=1):
    columns = [*design.Z.T, *design.X.T, design.y]
    sources = [np.ascontiguousarray(c) for c in [*columns, design.weights]]
    core = _core.Statistics(
        recipes=[("numeric", k) for k in range(len(sources))],
        columns=list(range(len(columns))),
        shifted=[False] * len(columns),
        factors=[(list(range(len(columns))), design.Z.shape[1], design.n_groups)],
        n_sources=len(sources),
        weight=len(columns),
    )
    core.update(sources, [design.groups], [0], len(design.y), n_threads)
    core.finish()
    return core


def objective(design, core=None):
    q, p = design.Z.shape[1], design.X.shape[1]
    entries = [(i, j) for j in range(q) for i in range(q)]
    return _core.BlockObjective(core or statistics(design), list(range(q, q + p)), entries)


def scaled(design, core):
    """X, y, Z with the root-mean-square scales of the core, rows times the square root of w."""
    root = np.sqrt(design.weights)[:, None]
    M = root * np.column_stack([design.X, design.y]) / core.m_scale
    return M[:, :-1], M[:, -1], root * design.Z / core.z_scale


def covariance(design, Z, factor):
    """V / sigma^2 of the rows scaled by the square root of w."""
    same = design.groups[:, None] == design.groups
    return np.eye(len(design.y)) + same * (Z @ factor @ factor.T @ Z.T)


def criterion(design, core, factor, reml):
    """f and Gamma from the dense V."""
    X, y, Z = scaled(design, core)
    n, p = X.shape
    V = covariance(design, Z, factor)
    inverse = np.linalg.inv(V)
    S = X.T @ inverse @ X
    P = inverse - inverse @ X @ np.linalg.solve(S, X.T @ inverse)
    Py = P @ y
    nu = n - p if reml else n
    f = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * (y @ Py) / nu))
    if reml:
        f += np.linalg.slogdet(S)[1]
    gamma = np.zeros((Z.shape[1], Z.shape[1]))
    for i in range(design.n_groups):
        rows = design.groups == i
        inner = (P if reml else inverse)[np.ix_(rows, rows)]
        z = Z[rows].T @ Py[rows]
        gamma += Z[rows].T @ inner @ Z[rows] - nu / (y @ Py) * np.outer(z, z)
    return f, gamma
