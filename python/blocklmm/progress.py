"""Long loops of the core: in batches between which Ctrl-C is heard, with a progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_A_BATCH = 0.2  # between looks at Ctrl-C and the progress bar


class Pace:
    """The size of the next batch, such that one takes a fifth of a second.

    Parameters
    ----------
    least : int
        The first batch, and the smallest.
    """

    def __init__(self, least: int) -> None:
        self._least = self._size = least

    def batches(self, total: int) -> Iterator[tuple[int, int]]:
        """Yield first and size of batches of ``total`` things; each is timed."""
        done = 0
        while done < total:
            size, start = min(self._size, total - done), time.perf_counter()
            yield done, size
            done += size
            growth = min(4.0, _SECONDS_A_BATCH / max(time.perf_counter() - start, 1e-6))
            self._size = max(self._least, int(size * growth))


@contextmanager
def progress_bar(
    total: int | None, unit: str, progress: bool | None
) -> Iterator[Callable[[int], object]]:
    """Show a bar of tqdm, and hand out what advances it.

    Parameters
    ----------
    total : int or None
        None where it is not known.
    unit : str
    progress : bool or None
        If None where it is worth it, on a terminal that has tqdm.

    Raises
    ------
    ImportError
        If a bar is asked for and tqdm is not there.
    """
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda _: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        if progress:
            raise ImportError(
                "a progress bar needs tqdm: pip install 'blocklmm[progress]'"
            ) from None
        yield lambda _: None
        return
    delay = 0.0 if progress else 1.0
    with tqdm(total=total, unit=unit, unit_scale=True, delay=delay, leave=False) as bar:
        yield bar.update
