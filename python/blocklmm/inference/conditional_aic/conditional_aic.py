"""The conditional AIC: how well the model predicts for the groups it has seen.

The fitted values are y^ = X beta^ + Z b^ = y - P y, with V = I + ZTZ' relative to sigma^2 and
P = V^-1 - V^-1X (X'V^-1X)^-1 X'V^-1 (rows scaled by the square roots of their weights). Given T
they are linear in y, and

    rho = tr(I - P) = tr(V^-1 ZTZ') + p - tr((X'V^-1X)^-1 X'V^-1 ZTZ' V^-1X)

is their degrees of freedom (Hodges & Sargent 2001): p without random effects, less than the rank
of [X Z] with. But T is estimated from y as well. By Stein's lemma the bias of the conditional
log-likelihood is the divergence of y^, with all that depends on y (Greven & Kneib 2010):

    tr(dy^/dy) = rho + sum_a (dx_a/dy)' u_a,    u_a = dy^/dx_a = P G_a P y,   G_a = Z dT/dx_a Z'

for coordinates x of T in which nothing is redundant. The profiled criterion is
f = h(x) + nu log y'Py, with f_a = h_a - nu y'u_a / y'Py; the implicit function theorem gives

    sum_b f_ab dx_b/dy = (2 nu / r^2) (u_a - (y'u_a / r^2) Py),      r^2 = y'Py.

What is left are sums over levels. With z = Z'Py, v_a = dT_a z, w_a = Z'PZ v_a, so that
u_a = PZ v_a, and with PP = P - P ZTZ' P,

    y'u_a = z'v_a,   u_a'u_b = v_a'w_b - w_a'T w_b,   (Py)'u_b = z'v_b - z'T w_b.

Where a variance is zero u_a = 0: it has no part while it stays there.

R's cAIC4 has half of the second term of dx/dy, (y'u_a / r^2) Py, which makes its degrees of
freedom a little larger (31.30 for 31.25 in sleepstudy with random slopes). What stands here is the
derivative of fits to changed responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.effects import FittedEffects
from blocklmm.errors import warn
from blocklmm.inference.degrees_of_freedom.satterthwaite import Satterthwaite
from blocklmm.inference.degrees_of_freedom.variance_derivatives import VarianceDerivatives
from blocklmm.tables import Rounded

from .random_products import Effects, RandomProducts, inner

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class ConditionalAIC(Rounded):
    """Conditional AIC of a fit, and what it is made of.

    Attributes
    ----------
    llf : float
        Conditional log-likelihood: that of y given the random effects at their conditional modes,
        with the fit's sigma.
    hat_trace : float
        rho, the trace of the hat matrix of X beta^ + Z b^ with the variances taken as known.
    effective_df : float
        Trace of the derivative of X beta^ + Z b^ in y, the estimation of the variances included.
        NaN where the criterion has no minimum in them.
    """

    llf: float
    hat_trace: float
    effective_df: float

    @property
    def caic(self) -> float:
        """-2 llf + 2 (effective_df + 1), the one for sigma (Greven & Kneib 2010)."""
        return -2 * self.llf + 2 * (self.effective_df + 1)

    @property
    def caic_known_variances(self) -> float:
        """-2 llf + 2 (hat_trace + 1) (Vaida & Blanchard 2005).

        It prefers the model with the random effect whenever its variance is not exactly zero.
        """
        return -2 * self.llf + 2 * (self.hat_trace + 1)


def conditional_aic(fit: FittedEffects, errors: Satterthwaite) -> ConditionalAIC:
    """Compute the conditional AIC from the statistics; no row is read.

    Parameters
    ----------
    fit : FittedEffects
    errors : Satterthwaite
        Of its fixed effects; they hold the derivatives in the variances.

    Returns
    -------
    ConditionalAIC
    """
    d = errors.derivatives
    assert isinstance(d, VarianceDerivatives)
    # of V^-2 = V^-1 - V^-1 ZTZ' V^-1 between the residual, of unit length in V^-1
    remains = max(1 + float(d.t @ d.S_ee), 0.0)
    rho = d.p + float(d.t @ (d.traces + np.trace(d.S, axis1=1, axis2=2)))
    n, sigma2 = d.n, d.sigma**2
    log_weights = fit._problem.units.log_weights
    llf = -0.5 * (n * np.log(2 * np.pi * sigma2) - log_weights + d.nu * remains)
    moved = _through_variances(fit, errors) if fit._has_random else 0.0
    return ConditionalAIC(float(llf), rho, rho + moved)


def _through_variances(fit: FittedEffects, errors: Satterthwaite) -> float:
    """Return sum_a (dx_a/dy)' u_a."""
    nu = errors.derivatives.nu
    if not errors.is_minimum:
        warn("no conditional AIC: the fit is not at a minimum of the criterion")
        return np.nan
    problem, optimum = fit._problem, fit._optimum
    N = optimum.evaluation.inverse_factor
    r2 = 1 / N[-1, -1] ** 2  # y in the core's units
    products = RandomProducts(problem, optimum.factor, N)
    z = _residual(fit, products)
    T, dT = optimum.factor @ optimum.factor.T, _covariance_changes(fit)
    v = []
    own = [problem.design.members(f) for f in range(len(z))]
    for f, part in enumerate(z):
        of_factor = dT[np.ix_(range(len(dT)), own[f], own[f])]
        v.append(np.einsum("aqr,lr->lqa", of_factor, part[:, :, 0]))
    w = products.zpz(v)
    Tw = [T[np.ix_(mine, mine)] @ part for mine, part in zip(own, w, strict=True)]
    yu = inner(z, v)[0]
    uu, Pyu = inner(v, w) - inner(w, Tw), yu - inner(z, Tw)[0]
    mixed = 2 * nu / r2 * (uu - np.outer(yu, Pyu) / r2)
    return float((errors.inverse_hessian * mixed).sum())


def _residual(fit: FittedEffects, products: RandomProducts) -> Effects:
    """Return z = Z'V^-1 (y - X beta^).

    Z'(y - X beta^) is (I + Z'Z) b for the conditional modes b at T = I: so what a second pass over
    the rows took from y is in it.
    """
    identity = np.eye(fit._problem.structure.q)
    found = fit._mode_results("modes", in_core_units=True, factor=identity)
    b = [results["modes"][:, :, None] for results in found]
    return products.whitened([m + part for m, part in zip(products.zz(b), b, strict=True)])


def _covariance_changes(fit: FittedEffects) -> FloatArray:
    """Return dT/dx_a, shape (c, q, q), for the coordinates of the Hessian."""
    structure = fit._problem.structure
    F, basis = _core.chart(blocks=structure.blocks, factor=fit._optimum.factor)
    dF = np.zeros((basis.shape[1], structure.q, structure.q))
    i, j = np.array(structure.block_entries, dtype=np.intp).T
    dF[:, i, j] = basis.T
    half = dF @ F.T
    return np.asarray(half + half.transpose(0, 2, 1))
