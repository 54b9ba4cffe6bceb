"""Between-within degrees of freedom of designed experiments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.errors import DataError, InferenceError, warn
from blocklmm.predict import row_groups, used_rows
from blocklmm.problem import Problem

FloatArray = npt.NDArray[np.float64]


def between_within_df(problem: Problem) -> FloatArray:
    """Return for each fixed effect the degrees of freedom of the level at which it varies.

    Parameters
    ----------
    problem : Problem
        With its data: it takes a pass over the rows to see which columns vary within groups.

    Returns
    -------
    array of shape (p,)
        NaN, with a warning, where none are left.

    Raises
    ------
    InferenceError
        If the grouping factors are crossed: the residual degrees of freedom have no levels then.
    DataError
        If the data are gone.

    Notes
    -----
    With factors nested in one another of m_1 < m_2 < ... levels, n rows, and p_l columns that
    vary within the levels of factor l - 1 but not within those of factor l, the df at level l are
    m_l - m_(l-1) - p_l, m_0 = 1 for the intercept (Pinheiro & Bates 2000, sec. 2.4.2; Schluchter &
    Elashoff 1990). With one factor these are the between- and within-subject df of SAS. The
    intercept belongs to the first level.
    """
    frame, design = problem.frame, problem.design
    if frame is None:
        raise DataError("between-within degrees of freedom need the data: fit again with them")
    factors = problem.statistics.factors
    order = np.argsort([factor.n_levels for factor in factors], kind="stable")
    used = used_rows(problem, frame)
    groups = row_groups(problem, frame)[used][:, order]
    names = [factors[k].name for k in order]
    for level in range(1, len(order)):
        if _varies(groups[:, level - 1].astype(float), groups[:, level]):
            raise InferenceError(
                f"the grouping factors {names[level - 1]!r} and {names[level]!r} are crossed: "
                "between-within degrees of freedom are defined for nested factors; choose "
                "ddf='satterthwaite' or 'kenward-roger'"
            )
    n = problem.units.n
    counts = [factors[k].n_levels for k in order] + [n]
    level_of = np.zeros(len(problem.kept), dtype=np.intp)
    for k, column in enumerate(problem.kept):
        values = design.matrix(frame, [design.x_recipes[column]])[used, 0]
        varying = [f for f in range(len(order)) if _varies(values, groups[:, f])]
        level_of[k] = max(varying) + 1 if varying else 0
    n_own = np.bincount(level_of, minlength=len(counts))
    if design.ones is not None:  # a column, or a sum of a category's indicators
        of_constant = design.ones[np.asarray(problem.kept, dtype=np.intp)] != 0
        n_own[level_of[of_constant].max(initial=0)] -= 1
    df = np.diff([0 if design.ones is None else 1, *counts]) - n_own
    out = df.astype(float)[level_of]
    if (out <= 0).any():
        spent = [design.x_names[problem.kept[k]] for k in np.flatnonzero(out <= 0)]
        warn(
            f"no between-within degrees of freedom are left for {', '.join(spent)}: as many "
            "columns as groups"
        )
    return np.where(out > 0, out, np.nan)


def _varies(values: FloatArray, groups: npt.NDArray[np.int64]) -> bool:
    """Tell whether values differ within a group."""
    first = np.empty(groups.max(initial=0) + 1)
    first[groups[::-1]] = values[::-1]
    return bool((first[groups] != values).any())
