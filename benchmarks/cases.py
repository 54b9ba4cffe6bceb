"""The cases: which formula on which rows, and how often it is fitted in one process."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import data
import pandas as pd

ONE_FACTOR = ("A1e5", "A1e6", "A1e7", "B", "E", "sleepstudy", "strings", "W1e5", "W1e6", "W1e7")
SEVERAL_FACTORS = ("C", "D", "F", "G", "InstEval")
DEFAULT = ONE_FACTOR + SEVERAL_FACTORS
WARM_UP_ROWS = 400


@dataclass(frozen=True, slots=True)
class Case:
    """A formula, kept in the parts that the rivals want it in, and the rows it is fitted to."""

    name: str
    fixed: str
    terms: tuple[tuple[str, str], ...]  # left and right of the bar
    n_rows: int
    make: Callable[[int], pd.DataFrame]

    @property
    def formula(self) -> str:
        """The formula as lme4 writes it."""
        return " + ".join([self.fixed, *(f"({left} | {group})" for left, group in self.terms)])

    @property
    def has_one_factor(self) -> bool:
        """Whether packages with one grouping factor can fit it."""
        return len(self.terms) == 1 and "/" not in self.terms[0][1]

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
    """Return the case of this name: sleepstudy, InstEval, or a letter and the number of rows."""
    if name == "sleepstudy":
        terms = (("Days", "Subject"),)
        return Case(name, "Reaction ~ Days", terms, 180, lambda _: data.sleepstudy())
    if name == "InstEval":
        terms = (("1", "s"), ("1", "d"), ("1", "dept"))
        return Case(name, "y ~ service", terms, 73_421, lambda n: data.insteval().head(n))
    match = re.fullmatch(r"([A-GW]|strings)(\d+(?:e\d+)?)?", name)
    if match is None:
        raise SystemExit(f"There is no case {name!r}. Known: {', '.join(DEFAULT)}; A1e4, B1e5, …")
    kind, size = match.groups()
    fixed, terms, default, make = _KINDS[kind]
    return Case(name, fixed, terms, int(float(size or default)), make)


_KINDS: dict[str, tuple[str, tuple[tuple[str, str], ...], str, Callable[[int], pd.DataFrame]]] = {
    "A": ("y ~ t + x", (("t", "g"),), "1e6", data.slopes),
    "strings": ("y ~ t + x", (("t", "g"),), "1e6", lambda n: data.slopes(n, string_labels=True)),
    "W": ("y ~ t + x", (("t", "g"),), "1e6", data.wide_groups),
    "B": ("y ~ x1 + x2 + x3 + x4 + x5", (("1", "g"),), "1e6", data.intercepts),
    "E": ("y ~ x1 + x2 + x3", (("x1 + x2 + x3", "g"),), "1e5", data.vectors),
    "C": ("y ~ x", (("1", "a"), ("1", "b")), "1e5", data.crossed),
    "D": ("y ~ x", (("1", "a/b"),), "1e6", data.nested),
    "F": ("y ~ 1", (("1", "user"), ("1", "film")), "1e6", data.ratings),
    "G": ("y ~ t", (("t", "pupil"), ("1", "school")), "6e5", data.pupils),
}
