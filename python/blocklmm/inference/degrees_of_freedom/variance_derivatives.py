"""How the covariance of the fixed effects, and the criterion, change with the variances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.objective import Evaluation, blas_limit
from blocklmm.problem import Problem

from .criterion_derivatives import CriterionDerivatives, through_chart

FloatArray = npt.NDArray[np.float64]

_NOTHING = 1e-11  # of the information on a parameter: rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceDerivatives(CriterionDerivatives):
    """All of the sums at the optimum of one fit.

    Attributes
    ----------
    directions : array of shape (d, 2)
        Row and column, a <= b, of each entry of T.
    t : array of shape (d,)
        The entries of T.
    Q : array of shape (d, d, p, p)
        X'V^-1 G_k V^-1 G_l V^-1 X.
    traces : array of shape (d,)
        tr(V^-1 G_k).
    """

    directions: npt.NDArray[np.intp]
    t: FloatArray
    Q: FloatArray
    traces: FloatArray


def variance_derivatives(
    problem: Problem, factor: FloatArray, here: Evaluation, sigma: float, reml: bool
) -> VarianceDerivatives:
    """Sum over the groups at a factor of T; no row is read.

    Parameters
    ----------
    problem : Problem
    factor : array of shape (q, q)
        In the core's units.
    here : Evaluation
        Of the criterion there.
    sigma : float
    reml : bool

    Returns
    -------
    VarianceDerivatives
    """
    p = len(problem.kept)
    with blas_limit(problem.core):
        found = problem.core.covariance_derivatives(lambda_=factor, n_threads=1)
    directions = np.array(found.directions, dtype=np.intp).reshape(-1, 2)
    S, Q, d = found.S, found.Q, len(directions)
    T = factor @ factor.T
    to_chart, turning = np.zeros((0, 0)), np.zeros((0, 0))
    if d:
        F, basis = _core.chart(blocks=problem.structure.blocks, factor=factor)
        entries = problem.structure.block_entries
        to_chart, turning = through_chart(entries, directions, F, basis, here.gamma)
    Q = Q.reshape(d, d, p + 1, p + 1)
    return VarianceDerivatives(
        n=problem.units.n,
        reml=reml,
        sigma=sigma,
        F=problem.units.unscaled_covariance_factor(here.inverse_factor),
        directions=directions,
        t=T[directions[:, 0], directions[:, 1]],
        S=S.reshape(d, p + 1, p + 1)[:, :p, :p],
        S_e=S.reshape(d, p + 1, p + 1)[:, :p, p],
        S_ee=S.reshape(d, p + 1, p + 1)[:, p, p],
        Q=Q[:, :, :p, :p],
        Q_trace=np.trace(Q[:, :, :p, :p], axis1=2, axis2=3),
        Q_ee=Q[:, :, p, p],
        traces=found.traces,
        trace_pairs=found.trace_pairs,
        to_chart=to_chart,
        turning=turning,
    )


def with_sigma(d: VarianceDerivatives) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return P_k, Q_kl and tr(V^-1 G_k V^-1 G_l) with sigma^2 as the last parameter."""
    t, p, k = d.t, d.p, len(d.t)
    P = np.empty((k + 1, p, p))
    Q = np.empty((k + 1, k + 1, p, p))
    traces = np.empty((k + 1, k + 1))
    P[:k], Q[:k, :k], traces[:k, :k] = d.S, d.Q, d.trace_pairs
    S_t = np.einsum("k,kab->ab", t, d.S)
    Q_t = np.einsum("klab,l->kab", d.Q, t)
    P[k] = -(np.eye(p) + S_t)
    Q[:k, k] = -d.S - Q_t
    Q[k, :k] = Q[:k, k].transpose(0, 2, 1)
    Q[k, k] = np.eye(p) + 2 * S_t + np.einsum("k,kab->ab", t, Q_t)
    traces[:k, k] = traces[k, :k] = d.traces - d.trace_pairs @ t
    traces[k, k] = d.n - 2 * t @ d.traces + t @ d.trace_pairs @ t
    return P, Q, traces


def expected_information(d: VarianceDerivatives, reml: bool) -> FloatArray:
    """Return the expected information on (t, sigma^2), in units of sigma^2, shape (d + 1, d + 1).

    That of the REML likelihood is tr(P G_k P G_l) / 2, with P the projection; of the other one it
    has V^-1 in place of P (Searle, Casella & McCulloch 1992, sec. 6.6).
    """
    P, Q, traces = with_sigma(d)
    if reml:  # in this basis (X'V^-1X)^-1 is the identity
        traces = traces - 2 * np.trace(Q, axis1=2, axis2=3) + np.einsum("kab,lba->kl", P, P)
    return np.asarray(0.25 * (traces + traces.T))


def pseudo_inverse(information: FloatArray, sizes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the inverse of an information matrix, and directions of which nothing is known.

    Parameters
    ----------
    information : array of shape (k, k)
    sizes : array of shape (k,)
        Information on each parameter alone, with the fixed effects known: what of it is lost to
        rounding is nothing.

    Returns
    -------
    inverse : array of shape (k, k)
        Zero along the directions of which nothing is known.
    unknown : array of shape (k, number of them)
        Each as long as a standard error of a parameter known alone.
    """
    scale = 1 / np.sqrt(np.where(sizes > 0, sizes, 1.0))
    values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    known = values > _NOTHING * values.max(initial=1.0)
    directions = scale[:, None] * vectors
    inverse = (directions[:, known] / values[known]) @ directions[:, known].T
    return inverse, directions[:, ~known]
