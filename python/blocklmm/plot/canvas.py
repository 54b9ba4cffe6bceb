"""What is drawn on: Axes that are given, or those of a new figure. Here matplotlib is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from blocklmm.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    Panels: TypeAlias = Axes | Figure | SubFigure | npt.ArrayLike

AxesArray: TypeAlias = npt.NDArray[np.object_]

MOST_PANELS = 100
_MOST_COLUMNS = 5  # four of panels that each have their own scale
_PANEL = (2.6, 2.1)  # inches, of a few
_BESIDE = 1.4  # inches, for the legend and the names of axes
_MOST_WIDTH = 10.0  # inches


def require_matplotlib() -> None:
    """Raise an ImportError that says what to install, if there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'blocklmm[plot]'") from None


def given_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the Axes given, or those of a new figure of a size in inches.

    Raises
    ------
    ImportError
        Without matplotlib.
    OptionError
        If what is given are no Axes.
    """
    require_matplotlib()
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise OptionError(f"ax is a matplotlib Axes, or None, not {type(ax).__name__!r}")
    return ax


def panels(axes: Panels | None, n: int, share: bool) -> tuple[AxesArray, bool]:
    """Return n Axes: the first of those given, or new ones, of a figure given or of a new one.

    Parameters
    ----------
    axes : Axes, array of Axes, Figure or SubFigure, optional
    n : int
    share : bool
        Whether new ones have the same limits.

    Returns
    -------
    array of shape (n,), bool
        And whether they are new, so that there is room about them.

    Raises
    ------
    ImportError
        Without matplotlib.
    OptionError
        If there are fewer Axes than panels, too many panels, or no Axes at all.
    """
    require_matplotlib()
    from matplotlib.figure import FigureBase

    if n > MOST_PANELS:
        raise OptionError(f"{n} panels in one figure can't be read: ask for {MOST_PANELS} at most")
    if axes is not None and not isinstance(axes, FigureBase):
        return _first(axes, n), False
    n_columns = min(
        _MOST_COLUMNS if share else _MOST_COLUMNS - 1, math.ceil(math.sqrt(n)) if n > 3 else n
    )
    n_rows = math.ceil(n / n_columns)
    subplots: Callable[..., Any]
    if axes is None:
        import matplotlib.pyplot as plt

        width = min(_PANEL[0], (_MOST_WIDTH - _BESIDE) / n_columns)
        height = _PANEL[1] * math.sqrt(width / _PANEL[0])  # texts stay as high
        size = width * n_columns + _BESIDE, height * n_rows + 0.7
        subplots = plt.figure(figsize=size, layout="constrained").subplots
    else:
        subplots = axes.subplots
    made = subplots(n_rows, n_columns, sharex=share, sharey=share, squeeze=False).ravel()
    for spare in made[n:]:
        spare.remove()
    for ax in made[max(n - n_columns, 0) : n]:
        ax.tick_params(labelbottom=True)  # also above a panel that is not needed
    return made[:n], True


def _first(axes: Any, n: int) -> AxesArray:
    from matplotlib.axes import Axes

    found = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    for ax in found:
        if not isinstance(ax, Axes):
            raise OptionError(
                "axes are matplotlib Axes, a figure, or None, not of "
                f"{type(axes if len(found) == 1 else ax).__name__!r}"
            )
    if len(found) < n:
        raise OptionError(f"there are {n} panels to draw, and {len(found)} axes were given")
    return found[:n]


def bare(ax: Axes) -> None:
    """Leave out the frame's lines that say nothing."""
    ax.spines[["top", "right"]].set_visible(False)
