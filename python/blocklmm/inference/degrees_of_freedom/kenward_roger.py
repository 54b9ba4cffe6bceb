"""Kenward & Roger's adjusted covariance and degrees of freedom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.errors import warn
from blocklmm.inference.testing.tails import f_p_value
from blocklmm.inference.testing.wald import uncorrelated

from .fixed_errors import FTest
from .variance_derivatives import (
    VarianceDerivatives,
    expected_information,
    pseudo_inverse,
    with_sigma,
)

FloatArray = npt.NDArray[np.float64]

_SEEN = 1e-6  # what an unknown variance may move a standard error, in parts of it


class KenwardRoger:
    """Small-sample covariance of the fixed effects, and F tests that account for it.

    Parameters
    ----------
    derivatives : VarianceDerivatives
        Of a REML fit.

    Attributes
    ----------
    cov : array of shape (p, p)
        Phi_A = Phi + 2 Phi (sum_kl W_kl (Q_kl - P_k Phi P_l)) Phi.

    Notes
    -----
    Kenward & Roger (1997), in the notation of Halekoh & Hojsgaard (2014), sec. 3: V = sum over
    covariance parameters of tau_k G_k, those of the random effects and sigma^2 with G = I, so that
    there are no second derivatives. W is the inverse of the expected information of the REML
    likelihood. Nothing is n by n: for sigma^2, I = V - Z T Z' turns its P and Q into those of T.
    The degrees of freedom do not depend on the parametrisation, which is linear.
    """

    name = "kenward-roger"

    def __init__(self, derivatives: VarianceDerivatives) -> None:
        d = derivatives
        self._F, self._sigma2 = d.F, d.sigma**2
        P, Q, _ = with_sigma(d)
        self._P = P
        known_alone = np.diag(expected_information(d, reml=False))
        self._W, self._unknown = pseudo_inverse(expected_information(d, reml=True), known_alone)
        U = np.einsum("kl,klab->ab", self._W, Q) - np.einsum("kl,kac,lcb->ab", self._W, P, P)
        adjusted = np.eye(d.p) + U + U.T
        self.cov = self._sigma2 * d.F @ adjusted @ d.F.T
        self._cov_unadjusted = self._sigma2 * d.F @ d.F.T

    def df(self, L: FloatArray) -> FloatArray:
        """Return the degrees of freedom of each row of L (k x p)."""
        return np.array([self._moments(row[None])[0] if row.any() else np.nan for row in L])

    def f_test(self, L: FloatArray, estimate: FloatArray) -> FTest:
        """Test L beta = 0: a scaled F that has the moments of an F distribution."""
        t2, weights = uncorrelated(estimate, L @ self.cov @ L.T)
        q = len(t2)
        if q == 0:
            return FTest(np.nan, 0, np.nan, np.nan)
        den_df, scaling = self._moments(weights @ L)
        F = scaling * float(t2.sum()) / q
        return FTest(F, q, den_df, f_p_value(F, q, den_df))

    def _moments(self, L: FloatArray) -> tuple[float, float]:
        """Return df and scale of F for independent rows (Halekoh & Hojsgaard 2014, sec. 3.1)."""
        u = np.linalg.qr((L @ self._F).T)[0]  # Theta Phi is the projection on these
        q = u.shape[1]
        projected = np.einsum("aq,kab,br->kqr", u, self._P, u)
        if (np.abs(np.einsum("kqr,ka->aqr", projected, self._unknown)) > _SEEN).any():
            warn(
                "no Kenward-Roger degrees of freedom: a variance on which the standard error "
                "depends is not identified; simplify the random effects"
            )
            return np.nan, np.nan
        traces = np.trace(projected, axis1=1, axis2=2)
        A1 = float(traces @ self._W @ traces)
        A2 = float(np.einsum("kl,kqr,lrq->", self._W, projected, projected))
        if A2 <= 1e-14:  # the variances are known exactly, as far as this hypothesis sees
            return np.inf, 1.0
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        below = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / below, (q - g) / below, (q + 2 - g) / below
        V0, V1, V2 = 1 + c1 * B, 1 - c2 * B, 1 - c3 * B
        if abs(V0) < 1e-10:
            V0 = 0.0
        rho = ((1 - A2 / q) / V1) ** 2 * V0 / V2 / q
        df = 4 + (q + 2) / (q * rho - 1)
        scaling = 1.0 if abs(df - 2) < 1e-2 else df * (1 - A2 / q) / (df - 2)
        return float(df), float(scaling)
