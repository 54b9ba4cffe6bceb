"""Intraclass correlations beside the bounds of their verbal scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blocklmm.explained import BEST, SCALE
from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .chosen import chosen_factor, require_fit
from .colours import BLUE, GREY, SKY, ink, paper
from .labels import describe, extent, label_levels, points_of, response_label, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_POINTS = 5.5
_LETTERS = 5.6  # the width of "excellent" and of the space about it, in heights of its letters


def icc(fit: LinearMixedFit, ax: Axes | None = None) -> Axes:
    """Draw the intraclass correlations of the grouping factors, and of all together.

    Parameters
    ----------
    fit : LinearMixedFit
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Shares of variance, from 0 to 1.

    Raises
    ------
    DataError
        If the model has no random terms.
    OptionError
        For Axes that are none.

    Notes
    -----
    The numbers of ``fit.icc()``: the share of each factor in the variance of random effects and
    residuals, their sum (adjusted), and that in all variance, with the fixed effects' in it
    (unadjusted). Dashed lines bound the words of ``fit.icc().label`` (Cicchetti 1994, with .80
    for .75), which are about the adjusted one.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.icc(fit, ax=Figure().subplots())
    >>> [f"{bar.get_width():.2f}" for bar in ax.patches]
    ['0.52', '0.72', '0.72']
    """
    require_fit(fit)
    chosen_factor(fit, next(iter(fit.ngroups), None))
    found = fit.icc()
    names = ["unadjusted", "adjusted", *list(found.by_group)[::-1]]
    values = [found.unadjusted, found.adjusted, *list(found.by_group.values())[::-1]]
    height = range(len(names))
    ax = given_or_new(ax, 6.0, 1.6 + 0.35 * len(names))
    colours = [GREY, BLUE] + [SKY] * len(found.by_group)
    ax.barh(height, values, height=0.6, color=colours)
    ax.set_xlim(0, 1.1)
    ax.set_ylim(-0.6, len(names) + 0.2)
    for y, value in zip(height, values, strict=True):
        text = ax.text(value + 0.015, y, f"{value:.2f}", va="center", fontsize="small")
        text.set_bbox({"facecolor": paper(ax), "edgecolor": "none", "pad": 2.0})
    bounds = [0.0, *(bound for bound, _ in SCALE), 1.0]
    words = [*(word for _, word in SCALE), BEST]
    for bound in bounds[1:-1]:
        ax.axvline(bound, color=ink(ax), linewidth=0.8, linestyle="--")
    label_levels(ax, height, names)
    _write_words(ax, bounds, words, len(names) - 0.2)
    title = f"{response_label(fit)}: intraclass correlation"
    describe(ax, title, f"adjusted: {found.label}", x="share of variance")
    bare(ax)
    return ax


def _write_words(ax: Axes, bounds: list[float], words: list[str], height: float) -> None:
    """Write a word between each two bounds, as large as all fit."""
    settle(ax)
    unit = extent(ax)[0] / ax.get_xlim()[1]  # points
    parts = np.diff(bounds) * unit / _LETTERS
    size = min(points_of("xtick.labelsize"), *parts)
    if size < _LEAST_POINTS:
        return
    for word, middle in zip(words, np.add(bounds[1:], bounds[:-1]) / 2, strict=True):
        ax.text(middle, height, word, ha="center", va="center", fontsize=size)
