"""Satterthwaite's degrees of freedom, from the exact Hessian of the criterion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.errors import warn
from blocklmm.inference.testing.tails import f_p_value
from blocklmm.inference.testing.wald import uncorrelated

from .criterion_derivatives import CriterionDerivatives
from .fixed_errors import FTest

FloatArray = npt.NDArray[np.float64]

_FLAT = 1e-9  # curvature, in parts of the number of rows, that is rounding
_SEEN = 1e-6  # what a flat direction may move a variance, in parts of it


class Satterthwaite:
    """Degrees of freedom by which a variance v of a contrast has the spread of chi-square.

    df = 2 v^2 / Var(v), with Var(v) = g'W g by the delta method: g is the gradient of v in the
    variance parameters and W = 2 H^-1 their asymptotic covariance, H the Hessian of the criterion
    with sigma among its arguments.

    Parameters
    ----------
    derivatives : CriterionDerivatives
        Of one fit, or of many: then all arrays have their leading axes.

    Attributes
    ----------
    derivatives : CriterionDerivatives
    inverse_hessian : array of shape (c, c)
        Inverse of the profiled criterion's Hessian in coordinates of T; flat directions, in which
        the criterion has no curvature, are left out.
    is_minimum : bool, or array of bool
        Whether no curvature is negative.
    cov : array of shape (p, p)
        Covariance of the fixed effects.
    cov_variances : array of shape (c+1, c+1)
        W, of coordinates of T and log sigma^2.

    Notes
    -----
    Fai & Cornelius (1996); Kuznetsova, Brockhoff & Christensen (2017), sec. 2, whose results these
    are, without numerical derivatives. The parameters are log sigma^2 and coordinates of T in
    which nothing is redundant: at a singular fit the variance that is zero, or the correlation
    that is one, takes no part, as its gradient vanishes there.
    """

    name = "satterthwaite"

    def __init__(self, derivatives: CriterionDerivatives) -> None:
        d = self.derivatives = derivatives
        sigma = np.asarray(d.sigma)[..., None, None]
        self.cov = np.asarray(sigma**2 * (d.F @ _transposed(d.F)))
        J, nu = d.to_chart, d.nu
        H = -d.trace_pairs + 2 * nu * d.Q_ee - 2 * nu * d.S_e @ _transposed(d.S_e)
        if d.reml:
            H = H + 2 * d.Q_trace - np.einsum("...kab,...lab->...kl", d.S, d.S)
        # with log sigma^2, whose own curvature is nu
        mixed = -nu * (_transposed(J) @ d.S_ee[..., None])
        profiled = _transposed(J) @ H @ J + d.turning - mixed @ _transposed(mixed) / nu
        values, vectors = np.linalg.eigh(0.5 * (profiled + _transposed(profiled)))
        size = np.abs(values)
        flat = size <= np.maximum(_FLAT * d.n, 1e-13 * size.max(axis=-1, initial=0.0))[..., None]
        self.is_minimum = ((values > 0) | flat).all(axis=-1)
        self._flat = vectors * flat[..., None, :]
        known = np.where(flat, 0.0, 1 / np.where(flat, 1.0, values))
        inverse = (vectors * known[..., None, :]) @ _transposed(vectors)
        self.inverse_hessian = inverse
        moved = inverse @ mixed / nu
        of_sigma = 1 / nu + _transposed(mixed) @ moved / nu
        self.cov_variances = 2 * np.block([[inverse, -moved], [-_transposed(moved), of_sigma]])

    def df(self, L: FloatArray) -> FloatArray:
        """Return the degrees of freedom of each row of L (k x p)."""
        d = self.derivatives
        u = L @ d.F
        v = (u**2).sum(axis=-1)  # of sigma^2
        along = -np.einsum("...ka,...dab,...kb->...kd", u, d.S, u) @ d.to_chart
        g = np.concatenate([along, v[..., None]], axis=-1)
        spread = np.einsum("...ka,...ab,...kb->...k", g, self.cov_variances, g)
        with np.errstate(divide="ignore", invalid="ignore"):
            out = 2 * v**2 / spread
        unknown = self.is_undetermined(along, _SEEN * v)
        if unknown.any():
            why = (
                "the criterion has no curvature in a variance on which the standard error depends; "
                "simplify the random effects, or choose another ddf"
                if np.all(self.is_minimum)
                else "the fit is not at a minimum of the criterion"
            )
            warn(f"no Satterthwaite degrees of freedom: {why}")
        return np.where(unknown | (v == 0), np.nan, out)

    def is_undetermined(self, along: FloatArray, most: FloatArray | float) -> npt.NDArray[np.bool_]:
        """Tell which functions of T, of gradients (k, c), have no variance.

        Directions in which the criterion is flat move them by more than ``most``.
        """
        unknown = np.abs(along @ self._flat).max(axis=-1, initial=0.0) > most
        return np.asarray(unknown | ~np.asarray(self.is_minimum)[..., None])

    def f_test(self, L: FloatArray, estimate: FloatArray) -> FTest:
        """Test L beta = 0: F on the df that match the mean of its independent t^2 (sec. 2.3).

        These are along the eigenvectors of L cov L' (Fai & Cornelius 1996), so that the df, as in
        lmerTest, depend a little on the scale of L's rows.
        """
        cov = L @ self.cov @ L.T
        t2, _ = uncorrelated(estimate, cov)
        q = len(t2)
        if q == 0:
            return FTest(np.nan, 0, np.nan, np.nan)
        directions = np.linalg.eigh(cov)[1][:, -q:].T @ L
        F, nu = float(t2.sum()) / q, self.df(directions)
        return FTest(F, q, den_df := _joint_df(nu), f_p_value(F, q, den_df))


def _transposed(M: FloatArray) -> FloatArray:
    return np.swapaxes(M, -1, -2)


def _joint_df(nu: FloatArray) -> float:
    """Return m with m / (m - 2) = mean of nu / (nu - 2), and 2 where one of them is 2 or less."""
    if np.isnan(nu).any():
        return np.nan
    if len(nu) == 1 or np.ptp(nu) <= 1e-8 * nu.max():
        return float(nu.mean())
    if (nu <= 2).any():
        return 2.0
    expected = float((nu / (nu - 2)).sum())
    return 2 * expected / (expected - len(nu))
