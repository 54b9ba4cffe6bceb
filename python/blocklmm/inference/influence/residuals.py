"""Residuals about the population's and the groups' means, as they are and in their own units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.errors import OptionError
from blocklmm.fitted_rows import FittedRows
from blocklmm.inference.clusters.clusters import ALONE

from .rows import row_parts

FloatArray = npt.NDArray[np.float64]

KINDS = (
    "conditional",
    "response",
    "marginal",
    "pearson",
    "standardized",
    "standardized_marginal",
)


def residuals(fit: FittedRows, kind: str) -> FloatArray:
    """Return residuals as ``fit.residuals()`` describes them.

    Parameters
    ----------
    fit : FittedRows
    kind : str
        One of ``KINDS``.

    Returns
    -------
    array of shape (nobs,)

    Raises
    ------
    DataError
        If the fit is without its rows.
    OptionError
        For an unknown kind.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is one of {', '.join(map(repr, KINDS))}, not {kind!r}")
    if kind in ("conditional", "response"):
        return fit.resid
    if kind == "pearson":
        return fit.pearson_resid
    if kind == "marginal":
        return _marginal(fit)
    if kind == "standardized":
        found, parts = fit.pearson_resid, [(part.P, part.v) for part in row_parts(fit)]
    else:
        weights = fit._row_weights(fit._frame(), is_training=True)[fit._used]
        found = np.sqrt(weights) * _marginal(fit)
        parts = [(part.V - (part.x**2).sum(axis=1), part.V) for part in row_parts(fit)]
    left, whole = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return np.asarray(found / (fit.sigma * np.sqrt(np.where(left > ALONE * whole, left, np.nan))))


def _marginal(fit: FittedRows) -> FloatArray:
    offsets = fit._problem.design.offsets
    out = fit._response() - fit._training.fixed
    if offsets:
        out = out - fit._problem.design.matrix(fit._frame(), offsets)[fit._used].sum(axis=1)
    return np.asarray(out)
