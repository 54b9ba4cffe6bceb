"""Dask graphs: partitions reduced where they lie, merged by a tree; and what goes wrong there.

Everything runs on the scheduler that Dask would take: threads, processes, or the workers of a
``distributed`` client. What a lost worker held Dask computes again, from the partitions on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blocklmm.errors import BlocklmmError, DataError

_FAN_IN = 8  # results merged at a time
_FAILED = "computing the Dask frame failed"
HELD = "what the workers hold can't be computed"


def current_client() -> Any:
    """Return the ``distributed`` client that Dask would compute with, or None."""
    from dask.base import get_scheduler

    owner = getattr(get_scheduler(), "__self__", None)
    return owner if hasattr(owner, "submit") and hasattr(owner, "gather") else None


def tree(parts: Sequence[Any], merge: Callable[..., Any], *arguments: Any) -> Any:
    """Return the delayed merger of delayed parts, ``merge(*arguments, parts)`` of some at a time.

    The order is that of the parts, whoever computes what first.
    """
    from dask.delayed import delayed

    delayed_merge = delayed(merge, pure=False, traverse=False)
    level = list(parts)
    while True:
        chunks = [level[k : k + _FAN_IN] for k in range(0, len(level), _FAN_IN)]
        level = [delayed_merge(*arguments, chunk) for chunk in chunks]
        if len(level) == 1:
            return level[0]


def computed(target: Any, partitions: Sequence[Any]) -> Any:
    """Compute something delayed.

    Parameters
    ----------
    target : Delayed
    partitions : sequence of Delayed
        What it is made of, to name the one that fails.

    Raises
    ------
    BlocklmmError
        Whatever of ours a task raises; a DataError for anything else.
    """
    client = current_client()
    if client is None:
        with typed_errors(_FAILED):
            return target.compute()
    future = client.compute(target)
    try:
        with typed_errors(_FAILED, lambda: _failed_partition(client, partitions)):
            return future.result()
    finally:
        future.release()  # never cancelled: others may hold what it is made of


def futures_of(client: Any, targets: Sequence[Any], partitions: Sequence[Any]) -> list[Any]:
    """Return futures of delayed things that have been computed, and stay on the workers.

    Raises
    ------
    BlocklmmError
        As :func:`computed`; nothing is left on the workers then.
    """
    from distributed import wait

    futures: list[Any] = client.compute(list(targets))
    try:
        with typed_errors(_FAILED, lambda: _failed_partition(client, partitions)):
            wait(futures, return_when="ALL_COMPLETED")
            for future in futures:
                if future.status != "finished":
                    future.result()
    except BaseException:
        for future in futures:
            future.release()
        raise
    return futures


def each(client: Any, task: Callable[..., Any], futures: list[Any], **arguments: Any) -> list[Any]:
    """Return what a task finds of each future's result, where it lies, in the futures' order.

    Raises
    ------
    DataError
        If the workers, and what they would compute a result from, are gone.
    """
    with typed_errors(HELD):
        found: list[Any] = client.gather(client.map(task, futures, pure=False, **arguments))
        return found


@contextmanager
def typed_errors(what: str, where: Callable[[], str] = str) -> Iterator[None]:
    """Raise what Dask raises as a DataError with its cause; errors of ours as they are."""
    try:
        yield
    except BlocklmmError:
        raise
    except Exception as error:
        raise DataError(f"{what}{where()}: {type(error).__name__}: {error}") from error


def _failed_partition(client: Any, partitions: Sequence[Any]) -> str:
    """Return which partition can't be computed, if it is one: the scheduler knows it by its key."""
    from distributed import as_completed

    futures = client.compute(list(partitions))
    number = {future.key: k for k, future in enumerate(futures)}
    try:
        for future in as_completed(futures):
            if future.status == "error":
                return f" in partition {number[future.key]}"
        return ""
    finally:
        for future in futures:
            future.release()
