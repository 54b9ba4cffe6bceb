"""What the exact Hessian of a criterion, and the covariance of the fixed effects, are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionDerivatives:
    """The sums of ``cpp/core/covariance_derivatives.hpp`` at an optimum, or at many.

    Everything is relative to sigma^2, V = I + Z T Z', and in the basis N of the fixed effects in
    which (X'V^-1X)^-1 is the identity: with F = B_x N, Var(beta^) = sigma^2 F F'. T is linear in
    its entries t_k, V = I + sum t_k G_k. Arrays may have leading axes, of responses that share a
    design.

    Attributes
    ----------
    n, reml : rows, and which criterion was minimised
    sigma : float or array
        In the user's units.
    F : array of shape (..., p, p)
    S : array of shape (..., d, p, p)
        -X'V^-1 G_k V^-1 X.
    S_e, S_ee : arrays of shape (..., d, p) and (..., d)
        The same with e/r, the residual y - X beta^ of unit length, for one X, and for both.
    Q_trace, Q_ee : arrays of shape (..., d, d)
        Of Q_kl = X'V^-1 G_k V^-1 G_l V^-1 X the trace, and the same with e/r for both X.
    trace_pairs : array of shape (..., d, d)
        tr(V^-1 G_k V^-1 G_l).
    to_chart : array of shape (..., d, c)
        dt / dx in coordinates x of T in which nothing is redundant (``cpp/core/chart.hpp``).
    turning : array of shape (..., c, c)
        Gamma contracted with the second derivatives of T in x.
    """

    n: int
    reml: bool
    sigma: float | FloatArray
    F: FloatArray
    S: FloatArray
    S_e: FloatArray
    S_ee: FloatArray
    Q_trace: FloatArray
    Q_ee: FloatArray
    trace_pairs: FloatArray
    to_chart: FloatArray
    turning: FloatArray

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return int(self.F.shape[-1])

    @property
    def nu(self) -> int:
        """Residual degrees of freedom n - p, or n under maximum likelihood."""
        return self.n - self.p if self.reml else self.n


def through_chart(
    entries: Sequence[tuple[int, int]],
    directions: npt.NDArray[np.intp],
    F: FloatArray,
    basis: FloatArray,
    gamma: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return dt/dx and tr(Gamma d^2 T/dx^2): dT in F_ij is e_i f_j' + f_j e_i', f_j column j.

    Parameters
    ----------
    entries : sequence of (int, int)
        Those of the terms' blocks, by columns.
    directions : array of shape (d, 2)
        The entries of T.
    F : array of shape (..., q, q)
        The factor of T that the chart is about.
    basis : array of shape (..., entries, c)
    gamma : array of shape (..., q, q)
    """
    i, j = np.array(entries, dtype=np.intp).reshape(-1, 2).T
    a, b = directions.T
    of_a, of_b = F[..., a[:, None], j], F[..., b[:, None], j]  # (..., d, entries)
    of_entries = (a[:, None] == i) * of_b + (b[:, None] == i) * of_a
    second = 2.0 * (j[:, None] == j) * gamma[..., i[:, None], i]
    return of_entries @ basis, np.swapaxes(basis, -1, -2) @ second @ basis
