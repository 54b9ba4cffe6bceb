"""Where the statistics of the groups of a Dask frame are put: here, or on the workers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from blocklmm.design import Design
from blocklmm.errors import DataError, OptionError
from blocklmm.reading import require_rows
from blocklmm.statistics import RowStatistics, passes_over

from .buckets import n_bytes_of, n_levels, split
from .dask_rows import DaskRows, merged_parts
from .graphs import computed, current_client, each, futures_of, tree
from .parts import PartStatistics, merged, of_part
from .spread import Buckets, SpreadStatistics

FloatArray = npt.NDArray[np.float64]

MOST_GROUPS_HERE = 1_000_000  # whose statistics "auto" brings to the driver
_BUCKET_BYTES = 1 << 28  # of records, at most, where there are more buckets than workers ask for
_BUCKETS_A_THREAD = 2


def statistics_of(
    design: Design, rows: DaskRows, missing: str, shift: FloatArray, whole: int | None
) -> RowStatistics:
    """Return the statistics of a Dask frame's rows.

    Parameters
    ----------
    design : Design
    rows : DaskRows
    missing : {"drop", "error"}
    shift : array of shape (columns,)
    whole : int or None
        A grouping factor whose records are to hold all cross products.

    Raises
    ------
    OptionError
        If groups are to stay on workers, but there are none, or several grouping factors.
    """
    reduce_part = partial(of_part, design, missing, shift, whole)
    merge = partial(merged, design)
    client = current_client()
    if rows.groups == "workers":
        _require_spreadable(design, client, whole)
    if rows.groups == "driver" or client is None or len(design.groups) != 1 or whole is not None:
        return _here(design, rows, rows.reduced(reduce_part, merge))

    parts = futures_of(client, rows.reductions(reduce_part), rows.partitions)
    together = tree(parts, merged_parts, merge)
    most = sum(each(client, n_levels, parts))
    if rows.groups == "auto" and most <= MOST_GROUPS_HERE:
        return _here(design, rows, computed(together, rows.partitions))
    totals, buckets = _in_buckets(client, parts, merge, most, rows.partitions)
    counts = buckets.each(n_levels)
    if rows.groups == "auto" and sum(counts) <= MOST_GROUPS_HERE:  # those of partitions overlap
        return _here(design, rows, computed(together, rows.partitions))
    kinds = totals.statistics.factors[0].levels
    if len(kinds) > 1:
        raise DataError(
            f"the grouping factor {':'.join(design.groups[0])!r} has labels of two kinds: "
            f"{kinds[0]} in one part of the data, {kinds[1]} in another; make them the same"
        )
    require_rows(totals.statistics.core, totals.statistics.dropped)
    design.count_not_a_number(totals.not_a_number)
    group, passes = design.groups[0], passes_over(design)
    return SpreadStatistics(totals.statistics, group, buckets, sum(counts), passes)


def _require_spreadable(design: Design, client: Any, whole: int | None) -> None:
    if client is None:
        raise OptionError("groups='workers' needs the workers of a dask.distributed Client")
    if len(design.groups) != 1:
        raise OptionError(
            "groups='workers' is for models with one grouping factor, not "
            f"{len(design.groups)}: the groups of several are brought here, groups='driver'"
        )
    if whole is not None:
        raise OptionError("groups='workers' and keep_groups=True can't go together")


def _here(design: Design, rows: DaskRows, found: PartStatistics) -> RowStatistics:
    """Return statistics that are all here, of rows that can be read again."""
    statistics = found.statistics
    require_rows(statistics.core, statistics.dropped)
    design.count_not_a_number(found.not_a_number)
    return RowStatistics.of(
        statistics.core,
        statistics.factors,
        statistics.dropped,
        statistics.unmet_levels,
        (design, rows),
    )


def _in_buckets(
    client: Any, parts: list[Any], merge: Any, n_groups: int, partitions: list[Any]
) -> tuple[PartStatistics, Buckets]:
    """Return what is of all rows, and the groups in buckets on the workers."""
    from dask.delayed import delayed

    n_bytes = sum(each(client, n_bytes_of, parts))
    n_threads = sum(client.ncores().values())
    n_buckets = max(_BUCKETS_A_THREAD * n_threads, -(-n_bytes // _BUCKET_BYTES), 1)
    n_buckets = min(n_buckets, max(n_groups, 1))
    split_part = delayed(split, pure=False, nout=n_buckets + 1)
    pieces = [split_part(n_buckets, part) for part in parts]
    merged_pieces = [
        tree([piece[b] for piece in pieces], merged_parts, merge) for b in range(n_buckets + 1)
    ]
    futures = futures_of(client, merged_pieces, partitions)
    return futures[0].result(), Buckets(client, futures[1:])
