"""Trust-region Newton over T = F F', and the certificate that an optimum is one.

The criterion f depends on lambda only through T, so a factor F of T needs no bounds: the trust
region follows negative curvature out of saddles (Conn, Gould & Toint 2000, ch. 7), each step solved
exactly from the eigenvalues of the Hessian (Moré & Sorensen 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .chart import Chart
from .errors import ConvergenceError
from .objective import Evaluation, Structure

FloatArray = npt.NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)
_FLAT = 1e-7  # the certificate's limits, in parts of the number of rows: gradient,
_NEGATIVE = 1e-8  # and a negative eigenvalue of Gamma
_FLAT_MINIMUM = 2.0  # curvature of -2 log L: a standard error of one in the units of the starts
_APPROXIMATE = 1e-12  # a decrease not worth the slower steps of an approximate Hessian
_WORTH_A_DESCENT = 1.0  # a boundary point this little above the minimum found may lead lower


class Function(Protocol):
    """What is minimised: f as a function of a factor F of T = F F'."""

    structure: Structure
    n: int
    n_evaluations: int
    has_exact_hessian: bool

    def __call__(self, factor: FloatArray, derivatives: bool = True) -> Evaluation:
        """Evaluate at a block diagonal factor."""
        ...


@dataclass(frozen=True, slots=True)
class Certificate:
    """Evidence that a fit is at an optimum.

    At a minimum over positive semidefinite T, the gradient in theta is zero and Gamma = df/dT is
    positive semidefinite; this also holds where T is singular. Both are in units in which every
    random-effects column has root mean square one.

    Attributes
    ----------
    gradient : float
        Largest absolute entry of df/dF = 2 Gamma F, F a factor of T.
    min_eigenvalue : float
        Smallest eigenvalue of Gamma over the terms (``nan`` without random terms). At a singular
        fit it is the slope of the criterion into the cone, and positive.
    n_evaluations : int
        Evaluations of the criterion with its derivatives, those of all starts counted.
    message : str
        What was found, in words.
    """

    gradient: float
    min_eigenvalue: float
    n_evaluations: int
    message: str


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best point found, in the core's units.

    Attributes
    ----------
    factor : array of shape (q, q)
        The canonical lambda: lower triangular by blocks, with a non-negative diagonal.
    evaluation : Evaluation
        The criterion there.
    certificate : Certificate
    converged : bool
        Whether the certificate holds.
    unidentified : tuple of int
        Terms on whose size the criterion does not depend.
    """

    factor: FloatArray
    evaluation: Evaluation
    certificate: Certificate
    converged: bool
    unidentified: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to fit.

    Attributes
    ----------
    n_threads : int
        Threads for the passes over rows and groups. Results are equal to the bit for any number.
        Rows in the order of their groups gain most: with others each thread reads all rows.
    max_evaluations : int
        Evaluations of the criterion before the optimiser gives up, with a warning.
    tolerance : float
        Stop when a Newton step would lower the criterion by less than this; with several grouping
        factors by less than 1e-12, a millionth of a standard error of theta.
    verbose : bool
        Print one line with the fit's outcome.
    """

    n_threads: int = 1
    max_evaluations: int = 500
    tolerance: float = 1e-15
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in ("n_threads", "max_evaluations"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"FitOptions: {name} is a whole number from 1, not {value!r}")
        if not isinstance(self.tolerance, int | float) or not self.tolerance > 0:
            raise ValueError(f"FitOptions: tolerance is positive, not {self.tolerance!r}")


@dataclass(frozen=True, slots=True)
class Starts:
    """Where to start: block diagonal factors (q x q) of the first T's.

    Attributes
    ----------
    always : list of arrays
    if_flat : list of arrays
        Only where the minimum found from the first of the others is flat.
    """

    always: list[FloatArray]
    if_flat: list[FloatArray]


def minimize(f: Function, starts: Starts, options: FitOptions) -> Optimum:
    """Minimise f from some starts, look at the boundary for a lower minimum, keep the best.

    Other starts follow where the minimum found is so flat that data like these have been seen to
    have a second one.

    Parameters
    ----------
    f : Function
    starts : Starts
    options : FitOptions

    Returns
    -------
    Optimum

    Raises
    ------
    ConvergenceError
        If the residual variance is zero to rounding at the first start.
    """
    first, *others = (Chart(f.structure, start) for start in starts.always)
    best = _descend(f, first, options)
    if not np.isfinite(best.here.value):
        raise ConvergenceError(
            "the residual variance is zero to rounding at the start: the data are fitted exactly"
        )
    nearby = _nearest_boundary(f.structure, best.chart)
    if nearby is not None and not best.message:
        probe = f(nearby.factor, derivatives=False)
        if probe.value < best.here.value + _WORTH_A_DESCENT:
            best = min(best, _descend(f, nearby, options), key=_value)
    if best.flattest < _FLAT_MINIMUM and not best.message:
        others += [Chart(f.structure, start) for start in starts.if_flat]
    for chart in others:
        best = min(best, _descend(f, chart, options), key=_value)
    factor, here = _zeros(f, best.chart, best.here)
    return _optimum(f, factor, here, best.message)


@dataclass(frozen=True, slots=True)
class _Descent:
    chart: Chart
    here: Evaluation
    message: str
    flattest: float  # the smallest curvature that is not zero


def _value(descent: _Descent) -> float:
    return descent.here.value


def _nearest_boundary(structure: Structure, chart: Chart) -> Chart | None:
    """Return T with its smallest relevant singular value set to zero; None on the boundary."""
    block, size = min(enumerate(chart.sizes), key=lambda k: k[1][-1], default=(0, np.zeros(1)))
    if size[-1] <= 1e-3:
        return None
    factor = chart.factor.copy()
    factor[:, structure.slices[block].stop - 1] = 0.0
    return Chart(structure, factor)


def _descend(
    f: Function,
    chart: Chart,
    options: FitOptions,
    here: Evaluation | None = None,
) -> _Descent:
    here = f(chart.factor) if here is None else here
    if not np.isfinite(here.value):
        return _Descent(chart, here, "", np.inf)
    radius = 0.5
    rounding = 1e-12 * (abs(here.value) + f.n)
    before = flattest = np.inf
    while chart.sizes:
        gradient, hessian = chart.derivatives(here.gradient, here.hessian)
        values, vectors = np.linalg.eigh(hessian)
        slopes = vectors.T @ gradient
        flattest = float(values[values > 1e-8 * f.n].min(initial=np.inf))
        flat = max(1e-13 * float(np.abs(values).max()), 1e-10 * f.n)
        newton = 0.5 * float((slopes**2 / np.maximum(np.abs(values), flat)).sum())
        if values[0] > -flat:
            stalled = newton > 0.05 * before and newton < 1e-13
            enough = newton <= _APPROXIMATE and not f.has_exact_hessian and _is_certified(f, here)
            if newton <= options.tolerance or stalled or enough:
                break
        before = newton
        if f.n_evaluations >= options.max_evaluations:
            message = f"stopped after {f.n_evaluations} evaluations"
            return _Descent(chart, here, message, flattest)
        in_basis, predicted = _trust_region_step(values, slopes, radius)
        if predicted < rounding:  # flat directions have nothing to give, and lead far
            in_basis = np.where(values > 1e-8 * f.n, in_basis, 0.0)
        length = float(np.linalg.norm(in_basis))
        next_chart = chart.moved(f.structure, vectors @ in_basis)
        there = f(next_chart.factor)
        actual = here.value - there.value
        if predicted < rounding:  # values can't tell: gradients do
            shorter = np.linalg.norm(there.gradient) < np.linalg.norm(here.gradient)
            accept = bool(shorter and actual > -rounding)
            ratio = 1.0 if accept else 0.0
        else:
            ratio = actual / predicted
            accept = ratio > 1e-4
        if ratio < 0.25:
            radius = 0.25 * length
        elif ratio > 0.75 and length > 0.9 * radius:
            radius *= 2.0
        if accept:
            chart, here = next_chart, there
        elif predicted < rounding or radius < 1e-12:
            break
    return _Descent(chart, here, "", flattest)


def _trust_region_step(
    values: FloatArray, slopes: FloatArray, radius: float
) -> tuple[FloatArray, float]:
    """Minimise the quadratic model within the radius, in the Hessian's eigenbasis.

    Returns the step and the decrease the model predicts.
    """
    lowest = float(values[0])
    floor = _EPS * max(1.0, float(np.abs(values).max()))
    shift = 0.0 if lowest > floor else floor - lowest

    def step_for(mu: float) -> FloatArray:
        return np.asarray(-slopes / (values + mu))

    step = step_for(shift)
    length = float(np.linalg.norm(step))
    if length > radius:
        low, high = shift, shift + float(np.linalg.norm(slopes)) / radius
        mu = shift
        for _ in range(60):
            step = step_for(mu)
            length = float(np.linalg.norm(step))
            if abs(length - radius) <= 1e-3 * radius:
                break
            if length > radius:
                low = mu
            else:
                high = mu
            growth = float((step**2 / (values + mu)).sum())
            mu += (length / radius - 1.0) * length**2 / growth
            if not low < mu < high:
                mu = 0.5 * (low + high)
    elif lowest < -floor:
        # the hard case: the gradient does not see the negative direction, so go along it
        step = step.copy()
        rest = float(np.linalg.norm(step[1:]))
        step[0] = np.copysign(np.sqrt(max(radius**2 - rest**2, 0.0)), -slopes[0] or 1.0)
    predicted = -float(slopes @ step + 0.5 * (values * step) @ step)
    return step, predicted


def _min_eigenvalue(f: Function, here: Evaluation) -> float:
    """Smallest eigenvalue of Gamma over the terms."""
    return min(
        (float(np.linalg.eigvalsh(here.gamma[s, s])[0]) for s in f.structure.slices),
        default=np.nan,
    )


def _is_certified(f: Function, here: Evaluation) -> bool:
    """Tell whether the gradient is zero and no eigenvalue of Gamma negative, up to rounding."""
    flat = float(np.abs(here.gradient).max(initial=0.0)) <= _FLAT * f.n
    return flat and (not f.structure.blocks or _min_eigenvalue(f, here) >= -_NEGATIVE * f.n)


def _zeros(f: Function, chart: Chart, here: Evaluation) -> tuple[FloatArray, Evaluation]:
    """Set tiny singular values of lambda to zero where that costs no more than rounding.

    Returns the canonical lambda and the evaluation there.
    """
    if any(((size > 0) & (size < 1e-3)).any() for size in chart.sizes):
        rounded = chart.factor.copy()
        for s, size in zip(f.structure.slices, chart.sizes, strict=True):
            rounded[s, s][:, size < 1e-3] = 0.0
        there = f(rounded)
        if there.value <= here.value + 16 * _EPS * (abs(here.value) + f.n):
            return f.structure.canonical(rounded), there
    return f.structure.canonical(chart.factor), here


def _optimum(f: Function, factor: FloatArray, here: Evaluation, message: str) -> Optimum:
    gradient = float(np.abs(here.gradient).max(initial=0.0))
    lowest = _min_eigenvalue(f, here)
    converged = not message and _is_certified(f, here)
    if not message:
        if not f.structure.blocks:
            message = "closed form: the model has no random terms"
        elif converged:
            singular = any((np.diag(factor)[s] == 0).any() for s in f.structure.slices)
            message = "optimal, on the boundary (singular)" if singular else "optimal"
            _, hessian = Chart(f.structure, factor).derivatives(here.gradient, here.hessian)
            n_flat = int((np.abs(np.linalg.eigvalsh(hessian)) <= 1e-9 * f.n).sum())
            if n_flat:
                message += f"; not identified in {n_flat} of {len(hessian)} directions"
        else:
            message = "no descent is left, but the certificate does not hold"
    certificate = Certificate(gradient, lowest, f.n_evaluations, message)
    return Optimum(factor, here, certificate, converged, _unidentified(f, factor, here))


def _unidentified(f: Function, factor: FloatArray, here: Evaluation) -> tuple[int, ...]:
    """Terms whose lambda can be multiplied by any number: no slope and no curvature that way."""
    rows, columns = f.structure.block_entry_arrays
    found = []
    for k, s in enumerate(f.structure.slices):
        inside = np.where((rows >= s.start) & (rows < s.stop), factor[rows, columns], 0.0)
        if inside.any() and here.hessian.size:
            slope = abs(float(inside @ here.gradient))
            curvature = abs(float(inside @ here.hessian @ inside))
            # of log lambda where it is large, of lambda itself where it is small
            if max(slope, curvature) <= 1e-9 * f.n * min(1.0, float(inside @ inside)):
                found.append(k)
    return tuple(found)
