"""Estimated marginal means: what the model predicts for each level, others weighed alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import tables
from blocklmm.arguments import require_level
from blocklmm.errors import DataError
from blocklmm.fitted_rows import FittedRows
from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.inference.fixed_effects.span import span_of
from blocklmm.inference.testing.tails import t_quantiles

from .estimable import Estimator
from .pairs import PairwiseDifferences, pairwise
from .reference_grid import reference_grid

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class MarginalMeans:
    """Estimated marginal means.

    Attributes
    ----------
    factors, by : tuple of str
        The variables whose levels have means, and those within whose levels they are compared.
    levels : DataFrame
        A row for each mean, with columns ``factors`` and ``by``.
    X : array of shape (means, columns of X)
        What the means are of all coefficients.
    offset : array of shape (means,)
        What is added to them.
    level : float
        Of the intervals.
    notes : tuple of str
        What the means are averaged over, and where covariates stand.
    """

    factors: tuple[str, ...]
    by: tuple[str, ...]
    levels: pd.DataFrame
    X: FloatArray
    offset: FloatArray
    level: float
    notes: tuple[str, ...]
    _estimator: Estimator

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each mean.

        Returns
        -------
        DataFrame
            The levels, then emmean, std_error, df, conf_low, conf_high; NaN where the data do not
            determine a mean, because cells are empty.
        """
        found = self._estimator.estimate(self.X, self.offset)
        half = t_quantiles(1 - self.level, found.df) * found.std_error
        return self.levels.assign(
            emmean=found.estimate,
            std_error=found.std_error,
            df=found.df,
            conf_low=found.estimate - half,
            conf_high=found.estimate + half,
        )

    def pairs(self, adjust: str = "tukey") -> PairwiseDifferences:
        """Return the differences of all pairs of means, within each combination of ``by``.

        Parameters
        ----------
        adjust : {"tukey", "holm", "bonferroni", "sidak", "none"}
            How p-values and intervals account for their number in each family; intervals beside
            Holm's p-values are Bonferroni's.

        Raises
        ------
        OptionError, DataError
            For another adjustment, and if there are no two means to compare.
        """
        return pairwise(
            self.levels,
            self.by,
            self.X,
            self.offset,
            self._estimator,
            adjust,
            self.level,
            self.notes,
        )

    def __repr__(self) -> str:
        return tables.text(self.to_frame(), self.notes)

    def _repr_html_(self) -> str:
        return tables.html(self.to_frame(), self.notes)


def emmeans(
    fit: FittedRows,
    errors: FixedErrors,
    factor: str | Sequence[str],
    by: str | Sequence[str] | None,
    at: Mapping[str, Any] | None,
    level: float,
) -> MarginalMeans:
    """Estimate marginal means of a fit; see the fit's method."""
    require_level(level)
    factors, conditions = _names(factor, "factor"), _names(by or (), "by")
    if not factors:
        raise DataError("name at least one factor whose levels are to have means")
    wanted = [*factors, *conditions]
    if len(set(wanted)) < len(wanted):
        raise DataError(f"a variable is named twice: {', '.join(map(repr, wanted))}")
    if at is not None and not isinstance(at, Mapping):
        raise TypeError(f"at is a dict of variables and values, not {type(at).__name__!r}")
    grid = reference_grid(fit, wanted, at or {})
    notes = [f"{errors.name} degrees of freedom, intervals of level {level:g}"]
    if grid.averaged:
        levels = ", ".join(f"{name} ({count})" for name, count in grid.averaged.items())
        notes.append(f"averaged over the levels of {levels}")
    if grid.held:
        notes.append("at " + ", ".join(f"{name} = {v:.6g}" for name, v in grid.held.items()))
    if grid.mixed:
        notes.append(
            f"mind the interactions {', '.join(grid.mixed)}: means and differences are others at "
            "other values of the variables averaged over or held"
        )
    if not fit.response_name.strip("`").replace(".", "_").isidentifier():
        notes.append(f"on the scale of {fit.response_name}")
    estimator = Estimator(fit._beta, errors, span_of(fit._problem))
    return MarginalMeans(
        factors, conditions, grid.levels, grid.X, grid.offset, level, tuple(notes), estimator
    )


def _names(given: str | Sequence[str], role: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{role} is a variable's name or several, not {given!r}")
    return names
