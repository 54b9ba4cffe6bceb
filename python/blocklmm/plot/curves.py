"""Growth curves: each subject's data with its own line and the population's, panel by panel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blocklmm.arguments import require_name
from blocklmm.errors import DataError
from blocklmm.fit import LinearMixedFit
from blocklmm.frames import Categories, Frame
from blocklmm.predict import predict_rows, row_groups

from .canvas import AxesArray, bare, panels
from .chosen import IntArray, chosen_factor, drawn_groups, named_groups, rows_by_group
from .colours import BLUE, VERMILION, ink
from .covariates import Others, follows, others_than
from .labels import describe_panels, names, response_label

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
        The lines, ``at`` in ascending order along each, with NaN between two.
    are_lines : bool
        Whether they are to be joined.
    """

    x: FloatArray
    y: FloatArray
    at: FloatArray
    own: FloatArray
    population: FloatArray
    are_lines: bool


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
    population's ``fit.predict(random="population")`` at the subject's covariates. Both are along x
    alone: a subject has a line for each combination of its other categories (and of columns of two
    values), and other numbers that vary along a line are held at the subject's mean. Other grouping
    factors, too, have a line for each level, up to 12; where these are more, or have one x only,
    their effects are left out. The title says what was done.

    Columns that are functions of x in all data move with it. Then, and where the model can't
    predict at other x, lines join the fitted values of the rows; else they are smooth. A dash is a
    line with one x.

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
    column = fit._frame().column(require_name("x", x))
    if isinstance(column, Categories):
        raise DataError(f"{x!r} holds text or categories: growth curves need a column of numbers")
    values = np.asarray(column.rows(0, fit._frame().n_rows), dtype=np.float64)
    places, note = drawn_groups(fit.ngroups[factor], most, seed)
    if groups is not None:
        places, note = named_groups(fit, factor, groups), ""
    rows = rows_by_group(fit, factor, places)
    number = list(fit.ngroups).index(factor)
    levels = row_groups(fit._problem, fit._frame())
    others = others_than(fit, x, values, number, rows, levels)
    levels[:, others.left_out] = -1
    lines, are_lines = _lines(_Predictor(fit, levels), x, values, rows, others)
    y = np.full(len(values), np.nan)
    y[fit._used] = fit._response()
    curves = [
        _Curve(values[own], y[own], at, fitted, population, are_lines)
        for own, (at, fitted, population) in zip(rows, lines, strict=True)
    ]
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
    notes = _notes(fit, others, are_lines)
    describe_panels(drawn, is_new, labels, title, x, response_label(fit), notes=notes)
    return drawn


def _notes(fit: LinearMixedFit, others: Others, are_lines: bool) -> list[str]:
    """Say what was done about what else varies."""
    held = ", ".join(others.held)
    left_out = [list(fit.ngroups)[f] for f in others.left_out]
    return [
        f"a line for each {' and '.join(others.split)}" if others.split else "",
        "" if not others.held else f"{held} at the group's mean" if are_lines else f"{held} varies",
        f"without the effects of {', '.join(left_out)}" if left_out else "",
    ]


@dataclass(frozen=True, slots=True)
class _Predictor:
    """Predicts own and population lines, with the effects of some grouping factors left out.

    Attributes
    ----------
    fit : LinearMixedFit
    levels : array of shape (n, number of factors)
        Each row's level, -1 of those that are left out.
    """

    fit: LinearMixedFit
    levels: IntArray

    def of_data(self) -> list[FloatArray]:
        """Return own and population values of all rows."""
        return self._at(self.fit._frame(), self.levels)

    def at(self, rows: IntArray, columns: dict[str, FloatArray]) -> list[FloatArray] | None:
        """Return own and population values of some rows with other values in some columns.

        None if the model can't predict at others: x is a category, a column's mean is taken, or the
        offset was given as an array.
        """
        if self.fit._problem.design.has_array("offset"):
            return None
        try:
            return self._at(Frame(self.fit._frame().taken(rows, columns)), self.levels[rows])
        except DataError:
            return None

    def _at(self, frame: Frame, levels: IntArray) -> list[FloatArray]:
        problem, estimates = self.fit._problem, self.fit._estimates(False)
        return [predict_rows(problem, frame, estimates, groups).mean for groups in (levels, None)]


def _lines(
    predictor: _Predictor, name: str, x: FloatArray, rows: list[IntArray], others: Others
) -> tuple[list[list[FloatArray]], bool]:
    """Return for each group x, own and population values of its lines, parted by NaN.

    And whether they are lines: else they are points, as what can't be held varies along them.
    """
    of_data = predictor.of_data()
    for n in (0,) if others.moving else (_POINTS, 0):
        found = _predicted(predictor, name, x, rows, others, n)
        if found is not None and (others.held or _meets(found, x, others.parts, of_data)):
            return [_parted(own) for own in found], True
    of_data = _at_mean_offset(predictor.fit, x, rows, of_data)
    at_rows = [
        [[x[at], *(values[at] for values in of_data)] for at in (_first(p, x) for p in own)]
        for own in others.parts
    ]
    return [_parted(own) for own in at_rows], not others.held


def _predicted(
    predictor: _Predictor,
    name: str,
    x: FloatArray,
    rows: list[IntArray],
    others: Others,
    n: int,
) -> list[list[list[FloatArray]]] | None:
    """Return lines at the x of their rows and n more, by group, line and x, own, population."""
    first = [_first(part, x) for own in others.parts for part in own]
    grids = [np.sort(np.concatenate([np.linspace(x[p[0]], x[p[-1]], n), x[p]])) for p in first]
    at = np.concatenate([p if n == 0 else np.repeat(p[0], n + len(p)) for p in first])
    lengths = [sum(n + len(_first(part, x)) for part in own) for own in others.parts]
    columns = {name: np.concatenate(grids)} if n else {}
    for held, values in others.held.items():
        means = [values[own].mean() for own in rows]
        columns[held] = np.repeat(means, lengths)
    found = predictor.at(at, columns)
    if found is None:
        return None
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    lines = zip(grids, *(np.split(values, ends) for values in found), strict=True)
    by_line = [list(line) for line in lines]
    starts = np.cumsum([0, *(len(own) for own in others.parts)])
    return [by_line[i:j] for i, j in pairwise(starts)]


def _meets(
    found: list[list[list[FloatArray]]],
    x: FloatArray,
    parts: list[list[IntArray]],
    of_data: list[FloatArray],
) -> bool:
    """Tell whether lines go through the fitted values of their rows."""
    for lines, own in zip(found, parts, strict=True):
        for (grid, *line), part in zip(lines, own, strict=True):
            for predicted, fitted in zip(line, of_data, strict=True):
                miss = np.abs(predicted[np.searchsorted(grid, x[part])] - fitted[part])
                if not (miss <= _SAME * np.abs(fitted[part]).max()).all():
                    return False
    return True


def _at_mean_offset(
    fit: LinearMixedFit, x: FloatArray, rows: list[IntArray], of_data: list[FloatArray]
) -> list[FloatArray]:
    """Return fitted values with an offset that was given as an array at each group's mean."""
    if not fit._problem.design.has_array("offset"):
        return of_data
    offset = fit._problem.design.matrix(fit._frame(), fit._problem.design.offsets).sum(axis=1)
    if follows(x[fit._used], offset[fit._used]):
        return of_data
    shift = np.zeros(len(offset))
    for own in rows:
        shift[own] = offset[own].mean() - offset[own]
    return [values + shift for values in of_data]


def _first(rows: IntArray, x: FloatArray) -> IntArray:
    """Return the first of the rows at each x, in ascending order."""
    return rows[np.unique(x[rows], return_index=True)[1]]


def _parted(lines: list[list[FloatArray]]) -> list[FloatArray]:
    """Return lines one after the other, with NaN between them."""
    return [
        np.concatenate([part for k in line for part in ([np.nan], k)][1:])
        for line in zip(*lines, strict=True)
    ]


def _draw(ax: Axes, curve: _Curve) -> None:
    ax.plot(curve.x, curve.y, "o", color=ink(ax), markersize=3, mfc="none", label="data")
    width = 0.8 if np.isnan(curve.at).any() else 1.0
    for values, style, colour, points, label in (
        (curve.population, "--", VERMILION, 1.2 * width, "population"),
        (curve.own, "-", BLUE, 1.5 * width, "own line"),
    ):
        alone = range(len(curve.at)) if not curve.are_lines else _alone(curve.at)
        ax.plot(
            curve.at,
            values,
            linestyle=style if curve.are_lines else "none",
            color=colour,
            linewidth=points,
            marker="_",
            markersize=5,
            markevery=list(alone),
            label=label,
        )
    bare(ax)


def _alone(x: FloatArray) -> IntArray:
    """Return the places between two NaN, or where there is one x alone."""
    gap = np.concatenate([[True], np.isnan(x), [True]])
    lines = np.split(np.arange(len(x)), np.flatnonzero(gap[1:-1]))
    at = [[k for k in line if not np.isnan(x[k])] for line in lines]
    single = [line[0] for line in at if line and len({x[k] for k in line}) == 1]
    return np.asarray(single, dtype=np.int64)
