"""Predictions for rows: X beta + Z b, their variances, and the rows' groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import reading
from .errors import DataError, labels_phrase, rows_phrase
from .frames import Categories, Frame
from .growing_labels import GrowingLabels, MixedLabelsError
from .labels import group_labels
from .problem import Problem
from .statistics import GroupingFactor

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Between = Callable[[int, int, IntArray, IntArray], FloatArray]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a fit predicts with, in the user's units.

    Attributes
    ----------
    beta : array of shape (p,)
    modes : list of arrays of shape (levels, q)
        By grouping factor.
    errors : Errors or None
        What the variances of predictions need.
    """

    beta: FloatArray
    modes: list[FloatArray]
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
        Covariance of the random effects, those of all factors side by side.
    modes : list of arrays of shape (levels, q, q)
        By grouping factor, covariance of the modes' errors b^ - b, the uncertainty of beta
        included.
    modes_beta : list of arrays of shape (levels, q, p)
        Covariance of the modes' errors with beta^.
    between : callable
        ``between(f, g, i, j)``: covariances of the errors of levels i of factor f with those of
        levels j of factor g, shape (pairs, q_f, q_g).
    """

    x_basis: FloatArray
    z_basis: FloatArray
    beta: FloatArray
    effects: FloatArray
    modes: list[FloatArray]
    modes_beta: list[FloatArray]
    between: Between


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
    """Return the fitted level of each row in each grouping factor, shape (n, factors).

    A level that was not fitted is -1, a missing one -2.
    """
    out = np.empty((frame.n_rows, len(problem.statistics.factors)), dtype=np.int64)
    for f, factor in enumerate(problem.statistics.factors):
        out[:, f] = _levels_of_rows(factor, frame)
    return out


def _levels_of_rows(factor: GroupingFactor, frame: Frame) -> IntArray:
    labels = group_labels(frame, factor.group)
    found = labels.names.keys(np.arange(labels.n_slots))
    known, found = _text_if_mixed(factor.keys, found)
    place = np.append(known.get_indexer(found), -2)
    slots = np.asarray(labels.codes, dtype=np.int64) - labels.base
    return np.asarray(place[np.where(slots < 0, len(place) - 1, slots)])


class FittedLevels:
    """Looks up the fitted levels of rows that come in chunks.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self._factors = problem.statistics.factors
        self._tables = [GrowingLabels(factor.group) for factor in self._factors]
        for table, factor in zip(self._tables, self._factors, strict=True):
            table.add(factor.names.parts(factor.slots))

    def of(self, frame: Frame) -> IntArray:
        """Return the fitted levels of a chunk's rows, as :func:`row_groups`."""
        out = np.empty((frame.n_rows, len(self._factors)), dtype=np.int64)
        for f, (table, factor) in enumerate(zip(self._tables, self._factors, strict=True)):
            try:
                slots, _ = table.of(frame)
            except MixedLabelsError:  # numbers as text, for instance, which the table can't look up
                out[:, f] = _levels_of_rows(factor, frame)
                continue
            out[:, f] = np.where(slots < 0, -2, np.where(slots < factor.n_levels, slots, -1))
        return out


def _text_if_mixed(a: pd.Index, b: pd.Index) -> tuple[pd.Index, pd.Index]:
    """Compare labels as they are; where one side is text and the other is not, as text."""
    if _is_number(a) != _is_number(b):
        return a.astype(str), b.astype(str)
    return a, b


def _is_number(labels: pd.Index[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(labels.dtype)


def require_groups(problem: Problem, frame: Frame) -> None:
    """Raise a DataError if a grouping column is not in a frame of new rows."""
    for group in problem.design.groups:
        for name in group:
            if name not in frame:
                raise DataError(
                    f"there is no column {name!r} in the data, which says whose random effects a "
                    f"row has: random='population' predicts without them.{frame.hint(name)}"
                )


def require_known(
    problem: Problem, frame: Frame, groups: IntArray, *, may_be_new: bool = False
) -> None:
    """Raise a DataError that names the levels the model was not fitted with.

    Where levels may be new, only for numbers that are text in the fit, or text that is numbers
    there, and written otherwise: 1 may be the '01' of the fit.
    """
    for f, factor in enumerate(problem.statistics.factors):
        unseen = np.flatnonzero(groups[:, f] == -1)
        if len(unseen) == 0:
            continue
        mixed = [
            k
            for k, part in enumerate(factor.names.parts(factor.slots[:1]))
            if _is_number(part) != _holds_numbers(frame, factor.group[k])
        ]
        if may_be_new and not mixed:
            continue
        labels = group_labels(frame, factor.group)
        slots = np.unique(np.asarray(labels.codes[unseen], dtype=np.int64) - labels.base)
        instead = _written_otherwise(factor, labels.names.parts(slots), mixed)
        if not instead and may_be_new:
            continue
        if not instead:
            known = labels_phrase(factor.names.of_slots(factor.slots[factor.order[:4]]), most=3)
            instead = (
                f"it was fitted with {known}; new_levels='population' predicts for others with "
                "random effects of zero"
            )
        first = (unseen[:5] + frame.first_row).tolist()
        raise DataError(
            f"{factor.name!r} has levels that the model was not fitted with: "
            f"{labels_phrase(labels.names.of_slots(slots[:6]))} in "
            f"{rows_phrase(len(unseen), first)}; {instead}"
        )


def _holds_numbers(frame: Frame, name: str) -> bool:
    column = frame.grouping_column(name)
    return not isinstance(column, Categories) or _is_number(column.levels)


def _written_otherwise(factor: GroupingFactor, found: list[pd.Index[Any]], mixed: list[int]) -> str:
    """Say of which column the labels are numbers of the fit's texts, or texts of its numbers."""
    for k in mixed:
        name, known = factor.group[k], factor.names.parts(factor.slots)[k]
        unknown = found[k].astype(str)
        unknown = unknown[~unknown.isin(known.astype(str))]
        numbers = pd.to_numeric(unknown.to_series(), errors="coerce").dropna()
        if numbers.isin(pd.to_numeric(known.to_series(), errors="coerce")).any():
            kinds = ("numbers", "text") if _is_number(known) else ("text", "numbers")
            return (
                f"{name!r} was {kinds[0]} in the fit, such as {labels_phrase(known[:2])}, and is "
                f"{kinds[1]} here: give {kinds[0]}"
            )
    return ""


def used_rows(problem: Problem, frame: Frame) -> npt.NDArray[np.bool_]:
    """Return which rows of a frame of the training data miss nothing that the model needs."""
    coded = [group_labels(frame, group).of(frame) for group in problem.design.groups]
    return reading.used_rows(problem.design, frame, coded)


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
    groups : array of shape (n, factors) or None
        As from ``row_groups``; None leaves the random effects out, as for the population.

    With ``estimates.errors`` also the variance of each prediction's error: x'Var(beta)x, and for
    each grouping factor with a fitted level z'Var(b^ - b)z + 2 x'Cov(beta^, b^ - b)z, with another
    its whole z'Sigma z; and for two factors with fitted levels twice the covariance of their
    errors.

    Returns
    -------
    RowPredictions
    """
    design, errors = problem.design, estimates.errors
    members = [design.members(f) for f in range(len(design.groups))] if groups is not None else []
    x_recipes = [design.x_recipes[k] for k in problem.kept]
    z_recipes = design.z_recipes if groups is not None else []
    p, q = len(x_recipes), len(z_recipes)
    recipes = x_recipes + z_recipes + design.offsets
    n = frame.n_rows
    mean, fixed = np.empty(n), np.empty(n)
    variance = None if errors is None else np.empty(n)
    pairs = joint_errors(groups, errors.between) if errors and groups is not None else []
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        values = design.matrix(frame, recipes, rows.start, rows.stop)
        X, Z = values[:, :p], values[:, p : p + q]
        fixed[rows] = X @ estimates.beta
        mean[rows] = fixed[rows] + values[:, p + q :].sum(axis=1)
        for f, own in enumerate(members):
            level = groups[rows, f] if groups is not None else np.zeros(0)
            b = np.where((level >= 0)[:, None], estimates.modes[f][level.clip(0)], 0.0)
            mean[rows] += np.einsum("nq,nq->n", Z[:, own], b)
            mean[rows] = np.where(level == -2, np.nan, mean[rows])
        if variance is not None and errors is not None:
            x = X @ errors.x_basis
            variance[rows] = np.einsum("ni,ij,nj->n", x, errors.beta, x, optimize=True)
            if groups is not None and q:
                z = Z @ errors.z_basis
                variance[rows] += _random_variances(errors, x, z, groups[rows], members)
                for f, g, of_row, blocks in pairs:
                    both = of_row[rows] >= 0
                    z_f, z_g = z[both][:, members[f]], z[both][:, members[g]]
                    added = np.einsum("ni,nij,nj->n", z_f, blocks[of_row[rows][both]], z_g)
                    variance[np.flatnonzero(both) + start] += 2 * added
    return RowPredictions(mean, fixed, variance)


def joint_errors(groups: IntArray, between: Between) -> list[tuple[int, int, IntArray, FloatArray]]:
    """Return for each two factors which pair of fitted levels a row has, and their covariances.

    Parameters
    ----------
    groups : array of shape (n, factors)
        As from :func:`row_groups`.
    between : callable
        As of :class:`Errors`.

    Returns
    -------
    list of (int, int, array of shape (n,), array of shape (pairs, q_f, q_g))
        The factors, the pair's number by row or -1, and the covariances by pair.
    """
    out = []
    for f, g in combinations(range(groups.shape[1]), 2):
        i, j = groups[:, f], groups[:, g]
        both = (i >= 0) & (j >= 0)
        if not both.any():
            continue
        width = int(j.max()) + 1
        codes, found = pd.factorize(i[both] * width + j[both])
        of_row = np.full(len(groups), -1, dtype=np.int64)
        of_row[both] = codes
        out.append((f, g, of_row, between(f, g, found // width, found % width)))
    return out


def _random_variances(
    errors: Errors, x: FloatArray, z: FloatArray, groups: IntArray, members: list[list[int]]
) -> FloatArray:
    total = np.zeros(len(z))
    for f, own in enumerate(members):
        z_f, level = z[:, own], groups[:, f]
        effects = errors.effects[np.ix_(own, own)]
        added = np.einsum("ni,ij,nj->n", z_f, effects, z_f, optimize=True)
        known = level >= 0
        i, z_f = level[known], z_f[known]
        added[known] = np.einsum("ni,nij,nj->n", z_f, errors.modes[f][i], z_f)
        added[known] += 2 * np.einsum("ni,nij,nj->n", z_f, errors.modes_beta[f][i], x[known])
        total += added
    return total
