"""What statistics that are shared would give away of single rows."""

from __future__ import annotations

import numpy as np

from .design import Design
from .statistics import RowStatistics


def small_cells(design: Design, statistics: RowStatistics, min_cell: int) -> list[str]:
    """Return in words which groups and levels of categories have fewer rows than allowed.

    Parameters
    ----------
    design : Design
    statistics : RowStatistics
    min_cell : int
    """
    out = []
    core = statistics.core
    for f, factor in enumerate(statistics.factors):
        sizes = np.asarray(core.level_rows(f))
        n_small = int((sizes < min_cell).sum())
        if n_small:
            q = len(design.members(f))
            n_open = int((sizes <= q).sum())
            known = f"; {n_open} of them not more than its {q} random effects, which gives their "
            text = f"{n_small} of {factor.n_levels} groups of {factor.name!r} have fewer than "
            text += f"{min_cell} rows, from whose sums they could be recovered"
            out.append(text + (known + "rows away" if n_open else ""))
    sums = np.asarray(core.sums)
    for place, name in zip(design.x_columns, design.x_names, strict=True):
        kind, *rest = design.recipes[design.columns[place][0]]
        if kind == "lookup" and set(rest[1]) <= {0.0, 1.0} and 0 < sums[place] < min_cell:
            out.append(f"{name!r} marks {sums[place]:.0f} rows, fewer than {min_cell}")
    return out
