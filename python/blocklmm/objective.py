"""The profiled criterion, and the way between the core's units and the user's.

The core works on columns about a shift and with root mean square one. With B and B_x the changes
of basis, Z~ = Z B and X~ = X B_x, a T~ of the core is T = B T~ B' of the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .design import Design
from .machine import one_blas_thread
from .statistics import Core, RowStatistics

FloatArray = npt.NDArray[np.float64]


class Structure:
    """Where the entries of theta stand in lambda (q x q): one diagonal block a term.

    Parameters
    ----------
    blocks : tuple of int
        Number of random effects of each term.

    Attributes
    ----------
    q : int
        Number of random effects of a group.
    slices : tuple of slice
        The rows of lambda of each term.
    block_entries : list of (int, int)
        Row and column of all entries of the blocks, column by column.
    entries : list of (int, int)
        Those of theta: column-major lower triangles.
    """

    def __init__(self, blocks: tuple[int, ...]) -> None:
        self.blocks, self.q = blocks, sum(blocks)
        starts = [sum(blocks[:k]) for k in range(len(blocks))]
        self.slices = tuple(slice(s, s + b) for s, b in zip(starts, blocks, strict=True))
        self.block_entries = [
            (i, j)
            for s in self.slices
            for j in range(s.start, s.stop)
            for i in range(s.start, s.stop)
        ]
        self.entries = [(i, j) for i, j in self.block_entries if i >= j]

    def matrix(self, theta: FloatArray) -> FloatArray:
        """Return lambda for a theta."""
        out = np.zeros((self.q, self.q))
        for value, (i, j) in zip(theta, self.entries, strict=True):
            out[i, j] = value
        return out

    def theta(self, matrix: FloatArray) -> FloatArray:
        """Return theta for a lambda."""
        return np.array([matrix[i, j] for i, j in self.entries])

    def is_singular(self, factor: FloatArray) -> bool:
        """Tell whether a variance is zero or a correlation one.

        Parameters
        ----------
        factor : array of shape (q, q)
            Of T, in units in which the columns of Z have root mean square one.
        """
        return bool(self.are_singular(factor))

    def are_singular(self, factors: FloatArray) -> npt.NDArray[np.bool_]:
        """Tell the same of many factors, shape (..., q, q)."""
        out = np.zeros(factors.shape[:-2], dtype=bool)
        for s in self.slices:
            sizes = np.linalg.svd(factors[..., s, s], compute_uv=False)
            largest, smallest = np.maximum(sizes[..., 0], 1e-300), sizes[..., -1]
            out |= (smallest <= 1e-4 * largest) | (smallest <= 1e-5)
        return out

    def canonical(self, factor: FloatArray) -> FloatArray:
        """Return the canonical lambda of a block diagonal factor: one for each T."""
        return _core.canonical_factor(blocks=self.blocks, factor=factor)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The criterion at one factor F of T = F F', in the core's units.

    See ``cpp/core/block_objective.hpp`` and ``sparse_objective.hpp``; gradient and Hessian are
    those in all entries of F's blocks (``Structure.block_entries``).
    """

    value: float
    gradient: FloatArray
    hessian: FloatArray
    gamma: FloatArray
    inverse_factor: FloatArray

    @classmethod
    def of(cls, found: _core.Evaluation, constant: float = 0.0) -> Evaluation:
        """Take over an evaluation of the core, with what its value lacks."""
        return cls(
            found.value + constant,
            found.gradient,
            found.hessian,
            found.gamma,
            found.inverse_factor,
        )


def blas_limit(core: Core) -> AbstractContextManager[None]:
    """Return what keeps the BLAS to one thread, if a core has a dense part for it."""
    if isinstance(core, _core.SparseObjective) and core.plan["n_dense"]:
        return one_blas_thread()
    return nullcontext()


class Objective:
    """The REML criterion, or minus twice the log-likelihood, as a function of a factor of T.

    Parameters
    ----------
    core : Core
    units : Units
    reml : bool
    n_threads : int
    """

    def __init__(self, core: Core, units: Units, reml: bool, n_threads: int) -> None:
        self._core, self._criterion, self._n_threads = core, reml, n_threads
        self.structure = units.structure
        self.n, self.nu = units.n, units.n - units.p if reml else units.n
        self._constant = 2 * self.nu * float(np.log(units.y_scale)) - units.log_weights
        if reml:
            self._constant += 2 * float(np.log(units.x_scale).sum()) + units.log_det

    def __call__(
        self, factor: FloatArray, derivatives: bool = True, exact_hessian: bool = False
    ) -> Evaluation:
        """Evaluate at T = F F' for a block diagonal F (q x q) in the core's units.

        The value is infinite, and nothing else is there, where the residual variance is zero to
        rounding. With one factor the Hessian is exact, with several it is the average information
        if no exact one is asked for.
        """
        try:
            with blas_limit(self._core):
                found = self._core.evaluate(
                    lambda_=factor,
                    criterion=self._criterion,
                    derivatives=derivatives,
                    n_threads=self._n_threads,
                    **self._kind_of_hessian(exact_hessian),
                )
        except _core.NotPositiveDefinite:
            nothing = np.zeros(0)
            return Evaluation(np.inf, nothing, nothing, nothing, nothing)
        return Evaluation.of(found, self._constant)

    def _kind_of_hessian(self, exact: bool) -> dict[str, Any]:
        if not isinstance(self._core, _core.SparseObjective):
            return {}
        kinds = _core.ExactHessian
        return {"exact_hessian": kinds.always if exact else kinds.never}

    def at_sigma(
        self, factor: FloatArray, sigma: float, exact_hessian: bool = False
    ) -> tuple[float, float, _core.Evaluation] | None:
        """Evaluate where sigma is held fixed too, in the core's units.

        Returns
        -------
        (value, rho, evaluation), or None
            rho = r^2 / sigma^2; the evaluation's derivatives are in the entries of the blocks.
            None where rounding leaves no residual.
        """
        try:
            with blas_limit(self._core):
                found = self._core.evaluate(
                    lambda_=factor,
                    criterion=_core.Criterion(self._criterion, sigma=sigma),
                    derivatives=True,
                    n_threads=self._n_threads,
                    **self._kind_of_hessian(exact_hessian),
                )
        except _core.NotPositiveDefinite:
            return None
        r = 1 / found.inverse_factor[-1, -1]
        return found.value + self._constant, float(r / sigma) ** 2, found

    def minimum(
        self,
        *,
        always: Sequence[FloatArray],
        if_flat: Sequence[FloatArray],
        max_evaluations: int,
        tolerance: float,
        criterion: _core.Criterion | None = None,
        with_samples: bool = False,
    ) -> _core.Optimum:
        """Return what the core finds from these factors; see ``cpp/core/optimizer.hpp``.

        Another criterion is this one with something held fixed, in the core's units. With samples
        the first descent starts from where a part of very many groups leads.
        """
        with blas_limit(self._core):
            return _core.minimize(
                self._core,
                blocks=self.structure.blocks,
                always=always,
                if_flat=if_flat,
                criterion=self._criterion if criterion is None else criterion,
                constant=self._constant,
                n_threads=self._n_threads,
                max_evaluations=max_evaluations,
                tolerance=tolerance,
                with_samples=with_samples,
            )


class Units:
    """Changes of basis between the core's columns and the user's.

    Parameters
    ----------
    design : Design
    statistics : RowStatistics
    core : Core
    kept : sequence of int
        The columns of X that are in the model.
    cross : array of shape (columns, columns)
        Cross products of the statistics' columns.
    response_fit : array of shape (columns before y,)
        What the second pass took from the response, on shifted columns.

    Attributes
    ----------
    unshift : array of shape (p, p)
        Takes coefficients of shifted columns to those of X_K.
    constant : array of shape (p,)
        Coefficients that make the shift of y of X_K.
    expressed : array of shape (p, columns of X)
        X = X_K expressed, with X_K the kept columns: the identity, and how dropped columns depend
        on them.
    """

    def __init__(
        self,
        design: Design,
        statistics: RowStatistics,
        core: Core,
        kept: Sequence[int],
        cross: FloatArray,
        response_fit: FloatArray,
    ) -> None:
        self.structure = Structure(tuple(design.blocks))
        self.n, self.p = statistics.totals.n_rows_used, len(kept)
        self.log_weights = statistics.totals.log_weights
        shift = np.asarray(statistics.totals.shift)
        z_scale = np.asarray(core.z_scale)
        m_scale = np.asarray(core.m_scale)
        self.x_scale, self.y_scale = m_scale[:-1], float(m_scale[-1])

        q = self.structure.q
        self.z_basis = np.zeros((q, q))
        for j, anchor in enumerate(design.z_anchor):
            self.z_basis[j, j] = 1 / z_scale[j]
            if anchor >= 0 and j != anchor:
                self.z_basis[anchor, j] = -shift[design.z_columns[j]] / z_scale[j]

        columns = [design.x_columns[k] for k in kept]
        self.unshift, self.expressed = _undo_shifts(design, shift, kept, cross)
        self.log_det = -2 * float(np.linalg.slogdet(self.unshift)[1])
        self.x_basis = self.unshift / self.x_scale
        self._response_fit = response_fit[columns]
        u = np.zeros(len(design.x_columns)) if design.ones is None else design.ones
        self.constant = self.expressed @ u * shift[-1]

    def beta(self, inverse_factor: FloatArray) -> FloatArray:
        """Return the fixed effects in the user's units."""
        return np.asarray(self.unshift @ self.shifted_beta(inverse_factor) + self.constant)

    def shifted_beta(self, inverse_factor: FloatArray) -> FloatArray:
        """Return the fixed effects of the statistics' columns, which are about their shift."""
        p = self.p
        scaled = -inverse_factor[:p, p] / inverse_factor[p, p]
        return np.asarray(self.y_scale * scaled / self.x_scale + self._response_fit)

    def sigma(self, inverse_factor: FloatArray, reml: bool) -> float:
        """Return the residual standard deviation in the user's units."""
        nu = self.n - self.p if reml else self.n
        return float(self.y_scale / (inverse_factor[self.p, self.p] * np.sqrt(nu)))

    def contrast(self, weights: FloatArray, at: float) -> tuple[FloatArray, float]:
        """Return c and b of the core's units with c'beta~ = b where weights'beta = at."""
        constant = self.unshift @ self._response_fit + self.constant
        return self.y_scale * (weights @ self.x_basis), float(at - weights @ constant)

    def unscaled_covariance_factor(self, inverse_factor: FloatArray) -> FloatArray:
        """Return F with Var(beta) = sigma^2 F F', in the user's units."""
        return np.asarray(self.x_basis @ inverse_factor[: self.p, : self.p])

    def to_user(self, theta: FloatArray) -> FloatArray:
        """Return the user's theta for one of the core."""
        structure = self.structure
        return structure.theta(structure.canonical(self.z_basis @ structure.matrix(theta)))

    def to_core(self, theta: FloatArray) -> FloatArray:
        """Return the core's theta for one of the user."""
        structure = self.structure
        factor = np.asarray(np.linalg.solve(self.z_basis, structure.matrix(theta)), dtype=float)
        return structure.theta(structure.canonical(factor))


def _undo_shifts(
    design: Design, shift: FloatArray, kept: Sequence[int], cross: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return how coefficients of shifted columns become those of X_K, and X in terms of X_K.

    All columns are shifted by X~ = X U, with U the identity less c_j times the way to a constant
    (outer shifts) or times another column (inner ones). Columns K are kept and D dropped, with
    X~_D = X~_K C by least squares. Then X = X~_K N with N = U^-1[K, :] + C U^-1[D, :], so that
    beta = N_K^-1 beta~ and X = X_K N_K^-1 N.
    """
    p = len(design.x_columns)
    u = np.zeros(p) if design.ones is None else design.ones
    U = np.eye(p)
    for j, column in enumerate(design.x_columns):
        if design.columns[column][1]:
            U[:, j] -= shift[column] * u
    for j, partner, centre in design.inner_shifts:
        U[partner, j] -= centre
    K = np.asarray(kept, dtype=np.intp)
    D = np.setdiff1d(np.arange(p), K)
    if len(D) == 0:
        return U, np.eye(p)
    columns = np.asarray(design.x_columns, dtype=np.intp)
    scale = np.sqrt(np.diag(cross)[columns[K]])
    inner = cross[np.ix_(columns[K], columns[K])] / np.outer(scale, scale)
    C = np.linalg.solve(inner, cross[np.ix_(columns[K], columns[D])] / scale[:, None])
    C /= scale[:, None]
    inverse = np.linalg.inv(U)
    to_kept = inverse[K] + C @ inverse[D]
    unshift = np.linalg.inv(to_kept[:, K])
    expressed = unshift @ to_kept
    expressed[:, K] = np.eye(len(K))
    return unshift, expressed
