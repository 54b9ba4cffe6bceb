"""The model refitted without each group, from where it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import _core
from blocklmm.effects import FittedEffects
from blocklmm.errors import ConvergenceError, DataError
from blocklmm.fitted_rows import FittedRows
from blocklmm.inference.clusters.clusters import Clusters, find_clusters
from blocklmm.optimize import FitOptions, minimize
from blocklmm.predict import row_groups
from blocklmm.problem import Problem

from .deletions import Deletions
from .rows import row_parts

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DEPENDENT = (
    1e-11  # what earlier columns leave of a column's squares, sums of which were subtracted
)


def refit_influence(fit: FittedRows, group: str | None = None, n_threads: int = 1) -> pd.DataFrame:
    """Leave out each group in turn and refit all parameters.

    Parameters
    ----------
    fit : FittedRows
    group : str, optional
        The grouping factor; by default that in which all others are nested.
    n_threads : int

    Returns
    -------
    DataFrame
        As ``fit.influence()`` describes it; NaN where the model can't be fitted without the group.

    Raises
    ------
    DataError
        As :func:`find_clusters`.

    Notes
    -----
    With one grouping factor, the group's sums are taken from those of one pass over the rows, in
    which y is what the fit leaves of it; with several, each refit passes over the rows.
    """
    clusters = find_clusters(fit, group, n_threads)
    group_of = row_groups(fit._problem, fit._frame())[fit._used, clusters.number]
    problem_without = _from_rows(fit, group_of)
    if len(fit.ngroups) == 1:
        problem_without = _from_statistics(fit, clusters)
    m, p = clusters.n_clusters, len(fit._beta)
    leverage = np.zeros(m)
    for part in row_parts(fit):
        own = (part.x * part.a).sum(axis=1)
        leverage += np.bincount(group_of[part.of], weights=own, minlength=m)
    cov = np.full((m, p, p), np.nan)
    params, variances = np.full((m, p), np.nan), np.full((m, len(fit.varcorr.labels())), np.nan)
    for level in range(m):
        found = _refitted(fit, problem_without, level, n_threads)
        if found is not None:
            params[level], cov[level] = found._beta, found._cov_beta
            variances[level] = found.varcorr.to_frame()["sdcor"]
    known = np.isfinite(cov).all(axis=(1, 2))
    ratio = np.full(m, np.nan)
    ratio[known] = np.exp(np.linalg.slogdet(cov[known])[1] - np.linalg.slogdet(fit._cov_beta)[1])
    order = clusters.factor.order
    deletions = Deletions(
        n_rows=np.bincount(group_of, minlength=m).astype(np.float64),
        leverage=leverage,
        covratio=ratio,
        params=params,
        bse=np.sqrt(np.diagonal(cov, axis1=1, axis2=2)),
        variances=variances,
    )
    index = pd.Index(clusters.factor.levels[order], name=clusters.factor.name)
    return deletions.ordered(order).to_frame(fit, fit.varcorr.labels(), index)


def _refitted(
    fit: FittedRows, problem_without: Callable[[int], Problem], level: int, n_threads: int
) -> FittedEffects | None:
    try:
        problem = problem_without(level)
        if problem.kept != fit._problem.kept:
            return None
        objective = problem.objective(fit.reml, n_threads)
        optimum = minimize(objective, problem.starts(fit.theta), FitOptions(n_threads=n_threads))
    except (ConvergenceError, DataError):
        return None
    return FittedEffects(problem, optimum, fit.reml) if optimum.converged else None


def _from_statistics(fit: FittedRows, clusters: Clusters) -> Callable[[int], Problem]:
    problem, units = fit._problem, fit._problem.units
    response_fit = np.zeros(problem.design.n_columns - 1)
    response_fit[clusters.x_columns] = units.shifted_beta(fit._optimum.evaluation.inverse_factor)

    def without(level: int) -> Problem:
        core = clusters.rows.without(level, problem.structure.q)
        cross = np.asarray(core.cross_products())[np.ix_(clusters.x_columns, clusters.x_columns)]
        independent = _core.independent_columns(cross, _DEPENDENT)
        if len(independent) < len(cross) or core.n_rows_used <= len(cross):
            raise DataError("without the group the fixed effects can't be estimated")
        return problem.with_statistics(problem.statistics.with_core(core), response_fit)

    return without


def _from_rows(fit: FittedRows, group_of: IntArray) -> Callable[[int], Problem]:
    frame, response = fit._frame(), fit._response()

    def without(level: int) -> Problem:
        values = np.full(frame.n_rows, np.nan)
        values[fit._used] = np.where(group_of == level, np.nan, response)
        return fit._problem.with_response(frame, values)

    return without
