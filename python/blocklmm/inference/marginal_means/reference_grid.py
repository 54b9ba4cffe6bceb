"""The grid on which means are estimated: all levels of categories, covariates at typical values.

The means are those of Searle, Speed & Milliken (1980), the choices those of R's emmeans (Lenth): a
category stands at all its levels, and so does a covariate of one or two different values, or one of
which a category is made (``C(x > 3)``); any other covariate at its mean over the rows used. It is
the variables that are averaged, not the expressions they stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.design import Design
from blocklmm.errors import DataError, did_you_mean, labels_phrase
from blocklmm.factors import CategoryFactor, Factor, NumericFactor
from blocklmm.fitted_rows import FittedRows
from blocklmm.formula import in_r
from blocklmm.frames import Categories, Frame

FloatArray = npt.NDArray[np.float64]

_MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class ReferenceGrid:
    """Means of the grid's cells over what is not asked for.

    Attributes
    ----------
    levels : DataFrame
        Of the variables asked for, a row for each mean; the first runs fastest.
    X : array of shape (means, columns of X)
        For all columns, also those that are not in the model.
    offset : array of shape (means,)
    averaged : dict of str to int
        The categories averaged over, and how many levels they have.
    held : dict of str to float
        The covariates at one value.
    mixed : tuple of str
        Interactions of the variables asked for with others.
    """

    levels: pd.DataFrame
    X: FloatArray
    offset: FloatArray
    averaged: dict[str, int]
    held: dict[str, float]
    mixed: tuple[str, ...]


def reference_grid(fit: FittedRows, wanted: Sequence[str], at: Mapping[str, Any]) -> ReferenceGrid:
    """Return the means of a fit's reference grid for all combinations of some variables.

    Parameters
    ----------
    fit : FittedRows
    wanted : sequence of str
    at : mapping of str to value or values
        Values of variables in place of their levels or means.

    Raises
    ------
    DataError
        For unknown variables, a covariate of many values without any in ``at``, a grid of more
        than 10,000 rows, or if a mean is needed and the fit is without its data.
    """
    design = fit._problem.design
    variables = _Variables(fit, design)
    for name in [*wanted, *at]:
        variables.require(name)
    values = {name: variables.values(name, at.get(name)) for name in variables.names}
    for name in wanted:
        if len(values[name]) == 1 and name in variables.averages and name not in at:
            raise DataError(
                f"{name!r} is a covariate with many values: say at which its means are wanted, "
                f"at={{{name!r}: [...]}}"
            )
    n_rows = float(np.prod([len(v) for v in values.values()], dtype=float))
    if n_rows > _MOST_ROWS:
        sizes = ", ".join(f"{name}: {len(v)}" for name, v in values.items() if len(v) > 1)
        raise DataError(
            f"the grid of all levels has {n_rows:,.0f} rows, more than {_MOST_ROWS:,} ({sizes}): "
            "take fewer of them with at"
        )
    # the last axis runs fastest: what is averaged over, then the variables asked for from the first
    order = [*wanted[::-1], *(name for name in values if name not in wanted)]
    places = np.indices([len(values[name]) for name in order]).reshape(len(order), -1)
    cells = pd.DataFrame({n: values[n].take(k) for n, k in zip(order, places, strict=True)})
    frame = Frame(cells)
    X = design.matrix(frame, design.x_recipes)
    offset = np.full(len(cells), variables.array_offset)
    for recipe in variables.offsets:
        offset += design.matrix(frame, [recipe])[:, 0]

    n_means = int(np.prod([len(values[name]) for name in wanted], dtype=int))
    others = [name for name in order if name not in wanted]
    return ReferenceGrid(
        cells[list(wanted)].iloc[:: len(cells) // n_means].reset_index(drop=True),
        X.reshape(n_means, -1, X.shape[1]).mean(axis=1),
        offset.reshape(n_means, -1).mean(axis=1),
        {name: len(values[name]) for name in others if len(values[name]) > 1},
        {
            name: float(values[name][0])
            for name in others
            if len(values[name]) == 1 and pd.api.types.is_numeric_dtype(values[name].dtype)
        },
        _mixed_terms(design, wanted),
    )


class _Variables:
    """The columns of data that the fixed part and the offset read."""

    def __init__(self, fit: FittedRows, design: Design) -> None:
        self.fit = fit
        self.offsets: list[int] = []
        self.array_offset = 0.0
        for recipe in design.offsets:
            (source,) = design.needed_sources([recipe])
            if design.sources[source].array is None:
                self.offsets.append(recipe)
            else:
                given = design.matrix(fit._frame(), [recipe])[fit._used, 0]
                self.array_offset += float(given.mean())
        self.levels: dict[str, pd.Index[Any]] = {}
        self.names: list[str] = []
        self.averages: set[str] = set()
        self._categorised: set[str] = set()
        for source in sorted(design.needed_sources([*design.x_recipes, *self.offsets])):
            factor = design._factors[design.sources[source].factor]
            self.names += variables_of(factor)
            if isinstance(factor, CategoryFactor):
                if isinstance(factor.column, str):
                    self.levels[factor.column] = factor.levels
                else:
                    self._categorised.update(factor.column.variables)
        self.names = list(dict.fromkeys(self.names))

    def require(self, name: str) -> None:
        if name not in self.names:
            raise DataError(
                f"{name!r} is no variable of the fixed effects.{did_you_mean(name, self.names)} "
                f"They are {', '.join(map(repr, self.names)) or 'none'}"
            )

    def values(self, name: str, given: Any) -> pd.Index[Any]:
        """Return the values at which a variable stands: given ones, its levels, or its mean."""
        if name in self.levels:
            return self.levels[name] if given is None else self._chosen(name, given)
        if given is not None:
            return self._numbers(name, given)
        if not self.fit.has_data:
            raise DataError(
                f"this fit is without its rows, of which the mean of {name!r} is needed: "
                f"give its value, at={{{name!r}: ...}}"
            )
        columns = [(frame, frame.column(name)) for frame in self.fit._frames()]
        levels: list[pd.Index[Any]] = []
        numbers: list[FloatArray] = []
        for frame, column in columns:
            values = column.rows(0, frame.n_rows)[self.fit._used_of(frame)]
            if isinstance(column, Categories):
                codes = np.unique(values)
                levels.append(column.levels[codes[codes >= 0]])
            else:
                numbers.append(np.asarray(values, dtype=np.float64))
        if levels:
            present = levels[0]
            for others in levels[1:]:
                present = present.append(others.difference(present, sort=False))
            return present
        array = np.concatenate(numbers)
        low, high = float(array.min()), float(array.max())
        is_category = name in self._categorised
        if is_category or ((array == low) | (array == high)).all():
            found = np.unique(array if is_category else [low, high])
            is_boolean = not isinstance(columns[0][1], Categories) and columns[0][1].is_boolean
            both: pd.Index[Any] = pd.Index(found != 0 if is_boolean else found)
            return both
        self.averages.add(name)
        return pd.Index([float(array.mean())])

    def _chosen(self, name: str, given: Any) -> pd.Index[Any]:
        levels = self.levels[name]
        wanted = pd.Index(_listed(given))
        place = levels.get_indexer(wanted)
        for k in np.flatnonzero(place < 0)[:1]:
            raise DataError(
                f"{name!r} has no level {wanted[k]!r} in the model."
                f"{did_you_mean(wanted[k], levels)} Its levels are "
                f"{labels_phrase(levels)}"
            )
        if len(wanted) == 0:
            raise DataError(f"at gives no level of {name!r}")
        if wanted.has_duplicates:
            raise DataError(f"at gives a level of {name!r} twice")
        chosen: pd.Index[Any] = levels[place]
        return chosen

    def _numbers(self, name: str, given: Any) -> pd.Index[Any]:
        try:
            out = np.asarray(_listed(given), dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"at={{{name!r}: ...}} holds no numbers: {given!r}") from None
        if out.ndim != 1 or len(out) == 0 or not np.isfinite(out).all():
            raise DataError(f"at={{{name!r}: ...}} is a number or several, not {given!r}")
        if len(np.unique(out)) < len(out):
            raise DataError(f"at gives a value of {name!r} twice")
        return pd.Index(out)


def variables_of(factor: Factor) -> Sequence[str]:
    """Return the columns of data that a factor of the formula reads."""
    if isinstance(factor, CategoryFactor):
        return [factor.column] if isinstance(factor.column, str) else factor.column.variables
    return [factor.name] if isinstance(factor, NumericFactor) else factor.expression.variables


def _mixed_terms(design: Design, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the interactions of what is wanted with what is not."""
    out = []
    for term in design.formula.fixed:
        read = {name for factor in term for name in variables_of(design._factors[factor])}
        if len(term) > 1 and read & set(wanted) and read - set(wanted):
            out.append(":".join(map(in_r, term)))
    return tuple(out)


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str | bytes) or np.ndim(given) == 0:
        return [given]
    return list(given)
