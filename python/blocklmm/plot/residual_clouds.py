"""Residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .chosen import require_fit
from .colours import BLUE, VERMILION, ink, is_light
from .labels import describe, response_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

MANY = 5_000  # rows, from which on they are counted in hexagons
_ROWS_A_BIN = 30
_MOST_BINS = 20


def residuals(fit: LinearMixedFit, kind: str = "conditional", ax: Axes | None = None) -> Axes:
    """Draw residuals against fitted values, with their median and quartiles along these.

    Parameters
    ----------
    fit : LinearMixedFit
        With its rows.
    kind : str
        As for :meth:`LinearMixedFit.residuals`. Marginal ones are drawn against the population's
        fitted values.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        In units of the response; standardized residuals in standard deviations.

    Raises
    ------
    DataError
        If the fit is without its rows.
    OptionError
        For a kind or Axes that are none.

    Notes
    -----
    Line and band are median and quartiles of the residuals in bins of fitted values that hold
    about as many rows each, or halves of these towards the ends, 30 or more: level, and of one
    width, where the model fits. They go from the middle of the first bin to that of the last. More
    than 5,000 rows are counted in hexagons, dark where they are many (bright on a dark background),
    on a logarithmic scale. With few rows a group, conditional residuals rise with the fitted
    values, because BLUPs are shrunk.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.residuals(fit, "standardized", ax=Figure().subplots())
    >>> ax.get_ylabel()
    'standardized residual'
    """
    require_fit(fit)
    found = fit.residuals(kind)
    is_marginal = kind.endswith("marginal")
    fitted = np.asarray(fit.predict(random="population")) if is_marginal else fit.fittedvalues
    known = np.isfinite(found)
    without = len(found) - int(known.sum())
    x, y = fitted[known], found[known]
    is_new = ax is None
    ax = given_or_new(ax, 6.0, 4.5)
    if len(x) > MANY:
        greys = "Greys" if is_light(ax) else "Greys_r"
        cells = ax.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap=greys, linewidths=0.1)
        if is_new:
            ax.figure.colorbar(cells, ax=ax, label="rows")
    else:
        ax.plot(x, y, "o", color=BLUE, markersize=3.5, mfc="none", zorder=1)
    ax.axhline(0, color=ink(ax), linewidth=0.8)
    trend = _draw_trend(ax, x, y)
    describe(
        ax,
        f"{response_label(fit)}: residuals",
        f"{len(x):,} rows, counted in hexagons" if len(x) > MANY else "",
        f"{without:,} rows have none" if without else "",
        trend,
        x="population's fitted value" if is_marginal else "fitted value",
        y=f"{kind.replace('_', ' ')} residual",
    )
    bare(ax)
    return ax


def _draw_trend(ax: Axes, x: FloatArray, y: FloatArray) -> str:
    """Draw median and quartiles of y in bins of x, where there are two at least; say which."""
    n_bins = min(len(x) // _ROWS_A_BIN, _MOST_BINS)
    edges = np.unique(np.quantile(x, _shares(n_bins, len(x)))) if n_bins > 1 else x[:0]
    if len(edges) < 3:
        return ""
    bins = np.searchsorted(edges[1:-1], x, side="right")
    order = np.argsort(bins, kind="stable")
    parts = np.split(order, np.searchsorted(bins[order], np.arange(1, len(edges) - 1)))
    middles = [np.median(x[part]) for part in parts]
    low, middle, high = np.array([np.quantile(y[part], [0.25, 0.5, 0.75]) for part in parts]).T
    ax.fill_between(middles, low, high, color=VERMILION, alpha=0.2, linewidth=0, label="quartiles")
    ax.plot(middles, middle, color=VERMILION, linewidth=1.8, label="median")
    ax.legend(fontsize="small", loc="upper left", framealpha=0.8)
    least = min(map(len, parts))
    return f"trend: {len(parts)} bins of {least:,} rows or more, joined at the middles"


def _shares(n_bins: int, n: int) -> FloatArray:
    """Return the shares of rows at the edges of bins: those at both ends are halved again."""
    halves = [1 / n_bins]
    while halves[-1] / 2 * n >= _ROWS_A_BIN:
        halves.append(halves[-1] / 2)
    inner = np.linspace(0, 1, n_bins + 1)
    return np.unique(np.concatenate([inner, halves[1:], 1 - np.array(halves[1:])]))
