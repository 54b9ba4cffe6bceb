"""Tails of t and F, whose denominator may have infinitely many degrees of freedom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

FloatArray = npt.NDArray[np.float64]


def t_p_values(t: FloatArray, df: FloatArray) -> FloatArray:
    """Return two-sided p-values of t statistics."""
    finite = np.where(np.isinf(df), 1.0, df)
    p = np.where(np.isinf(df), ndtr(-np.abs(t)), stdtr(finite, -np.abs(t)))
    return np.asarray(2 * p)


def t_quantiles(alpha: npt.ArrayLike, df: FloatArray) -> FloatArray:
    """Return what |t| exceeds with probability alpha."""
    half = np.asarray(alpha, dtype=np.float64) / 2
    finite = np.where(np.isinf(df), 1.0, df)
    return np.asarray(-np.where(np.isinf(df), ndtri(half), stdtrit(finite, half)))


def f_p_value(F: float, num_df: int, den_df: float) -> float:
    """Return the upper tail of F."""
    if np.isinf(den_df):
        return float(chdtrc(num_df, num_df * F))
    return float(fdtrc(num_df, den_df, F))
