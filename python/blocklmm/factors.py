"""Factors of terms: how a numeric column, an expression or a category becomes numbers.

Each keeps what it learnt from the training data (levels, contrasts, an expression's state), so that
it gives the same columns on new data.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic.transforms import TRANSFORMS
from formulaic.transforms.contrasts import Contrasts, TreatmentContrasts

from .errors import (
    DataError,
    FormulaError,
    OptionError,
    labels_phrase,
    rows_phrase,
)
from .expressions import Expression
from .frames import Array, Categories, Frame, Numbers, Source, require_numbers

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class NumericFactor:
    """A numeric column."""

    name: str

    def source(self, frame: Frame, part: int) -> Source:  # noqa: ARG002
        """Return the column in a frame."""
        column = frame.column(self.name)
        if isinstance(column, Categories) and len(column.levels) == 0:  # nothing tells its kind
            return Numbers(self.name, np.full(frame.n_rows, np.nan))
        require_numbers(column, "column")
        return column


@dataclass(slots=True)
class ExpressionFactor:
    """The values of an expression."""

    expression: Expression

    def source(self, frame: Frame, part: int) -> Source:
        """Return one value's column."""
        return _ExpressionColumn(self.expression.text, self.expression, frame, part)


@dataclass(slots=True)
class _ExpressionColumn:
    name: str
    expression: Expression
    frame: Frame
    part: int

    def rows(self, start: int, stop: int) -> Array:
        return self.expression.rows(self.frame, start, stop)[:, self.part]


@dataclass(slots=True)
class CategoryFactor:
    """A category with the levels of the training data and its contrasts."""

    text: str
    column: str | Expression
    levels: pd.Index[Any]
    contrasts: Contrasts | None
    is_declared: bool = False  # levels by the user's word: some may have no rows
    unmet: frozenset[Any] = frozenset()  # levels of the training data's dropped rows alone
    _training: tuple[Frame, Categories] | None = None

    def source(self, frame: Frame, part: int) -> Source:  # noqa: ARG002
        """Return the codes of these levels in a frame.

        Raises
        ------
        DataError
            If the frame has a level that the training data had not.
        """
        if self._training is not None and self._training[0] is frame:
            return self._training[1]
        found = categories_of(self.text, self.column, frame)
        place = self.levels.get_indexer(found.levels)
        if (place < 0).any():
            used = np.unique(found.codes[found.codes >= 0])
            unseen = [found.levels[k] for k in used if place[k] < 0]
            if frame.is_training:
                unseen = [level for level in unseen if level not in self.unmet]
            if unseen:
                why = "were not declared" if self.is_declared else "the model was not fitted with"
                raise DataError(
                    f"column {self.text!r} has levels that {why}: {labels_phrase(unseen)}. Known "
                    f"are {labels_phrase(self.levels)}"
                )
        codes = np.append(place, -1)[found.codes]
        return Categories(self.text, codes, self.levels, ordered_levels=True)

    def met_levels(self, frame: Frame, rows: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """Tell which levels some rows of a frame have; all of its rows, where none are given."""
        if rows is None and self._training is not None and self._training[0] is frame:
            return np.ones(len(self.levels), dtype=bool)
        codes = self.source(frame, 0).rows(0, frame.n_rows)
        codes = codes if rows is None else codes[rows]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.levels))
        return np.asarray(counts > 0)

    def __getstate__(self) -> tuple[Any, ...]:
        known = self.text, self.column, self.levels, self.contrasts, self.is_declared
        return *known, self.unmet

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *known, self.unmet = state
        self.text, self.column, self.levels, self.contrasts, self.is_declared = known
        self._training = None

    def coding(
        self, reduced: bool, treatment: bool = False
    ) -> tuple[FloatArray, list[str], list[str]]:
        """Return the coding matrix (levels × columns) and both names of its columns.

        ``treatment`` asks for treatment contrasts whatever the factor's own are.
        """
        levels = list(self.levels)
        if not reduced:
            return (
                np.eye(len(levels)),
                [f"{self.text}[{level}]" for level in levels],
                [f"{self.text}{level}" for level in levels],
            )
        if self.contrasts is None or treatment:
            return (
                np.eye(len(levels))[:, 1:],
                [f"{self.text}[T.{level}]" for level in levels[1:]],
                [f"{self.text}{level}" for level in levels[1:]],
            )
        try:
            matrix = np.asarray(self.contrasts.get_coding_matrix(levels, reduced_rank=True), float)
        except Exception as error:
            raise FormulaError(f"{self.text!r}: the contrasts can't be made: {error}") from None
        fields = self.contrasts.get_coding_column_names(levels, reduced_rank=True)
        form = self.contrasts.get_factor_format(levels, reduced_rank=True)
        return (
            matrix,
            [form.format(name=self.text, field=f) for f in fields],
            [f"{self.text}{f}" for f in fields],
        )


Factor = NumericFactor | ExpressionFactor | CategoryFactor


def categories_of(text: str, column: str | Expression, frame: Frame) -> Categories:
    """Return a column, or an expression's values, as categories."""
    if isinstance(column, str):
        found = frame.column(column)
        if isinstance(found, Categories):
            return found
        values: Array = found.rows(0, frame.n_rows)
        if found.is_boolean:
            codes = np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values
            return Categories(
                text, codes.astype(np.int8), pd.Index([False, True]), ordered_levels=True
            )
    else:
        if column.n_columns != 1:
            raise FormulaError(f"{text!r} gives more than one column")
        values = column.rows(frame, 0, frame.n_rows)[:, 0]
    if values.dtype.kind == "f" and np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(values)) + frame.first_row
        raise DataError(
            f"{text!r} has infinite values in {rows_phrase(len(rows), rows[:5].tolist())}"
        )
    codes, levels = pd.factorize(values, sort=True)
    if levels.dtype.kind == "f" and (levels == np.floor(levels)).all():
        levels = levels.astype(np.int64)
    return Categories(text, codes.astype(np.int32), pd.Index(levels), ordered_levels=True)


def parse_category(text: str) -> tuple[str, Contrasts | None]:
    """Split ``C(x, contr.sum)`` into the column's text and the contrasts."""
    quoted: list[str] = re.findall(r"`[^`]+`", text)
    plain = re.sub(r"`[^`]+`", "_quoted_", text)
    try:
        call = ast.parse(plain, mode="eval").body
    except SyntaxError:
        raise FormulaError(f"{text!r} is not a valid expression") from None
    if not isinstance(call, ast.Call) or not call.args:
        raise FormulaError(f"{text!r} names no column")
    inner = ast.unparse(call.args[0])
    names = iter(quoted)
    inner = re.sub("_quoted_", lambda _: next(names), inner)
    given = [*call.args[1:], *(k.value for k in call.keywords if k.arg == "contrasts")]
    unknown = [k.arg for k in call.keywords if k.arg != "contrasts"]
    if unknown or len(given) > 1:
        raise FormulaError(
            f"{text!r}: C() takes a column and contrasts; set the levels' order in the data"
        )
    if not given:
        return inner, None
    try:
        value = eval(ast.unparse(given[0]), dict(TRANSFORMS))
    except Exception as error:
        raise FormulaError(f"{text!r}: the contrasts can't be evaluated: {error}") from None
    return inner, contrasts_of(inner, value)


def contrasts_of(column: str, given: Any) -> Contrasts | None:
    """Return formulaic's contrasts for a name, class or object; None for treatment contrasts.

    Raises
    ------
    DataError
        If they are no contrasts; ``column`` is named.
    """
    if isinstance(given, str):
        registry = TRANSFORMS["contr"]
        name = given.removeprefix("contr.").lower()
        if name not in ("treatment", "sum", "helmert", "diff", "poly", "sas"):
            raise DataError(
                f"contrasts {given!r} of {column!r} are unknown: use 'treatment', 'sum', "
                "'helmert', 'diff', 'poly' or 'sas'"
            )
        given = getattr(registry, "SAS" if name == "sas" else name)
    if isinstance(given, type):
        given = given()
    if not isinstance(given, Contrasts):
        raise DataError(f"contrasts of {column!r} are {given!r}, which is no set of contrasts")
    is_default = type(given) is TreatmentContrasts and not isinstance(given.base, str | int)
    return None if is_default else given


def contrasts_by_column(given: Any, frame: Frame) -> dict[str, Contrasts | None]:
    """Return the contrasts that the user gives, by column.

    Raises
    ------
    OptionError
        If they are no mapping.
    DataError
        If the data have no such column, or they are no contrasts.
    """
    if not isinstance(given, Mapping):
        raise OptionError(
            f"contrasts are a dict of columns and contrasts, {{'a': 'sum'}}, not {given!r}"
        )
    out = {k: contrasts_of(k, v) for k, v in given.items()}
    for name in given:
        if name not in frame:
            raise DataError(
                f"contrasts are given for {name!r}, which is no column of the data."
                f"{frame.hint(name)}"
            )
    return out


def kind_of(
    text: str, frame: Frame, contrasts: Mapping[str, Contrasts | None]
) -> tuple[str, str, Contrasts | None]:
    """Return what a factor of a term is.

    Returns
    -------
    (kind, text, contrasts)
        "number" and a column's name; "category" and a column's name or an expression, with its
        contrasts; "expression" and the expression.

    Raises
    ------
    DataError
        If it is a name, but not of a column.
    """
    name = text.strip("`")
    if name in frame:
        column = frame.column(name)
        is_category = isinstance(column, Categories) or column.is_boolean or name in contrasts
        return "category" if is_category else "number", name, contrasts.get(name)
    if text.startswith("C(") and text.endswith(")"):
        inner, own = parse_category(text)
        inner = inner.strip("`") if inner.strip("`") in frame else inner
        return "category", inner, own if own is not None else contrasts.get(inner)
    if re.fullmatch(r"`[^`]*`|[\w.]+", text):
        raise DataError(f"there is no column {name!r} in the data.{frame.hint(name)}")
    return "expression", text, None
