"""What the columns of X span, from their cross products: a stand-in for X without its rows.

With X_K the kept columns of X and X_K'X_K = B'B, the p x p matrix B is X_K turned into other
coordinates: a QR decomposition of B, a projection on its columns or a generalised inverse gives
what the same of X_K would. B is found on columns about their shift, so that a covariate far from
zero costs no digits; the rows count alike whatever their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm.problem import Problem

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-10  # of the largest contribution to a column
_NOT_IN_SPAN = 1e-7


@dataclass(frozen=True, slots=True)
class Span:
    """The span of X in the coordinates of its kept columns X_K.

    Attributes
    ----------
    kept : array of shape (p,)
        Which columns of X are in the model.
    expressed : array of shape (p, columns of X)
        X = X_K expressed.
    constant : array of shape (p,)
        X_K constant is the column of ones, or its projection where X does not span it.
    B : array of shape (p, p)
        B'B = X_K'X_K.
    """

    kept: npt.NDArray[np.intp]
    expressed: FloatArray
    constant: FloatArray
    B: FloatArray

    @property
    def norms(self) -> FloatArray:
        """Lengths of the kept columns, shape (p,)."""
        return np.asarray(np.linalg.norm(self.B, axis=0))

    def without_rounding(self, columns: FloatArray) -> FloatArray:
        """Return columns X_K a_j less the entries of A that are but rounding.

        Parameters
        ----------
        columns : array of shape (p, m)
            A. An entry a_ij counts as the length of a_ij x_i, against the longest in A.
        """
        sizes = np.abs(columns) * self.norms[:, None]
        return np.where(sizes > _ROUNDING * sizes.max(initial=0.0), columns, 0.0)

    def is_estimable(self, rows: FloatArray) -> npt.NDArray[np.bool_]:
        """Tell which functions of all coefficients, the dropped ones too, the data determine.

        Parameters
        ----------
        rows : array of shape (m, columns of X)

        Returns
        -------
        array of shape (m,)
            Whether a row is a combination of the rows of X (Searle 1971, sec. 5.4). Those have
            x = x_K expressed.
        """
        dropped = np.setdiff1d(np.arange(rows.shape[1]), self.kept)
        in_kept, expressed = rows[:, self.kept], self.expressed[:, dropped]
        left = np.abs(rows[:, dropped] - in_kept @ expressed)
        sizes = np.abs(rows[:, dropped]) + np.abs(in_kept) @ np.abs(expressed)
        return np.asarray((left <= _NOT_IN_SPAN * sizes).all(axis=1))


def span_of(problem: Problem) -> Span:
    """Return the span of a problem's X."""
    design, core, units = problem.design, problem.statistics.totals, problem.units
    kept = np.asarray(problem.kept, dtype=np.intp)
    columns = np.asarray(design.x_columns, dtype=np.intp)[kept]
    cross = np.asarray(core.plain_cross_products())[np.ix_(columns, columns)]
    scale = np.sqrt(np.diag(cross))
    shifted = np.linalg.cholesky(cross / np.outer(scale, scale)).T * scale
    B = np.linalg.solve(units.unshift.T, shifted.T).T
    if design.ones is not None:
        constant = units.expressed @ design.ones
    else:
        # no column is about a shift then, save one partner of another
        sums = np.asarray(core.sums)[columns]
        half = np.linalg.solve(shifted.T, sums)
        constant = units.unshift @ np.linalg.solve(shifted, half)
    sizes = np.abs(units.expressed) * np.linalg.norm(B, axis=0)[:, None]
    is_more = sizes > _ROUNDING * sizes.max(axis=0, initial=0.0)
    return Span(kept, np.where(is_more, units.expressed, 0.0), constant, B)
