"""Chi-bar-square: what a likelihood ratio is distributed like where variances are tested.

The admissible parameters form, near the null hypothesis, a closed convex cone C, and the
statistic is the squared length of the projection on C of a normal vector, in the metric of the
information J: a mixture of chi-squares, sum_j w_j chi^2_j, whose weights w_j depend on C and J
(Shapiro 1985; Self & Liang 1987; Baey, Cournède & Kuhn 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.special import chdtr, chdtrc

FloatArray = npt.NDArray[np.float64]

_DRAWS = 40_000
_PROJECTIONS = 8_000
_SEED = 20_150_610
_STEPS = 200


def tail(statistic: float, weights: FloatArray, free: int) -> float:
    """Return P(sum_j w_j chi^2_(j + free) >= statistic).

    Parameters
    ----------
    statistic : float
    weights : array of shape (k,)
    free : int
        Parameters tested whose values are free, beside the cone.
    """
    if statistic <= 0:
        return 1.0
    df = np.arange(len(weights)) + free
    tails = np.where(df > 0, chdtrc(np.maximum(df, 1), statistic), 0.0)
    return min(float(weights @ tails), 1.0)


def weights(sizes: Sequence[int], J: FloatArray) -> FloatArray:
    """Return the weights for a product of cones of positive semidefinite matrices.

    Parameters
    ----------
    sizes : sequence of int
        Their sides; 1 is a half-line.
    J : array of shape (d, d)
        Information on their entries, upper triangle by rows, d = sum of side (side + 1) / 2.

    Returns
    -------
    array of shape (d + 1,)

    Notes
    -----
    Up to three half-lines, and a half-line alone, have closed forms by the probabilities of
    orthants (Shapiro 1985); a single 2 x 2 matrix needs the probabilities of the cone and of its
    polar alone, since odd and even weights have sum one half each; all else is by simulation with
    a fixed seed (40,000 draws, 8,000 where each has to be projected).
    """
    entries = [(i, j) for r in sizes for i in range(r) for j in range(i, r)]
    # in isometric coordinates, off-diagonal entries times sqrt(2), the cones are self-dual
    unit = np.array([1.0 if i == j else np.sqrt(0.5) for i, j in entries])
    J = J * np.outer(unit, unit)
    scale = 1 / np.sqrt(np.diag(J))
    if all(r == 1 for r in sizes):
        J = J * np.outer(scale, scale)
        return _of_half_lines(J)
    # each effect in units of its own: M -> D M D leaves the cone as it is
    size = np.diag(J)[[i == j for i, j in entries]] ** 0.25
    own = _positions(sizes)
    by = np.array([size[own[k][0]] * size[own[k][1]] for k in range(len(entries))])
    J = J / np.outer(by, by)
    L = np.linalg.cholesky(np.linalg.inv(J))
    u = np.random.default_rng(_SEED).standard_normal((_DRAWS, len(J))) @ L.T
    if len(sizes) == 1 and sizes[0] == 2:
        inside = _is_in_cone(u, sizes).mean()
        polar = _is_in_cone(-u @ J, sizes).mean()
        return np.array([polar, 0.5 - inside, 0.5 - polar, inside])
    inside, polar = _is_in_cone(u, sizes).mean(), _is_in_cone(-u @ J, sizes).mean()
    return _by_simulation(u[:_PROJECTIONS], J, sizes, float(inside), float(polar))


def _positions(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return for each entry the numbers of its two effects among those of all matrices."""
    starts = np.cumsum([0, *sizes])
    return [
        (int(start) + i, int(start) + j)
        for start, r in zip(starts, sizes, strict=False)
        for i in range(r)
        for j in range(i, r)
    ]


def _of_half_lines(J: FloatArray) -> FloatArray:
    m = len(J)
    if m == 1:
        return np.array([0.5, 0.5])
    if m <= 3:
        inside, polar = _orthant(np.asarray(np.linalg.inv(J))), _orthant(J)
        if m == 2:
            return np.array([polar, 0.5, inside])
        return np.array([polar, 0.5 - inside, 0.5 - polar, inside])
    L = np.linalg.cholesky(np.linalg.inv(J))
    u = np.random.default_rng(_SEED).standard_normal((_DRAWS, m)) @ L.T
    positive = (_project(u, J, [1] * m) > 1e-6).sum(axis=1)
    return np.asarray(np.bincount(positive, minlength=m + 1) / _DRAWS)


def _orthant(C: FloatArray) -> float:
    """Return P(x > 0) of a normal vector of covariance C, in two or three dimensions."""
    sd = np.sqrt(np.diag(C))
    angles = np.arcsin((C / np.outer(sd, sd))[np.triu_indices(len(C), 1)])
    if len(C) == 2:
        return float(0.25 + angles.sum() / (2 * np.pi))
    return float(0.125 + angles.sum() / (4 * np.pi))


def _matrices(u: FloatArray, r: int) -> FloatArray:
    """Return the r x r matrices of isometric coordinates."""
    i, j = np.triu_indices(r)
    out = np.zeros((len(u), r, r))
    out[:, i, j] = out[:, j, i] = u * np.where(i == j, 1.0, np.sqrt(0.5))
    return out


def _pieces(sizes: Sequence[int]) -> list[tuple[int, slice]]:
    ends = np.cumsum([r * (r + 1) // 2 for r in sizes])
    return [(r, slice(end - r * (r + 1) // 2, end)) for r, end in zip(sizes, ends, strict=True)]


def _is_in_cone(u: FloatArray, sizes: Sequence[int]) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(u), dtype=bool)
    for r, s in _pieces(sizes):
        inside &= np.linalg.eigvalsh(_matrices(u[:, s], r))[:, 0] >= 0
    return inside


def _nearest(u: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """Project on the cone in the plain metric."""
    out = np.empty_like(u)
    for r, s in _pieces(sizes):
        if r == 1:
            out[:, s] = np.maximum(u[:, s], 0.0)
            continue
        values, vectors = np.linalg.eigh(_matrices(u[:, s], r))
        M = np.einsum("nik,nk,njk->nij", vectors, np.maximum(values, 0.0), vectors)
        i, j = np.triu_indices(r)
        out[:, s] = M[:, i, j] * np.where(i == j, 1.0, np.sqrt(2.0))
    return out


def _project(u: FloatArray, J: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """Project on the cone in the metric of J, by accelerated gradients (Beck & Teboulle 2009)."""
    step = 1 / float(np.linalg.eigvalsh(J)[-1])
    x = momentum = _nearest(u, sizes)
    t = 1.0
    for _ in range(_STEPS):
        new = _nearest(momentum - step * (momentum - u) @ J, sizes)
        t_new = 0.5 * (1 + np.sqrt(1 + 4 * t * t))
        momentum = new + (t - 1) / t_new * (new - x)
        done = float(np.abs(new - x).max()) < 1e-6
        x, t = new, t_new
        if done:
            break
    return x


def _by_simulation(
    u: FloatArray, J: FloatArray, sizes: Sequence[int], inside: float, polar: float
) -> FloatArray:
    """Weights whose mixture of chi-squares is the distribution of the projections' lengths.

    The last one, which rules the tail, is the share of the draws in the cone, the first that of the
    draws in its polar.
    """
    x = _project(u, J, sizes)
    length = np.sort(np.einsum("ni,ij,nj->n", x, J, x))
    d = len(J)
    level = (np.arange(1, 100) - 0.5) / 99
    at = np.append(0.0, np.quantile(length, level))
    shares = np.searchsorted(length, at + 1e-8, side="right") / len(length)
    columns = [np.ones(len(at))] + [chdtr(j, at) for j in range(1, d + 1)]
    signs = (-1.0) ** np.arange(d + 1)  # odd and even weights have the same sum
    ends = np.zeros((2, d + 1))
    ends[0, 0] = ends[1, d] = 1
    A = np.vstack([np.column_stack(columns), 1e3 * np.ones(d + 1), 1e3 * signs, 1e3 * ends])
    found = nnls(A, np.append(shares, [1e3, 0.0, 1e3 * polar, 1e3 * inside]))[0]
    return np.asarray(found / found.sum())
