"""Caterpillar plots: the random effects of all groups in order, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from blocklmm.arguments import require_level
from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .chosen import chosen_effect, chosen_factor
from .intervals import draw_intervals
from .labels import describe, label_levels, percent, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELLED = 40  # groups for which a new figure is high enough


def height_for(n: int) -> float:
    """Return the height in inches of a figure of n rows."""
    return 1.3 + 0.24 * n if n <= MOST_LABELLED else 6.0


def caterpillar(
    fit: LinearMixedFit,
    factor: str | None = None,
    term: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw the conditional modes (BLUPs) of a random effect in ascending order, with intervals.

    Parameters
    ----------
    fit : LinearMixedFit
    factor : str, optional
        The grouping factor, where the model has several.
    term : str, optional
        The random effect; by default the first of the factor.
    level : float
        Of the intervals.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        In units of the response (per unit of the effect's covariate), groups from below.

    Raises
    ------
    DataError
        For an unknown factor or effect, or if the factor has to be named.
    OptionError
        For a level or Axes that are none.

    Notes
    -----
    Modes are ``fit.ranef()``, intervals these plus or minus the normal quantile times
    ``fit.ranef_sd()``, the conditional standard deviation given the parameters, as lme4's
    ``dotplot(ranef(fit))``. Groups are labelled as long as their labels fit; above 500 the
    intervals are one rasterised band.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.caterpillar(fit, term="Days", ax=Figure(figsize=(5, 5)).subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()][:3]
    ['335', '309', '310']
    """
    factor = chosen_factor(fit, factor)
    effect = chosen_effect(fit, factor, term)
    half_width = float(ndtri(0.5 + 0.5 * require_level(level)))
    table = fit.ranef()[factor]
    mode = table.iloc[:, effect].to_numpy()
    half = half_width * fit.ranef_sd()[factor].iloc[:, effect].to_numpy()
    order = np.argsort(mode, kind="stable")
    ax = given_or_new(ax, 6.0, height_for(len(order)))
    draw_intervals(ax, mode[order], (mode - half)[order], (mode + half)[order])
    is_labelled = label_levels(ax, range(len(order)), table.index[order])
    term = unquoted(table.columns[effect])
    name = f"{factor}: {term}"
    title = name if is_labelled else f"{name}, {len(order):,} groups in order"
    describe(ax, title, x=f"{term}: BLUP and {percent(level)} interval")
    bare(ax)
    return ax
