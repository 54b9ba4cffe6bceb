"""Standard errors of variance components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.inference.degrees_of_freedom.satterthwaite import Satterthwaite
from blocklmm.parameters import FittedParameters

FloatArray = npt.NDArray[np.float64]

_ONE = 1e-8  # what a correlation of one may lack
_SEEN = 1e-6  # what a flat direction may move the logarithm of a standard deviation


def variance_errors(fit: FittedParameters, errors: Satterthwaite) -> FloatArray:
    """Return standard errors in the order of ``varcorr.labels()``.

    Parameters
    ----------
    fit : FittedParameters
    errors : Satterthwaite
        They hold the inverse of the Hessian.

    Returns
    -------
    array of shape (labels,)
        NaN for a standard deviation of zero, a correlation of one or that is not defined, and what
        the criterion does not determine.

    Notes
    -----
    The delta method: Var(h) = g'W g, W = 2 H^-1 with H the exact Hessian of the criterion that was
    minimised, in coordinates x of T without redundancy and log sigma^2 (``satterthwaite.py``). With
    Sigma = sigma^2 C, C = B T B' for the columns' change of basis B, and C' its derivative along x,

        log sd_i = (log sigma^2 + log C_ii) / 2     g = (C'_ii / C_ii, 1) / 2
        cor_ij = C_ij / sqrt(C_ii C_jj)             g = (C'_ij / sqrt(C_ii C_jj)
                                                         - cor_ij (log C_ii + log C_jj)' / 2, 0)

    At a singular fit they take the boundary as given: what holds the fit there has no part in x.
    Wald's intervals are poor for variances; profiles are better (Bates et al. 2015, sec. 5.1).
    """
    units, structure = fit._problem.units, fit._problem.structure
    gradients, scales = [], []
    if structure.blocks:
        F, basis = _core.chart(blocks=structure.blocks, factor=fit._optimum.factor)
    i, j = np.array(structure.block_entries, dtype=np.intp).reshape(-1, 2).T
    for s, term in zip(structure.slices, fit.varcorr, strict=True):
        own = np.flatnonzero((s.start <= i) & (i < s.stop))
        dF = np.zeros((basis.shape[1], structure.q, structure.q))
        dF[:, i[own], j[own]] = basis[own].T
        half, d_half = units.z_basis[s] @ F, units.z_basis[s] @ dF
        C = half @ half.T
        dC = d_half @ half.T
        dC = dC + dC.transpose(0, 2, 1)
        sd, n = np.sqrt(np.diag(C)), len(C)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = dC / np.outer(sd, sd)
        corr = term.corr
        for k in range(n):
            gradients.append(np.append(0.5 * scaled[:, k, k], 0.5))
            scales.append(term.sd[k] if term.sd[k] > 0 else np.nan)
        for l in range(n):  # noqa: E741
            for k in range(l + 1, n):
                of_sds = 0.5 * corr[k, l] * (scaled[:, k, k] + scaled[:, l, l])
                gradients.append(np.append(scaled[:, k, l] - of_sds, 0.0))
                scales.append(1.0 if abs(corr[k, l]) < 1 - _ONE else np.nan)
    n_x = len(errors.cov_variances) - 1
    gradients.append(np.append(np.zeros(n_x), 0.5))
    scales.append(fit.sigma)
    g = np.array(gradients)
    spread = np.einsum("ka,ab,kb->k", g, errors.cov_variances, g)
    unknown = errors.is_undetermined(g[:, :-1], _SEEN)
    with np.errstate(invalid="ignore"):
        return np.where(unknown, np.nan, np.array(scales) * np.sqrt(spread))
