"""The errors of the fixed effects: covariance, degrees of freedom, joint tests.

For now by the normal approximation alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

if TYPE_CHECKING:
    from blocklmm.parameters import FittedParameters

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FTest:
    """A joint test: statistic, its degrees of freedom, and the p-value."""

    statistic: float
    num_df: int
    den_df: float
    p_value: float


class FixedErrors:
    """Errors of the fixed effects by the normal approximation.

    Attributes
    ----------
    cov : array of shape (p, p)
    name : str
    """

    def __init__(self, fit: FittedParameters) -> None:
        self.cov, self.name = fit._cov_beta, "asymptotic"
        self._beta = fit._beta

    def df(self, L: FloatArray) -> FloatArray:
        """Return the degrees of freedom of each row of L (k x p), shape (k,)."""
        return np.full(len(L), np.inf)

    def f_test(self, L: FloatArray) -> FTest:
        """Test L beta = 0 jointly; redundant rows of L count once."""
        V = L @ self.cov @ L.T
        scale = np.sqrt(np.where(np.diag(V) > 0, np.diag(V), 1.0))
        values, vectors = np.linalg.eigh(V / np.outer(scale, scale))
        positive = values > 1e-8 * values.max(initial=0.0)
        num_df = int(positive.sum())
        if num_df == 0:
            return FTest(np.nan, 0, np.nan, np.nan)
        z = vectors[:, positive].T @ (L @ self._beta / scale)
        wald = float((z**2 / values[positive]).sum())
        return FTest(wald / num_df, num_df, np.inf, float(chdtrc(num_df, wald)))


def fixed_errors(fit: FittedParameters, ddf: str | None, robust: str | None) -> FixedErrors:
    """Return the errors of a fit's fixed effects.

    Raises
    ------
    ValueError
    """
    if ddf not in (None, "asymptotic") or robust is not None:
        raise ValueError(f"ddf is 'asymptotic', not {ddf!r}")
    return FixedErrors(fit)
