"""The studentized range: how far the largest of k normal means lies from the smallest.

Tukey's comparisons ask for its tail at as many degrees of freedom as there are differences. With H
the tail of the range of k standard normals,

    H(w) = k ∫ phi(z) Phi(z)^(k-1) (1 - (1 - Phi(z - w) / Phi(z))^(k-1)) dz,

the studentized range exceeds q with probability ∫ H(q s) f(s) ds, where df s^2 is chi-square with
df degrees of freedom (Lund & Lund 1983, AS 190; Copenhaver & Holland 1988). Both integrands decay
fast on either side, so that the trapezoidal rule converges exponentially: the outer one is taken in
log s. H is computed once for each k and interpolated. SciPy's ``studentized_range`` gives the same
numbers one by one, a hundred times slower.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline, make_interp_spline
from scipy.special import log_ndtr, ndtr

from .tails import t_quantiles

FloatArray = npt.NDArray[np.float64]

_WIDEST = 36.0  # beyond it a normal range has no probability that a double holds beside others
_N_OUTER = 320
_N_STEPS = 50
_BESIDE = 1e-4


def range_p_values(q: FloatArray, k: int, df: FloatArray) -> FloatArray:
    """Return the probabilities that the studentized range of k means exceeds q.

    Parameters
    ----------
    q : array of shape (m,)
    k : int
    df : array of shape (m,)
        May be infinite.

    Returns
    -------
    array of shape (m,)
        Correct to some 1e-9 of their size (1e-5 with one degree of freedom); NaN where q is.
    """
    q, df = np.broadcast_arrays(np.asarray(q, dtype=np.float64), np.asarray(df, dtype=np.float64))
    finite = np.where(np.isinf(df), 1.0, df)[:, None]
    # where the density of log s has fallen by e^-36
    low = -(np.sqrt(36 / finite) + 36 / finite)
    high = 0.5 * np.log1p(90 / finite + 2 * np.sqrt(90 / finite))
    u = low + (high - low) * np.linspace(0.0, 1.0, _N_OUTER)
    f = np.exp(finite * (u - np.expm1(2 * u) / 2))  # up to a constant
    tails = _normal_range_tail(q[:, None] * np.exp(u), k)
    over_s = (tails * f).sum(axis=1) / f.sum(axis=1)
    return np.where(np.isinf(df), _normal_range_tail(q, k), over_s)


def range_quantiles(level: float, k: int, df: FloatArray) -> FloatArray:
    """Return what the studentized range of k means stays below with probability ``level``.

    Parameters
    ----------
    level : float
    k : int
    df : array of shape (m,)

    Returns
    -------
    array of shape (m,)
        Unknown degrees of freedom count as infinite.
    """
    distinct, place = np.unique(np.where(np.isnan(df), np.inf, df), return_inverse=True)
    # Newton's method in log q, in which the log tail is concave: from above, Bonferroni's quantile
    alpha = 1 - level
    x = np.log(np.sqrt(2) * t_quantiles(alpha / max(k * (k - 1) / 2, 1.0), distinct))
    for _ in range(_N_STEPS):
        here, beside = (np.log(range_p_values(np.exp(x + h), k, distinct)) for h in (0.0, _BESIDE))
        step = (np.log(alpha) - here) * _BESIDE / (beside - here)
        x = x + step
        if np.abs(step).max(initial=0.0) < 1e-12:
            break
    return np.asarray(np.exp(x)[place])


def _normal_range_tail(w: FloatArray, k: int) -> FloatArray:
    found = np.exp(_log_tail(k)(np.clip(w, 0.0, _WIDEST)))
    return np.where(w < _WIDEST, np.minimum(found, 1.0), np.where(np.isnan(w), np.nan, 0.0))


@lru_cache(maxsize=32)
def _log_tail(k: int) -> BSpline:
    """Return log H as a spline."""
    w = np.linspace(0.0, _WIDEST, 1201)
    z = np.arange(-9.0, 28.0, 0.1)
    weight = k * 0.1 / np.sqrt(2 * np.pi) * np.exp(-(z**2) / 2) * np.exp((k - 1) * log_ndtr(z))
    ratio = np.minimum(ndtr(z - w[:, None]) / ndtr(z), 1.0)
    with np.errstate(divide="ignore"):
        within = -np.expm1((k - 1) * np.log1p(-ratio))
    H = (weight * within).sum(axis=1)
    return make_interp_spline(w, np.log(H), k=5)
