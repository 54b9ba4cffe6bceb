"""What columns must learn from all rows before any is used, where rows come in chunks.

Levels of categories, and the states of expressions such as ``poly(x, 2)``. Rows in memory need no
such pass: whatever is to be learnt of them is looked up when it is wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms.contrasts import Contrasts

from .errors import DataError
from .expressions import Expression, Notes, needs_training
from .factors import categories_of, kind_of
from .frames import Categories, Frame
from .levels import met_levels, require_category
from .progress import progress_bar
from .rows import PartitionedRows, Rows


@dataclass(slots=True)
class Learnt:
    """What a pass over all rows found.

    Attributes
    ----------
    levels : dict of str to Index
        By category.
    expressions : dict of str to Expression
        By text, those that have a state.
    what : list of str
        What the pass was needed for.
    """

    levels: dict[str, pd.Index[Any]] = field(default_factory=dict)
    expressions: dict[str, Expression] = field(default_factory=dict)
    what: list[str] = field(default_factory=list)


def learn(
    factors: Sequence[str],
    values: Sequence[str],
    rows: Rows,
    contrasts: Mapping[str, Contrasts | None],
    declared: Mapping[str, pd.Index[Any]],
    progress: bool | None,
) -> Learnt:
    """Learn what the factors of a formula need of all rows, in one pass if there is anything.

    Parameters
    ----------
    factors, values : sequence of str
        Factors of the formula's terms; what it reads as values.
    rows : Rows
    contrasts, declared : mapping
        Contrasts and levels that are given by column.
    progress : bool, optional

    Raises
    ------
    DataError
        If there is something to learn, but the rows can be read only once.
    """
    head = rows.head
    categories: dict[str, str | Expression] = {}
    states: list[str] = []
    out = Learnt()
    for text in [*factors, *values]:
        kind, inner, _ = kind_of(text, head, contrasts)
        if inner not in head and inner not in states and needs_training(inner, head):
            states.append(inner)
        if kind == "category" and inner not in declared and text in factors:
            known = _known_levels(inner, head, rows.is_rereadable)
            if known is not None:
                out.levels[text] = known
            else:
                categories[text] = inner if inner in head else Expression(inner, head)
    out.what = [*categories, *states]
    if not out.what:
        return out
    if not rows.is_rereadable:
        names = ", ".join(map(repr, out.what))
        raise DataError(
            f"{names} must be learnt from all rows before any is used, and these rows can be read "
            "only once: declare the levels of categories, levels={'x': [...]}, or give a file, a "
            "data set, or a list of frames"
        )
    notes = {text: Notes(text, head) for text in states}
    if isinstance(rows, PartitionedRows):
        found = rows.reduced(partial(_look_through, categories, notes, False), _Seen.merged)
    else:
        found = _look_through(categories, notes, progress, rows)
    for text, levels in found.levels.items():
        out.levels[text] = levels.total
        require_category(text, levels.total, found.n_rows)
    for text, noted in found.notes.items():
        out.expressions[text] = noted.expression(head)
    return out


@dataclass(slots=True)
class _Seen:
    """What some rows show."""

    levels: dict[str, _Levels]
    notes: dict[str, Notes]
    n_rows: int

    @staticmethod
    def merged(parts: list[_Seen]) -> _Seen:
        """Return what all parts of the rows show."""
        levels = {text: copy.copy(found) for text, found in parts[0].levels.items()}
        notes = {
            text: Notes.merged([part.notes[text] for part in parts]) for text in parts[0].notes
        }
        for part in parts[1:]:
            for text, found in part.levels.items():
                levels[text].merge(found)
        return _Seen(levels, notes, sum(part.n_rows for part in parts))


def _look_through(
    categories: Mapping[str, str | Expression],
    notes: Mapping[str, Notes],
    progress: bool | None,
    rows: Rows,
) -> _Seen:
    """Return the levels of categories, and what the states of expressions are made of."""
    empty = {text: found.empty() for text, found in notes.items()}
    out = _Seen({text: _Levels(text, column) for text, column in categories.items()}, empty, 0)
    with progress_bar(rows.total, " rows", progress) as advance:
        for frame in rows.frames():
            for levels in out.levels.values():
                levels.add(frame)
            for noted in out.notes.values():
                noted.add(frame)
            out.n_rows += frame.n_rows
            advance(frame.n_rows)
    return out


def _known_levels(column: str, head: Frame, is_rereadable: bool) -> pd.Index[Any] | None:
    """Return the levels that the type of a column tells, if it does.

    Categories of one chunk need not be those of another; they are taken at their word where the
    rows can't be looked through first.
    """
    if column not in head:
        return None
    found = head.column(column)
    if not isinstance(found, Categories):
        return pd.Index([False, True]) if found.is_boolean else None
    is_known = head.has_fixed_levels(column) or (found.ordered_levels and not is_rereadable)
    return found.levels if is_known else None


class _Levels:
    """The levels of one category, met in chunks."""

    def __init__(self, text: str, column: str | Expression) -> None:
        self._text, self._column = text, column
        self._met: pd.Index[Any] | None = None
        self._own: pd.Index[Any] | None = None  # the column's levels, where last met
        self._is_ordered = True

    def add(self, frame: Frame) -> None:
        found = categories_of(self._text, self._column, frame)
        met = met_levels(found)
        # numbers made categories are in order, but of this chunk's levels alone
        self._is_ordered &= found.ordered_levels and isinstance(
            frame.column(self._column) if isinstance(self._column, str) else None, Categories
        )
        self._meet(met, found.levels)
        assert self._met is not None
        if len(self._met):  # other rows may have some
            require_category(self._text, self._met, max(frame.first_row + frame.n_rows, 20_000))

    def merge(self, other: _Levels) -> None:
        """Add the levels that were met in later rows."""
        assert other._met is not None
        assert other._own is not None
        self._is_ordered &= other._is_ordered
        self._meet(other._met, other._own)

    def _meet(self, met: pd.Index[Any], own: pd.Index[Any]) -> None:
        self._own = own
        if self._met is None:
            self._met = met
        elif not met.isin(self._met).all():
            self._met = self._met.append(met[~met.isin(self._met)])
            if self._is_ordered:  # in the order of the column's own levels, as far as they go
                own = own[own.isin(self._met)]
                self._met = own.append(self._met[~self._met.isin(own)])

    @property
    def total(self) -> pd.Index[Any]:
        """All levels, in the column's own order, or sorted where it has none."""
        assert self._met is not None
        levels = self._met
        if not self._is_ordered:
            levels = levels[np.asarray(levels.argsort())]
        if levels.dtype.kind == "f" and (levels == np.floor(levels)).all():
            levels = levels.astype(np.int64)
        return levels
