"""Statistics of several sets of rows as one: matched on labels, brought about one shift."""

from __future__ import annotations

import copy

import numpy as np

from . import _core
from .compatible import change_of_columns, differences
from .design import Design
from .errors import DataError, IncompatibleError
from .growing_labels import GrowingLabels
from .statistics import GroupingFactor, RowStatistics


def require_compatible(a: Design, b: Design) -> None:
    """Raise an IncompatibleError that shows where two designs differ, if they do."""
    found = differences(a, b)
    if found:
        raise IncompatibleError(
            "statistics of different models can't be added; they differ in " + "; ".join(found)
        )


def merge(
    design: Design, into: RowStatistics, others: Design, other: RowStatistics
) -> RowStatistics:
    """Add statistics of other rows to the core of some, whose shift and centres stay.

    Parameters
    ----------
    design, into : Design, RowStatistics
        The core of the latter is changed.
    others, other : Design, RowStatistics

    Returns
    -------
    RowStatistics
        Of all rows, with the core of ``into``.

    Raises
    ------
    IncompatibleError
        If the designs differ, or labels of groups are of different kinds; nothing was changed then.
    """
    require_compatible(design, others)
    factors, numbers = [], []
    for mine, found in zip(into.factors, other.factors, strict=True):
        table = GrowingLabels(mine.group)
        try:
            table.add(mine.names.parts(mine.slots))
            numbers.append(table.add(found.names.parts(found.slots)))
        except DataError as error:
            raise IncompatibleError(f"statistics can't be added: {error}") from None
        names, slots = table.names, np.arange(table.n_slots)
        own, others_own = mine.names.ordered, found.names.ordered
        if own is not None and others_own is not None and own.equals(others_own):
            names, slots = mine.names, own.get_indexer(names.of_slots(slots))
        factors.append(GroupingFactor(mine.group, names, slots))
    into.core.merge(_about(design, into, others, other), numbers)
    return RowStatistics.of(into.core, factors, into.dropped + other.dropped)


def merged(
    a: Design, first: RowStatistics, b: Design, second: RowStatistics
) -> tuple[Design, RowStatistics]:
    """Return the statistics of both sets of rows, about the shift of the larger one."""
    if second.core.n_rows_used > first.core.n_rows_used:
        a, first, b, second = b, second, a, first
    copied = RowStatistics.of(copy.copy(first.core), first.factors, first.dropped)
    return a, merge(a, copied, b, second)


def _about(
    design: Design, into: RowStatistics, others: Design, other: RowStatistics
) -> _core.Statistics:
    shift = np.asarray(into.core.shift)
    M, by_factor = change_of_columns(others, np.asarray(other.core.shift), design, shift)
    if np.array_equal(M, np.eye(len(M))):
        return other.core
    return other.core.in_columns(M, by_factor, shift)
