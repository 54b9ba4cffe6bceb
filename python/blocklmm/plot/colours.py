"""Colours that the colour-blind can tell apart (Okabe & Ito 2008, "Color Universal Design")."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RGBA: TypeAlias = tuple[float, float, float, float]

BLACK = "#000000"
BLUE = "#0072B2"
GREY = "#999999"
ORANGE = "#E69F00"
SKY = "#56B4E9"
VERMILION = "#D55E00"
WHITE = "#FFFFFF"

_CLEAR = 0.4  # of opacity, or of brightness


def ink(ax: Axes) -> str:
    """Return the colour of lines and points that have no meaning of their own: black, or white."""
    return BLACK if is_light(ax) else WHITE


def paper(ax: Axes) -> RGBA:
    """Return what is behind what is drawn: the axes' colour, the figure's, or white."""
    from matplotlib.colors import to_rgba

    for behind in (ax, ax.figure, ax.figure.canvas.figure):
        colour = to_rgba(behind.get_facecolor())
        if colour[3] > _CLEAR:
            return colour
    return to_rgba(WHITE)


def is_light(ax: Axes) -> bool:
    """Tell whether black is seen on the axes' colour."""
    red, green, blue = paper(ax)[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > _CLEAR
