"""The errors of fixed effects: a covariance matrix, degrees of freedom, and F tests from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from blocklmm.inference.testing.tails import f_p_value
from blocklmm.inference.testing.wald import uncorrelated

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
        t2, _ = uncorrelated(estimate, L @ self.cov @ L.T)
        q = len(t2)
        F = float(t2.sum()) / q if q else np.nan
        den_df = float(self.df(L).min(initial=np.inf))
        return FTest(F, q, den_df, f_p_value(F, q, den_df))
