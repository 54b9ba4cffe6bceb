"""Functions of all coefficients, those of dropped columns too, where the data determine them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.inference.fixed_effects.span import Span
from blocklmm.inference.testing.wald import variances

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EstimatedFunctions:
    """Linear functions of all coefficients, estimated where the data determine them.

    Attributes
    ----------
    estimate, std_error, df : array of shape (m,)
        NaN where the data determine none.
    """

    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray


@dataclass(frozen=True, slots=True)
class Estimator:
    """What estimating functions of all coefficients takes.

    Attributes
    ----------
    beta : array of shape (p,)
    errors : FixedErrors
    span : Span
    """

    beta: FloatArray
    errors: FixedErrors
    span: Span

    def estimate(self, rows: FloatArray, constant: FloatArray) -> EstimatedFunctions:
        """Estimate rows beta + constant.

        Parameters
        ----------
        rows : array of shape (m, columns of X)
        constant : array of shape (m,)
        """
        is_known = self.span.is_estimable(rows)
        L = rows[is_known][:, self.span.kept]
        out = EstimatedFunctions(*np.full((3, len(rows)), np.nan))
        out.estimate[is_known] = L @ self.beta + constant[is_known]
        out.std_error[is_known] = np.sqrt(variances(L, self.errors.cov))
        if len(L):
            out.df[is_known] = self.errors.df(L)
        return out
