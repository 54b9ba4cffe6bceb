"""The command line: ``blocklmm fit``, ``compare``, ``predict`` and ``demo``."""

from .entry import main

__all__ = ["main"]
