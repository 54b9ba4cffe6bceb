"""Profiling: the criterion along single parameters, the others at their best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from blocklmm.arguments import require_level
from blocklmm.errors import (
    ConvergenceError,
    DataError,
    InferenceError,
    OptionError,
    did_you_mean,
    labels_phrase,
    warn,
)
from blocklmm.objective import Objective
from blocklmm.optimize import FitOptions, Starts, minimize
from blocklmm.parameters import FittedParameters

from .profile import ParameterProfile, Profile, threshold_of
from .profile_path import LowerMinimum, Path
from .profiled_parameters import Parameter, fixed_effects, variance_parameters
from .restricted import Point

_Kind = Callable[[FittedParameters, Objective, Point], list[Parameter]]

_MOST_MINIMA = 5  # each lower than the one before


def profile(
    fit: FittedParameters,
    parameters: str | Sequence[str] | None,
    criterion: str | None,
    level: float,
) -> Profile:
    """Profile a fit's parameters; see the fit's method."""
    threshold = threshold_of(require_level(level))
    if criterion not in (None, "REML", "ML"):
        raise OptionError(f"criterion is 'REML', 'ML' or None, not {criterion!r}")
    variances, fixed = fit.varcorr.labels(), list(fit.params.index)
    wanted_variances, wanted_fixed = _chosen(parameters, variances, fixed)
    if criterion == "REML" and wanted_fixed:
        raise InferenceError(
            "restricted likelihoods with a fixed effect held at different values can't be "
            "compared: criterion='REML' profiles variance parameters alone, "
            "fit.profile('theta_', criterion='REML'); use 'ML', or None for fixed effects by ML "
            "and variance parameters as they were fitted"
        )
    found: list[ParameterProfile] = []
    if wanted_variances:
        reml = fit.reml if criterion is None else criterion == "REML"
        found += _profiles(fit, reml, _variances, wanted_variances, threshold)
    if wanted_fixed:
        found += _profiles(fit, False, _fixed, wanted_fixed, threshold)
    return Profile(tuple(found), level)


def _chosen(
    parameters: str | Sequence[str] | None, variances: list[str], fixed: list[str]
) -> tuple[list[str], list[str]]:
    """Return the names wanted among those of variance parameters, and of fixed effects."""
    if parameters is None:
        return variances, fixed
    names = list(parameters) if np.iterable(parameters) else [parameters]
    names = [parameters] if isinstance(parameters, str) else names
    if not names:
        raise OptionError("parameters is empty: name some, or leave it out for all")
    wanted: set[str] = set()
    for name in names:
        if name == "theta_":
            wanted.update(variances)
        elif name == "beta_":
            wanted.update(fixed)
        elif name in variances or name in fixed:
            wanted.add(name)
        else:
            near = did_you_mean(str(name), [*variances, *fixed])
            raise DataError(
                f"there is no parameter {name!r}.{near} Parameters are "
                f"{labels_phrase([*variances, *fixed], most=20)}"
            )
    return [v for v in variances if v in wanted], [f for f in fixed if f in wanted]


def _profiles(
    fit: FittedParameters, reml: bool, kind: _Kind, names: list[str], threshold: float
) -> list[ParameterProfile]:
    """Profile parameters, from a lower minimum of the criterion if one turns up."""
    problem, options = fit._problem, FitOptions()
    objective = problem.objective(reml, options.n_threads)
    if fit.reml != reml:
        fit = FittedParameters(problem, minimize(objective, problem.starts(None), options), reml)
    for _ in range(_MOST_MINIMA):
        nu, inverse = objective.nu, fit._optimum.evaluation.inverse_factor
        start = Point(fit._optimum.factor, float(1 / (inverse[-1, -1] * np.sqrt(nu))))
        unrelated = Point(0.5 * np.eye(problem.structure.q), start.sigma)
        try:
            return [
                _profile_of(parameter, fit.objective, threshold, start, unrelated)
                for parameter in kind(fit, objective, start)
                if parameter.name in names
            ]
        except LowerMinimum as lower:
            starts, before = Starts([lower.point.F], []), fit.objective
            fit = FittedParameters(problem, minimize(objective, starts, options), reml)
            warn(
                f"profiling found a {fit.criterion_name} of {fit.objective:.6f} below the "
                f"{before:.6f} of the fit, which is not the best one: profiles are about the lower "
                "minimum"
            )
    raise ConvergenceError(f"profiling found lower minima {_MOST_MINIMA} times")


def _variances(fit: FittedParameters, objective: Objective, start: Point) -> list[Parameter]:
    return variance_parameters(fit.varcorr, fit._problem.units, objective, fit.reml, start)


def _fixed(fit: FittedParameters, objective: Objective, _: Point) -> list[Parameter]:
    names = list(fit.params.index)
    return fixed_effects(names, fit._problem.units, objective, fit._optimum)


def _profile_of(
    parameter: Parameter, minimum: float, threshold: float, start: Point, unrelated: Point
) -> ParameterProfile:
    t, low, high = parameter.estimate, parameter.low, parameter.high
    ends = parameter.value(low), parameter.value(high)
    if np.isnan(t):
        nothing = np.zeros(0)
        return ParameterProfile(parameter.name, np.nan, nothing, nothing, nothing, *ends)
    below, above = (
        Path(parameter, start, minimum, side, [unrelated]).points(threshold) for side in (-1, 1)
    )
    points = [*below[::-1], *above]
    values = [parameter.value(point.t) for point in points]
    zetas = [-point.zeta for point in below[::-1]] + [point.zeta for point in above]
    criteria = [point.found.value for point in points]
    k = len(below)
    return ParameterProfile(
        parameter.name,
        parameter.value(t),
        np.array([*values[:k], parameter.value(t), *values[k:]]),
        np.array([*zetas[:k], 0.0, *zetas[k:]]),
        np.array([*criteria[:k], minimum, *criteria[k:]]),
        *ends,
    )
