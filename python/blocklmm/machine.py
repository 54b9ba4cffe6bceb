"""What the machine offers: memory, and a BLAS that keeps to one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_SHARE = 0.8  # of the memory that the machine has, for one model


def memory_limit() -> float:
    """Return how many bytes the numerical factor of a model may take."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return float("inf")
    return _SHARE * pages * size


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep the BLAS to one thread: the core has its own, and results must not depend on them.

    The limit is the process's. threadpoolctl lets the Python thread that set it lift it and no
    other, so those that need it take turns.
    """
    with _turn, _controller().limit(limits=1, user_api="blas"):
        yield


_turn = Lock()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
