"""Statistics whose groups stay on the workers: here is only what is of all rows.

An evaluation of the criterion is one request to all buckets of groups, and one small vector back
from each. A bucket that is lost with its worker Dask computes again from the partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.errors import InferenceError
from blocklmm.growing_labels import GrowingLabels
from blocklmm.statistics import Core, GroupingFactor, RowStatistics

from . import buckets as on_worker
from .graphs import HELD, each, typed_errors

FloatArray = npt.NDArray[np.float64]


class Buckets:
    """What the workers hold, one future a bucket.

    Parameters
    ----------
    client : distributed.Client
    futures : sequence of Future
    """

    def __init__(self, client: Any, futures: Sequence[Any]) -> None:
        self._client, self._futures = client, list(futures)

    def made(self, task: Callable[..., Any], **arguments: Any) -> Buckets:
        """Return what a task makes of each bucket, where it lies.

        Raises
        ------
        DataError
            If the client is closed.
        """
        with typed_errors(HELD):
            made = self._client.map(task, self._futures, pure=False, **arguments)
        return Buckets(self._client, made)

    def each(self, task: Callable[..., Any], **arguments: Any) -> list[Any]:
        """Return what a task finds of each bucket, in their order.

        Raises
        ------
        DataError
            If the workers, and what they would compute a bucket from, are gone.
        """
        return each(self._client, task, self._futures, **arguments)


class SpreadFactor(GroupingFactor):
    """A grouping factor whose labels are on the workers, and brought here when asked for."""

    def __init__(self, group: tuple[str, ...], n_levels: int, buckets: Buckets) -> None:
        self.group, self.name, self.n_levels = group, ":".join(group), n_levels
        self._buckets = buckets

    def __getattr__(self, name: str) -> Any:
        if name not in ("names", "slots"):
            raise AttributeError(name)
        table = GrowingLabels(self.group)
        for labels in self._buckets.each(on_worker.labels_of):
            table.add(labels)
        self.names, self.slots = table.names, np.arange(self.n_levels)
        return self.__dict__[name]


class SpreadStatistics(RowStatistics):
    """Statistics of all rows here, those of each group on the workers.

    Parameters
    ----------
    totals : RowStatistics
        Of all rows as if they were one group's.
    group : tuple of str
    buckets : Buckets
        Of ``PartStatistics``.
    n_levels : int
        Number of groups.
    passes : list of str
        What the rows were read for, each time.
    """

    def __init__(
        self,
        totals: RowStatistics,
        group: tuple[str, ...],
        buckets: Buckets,
        n_levels: int,
        passes: list[str],
    ) -> None:
        self._totals, self._buckets = totals.core, buckets
        self.factors = [SpreadFactor(group, n_levels, buckets)]
        self.dropped, self.unmet_levels = totals.dropped, totals.unmet_levels
        self.passes, self._redo = passes, None

    @property
    def has_groups(self) -> bool:
        """Whether the statistics of each group are here too: they are not."""
        return False

    @property
    def totals(self) -> _core.Statistics:
        """What is of all rows."""
        return self._totals

    def without_rows(self) -> RowStatistics:
        """Return the same: no row is here."""
        return self

    def __getattr__(self, name: str) -> NoReturn:
        if name != "core":
            raise AttributeError(name)
        raise InferenceError(
            "this needs the statistics of all groups in one place, and they have stayed on Dask's "
            "workers: SufficientStatistics.from_dask(..., groups='driver') brings them here"
        )

    def block_objective(
        self,
        x_columns: Sequence[int],
        free_entries: Sequence[tuple[int, int]],
        n_threads: int,  # noqa: ARG002
    ) -> Core:
        """Return the criterion as sums over the buckets."""
        units = _core.Standardization(self._totals, x_columns)
        ready = self._buckets.made(on_worker.Bucket, units=units)
        explained, ranks = zip(*ready.each(on_worker.explained_by), strict=True)
        self._ready = ready

        def gather(lambda_: FloatArray, N: FloatArray, derivatives: bool) -> FloatArray:
            found = ready.each(on_worker.sums, lambda_=lambda_, N=N, derivatives=derivatives)
            return np.column_stack(found)

        return _core.SpreadObjective(
            units=units,
            explained=np.sum(explained, axis=0),
            rank_of_z=int(np.sum(ranks)),
            free_entries=free_entries,
            gather=gather,
        )

    def modes(self, core: Core, **request: Any) -> dict[str, FloatArray]:  # noqa: ARG002
        """Return what is wanted of the conditional modes of all groups, brought here."""
        found = self._ready.each(on_worker.modes, request=request)
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def __getstate__(self) -> NoReturn:
        raise InferenceError(
            "statistics whose groups are on Dask's workers can't be pickled, nor a fit of them: "
            "SufficientStatistics.from_dask(..., groups='driver') brings them here"
        )
