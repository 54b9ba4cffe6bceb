"""One pass over the rows: a design and a frame to the core's sufficient statistics."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .design import Design
from .errors import DataError, rows_phrase
from .frames import Array, Categories, Frame, Numbers, SlicedNumbers

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ROWS_A_CALL = 1 << 21  # columns read in place: a call long enough to matter, short for Ctrl-C
_ROWS_A_CHUNK = 1 << 16  # converted or evaluated columns: what may exist at one time


@dataclass(slots=True)
class LevelNames:
    """What a grouping factor's levels are called, by slot.

    Attributes
    ----------
    index : pandas.Index or None
        The names; None where a name is ``base + slot``, or joined of two.
    base : int
    joined : tuple or None
        The names of two factors, and for each slot the pair's number ``first * n_second + second``
        (None: that of the slot itself); joined when they are asked for.
    """

    index: pd.Index[Any] | None = None
    base: int = 0
    joined: tuple[LevelNames, LevelNames, int, IntArray | None] | None = None

    def of_slots(self, slots: npt.ArrayLike) -> pd.Index[Any]:
        """Return the names of some slots."""
        at = np.asarray(slots, dtype=np.int64)
        if self.joined is not None:
            # a pair that stands there twice is not two pairs that look alike
            distinct, place = np.unique(at, return_inverse=True)
            return _join(*self._parts(distinct))[place]
        if self.index is None:
            return pd.Index(at + self.base, dtype=np.int64)
        return self.index[at]

    def keys(self, slots: npt.ArrayLike) -> pd.Index[Any]:
        """Return the names as :meth:`of_slots`, joined ones by a mark that is in no name."""
        at = np.asarray(slots, dtype=np.int64)
        if self.joined is None:
            return self.of_slots(at)
        first, second = self.joined[0].keys, self.joined[1].keys
        i, j = self._pairs(at)
        return first(i).astype(str) + "\x1f" + second(j).astype(str)

    def _pairs(self, slots: IntArray) -> tuple[IntArray, IntArray]:
        assert self.joined is not None
        _, _, n_second, pairs = self.joined
        found = slots if pairs is None else pairs[slots]
        return found // n_second, found % n_second

    def _parts(self, slots: IntArray) -> tuple[pd.Index[Any], pd.Index[Any]]:
        assert self.joined is not None
        i, j = self._pairs(slots)
        return self.joined[0].of_slots(i), self.joined[1].of_slots(j)


@dataclass(slots=True)
class GroupLabels:
    """The rows' groups as integers: ``codes - base`` is the group's slot, negative is missing."""

    name: str
    codes: Array
    base: int
    n_slots: int
    names: LevelNames
    in_order: bool


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
    return GroupLabels(f"{a.name}:{b.name}", codes, 0, n_pairs, names, in_order=True)


def _join(a: pd.Index[Any], b: pd.Index[Any]) -> pd.Index[Any]:
    """Join labels as lme4 does, ``a:b``; where that is ambiguous, as Python shows them."""
    joined = a.astype(str) + ":" + b.astype(str)
    if joined.is_unique:
        return joined
    return pd.Index([f"{x!r}:{y!r}" for x, y in zip(a, b, strict=True)])


def _labels_of_column(frame: Frame, name: str) -> GroupLabels:
    column = frame.grouping_column(name)
    if isinstance(column, Categories):
        names = LevelNames(column.levels)
        return GroupLabels(name, column.codes, 0, len(column.levels), names, column.ordered_levels)
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
        names = LevelNames(pd.Index([False, True]))
        return GroupLabels(name, values.view(np.uint8), 0, 2, names, in_order=True)
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low < len(values) + 1024 and high < 2**63:
            names = LevelNames(base=low)
            return GroupLabels(name, values, low, high - low + 1, names, in_order=True)
    codes, uniques = pd.factorize(values)
    names = LevelNames(pd.Index(uniques))
    return GroupLabels(name, codes, 0, len(uniques), names, in_order=False)


def _in_order(labels: GroupLabels) -> GroupLabels:
    """Return labels whose slots count from 0 in the order in which they are shown."""
    if labels.in_order:
        codes = labels.codes
        if labels.base:
            codes = np.subtract(codes, labels.base, dtype=np.int64, casting="unsafe")
        return replace(labels, codes=codes, base=0)
    found = labels.names.of_slots(np.arange(labels.n_slots))
    order = np.asarray(found.argsort())
    place = np.full(len(found) + 1, -1, dtype=np.int64)
    place[order] = np.arange(len(found))
    names = LevelNames(found[order])
    return GroupLabels(labels.name, place[labels.codes], 0, len(found), names, in_order=True)


class GroupingFactor:
    """A grouping factor of a model, as its statistics number the levels.

    Parameters
    ----------
    group : tuple of str
    labels : GroupLabels
        Of the training rows, which are not kept.
    slots : array of shape (levels,)
        The slots that have rows.

    Attributes
    ----------
    group : tuple of str
        The columns whose joint levels are the groups.
    name : str
        lme4's, such as ``cask:batch``.
    n_levels : int
    """

    def __init__(self, group: tuple[str, ...], labels: GroupLabels, slots: IntArray) -> None:
        self.group, self.name = group, labels.name
        self.n_levels = len(slots)
        self._names, self._slots, self._in_order = labels.names, slots, labels.in_order

    @cached_property
    def levels(self) -> pd.Index[Any]:
        """The levels' labels, as the core numbers them."""
        return self._names.of_slots(self._slots)

    @property
    def keys(self) -> pd.Index[Any]:
        """What tells the levels apart, where their labels are joined from others."""
        return self._names.keys(self._slots)

    @cached_property
    def order(self) -> IntArray:
        """The levels in the order in which they are shown: categories' own, or sorted."""
        if self._in_order:
            return np.arange(self.n_levels)
        return np.asarray(self.levels.argsort(), dtype=np.int64)


def _new_core(
    design: Design, labels: list[GroupLabels], whole: int | None = None
) -> _core.Statistics:
    """Return empty statistics; the records of factor ``whole`` are to hold all cross products.

    With ``whole``, the pairs of levels that are known from an earlier pass are left out.
    """
    widths = [len(design.members(f)) for f in range(len(labels))]
    if whole is not None:
        widths[whole] = len(design.record_columns(whole))
    return _core.Statistics(
        recipes=design.recipes,
        columns=[recipe for recipe, _ in design.columns],
        shifted=[shifted for _, shifted in design.columns],
        factors=[
            (design.record_columns(f), widths[f], found.n_slots) for f, found in enumerate(labels)
        ],
        n_sources=len(design.sources),
        weight=design.weight,
        pairs=whole is None,
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
    missing : {"drop", "error"}
    n_threads : int

    Attributes
    ----------
    core : _core.Statistics
    factors : list of GroupingFactor
    dropped : Dropped

    Raises
    ------
    DataError
        For infinite values, weights that are not positive, missing values with ``"error"``, and
        when no row is left.
    """

    def __init__(self, design: Design, frame: Frame, missing: str, n_threads: int) -> None:
        labels = [group_labels(frame, group) for group in design.groups]
        self._redo = design, frame
        self.core = _new_core(design, labels)
        slots = self._read(self.core, design, frame, labels, n_threads)
        self.factors = [
            GroupingFactor(group, found, kept)
            for group, found, kept in zip(design.groups, labels, slots, strict=True)
        ]
        self._slots = slots
        self._check(design, missing)

    def refined(
        self, response_fit: Array, group_fits: list[FloatArray] | None, n_threads: int
    ) -> RowStatistics:
        """Return the statistics of a second pass that takes a fit from the response.

        Parameters
        ----------
        response_fit : array of shape (columns before y,)
            Coefficients on the shifted columns.
        group_fits : list of arrays of shape (q, levels) or None
            By grouping factor, coefficients of each level on its own columns of Z.
        n_threads : int
        """
        return self.with_core(self._second_pass(response_fit, group_fits, n_threads))

    def with_core(self, core: _core.Statistics) -> RowStatistics:
        """Return the same with other sums of these rows, or of some of them."""
        out = copy.copy(self)
        out.__dict__.update(self.__dict__, core=core)  # a copy leaves the data behind, as a pickle
        return out

    def by_cluster(
        self, cluster: int, response_fit: Array, group_fits: list[FloatArray], n_threads: int
    ) -> _core.Statistics:
        """Return such statistics with all cross products of each level of a factor.

        Parameters
        ----------
        cluster : int
            The grouping factor: its records hold [Z_i X_i y_i]'[Z_i X_i y_i].
        response_fit, group_fits, n_threads
            As for :meth:`refined`.
        """
        return self._second_pass(response_fit, group_fits, n_threads, whole=cluster)

    def _second_pass(
        self,
        response_fit: Array,
        group_fits: list[FloatArray] | None,
        n_threads: int,
        whole: int | None = None,
    ) -> _core.Statistics:
        design, frame = self._redo
        labels = [group_labels(frame, group) for group in design.groups]
        by_slot = [np.zeros((0, 0)) for _ in labels]
        for f, fits in enumerate(group_fits or []):
            width = len(design.record_columns(f)) if f == whole else len(fits)
            by_slot[f] = np.zeros((width, labels[f].n_slots))
            by_slot[f][: len(fits), self._slots[f]] = fits
        core = _new_core(design, labels, whole)
        core.adopt(self.core.shift, response_fit, by_slot)
        self._read(core, design, frame, labels, n_threads)
        return core

    @staticmethod
    def _read(
        core: _core.Statistics,
        design: Design,
        frame: Frame,
        labels: list[GroupLabels],
        n_threads: int,
    ) -> list[IntArray]:
        """Pass over the rows; returns by factor the slots that have any."""
        sources = [s for s in design.bind(frame) if s is not None]
        in_place = all(isinstance(s, Numbers | Categories) for s in sources)
        step = _ROWS_A_CALL if in_place else _ROWS_A_CHUNK
        bases = [found.base for found in labels]
        for start in range(0, frame.n_rows, step):
            stop = min(start + step, frame.n_rows)
            arrays = [s.rows(start, stop) for s in sources]
            codes = [found.codes[start:stop] for found in labels]
            core.update(arrays, codes, bases, stop - start, n_threads)
        return [np.asarray(slots, dtype=np.int64) for slots in core.finish()]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_redo"}

    def _check(self, design: Design, missing: str) -> None:
        core = self.core
        names = [design.source_name(k) for k in range(len(design.sources))]
        names += [factor.name for factor in self.factors]
        for name, (count, first) in zip(names, core.infinite[:-1], strict=False):
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

    @property
    def slots(self) -> list[IntArray]:
        """By grouping factor, the labels' slots that the levels came from."""
        return self._slots

    def with_response(self, design: Design, core: _core.Statistics) -> RowStatistics:
        """Return the statistics of another response in these rows, given the core's sums."""
        out = self.with_core(core)
        out._redo = design, self._redo[1]
        return out
