"""Groups in buckets: what the workers hold of them, and what they are asked for.

A group belongs to a bucket by a hash of its label, so that rows of a group in several partitions
meet in one. Functions of this module run on the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import _core
from blocklmm.growing_labels import GrowingLabels
from blocklmm.labels import LevelNames
from blocklmm.statistics import GroupingFactor, RowStatistics

from .parts import PartStatistics

FloatArray = npt.NDArray[np.float64]

_LABEL_BYTES = 64  # of a group's label, about


def n_levels(part: PartStatistics | None) -> int:
    """Return the number of groups in a part of the rows, or in a bucket."""
    return 0 if part is None else part.statistics.factors[0].n_levels


def n_bytes_of(part: PartStatistics | None) -> int:
    """Return the size of the statistics of a part's groups."""
    return 0 if part is None else part.statistics.core.n_bytes


def split(n_buckets: int, part: PartStatistics | None) -> list[PartStatistics | None]:
    """Return what is of all rows of a part, as if they were one group's, then each bucket's groups.

    The one group is called by what kinds of labels the part has: those of two kinds would be two.
    """
    if part is None:
        return [None] * (n_buckets + 1)
    statistics = part.statistics
    factor, core = statistics.factors[0], statistics.core
    labels = factor.names.parts(factor.slots)
    kinds = pd.Index([" and ".join(map(kind_of_labels, labels))][: min(factor.n_levels, 1)])
    one = GroupingFactor(factor.group[:1], LevelNames(kinds), np.arange(len(kinds)))
    pooled = RowStatistics.of(core.pooled(), [one], statistics.dropped, statistics.unmet_levels)
    found: list[PartStatistics | None] = [PartStatistics(pooled, part.not_a_number)]
    bucket = _hashes(labels) % np.uint64(n_buckets)
    order = np.argsort(bucket, kind="stable")
    starts = np.searchsorted(bucket[order], np.arange(1, n_buckets, dtype=np.uint64))
    for levels in np.split(order, starts):
        table = GrowingLabels(factor.group)
        slots = table.add([label[levels] for label in labels])
        own = GroupingFactor(factor.group, table.names, slots)
        of_bucket = RowStatistics.of(core.of_levels(levels), [own], type(statistics.dropped)(0, {}))
        found.append(PartStatistics(of_bucket, {}))
    return found


def kind_of_labels(labels: pd.Index[Any]) -> str:
    """Return in words what labels are."""
    kinds = {"b": "boolean", "i": "number", "u": "number", "f": "number"}
    return kinds.get(labels.dtype.kind, "text")


def _hashes(labels: Sequence[pd.Index[Any]]) -> npt.NDArray[np.uint64]:
    """Return a hash of joint labels, the same in every process."""
    out = np.zeros(len(labels[0]), dtype=np.uint64)
    for part in labels:
        values = part.to_numpy()
        kind = kind_of_labels(part)
        if kind == "number":  # whole ones are integers in some parts, reals in others
            values = values.astype(np.float64) + 0.0
        elif kind == "text":
            values = values.astype(object)
        found = pd.util.hash_array(values, categorize=False)
        out = out * np.uint64(0x9E3779B97F4A7C15) + found
    return out


class Bucket:
    """The groups of a bucket, each with the statistics of all of its rows.

    Parameters
    ----------
    part : PartStatistics
    units : _core.Standardization
        Columns and their units, of all rows.
    """

    def __init__(self, part: PartStatistics, units: _core.Standardization) -> None:
        self.statistics, self.units = part.statistics, units
        self.partial_sums = _core.PartialSums(self.statistics.core, units)

    def __sizeof__(self) -> int:
        # what Dask takes the cost of moving it from
        return 2 * self.statistics.core.n_bytes + _LABEL_BYTES * self.statistics.factors[0].n_levels

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (PartStatistics(self.statistics, {}), self.units)


def explained_by(bucket: Bucket) -> tuple[FloatArray, int]:
    """Return sum Y_i'Y_i of the groups, and the sum of the ranks of their Z_i."""
    return bucket.partial_sums.explained, bucket.partial_sums.rank_of_z


def sums(bucket: Bucket, lambda_: FloatArray, N: FloatArray, derivatives: bool) -> FloatArray:
    """Return what an evaluation takes of the groups; see ``cpp/core/partial_sums.hpp``."""
    return bucket.partial_sums.sums(lambda_=lambda_, N=N, derivatives=derivatives, n_threads=1)


def labels_of(part: PartStatistics) -> list[pd.Index[Any]]:
    """Return the labels of the groups in each column."""
    factor = part.statistics.factors[0]
    return factor.names.parts(factor.slots)


def modes(bucket: Bucket, request: dict[str, Any]) -> dict[str, FloatArray]:
    """Return what is wanted of the groups' conditional modes."""
    groups = np.arange(bucket.statistics.factors[0].n_levels)
    return bucket.partial_sums.modes(statistics=bucket.statistics.core, groups=groups, **request)
