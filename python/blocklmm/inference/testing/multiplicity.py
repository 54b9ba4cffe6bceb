"""p-values and intervals of a family of comparisons, adjusted for their number.

Each comparison keeps its own degrees of freedom. As in emmeans, the family's size counts what could
not be estimated too, and one comparison alone is not adjusted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.errors import OptionError

from .studentized_range import range_p_values, range_quantiles
from .tails import t_p_values, t_quantiles

FloatArray = npt.NDArray[np.float64]

ADJUSTMENTS = ("holm", "bonferroni", "sidak", "none")
"""Those for any family; "tukey" is for all differences of some means."""


def require_adjustment(adjust: str, is_pairwise: bool) -> None:
    """Raise an OptionError unless the adjustment is one for such a family."""
    known = ("tukey", *ADJUSTMENTS) if is_pairwise else ADJUSTMENTS
    if adjust not in known:
        hint = "; Tukey's is for all differences of means: emmeans(...).pairs()"
        raise OptionError(
            f"adjust is one of {', '.join(map(repr, known))}, not {adjust!r}"
            + (hint if adjust == "tukey" else "")
        )


def adjusted_p_values(t: FloatArray, df: FloatArray, adjust: str, n_means: int = 0) -> FloatArray:
    """Return the two-sided p-values of one family.

    Parameters
    ----------
    t, df : array of shape (m,)
        NaN where there is no estimate.
    adjust : {"tukey", "holm", "bonferroni", "sidak", "none"}
        Tukey (1953) and Kramer (1956), Holm (1979), Bonferroni, Šidák (1967).
    n_means : int
        For Tukey's, how many means are compared.

    Returns
    -------
    array of shape (m,)
    """
    m = len(t)
    p = t_p_values(t, df)
    if m < 2 or adjust == "none":
        return p
    if adjust == "tukey":
        return range_p_values(np.sqrt(2) * np.abs(t), n_means, df) if n_means > 2 else p
    if adjust == "bonferroni":
        return np.asarray(np.minimum(m * p, 1.0))
    if adjust == "sidak":
        with np.errstate(divide="ignore"):  # of p = 1
            return np.asarray(-np.expm1(m * np.log1p(-p)))
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.minimum((m - np.arange(m)) * p[order], 1.0))
    out = np.empty(m)
    out[order] = steps
    return out


def critical_values(level: float, df: FloatArray, adjust: str, n_means: int = 0) -> FloatArray:
    """Return by how many standard errors the intervals of one family reach, shape (m,).

    Together they cover with probability ``level``. Holm's steps have no intervals of their own;
    Bonferroni's go with them.
    """
    m, alpha = len(df), 1 - level
    if m < 2 or adjust == "none" or (adjust == "tukey" and n_means < 3):
        return t_quantiles(alpha, df)
    if adjust == "tukey":
        return np.asarray(range_quantiles(level, n_means, df) / np.sqrt(2))
    if adjust == "sidak":
        return t_quantiles(-np.expm1(np.log(level) / m), df)
    return t_quantiles(alpha / m, df)
