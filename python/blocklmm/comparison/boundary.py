"""Tests of random effects: which cone the null hypothesis leaves, and the p-value that follows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag, null_space, qr
from scipy.special import chdtrc

from blocklmm.design import Design
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.bootstrap.reduced import ReducedFit, ReducedModel
from blocklmm.inference.degrees_of_freedom.variance_derivatives import (
    expected_information,
    pseudo_inverse,
    variance_derivatives,
)

from . import chi_bar_square

FloatArray = npt.NDArray[np.float64]


def nested_in(larger: LinearMixedFit, smaller: LinearMixedFit) -> ReducedModel | None:
    """Return a fit as a reduced model of another, by the names of its effects; None if it is none.

    Parameters
    ----------
    larger, smaller : LinearMixedFit
        Of the same response.
    """
    mine, its = larger._problem.design, smaller._problem.design
    names = list(larger.params.index)
    if not set(smaller.params.index) <= set(names):
        return None
    places: list[int] = []
    ends = np.cumsum([0, *its.blocks])
    block_of = np.repeat(np.arange(len(mine.blocks)), mine.blocks)
    for term, group in enumerate(its.term_groups):
        own = range(ends[term], ends[term + 1])
        for k in own:
            place = _place(mine, its.groups[group], its.z_names[k], places)
            if place is None:
                return None
            places.append(place)
        if len({int(block_of[places[k]]) for k in own}) > 1:
            return None  # effects that may correlate here may not there
    E = np.zeros((len(mine.z_names), len(places)))
    E[places, np.arange(len(places))] = 1
    x_kept = np.array([names.index(name) for name in smaller.params.index], dtype=np.intp)
    return ReducedModel(larger._problem, E, tuple(its.blocks), x_kept)


def _place(design: Design, group: tuple[str, ...], name: str, used: list[int]) -> int | None:
    if group not in design.groups:
        return None
    members = design.members(design.groups.index(group))
    return next((k for k in members if design.z_names[k] == name and k not in used), None)


def p_values(null: ReducedFit, statistic: float, df: int, reml: bool) -> tuple[float, float]:
    """Return the p-value of a likelihood ratio by chi-square, and by chi-bar-square.

    Parameters
    ----------
    null : ReducedFit
    statistic : float
    df : int
        Parameters that the larger model has more.
    reml : bool
        Which likelihoods were compared.

    Notes
    -----
    In each term of the larger model the null hypothesis leaves some effects without variance: near
    it their covariance matrix, of side r, may be any positive semidefinite one, and all other
    parameters are free. So the cone is a product of those of such matrices and a linear space. One
    variance has weights of one half each, whatever the information (Stram & Lee 1994); otherwise
    they come from the expected information at the null, all free parameters eliminated (Baey,
    Cournede & Kuhn 2019). That no variance of the null model is itself zero is assumed.
    """
    if df <= 0:
        return np.nan, np.nan
    naive = float(chdtrc(df, statistic))
    turned = _without_variance(null)
    sizes = [basis.shape[1] for basis in turned if basis.shape[1]]
    if not sizes:
        return naive, naive
    n_cone = sum(r * (r + 1) // 2 for r in sizes)
    if sizes == [1]:
        weights = np.array([0.5, 0.5])
    else:
        J = _cone_information(null, turned, reml)
        scale = 1 / np.sqrt(np.maximum(np.diag(J), 1e-300))
        if np.linalg.eigvalsh(J * np.outer(scale, scale))[0] < 1e-10:
            return naive, np.nan  # some of what is tested is not identified
        weights = chi_bar_square.weights(sizes, J)
    return naive, chi_bar_square.tail(statistic, weights, df - n_cone)


def _without_variance(null: ReducedFit) -> list[FloatArray]:
    """Return by term of the larger model a basis of its effects that the null leaves none."""
    problem = null.model.problem
    E = np.linalg.solve(problem.units.z_basis, null.model.effects)
    out = []
    for s in problem.structure.slices:
        if not E[s].any():
            out.append(np.eye(s.stop - s.start))
            continue
        orthogonal, triangle, _ = qr(E[s], pivoting=True)
        pivots = np.abs(np.diag(triangle))
        out.append(orthogonal[:, int((pivots > 1e-10 * pivots[0]).sum()) :])
    return out


def _cone_information(null: ReducedFit, turned: list[FloatArray], reml: bool) -> FloatArray:
    """Return the information on the tested covariance matrices, the free parameters eliminated.

    Parameters
    ----------
    null : ReducedFit
    turned : list of arrays of shape (b, r)
        By term of the larger model, a basis of the effects without variance.
    reml : bool
    """
    problem, factor = null.model.problem, null.embedded()
    here = problem.objective(reml, 1)(factor)
    d = variance_derivatives(problem, factor, here, null.sigma, reml)
    a, b = d.directions[:, 0], d.directions[:, 1]
    U = block_diag(*turned)
    ends = np.cumsum([0, *(basis.shape[1] for basis in turned)])
    pairs = [
        (i, j) for start, stop in pairwise(ends) for i in range(start, stop) for j in range(i, stop)
    ]
    # T_ab of a unit entry (i, j) among the tested effects, and that entry of a unit T_ab
    i, j = np.array(pairs).T
    both = (U[a][:, i] * U[b][:, j] + U[a][:, j] * U[b][:, i]).T
    cone = np.where(i == j, 0.5, 1.0) * both.T
    entry = np.where(a == b, 0.5, 1.0) * both
    # the free parameters: what has no such entry, and sigma^2
    M = block_diag(np.column_stack([cone, null_space(entry)]), np.ones((1, 1)))
    full, k = M.T @ expected_information(d, reml) @ M, len(pairs)
    mixed = full[:k, k:]
    return np.asarray(full[:k, :k] - mixed @ pseudo_inverse(full[k:, k:]) @ mixed.T)
