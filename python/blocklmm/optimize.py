"""Trust-region Newton over theta, and the certificate that an optimum is one.

The criterion f depends on lambda only through T = lambda lambda', so theta needs no bounds: the
trust region follows negative curvature out of saddles (Conn, Gould & Toint 2000, ch. 7), each
step solved exactly from the eigenvalues of the Hessian (Moré & Sorensen 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .objective import Evaluation, Structure, canonical_factor

FloatArray = npt.NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)


class Function(Protocol):
    """What is minimised."""

    structure: Structure
    n: int
    n_evaluations: int

    def __call__(self, theta: FloatArray, derivatives: bool = True) -> Evaluation:
        """Evaluate at theta."""
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
        Largest absolute entry of df/dtheta.
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
    """The best theta found, in the core's units."""

    theta: FloatArray
    evaluation: Evaluation
    certificate: Certificate
    converged: bool


@dataclass(frozen=True, slots=True)
class Tolerances:
    """When to stop.

    Attributes
    ----------
    decrease : float
        Stop when a Newton step would lower the criterion by less than this.
    gradient : float
        The certificate's limit for the gradient, in parts of the number of rows.
    eigenvalue : float
        The certificate's limit for a negative eigenvalue of Gamma, likewise.
    """

    decrease: float = 1e-15
    gradient: float = 1e-7
    eigenvalue: float = 1e-8


def minimize(
    f: Function, start: FloatArray, max_evaluations: int, tolerances: Tolerances
) -> Optimum:
    """Minimise f from a start; leave saddles that the certificate shows; set zeros exactly.

    Parameters
    ----------
    f : Function
    start : array of shape (number of parameters,)
    max_evaluations : int
    tolerances : Tolerances

    Returns
    -------
    Optimum
    """
    theta, here = start, f(start)
    for _ in range(8):
        theta, here, message = _descend(f, theta, here, max_evaluations, tolerances)
        if message:
            return _optimum(f, theta, here, tolerances, message)
        escape = _escape(f, theta, here, tolerances)
        if escape is None:
            break
        theta, here = escape
    theta, here = _zeros(f, theta, here)
    return _optimum(f, theta, here, tolerances, "")


def _descend(
    f: Function,
    theta: FloatArray,
    here: Evaluation,
    max_evaluations: int,
    tolerances: Tolerances,
) -> tuple[FloatArray, Evaluation, str]:
    radius = 1.0
    rounding = 16 * _EPS * (abs(here.value) + f.n)
    before = np.inf
    while theta.size:
        values, vectors = np.linalg.eigh(here.hessian)
        slopes = vectors.T @ here.gradient
        flat = 1e-9 * max(float(np.abs(values).max()), 1e-9 * f.n)
        newton = 0.5 * float((slopes**2 / np.maximum(np.abs(values), flat)).sum())
        if values[0] > -flat:
            stalled = newton > 0.05 * before and newton < 1e-10
            if newton <= tolerances.decrease or stalled:
                break
        before = newton
        if f.n_evaluations >= max_evaluations:
            return theta, here, f"stopped after {f.n_evaluations} evaluations"
        in_basis, predicted = _trust_region_step(values, slopes, radius)
        length = float(np.linalg.norm(in_basis))
        step = vectors @ in_basis
        there = f(theta + step)
        actual = here.value - there.value
        if predicted < rounding:  # values can't tell: gradients do
            accept = bool(
                actual > -rounding
                and np.abs(there.gradient).max() <= 2 * np.abs(here.gradient).max()
            )
            ratio = 1.0 if accept else 0.0
        else:
            ratio = actual / predicted
            accept = ratio > 1e-4
        if ratio < 0.25:
            radius = 0.25 * length
        elif ratio > 0.75 and length > 0.9 * radius:
            radius *= 3.0
        if accept:
            theta, here = theta + step, there
        elif predicted < rounding or radius < 1e-12:
            break
    return theta, here, ""


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


def _gamma_eigen(f: Function, here: Evaluation) -> tuple[float, slice | None, FloatArray]:
    """Smallest eigenvalue of Gamma over the terms, the term, and the eigenvector."""
    best: tuple[float, slice | None, FloatArray] = (np.nan, None, np.empty(0))
    for s in f.structure.slices:
        values, vectors = np.linalg.eigh(here.gamma[s, s])
        if best[1] is None or values[0] < best[0]:
            best = float(values[0]), s, vectors[:, 0]
    return best


def _escape(
    f: Function, theta: FloatArray, here: Evaluation, tolerances: Tolerances
) -> tuple[FloatArray, Evaluation] | None:
    """Step from a saddle along the negative direction v of Gamma: T + t v v' lowers f by t|gamma|."""
    lowest, block, vector = _gamma_eigen(f, here)
    if block is None or lowest >= -tolerances.eigenvalue * f.n:
        return None
    matrix = f.structure.matrix(theta)
    for t in (0.1, 0.01, 1e-3, 1e-4, 1e-6):
        moved = matrix.copy()
        moved[block, block] = canonical_factor(
            np.column_stack([matrix[block, block], np.sqrt(t) * vector])
        )
        there_theta = f.structure.theta(moved)
        there = f(there_theta)
        if there.value < here.value:
            return there_theta, there
    return None


def _zeros(
    f: Function, theta: FloatArray, here: Evaluation
) -> tuple[FloatArray, Evaluation]:
    """Set singular directions of lambda to exactly zero where that costs no more than rounding."""
    matrix = f.structure.canonical(f.structure.matrix(theta))
    candidate = matrix.copy()
    for s in f.structure.slices:
        left, values, _ = np.linalg.svd(matrix[s, s])
        tiny = values < 1e-3
        if tiny.any() and (values > 0).any():
            values[tiny] = 0.0
            candidate[s, s] = canonical_factor(left * values, tolerance=1e-9)
    theta = f.structure.theta(matrix)
    if not np.array_equal(candidate, matrix):
        there_theta = f.structure.theta(candidate)
        there = f(there_theta)
        if there.value <= here.value + 16 * _EPS * (abs(here.value) + f.n):
            return there_theta, there
    return theta, here


def _optimum(
    f: Function, theta: FloatArray, here: Evaluation, tolerances: Tolerances, message: str
) -> Optimum:
    gradient = float(np.abs(f.structure.theta(2 * here.gamma @ f.structure.matrix(theta))).max(initial=0.0))
    lowest, _, _ = _gamma_eigen(f, here)
    flat = gradient <= tolerances.gradient * f.n
    minimal = theta.size == 0 or lowest >= -tolerances.eigenvalue * f.n
    converged = not message and flat and minimal
    if not message:
        if not theta.size:
            message = "closed form: the model has no random terms"
        elif converged:
            singular = any(
                np.linalg.matrix_rank(f.structure.matrix(theta)[s, s]) < s.stop - s.start
                for s in f.structure.slices
            )
            message = "optimal, on the boundary (singular)" if singular else "optimal"
        else:
            message = "no descent is left, but the certificate does not hold"
    return Optimum(
        theta, here, Certificate(gradient, lowest, f.n_evaluations, message), converged
    )
