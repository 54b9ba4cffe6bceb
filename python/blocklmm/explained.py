"""How much of the variance the parts of a model explain: ICC and R squared."""

from __future__ import annotations

from dataclasses import dataclass

from .tables import Rounded

SCALE = ((0.40, "poor"), (0.60, "fair"), (0.80, "good"))  # words below these limits
BEST = "excellent"


@dataclass(frozen=True, slots=True)
class Variances:
    """The parts of the response's variance (Nakagawa & Schielzeth 2013; Johnson 2014).

    Attributes
    ----------
    fixed : float
        Variance of X beta over the rows, with divisor n - 1.
    random : dict of str to float
        By grouping factor, the mean over the rows of diag(Z Sigma Z').
    residual : float
        sigma squared.
    """

    fixed: float
    random: dict[str, float]
    residual: float

    @property
    def total_random(self) -> float:
        """Sum over the grouping factors."""
        return sum(self.random.values())


@dataclass(frozen=True, slots=True, repr=False)
class ICC(Rounded):
    """Intraclass correlation: the share of variance between groups.

    Attributes
    ----------
    adjusted : float
        Random variance in random and residual variance.
    unadjusted : float
        Random variance in all variance, that of the fixed effects included.
    by_group : dict of str to float
        The adjusted share of each grouping factor.
    label : str
        poor, fair, good or excellent, with limits at .40, .60 and .80 of the adjusted value
        (Cicchetti 1994, with .80 for .75).
    """

    adjusted: float
    unadjusted: float
    by_group: dict[str, float]
    label: str


@dataclass(frozen=True, slots=True, repr=False)
class RSquared(Rounded):
    """Nakagawa's R squared.

    Attributes
    ----------
    marginal : float
        Share of the fixed effects in the variance.
    conditional : float
        Share of fixed and random effects together.
    """

    marginal: float
    conditional: float


def icc(variances: Variances) -> ICC:
    """Compute the intraclass correlation from the parts of the variance."""
    within = variances.total_random + variances.residual
    adjusted = variances.total_random / within
    label = next((word for limit, word in SCALE if adjusted < limit), BEST)
    return ICC(
        adjusted,
        variances.total_random / (within + variances.fixed),
        {group: value / within for group, value in variances.random.items()},
        label,
    )


def r2(variances: Variances) -> RSquared:
    """Compute Nakagawa's R squared from the parts of the variance."""
    total = variances.fixed + variances.total_random + variances.residual
    return RSquared(variances.fixed / total, (variances.fixed + variances.total_random) / total)
