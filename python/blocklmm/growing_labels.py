"""Tables that number the levels of a grouping factor as they are met, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .errors import DataError
from .frames import Array, Categories, Frame
from .labels import MOST_WHOLE, LevelNames, labelled_values

Slots = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]


class MixedLabelsError(DataError):
    """Labels are of another kind than those met before."""


class GrowingLabels:
    """Levels of a grouping factor, numbered in the order in which they are first met.

    Parameters
    ----------
    group : tuple of str
        Columns whose joint levels are the groups.
    """

    def __init__(self, group: tuple[str, ...]) -> None:
        self.name = ":".join(group)
        self._group = group
        self._tables = [_ColumnTable(name) for name in group]
        # of the first column's numbers and the second's, of theirs and the third's, …
        self._pairs = [_core.IntegerLabels() for _ in group[1:]]

    def of(self, frame: Frame) -> tuple[Array, int]:
        """Return the slots of a chunk's rows, and where slots start: at 0.

        Raises
        ------
        DataError
            If a column is unknown.
        MixedLabelsError
            If its labels are of another kind than those before.
        """
        parts = [table.code_rows(frame) for table in self._tables]
        return self._joint(parts), 0

    def add(self, labels: list[pd.Index[Any]]) -> IntArray:
        """Return the slots of levels that are given by their labels in each column.

        Raises
        ------
        MixedLabelsError
            If labels are of different kinds.
        """
        both = zip(self._tables, labels, strict=True)
        return self._joint([table.code_labels(found) for table, found in both]).astype(np.int64)

    def _joint(self, parts: list[Slots]) -> Slots:
        slots = parts[0]
        for second, pairs in zip(parts[1:], self._pairs, strict=True):
            missing = (slots < 0) | (second < 0)
            keys = (slots.astype(np.int64) << 32) | second
            slots = pairs.code(keys, missing if missing.any() else None)
        return slots

    @property
    def n_slots(self) -> int:
        """Number of levels met so far."""
        return len(self._pairs[-1] if self._pairs else self._tables[0])

    @property
    def names(self) -> LevelNames:
        """What the levels are called."""
        names = self._tables[0].names
        for table, pairs in zip(self._tables[1:], self._pairs, strict=True):
            names = LevelNames(joined=(names, table.names, 1 << 32, pairs.labels), in_order=False)
        return names


class KnownLabels:
    """The levels of a factor, numbered as its statistics number them; others count as missing.

    Parameters
    ----------
    group : tuple of str
    names : LevelNames
    slots : array of shape (levels,)
    """

    def __init__(self, group: tuple[str, ...], names: LevelNames, slots: IntArray) -> None:
        self._table = GrowingLabels(group)
        self._table.add(names.parts(slots))
        self.name, self.n_slots, self.names = self._table.name, len(slots), names

    def of(self, frame: Frame) -> tuple[Array, int]:
        """Return the slots of a chunk's rows, and where slots start: at 0."""
        slots, base = self._table.of(frame)
        return np.where(slots < self.n_slots, slots, -1), base


class _ColumnTable:
    """The labels of one column: integers of some kind, or texts."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind: str | None = None
        self._integers, self._texts = _core.IntegerLabels(), _core.TextLabels()
        # of categories that come in an order of their own
        self._levels: pd.Index[Any] | None = None

    def __len__(self) -> int:
        return len(self._texts if self._kind == "text" else self._integers)

    def code_rows(self, frame: Frame) -> Slots:
        """Return the numbers of the labels of a chunk's rows, -1 where one is missing."""
        texts = frame.texts(self._name)
        if texts is not None:
            self._be("text", ordered=None)
            return self._texts.code(*texts)
        values = labelled_values(frame, self._name)
        if isinstance(values, Categories):
            ordered = values.levels if values.ordered_levels else None
            place = self.code_labels(values.levels, ordered)
            return np.append(place, np.int32(-1))[values.codes]
        return self._code_values(values)

    def code_labels(self, labels: pd.Index[Any], ordered: pd.Index[Any] | None = None) -> Slots:
        """Return the numbers of some labels, none of them missing."""
        if pd.api.types.is_numeric_dtype(labels.dtype) or pd.api.types.is_bool_dtype(labels.dtype):
            return self._code_values(labels.to_numpy(), ordered)
        if len(labels) == 0:
            return np.zeros(0, dtype=np.int32)
        self._be("text", ordered)
        found = self._texts.code_objects(list(labels))
        if (found < 0).any():
            wrong = labels[int(np.argmin(found))]
            raise DataError(
                f"the grouping column {self._name!r} has a label {wrong!r}: only "
                "numbers, booleans and text can be used"
            )
        return found

    def _code_values(self, values: Array, ordered: pd.Index[Any] | None = None) -> Slots:
        kinds = {"b": "boolean", "i": "integer", "u": "integer", "f": "real"}
        kind = kinds[values.dtype.kind]
        if values.dtype == np.uint64 and (values > np.iinfo(np.int64).max).any():
            raise DataError(
                f"the grouping column {self._name!r} has labels above 2^63: make them text"
            )
        if (self._kind, kind) == ("real", "integer"):
            self._require_told_apart(values)
        self._be(kind, ordered)
        if self._kind == "boolean":
            values = values.astype(np.uint8)
        elif self._kind == "real":
            values = _bits(values)
        return self._integers.code(values)

    def _be(self, kind: str, ordered: pd.Index[Any] | None) -> None:
        if self._kind is None:
            self._kind, self._levels = kind, ordered
        elif (self._kind, kind) == ("integer", "real"):
            # a chunk whose real labels are all whole is one of integers
            known = self._integers.labels
            self._require_told_apart(known)
            self._kind, self._levels, self._integers = "real", None, _core.IntegerLabels()
            self._integers.code(_bits(known))
        elif kind != self._kind and (self._kind, kind) != ("real", "integer"):
            raise MixedLabelsError(
                f"the grouping column {self._name!r} has labels of two kinds: {self._kind} in "
                f"one part of the data, {kind} in another; make them the same"
            )
        elif self._levels is not None and (ordered is None or not self._levels.equals(ordered)):
            self._levels = None

    def _require_told_apart(self, labels: Array) -> None:
        """Raise a MixedLabelsError if whole labels beside real ones are too large to be real."""
        if (np.abs(labels.astype(np.float64)) >= MOST_WHOLE).any():
            raise MixedLabelsError(
                f"the grouping column {self._name!r} has whole labels of 2^53 and more in one part "
                "of the data and real ones in another, which can't tell such labels apart: make "
                "them integers or text everywhere"
            )

    @property
    def names(self) -> LevelNames:
        """What the labels are called."""
        in_order = self._levels is not None
        if self._kind == "text":
            return LevelNames(texts=self._texts, in_order=in_order)
        labels = self._integers.labels
        if self._kind == "boolean":
            return LevelNames(pd.Index(labels.astype(bool)), in_order=in_order)
        if self._kind == "real":
            labels = labels.view(np.float64)
        return LevelNames(pd.Index(labels), in_order=in_order)


def _bits(labels: Array) -> IntArray:
    """Return real labels as integers that tell them apart."""
    return (labels.astype(np.float64) + 0.0).view(np.int64)  # no negative zero
