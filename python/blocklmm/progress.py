"""Progress bars of long work, by tqdm where it is installed and somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    progress: bool | None, total: int | None, unit: str
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar while the work lasts.

    Parameters
    ----------
    progress : bool or None
        None shows one where it is of use: on a terminal, after a second, with tqdm.
    total : int or None
        None where it is not known.
    unit : str

    Yields
    ------
    callable
        ``advance(n)``, to be called when n more are done.

    Raises
    ------
    ImportError
        If a bar was asked for and tqdm is not installed.
    """
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield _nothing
        return
    try:
        from tqdm import tqdm
    except ImportError:
        if progress:
            raise ImportError("a progress bar needs tqdm: pip install blocklmm[progress]") from None
        yield _nothing
        return
    delay = 0.0 if progress else 1.0
    with tqdm(total=total, unit=unit, unit_scale=True, delay=delay, leave=False) as bar:
        yield bar.update


def _nothing(_: int) -> None:
    pass
