"""Predictions for rows: X beta + Z b, their variances, and the rows' groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import DataError, labels_phrase, rows_phrase
from .frames import Frame
from .problem import Problem
from .statistics import group_labels

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a fit predicts with, in the user's units.

    Attributes
    ----------
    beta : array of shape (p,)
    modes : array of shape (groups, q)
    errors : Errors or None
        What the variances of predictions need.
    """

    beta: FloatArray
    modes: FloatArray
    errors: Errors | None


@dataclass(frozen=True, slots=True)
class Errors:
    """Covariances of what a fit predicts with, on columns about their shift and of unit scale.

    On the user's columns, a covariate far from zero would make them cancel.

    Attributes
    ----------
    x_basis : array of shape (p, p)
        Takes rows of X to those columns.
    z_basis : array of shape (q, q)
        The same for Z.
    beta : array of shape (p, p)
        Covariance of the fixed effects.
    effects : array of shape (q, q)
        Covariance of the random effects.
    modes : array of shape (groups, q, q)
        Covariance of the modes' errors b^ - b, the uncertainty of beta included.
    modes_beta : array of shape (groups, q, p)
        Covariance of the modes' errors with beta^.
    """

    x_basis: FloatArray
    z_basis: FloatArray
    beta: FloatArray
    effects: FloatArray
    modes: FloatArray
    modes_beta: FloatArray


@dataclass(frozen=True, slots=True)
class RowPredictions:
    """Predictions for all rows of a frame; NaN where a row misses a value.

    Attributes
    ----------
    mean : array of shape (n,)
        With the offset.
    fixed : array of shape (n,)
        X beta alone.
    variance : array of shape (n,) or None
        Variance of the mean's error.
    """

    mean: FloatArray
    fixed: FloatArray
    variance: FloatArray | None


def row_groups(problem: Problem, frame: Frame) -> IntArray:
    """Return the fitted group of each row: -1 for a level not fitted, -2 for a missing one."""
    if problem.group is None:
        return np.full(frame.n_rows, -1, dtype=np.int64)
    labels = group_labels(frame, problem.group)
    known = _text_if_mixed(problem.statistics.levels, labels.of_slots(np.arange(labels.n_slots)))
    place = np.append(known[0].get_indexer(known[1]), -2)
    slots = np.asarray(labels.codes, dtype=np.int64) - labels.base
    return np.asarray(place[np.where(slots < 0, len(place) - 1, slots)], dtype=np.int64)


def _text_if_mixed(a: pd.Index, b: pd.Index) -> tuple[pd.Index, pd.Index]:
    """Compare labels as they are; where one side is text and the other is not, as text."""
    if pd.api.types.is_numeric_dtype(a.dtype) != pd.api.types.is_numeric_dtype(b.dtype):
        return a.astype(str), b.astype(str)
    return a, b


def require_known(problem: Problem, frame: Frame, groups: IntArray) -> None:
    """Raise a DataError that names the levels the model was not fitted with."""
    unseen = np.flatnonzero(groups == -1)
    if len(unseen) == 0 or problem.group is None:
        return
    labels = group_labels(frame, problem.group)
    slots = np.asarray(labels.codes[unseen], dtype=np.int64) - labels.base
    found = labels.of_slots(np.unique(slots))
    raise DataError(
        f"{problem.statistics.group_name!r} has levels that the model was not fitted with: "
        f"{labels_phrase(found)} in "
        f"{rows_phrase(len(unseen), unseen[:5].tolist())}; new_levels='population' predicts for "
        "them by the fixed effects"
    )


def used_rows(problem: Problem, frame: Frame) -> npt.NDArray[np.bool_]:
    """Return which rows of the training data miss nothing that the model needs."""
    recipes = [recipe for recipe, _ in problem.design.columns]
    recipes += [problem.design.weight] if problem.design.weight >= 0 else []
    out = np.empty(frame.n_rows, dtype=bool)
    for start in range(0, frame.n_rows, _CHUNK):
        stop = min(start + _CHUNK, frame.n_rows)
        values = problem.design.matrix(frame, recipes, start, stop)
        out[start:stop] = np.isfinite(values).all(axis=1)
    if problem.group is not None:
        out &= row_groups(problem, frame) >= 0
    return out


def predict_rows(
    problem: Problem,
    frame: Frame,
    estimates: Estimates,
    groups: IntArray | None,
) -> RowPredictions:
    """Predict all rows of a frame, chunk by chunk.

    Parameters
    ----------
    problem : Problem
    frame : Frame
    estimates : Estimates
    groups : array of shape (n,) or None
        As from ``row_groups``; None leaves the random effects out, as for the population.

    With ``estimates.errors`` also the variance of each prediction's error: x'Var(beta)x, and with
    a fitted group z'Var(b^ - b)z + 2 x'Cov(beta^, b^ - b)z, with another its whole z'Sigma z.

    Returns
    -------
    RowPredictions
    """
    design, errors = problem.design, estimates.errors
    x_recipes = [design.x_recipes[k] for k in problem.kept]
    z_recipes = [recipe for recipe, _ in design.columns[: design.n_random]]
    p, q = len(x_recipes), design.n_random if groups is not None else 0
    recipes = x_recipes + (z_recipes if groups is not None else []) + design.offsets
    n = frame.n_rows
    mean, fixed = np.empty(n), np.empty(n)
    variance = None if errors is None else np.empty(n)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        values = design.matrix(frame, recipes, rows.start, rows.stop)
        X, Z = values[:, :p], values[:, p : p + q]
        fixed[rows] = X @ estimates.beta
        mean[rows] = fixed[rows] + values[:, p + q :].sum(axis=1)
        of_row = np.full(len(values), -1) if groups is None else groups[rows]
        known = of_row >= 0
        if q:
            b = np.where(known[:, None], estimates.modes[of_row.clip(0)], 0.0)
            mean[rows] += np.einsum("nq,nq->n", Z, b)
            mean[rows] = np.where(of_row == -2, np.nan, mean[rows])
        if variance is not None and errors is not None:
            variance[rows] = _variances(errors, X, Z, of_row)
    return RowPredictions(mean, fixed, variance)


def _variances(errors: Errors, X: FloatArray, Z: FloatArray, of_row: IntArray) -> FloatArray:
    x = X @ errors.x_basis
    variance = np.einsum("ni,ij,nj->n", x, errors.beta, x, optimize=True)
    if Z.shape[1]:
        z = Z @ errors.z_basis
        added = np.einsum("ni,ij,nj->n", z, errors.effects, z, optimize=True)
        known = of_row >= 0
        i, z, x = of_row[known], z[known], x[known]
        added[known] = np.einsum("ni,nij,nj->n", z, errors.modes[i], z)
        added[known] += 2 * np.einsum("ni,nij,nj->n", z, errors.modes_beta[i], x)
        variance = variance + added
    return np.asarray(variance)
