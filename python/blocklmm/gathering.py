"""Rows to statistics: a pass, and another where levels turn out to be in dropped rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .columns import build
from .design import Design
from .rows import Rows
from .statistics import RowStatistics


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
    statistics = RowStatistics(design, rows, missing, n_threads, progress, whole=whole)
    unmet = statistics.unmet_levels
    if unmet and rows.is_rereadable:
        design = build(design.formula, rows, **columns, unmet=unmet, progress=progress)
        before = statistics.passes
        statistics = RowStatistics(design, rows, missing, n_threads, progress, whole=whole)
        statistics.passes = before + statistics.passes
    return design, statistics
