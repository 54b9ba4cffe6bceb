"""Influence: what each group, or row, does to the estimates; what is beyond a bound is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.arguments import require_count
from blocklmm.errors import DataError, InferenceError, OptionError, did_you_mean, labels_phrase
from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .caterpillars import height_for
from .colours import BLUE, GREY, VERMILION, ink
from .intervals import MANY
from .labels import describe, label_levels, names, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

_FAR = 3.0  # times the largest value
_MEASURES = ("cooks_distance", "leverage", "covratio")
_TITLES = {"cooks_distance": "Cook's distance", "covratio": "covariance ratio"}


def influence(
    found: LinearMixedFit | pd.DataFrame,
    what: str = "cooks_distance",
    factor: str | None = None,
    most: int = 5,
    ax: Axes | None = None,
) -> Axes:
    """Draw what leaving out each group does to the estimates, in ascending order.

    Parameters
    ----------
    found : LinearMixedFit, or DataFrame of its ``influence()``
        Of a fit, groups in closed form; ``fit.influence(refit=True)`` and ``by="row"`` are drawn
        as well.
    what : str
        "cooks_distance", "leverage", "covratio", or "dfbetas_x" for coefficient x.
    factor : str, optional
        The grouping factor, of a fit: by default that in which all others are nested.
    most : int
        How many are diamonds at most: the largest beyond the bound, or, where the measure has
        none ("leverage", "covratio"), those farthest from zero (from one for "covratio").
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        The measures have no unit.

    Raises
    ------
    DataError
        For an unknown measure, a table that is none of influence; and as
        :meth:`LinearMixedFit.influence`.
    InferenceError
        If no group can be left out; and as :meth:`LinearMixedFit.influence`.
    OptionError
        For a number or Axes that are none, or a factor beside a table.

    Notes
    -----
    Dashed lines are the bounds that are in use for m groups: 4/m for Cook's distance, 2/sqrt(m)
    for DFBETAS (Belsley, Kuh & Welsch 1980; Nieuwenhuis, te Grotenhuis & Pelzer 2012), rules of
    thumb, not tests. What is beyond them is a diamond, and the title says of how many. Where labels
    of all groups don't fit, the diamonds are listed in the picture.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.influence(fit, ax=Figure(figsize=(5, 5)).subplots())
    >>> ax.get_yticklabels()[-1].get_text()
    '309'
    """
    most = require_count("most", most, least=0)
    table = _table(found, factor)
    values = _measure(table, what)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) == 0:
        raise InferenceError("the fixed effects can't be estimated without any one of the groups")
    order = known[np.argsort(values[known], kind="stable")]
    shown, index = values[order], table.index[order]
    centre = 1.0 if what == "covratio" else 0.0
    bound, text = _bound(what, len(shown))
    largest = np.argsort(-np.abs(shown - centre), kind="stable")
    beyond = largest[np.abs(shown[largest]) > bound] if bound is not None else largest
    largest = beyond[:most]
    ax = given_or_new(ax, 6.0, height_for(len(order)))
    _draw(ax, shown, largest, centre)
    notes = [f"diamonds: the {len(largest):,} largest" if len(largest) else ""]
    if bound is not None:
        notes = _draw_bound(ax, what, bound, text, shown, len(largest), len(beyond))
    if not label_levels(ax, range(len(order)), index):
        _list(ax, names(index[largest]), shown[largest])
    unit = "rows" if table.index.name is None else f"levels of {table.index.name}"
    unknown = len(values) - len(known)
    without = f"without {unknown:,}, which the estimates need" if unknown else ""
    title = f"Leaving out each of {len(order):,} {unit}"
    describe(ax, title, without, *notes, x=_titled(what))
    bare(ax)
    return ax


def _table(found: LinearMixedFit | pd.DataFrame, factor: str | None) -> pd.DataFrame:
    if isinstance(found, LinearMixedFit):
        return found.influence(group=factor)
    if not isinstance(found, pd.DataFrame):
        raise TypeError(
            f"the picture is of a fit or of fit.influence(), not of {type(found).__name__!r}"
        )
    if factor is not None:
        raise OptionError("factor belongs to a fit: the table is of one already")
    if "cooks_distance" not in found:
        raise DataError("the table has no column 'cooks_distance': give that of fit.influence()")
    return found


def _measure(table: pd.DataFrame, what: str) -> FloatArray:
    known = [c for c in table.columns if c in _MEASURES or str(c).startswith("dfbetas_")]
    if what not in known:
        raise DataError(
            f"there is no measure {what!r}.{did_you_mean(what, known)} Measures are "
            f"{labels_phrase(known, most=20)}"
        )
    return table[what].to_numpy(dtype=np.float64)


def _titled(what: str) -> str:
    if what.startswith("dfbetas_"):
        return f"DFBETAS of {unquoted(what.removeprefix('dfbetas_'))}"
    return _TITLES.get(what, what)


def _draw(ax: Axes, values: FloatArray, largest: npt.NDArray[np.int64], centre: float) -> None:
    height = np.arange(len(values))
    is_many = len(values) > MANY
    is_large = np.isin(height, largest)
    ax.axvline(centre, color=ink(ax), linewidth=0.8, zorder=0)
    if not is_many:
        ax.hlines(height, centre, values, colors=GREY, linewidths=1, zorder=1)
    ax.plot(
        values[~is_large],
        height[~is_large],
        linestyle="none",
        marker="." if is_many else "o",
        markersize=2 if is_many else 4,
        color=BLUE,
        rasterized=is_many,
    )
    ax.plot(values[is_large], height[is_large], "D", color=VERMILION, markersize=5)
    ax.set_ylim(-0.7 - 0.02 * len(values), 1.02 * len(values) - 0.3)


def _bound(what: str, m: int) -> tuple[float | None, str]:
    """Return the bound in use of a measure of m groups, if there is one, and what it is."""
    if what == "cooks_distance":
        return 4 / m, f"4/{m} = {4 / m:.3g}"
    if what.startswith("dfbetas_"):
        bound = 2 / float(np.sqrt(m))
        return bound, f"\N{PLUS-MINUS SIGN}2/sqrt({m}) = {bound:.3g}"
    return None, ""


def _draw_bound(
    ax: Axes, what: str, bound: float, text: str, values: FloatArray, marked: int, beyond: int
) -> list[str]:
    """Draw a bound unless it is far beyond all values; return what it and the diamonds are."""
    if bound > _FAR * float(np.abs(values).max()):
        return [f"all far within {text}"]
    for side in [1] if what == "cooks_distance" else [-1, 1]:
        ax.axvline(side * bound, color=GREY, linewidth=1, linestyle="--", zorder=0)
    line = f"dashed: {text}, a rule of thumb"
    if not beyond:
        return [line, "none is beyond it"]
    if not marked:
        return [line, f"{beyond:,} beyond it"]
    diamonds = f"the {marked:,} largest of {beyond:,}" if marked < beyond else f"the {beyond:,}"
    return [line, f"diamonds: {diamonds} beyond it"]


def _list(ax: Axes, labels: list[str], values: FloatArray) -> None:
    """List the diamonds where an ascending curve leaves room."""
    if not labels:
        return
    ax.text(
        0.98,
        0.05,
        "\n".join(f"{label}:  {value:.3g}" for label, value in zip(labels, values, strict=True)),
        ha="right",
        va="bottom",
        color=VERMILION,
        fontsize="small",
        transform=ax.transAxes,
        parse_math=False,
    )
