"""Where the rows of a model come from: a frame, chunks read one by one, or partitions elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import inf
from typing import Protocol, TypeVar, runtime_checkable

from .frames import Frame
from .native_tables import Library

Found = TypeVar("Found")


class Rows(Protocol):
    """Rows as frames, one after the other. A :class:`Frame` is the whole of its own rows.

    Attributes
    ----------
    head : Frame
        The first rows, of which types, shifts and centres are learnt.
    is_rereadable : bool
        Whether the rows can be read more than once.
    total : int or None
        How many rows there are, where that is known before they are read.
    library : Library
        Of tables about the rows.
    """

    @property
    def head(self) -> Frame: ...  # noqa: D102
    @property
    def is_rereadable(self) -> bool: ...  # noqa: D102
    @property
    def total(self) -> int | None: ...  # noqa: D102
    @property
    def library(self) -> Library: ...  # noqa: D102
    def frames(self, n_threads: int = 1) -> Iterator[Frame]:
        """Return the frames in order; whoever reads them may use so many threads."""
        ...


@runtime_checkable
class PartitionedRows(Rows, Protocol):
    """Rows that lie in partitions on other machines, and are reduced there."""

    def reduced(
        self, of_part: Callable[[Frame], Found], merge: Callable[[list[Found]], Found]
    ) -> Found:
        """Return what is found of each partition, merged by a tree in the partitions' order.

        Parameters
        ----------
        of_part, merge : callable
            Functions that can be pickled. ``merge`` leaves what it merges as it is: what is lost
            with a machine is merged once more.
        """
        ...


def first_with_values(
    frames: Iterable[Frame], wanted: Collection[str], most_rows: float = inf
) -> Frame | None:
    """Return the first frame that has a value in every column wanted; the first, if none has.

    No more than so many rows are looked at. None, where there are no frames.
    """
    first = None
    n_rows = 0
    for frame in frames:
        first = frame if first is None else first
        if not any(frame.is_missing(name) for name in frame.names if name in wanted):
            return frame
        n_rows += frame.n_rows
        if n_rows >= most_rows:
            break
    return first
