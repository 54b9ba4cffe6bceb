"""Levels of categories outside the groups: met in the data, or declared by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .errors import DataError, OptionError, did_you_mean, labels_phrase
from .frames import Categories

_MOST_LEVELS = 10_000  # of a category outside the groups: X'X of more fills the memory


def met_levels(found: Categories) -> pd.Index[Any]:
    """Return the levels that have rows, in the column's own order, or sorted where it has none."""
    counts = np.bincount(found.codes[found.codes >= 0], minlength=len(found.levels))
    levels = found.levels[np.flatnonzero(counts)]
    return levels if found.ordered_levels else levels[np.asarray(levels.argsort())]


def without_levels(levels: pd.Index[Any], unmet: Sequence[Any]) -> pd.Index[Any]:
    """Return levels less some, in order."""
    return levels[~levels.isin(list(unmet))] if len(unmet) else levels


def require_category(text: str, levels: pd.Index[Any], n_rows: int) -> None:
    """Raise a DataError where a category has no level, or too many for one."""
    if len(levels) == 0:
        raise DataError(f"column {text!r} has no values: all rows are missing")
    if len(levels) > max(100, n_rows // 2) or len(levels) > _MOST_LEVELS:
        raise DataError(
            f"column {text!r} has {len(levels)} different values in {n_rows} rows "
            f"({labels_phrase(levels[:3])}, …), too many for a category: are they "
            f"numbers stored as text, or groups for a random effect, (1 | {text})?"
        )


def declared_levels(
    levels: Mapping[str, Sequence[Any]] | None, names: Sequence[str]
) -> dict[str, pd.Index[Any]]:
    """Return the levels that the user declares, by column.

    Raises
    ------
    OptionError
        If they are no mapping of columns to distinct levels.
    DataError
        If the data have no such column.
    """
    if levels is None:
        return {}
    if not isinstance(levels, Mapping):
        raise OptionError(
            f"levels are a dict of columns and their levels, {{'arm': ['a', 'b']}}, not {levels!r}"
        )
    out = {}
    for name, given in levels.items():
        if name not in names:
            raise DataError(
                f"levels are given for {name!r}, which is no column of the data."
                f"{did_you_mean(name, names)}"
            )
        if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray | pd.Index):
            raise OptionError(f"the levels of {name!r} are a list, not {given!r}")
        found = pd.Index(given)
        if len(found) == 0 or not found.is_unique or found.isna().any():
            raise OptionError(f"the levels of {name!r} are different values, not {list(given)!r}")
        out[name] = found
    return out
