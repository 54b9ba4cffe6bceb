"""What the levels of a grouping factor are called, and which level each row in memory belongs to.

A level is a slot of the core's statistics. Rows that come in chunks are numbered by
``growing_labels``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .errors import DataError, rows_phrase
from .frames import Array, Categories, Frame, SlicedNumbers

IntArray = npt.NDArray[np.int64]

MOST_WHOLE = 2.0**53
"""From there on real numbers leave whole ones out."""


@dataclass(slots=True)
class LevelNames:
    """What a grouping factor's levels are called, by slot.

    Attributes
    ----------
    index : pandas.Index or None
        The names; None where a name is ``base + slot``, a text of a table, or joined of two.
    base : int
    texts : TextLabels or None
        A table of texts, of which pandas need not have all.
    joined : tuple or None
        The names of two factors, and for each slot the pair's number ``first * n_second + second``
        (None: that of the slot itself); joined when they are asked for.
    in_order : bool
        Whether the slots count in the order in which levels are shown.
    """

    index: pd.Index[Any] | None = None
    base: int = 0
    texts: _core.TextLabels | None = None
    joined: tuple[LevelNames, LevelNames, int, IntArray | None] | None = None
    in_order: bool = True

    def of_slots(self, slots: npt.ArrayLike) -> pd.Index[Any]:
        """Return the names of some slots."""
        at = np.asarray(slots, dtype=np.int64)
        if self.joined is not None:
            # a pair that stands there twice is not two pairs that look alike
            distinct, place = np.unique(at, return_inverse=True)
            return _join(*self._named_pairs(distinct))[place]
        if self.texts is not None:
            return pd.Index(self.texts.texts(at))
        if self.index is None:
            return pd.Index(at + self.base, dtype=np.int64)
        return self.index[at]

    @property
    def ordered(self) -> pd.Index[Any] | None:
        """All names in an order of their own, those of slots without rows too; None without one."""
        if not self.in_order or self.joined is not None:
            return None
        if self.texts is not None:
            return self.of_slots(np.arange(len(self.texts)))
        return self.index

    def keys(self, slots: npt.ArrayLike) -> pd.Index[Any]:
        """Return the names as :meth:`of_slots`, joined ones by a mark that is in no name."""
        at = np.asarray(slots, dtype=np.int64)
        if self.joined is None:
            return self.of_slots(at)
        first, second = self.joined[0].keys, self.joined[1].keys
        i, j = self._pairs(at)
        return first(i).astype(str) + "\x1f" + second(j).astype(str)

    def parts(self, slots: npt.ArrayLike) -> list[pd.Index[Any]]:
        """Return the labels of some slots in each of the columns that were joined."""
        at = np.asarray(slots, dtype=np.int64)
        if self.joined is None:
            return [self.of_slots(at)]
        i, j = self._pairs(at)
        return [*self.joined[0].parts(i), *self.joined[1].parts(j)]

    def order(self, slots: npt.ArrayLike) -> IntArray:
        """Return some slots' places in the order in which levels are shown: their own, or sorted.

        Joined levels go by the first factor, then by the second.
        """
        at = np.asarray(slots, dtype=np.int64)
        if self.in_order:
            return np.argsort(at, kind="stable")
        if self.joined is not None:
            i, j = self._pairs(at)
            return np.lexsort((self.joined[1]._ranks(j), self.joined[0]._ranks(i)))
        return np.asarray(self.of_slots(at).argsort(), dtype=np.int64)

    def _ranks(self, slots: IntArray) -> IntArray:
        distinct, place = np.unique(slots, return_inverse=True)
        rank = np.empty(len(distinct), dtype=np.int64)
        rank[self.order(distinct)] = np.arange(len(distinct))
        return rank[place]

    def _pairs(self, slots: IntArray) -> tuple[IntArray, IntArray]:
        assert self.joined is not None
        _, _, n_second, pairs = self.joined
        found = slots if pairs is None else pairs[slots]
        return found // n_second, found % n_second

    def _named_pairs(self, slots: IntArray) -> tuple[pd.Index[Any], pd.Index[Any]]:
        assert self.joined is not None
        i, j = self._pairs(slots)
        return self.joined[0].of_slots(i), self.joined[1].of_slots(j)


def _join(a: pd.Index[Any], b: pd.Index[Any]) -> pd.Index[Any]:
    """Join labels as lme4 does, ``a:b``; where that is ambiguous, as Python shows them."""
    joined = a.astype(str) + ":" + b.astype(str)
    if joined.is_unique:
        return joined
    return pd.Index([f"{x!r}:{y!r}" for x, y in zip(a, b, strict=True)])


@dataclass(slots=True)
class GroupLabels:
    """The rows' groups as integers: ``codes - base`` is the group's slot, negative is missing."""

    name: str
    codes: Array
    base: int
    n_slots: int
    names: LevelNames

    def of(self, frame: Frame) -> tuple[Array, int]:  # noqa: ARG002
        """Return the codes and the base; all rows were numbered at once."""
        return self.codes, self.base


def group_labels(frame: Frame, names: tuple[str, ...]) -> GroupLabels:
    """Find the groups of a grouping factor.

    Parameters
    ----------
    frame : Frame
    names : tuple of str
        Columns whose joint levels are the groups.

    Raises
    ------
    DataError
        If a column is unknown, or has infinite values.
    """
    labels = _labels_of_column(frame, names[0])
    for name in names[1:]:
        labels = _crossed(_in_order(labels), _in_order(_labels_of_column(frame, name)))
    return labels


def _crossed(a: GroupLabels, b: GroupLabels) -> GroupLabels:
    """Return the pairs of levels of two factors, those of the first together."""
    codes = np.multiply(a.codes, b.n_slots, dtype=np.int64, casting="unsafe")
    np.add(codes, b.codes, out=codes, casting="unsafe")
    if min(a.codes.min(initial=0), b.codes.min(initial=0)) < 0:
        codes[(a.codes < 0) | (b.codes < 0)] = -1
    n_pairs = a.n_slots * b.n_slots
    found = None
    if n_pairs > len(codes) + 1024:
        slots, uniques = pd.factorize(codes)
        order = np.argsort(uniques)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        n_missing = int(len(order) > 0 and uniques[order[0]] < 0)
        codes, found = place[slots] - n_missing, uniques[order[n_missing:]]
        n_pairs = len(found)
    names = LevelNames(joined=(a.names, b.names, b.n_slots, found))
    return GroupLabels(f"{a.name}:{b.name}", codes, 0, n_pairs, names)


def labelled_values(frame: Frame, name: str) -> Array | Categories:
    """Return a grouping column as integers, booleans, floats that are no integers, or categories.

    Parameters
    ----------
    frame : Frame
    name : str

    Raises
    ------
    DataError
        If the column is unknown, or has infinite values.
    """
    column = frame.grouping_column(name)
    if isinstance(column, Categories):
        return column
    values = column.rows(0, frame.n_rows) if isinstance(column, SlicedNumbers) else column.array
    if values.dtype.kind == "f":
        bad = np.flatnonzero(np.isinf(values))
        if len(bad):
            rows = (bad[:5] + frame.first_row).tolist()
            raise DataError(
                f"the grouping column {name!r} has infinite values in "
                f"{rows_phrase(len(bad), rows)}: remove these rows or make the values missing"
            )
        codes: Array | None = None
        if np.isnan(values).any():
            codes, values = pd.factorize(values)
        if (values == np.floor(values)).all() and (np.abs(values) < MOST_WHOLE).all():
            values = values.astype(np.int64)
        if codes is not None:
            return Categories(name, codes, pd.Index(values), ordered_levels=False)
    return values


def _labels_of_column(frame: Frame, name: str) -> GroupLabels:
    values = labelled_values(frame, name)
    if isinstance(values, Categories):
        names = LevelNames(values.levels, in_order=values.ordered_levels)
        return GroupLabels(name, values.codes, 0, len(values.levels), names)
    if values.dtype.kind == "b":
        names = LevelNames(pd.Index([False, True]))
        return GroupLabels(name, values.view(np.uint8), 0, 2, names)
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low < len(values) + 1024 and high < 2**63:
            return GroupLabels(name, values, low, high - low + 1, LevelNames(base=low))
    codes, uniques = pd.factorize(values)
    names = LevelNames(pd.Index(uniques), in_order=False)
    return GroupLabels(name, codes, 0, len(uniques), names)


def _in_order(labels: GroupLabels) -> GroupLabels:
    """Return labels whose slots count from 0 in the order in which they are shown."""
    if labels.names.in_order:
        codes = labels.codes
        if labels.base:
            codes = np.subtract(codes, labels.base, dtype=np.int64, casting="unsafe")
        return replace(labels, codes=codes, base=0)
    found = labels.names.of_slots(np.arange(labels.n_slots))
    order = np.asarray(found.argsort())
    place = np.full(len(found) + 1, -1, dtype=np.int64)
    place[order] = np.arange(len(found))
    return GroupLabels(labels.name, place[labels.codes], 0, len(found), LevelNames(found[order]))
