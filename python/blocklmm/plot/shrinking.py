"""Shrinkage: how far the population draws each group from its own least-squares estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.arguments import require_names
from blocklmm.errors import InferenceError, OptionError
from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .caterpillars import height_for
from .chosen import chosen_effect, chosen_factor, drawn_groups
from .colours import BLUE, GREY, VERMILION, ink, paper
from .labels import describe, label_levels, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROOM = 0.15  # of the height, for the legend
_FAR = 4.0  # times the quartiles' distance, from their middle

FloatArray = npt.NDArray[np.float64]


def shrinkage(
    fit: LinearMixedFit,
    factor: str | None = None,
    terms: str | Sequence[str] | None = None,
    most: int = 100,
    seed: int | None = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw an arrow for each group from its own least-squares estimate to the BLUP.

    Parameters
    ----------
    fit : LinearMixedFit
    factor : str, optional
        The grouping factor, where the model has several.
    terms : str or sequence of one or two str, optional
        Random effects: of one, groups stand one above the other in the order of their own
        estimates; two are the axes of a plane. By default the factor's first two, or its one.
    most : int
        Arrows; of more groups a random sample is drawn, which the title says.
    seed : int, optional
        Of that sample.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        In units of the response (per unit of the effects' covariates); the population is at zero.

    Raises
    ------
    DataError
        For an unknown factor or effect, or if the factor has to be named.
    InferenceError
        If no group has rows enough for an estimate of its own.
    OptionError
        For a number, seed, Axes or count of terms that is none.

    Notes
    -----
    Both ends are those of ``fit.shrinkage()``. Groups without an own estimate have no arrow, and
    are counted in the title, as are arrows that begin outside the picture: it holds all BLUPs, and
    own estimates up to four times the distance of their quartiles from the middle.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.shrinkage(fit, ax=Figure().subplots())
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('(Intercept)', 'Days')
    """
    factor = chosen_factor(fit, factor)
    effects = _chosen_effects(fit, factor, terms)
    own, blup, index = _ends(fit, factor, effects)
    known = np.flatnonzero(np.isfinite(own).all(axis=1))
    if len(known) == 0:
        raise InferenceError(
            f"no level of {factor!r} has rows enough for an estimate of its own: name fewer terms"
        )
    places, note = drawn_groups(len(known), most, seed)
    places = known[places]
    if len(effects) == 1:
        places = places[np.argsort(own[places, 0], kind="stable")]
    own, blup, unknown = own[places], blup[places], len(own) - len(known)
    low, high = _limits(own, blup)
    beyond = int(((own < low) | (own > high)).any(axis=1).sum())
    ax = given_or_new(ax, 6.0, height_for(len(own)) if len(effects) == 1 else 5.2)
    if len(effects) == 1:
        _draw_in_order(ax, own[:, 0], blup[:, 0])
        label_levels(ax, range(len(own)), index[places])
    else:
        _draw_in_plane(ax, own, blup)
        ax.set_ylim(low[1], high[1] + _ROOM * (high[1] - low[1]))
    ax.set_xlim(low[0], high[0])
    ax.legend(fontsize="small", loc="upper left", framealpha=0.8)
    columns = [unquoted(name) for name in fit.ranef()[factor].columns]
    describe(
        ax,
        f"{factor}: from each group's own estimate to its BLUP",
        note,
        f"without an estimate of their own: {unknown:,}" if unknown else "",
        f"beginning outside the picture: {beyond:,}" if beyond else "",
        **dict(zip("xy", (columns[k] for k in effects), strict=False)),
    )
    bare(ax)
    return ax


def _chosen_effects(
    fit: LinearMixedFit, factor: str, terms: str | Sequence[str] | None
) -> list[int]:
    if terms is None:
        return list(range(min(fit.ranef()[factor].shape[1], 2)))
    wanted = require_names("terms", terms)
    if not 1 <= len(set(wanted)) == len(wanted) <= 2:
        raise OptionError(f"terms are one or two different random effects, not {terms!r}")
    return [chosen_effect(fit, factor, term) for term in wanted]


def _ends(
    fit: LinearMixedFit, factor: str, effects: list[int]
) -> tuple[FloatArray, FloatArray, pd.Index]:
    """Return own estimates and BLUPs, shapes (m, number of effects), and the groups."""
    table = fit.shrinkage()[factor]
    width = table.shape[1] // 3
    values = table.to_numpy()
    own, blup = (values[:, [start * width + k for k in effects]] for start in (1, 2))
    return own, blup, table.index


def _limits(own: FloatArray, blup: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return limits by effect about zero and all BLUPs, without own estimates far from the others.

    Those of groups with next to no information would press all others together.
    """
    quartiles = np.quantile(own, [0.25, 0.75], axis=0)
    far = _FAR * (quartiles[1] - quartiles[0])
    near = own[(np.abs(own - quartiles.mean(axis=0)) <= far).all(axis=1)]
    inside = np.concatenate([near, blup, np.zeros((1, own.shape[1]))])
    low, high = inside.min(axis=0), inside.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 1.0)
    return low - margin, high + margin


def _draw_in_order(ax: Axes, own: FloatArray, blup: FloatArray) -> None:
    height = np.arange(len(own), dtype=np.float64)
    _draw(ax, np.column_stack([own, height]), np.column_stack([blup, height]))
    ax.axvline(0, color=ink(ax), linewidth=0.8, zorder=0)
    ax.set_ylim(-0.7, len(own) - 0.3)


def _draw_in_plane(ax: Axes, own: FloatArray, blup: FloatArray) -> None:
    _draw(ax, own, blup)
    ax.plot(0, 0, marker="+", markersize=12, color=ink(ax), linestyle="none", label="population")


def _draw(ax: Axes, start: FloatArray, end: FloatArray) -> None:
    """Draw arrows between points of the plane, shapes (m, 2)."""
    ax.quiver(
        *start.T,
        *(end - start).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.003,
        headwidth=5,
        color=GREY,
        zorder=1,
    )
    ax.plot(*start.T, "o", color=VERMILION, mfc=paper(ax), markersize=4, zorder=2, label="own")
    ax.plot(*end.T, "D", color=BLUE, markersize=3.5, zorder=2, label="BLUP")
