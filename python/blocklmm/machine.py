"""What the machine offers: memory, and a BLAS that keeps to one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

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

    The limit holds for the whole process, so the first of several Python threads sets it and the
    last one lifts it.
    """
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


class _Limit:
    def __init__(self) -> None:
        self._lock, self._n_users = Lock(), 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._n_users += 1

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limiter.restore_original_limits()


_limit = _Limit()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
