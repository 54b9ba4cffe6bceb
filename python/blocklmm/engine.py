"""How rows that come in chunks are read: what an engine hands out, and a thread that runs ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

ROWS_A_BATCH = 1 << 17
HEAD_ROWS = 8 * 512  # what shifts are chosen from, in memory too
_BATCHES_AHEAD = 2  # that wait while another is used


@dataclass(frozen=True, slots=True)
class Engine:
    """How to read some rows.

    Attributes
    ----------
    name : str
        What is read, for messages.
    read : callable
        ``read(columns, n_threads)`` returns an iterator of tables; None of columns: all there are.
    names : list of str or None
        The columns' names, where they are known before a row is read.
    is_rereadable : bool
    total : int or None
        Number of rows, where it is known.
    head : callable or None
        ``head(columns)`` returns a table of the first rows, where all need not be read for them.
    would_read : callable or None
        ``would_read(path)`` tells whether a file of that (real) path may be among what is read,
        where anything is known of it.
    gives_frames : bool
        Whether the tables are frames of the user's own library, of which tables of results are to
        be, too.
    """

    name: str
    read: Callable[[list[str] | None, int], Iterator[Any]]
    names: list[str] | None
    is_rereadable: bool
    total: int | None = None
    head: Callable[[list[str] | None], Any] | None = None
    would_read: Callable[[str], bool] | None = None
    gives_frames: bool = False


def ahead(batches: Iterator[Any], n_threads: int) -> Iterator[Any]:
    """Return batches that a thread reads ahead of us, where there is more than one to be had."""
    return _read_ahead(batches) if n_threads > 1 else batches


def _read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(_BATCHES_AHEAD)
    is_left = threading.Event()

    def hand_over(item: tuple[Any, BaseException | None]) -> None:
        while not is_left.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break

    def work() -> None:
        try:
            for batch in batches:
                hand_over((batch, None))
                if is_left.is_set():
                    return
            hand_over((None, StopIteration()))
        except BaseException as error:
            hand_over((None, error))

    reader = threading.Thread(target=work, daemon=True)
    reader.start()
    try:
        while True:
            batch, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield batch
    finally:
        is_left.set()
        reader.join()
