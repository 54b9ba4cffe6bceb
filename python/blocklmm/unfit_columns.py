"""Columns that can't be fitted: too large or too small to be squared, zero, or constant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .design import Design
from .errors import DataError
from .formula import Formula
from .statistics import RowStatistics

FloatArray = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


def check_sizes(design: Design, formula: Formula, cross: FloatArray) -> None:
    """Refuse columns whose squares overflow, and random effects of columns of zeros.

    Parameters
    ----------
    design : Design
    formula : Formula
    cross : array of shape (columns, columns)
        Cross products of all columns about their shifts, the response last.

    Raises
    ------
    DataError
    """
    sizes = np.diag(cross)
    names = [""] * design.n_columns
    for k, column in enumerate(design.z_columns):
        names[column] = design.z_names[k]
    for k, column in enumerate(design.x_columns):
        names[column] = design.x_names[k]
    names[-1] = formula.response
    for name, size in zip(names, sizes, strict=True):
        if not np.isfinite(size):
            raise DataError(f"{name!r} is too large to be squared: divide it by its scale")
        if 0 < size < 1e-280:
            raise DataError(f"{name!r} is too small to be squared: multiply it by a constant")
    at = 0
    for term, width in zip(formula.random, design.blocks, strict=True):
        for k in range(at, at + width):
            if sizes[design.z_columns[k]] == 0:
                raise DataError(
                    f"the random effect of {design.z_names[k]!r} in {term.text} can't be "
                    "estimated: its column is zero, or constant beside an intercept, in all rows"
                )
        at += width


def check_response(formula: Formula, statistics: RowStatistics, total: float) -> None:
    """Refuse a response that is constant, or whose squares vanish.

    Parameters
    ----------
    formula : Formula
    statistics : RowStatistics
    total : float
        Its sum of squares about its shift.

    Raises
    ------
    DataError
    """
    core = statistics.totals
    shift = np.asarray(core.shift)[-1:]
    if _vanish(np.array([total]), shift)[0]:
        raise DataError(f"{formula.response!r} is too small to be squared: multiply it")
    if are_constant(np.array([total]), shift, core.n_rows_used)[0]:
        raise DataError(constant_text(formula.response, float(shift[0])))


def _vanish(total: FloatArray, shift: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell of which responses the squares vanish, though they are not zero."""
    return np.asarray((total < 1e-280) & (shift != 0) & (np.abs(shift) < 1e-130))


def are_constant(total: FloatArray, shift: FloatArray, n_rows: int) -> npt.NDArray[np.bool_]:
    """Tell which responses vary by no more than rounding, and not in squares that vanish.

    Parameters
    ----------
    total, shift : arrays of shape (r,)
        Sums of squares about the shift.
    n_rows : int
    """
    with np.errstate(over="ignore"):
        rounding = n_rows * (4 * _EPS * shift) ** 2
    return np.isfinite(total) & (total <= rounding) & ~_vanish(total, shift)


def constant_text(response: str, value: float) -> str:
    """Return what is said of a constant response."""
    found = f"{value:.10g}" if value else "zero"
    return f"the response {response!r} is constant ({found}): nothing varies"
