"""The rows of a Dask data frame: partitions that are reduced where they lie."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from blocklmm.errors import BlocklmmError, DataError
from blocklmm.frames import Frame
from blocklmm.native_tables import Library
from blocklmm.rows import first_with_values

from .graphs import computed, tree

Found = TypeVar("Found")
Kinds = dict[str, str]

_HEAD_ROWS = 8 * 512  # what shifts are chosen from, as of other rows


class DaskRows:
    """Rows of a Dask data frame.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
    wanted : collection of str
        The columns that the model reads, if they are there: the others are not computed.
    needed : collection of str
        Those of them that are to be of one kind in all partitions.
    groups : {"auto", "driver", "workers"}
        Where the statistics of the groups are to be; see ``placement.py``.

    Attributes
    ----------
    partitions : list of Delayed

    Raises
    ------
    DataError
        If there are no rows, or the first of them can't be computed.
    """

    is_rereadable = True
    total: int | None = None
    library: Library = "pandas"

    def __init__(
        self, data: Any, wanted: Collection[str], needed: Collection[str], groups: str = "auto"
    ) -> None:
        from dask.delayed import delayed

        self.groups = groups
        names = [str(name) for name in data.columns]
        chosen = [name for name in data.columns if str(name) in wanted]
        # a name that is missing is told from all that there are
        self.partitions: list[Any] = (data[chosen] if chosen else data).to_delayed()
        first_rows = delayed(_first_rows, pure=False)
        heads = (computed(first_rows(part), self.partitions) for part in self.partitions)
        head = first_with_values((Frame(found) for found in heads if len(found)), needed)
        if head is None:
            raise DataError("the data have no rows: the Dask frame is empty")
        self.head = head
        head.known_names = names
        self._kinds = {name: head.kind(name) for name in head.names if name in needed}

    def frames(self, n_threads: int = 1) -> Iterator[Frame]:  # noqa: ARG002
        """Return the partitions one by one: for passes that need them here.

        Raises
        ------
        DataError
            If a partition can't be computed, or a column changes its kind.
        """
        first_row = 0
        for number, part in enumerate(self.partitions):
            frame = _frame_of(computed(part, [part]), number, self._kinds, first_row)
            if frame is not None:
                yield frame
                first_row += frame.n_rows

    def reduced(
        self, of_part: Callable[[Frame], Found], merge: Callable[[list[Found]], Found]
    ) -> Found:
        """Return what is found of each partition, merged by a tree in the partitions' order.

        Raises
        ------
        DataError
            If a partition can't be computed, holds other kinds of columns than the first, or rows
            that can't be used; with its number.
        """
        found: Found = computed(
            tree(self.reductions(of_part), merged_parts, merge), self.partitions
        )
        return found

    def reductions(self, of_part: Callable[[Frame], Any]) -> list[Any]:
        """Return, delayed, what is found of each partition; None of one without rows."""
        from dask.delayed import delayed

        # Threads would share what the function holds: as bytes each task makes its own.
        plan = delayed(pickle.dumps((of_part, self._kinds)), pure=False)
        reduce_part = delayed(_reduce_part, pure=False)
        return [reduce_part(plan, number, part) for number, part in enumerate(self.partitions)]


def require_dask_frame(data: Any) -> None:
    """Raise a DataError if data are no Dask data frame, or an ImportError if there is no Dask."""
    try:
        import dask.dataframe as dd
    except ImportError:
        raise ImportError("Dask frames need Dask: pip install 'blocklmm[dask]'") from None
    if not isinstance(data, dd.DataFrame):
        raise DataError(f"an object of type {type(data).__name__!r} is no Dask data frame")


def _first_rows(part: Any) -> Any:
    return part.head(_HEAD_ROWS)


def _reduce_part(plan: bytes, number: int, part: Any) -> Any:
    of_part, kinds = pickle.loads(plan)
    frame = _frame_of(part, number, kinds)
    try:
        return None if frame is None else of_part(frame)
    except BlocklmmError as error:
        raise type(error)(f"partition {number}: {error}") from None


def merged_parts(merge: Callable[[list[Any]], Any], parts: Sequence[Any]) -> Any:
    """Return what the parts with rows are together; None where there are none."""
    with_rows = [part for part in parts if part is not None]
    return merge(with_rows) if with_rows else None


def _frame_of(part: Any, number: int, kinds: Kinds, first_row: int = 0) -> Frame | None:
    """Return a partition as a frame, whose columns are of the kinds expected; None if empty."""
    if len(part) == 0:
        return None
    frame = Frame(part, first_row)
    frame.require_kinds(kinds, "the Dask frame", f"in partition {number}")
    return frame
