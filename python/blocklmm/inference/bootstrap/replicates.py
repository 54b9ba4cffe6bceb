"""Models fitted to responses drawn from one of them, on the statistics: no row is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.arguments import require_count, require_seed
from blocklmm.errors import InferenceError, ModelSizeError, warn
from blocklmm.inference.nested.reduced import ReducedModel, lambdas_of_statistics
from blocklmm.machine import memory_limit
from blocklmm.objective import blas_limit
from blocklmm.problem import Problem
from blocklmm.progress import Pace, progress_bar

FloatArray = npt.NDArray[np.float64]

_MOST_EVALUATIONS = 200
_TOLERANCE = 1e-16
_CERTIFIED_TOLERANCE = 1e-8  # a ten-thousandth of a standard error, which no quantile sees
_BYTES_A_NUMBER = 32.0  # of a level's cross products: their own, and what a thread makes of them


@dataclass(frozen=True, slots=True)
class Replicates:
    """One model's fits to each drawn response.

    Attributes
    ----------
    objective : array of shape (n,)
        The criterion, NaN where a response was fitted exactly.
    converged : array of shape (n,) of bool
    sigma : array of shape (n,)
    factor : array of shape (n, r, r)
        Of T, in the user's units.
    beta : array of shape (n, p)
        Fixed effects less those that the responses were drawn with.
    core_factor, core_beta : arrays of shape (n, r, r) and (n, p)
        The same of the statistics' columns, those of Z with root mean square one.
    bse : array of shape (n, p)
        Standard errors.
    """

    objective: FloatArray
    converged: npt.NDArray[np.bool_]
    sigma: FloatArray
    factor: FloatArray
    beta: FloatArray
    core_factor: FloatArray
    core_beta: FloatArray
    bse: FloatArray


@dataclass(frozen=True, slots=True)
class Drawing:
    """How replicates are drawn.

    Attributes
    ----------
    n : int
    seed : int
    n_threads : int
    progress : bool or None
        Show a progress bar; if None where it is worth it, on a terminal that has tqdm.
    """

    n: int
    seed: int
    n_threads: int
    progress: bool | None

    @classmethod
    def of(
        cls,
        n: int,
        seed: int | None,
        n_threads: int | None,
        progress: bool | None,
        called: str = "n_sim",
    ) -> Drawing:
        """Check the arguments, and take a seed from the system where none is given."""
        n = require_count(called, n)
        n_threads = require_count("n_threads", 1 if n_threads is None else n_threads)
        seed = require_seed(seed)
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        return cls(n, seed % 2**64, n_threads, progress)


def replicate(
    problem: Problem,
    factor: FloatArray,
    sigma: float,
    models: Sequence[tuple[ReducedModel, bool, FloatArray]],
    drawing: Drawing,
) -> tuple[list[Replicates], tuple[float, float]]:
    """Draw responses and fit models to them.

    Parameters
    ----------
    problem : Problem
        Whose statistics are drawn.
    factor : array of shape (q, q)
        Of the T that they are drawn with, in the core's units.
    sigma : float
    models : sequence of (ReducedModel, bool, array)
        Models of the problem, whether by REML, and a factor of T to start from.
    drawing : Drawing

    Returns
    -------
    list of Replicates
        One for each model.
    (float, float)
        Seconds of all threads, drawing and fitting.

    Raises
    ------
    InferenceError
        If the model has no random effects.
    ModelSizeError
        If the statistics of one thread do not fit into memory.
    """
    if not problem.structure.blocks:
        raise InferenceError(
            "the model has no random terms: its t and F tests are exact, and there is nothing to "
            "simulate"
        )
    core = _core.Bootstrap(
        statistics=problem.statistics.core,
        x_columns=problem.x_columns,
        lambdas=lambdas_of_statistics(problem, factor),
        sigma=sigma,
        models=[model.core_model(reml, start) for model, reml, start in models],
        max_evaluations=_MOST_EVALUATIONS,
        tolerance=_TOLERANCE,
        certified_tolerance=_CERTIFIED_TOLERANCE,
        memory_limit=memory_limit(),
        seed=drawing.seed,
    )
    n_threads = threads_that_fit(problem, len(models), drawing.n_threads)
    parts: list[list[dict[str, FloatArray]]] = []
    with progress_bar(drawing.n, "replicate", drawing.progress) as advance:
        for first, size in Pace(n_threads).batches(drawing.n):
            with blas_limit(problem.core):
                parts.append(core.run(first=first, n=size, n_threads=n_threads))
            advance(size)
    out = [
        _in_users_units(model, reml, [part[k] for part in parts])
        for k, (model, reml, _) in enumerate(models)
    ]
    return out, core.seconds


def threads_that_fit(problem: Problem, n_models: int, n_threads: int) -> int:
    """Return how many threads have memory for statistics and factors of their own."""
    design, levels = problem.design, [f.n_levels for f in problem.statistics.factors]
    numbers = [len(design.members(f)) * len(design.record_columns(f)) for f in range(len(levels))]
    records = sum(size * n for size, n in zip(numbers, levels, strict=True))
    needed = _BYTES_A_NUMBER * records * n_models
    most = int(memory_limit() / max(needed, 1.0))
    if most < 1:
        raise ModelSizeError(
            f"replicates of {sum(levels):,} levels need {needed / 1e9:.1f} GB, more than there is"
        )
    if most < n_threads:
        warn(f"there is memory for {most} of {n_threads} threads: the others are left out")
    return min(n_threads, most)


def _in_users_units(
    model: ReducedModel, reml: bool, parts: list[dict[str, FloatArray]]
) -> Replicates:
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    basis = model.problem.units.x_basis[np.ix_(model.x_kept, model.x_kept)]
    to_user = model.centring() / model.column_sizes()
    F = np.einsum("ab,nbc->nac", basis, found["inverse_factor"])
    return Replicates(
        found["value"] + model.constant(reml),
        found["converged"].astype(bool),
        found["sigma"],
        np.einsum("ab,nbc->nac", to_user, found["factor"]),
        found["beta"] @ basis.T,
        found["factor"],
        found["beta"] / model.problem.units.x_scale[model.x_kept],
        found["sigma"][:, None] * np.sqrt((F**2).sum(axis=2)),
    )
