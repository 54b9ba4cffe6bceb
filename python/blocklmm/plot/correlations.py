"""The correlation of one group's observations that the model implies, as a heat map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blocklmm.fit import LinearMixedFit
from blocklmm.frames import Categories

from .canvas import given_or_new
from .chosen import chosen_factor, named_groups, rows_by_group
from .labels import describe, extent, letters_in, names, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

_LEAST_POINTS = 5.5
_LETTERS = 4.6  # of a number in a cell, and of the space about it


def implied_correlation(
    fit: LinearMixedFit,
    group: Any,
    factor: str | None = None,
    labels: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the correlations among one group's observations, with numbers where they fit.

    Parameters
    ----------
    fit : LinearMixedFit
        With its rows in memory.
    group : label of a group
    factor : str, optional
        The grouping factor, where the model has several.
    labels : str, optional
        A column whose values name the observations; by default they are numbered from 1, in the
        data's order.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        For an unknown factor, group or column, or if the fit's rows are not in memory.
    OptionError
        For Axes that are none.

    Notes
    -----
    The matrix is ``fit.marginal_corr(group)``. Colours go from 0 to 1, or from -1 to 1 where
    correlations are negative.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> axes = Figure(figsize=(5, 5)).subplots()
    >>> ax = bl.plot.implied_correlation(fit, "308", labels="Days", ax=axes)
    >>> [text.get_text() for text in ax.texts[:3]]
    ['1', '.48', '.47']
    """
    factor = chosen_factor(fit, factor)
    rows = rows_by_group(fit, factor, named_groups(fit, factor, [group]))[0]
    ticks = _ticks(fit, rows, labels)
    corr = fit.marginal_corr(group, factor)
    is_new = ax is None
    ax = given_or_new(ax, 6.0, 5.2)
    low = -1.0 if (corr < 0).any() else 0.0
    image = ax.imshow(corr, vmin=low, vmax=1, cmap="PuOr" if low < 0 else "Blues", aspect="equal")
    if is_new:
        ax.figure.colorbar(image, ax=ax, label="correlation")
    _write_numbers(ax, corr, low)
    _write_ticks(ax, ticks)
    name = labels or "observation"
    title = f"Implied correlation in {factor} {names([group])[0]}"
    describe(ax, title, x=name, y=name)
    return ax


def _ticks(fit: LinearMixedFit, rows: npt.NDArray[np.int64], labels: str | None) -> list[str]:
    if labels is None:
        return [str(k + 1) for k in range(len(rows))]
    column = fit._frame().column(labels)
    values = column.rows(0, fit._frame().n_rows)[rows]
    if isinstance(column, Categories):
        return [
            str(text)[:12]
            for text in np.append(np.asarray(column.levels, dtype=object), "")[values]
        ]
    return [f"{value:g}" for value in values]


def _cell(ax: Axes, n: int) -> float:
    """Return the side of a cell in points."""
    return min(extent(ax)) / n


def _write_numbers(ax: Axes, corr: FloatArray, low: float) -> None:
    size = min(_cell(ax, len(corr)) / (0.6 * _LETTERS), points_of("font.size"))
    if size < _LEAST_POINTS:
        return
    dark = 0.6 if low == 0 else 0.7
    for (i, j), value in np.ndenumerate(corr):
        colour = "white" if abs(value) > dark else "black"
        text = "1" if i == j else _digits(value)
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)


def _digits(value: float) -> str:
    """Return two decimals, without a zero before the point."""
    text = f"{value:.2f}"
    return text if abs(value) >= 0.995 else text.replace("0.", ".", 1)


def _write_ticks(ax: Axes, ticks: list[str]) -> None:
    """Name as many observations as fit, the same on both axes."""
    size, cell = points_of("xtick.labelsize"), _cell(ax, len(ticks))
    step = max(math.ceil(1.25 * size / cell), 1)
    places = range(0, len(ticks), step)
    shown = [ticks[k] for k in places]
    is_long = max(map(len, shown)) >= letters_in(cell * step, size, least=1)
    ax.set_xticks(places, shown, rotation=90 if is_long else 0, parse_math=False)
    ax.set_yticks(places, shown, parse_math=False)
