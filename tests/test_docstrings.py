"""The examples of docstrings show what is printed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import blocklmm as bl

MODULES = [module.name for module in pkgutil.walk_packages(bl.__path__, "blocklmm.")]


def test_examples():
    attempted = 0
    for name in MODULES:
        if not name.endswith(("__main__", "_core")):
            found = doctest.testmod(importlib.import_module(name))
            assert found.failed == 0, name
            attempted += found.attempted
    assert attempted > 30
