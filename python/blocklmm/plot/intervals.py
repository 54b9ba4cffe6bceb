"""Estimates and their intervals, one a row of the picture, by whether they cover zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colours import BLUE, GREY, ink, paper
from .labels import extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

MANY = 500  # rows, from which on no single one is seen
_LEAST_WIDTH, _MOST_WIDTH = 0.3, 1.6  # points


def draw_intervals(
    ax: Axes, estimate: FloatArray, low: FloatArray, high: FloatArray, legend: bool = True
) -> None:
    """Draw intervals at heights 0, 1, …; those that exclude zero filled and in another colour.

    Where they are many these are marked at the edge as well.

    Parameters
    ----------
    ax : Axes
    estimate, low, high : arrays of shape (m,)
    legend : bool
    """
    height = np.arange(len(estimate))
    covers = (low <= 0) & (high >= 0)
    excludes = (low > 0) | (high < 0)
    kinds = [
        (covers, GREY, paper(ax), "covers 0"),
        (excludes, BLUE, BLUE, "excludes 0"),
        (~covers & ~excludes, ink(ax), paper(ax), "has no interval"),
    ]
    is_many = len(estimate) > MANY
    width = float(np.clip(extent(ax)[1] / max(len(estimate), 1) / 2, _LEAST_WIDTH, _MOST_WIDTH))
    ax.axvline(0, color=ink(ax), linewidth=0.8, zorder=0)
    for rows, colour, face, label in kinds:
        if not rows.any():
            continue
        ax.hlines(
            height[rows], low[rows], high[rows], colors=colour, linewidths=width, rasterized=is_many
        )
        ax.plot(
            estimate[rows],
            height[rows],
            linestyle="none",
            marker="." if is_many else "o",
            markersize=1 if is_many else 5,
            color=colour,
            markerfacecolor=face,
            label=f"{label} ({rows.sum():,})",
            rasterized=is_many,
        )
    if is_many:
        ax.hlines(
            height[excludes],
            0.98,
            1.0,
            colors=BLUE,
            linewidths=width,
            rasterized=True,
            transform=ax.get_yaxis_transform(),
        )
    ax.set_ylim(-0.7, len(estimate) - 0.3)
    if legend:
        scale = 8 if is_many else 1
        ax.legend(loc="upper left", fontsize="small", framealpha=0.8, markerscale=scale)
