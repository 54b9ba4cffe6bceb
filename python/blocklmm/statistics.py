"""One pass over the rows: a design and a frame to the core's sufficient statistics."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .design import Design
from .errors import DataError, rows_phrase
from .frames import Array, Categories, Frame, Numbers, SlicedNumbers

_ROWS_A_CALL = 1 << 21  # columns read in place: a call long enough to matter, short for Ctrl-C
_ROWS_A_CHUNK = 1 << 16  # converted or evaluated columns: what may exist at one time


@dataclass(slots=True)
class GroupLabels:
    """The rows' groups as integers: ``codes - base`` is the group's slot, negative is missing."""

    name: str
    codes: Array
    base: int
    n_slots: int
    levels: pd.Index[Any] | None  # by slot; None where the label is base + slot
    in_order: bool

    def of_slots(self, slots: Sequence[int] | Array) -> pd.Index[Any]:
        """Return the labels of some slots."""
        if self.levels is None:
            return pd.Index(np.asarray(slots, dtype=np.int64) + self.base, dtype=np.int64)
        return self.levels[np.asarray(slots, dtype=np.int64)]


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
        If a column is unknown, or a float with missing values.
    """
    if len(names) == 1:
        return _labels_of_column(frame, names[0])
    codes, joined = _as_codes(_labels_of_column(frame, names[0]))
    for name in names[1:]:
        other, levels = _as_codes(_labels_of_column(frame, name))
        missing = (codes < 0) | (other < 0)
        codes = np.where(missing, -1, codes * len(levels) + other)
        n_pairs = len(joined) * len(levels)
        found: Array = np.arange(n_pairs) if n_pairs <= frame.n_rows + 1024 else _used(codes)
        if len(found) < n_pairs:
            codes = np.where(missing, -1, np.searchsorted(found, codes))
        joined = _join(joined[found // len(levels)], levels[found % len(levels)])
    return GroupLabels(":".join(names), codes, 0, len(joined), joined, in_order=True)


def _used(codes: Array) -> Array:
    """Return the distinct codes that are not missing, in order."""
    found = np.sort(pd.unique(codes))
    return np.asarray(found[found >= 0])


def _join(a: pd.Index[Any], b: pd.Index[Any]) -> pd.Index[Any]:
    """Join labels as lme4 does, ``a:b``; where that is ambiguous, as Python shows them."""
    joined = a.astype(str) + ":" + b.astype(str)
    if joined.is_unique:
        return joined
    return pd.Index([f"{x!r}:{y!r}" for x, y in zip(a, b, strict=True)])


def _labels_of_column(frame: Frame, name: str) -> GroupLabels:
    column = frame.grouping_column(name)
    if isinstance(column, Categories):
        return GroupLabels(
            name, column.codes, 0, len(column.levels), column.levels, column.ordered_levels
        )
    values = column.rows(0, frame.n_rows) if isinstance(column, SlicedNumbers) else column.array
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataError(
                f"the grouping column {name!r} is {values.dtype} and has missing or infinite "
                f"values in {rows_phrase(len(bad), bad[:5].tolist())}: drop these rows, or make "
                "it a column of text, categories or nullable integers"
            )
        if (values == np.floor(values)).all() and (np.abs(values) < 2**53).all():
            values = values.astype(np.int64)
    if values.dtype.kind == "b":
        levels = pd.Index([False, True])
        return GroupLabels(name, values.view(np.uint8), 0, 2, levels, in_order=True)
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low < len(values) + 1024 and high < 2**63:
            return GroupLabels(name, values, low, high - low + 1, None, in_order=True)
    codes, uniques = pd.factorize(values)
    return GroupLabels(name, codes, 0, len(uniques), pd.Index(uniques), in_order=False)


def _as_codes(labels: GroupLabels) -> tuple[npt.NDArray[np.int64], pd.Index[Any]]:
    """Return codes from 0 in the labels' order, and the labels."""
    codes = np.asarray(labels.codes, dtype=np.int64) - labels.base
    found = labels.of_slots(np.arange(labels.n_slots))
    if labels.in_order:
        return codes, found
    order = np.asarray(found.argsort())
    place = np.full(len(found) + 1, -1, dtype=np.int64)
    place[order] = np.arange(len(found))
    return place[codes], found[order]


def _new_core(design: Design, labels: GroupLabels | None) -> _core.Statistics:
    return _core.Statistics(
        recipes=design.recipes,
        columns=[recipe for recipe, _ in design.columns],
        shifted=[shifted for _, shifted in design.columns],
        n_random=design.n_random,
        n_sources=len(design.sources),
        weight=design.weight,
        n_slots=labels.n_slots if labels else 0,
    )


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows left out of a fit.

    Attributes
    ----------
    n_rows : int
        Rows dropped because a value is missing.
    by_column : dict
        Missing values by column; a row may miss several.
    """

    n_rows: int
    by_column: dict[str, int]


class RowStatistics:
    """The core's statistics of all rows, and the labels of its groups.

    Parameters
    ----------
    design : Design
    frame : Frame
    group : tuple of str or None
        The grouping factor's columns; None without random terms.
    missing : {"drop", "error"}
    n_threads : int

    Attributes
    ----------
    core : _core.Statistics
    group_name : str
    levels : pandas.Index
        Labels of the groups, as the core numbers them.
    dropped : Dropped

    Raises
    ------
    DataError
        For infinite values, weights that are not positive, missing values with ``"error"``, and
        when no row is left.
    """

    def __init__(
        self,
        design: Design,
        frame: Frame,
        group: tuple[str, ...] | None,
        missing: str,
        n_threads: int,
    ) -> None:
        labels = None if group is None else group_labels(frame, group)
        self.group_name = labels.name if labels else ""
        self._redo = design, frame, group
        self.core = _new_core(design, labels)
        self._slots = self._read(design, frame, labels, n_threads)
        self.levels = labels.of_slots(self._slots) if labels else pd.Index([])
        self._in_order = labels is None or labels.in_order
        self._check(design, missing)

    def refined(
        self, response_fit: Array, group_fits: Array | None, n_threads: int
    ) -> RowStatistics:
        """Return the statistics of a second pass that takes a fit from the response.

        Parameters
        ----------
        response_fit : array of shape (columns before y,)
            Coefficients on the shifted columns.
        group_fits : array of shape (q, groups) or None
            Coefficients of each group on its own columns of Z.
        n_threads : int
        """
        design, frame, group = self._redo
        labels = None if group is None else group_labels(frame, group)
        by_slot = np.zeros((0, 0))
        if group_fits is not None and labels is not None:
            by_slot = np.zeros((len(group_fits), labels.n_slots))
            by_slot[:, self._slots] = group_fits
        out = copy.copy(self)
        out.core = _new_core(design, labels)
        out.core.adopt(self.core.shift, response_fit, by_slot)
        out._read(design, frame, labels, n_threads)
        return out

    def _read(
        self, design: Design, frame: Frame, labels: GroupLabels | None, n_threads: int
    ) -> npt.NDArray[np.int64]:
        """Pass over the rows; returns the slots that have any."""
        sources = [s for s in design.bind(frame) if s is not None]
        in_place = all(isinstance(s, Numbers | Categories) for s in sources)
        step = _ROWS_A_CALL if in_place else _ROWS_A_CHUNK
        codes = labels.codes if labels else np.broadcast_to(np.int8(0), frame.n_rows)
        base = labels.base if labels else 0
        for start in range(0, frame.n_rows, step):
            stop = min(start + step, frame.n_rows)
            arrays = [s.rows(start, stop) for s in sources]
            self.core.update(arrays, codes[start:stop], base, n_threads)
        return np.asarray(self.core.finish(), dtype=np.int64)

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The groups in the order in which they are shown: categories' own, or sorted."""
        if self._in_order:
            return np.arange(len(self.levels))
        return np.asarray(self.levels.argsort(), dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_redo"}

    def _check(self, design: Design, missing: str) -> None:
        core = self.core
        names = [design.source_name(k) for k in range(len(design.sources))]
        names.append(self.group_name)
        for name, (count, first) in zip(names[:-1], core.infinite, strict=False):
            if count:
                raise DataError(
                    f"column {name!r} has infinite values in {rows_phrase(count, first)}: remove "
                    "these rows or make the values missing"
                )
        count, first = core.infinite[-1]
        if count:
            raise DataError(f"a product of columns overflows in {rows_phrase(count, first)}")
        count, first = core.bad_weights
        if count:
            raise DataError(f"weights are zero or negative in {rows_phrase(count, first)}")
        found = {n: c for n, (c, _) in zip(names, core.missing, strict=True) if c}
        if found and missing == "error":
            texts = [
                f"column {name!r} has missing values in {rows_phrase(count, first)}"
                for name, (count, first) in zip(names, core.missing, strict=True)
                if count
            ]
            raise DataError("; ".join(texts) + ". missing='drop' leaves such rows out")
        if design.weight >= 0:
            kind, *rest = design.recipes[design.weight]
            weights_missing, first = core.missing[rest[0]] if kind == "numeric" else (0, [])
            if weights_missing:
                raise DataError(f"weights are missing in {rows_phrase(weights_missing, first)}")
        self.dropped = Dropped(core.n_rows_seen - core.n_rows_used, found)
        if core.n_rows_used == 0:
            parts = ", ".join(f"{name!r}: {c}" for name, c in found.items())
            raise DataError(
                f"no row is left: all {core.n_rows_seen} rows have a missing value ({parts})"
            )
