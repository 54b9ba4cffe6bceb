"""Tests of random effects: which cone the null hypothesis leaves, and the p-value that follows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag, null_space, qr
from scipy.special import chdtrc

from blocklmm.design import Design
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.degrees_of_freedom.variance_derivatives import (
    VarianceDerivatives,
    expected_information,
    pseudo_inverse,
    variance_derivatives,
)
from blocklmm.inference.nested.reduced import ReducedFit, ReducedModel, likelihood_ratio
from blocklmm.parameters import FittedParameters

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
    same = [f for f, own in enumerate(design.groups) if set(own) == set(group)]
    if not same:
        return None
    members = design.members(same[0])
    return next((k for k in members if design.z_names[k] == name and k not in used), None)


@dataclass(frozen=True, slots=True)
class BoundaryTest:
    """A likelihood-ratio test of a reduced model.

    Attributes
    ----------
    statistic : float
    df : int
        Parameters that the larger model has more.
    p_chisq, p_boundary : float
        By chi-square, and by chi-bar-square; NaN where that is not known.
    notes : tuple of str
        Why it is not known, or what it takes for granted.
    """

    statistic: float
    df: int
    p_chisq: float
    p_boundary: float
    notes: tuple[str, ...]


def boundary_test(larger: FittedParameters, null: ReducedFit) -> BoundaryTest:
    """Test a reduced model by the likelihood ratio.

    Parameters
    ----------
    larger : FittedParameters
    null : ReducedFit
        Of a model nested in the larger one, by the same criterion.
    """
    statistic = float(likelihood_ratio(null.objective, larger.objective))
    df = larger.n_parameters - null.model.n_parameters
    law, notes = null_law(larger, null)
    naive = float(chdtrc(df, statistic)) if df > 0 else np.nan
    return BoundaryTest(
        statistic, df, naive, np.nan if law is None else law.tail(statistic), tuple(notes)
    )


@dataclass(frozen=True, slots=True)
class NullLaw:
    """The chi-bar-square distribution of a likelihood ratio: weights of chi^2_free and those up."""

    weights: FloatArray
    free: int

    def tail(self, statistic: float) -> float:
        """Return the probability of the statistic or more."""
        return chi_bar_square.tail(statistic, self.weights, self.free)


def null_law(larger: FittedParameters, null: ReducedFit) -> tuple[NullLaw | None, list[str]]:
    """Return what the likelihood ratio is distributed like, None if not known, and notes on that.

    Parameters
    ----------
    larger : FittedParameters
    null : ReducedFit

    Notes
    -----
    In each term of the larger model the null hypothesis leaves some effects without variance: near
    it their covariance matrix, of side r, may be any positive semidefinite one, and all other
    parameters are free. So the cone is a product of those of such matrices and a linear space. One
    variance has weights of one half each, whatever the information (Stram & Lee 1994); otherwise
    they come from the expected information at the null, all free parameters eliminated (Baey,
    Cournède & Kuhn 2019).
    """
    df = larger.n_parameters - null.model.n_parameters
    if df <= 0:
        return None, []
    turned = _without_variance(null)
    sizes = [basis.shape[1] for basis in turned if basis.shape[1]]
    if not sizes:
        return NullLaw(np.ones(1), df), []
    unknown = (
        "p_boundary is not known where the data do not identify all (co)variances that are tested, "
        "and Df counts too many"
    )
    if larger._optimum.n_flat and not _is_identified(null, larger.reml):
        return None, [unknown]
    notes = []
    if null.is_singular:
        notes.append(
            "p_boundary takes variances that are not tested as positive, and here the smaller "
            "model has some of zero: it is approximate, as a rule too large"
        )
    n_cone = sum(r * (r + 1) // 2 for r in sizes)
    if sizes == [1]:
        return NullLaw(np.array([0.5, 0.5]), df - n_cone), notes
    J = _cone_information(null, turned, larger.reml)
    scale = 1 / np.sqrt(np.maximum(np.diag(J), 1e-300))
    if np.linalg.eigvalsh(J * np.outer(scale, scale))[0] < 1e-10:
        return None, [unknown]
    return NullLaw(chi_bar_square.weights(sizes, J), df - n_cone), notes


def _is_identified(null: ReducedFit, reml: bool) -> bool:
    """Tell whether the data know all that the larger model adds, at the null."""
    d = _derivatives(null, reml)
    a, b = d.directions[:, 0], d.directions[:, 1]
    effects = np.linalg.solve(null.model.problem.units.z_basis, null.model.effects)
    own = []
    for s in null.model.structure.slices:
        for i in range(s.start, s.stop):
            for j in range(i, s.stop):
                moved = np.outer(effects[:, i], effects[:, j])
                own.append((moved + moved.T)[a, b])
    free = block_diag(np.reshape(own, (-1, len(a))).T, np.ones((1, 1)))
    M = np.column_stack([null_space(free.T), free])
    sizes = np.diag(M.T @ expected_information(d, reml=False) @ M)
    full, k = M.T @ expected_information(d, reml) @ M, M.shape[1] - free.shape[1]
    known, _ = pseudo_inverse(full[k:, k:], sizes[k:])
    tested = full[:k, :k] - full[:k, k:] @ known @ full[k:, :k]
    return bool(pseudo_inverse(tested, sizes[:k])[1].shape[1] == 0)


def _derivatives(null: ReducedFit, reml: bool) -> VarianceDerivatives:
    problem, factor = null.model.problem, null.embedded()
    here = problem.objective(reml, 1)(factor)
    return variance_derivatives(problem, factor, here, null.sigma, reml)


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
    d = _derivatives(null, reml)
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
    alone = np.diag(M.T @ expected_information(d, reml=False) @ M)
    known, _ = pseudo_inverse(full[k:, k:], alone[k:])
    mixed = full[:k, k:]
    return np.asarray(full[:k, :k] - mixed @ known @ mixed.T)
