"""Statistics that keep all cross products of each group, so that one can be taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from .design import Design
from .errors import DataError, OptionError, did_you_mean
from .statistics import GroupingFactor, RowStatistics


def require_removable(design: Design) -> None:
    """Raise an OptionError unless a group's own cross products are all that it adds."""
    if len(design.groups) != 1:
        raise OptionError("keep_groups is for models with one grouping factor")
    if design.weight >= 0:
        raise OptionError("keep_groups is for models without weights")
    if design.constant is None:
        raise OptionError("keep_groups needs an intercept, fixed or random")


def without_group(design: Design, statistics: RowStatistics, label: Any) -> RowStatistics:
    """Return the statistics of the rows of all groups but one.

    Parameters
    ----------
    design : Design
        Of one grouping factor; see :func:`require_removable`.
    statistics : RowStatistics
        With all cross products [Z_i X_i y_i]'[Z_i X_i y_i] of each group.
    label : label of a group
        A tuple of labels, where groups are joint levels of several columns.

    Raises
    ------
    DataError
        If there is no such group, or it is the only one.
    """
    factor = statistics.factors[0]
    parts = factor.names.parts(factor.slots)
    wanted = label if isinstance(label, tuple) else (label,)
    if len(wanted) != len(parts):
        raise DataError(f"a group of {factor.name!r} has {len(parts)} labels, not {label!r}")
    is_it = np.ones(factor.n_levels, dtype=bool)
    for name, part, value in zip(factor.group, parts, wanted, strict=True):
        if np.ndim(value):
            raise DataError(f"a label of {name!r} is one value, not {value!r}")
        if (given := _kind(value)) != (kind := _kind(part[0])):
            raise DataError(
                f"{factor.name!r} has no level {label!r}: labels of {name!r} are {kind}s, and "
                f"{value!r} is a {given}"
            )
        is_it &= np.asarray(part == value)
    place = np.flatnonzero(is_it)
    if len(place) == 0:
        hint = did_you_mean(label, factor.levels[:10_000])
        raise DataError(f"{factor.name!r} has no level {label!r}.{hint}")
    if factor.n_levels == 1:
        raise DataError(f"{label!r} is the only level of {factor.name!r}: nothing would be left")
    assert design.constant is not None
    core = statistics.core.removed(int(place[0]), design.constant)
    left = GroupingFactor(factor.group, factor.names, np.delete(factor.slots, place[0]))
    return RowStatistics.of(core, [left], statistics.dropped)


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "text"
    if isinstance(label, bool | np.bool_):
        return "boolean"
    return "number" if isinstance(label, int | float | np.number) else type(label).__name__


def for_fits(design: Design, statistics: RowStatistics) -> RowStatistics:
    """Return the statistics without the cross products that fits don't need, X_i'X_i among them."""
    q = len(design.z_columns)
    others = range(q, len(design.record_columns(0)))
    core = statistics.core.restricted([(0, list(range(q)), list(others))])
    return RowStatistics.of(core, statistics.factors, statistics.dropped)
