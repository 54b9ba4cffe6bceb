"""Growth curves: each subject's data with its own line and the population's, panel by panel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blocklmm.errors import DataError
from blocklmm.fit import LinearMixedFit
from blocklmm.frames import Categories

from .canvas import AxesArray, bare, panels
from .chosen import IntArray, chosen_factor, drawn_groups, named_groups, rows_by_group
from .colours import BLACK, BLUE, VERMILION
from .labels import describe_panels, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .canvas import Panels

FloatArray = npt.NDArray[np.float64]

_POINTS = 50  # of a curve, beside those of the data
_SAME = 1e-9  # of the fitted values' range


@dataclass(frozen=True, slots=True)
class _Curve:
    """A subject's rows, and its lines; each of the arrays has one dimension.

    Attributes
    ----------
    x, y : arrays of equal length
        The data.
    at, own, population : arrays of equal length
        The lines, ``at`` in ascending order.
    """

    x: FloatArray
    y: FloatArray
    at: FloatArray
    own: FloatArray
    population: FloatArray


def growth_curves(
    fit: LinearMixedFit,
    x: str,
    factor: str | None = None,
    groups: Iterable[Any] | None = None,
    most: int = 20,
    seed: int | None = 0,
    axes: Panels | None = None,
) -> AxesArray:
    """Draw subjects' data with their own lines and the population's, a panel each.

    Parameters
    ----------
    fit : LinearMixedFit
        With its rows in memory.
    x : str
        A column of numbers: the time.
    factor : str, optional
        The grouping factor, where the model has several.
    groups : sequence of labels, optional
        Which groups, in this order. By default all, or a random sample.
    most : int
        Panels; of more groups a random sample is drawn, which the title says.
    seed : int, optional
        Of that sample.
    axes : array of Axes, Figure or SubFigure, optional
        As many as there are panels at least, or what they are made in. A new figure by default.

    Returns
    -------
    array of Axes, shape (number of panels,)
        In units of x and of the response.

    Raises
    ------
    DataError
        For an unknown factor, group or column, a column that holds no numbers, or if the fit's
        rows are not in memory.
    OptionError
        For a number, seed or axes that are none, and for more than 100 panels.

    Notes
    -----
    The subject's line is ``fit.predict()`` with the random effects of all factors, the
    population's ``fit.predict(random="population")`` at the subject's covariates. Both are smooth
    between the rows where the subject's other variables don't change; otherwise they join the
    fitted values of its rows.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> panels = bl.plot.growth_curves(fit, "Days", groups=["308", "335"], axes=Figure())
    >>> [ax.get_title() for ax in panels]
    ['308', '335']
    """
    factor = chosen_factor(fit, factor)
    column = fit._frame().column(x)
    if isinstance(column, Categories):
        raise DataError(f"{x!r} holds text or categories: growth curves need a column of numbers")
    values = np.asarray(column.rows(0, fit._frame().n_rows), dtype=np.float64)
    places, note = drawn_groups(fit.ngroups[factor], most, seed)
    if groups is not None:
        places, note = named_groups(fit, factor, groups), ""
    rows = rows_by_group(fit, factor, places)
    curves = _smooth(fit, x, values, rows) or _joined(fit, values, rows)
    drawn, is_new = panels(axes, len(curves), share=True)
    for ax, curve in zip(drawn, curves, strict=True):
        _draw(ax, curve)
    handles = drawn[0].get_legend_handles_labels()
    if is_new:
        drawn[0].figure.legend(*handles, loc="outside right upper", fontsize="small")
    else:
        drawn[0].legend(fontsize="small", framealpha=0.8)
    labels = names(fit.ranef()[factor].index[places])
    title = f"{factor}: {note}" if note else factor
    describe_panels(drawn, is_new, labels, title, x, fit.response_name)
    return drawn


def _of_rows(fit: LinearMixedFit, rows: list[IntArray]) -> list[tuple[FloatArray, ...]]:
    """Return for each group response, fitted and population values of its rows."""
    population = np.asarray(fit.predict(random="population"))
    of_row = np.cumsum(fit._used) - 1
    parts = (fit._response(), fit.fittedvalues, population)
    return [tuple(part[of_row[own]] for part in parts) for own in rows]


def _joined(fit: LinearMixedFit, x: FloatArray, rows: list[IntArray]) -> list[_Curve]:
    """Return lines through the fitted values of the rows."""
    curves = []
    for own, (y, fitted, population) in zip(rows, _of_rows(fit, rows), strict=True):
        order = np.argsort(x[own], kind="stable")
        line = (x[own][order], fitted[order], population[order])
        curves.append(_Curve(x[own], y, *line))
    return curves


def _smooth(
    fit: LinearMixedFit, name: str, x: FloatArray, rows: list[IntArray]
) -> list[_Curve] | None:
    """Return lines predicted for each group's first row at other x.

    None if they miss a fitted value, since other variables change as well, or if the model can't
    predict at other x.
    """
    grids = [
        np.sort(np.concatenate([np.linspace(x[own].min(), x[own].max(), _POINTS), x[own]]))
        for own in rows
    ]
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    at = np.repeat([own[0] for own in rows], [len(grid) for grid in grids])
    new = fit._frame().taken(at, {name: np.concatenate(grids)})
    try:
        found = [np.asarray(fit.predict(new, random=how)) for how in ("conditional", "population")]
    except DataError:  # x is a category, a column's mean is taken, the offset was given as an array
        return None
    lines = zip(*(np.split(values, ends) for values in found), strict=True)
    curves = []
    for grid, line, own, parts in zip(grids, lines, rows, _of_rows(fit, rows), strict=True):
        for predicted, fitted in zip(line, parts[1:], strict=True):
            miss = np.abs(predicted[np.searchsorted(grid, x[own])] - fitted)
            if not (miss <= _SAME * np.abs(fitted).max()).all():
                return None
        curves.append(_Curve(x[own], parts[0], grid, *line))
    return curves


def _draw(ax: Axes, curve: _Curve) -> None:
    ax.plot(curve.x, curve.y, "o", color=BLACK, markersize=3, mfc="none", label="data")
    ax.plot(curve.at, curve.population, "--", color=VERMILION, linewidth=1.2, label="population")
    ax.plot(curve.at, curve.own, "-", color=BLUE, linewidth=1.5, label="own line")
    bare(ax)
