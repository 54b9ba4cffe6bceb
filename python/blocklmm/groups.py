"""Checks that grouping factors can be told apart, from each other and from the residuals."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .design import Design
from .errors import DataError, labels_phrase
from .formula import Formula, RandomTerm
from .statistics import RowStatistics


def check_groups(statistics: RowStatistics, formula: Formula, design: Design) -> None:
    """Refuse grouping factors that can't have a variance of their own.

    Parameters
    ----------
    statistics : RowStatistics
    formula : Formula
    design : Design

    Raises
    ------
    DataError
        For a factor with one level, with as many levels as there are rows, a term with as many
        effects, or two terms with a column in common on factors that split the rows alike.
    """
    n = statistics.totals.n_rows_used
    for factor in statistics.factors:
        if factor.n_levels < 2:
            raise DataError(
                f"the grouping factor {factor.name!r} has one level only, "
                f"{labels_phrase(factor.levels)}: its variance can't be estimated"
            )
        if factor.n_levels >= n:
            raise DataError(
                f"the grouping factor {factor.name!r} has as many levels as there are rows ({n}): "
                "its variance can't be told from the residual's"
            )
    for term, group, width in zip(formula.random, design.term_groups, design.blocks, strict=True):
        n_levels = statistics.factors[group].n_levels
        if n_levels * width >= n:
            text = " (or is a number left of its bar text, each value a category?)"
            raise DataError(
                f"the term {term.text} has {n_levels} x {width} = {n_levels * width} random "
                f"effects for {n} rows: they can't be told from the residuals; simplify the term"
                f"{text if width > 2 else ''}"
            )
    _check_partitions(statistics, formula, design)


def _check_partitions(statistics: RowStatistics, formula: Formula, design: Design) -> None:
    ends = np.cumsum(design.blocks)
    columns = [
        set(design.z_columns[end - size : end])
        for end, size in zip(ends, design.blocks, strict=True)
    ]
    alike = {
        frozenset((major, minor))
        for major, minor, count in statistics.totals.pair_counts()
        if count == statistics.factors[major].n_levels == statistics.factors[minor].n_levels
    }
    for k, m in combinations(range(len(formula.random)), 2):
        pair = frozenset((design.term_groups[k], design.term_groups[m]))
        if pair in alike and columns[k] & columns[m]:
            first, second = (statistics.factors[f].name for f in sorted(pair))
            raise DataError(
                f"the grouping factors {first!r} and {second!r} split the rows in the same way: "
                f"the variances of {_written(formula.random[k])} and "
                f"{_written(formula.random[m])} can't be told apart; leave one of the terms out"
            )


def _written(term: RandomTerm) -> str:
    """Return a term as it stands after expansion of ``a/b`` and ``||``."""
    effects = " + ".join(":".join(factors) or "1" for factors in term.terms)
    return f"({effects} | {term.group_name})"
