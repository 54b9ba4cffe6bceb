"""Profile zeta plots: the signed root of the criterion along each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from blocklmm.arguments import require_level
from blocklmm.errors import OptionError
from blocklmm.inference.profile.profile import ParameterProfile, Profile, threshold_of

from .canvas import AxesArray, bare, panels
from .colours import BLUE, GREY, ink
from .labels import describe_panels, percent, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .canvas import Panels

LEVELS = (0.5, 0.8, 0.95, 0.99)


def profile_zeta(
    profile: Profile, levels: Sequence[float] | None = None, axes: Panels | None = None
) -> AxesArray:
    """Draw zeta against each parameter's value, with the limits of confidence intervals.

    Parameters
    ----------
    profile : Profile
        Of :meth:`LinearMixedFit.profile`.
    levels : sequence of float, optional
        Of the intervals; by default those of 0.5, 0.8, 0.95 and 0.99 to which the profile goes.
    axes : array of Axes, Figure or SubFigure, optional
        As many as there are parameters at least, or what they are made in. A new figure by default.

    Returns
    -------
    array of Axes, shape (number of parameters,)
        In the parameter's unit; zeta has none.

    Raises
    ------
    OptionError
        For levels that are none or above the profile's, and axes that are none.

    Notes
    -----
    Lines join the points of ``profile.to_frame()``; a straight one says that Wald's interval is
    right. Dotted lines at plus and minus the normal quantile meet the curve at the limits of
    ``profile.conf_int(level)``, from which vertical lines go to the axis; where a parameter's range
    ends before, these end on the curve (Bates & Watts 1988, ch. 6).

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"))
    >>> panels = bl.plot.profile_zeta(fit.profile("theta_"), axes=Figure())
    >>> [ax.get_title() for ax in panels]
    ['sd_(Intercept)|Batch', 'sigma']
    """
    if not isinstance(profile, Profile):
        raise TypeError(f"the picture is of fit.profile(), not of {type(profile).__name__!r}")
    wanted = [level for level in LEVELS if level <= profile.level] if levels is None else levels
    chosen = sorted({require_level(level) for level in wanted})
    if not chosen:
        raise OptionError("levels is empty: name some, or leave it out")
    limits = [profile.conf_int(level).to_numpy() for level in chosen]
    drawn, is_new = panels(axes, len(profile.parameters), share=False)
    for k, (ax, parameter) in enumerate(zip(drawn, profile, strict=True)):
        _draw(ax, parameter, chosen, np.array([table[k] for table in limits]))
        bare(ax)
    title = f"limits of {', '.join(map(percent, chosen))} intervals"
    describe_panels(drawn, is_new, [unquoted(p.name) for p in profile], title, y="zeta")
    return drawn


def _draw(ax: Axes, parameter: ParameterProfile, levels: list[float], limits: np.ndarray) -> None:
    """Draw one profile, and limits of shape (number of levels, 2)."""
    if len(parameter.value) == 0:
        ax.text(0.5, 0.5, "not defined:\na variance is zero", ha="center", transform=ax.transAxes)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    ax.axhline(0, color=ink(ax), linewidth=0.8)
    for level in levels:
        for side in (-1, 1):
            ax.axhline(side * threshold_of(level), color=GREY, linewidth=0.8, linestyle=":")
    ends = limits.ravel()
    ax.vlines(ends, 0, np.interp(ends, parameter.value, parameter.zeta), colors=GREY, linewidths=1)
    ax.plot(parameter.value, parameter.zeta, "o-", color=BLUE, markersize=2.5, linewidth=1.5)
    ax.locator_params(axis="x", nbins=4)
