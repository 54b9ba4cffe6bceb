"""Normal quantile plots of residuals and of random effects, with a band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr, ndtri

from blocklmm.arguments import require_choice, require_level
from blocklmm.errors import InferenceError
from blocklmm.fit import LinearMixedFit

from .canvas import bare, given_or_new
from .chosen import chosen_effect, chosen_factor, require_fit
from .colours import BLUE, GREY, VERMILION, ink
from .labels import describe, percent, response_label, unquoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

KINDS = ("standardized", "standardized_marginal", "pearson")
MANY = 4_000  # values, of which some are drawn
_DRAWN = 2_000
_NOTHING = 1e-10  # of a variance


def qq_residuals(
    fit: LinearMixedFit,
    kind: str = "standardized",
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw residuals in order against normal quantiles.

    Parameters
    ----------
    fit : LinearMixedFit
        With its rows.
    kind : {"standardized", "standardized_marginal", "pearson"}
        As for :meth:`LinearMixedFit.residuals`; "pearson" over sigma.
    level : float
        Of the band at each point.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        In standard deviations.

    Raises
    ------
    DataError
        If the fit is without its rows.
    InferenceError
        If no row has such a residual.
    OptionError
        For a kind, level or Axes that are none.

    Notes
    -----
    Of n independent standard normal values, Phi of the i-th in order has the distribution
    Beta(i, n + 1 - i) (David & Nagaraja 2003, "Order Statistics", sec. 2.3). Its median is the
    abscissa (Filliben 1975), and its quantiles are the band: pointwise, so that with level 0.95
    one point in twenty is outside by chance. Residuals are not quite independent. Of more than
    4,000 values some 2,000 are drawn, evenly along the abscissa, all in the tails.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.qq_residuals(fit, ax=Figure().subplots())
    >>> ax.get_ylabel()
    'standardized residual'
    """
    require_fit(fit)
    require_choice("kind", kind, KINDS)
    require_level(level)
    found = fit.residuals(kind) / (fit.sigma if kind == "pearson" else 1.0)
    known = found[np.isfinite(found)]
    if len(known) == 0:
        raise InferenceError(f"no row has a {kind.replace('_', ' ')} residual")
    without = len(found) - len(known)
    ax = given_or_new(ax, 5.2, 5.0)
    notes = _draw(ax, known, level)
    notes.append(f"{without:,} rows have none" if without else "")
    y = f"{kind.replace('_', ' ')} residual"
    describe(ax, f"{response_label(fit)}: residuals", *notes, x="normal quantile", y=y)
    return ax


def qq_ranef(
    fit: LinearMixedFit,
    factor: str | None = None,
    term: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw the BLUPs of a random effect, over their standard deviations, against normal quantiles.

    Parameters
    ----------
    fit : LinearMixedFit
    factor : str, optional
        The grouping factor, where the model has several.
    term : str, optional
        The random effect; by default the first of the factor.
    level : float
        Of the band at each point.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        In standard deviations.

    Raises
    ------
    DataError
        For an unknown factor or effect, or if the factor has to be named.
    InferenceError
        If the variance of the effect is estimated as zero.
    OptionError
        For a level or Axes that are none.

    Notes
    -----
    BLUPs are shrunk by different shares where groups differ in size. Var(b^) = Var(b) - Var(b^ - b)
    (Henderson 1975), of ``fit.varcorr`` and ``fit.ranef_sd(fixed_uncertainty=True)``, makes them
    alike (Lange & Ryan 1989, Annals of Statistics 17, 624-642). Abscissa and band are those of
    :func:`qq_residuals`. Shrinkage makes BLUPs more normal than the effects are.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from matplotlib.figure import Figure
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> ax = bl.plot.qq_ranef(fit, term="Days", ax=Figure().subplots())
    >>> ax.get_title(loc="left").splitlines()[0]
    'Subject: Days'
    """
    factor = chosen_factor(fit, factor)
    effect = chosen_effect(fit, factor, term)
    require_level(level)
    values = _standardized_modes(fit, factor, effect)
    known = values[np.isfinite(values)]
    name = fit.ranef()[factor].columns[effect]
    if len(known) == 0:
        raise InferenceError(
            f"the variance of {name!r} of {factor!r} is estimated as zero: its BLUPs are all zero"
        )
    without = len(values) - len(known)
    ax = given_or_new(ax, 5.2, 5.0)
    notes = _draw(ax, known, level)
    notes.append(f"{without:,} groups' BLUPs are zero" if without else "")
    y = "BLUP over its standard deviation"
    describe(ax, f"{factor}: {unquoted(name)}", *notes, x="normal quantile", y=y)
    return ax


def _standardized_modes(fit: LinearMixedFit, factor: str, effect: int) -> FloatArray:
    """Return BLUPs over their standard deviations, shape (m,); NaN where they don't vary."""
    number = list(fit.ngroups).index(factor)
    place = fit._problem.design.members(number)[effect]
    variance = float(np.concatenate([term.sd for term in fit.varcorr])[place]) ** 2
    mode = fit.ranef()[factor].iloc[:, effect].to_numpy()
    error = fit.ranef_sd(fixed_uncertainty=True)[factor].iloc[:, effect].to_numpy()
    left = variance - error**2
    return np.asarray(mode / np.sqrt(np.where(left > _NOTHING * variance, left, np.nan)))


def order_quantiles(ranks: IntArray, n: int, share: float) -> FloatArray:
    """Return a quantile of each of some order statistics of n standard normal values.

    Parameters
    ----------
    ranks : array of shape (k,)
        From 1 to n.
    n : int
    share : float

    Returns
    -------
    array of shape (k,)
    """
    return np.asarray(ndtri(betaincinv(ranks, n + 1.0 - ranks, share)))


def drawn_ranks(n: int) -> IntArray:
    """Return which order statistics of n values are drawn: all, or even along the abscissa."""
    if n <= MANY:
        return np.arange(1, n + 1)
    low, high = order_quantiles(np.array([1, n]), n, 0.5)
    ranks = np.rint(n * ndtr(np.linspace(low, high, _DRAWN)) + 0.5).astype(np.int64)
    return np.unique(np.clip(ranks, 1, n))


def _draw(ax: Axes, values: FloatArray, level: float) -> list[str]:
    """Draw values in order, and the band; return what is to be said."""
    n = len(values)
    ranks = drawn_ranks(n)
    shares = (0.5 - level / 2, 0.5, 0.5 + level / 2)
    low, middle, high = (order_quantiles(ranks, n, share) for share in shares)
    shown = np.sort(values)[ranks - 1]
    is_outside = (shown < low) | (shown > high)
    ax.fill_between(middle, low, high, color=GREY, alpha=0.35, linewidth=0, label="band")
    ax.plot(middle[[0, -1]], middle[[0, -1]], color=ink(ax), linewidth=0.8)
    kinds = ((~is_outside, BLUE, "o", "inside"), (is_outside, VERMILION, "x", "outside"))
    for chosen, colour, marker, label in kinds:
        if chosen.any():
            ax.plot(
                middle[chosen],
                shown[chosen],
                marker,
                color=colour,
                markersize=4,
                markerfacecolor="none",
                label=f"{label} ({chosen.sum():,})",
            )
    ax.legend(fontsize="small", loc="upper left", framealpha=0.8)
    bare(ax)
    sample = f"{len(ranks):,} of {n:,} values drawn" if len(ranks) < n else ""
    return [sample, f"pointwise {percent(level)} band"]
