"""Forest plots: the fixed effects with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blocklmm.arguments import require_level
from blocklmm.errors import DataError, InferenceError, OptionError, did_you_mean, labels_phrase
from blocklmm.fit import LinearMixedFit
from blocklmm.reports import tidy

from .canvas import bare, given_or_new
from .caterpillars import height_for
from .chosen import require_fit
from .intervals import draw_intervals
from .labels import describe, label_levels, percent, response_label, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INTERCEPT = "Intercept"


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
        A new figure by default.

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
    ax = given_or_new(ax, 6.0, height_for(len(table)))
    draw_intervals(ax, estimate, low, high, legend=False)  # which would hide one of few
    label_levels(ax, range(len(table)), map(unquoted, table.index))
    note = f"{errors.name}; filled: excludes 0"
    x = f"estimate and {percent(level)} interval"
    describe(ax, f"{response_label(fit)}: fixed effects", note, x=x)
    bare(ax)
    return ax


def _chosen(fit: LinearMixedFit, terms: Sequence[str] | None) -> list[str]:
    known = [str(name) for name in fit.params.index]
    if not known:
        raise InferenceError("the model has no fixed effects")
    if terms is None:
        return [name for name in known if name != _INTERCEPT] or known
    wanted = [terms] if isinstance(terms, str) else list(terms)
    if not wanted:
        raise OptionError("terms is empty: name some coefficients, or leave it out")
    for name in wanted:
        if name not in known:
            raise DataError(
                f"there is no fixed effect {name!r}.{did_you_mean(name, known)} Coefficients are "
                f"{labels_phrase(known, most=20)}"
            )
    return list(dict.fromkeys(wanted))
