"""Forest plots: the fixed effects with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blocklmm.arguments import require_level, require_names
from blocklmm.errors import DataError, InferenceError, OptionError, did_you_mean, labels_phrase
from blocklmm.fit import LinearMixedFit
from blocklmm.reports import tidy

from .canvas import bare, given_or_new
from .caterpillars import height_for
from .chosen import require_fit
from .intervals import draw_intervals
from .labels import (
    describe,
    label_levels,
    letters_in,
    percent,
    points_of,
    response_label,
    unquoted,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INTERCEPT = "Intercept"
_LEAST_WIDTH, _MOST_WIDTH, _PANEL = 6.0, 10.0, 4.0  # inches
_NOTES = 0.3  # inches above, beside those of other pictures
_METHODS = {
    "satterthwaite": "t intervals, Satterthwaite's degrees of freedom",
    "kenward-roger": "t intervals, Kenward and Roger's errors and degrees of freedom",
    "between-within": "t intervals, between-within degrees of freedom",
    "residual": "t intervals, residual degrees of freedom",
    "asymptotic": "normal intervals",
}


def fixed_effects(
    fit: LinearMixedFit,
    level: float = 0.95,
    ddf: str | None = None,
    terms: Sequence[str] | None = None,
    robust: str | None = None,
    cluster: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fixed effects with confidence intervals, as a forest plot.

    Parameters
    ----------
    fit : LinearMixedFit
    level : float
        Of the intervals.
    ddf : str, optional
        Degrees of freedom, as for :meth:`LinearMixedFit.tidy`: Satterthwaite's by default.
    terms : sequence of str, optional
        Names of coefficients, from above; by default all but the intercept, which would be far
        from the others, or the intercept where there is nothing else.
    robust, cluster : str, optional
        Cluster-robust errors, as for :meth:`LinearMixedFit.tidy`.
    ax : Axes, optional
        A new figure by default, 10 inches wide at most for long names.

    Returns
    -------
    Axes
        In units of the response (per unit of the covariate).

    Raises
    ------
    DataError
        For an unknown coefficient.
    InferenceError
        If the model has no fixed effects; and as :meth:`LinearMixedFit.tidy`.
    OptionError
        For a level, method or Axes that are none.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("angle ~ recipe + temp + (1 | replicate)", bl.datasets.load("cake"))
    >>> ax = bl.plot.fixed_effects(fit, ddf="kenward-roger", ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['temp', 'recipe[T.C]', 'recipe[T.B]']
    """
    require_fit(fit)
    chosen = _chosen(fit, terms)
    errors = fit._fixed_errors(ddf, robust, cluster)
    table = tidy.fixed(fit, errors, require_level(level)).set_index("term").loc[chosen[::-1]]
    estimate, low, high = (table[name].to_numpy() for name in ("estimate", "conf.low", "conf.high"))
    shown, most = [unquoted(name) for name in table.index], 0
    if ax is None:
        size = points_of("ytick.labelsize")
        most = letters_in(72 * (_MOST_WIDTH - _PANEL), size)
        beside = min(max(map(len, shown)), most) / letters_in(720, size) * 10
        ax = given_or_new(None, max(_PANEL + beside, _LEAST_WIDTH), _NOTES + height_for(len(table)))
    ax = given_or_new(ax, 0, 0)
    draw_intervals(ax, estimate, low, high, legend=False)  # which would hide one of few
    label_levels(ax, range(len(table)), shown, most)
    intervals = _METHODS.get(errors.name, f"t intervals, {errors.name}")
    notes = [f"{percent(level)} {intervals}", "filled: excludes 0"]
    x = f"estimate and {percent(level)} interval"
    describe(ax, f"{response_label(fit)}: fixed effects", *notes, x=x)
    bare(ax)
    return ax


def _chosen(fit: LinearMixedFit, terms: Sequence[str] | None) -> list[str]:
    known = [str(name) for name in fit.params.index]
    if not known:
        raise InferenceError("the model has no fixed effects")
    if terms is None:
        return [name for name in known if name != _INTERCEPT] or known
    wanted = require_names("terms", terms)
    if not wanted:
        raise OptionError("terms is empty: name some coefficients, or leave it out")
    for name in wanted:
        if name not in known:
            raise DataError(
                f"there is no fixed effect {name!r}.{did_you_mean(name, known)} Coefficients are "
                f"{labels_phrase(known, most=20)}"
            )
    return list(dict.fromkeys(wanted))
