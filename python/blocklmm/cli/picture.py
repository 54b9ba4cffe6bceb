"""The picture of ``fit --plot``: a caterpillar for each random effect, side by side."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocklmm.errors import warn
from blocklmm.fit import LinearMixedFit
from blocklmm.formula import parse
from blocklmm.replacing import replacing

from .outputs import real_path

MOST_PANELS = 6
_MOST_COLUMNS = 3
_WIDTH = {1: 6.0, 2: 4.6, 3: 4.0}  # of a panel in inches, by panels in a row


def drawing() -> Callable[[LinearMixedFit], Any]:
    """Return what draws the random effects; before the fit, which would be in vain without it.

    Raises
    ------
    ImportError
        If nothing can be drawn.
    """
    os.environ.setdefault("MPLBACKEND", "agg")  # no window
    try:
        plot = importlib.import_module("blocklmm.plot")
        importlib.import_module("matplotlib.figure")
        caterpillar, height_for = plot.caterpillar, plot.caterpillars.height_for
    except (ImportError, AttributeError) as error:
        raise ImportError(f"--plot can't draw: {error}") from error
    return lambda fit: _drawn(fit, caterpillar, height_for)


def write_picture(path: str, figure: Any) -> None:
    """Write a figure, in the format of its suffix."""
    with replacing(real_path(path)) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower())


def _drawn(
    fit: LinearMixedFit, caterpillar: Callable[..., Any], height_for: Callable[[int], float]
) -> Any:
    from matplotlib.figure import Figure

    effects = _effects(fit)
    shown = effects[:MOST_PANELS]
    if len(effects) > len(shown):
        warn(f"--plot shows the first {len(shown)} of {len(effects)} random effects")
    n_columns = len(shown) if len(shown) <= _MOST_COLUMNS else math.ceil(len(shown) / 2)
    groups = [fit.ngroups[factor] for factor, _ in shown]
    rows = [groups[k : k + n_columns] for k in range(0, len(shown), n_columns)]
    heights = [height_for(max(row)) for row in rows]
    figure = Figure(figsize=(_WIDTH[n_columns] * n_columns, sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(rows), n_columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    ).ravel()
    for (factor, term), ax in zip(shown, axes, strict=False):
        caterpillar(fit, factor, term, ax=ax)
    for spare in axes[len(shown) :]:
        spare.remove()
    return figure


def _effects(fit: LinearMixedFit) -> list[tuple[str, str]]:
    """Return the factors and names of random effects, in the formula's order."""
    tables = fit.ranef()
    factors = dict.fromkeys(term.group_name for term in parse(fit.formula).random)
    return [(name, str(term)) for name in factors for term in dict.fromkeys(tables[name].columns)]
