"""The cases: which formula on which rows, and how often it is fitted in one process."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import data
import pandas as pd

DEFAULT = ("A1e5", "A1e6", "A1e7", "B", "E", "sleepstudy", "strings", "W1e5", "W1e6", "W1e7")
WARM_UP_ROWS = 400


@dataclass(frozen=True, slots=True)
class Case:
    """A formula, kept in the parts that the rivals want it in, and the rows it is fitted to."""

    name: str
    fixed: str
    random: str
    group: str
    n_rows: int
    make: Callable[[int], pd.DataFrame]

    @property
    def formula(self) -> str:
        """The formula as lme4 writes it."""
        return f"{self.fixed} + ({self.random} | {self.group})"

    @property
    def is_tiny(self) -> bool:
        """Whether a fit takes milliseconds, so that the overhead of a call is what counts."""
        return self.n_rows <= 1_000

    @property
    def n_calls(self) -> int:
        """How often one process fits it: a short call says little on a shared machine."""
        if self.is_tiny:
            return 50
        return 5 if self.n_rows <= 100_000 else 1

    @property
    def statistic(self) -> str:
        """How the calls of one process become one figure."""
        return "median" if self.is_tiny else "best"

    def rows(self) -> pd.DataFrame:
        """The data of the measured calls."""
        return self.make(self.n_rows)

    def warm_up_rows(self) -> pd.DataFrame:
        """A few rows of the same kind, to load lazily imported modules with."""
        return self.make(WARM_UP_ROWS)


def find(name: str) -> Case:
    """Return the case of this name: sleepstudy, or A, B, E, W, strings and the number of rows."""
    if name == "sleepstudy":
        return Case(name, "Reaction ~ Days", "Days", "Subject", 180, lambda _: data.sleepstudy())
    match = re.fullmatch(r"(A|B|E|W|strings)(\d+(?:e\d+)?)?", name)
    if match is None:
        raise SystemExit(f"There is no case {name!r}. Known: {', '.join(DEFAULT)}; A1e4, B1e5, …")
    kind, size = match.groups()
    n_rows = int(float(size or {"E": "1e5"}.get(kind, "1e6")))
    if kind == "A":
        return Case(name, "y ~ t + x", "t", "g", n_rows, data.slopes)
    if kind == "strings":
        return Case(
            name, "y ~ t + x", "t", "g", n_rows, lambda n: data.slopes(n, string_labels=True)
        )
    if kind == "W":
        return Case(name, "y ~ t + x", "t", "g", n_rows, data.wide_groups)
    if kind == "B":
        return Case(name, "y ~ x1 + x2 + x3 + x4 + x5", "1", "g", n_rows, data.intercepts)
    return Case(name, "y ~ x1 + x2 + x3", "x1 + x2 + x3", "g", n_rows, data.vectors)
