"""The errors of fixed effects: a covariance matrix, degrees of freedom, and F tests from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, ndtr, ndtri, stdtr, stdtrit

FloatArray = npt.NDArray[np.float64]

DDF = ("satterthwaite", "kenward-roger", "between-within", "residual", "asymptotic")
ROBUST = ("CR0", "CR1", "CR1S", "CR2", "CR3")


@dataclass(frozen=True, slots=True)
class FTest:
    """A joint test of several linear hypotheses.

    Attributes
    ----------
    statistic : float
        F, on num_df and den_df degrees of freedom.
    num_df : int
    den_df : float
    p_value : float
    """

    statistic: float
    num_df: int
    den_df: float
    p_value: float


class FixedErrors(Protocol):
    """What is known of the errors of the fixed effects."""

    @property
    def name(self) -> str:
        """The name of the method."""
        ...

    @property
    def cov(self) -> FloatArray:
        """Their covariance matrix, shape (p, p)."""
        ...

    def df(self, L: FloatArray) -> FloatArray:
        """Return the degrees of freedom of each row of L (k x p), shape (k,)."""
        ...

    def f_test(self, L: FloatArray, estimate: FloatArray) -> FTest:
        """Test L beta = 0 jointly, given the estimate of L beta; dependent rows are dropped."""
        ...


def two_sided_p(statistic: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Return two-sided p-values of Student's t; an infinite df is the normal distribution."""
    size, nu = np.broadcast_arrays(-np.abs(np.asarray(statistic, float)), np.asarray(df, float))
    finite = np.isfinite(nu) & (nu > 0)
    p = np.where(np.isinf(nu), 2 * ndtr(size), np.nan)
    p[finite] = 2 * stdtr(nu[finite], size[finite])
    return p


def t_quantile(level: float, df: npt.ArrayLike) -> FloatArray:
    """Return the half-widths of two-sided intervals, in standard errors."""
    tail = 0.5 + check_level(level) / 2
    nu = np.asarray(df, dtype=float)
    finite = np.isfinite(nu) & (nu > 0)
    out = np.where(np.isinf(nu), ndtri(tail), np.nan)
    out[finite] = stdtrit(nu[finite], tail)
    return out


def check_level(level: float) -> float:
    """Return a coverage, or raise a ValueError that says what it is."""
    if not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise ValueError(f"level is a coverage between 0 and 1, such as 0.95, not {level!r}")
    return float(level)


def f_tail(statistic: float, num_df: float, den_df: float) -> float:
    """Return the upper tail of F; NaN where den_df is not known."""
    if np.isinf(den_df):
        den_df = 1e300
    return float(fdtrc(num_df, den_df, statistic)) if den_df > 0 else np.nan


@dataclass(frozen=True, slots=True)
class ConstantDf:
    """The usual covariance, with the same degrees of freedom for each coefficient's rows.

    Parameters
    ----------
    name : str
    cov : array of shape (p, p)
    by_coefficient : array of shape (p,)
        A contrast has the fewest of the coefficients that it touches.
    """

    name: str
    cov: FloatArray
    by_coefficient: FloatArray

    def df(self, L: FloatArray) -> FloatArray:
        """Return the degrees of freedom of each row of L."""
        touched = np.where(L != 0, self.by_coefficient, np.inf)
        return np.asarray(touched.min(axis=1, initial=np.inf))

    def f_test(self, L: FloatArray, estimate: FloatArray) -> FTest:
        """Test L beta = 0 jointly."""
        t2, *_ = orthogonal_tests(L, estimate, self.cov)
        q = len(t2)
        F = float(t2.sum()) / q if q else np.nan
        den_df = float(self.df(L).min(initial=np.inf))
        return FTest(F, q, den_df, f_tail(F, q, den_df))


def orthogonal_tests(
    L: FloatArray, estimate: FloatArray, cov: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return independent t^2 whose sum is the Wald statistic of L beta.

    Parameters
    ----------
    L : array of shape (k, p)
    estimate : array of shape (k,)
        Of L beta, or of its distance from the hypothesis.
    cov : array of shape (p, p)

    Returns
    -------
    t2 : array of shape (q,)
        q is the rank of L cov L'.
    directions : array of shape (q, p)
        Contrasts whose estimates are uncorrelated.
    variances : array of shape (q,)
        Their variances.
    """
    # Rows in units of their standard errors, so that a rank does not depend on the units
    size = np.sqrt(np.maximum(np.einsum("kp,pr,kr->k", L, cov, L), 0.0))
    known = size > 0
    scaled = L[known] / size[known, None]
    values, vectors = np.linalg.eigh(scaled @ cov @ scaled.T)
    kept = values > 1e-10 * values.max(initial=0.0)
    directions = vectors[:, kept].T @ scaled
    along = vectors[:, kept].T @ (estimate[known] / size[known])
    return along**2 / values[kept], directions, values[kept]
