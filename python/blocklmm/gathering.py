"""Rows to statistics: a pass, and another where levels turn out to be in dropped rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import build
from .design import Design
from .distributed.dask_rows import DaskRows
from .distributed.placement import statistics_of
from .rows import Rows
from .statistics import RowStatistics

FloatArray = npt.NDArray[np.float64]


def gather(
    design: Design,
    rows: Rows,
    columns: Mapping[str, Any],
    missing: str,
    n_threads: int,
    progress: bool | None = None,
    whole: int | None = None,
) -> tuple[Design, RowStatistics]:
    """Read the rows of a model.

    Parameters
    ----------
    design : Design
        Built on these rows.
    rows : Rows
    columns : mapping
        What the design was built with beside the formula: weights, offset, contrasts, levels.
    missing : {"drop", "error"}
    n_threads : int
    progress : bool, optional
    whole : int, optional
        A grouping factor whose records are to hold all cross products.

    Returns
    -------
    (Design, RowStatistics)
        As R does, levels that only the dropped rows have are no levels of the model: where there
        are any, the design is built again without them.
    """
    statistics = read(design, rows, missing, n_threads, progress, whole=whole)
    unmet = statistics.unmet_levels
    if unmet and rows.is_rereadable:
        design = build(design.formula, rows, **columns, unmet=unmet, progress=progress)
        before = statistics.passes
        statistics = read(design, rows, missing, n_threads, progress, whole=whole)
        statistics.passes = before + statistics.passes
    return design, statistics


def read(
    design: Design,
    rows: Rows,
    missing: str,
    n_threads: int,
    progress: bool | None = None,
    shift: FloatArray | None = None,
    whole: int | None = None,
) -> RowStatistics:
    """Return the statistics of rows, which are read here or, in partitions, where they lie.

    Parameters
    ----------
    design : Design
    rows : Rows
    missing : {"drop", "error"}
    n_threads : int
    progress : bool, optional
    shift : array of shape (columns,), optional
        What columns are to be about, if not near the first rows' means.
    whole : int, optional
        A grouping factor whose records are to hold all cross products.
    """
    if not isinstance(rows, DaskRows):
        return RowStatistics(design, rows, missing, n_threads, progress, shift, whole)
    if shift is None:
        shift = np.asarray(RowStatistics(design, rows.head, "drop", 1, is_part=True).core.shift)
    return statistics_of(design, rows, missing, shift, whole)
