"""Linear functions of the fixed effects: estimates, tests and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import tables
from blocklmm.arguments import as_floats, require_level
from blocklmm.errors import DataError, did_you_mean
from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors, FTest
from blocklmm.inference.testing.multiplicity import (
    adjusted_p_values,
    critical_values,
    require_adjustment,
)
from blocklmm.inference.testing.wald import variances
from blocklmm.parameters import FittedParameters

from .linear_text import parse_linear

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Contrasts:
    """Linear functions L beta + constant of the fixed effects, tested against ``rhs``.

    Attributes
    ----------
    names : tuple of str
    L : array of shape (k, p)
    estimate, std_error, df : array of shape (k,)
    rhs : array of shape (k,)
        The values under the null hypothesis.
    level : float
        Of the intervals.
    adjustment : str
        For the number of contrasts; "none" to begin with.
    """

    names: tuple[str, ...]
    L: FloatArray
    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    rhs: FloatArray
    level: float
    adjustment: str
    _errors: FixedErrors

    def adjust(self, method: str = "holm") -> Contrasts:
        """Return the same contrasts with p-values and intervals adjusted for their number.

        Parameters
        ----------
        method : {"holm", "bonferroni", "sidak", "none"}
            Intervals beside Holm's p-values are Bonferroni's.

        Raises
        ------
        OptionError
        """
        require_adjustment(method, is_pairwise=False)
        return replace(self, adjustment=method)

    @property
    def f_test(self) -> FTest:
        """The joint test that all equal their ``rhs``; ones that repeat others count once."""
        distance = self.estimate - self.rhs
        left, sizes, _ = np.linalg.svd(self.L)
        rank = int((sizes > 1e-10 * sizes.max(initial=0.0)).sum())
        among = left[:, rank:].T  # combinations of the contrasts that are zero
        allowed = 1e-8 * np.abs(among) @ (np.abs(self.estimate) + np.abs(self.rhs))
        if (np.abs(among @ distance) > allowed).any():
            raise DataError(
                "the hypotheses contradict each other: some contrasts depend on others, and what "
                "they are tested against does not; test them one by one"
            )
        return self._errors.f_test(self.L, distance)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each contrast, indexed by name.

        Returns
        -------
        DataFrame
            Columns estimate, std_error, statistic, df, p_value, conf_low, conf_high.
        """
        t = (self.estimate - self.rhs) / self.std_error
        half = critical_values(self.level, self.df, self.adjustment) * self.std_error
        return pd.DataFrame(
            {
                "estimate": self.estimate,
                "std_error": self.std_error,
                "statistic": t,
                "df": self.df,
                "p_value": adjusted_p_values(t, self.df, self.adjustment),
                "conf_low": self.estimate - half,
                "conf_high": self.estimate + half,
            },
            index=pd.Index(self.names, dtype=object),
        )

    def _notes(self) -> list[str]:
        notes = [f"{self._errors.name} degrees of freedom, intervals of level {self.level:g}"]
        if self.rhs.any():
            notes.append("tested against " + ", ".join(f"{v:g}" for v in self.rhs))
        if self.adjustment != "none" and len(self.names) > 1:
            notes.append(f"{self.adjustment} adjustment for {len(self.names)} contrasts")
        return notes

    def __repr__(self) -> str:
        return tables.text(self.to_frame(), self._notes())

    def _repr_html_(self) -> str:
        return tables.html(self.to_frame(), self._notes())


def contrast(
    fit: FittedParameters, L: Any, errors: FixedErrors, rhs: Any, level: float
) -> Contrasts:
    """Estimate and test linear functions of a fit's fixed effects; see the fit's method."""
    require_level(level)
    coefficients, dropped = list(fit.params.index), list(fit.dropped_columns)
    names, weights, constant, values = read_contrasts(L, coefficients, dropped)
    given = _numbers(rhs, "rhs")
    if given.ndim > 1 or given.size not in (1, len(names)):
        raise DataError(f"rhs is a number, or one for each of the {len(names)} contrasts")
    has_value = ~np.isnan(values)
    if has_value.any() and given.any():
        raise DataError("give the value to test against by '=' in the text or by rhs, not by both")
    return Contrasts(
        tuple(names),
        weights,
        weights @ fit._beta + constant,
        np.sqrt(variances(weights, errors.cov)),
        np.asarray(errors.df(weights), dtype=np.float64),
        np.where(has_value, values, np.broadcast_to(given, len(names))),
        level,
        "none",
        errors,
    )


def _numbers(values: Any, what: str) -> FloatArray:
    try:
        out = as_floats(values)
    except (TypeError, ValueError):
        raise DataError(f"{what} holds what is no number: {values!r}") from None
    if not np.isfinite(out).all():
        raise DataError(f"{what} has missing or infinite values")
    return out


_Rows = tuple[list[str], FloatArray, FloatArray, FloatArray]
"""Names, weights (k x p), constants (k), and values to test against (k), NaN for none."""


def read_contrasts(L: Any, coefficients: list[str], dropped: list[str]) -> _Rows:
    """Read contrasts in any way in which they can be written.

    Parameters
    ----------
    L : see :meth:`LinearMixedFit.contrast`
    coefficients : list of str
    dropped : list of str
        Those that depend on others and are not in the model.

    Raises
    ------
    DataError
    """
    return _Reader(coefficients, dropped).read(L)


class _Reader:
    """Any way to write contrasts to rows of weights."""

    def __init__(self, coefficients: list[str], dropped: list[str]) -> None:
        self.coefficients, self.dropped = coefficients, dropped

    def read(self, given: Any, name: str = "") -> _Rows:
        if isinstance(given, str):
            try:
                function, value = parse_linear(given, self.coefficients, self.dropped)
            except RecursionError:
                raise DataError("the contrast has too many brackets within brackets") from None
            rows = _numbers([function.weights], given), _numbers([function.constant], given)
            return [name or given], *rows, np.array([np.nan if value is None else value])
        if isinstance(given, Mapping) and not any(isinstance(v, Real) for v in given.values()):
            return self._stacked({str(key): self.read(v, str(key)) for key, v in given.items()})
        if isinstance(given, Mapping | pd.Series):
            return self._rows(self._from_columns(pd.DataFrame([dict(given)])), [name or "contrast"])
        if isinstance(given, pd.DataFrame):
            return self._rows(self._from_columns(given), [str(k) for k in given.index])
        if isinstance(given, list | tuple) and any(isinstance(v, str) for v in given):
            return self._stacked({str(k): self.read(v) for k, v in enumerate(given)})
        weights = _numbers(given, "the contrast")
        if weights.ndim not in (1, 2):
            raise DataError(f"a contrast is a vector or a matrix, not of shape {weights.shape}")
        weights = np.atleast_2d(weights)
        first = name or "contrast"
        many = [f"{first} {k + 1}" for k in range(len(weights))]
        return self._rows(weights, [first] if len(weights) == 1 else many)

    def _stacked(self, parts: dict[str, _Rows]) -> _Rows:
        if not parts:
            raise DataError("there is no contrast in this")
        names = [n for part in parts.values() for n in part[0]]
        rows = [np.concatenate([part[k] for part in parts.values()]) for k in (1, 2, 3)]
        return names, rows[0], rows[1], rows[2]

    def _rows(self, weights: FloatArray, names: list[str]) -> _Rows:
        p = len(self.coefficients)
        if weights.shape[1] != p:
            dropped = f"; {', '.join(self.dropped)} were dropped" if self.dropped else ""
            raise DataError(
                f"a contrast has a weight for each of the {p} coefficients "
                f"({', '.join(self.coefficients)}{dropped}), not {weights.shape[1]}: give as many, "
                "or a dict of coefficients and weights, or a text"
            )
        if len(weights) == 0:
            raise DataError("there is no contrast in this")
        for name, row in zip(names, weights, strict=True):
            if not row.any():
                raise DataError(f"{name!r} has a weight of zero for all coefficients")
        k = len(weights)
        return names, weights, np.zeros(k), np.full(k, np.nan)

    def _from_columns(self, table: pd.DataFrame) -> FloatArray:
        if table.columns.has_duplicates:
            twice = table.columns[table.columns.duplicated()][0]
            raise DataError(f"the contrast has two columns {str(twice)!r}")
        for column in map(str, table.columns):
            if column in self.dropped:
                raise DataError(
                    f"{column!r} was dropped, because its column depends on those before it, and "
                    "can't be estimated; leave it out"
                )
            if column not in self.coefficients:
                raise DataError(
                    f"there is no coefficient {column!r}.{did_you_mean(column, self.coefficients)}"
                )
        out = np.zeros((len(table), len(self.coefficients)))
        at = [self.coefficients.index(str(column)) for column in table.columns]
        out[:, at] = _numbers(table.to_numpy(), "the contrast")
        return out
