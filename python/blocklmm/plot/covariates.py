"""What varies within a group beside x, so that a line of the group is along x and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm.errors import DataError
from blocklmm.factors import CategoryFactor
from blocklmm.fit import LinearMixedFit
from blocklmm.formula import names_in
from blocklmm.frames import Categories

from .chosen import IntArray

FloatArray = npt.NDArray[np.float64]

_MOST_LINES = 12  # of a group, by the levels of another grouping factor
_TURNS = 4.0  # ranges that a smooth function of x goes up and down


@dataclass(frozen=True, slots=True)
class Others:
    """The columns beside x, and the other grouping factors, that vary within the groups drawn.

    Attributes
    ----------
    parts : list of list of array
        For each group its rows by line: by combination of the values of ``split``.
    split : list of str
        Columns, and grouping factors, that a group has a line for each value of.
    held : dict
        Columns of numbers that vary along a line, by name, held at the group's mean.
    moving : list of str
        Columns that are functions of x in all data, and move with it.
    left_out : list of int
        Grouping factors whose levels vary along a line: their effects are left out.
    """

    parts: list[list[IntArray]]
    split: list[str]
    held: dict[str, FloatArray]
    moving: list[str]
    left_out: list[int]


def others_than(
    fit: LinearMixedFit,
    name: str,
    x: FloatArray,
    number: int,
    rows: list[IntArray],
    levels: IntArray,
) -> Others:
    """Find what else varies within groups.

    Parameters
    ----------
    fit : LinearMixedFit
    name : str
        Of the column x.
    x : array of shape (n,)
        Of all rows.
    number : int
        The grouping factor's.
    rows : list of array
        Those of each group.
    levels : array of shape (n, number of factors)
        Each row's level in all factors.
    """
    frame = fit._frame()
    read, in_levels = _columns_read(fit)
    used = np.flatnonzero(fit._used)
    codes: dict[str, npt.NDArray[np.generic]] = {}
    numbers: dict[str, FloatArray] = {}
    moving = []
    for other in (column for column in frame.names if column in read - {name}):
        try:
            column = frame.column(other)
        except DataError:  # neither numbers nor categories: its name is a word of another's
            continue
        values = np.asarray(column.rows(0, frame.n_rows))
        if not any(_varies(values[own]) for own in rows):
            continue
        is_category = isinstance(column, Categories) or column.is_boolean
        most = _MOST_LINES if other in in_levels else 2
        if is_category or len(np.unique(values[used])) <= most:
            if _is_renamed(x[used], values[used]):
                moving.append(other)
            else:
                codes[other] = values
        elif follows(x[used], values[used]):
            moving.append(other)
        else:
            numbers[other] = values.astype(np.float64)
    parts = [_by_combination(own, list(codes.values())) for own in rows]
    split, left_out = list(codes), []
    for f, factor in enumerate(fit.ngroups):
        level = levels[:, f]
        if f == number or not any(_varies(level[part]) for own in parts for part in own):
            continue
        finer = [[p for part in own for p in _by_combination(part, [level])] for own in parts]
        if all(_are_lines(own, x) for own in finer):
            parts = finer
            split.append(factor)
        else:
            left_out.append(f)
    varying = [k for k, v in numbers.items() if any(_varies(v[p]) for own in parts for p in own)]
    return Others(parts, split, {k: numbers[k] for k in varying}, moving, left_out)


def _columns_read(fit: LinearMixedFit) -> tuple[set[str], set[str]]:
    """Return the columns that predictions read, and those of them that stand for levels."""
    design, frame = fit._problem.design, fit._frame()
    recipes = [*(design.x_recipes[k] for k in fit._problem.kept), *design.z_recipes]
    keys = [design.sources[k] for k in design.needed_sources([*recipes, *design.offsets])]
    read: set[str] = set()
    in_levels: set[str] = set()
    for key in (key for key in keys if key.array is None):
        names = {key.label} if key.label in frame else names_in(key.label)
        read |= names
        if isinstance(design._factors[key.factor], CategoryFactor):
            in_levels |= names
    return read, in_levels


def _varies(values: npt.NDArray[np.generic]) -> bool:
    return bool((values != values[0]).any())


def _by_combination(rows: IntArray, columns: list[npt.NDArray[np.generic]]) -> list[IntArray]:
    """Return the rows by combination of values, in the order in which these first appear."""
    code = np.zeros(len(rows), dtype=np.int64)
    for values in columns:
        found = np.unique(values[rows], return_inverse=True)[1]
        code = np.unique(code * len(rows) + found, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    return [rows[code == code[k]] for k in np.sort(first)]


def _are_lines(parts: list[IntArray], x: FloatArray) -> bool:
    return len(parts) <= _MOST_LINES and all(_varies(x[part]) for part in parts)


def _is_renamed(x: FloatArray, values: npt.NDArray[np.generic]) -> bool:
    """Tell whether each value stands for one x, and each x for one value."""
    n_x, n_values = len(np.unique(x)), len(np.unique(values))
    return n_x == n_values == len(np.unique(np.column_stack([x, values]), axis=0))


def follows(x: FloatArray, values: npt.NDArray[np.generic]) -> bool:
    """Tell whether numbers are a function of x: one value at each x, smooth if x is hardly ever."""
    order = np.argsort(x, kind="stable")
    step_x, step = np.diff(x[order]), np.diff(values[order].astype(np.float64))
    if step[step_x == 0].any():
        return False
    is_repeated = 2 * (1 + np.count_nonzero(step_x)) <= len(x)
    return bool(is_repeated or np.abs(step).sum() <= _TURNS * np.ptp(values.astype(np.float64)))
