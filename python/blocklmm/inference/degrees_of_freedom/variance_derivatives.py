"""How the covariance of the fixed effects, and the criterion, change with the variances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.objective import Evaluation, blas_limit
from blocklmm.problem import Problem

FloatArray = npt.NDArray[np.float64]

_NOTHING = 1e-11  # of the information on a parameter: rounding


@dataclass(frozen=True, slots=True)
class VarianceDerivatives:
    """The sums of ``cpp/core/covariance_derivatives.hpp`` at an optimum.

    Everything is relative to sigma^2, V = I + Z T Z', and in the basis N of the fixed effects in
    which (X'V^-1X)^-1 is the identity: with F = B_x N, Var(beta^) = sigma^2 F F'. T is linear in
    its entries t_k, V = I + sum t_k G_k.

    Attributes
    ----------
    n, reml : rows, and which criterion was minimised
    sigma : float
        In the user's units.
    F : array of shape (p, p)
    directions : array of shape (d, 2)
        Row and column, a <= b, of each entry of T.
    t : array of shape (d,)
        The entries of T.
    S : array of shape (d, p, p)
        -X'V^-1 G_k V^-1 X.
    S_e, S_ee : arrays of shape (d, p) and (d,)
        The same with e/r, the residual y - X beta^ of unit length, for one X, and for both.
    Q : array of shape (d, d, p, p)
        X'V^-1 G_k V^-1 G_l V^-1 X.
    Q_ee : array of shape (d, d)
    traces, trace_pairs : arrays of shape (d,) and (d, d)
        tr(V^-1 G_k), tr(V^-1 G_k V^-1 G_l).
    to_chart : array of shape (d, c)
        dt / dx in coordinates x of T in which nothing is redundant (``cpp/core/chart.hpp``).
    turning : array of shape (c, c)
        Gamma contracted with the second derivatives of T in x.
    """

    n: int
    reml: bool
    sigma: float
    F: FloatArray
    directions: npt.NDArray[np.intp]
    t: FloatArray
    S: FloatArray
    S_e: FloatArray
    S_ee: FloatArray
    Q: FloatArray
    Q_ee: FloatArray
    traces: FloatArray
    trace_pairs: FloatArray
    to_chart: FloatArray
    turning: FloatArray

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.F)

    @property
    def nu(self) -> int:
        """Residual degrees of freedom n - p, or n under maximum likelihood."""
        return self.n - self.p if self.reml else self.n


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
    to_chart, turning = _through_chart(problem, factor, here.gamma, directions)
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
        Q=Q.reshape(d, d, p + 1, p + 1)[:, :, :p, :p],
        Q_ee=Q.reshape(d, d, p + 1, p + 1)[:, :, p, p],
        traces=found.traces,
        trace_pairs=found.trace_pairs,
        to_chart=to_chart,
        turning=turning,
    )


def _through_chart(
    problem: Problem, factor: FloatArray, gamma: FloatArray, directions: npt.NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Return dt/dx and tr(Gamma d^2 T/dx^2): dT in F_ij is e_i f_j' + f_j e_i', f_j column j."""
    structure = problem.structure
    if not structure.blocks:
        return np.zeros((0, 0)), np.zeros((0, 0))
    F, basis = _core.chart(blocks=structure.blocks, factor=factor)
    i, j = np.array(structure.block_entries, dtype=np.intp).T
    a, b = directions[:, 0], directions[:, 1]
    of_entries = (i[:, None] == a) * F[b][:, j].T + (i[:, None] == b) * F[a][:, j].T
    second = 2.0 * (j[:, None] == j) * gamma[np.ix_(i, i)]
    return of_entries.T @ basis, basis.T @ second @ basis


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
