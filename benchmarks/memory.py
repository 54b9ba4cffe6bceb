"""Resident memory of this process: now, and its peak since the last reset (MB = 1e6 bytes)."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def start() -> float:
    """Return freed memory to the system, forget the peak, and return the memory in use."""
    gc.collect()
    if sys.platform == "linux":
        # Freed pages that the C library keeps would hide what the fit allocates.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            CLEAR_REFS.write_text("5")
        except OSError:
            return _max_rss()
        return _status("VmRSS")
    return _max_rss()


def peak() -> float:
    """Return the peak since `start`; where no reset is allowed, since the process began."""
    return _status("VmHWM") if STATUS.exists() else _max_rss()


def _status(key: str) -> float:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"{STATUS} has no {key}")


def _max_rss() -> float:
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
