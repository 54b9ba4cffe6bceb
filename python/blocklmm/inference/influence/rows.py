"""Rows one by one: what V^-1 makes of them, and the estimates without each of them.

In rows times sqrt(w) and relative to sigma^2, V = I + Z T Z' and V^-1 = I - Z Q Z', with Q the
covariance of the random effects given y. Of row j, with N N' = (X'V^-1X)^-1,

    u_j = (V^-1 (y - X beta^))_j = y_j - x_j'beta^ - z_j'b
    v_j = (V^-1)_jj = 1 - z_j'Q z_j
    a_j = column j of N'X'V^-1 = N'(x_j - X'V^-1Z T z_j)
    P = V^-1 - V^-1X N N'X'V^-1,  P_jj = v_j - a_j'a_j,  u = P y,  Var(u) = sigma^2 P

Leaving row j out is giving it a coefficient of its own (Martin 1992; Haslett 1999):

    d_j = u_j / P_jj,   N^-1 (beta^ - beta^_(j)) = a_j d_j,   r^2_(j) = r^2 - u_j d_j
    X'V^-1X without it, in units of N:  I - a_j a_j' / v_j
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import _core
from blocklmm.fitted_rows import FittedRows
from blocklmm.inference.clusters.clusters import ALONE
from blocklmm.machine import one_blas_thread
from blocklmm.objective import blas_limit
from blocklmm.predict import IntArray, joint_errors, row_groups

from .deletions import Deletions

FloatArray = npt.NDArray[np.float64]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class RowParts:
    """Some of the rows used, m of them, in order.

    Attributes
    ----------
    of : slice
        Among the rows used.
    x, a : arrays of shape (m, p)
        N'x_j and a_j, of rows times sqrt(w).
    v, P, V : arrays of shape (m,)
        Diagonals of V^-1, P and V.
    """

    of: slice
    x: FloatArray
    a: FloatArray
    v: FloatArray
    P: FloatArray
    V: FloatArray


def row_parts(fit: FittedRows) -> Iterator[RowParts]:
    """Yield the rows used, chunk by chunk.

    Parameters
    ----------
    fit : FittedRows
    """
    problem, frame, optimum = fit._problem, fit._frame(), fit._optimum
    design, units, p = problem.design, problem.units, len(fit._beta)
    members = [design.members(f) for f in range(len(design.groups))]
    known = fit._mode_results("conditional", "cross", in_core_units=True)
    T = optimum.factor @ optimum.factor.T
    to_x = units.unscaled_covariance_factor(optimum.evaluation.inverse_factor)
    used, weights = fit._used, fit._row_weights(frame, is_training=True)
    groups = row_groups(problem, frame) if members else np.zeros((frame.n_rows, 0), dtype=np.int64)

    def between(f: int, g: int, i: IntArray, j: IntArray) -> FloatArray:
        assert isinstance(problem.core, _core.SparseObjective)
        with blas_limit(problem.core):
            return problem.core.covariances(lambda_=optimum.factor, f=f, g=g, i=i, j=j, n_threads=1)

    pairs = joint_errors(np.where(used[:, None], groups, -1), between)
    recipes = [design.x_recipes[k] for k in problem.kept] + design.z_recipes
    done = 0
    for start in range(0, frame.n_rows, _CHUNK):
        rows = np.flatnonzero(used[start : start + _CHUNK]) + start
        stop = min(start + _CHUNK, frame.n_rows)
        values = design.matrix(frame, recipes, start, stop)[rows - start]
        values *= np.sqrt(weights[rows])[:, None]
        with one_blas_thread():
            x, z = values[:, :p] @ to_x, values[:, p:] @ units.z_basis
        a, v, V = x.copy(), np.ones(len(rows)), np.ones(len(rows))
        for f, own in enumerate(members):
            level, z_f = groups[rows, f], z[:, own]
            a -= np.einsum("nq,nqp->np", z_f, known[f]["cross"][level])
            v -= np.einsum("na,nab,nb->n", z_f, known[f]["conditional"][level], z_f)
            V += np.einsum("na,ab,nb->n", z_f, T[np.ix_(own, own)], z_f, optimize=True)
        for f, g, of_row, blocks in pairs:
            z_f, z_g = z[:, members[f]], z[:, members[g]]
            v -= 2 * np.einsum("na,nab,nb->n", z_f, blocks[of_row[rows]], z_g)
        of = slice(done, done + len(rows))
        done += len(rows)
        yield RowParts(of, x, a, v, v - (a**2).sum(axis=1), V)


def row_influence(fit: FittedRows) -> pd.DataFrame:
    """Leave out each row in turn, at the fitted theta.

    Parameters
    ----------
    fit : FittedRows

    Returns
    -------
    DataFrame
        As ``fit.influence()`` describes it.

    Raises
    ------
    DataError
        If the fit is without its rows.
    """
    index = fit._frame().index[fit._used]
    u = fit.pearson_resid
    found = Deletions.joined(_without(fit, part, u[part.of]) for part in row_parts(fit))
    return found.to_frame(fit, ["sigma"], index)


def _without(fit: FittedRows, part: RowParts, u: FloatArray) -> Deletions:
    p = len(fit._beta)
    F = fit._problem.units.unscaled_covariance_factor(fit._optimum.evaluation.inverse_factor)
    nu = fit.nobs - p if fit.reml else fit.nobs
    P = np.where((ALONE * part.v < part.P) & (nu > 1), part.P, np.nan)
    d = u / P
    r2 = nu * fit.sigma**2 - u * d
    sigma2 = np.where(r2 > 0, r2, np.nan) / max(nu - 1, 1)
    moved = part.a @ F.T
    return Deletions(
        n_rows=np.ones(len(u)),
        leverage=(part.x * part.a).sum(axis=1),
        covratio=(sigma2 / fit.sigma**2) ** p * part.v / P,
        params=fit._beta - d[:, None] * moved,
        bse=np.sqrt(sigma2[:, None] * ((F**2).sum(axis=1) + moved**2 / P[:, None])),
        variances=np.sqrt(sigma2)[:, None],
    )
