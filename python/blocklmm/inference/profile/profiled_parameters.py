"""The parameters that can be profiled, each with its criterion as a function of its value.

Each is followed along a coordinate t in which that function is smooth: the value itself for fixed
effects and standard deviations, log sigma, and arcsin of a correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.objective import Objective, Units
from blocklmm.optimize import Optimum
from blocklmm.varcorr import VarCorr

from .held import HeldCorrelation, HeldSd
from .restricted import HeldCriterion, Point, Restricted

FloatArray = npt.NDArray[np.float64]

_QUARTER = np.pi / 2


class Parameter(Protocol):
    """A parameter, and the criterion with everything else free."""

    @property
    def name(self) -> str:
        """The name of the parameter."""

    @property
    def estimate(self) -> float:
        """Where t stands at the criterion's minimum."""

    @property
    def step(self) -> float:
        """A first step of t, shorter than a standard error, more or less."""

    @property
    def low(self) -> float:
        """The least t."""

    @property
    def high(self) -> float:
        """The largest t."""

    def value(self, t: float) -> float:
        """Return the parameter's value."""

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise the criterion with the parameter held at t, from a point near by."""


def _minimum(objective: Objective, start: Point, criterion: _core.Criterion) -> _core.Optimum:
    return objective.minimum(
        always=[start.F],
        if_flat=[],
        max_evaluations=500,
        tolerance=1e-12,
        criterion=criterion,
    )


@dataclass(frozen=True)
class FixedEffect:
    """A linear function c'beta of the fixed effects, under maximum likelihood."""

    name: str
    estimate: float
    step: float
    weights: FloatArray
    units: Units
    objective: Objective
    low: float = -np.inf
    high: float = np.inf

    def value(self, t: float) -> float:
        """Return t."""
        return t

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise with c'beta = t: r^2 = r_0^2 + g^2, g = (c'beta^ - t) / |R^-T c|."""
        c, at = self.units.contrast(self.weights, t)
        found = _minimum(self.objective, start, _core.Criterion(False, contrast=c, at=at))
        N, p = found.evaluation.inverse_factor, self.units.p
        size = float(np.linalg.norm(N[:p, :p].T @ c))
        g = (-float(c @ N[:p, p]) / N[p, p] - at) / size
        rss = N[p, p] ** -2 + g**2
        nu = self.objective.nu
        sigma = float(np.sqrt(rss / nu))
        return Restricted(
            found.evaluation.value, -2 * nu * g / (size * rss), Point(found.factor, sigma)
        )


@dataclass(frozen=True)
class ResidualSd:
    """sigma; t is its logarithm."""

    estimate: float
    step: float
    units: Units
    objective: Objective
    reml: bool
    name: str = "sigma"
    low: float = -np.inf
    high: float = np.inf

    def value(self, t: float) -> float:
        """Return sigma."""
        return float(np.exp(t))

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise with sigma = exp t: df/dt = 2 nu - 2 r^2 / sigma^2 there."""
        sigma = float(np.exp(t)) / self.units.y_scale
        found = _minimum(self.objective, start, _core.Criterion(self.reml, sigma=sigma))
        r = 1 / found.evaluation.inverse_factor[-1, -1]
        slope = 2 * self.objective.nu - 2 * (r / sigma) ** 2
        return Restricted(found.evaluation.value, float(slope), Point(found.factor, sigma))


@dataclass(frozen=True)
class StandardDeviation:
    """The standard deviation of a random effect."""

    name: str
    estimate: float
    step: float
    criterion: HeldCriterion
    low: float = 0.0
    high: float = np.inf

    def value(self, t: float) -> float:
        """Return t."""
        return t

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise with the standard deviation held at t."""
        return self.criterion.minimum(t, start)


@dataclass(frozen=True)
class Correlation:
    """The correlation sin t of two random effects.

    One of them may vanish: then the correlation could be anything, and the criterion is what it is
    with that standard deviation held at zero, whatever t.
    """

    name: str
    estimate: float
    criterion: HeldCriterion
    sds: tuple[StandardDeviation, StandardDeviation]
    starts: Sequence[Point]
    step: float = 0.1
    low: float = -_QUARTER
    high: float = _QUARTER
    _vanishing: list[Restricted] = field(default_factory=list)

    def value(self, t: float) -> float:
        """Return the correlation."""
        return float(np.sin(t)) if abs(t) < _QUARTER else float(np.sign(t))

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise with the correlation held at sin t, or a standard deviation of zero."""
        if not self._vanishing:
            found = [sd.minimum(0.0, point) for sd in self.sds for point in self.starts]
            lowest = min(found, key=lambda r: r.value)
            self._vanishing.append(Restricted(lowest.value, 0.0, lowest.point))
        return min(self.criterion.minimum(t, start), self._vanishing[0], key=lambda r: r.value)


def fixed_effects(
    names: Sequence[str], units: Units, objective: Objective, optimum: Optimum
) -> list[Parameter]:
    """Return the coefficients of the fixed effects; the criterion is the deviance."""
    inverse = optimum.evaluation.inverse_factor
    beta = units.beta(inverse)
    errors = units.sigma(inverse, reml=False) * np.linalg.norm(
        units.unscaled_covariance_factor(inverse), axis=1
    )
    return [
        FixedEffect(name, float(beta[k]), 0.5 * float(errors[k]), weights, units, objective)
        for k, (name, weights) in enumerate(zip(names, np.eye(units.p), strict=True))
    ]


def variance_parameters(
    varcorr: VarCorr, units: Units, objective: Objective, reml: bool, start: Point
) -> list[Parameter]:
    """Return standard deviations and correlations in the order of ``varcorr.labels()``, and sigma.

    Of a correlation that is not defined the estimate is NaN.
    """
    structure, out = units.structure, list[Parameter]()
    labels = iter(varcorr.labels())
    identity = Point(0.5 * np.eye(structure.q), start.sigma)
    for k, term in enumerate(varcorr):
        sds = []
        for i, sd in enumerate(term.sd):
            held = HeldSd(units, start.sigma, k, i)
            step = 0.1 * max(float(sd), 0.1 * held.unit)
            criterion = HeldCriterion(objective, held, start.sigma)
            sds.append(StandardDeviation(next(labels), float(sd), step, criterion))
        out += sds
        corr = term.corr
        for j in range(len(sds)):
            for i in range(j + 1, len(sds)):
                criterion = HeldCriterion(
                    objective, HeldCorrelation(units, start.sigma, k, (j, i)), start.sigma
                )
                estimate = float(np.arcsin(np.clip(corr[i, j], -1, 1)))
                pair = (sds[j], sds[i])
                out.append(Correlation(next(labels), estimate, criterion, pair, [start, identity]))
    sigma = float(np.log(varcorr.sigma))
    out.append(ResidualSd(sigma, 0.5 / np.sqrt(2 * objective.nu), units, objective, reml))
    return out
