"""Where the rows of a model come from: a frame in memory, or chunks that are read one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .frames import Frame


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
    """

    @property
    def head(self) -> Frame: ...  # noqa: D102
    @property
    def is_rereadable(self) -> bool: ...  # noqa: D102
    @property
    def total(self) -> int | None: ...  # noqa: D102
    def frames(self, n_threads: int = 1) -> Iterator[Frame]:
        """Return the frames in order; whoever reads them may use so many threads."""
        ...
