"""Options of a fit, and the core's optimum in words; see ``cpp/core/optimizer.hpp``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import require_count
from .errors import ConvergenceError, OptionError
from .objective import Evaluation, Objective

FloatArray = npt.NDArray[np.float64]


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
        The criterion there. Gradient and Hessian are those in the entries of another factor of the
        same T, the one that the optimiser stood at.
    certificate : Certificate
    converged : bool
        Whether the certificate holds.
    unidentified : tuple of int
        Terms on whose size the criterion does not depend.
    n_flat : int
        Directions of the variance parameters in which it has no curvature: what lies along them is
        not identified.
    """

    factor: FloatArray
    evaluation: Evaluation
    certificate: Certificate
    converged: bool
    unidentified: tuple[int, ...]
    n_flat: int


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
    tolerance: float = 1e-20
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in ("n_threads", "max_evaluations"):
            require_count(f"FitOptions: {name}", getattr(self, name))
        if not isinstance(self.tolerance, int | float) or not self.tolerance > 0:
            raise OptionError(f"FitOptions: tolerance is positive, not {self.tolerance!r}")


@dataclass(frozen=True, slots=True)
class Starts:
    """Where to start: block diagonal factors (q x q) of the first T's.

    Attributes
    ----------
    always : list of arrays
    if_flat : list of arrays
        Only where the minimum found from the first of the others is flat.
    with_samples : bool
        Whether samples of very many groups may lead nearer to the minimum first.
    """

    always: list[FloatArray]
    if_flat: list[FloatArray]
    with_samples: bool = False


def minimize(f: Objective, starts: Starts, options: FitOptions) -> Optimum:
    """Minimise f from some starts, look at the boundary for a lower minimum, keep the best.

    Other starts follow where the minimum found is so flat that data like these have been seen to
    have a second one.

    Parameters
    ----------
    f : Objective
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
    found = f.minimum(
        always=starts.always,
        if_flat=starts.if_flat,
        max_evaluations=options.max_evaluations,
        tolerance=options.tolerance,
        with_samples=starts.with_samples,
    )
    if found.status == _core.Status.exact_fit:
        raise ConvergenceError(
            "the residual variance is zero to rounding at the start: the data are fitted exactly"
        )
    certificate = Certificate(
        found.gradient,
        found.min_eigenvalue,
        found.n_evaluations,
        _message(found, len(f.structure.entries)),
    )
    return Optimum(
        found.factor,
        Evaluation.of(found.evaluation),
        certificate,
        found.converged,
        tuple(found.unidentified),
        int(found.n_flat),
    )


_MESSAGES = {
    _core.Status.closed_form: "closed form: the model has no random terms",
    _core.Status.optimal: "optimal",
    _core.Status.singular: "optimal, on the boundary (singular)",
    _core.Status.uncertified: "no descent is left, but the certificate does not hold",
}


def _message(found: _core.Optimum, n_directions: int) -> str:
    if found.status == _core.Status.stopped:
        return f"stopped after {found.n_evaluations} evaluations"
    flat = f"; not identified in {found.n_flat} of {n_directions} directions"
    return _MESSAGES[found.status] + (flat if found.n_flat else "")
