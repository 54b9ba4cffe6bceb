"""Reading rows: frames go in, the statistics and what was left out come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import _core
from .design import Design
from .errors import DataError, rows_phrase
from .frames import Array, Categories, Frame, Numbers
from .labels import LevelNames

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ROWS_A_CALL = 1 << 21  # columns read in place: a call long enough to matter, short for Ctrl-C
_ROWS_A_CHUNK = 1 << 16  # converted or evaluated columns: what may exist at one time


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

    def __add__(self, other: Dropped) -> Dropped:
        counts = dict(self.by_column)
        for name, count in other.by_column.items():
            counts[name] = counts.get(name, 0) + count
        return Dropped(self.n_rows + other.n_rows, counts)


class Labels(Protocol):
    """A grouping factor's labels, as slots of the statistics."""

    name: str

    @property
    def n_slots(self) -> int: ...  # noqa: D102
    @property
    def names(self) -> LevelNames: ...  # noqa: D102
    def of(self, frame: Frame) -> tuple[Array, int]:
        """Return the rows' codes, and what to take from them to get slots."""
        ...


def new_core(design: Design, n_slots: Sequence[int], whole: int | None = None) -> _core.Statistics:
    """Return empty statistics.

    Parameters
    ----------
    design : Design
    n_slots : sequence of int
        By grouping factor; more can be had later.
    whole : int, optional
        The factor whose records are to hold all cross products. The pairs of levels, which are
        known from an earlier pass then, are left out.
    """
    widths = [len(design.members(f)) for f in range(len(n_slots))]
    if whole is not None:
        widths[whole] = len(design.record_columns(whole))
    return _core.Statistics(
        recipes=design.recipes,
        columns=[recipe for recipe, _ in design.columns],
        shifted=[shifted for _, shifted in design.columns],
        factors=[(design.record_columns(f), widths[f], n) for f, n in enumerate(n_slots)],
        n_sources=len(design.sources),
        weight=design.weight,
        pairs=whole is None,
    )


class Reading:
    """A pass over rows.

    Parameters
    ----------
    design : Design
    labels : sequence of Labels
        By grouping factor.
    missing : {"drop", "error"}
    n_threads : int
    core : _core.Statistics, optional
        What the rows go into, if not statistics of their own.
    shift : array of shape (columns,), optional
        What columns are to be about, if not the first rows' means.
    whole : int, optional
        The factor whose records are to hold all cross products.
    """

    def __init__(
        self,
        design: Design,
        labels: Sequence[Labels],
        missing: str,
        n_threads: int,
        core: _core.Statistics | None = None,
        shift: FloatArray | None = None,
        whole: int | None = None,
    ) -> None:
        self._shift, self._whole = shift, whole
        self._design, self._labels, self._missing = design, labels, missing
        self._n_threads, self._core = n_threads, core
        self._unmet = design.level_masks()

    def add(self, frame: Frame) -> None:
        """Read a frame.

        Raises
        ------
        DataError
            For infinite values, weights that are not positive, and missing values with
            ``missing="error"``.
        """
        frame.is_training = True
        coded = [labels.of(frame) for labels in self._labels]
        if self._core is None:
            n_slots = [labels.n_slots for labels in self._labels]
            self._core = new_core(self._design, n_slots, self._whole)
            if self._shift is not None:
                self._core.adopt(self._shift, np.zeros(0), [np.zeros((0, 0)) for _ in n_slots])
        core = self._core
        for f, labels in enumerate(self._labels):
            core.grow(f, labels.n_slots)
        before = core.n_rows_used
        sources = [s for s in self._design.bind(frame) if s is not None]
        in_place = all(isinstance(s, Numbers | Categories) for s in sources)
        step = _ROWS_A_CALL if in_place else _ROWS_A_CHUNK
        bases = [base for _, base in coded]
        for start in range(0, frame.n_rows, step):
            stop = min(start + step, frame.n_rows)
            arrays = [s.rows(start, stop) for s in sources]
            codes = [found[start:stop] for found, _ in coded]
            core.update(arrays, codes, bases, stop - start, self._n_threads)
        is_complete = core.n_rows_used - before == frame.n_rows
        if not is_complete:
            self._require_usable(frame.is_chunk)
        if self._unmet:
            rows = None if is_complete else used_rows(self._design, frame, coded)
            self._unmet = self._design.still_unmet(self._unmet, frame, rows)

    def finish(self, may_be_empty: bool = False) -> tuple[_core.Statistics, list[IntArray]]:
        """Close the pass; returns the statistics, and by factor the slots that have rows.

        Raises
        ------
        DataError
            If no row is left, and these are not rows of several sets.
        """
        core = self._core
        if core is None or core.n_rows_seen == 0:
            raise DataError("the data have no rows")
        if not may_be_empty:
            require_rows(core, self.dropped)
        return core, list(core.finish())

    @property
    def dropped(self) -> Dropped:
        """The rows left out so far."""
        assert self._core is not None
        core = self._core
        return Dropped(core.n_rows_seen - core.n_rows_used, self._missing_values())

    @property
    def unmet_levels(self) -> dict[str, list[object]]:
        """By category the levels that no row used has had so far."""
        return {text: self._design.levels_of(text, mask) for text, mask in self._unmet.items()}

    @property
    def _names(self) -> list[str]:
        """The names of sources and grouping factors, as the core counts their missing values."""
        design = self._design
        names = [design.source_name(k) for k in range(len(design.sources))]
        return names + [labels.name for labels in self._labels]

    def _missing_values(self) -> dict[str, int]:
        assert self._core is not None
        found = zip(self._names, self._core.missing, strict=True)
        return {name: count for name, (count, _) in found if count}

    def _require_usable(self, is_chunk: bool) -> None:
        core, design, names = self._core, self._design, self._names
        assert core is not None

        def rows(count: int, first: Sequence[int]) -> str:
            known = f" of the first {core.n_rows_seen}" if is_chunk else ""
            return rows_phrase(count, first) + known

        for name, (count, first) in zip(names, core.infinite[:-1], strict=False):
            if count:
                raise DataError(
                    f"column {name!r} has infinite values in {rows(count, first)}: remove "
                    "these rows or make the values missing"
                )
        count, first = core.infinite[-1]
        if count:
            raise DataError(f"a product of columns overflows in {rows(count, first)}")
        count, first = core.bad_weights
        if count:
            raise DataError(f"weights are zero or negative in {rows(count, first)}")
        if self._missing == "error":
            texts = [
                f"column {name!r} has missing values in {rows(count, first)}"
                for name, (count, first) in zip(names, core.missing, strict=True)
                if count
            ]
            raise DataError("; ".join(texts) + ". missing='drop' leaves such rows out")
        if design.weight >= 0:
            kind, *rest = design.recipes[design.weight]
            weights_missing, first = core.missing[rest[0]] if kind == "numeric" else (0, [])
            if weights_missing:
                raise DataError(f"weights are missing in {rows(weights_missing, first)}")


def require_rows(core: _core.Statistics, dropped: Dropped) -> None:
    """Raise a DataError if no row is left."""
    if core.n_rows_used == 0:
        parts = ", ".join(f"{name!r}: {c}" for name, c in dropped.by_column.items())
        raise DataError(
            f"no row is left: all {core.n_rows_seen} rows have a missing value ({parts})"
        )


def used_rows(
    design: Design, frame: Frame, coded: Sequence[tuple[Array, int]]
) -> npt.NDArray[np.bool_]:
    """Return which rows of a frame miss nothing that the model needs.

    Parameters
    ----------
    design : Design
    frame : Frame
    coded : sequence of (array, int)
        By grouping factor the rows' codes and their base, as from :class:`Labels`.
    """
    recipes = [recipe for recipe, _ in design.columns]
    recipes += [design.weight] if design.weight >= 0 else []
    out = np.empty(frame.n_rows, dtype=bool)
    for start in range(0, frame.n_rows, _ROWS_A_CHUNK):
        stop = min(start + _ROWS_A_CHUNK, frame.n_rows)
        values = design.matrix(frame, recipes, start, stop)
        out[start:stop] = np.isfinite(values).all(axis=1)
    for codes, base in coded:
        out &= np.asarray(codes) >= base
    return out
