"""All differences of two marginal means, in families."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import tables
from blocklmm.errors import DataError
from blocklmm.inference.testing.multiplicity import (
    adjusted_p_values,
    critical_values,
    require_adjustment,
)

from .estimable import Estimator

FloatArray = npt.NDArray[np.float64]

_MOST_PAIRS = 20_000
_LOOKS_LIKE_ARITHMETIC = re.compile(r"[-+*/]")


@dataclass(frozen=True, slots=True, repr=False)
class PairwiseDifferences:
    """Differences of marginal means, named as emmeans names them: ``A - B``.

    Attributes
    ----------
    labels : DataFrame
        A row for each difference: its name in ``contrast``, and its levels of ``by``.
    estimate, std_error, df : array of shape (m,)
    n_means : int
        How many means each family compares; its differences stand together.
    level : float
        With which all intervals of a family together cover.
    adjustment : str
    """

    labels: pd.DataFrame
    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    n_means: int
    level: float
    adjustment: str
    notes: tuple[str, ...]

    def adjust(self, method: str) -> PairwiseDifferences:
        """Return the same differences with another adjustment for their number.

        Parameters
        ----------
        method : {"tukey", "holm", "bonferroni", "sidak", "none"}

        Raises
        ------
        OptionError
        """
        require_adjustment(method, is_pairwise=True)
        return replace(self, adjustment=method)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each difference.

        Returns
        -------
        DataFrame
            Columns contrast, those of ``by``, estimate, std_error, df, statistic, p_value,
            conf_low, conf_high; NaN where the data do not determine a difference.
        """
        t = self.estimate / self.std_error
        p, half = np.empty(len(t)), np.empty(len(t))
        size = self.n_means * (self.n_means - 1) // 2
        for start in range(0, len(t), size):
            own = slice(start, start + size)
            p[own] = adjusted_p_values(t[own], self.df[own], self.adjustment, self.n_means)
            half[own] = critical_values(self.level, self.df[own], self.adjustment, self.n_means)
        half *= self.std_error
        return self.labels.assign(
            estimate=self.estimate,
            std_error=self.std_error,
            df=self.df,
            statistic=t,
            p_value=p,
            conf_low=self.estimate - half,
            conf_high=self.estimate + half,
        )

    def _all_notes(self) -> list[str]:
        notes = list(self.notes)
        if self.adjustment != "none" and self.n_means > 2:
            notes.append(f"{self.adjustment} adjustment in families of {self.n_means} means")
        return notes

    def __repr__(self) -> str:
        return tables.text(self.to_frame(), self._all_notes())

    def _repr_html_(self) -> str:
        return tables.html(self.to_frame(), self._all_notes())


def pairwise(
    levels: pd.DataFrame,
    by: tuple[str, ...],
    X: FloatArray,
    offset: FloatArray,
    estimator: Estimator,
    adjust: str,
    level: float,
    notes: tuple[str, ...],
) -> PairwiseDifferences:
    """Return all differences of marginal means; see :class:`.MarginalMeans` for what they are."""
    require_adjustment(adjust, is_pairwise=True)
    within = list(by)
    compared = levels.drop(columns=within)
    n_families = len(levels[within].drop_duplicates()) if by else 1
    n_means = len(levels) // n_families
    if n_means < 2:
        raise DataError(f"{', '.join(map(repr, compared))} has one level here: no differences")
    n_pairs = n_families * n_means * (n_means - 1) // 2
    if n_pairs > _MOST_PAIRS:
        raise DataError(
            f"{n_pairs:,} differences of pairs are more than {_MOST_PAIRS:,}: take fewer levels "
            "with at, or choose contrasts of your own"
        )
    first, second = np.triu_indices(n_means, k=1)
    # means of one family stand together: the variables of ``by`` run slowest
    start = n_means * np.repeat(np.arange(n_families), len(first))
    a, b = start + np.tile(first, n_families), start + np.tile(second, n_families)
    names = _names(compared.iloc[:n_means])
    labels = levels[within].iloc[a].reset_index(drop=True)
    contrast = [f"{names[i]} - {names[j]}" for i, j in zip(first, second, strict=True)]
    labels.insert(0, "contrast", contrast * n_families)
    found = estimator.estimate(X[a] - X[b], offset[a] - offset[b])
    return PairwiseDifferences(
        labels, found.estimate, found.std_error, found.df, n_means, level, adjust, notes
    )


def _names(levels: pd.DataFrame) -> list[str]:
    """Return the means' names: numbers with their variable's, in brackets what could be a sum."""
    parts = [_texts(str(name), levels[name]) for name in levels]
    joined = [" ".join(row) for row in zip(*parts, strict=True)]
    return [f"({name})" if _LOOKS_LIKE_ARITHMETIC.search(name) else name for name in joined]


def _texts(name: str, values: pd.Series[Any]) -> list[str]:
    texts = [f"{v:.15g}" if isinstance(v, float) else str(v) for v in values]
    try:
        _ = [float(text) for text in texts]
    except ValueError:
        return texts
    return [f"{name}{text}" for text in texts]
