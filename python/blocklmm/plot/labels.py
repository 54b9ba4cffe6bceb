"""Texts that fit where they stand: names are shortened, titles broken, ticks left out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from blocklmm.fit import LinearMixedFit

    from .canvas import AxesArray

_WIDTHS = (32, 48)  # characters of a name
_LEAST_POINTS = 6.0
_LINE = 1.25  # of a line's height to its letters'
_LETTER = 0.6  # of a letter's width to its height
_MOST_LINES = 3


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at most, its middle left out: names differ at the end."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def unquoted(name: Any) -> str:
    """Return a name, or an expression, without the backticks that formulas have."""
    return str(name).replace("`", "")


def response_label(fit: LinearMixedFit) -> str:
    """Return what the response is called in pictures."""
    return unquoted(fit.response_name)


def names(values: Iterable[Any], most: int = 0) -> list[str]:
    """Return labels as short as leaves different ones different, numbered where that is long.

    Up to ``most`` letters, where there is room for them, nothing is left out.
    """
    whole = [" ".join(str(value).split()) for value in values]
    n = len(set(whole))
    for width in (max(width, most) for width in _WIDTHS):
        short = [shortened(text, width) for text in whole]
        if len(set(short)) == n:
            return short
    return [f"({k + 1}) {shortened(text, _WIDTHS[0])}" for k, text in enumerate(whole)]


def percent(level: float) -> str:
    """Return a level as ``95%``."""
    return f"{100 * level:g}%"


def points_of(setting: Any) -> float:
    """Return the size in points that matplotlib's settings give a kind of text."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=rcParams[setting]).get_size_in_points())


def extent(ax: Axes) -> tuple[float, float]:
    """Return width and height of Axes in points."""
    box = ax.get_window_extent()
    return 72 * box.width / ax.figure.dpi, 72 * box.height / ax.figure.dpi


def letters_in(points: float, size: float, least: int = 8) -> int:
    """Return how many letters of a size fit into a length, both in points."""
    return max(int(points / (_LETTER * size)), least)


def label_levels(ax: Axes, places: Iterable[float], values: Iterable[Any], most: int = 0) -> bool:
    """Write names at places of the y axis, as large as they fit one above the other.

    Up to ``most`` letters, where there is room for them, nothing of a name is left out.

    Returns
    -------
    bool
        Whether they fit; if not there are none.
    """
    places, values = list(places), list(values)
    room = extent(ax)[1] / max(len(places), 1) / _LINE
    size = min(points_of("ytick.labelsize"), room)
    if size < _LEAST_POINTS:
        ax.set_yticks([])
        return False
    ax.set_yticks(places, names(values, most), fontsize=size, parse_math=False)
    ax.tick_params(axis="y", length=0)
    return True


def broken(texts: Iterable[str], points: float, size: float) -> str:
    """Return texts in lines that fit into a length, three each at most; empty ones have none."""
    most = letters_in(points, size, least=16)
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(text, most, max_lines=_MOST_LINES, placeholder=" …")
    return "\n".join(lines)


def settle(ax: Axes) -> None:
    """Lay the figure out as far as it is drawn, so that the axes have the size that they keep."""
    figure = ax.figure.canvas.figure  # the whole one
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def describe(ax: Axes, *lines: str, x: str = "", y: str = "") -> None:
    """Write a title, its notes below, and the names of the axes, all to the axes' lengths."""
    settle(ax)
    size = points_of("axes.labelsize")
    _name_axes(ax, x, y)
    title = broken(lines, extent(ax)[0], size)
    ax.set_title(title, loc="left", fontsize=size, parse_math=False)


def describe_panels(
    drawn: AxesArray,
    is_new: bool,
    names: Iterable[str],
    title: str,
    x: str = "",
    y: str = "",
    notes: Iterable[str] = (),
) -> None:
    """Name panels, and write a title, notes below it, and the names of their axes.

    About panels that are new; else axes are named in each, and the title stands above the first.
    """
    settle(drawn[0])
    notes = list(notes)
    small = points_of("xtick.labelsize")
    for ax, name in zip(drawn, names, strict=True):
        width = extent(ax)[0]
        above = [title, *notes] if ax is drawn[0] and not is_new else []
        lines = [broken(above, width, small), shortened(name, letters_in(width, small))]
        ax.set_title("\n".join(filter(None, lines)), fontsize=small, parse_math=False)
        if not is_new:
            _name_axes(ax, x, y)
    if is_new:
        _name_figure(drawn[0].figure, [title, *notes], x, y)


def _name_axes(ax: Axes, x: str, y: str) -> None:
    size, (width, height) = points_of("axes.labelsize"), extent(ax)
    ax.set_xlabel(shortened(x, letters_in(width, size)), parse_math=False)
    ax.set_ylabel(shortened(y, letters_in(height, size)), parse_math=False)


def _name_figure(figure: Figure | SubFigure, lines: list[str], x: str, y: str) -> None:
    size, box = points_of("axes.labelsize"), figure.bbox
    width, height = 72 * box.width / figure.dpi, 72 * box.height / figure.dpi
    figure.suptitle(broken(lines, width, size), fontsize=size, parse_math=False)
    figure.supxlabel(shortened(x, letters_in(width, size)), fontsize=size, parse_math=False)
    figure.supylabel(shortened(y, letters_in(height, size)), fontsize=size, parse_math=False)
