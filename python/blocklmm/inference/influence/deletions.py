"""The table of estimates without one part of the data at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.parameters import FittedParameters

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deletions:
    """Estimates without one of m parts of the data at a time; NaN where there are none.

    Attributes
    ----------
    n_rows, leverage, covratio : arrays of shape (m,)
    params, bse : arrays of shape (m, p)
        Fixed effects and their standard errors without the part.
    variances : array of shape (m, v)
        Variance parameters without the part.
    """

    n_rows: FloatArray
    leverage: FloatArray
    covratio: FloatArray
    params: FloatArray
    bse: FloatArray
    variances: FloatArray

    @classmethod
    def joined(cls, pieces: Iterable[Deletions]) -> Deletions:
        """Return pieces as one."""
        parts = list(pieces)
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def ordered(self, order: npt.NDArray[np.int64]) -> Deletions:
        """Return the parts in another order."""
        return Deletions(*(getattr(self, f.name)[order] for f in fields(self)))

    def to_frame(self, fit: FittedParameters, names: list[str], index: pd.Index) -> pd.DataFrame:
        """Return the table that ``fit.influence()`` describes.

        Parameters
        ----------
        fit : FittedParameters
            Of all data.
        names : list of str
            Of the variance parameters.
        index : Index of length m

        Returns
        -------
        DataFrame
        """
        p = len(fit._beta)
        moved = fit._beta - self.params
        F = fit._problem.units.unscaled_covariance_factor(fit._optimum.evaluation.inverse_factor)
        whitened = np.linalg.solve(F, moved.T).T / fit.sigma
        columns = {
            "n": self.n_rows.astype(np.int64),
            "cooks_distance": (whitened**2).sum(axis=1) / max(p, 1),
            "leverage": self.leverage,
            "covratio": self.covratio,
        }
        columns |= {f"dfbetas_{c}": moved[:, k] / self.bse[:, k] for k, c in enumerate(fit._names)}
        columns |= {f"params_{c}": self.params[:, k] for k, c in enumerate(fit._names)}
        columns |= {name: self.variances[:, k] for k, name in enumerate(names)}
        return pd.DataFrame(columns, index=index)
