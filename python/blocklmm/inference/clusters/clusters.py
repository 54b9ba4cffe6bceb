"""Clusters of rows: which factor makes them, and one more pass that sums their cross products.

Sums by cluster are in units of the columns X N, N N' = (X'V^-1X)^-1, of which F takes
coefficients to the user's: Var(beta^) = sigma^2 F F'. See ``cpp/core/cluster_span.hpp``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.effects import FittedEffects
from blocklmm.errors import DataError, InferenceError, ModelSizeError, did_you_mean
from blocklmm.machine import memory_limit, one_blas_thread
from blocklmm.problem import Problem
from blocklmm.statistics import GroupingFactor

FloatArray = npt.NDArray[np.float64]

ALONE = 1e-10  # what leaving a part out may leave of 1, and a coefficient still be known
_AT_ONCE = 1 << 13  # clusters whose sums exist at one time,
_NUMBERS_AT_ONCE = 1 << 23  # or fewer where they are large
_OF_BLAS = 16  # a larger side may have its singular vectors by LAPACK,
_MOST_OF_BLAS = 23_000  # whose work space has 32-bit sizes


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of a fit's rows.

    Attributes
    ----------
    number : int
        Of the grouping factor whose levels they are.
    factor : GroupingFactor
    rows : _core.Statistics
        One pass: cross products of each cluster, with V^-1 (y - X beta) for y.
    recorded, x_columns : list of int
        Columns of the statistics in the clusters' records, y last, and those of X.
    spans : _core.ClusterSpans or None
        None where V is not block diagonal by the clusters.
    N, F : arrays of shape (p, p)
        Of the statistics' columns, and of the user's.
    uses_blas : bool
        Whether a cluster is so large that the BLAS is used.
    """

    number: int
    factor: GroupingFactor
    rows: _core.Statistics
    recorded: list[int]
    x_columns: list[int]
    spans: _core.ClusterSpans | None
    N: FloatArray
    F: FloatArray
    uses_blas: bool

    @property
    def n_clusters(self) -> int:
        """Number of clusters that have rows."""
        return self.factor.n_levels

    def slices(self, width: int) -> Iterator[slice]:
        """Yield clusters in the order of the factor's levels, a number whose sums are not large.

        Parameters
        ----------
        width : int
            Numbers a cluster.
        """
        step = min(_AT_ONCE, 1 + _NUMBERS_AT_ONCE // max(width, 1))
        for first in range(0, self.n_clusters, step):
            yield slice(first, min(first + step, self.n_clusters))

    def sums(
        self,
        of: slice,
        *wanted: str,
        adjustment: _core.Adjustment = _core.Adjustment.none,
        contrasts: FloatArray | None = None,
        z_factor: int | None = None,
        n_threads: int = 1,
    ) -> dict[str, FloatArray]:
        """Return sums of some clusters.

        Parameters
        ----------
        of : slice
        wanted : str
            Names of ``cpp/core/cluster_robust.hpp``.
        adjustment : _core.Adjustment
        contrasts : array of shape (p, c), optional
            In units of X N.
        z_factor : int, optional
            The factor of the sums that are about one.
        n_threads : int
        """
        assert self.spans is not None
        with one_blas_thread() if self.uses_blas else nullcontext():
            return self.spans.sums(
                first=of.start,
                n=of.stop - of.start,
                z_factor=self.number if z_factor is None else z_factor,
                adjustment=adjustment,
                contrasts=np.zeros((len(self.N), 0)) if contrasts is None else contrasts,
                wanted=wanted,
                n_threads=n_threads,
            )

    def row_scores(self) -> FloatArray:
        """Return X_i'(V^-1 e)_i of each cluster as a sum over its rows, in units of X N.

        That needs no block of V.
        """
        places = [self.recorded.index(column) for column in self.x_columns]
        with_u = np.asarray(self.rows.level_column(self.number, self.recorded[-1]))
        return np.asarray(with_u[:, places] @ self.N)


def find_clusters(fit: FittedEffects, name: str | None, n_threads: int = 1) -> Clusters:
    """Choose the clusters and pass over the rows.

    Parameters
    ----------
    fit : FittedEffects
    name : str or None
        A grouping factor of the model; by default that in which all others are nested.
    n_threads : int

    Raises
    ------
    DataError
        If the model has no random terms, no such factor, none in which all others are nested (and
        none was named), or if the fit is without its rows.
    ModelSizeError
        If a cluster has so many random effects that its covariance does not fit into memory.
    """
    problem = fit._problem
    number = _chosen(fit, name)
    if problem.statistics.rows is None:
        raise DataError(
            "this fit is without its rows, and sums by cluster need a pass over the rows"
        )
    design, units = problem.design, problem.units
    inverse_factor = fit._optimum.evaluation.inverse_factor
    columns = [design.x_columns[k] for k in problem.kept]
    response_fit = np.zeros(design.n_columns - 1)
    response_fit[columns] = units.shifted_beta(inverse_factor)
    members = [design.members(f) for f in range(len(design.groups))]
    z_scale = np.asarray(problem.core.z_scale)
    _require_memory(problem, number)
    modes = fit._mode_results("modes", in_core_units=True)
    group_fits = [
        units.y_scale * found["modes"].T / z_scale[own][:, None]
        for own, found in zip(members, modes, strict=True)
    ]
    rows = problem.statistics.by_cluster(number, response_fit, group_fits, n_threads)
    N = inverse_factor[: units.p, : units.p] / units.x_scale[:, None]
    spans, side = None, 0
    if _is_outermost(fit, number):
        spans = _core.ClusterSpans(
            rows=rows,
            pairs=problem.statistics.core,
            cluster=number,
            x_columns=columns,
            z_columns=design.z_columns,
            members=members,
            lambda_=fit._optimum.factor / z_scale[:, None],
            N=N,
        )
        side = spans.largest_side
        if 96.0 * side**2 > memory_limit() or side > _MOST_OF_BLAS:
            raise ModelSizeError(
                f"a cluster of {problem.statistics.factors[number].name!r} has {side} random "
                f"effects: its covariance does not fit into memory, or above {_MOST_OF_BLAS:,} "
                "is more than LAPACK takes"
            )
    return Clusters(
        number,
        problem.statistics.factors[number],
        rows,
        design.record_columns(number),
        columns,
        spans,
        N,
        units.unscaled_covariance_factor(inverse_factor),
        side > _OF_BLAS,
    )


def _require_memory(problem: Problem, number: int) -> None:
    factor, width = problem.statistics.factors[number], len(problem.design.record_columns(number))
    needed = 4.0 * width * (width + 1) * factor.n_levels
    if needed > memory_limit():
        raise ModelSizeError(
            f"cross products of {width} columns for {factor.n_levels} clusters of "
            f"{factor.name!r} need {needed / 1e9:.1f} GB"
        )


def require_blocks(clusters: Clusters, what: str, instead: str) -> None:
    """Raise an InferenceError where V is not block diagonal by the clusters."""
    if clusters.spans is None:
        raise InferenceError(
            f"{what} needs a covariance matrix of the rows that is block diagonal by the "
            f"clusters, and rows of different levels of {clusters.factor.name!r} share random "
            f"effects of another factor: {instead}"
        )


def _chosen(fit: FittedEffects, name: str | None) -> int:
    factors = fit._problem.statistics.factors
    names = [factor.name for factor in factors]
    if not names:
        raise DataError(
            "the model has no random terms, hence no clusters: add a random intercept of the "
            "clusters, (1 | cluster)"
        )
    if name is not None:
        if name not in names:
            raise DataError(
                f"there is no grouping factor {name!r} in the model: clusters are the levels of "
                f"one of {', '.join(map(repr, names))}.{did_you_mean(name, names)}"
            )
        return names.index(name)
    outermost = [k for k in range(len(names)) if _is_outermost(fit, k)]
    if not outermost:
        raise DataError(
            "the grouping factors are crossed, so that none contains all others: name the one "
            f"whose levels are the clusters, {' or '.join(map(repr, names))} (cluster= of robust "
            "errors, group= of influence)"
        )
    return min(outermost, key=lambda k: factors[k].n_levels)


def _is_outermost(fit: FittedEffects, number: int) -> bool:
    """Tell whether each level of the other factors meets one level of this one only."""
    statistics = fit._problem.statistics
    levels = [factor.n_levels for factor in statistics.factors]
    return all(
        count == levels[major if minor == number else minor]
        for major, minor, count in statistics.core.pair_counts()
        if number in (major, minor)
    )
