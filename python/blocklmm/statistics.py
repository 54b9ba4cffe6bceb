"""One pass over the rows: a design and rows to the core's sufficient statistics."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .design import Design
from .frames import Array, Frame
from .growing_labels import GrowingLabels, KnownLabels
from .labels import LevelNames, group_labels
from .progress import progress_bar
from .reading import Dropped, Labels, Reading, new_core
from .rows import Rows

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Core = _core.BlockObjective | _core.SparseObjective | _core.SpreadObjective


class GroupingFactor:
    """A grouping factor of a model, as its statistics number the levels.

    Parameters
    ----------
    group : tuple of str
    names : LevelNames
        Of all slots of the labels.
    slots : array of shape (levels,)
        Those that have rows.

    Attributes
    ----------
    group : tuple of str
        The columns whose joint levels are the groups.
    name : str
        lme4's, such as ``cask:batch``.
    n_levels : int
    """

    def __init__(self, group: tuple[str, ...], names: LevelNames, slots: IntArray) -> None:
        self.group, self.name = group, ":".join(group)
        self.n_levels = len(slots)
        self.names, self.slots = names, slots

    @cached_property
    def levels(self) -> pd.Index[Any]:
        """The levels' labels, as the core numbers them."""
        return self.names.of_slots(self.slots)

    @property
    def keys(self) -> pd.Index[Any]:
        """What tells the levels apart, where their labels are joined from others."""
        return self.names.keys(self.slots)

    @cached_property
    def order(self) -> IntArray:
        """The levels in the order in which they are shown: categories' own, or sorted."""
        return self.names.order(self.slots)


class RowStatistics:
    """The core's statistics of all rows, and the labels of its groups.

    Parameters
    ----------
    design : Design
    rows : Rows
    missing : {"drop", "error"}
    n_threads : int
    progress : bool, optional
        Whether to show a progress bar; by default where one is of use.
    shift : array of shape (columns,), optional
        What columns are to be about, if not near the first rows' means.
    whole : int, optional
        A grouping factor whose records are to hold all cross products.
    is_part : bool
        Whether there are other rows, so that none of these need be left.

    Attributes
    ----------
    core : _core.Statistics
    factors : list of GroupingFactor
    dropped : Dropped
    unmet_levels : dict of str to list
        By category, levels that no row used has.
    passes : list of str
        What rows that came in chunks were read for, each time; empty of rows in memory.

    Raises
    ------
    DataError
        For infinite values, weights that are not positive, missing values with ``"error"``, and
        when no row is left.
    """

    def __init__(
        self,
        design: Design,
        rows: Rows,
        missing: str,
        n_threads: int,
        progress: bool | None = None,
        shift: FloatArray | None = None,
        whole: int | None = None,
        is_part: bool = False,
    ) -> None:
        labels = [_labels_of(rows, group) for group in design.groups]
        self._redo: tuple[Design, Rows] | None = design, rows
        reading = Reading(design, labels, missing, n_threads, None, shift, whole)
        with progress_bar(rows.total, " rows", progress) as advance:
            for frame in rows.frames(n_threads):
                reading.add(frame)
                advance(frame.n_rows)
        self.core, slots = reading.finish(is_part)
        self.factors = [
            GroupingFactor(group, found.names, kept)
            for group, found, kept in zip(design.groups, labels, slots, strict=True)
        ]
        self.dropped = reading.dropped
        self.unmet_levels = reading.unmet_levels
        self.passes = [] if isinstance(rows, Frame) else passes_over(design)
        if not rows.is_rereadable:
            self._redo = None

    @classmethod
    def of(
        cls,
        core: _core.Statistics,
        factors: list[GroupingFactor],
        dropped: Dropped,
        unmet_levels: dict[str, list[object]] | None = None,
        redo: tuple[Design, Rows] | None = None,
    ) -> RowStatistics:
        """Return statistics that were merged, whose rows are not there if they are not given."""
        out = cls.__new__(cls)
        out.core, out.factors, out.dropped = core, factors, dropped
        out.unmet_levels, out._redo = unmet_levels or {}, redo
        out.passes = [] if redo is None else passes_over(redo[0])
        return out

    def with_rows(self, design: Design, rows: Rows) -> RowStatistics:
        """Return the same with the rows that a pickle has brought along."""
        out = self.with_core(self.core)
        out._redo = design, rows
        return out

    def without_rows(self) -> RowStatistics:
        """Return the same, that does not hold the rows."""
        return self.of(self.core, self.factors, self.dropped, self.unmet_levels)

    @property
    def has_groups(self) -> bool:
        """Whether the statistics of each group are here too."""
        return True

    @property
    def totals(self) -> _core.Statistics:
        """What is of all rows: their number, cross products, sums, shift and weights."""
        return self.core

    def block_objective(
        self, x_columns: Sequence[int], free_entries: Sequence[tuple[int, int]], n_threads: int
    ) -> Core:
        """Return the criterion of a model with one grouping factor, or none."""
        return _core.BlockObjective(self.core, x_columns, free_entries, n_threads)

    def modes(self, core: Core, **request: Any) -> dict[str, FloatArray]:
        """Return what is wanted of the conditional modes of all groups of the only factor."""
        assert isinstance(core, _core.BlockObjective)
        groups = np.arange(self.factors[0].n_levels)
        return core.modes(statistics=self.core, groups=groups, **request)

    @property
    def rows(self) -> Rows | None:
        """The rows, if they are still there and can be read again."""
        return None if self._redo is None else self._redo[1]

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
        out = self.with_core(self._second_pass(response_fit, group_fits, n_threads))
        if self.passes:
            out.passes = [*self.passes, "for what the model leaves of the response"]
        return out

    def with_core(self, core: _core.Statistics) -> RowStatistics:
        """Return the same with other sums of these rows, or of some of them."""
        out = copy.copy(self)
        out.__dict__.update(self.__dict__, core=core)  # a copy leaves the rows behind, as a pickle
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
        assert self._redo is not None, "rows that can be read again"
        design, rows = self._redo
        labels = [_known_labels(rows, factor) for factor in self.factors]
        by_slot = [np.zeros((0, 0)) for _ in labels]
        for f, fits in enumerate(group_fits or []):
            width = len(design.record_columns(f)) if f == whole else len(fits)
            by_slot[f] = np.zeros((width, labels[f].n_slots))
            slots = self.factors[f].slots
            by_slot[f][: len(fits), slots if isinstance(rows, Frame) else ...] = fits
        core = new_core(design, [found.n_slots for found in labels], whole)
        core.adopt(self.core.shift, response_fit, by_slot)
        reading = Reading(design, labels, "drop", n_threads, core)
        for frame in rows.frames(n_threads):
            reading.add(frame)
        return reading.finish()[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_redo": None}

    @property
    def slots(self) -> list[IntArray]:
        """By grouping factor, the labels' slots that the levels came from."""
        return [factor.slots for factor in self.factors]

    def with_response(self, design: Design, core: _core.Statistics) -> RowStatistics:
        """Return the statistics of another response in these rows, given the core's sums."""
        out = self.with_core(core)
        assert self._redo is not None
        out._redo = design, self._redo[1]
        return out


def passes_over(design: Design) -> list[str]:
    """Return what rows that are not in memory are read for before a fit."""
    learnt = [f"for {', '.join(design.learnt)}"] if design.learnt else []
    return [*learnt, "for the statistics"]


def _labels_of(rows: Rows, group: tuple[str, ...]) -> Labels:
    return group_labels(rows, group) if isinstance(rows, Frame) else GrowingLabels(group)


def _known_labels(rows: Rows, factor: GroupingFactor) -> Labels:
    """Return labels with the slots of the pass before: in memory its own, else its levels."""
    if isinstance(rows, Frame):
        return group_labels(rows, factor.group)
    return KnownLabels(factor.group, factor.names, factor.slots)
