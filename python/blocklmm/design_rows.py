"""The rows of a design as the core multiplies responses with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .design import Design
from .frames import Array, Categories, Frame, Numbers, Source
from .labels import group_labels
from .statistics import RowStatistics

_ROWS_A_CHUNK = 1 << 16


class DesignRows:
    """Columns, levels and weights of all rows, for products with responses.

    Parameters
    ----------
    design : Design
    statistics : RowStatistics
        Of this design; their shifts and the numbers of their levels are taken over.
    frame : Frame
    used : array of shape (n,) of bool, or None
        The rows that the statistics are of; all, if None.

    Notes
    -----
    Columns that the core can't read in place (expressions, Arrow columns in several parts) are
    converted once and kept, and each row's level takes four bytes by grouping factor.
    """

    def __init__(
        self,
        design: Design,
        statistics: RowStatistics,
        frame: Frame,
        used: npt.NDArray[np.bool_] | None,
    ) -> None:
        self.n_rows = frame.n_rows
        self.used = used
        columns = [recipe for recipe, _ in design.columns[:-1]]
        recipes = columns + design.offsets + ([design.weight] if design.weight >= 0 else [])
        self._sources = [
            None if source is None else _whole(source, frame.n_rows)
            for source in design.bind(frame, design.needed_sources(recipes))
        ]
        self._levels = [
            _levels(frame, group, statistics.slots[f]) for f, group in enumerate(design.groups)
        ]
        self._plan = _core.ProductsPlan(
            recipes=design.recipes,
            columns=columns,
            shift=np.asarray(statistics.core.shift)[:-1],
            offsets=design.offsets,
            weight=design.weight,
            shifted=design.columns[-1][1],
            factors=[
                ([design.z_columns[k] for k in design.members(f)], factor.n_levels)
                for f, factor in enumerate(statistics.factors)
            ],
        )

    def products(self, Y: Array, n_threads: int = 1) -> _core.Responses:
        """Return Z'y, X'y and y'y of the columns of Y, less the offsets and about a shift.

        Parameters
        ----------
        Y : array of shape (n, responses) of float64 or float32
            In any order, for all rows of the frame; values in rows that are not used don't count.
        n_threads : int
        """
        return _core.response_products(
            self._plan,
            sources=self._sources,
            levels=self._levels,
            used=self.used,
            Y=Y,
            n_threads=n_threads,
        )

    def count_not_finite(self, Y: Array, n_threads: int = 1) -> npt.NDArray[np.int64]:
        """Return how many values of each column of Y are missing or infinite in the rows used."""
        return _core.count_not_finite(used=self.used, Y=Y, n_threads=n_threads)


def _whole(source: Source, n_rows: int) -> Array:
    if isinstance(source, Numbers | Categories):
        return source.rows(0, n_rows)
    out = np.empty(n_rows)
    for start in range(0, n_rows, _ROWS_A_CHUNK):
        stop = min(start + _ROWS_A_CHUNK, n_rows)
        out[start:stop] = source.rows(start, stop)
    return out


def _levels(
    frame: Frame, group: tuple[str, ...], slots: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """Return the number of each row's level among those that have rows; -1 where it has none."""
    labels = group_labels(frame, group)
    place = np.full(labels.n_slots + 1, -1, dtype=np.int32)
    place[slots] = np.arange(len(slots), dtype=np.int32)
    codes: Any = labels.codes
    if labels.base:
        codes = np.subtract(codes, labels.base, dtype=np.int64, casting="unsafe")
    return np.ascontiguousarray(place[np.maximum(codes, -1)])
