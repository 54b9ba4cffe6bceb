"""Models with fewer parameters than a fit, made of the fit's own statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from blocklmm import _core
from blocklmm.errors import ConvergenceWarning, DataError, InferenceError, warn
from blocklmm.machine import memory_limit
from blocklmm.objective import Structure, blas_limit
from blocklmm.parameters import FittedParameters
from blocklmm.problem import Problem
from blocklmm.statistics import Core

FloatArray = npt.NDArray[np.float64]

_MOST_EVALUATIONS = 500
_TOLERANCE = 1e-15
_CANCELLED = 1e-10  # of the response's sum of squares: what cross products still hold
_NOTHING = 1e-6  # a likelihood ratio that may be rounding or the optimiser's tolerance


@dataclass(frozen=True, slots=True)
class ReducedModel:
    """A model nested in a fitted one: Z E in place of Z, and some columns of X.

    Attributes
    ----------
    problem : Problem
        Of the larger model.
    effects : array of shape (q, r)
        E: each random effect of the smaller model in columns of Z of the larger, in the user's
        units; none of them mixes grouping factors.
    blocks : tuple of int
        The sizes of the smaller model's terms, side by side along E's columns.
    x_kept : array of int
        Which of the larger model's fixed effects it has.
    """

    problem: Problem
    effects: FloatArray
    blocks: tuple[int, ...]
    x_kept: npt.NDArray[np.intp]

    @classmethod
    def of_all(cls, problem: Problem) -> ReducedModel:
        """Return the larger model itself."""
        q, p = problem.structure.q, len(problem.kept)
        return cls(problem, np.eye(q), problem.structure.blocks, np.arange(p))

    @property
    def structure(self) -> Structure:
        """Where its theta stands in its lambda."""
        return Structure(self.blocks)

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and the residual variance."""
        return len(self.x_kept) + len(self.structure.entries) + 1

    @property
    def x_columns(self) -> list[int]:
        """Its columns of X among those of the statistics."""
        return [self.problem.x_columns[k] for k in self.x_kept]

    @property
    def has_own_columns(self) -> bool:
        """Whether the statistics' y and columns of X that it keeps are its own.

        They are about their shifts, which the model has to span: an intercept, where there is one.
        """
        units = self.problem.units
        removed = np.setdiff1d(np.arange(units.p), self.x_kept)
        columns = units.x_basis[np.ix_(removed, self.x_kept)]
        return not (columns.any() or units.constant[removed].any())

    def centring(self) -> FloatArray:
        """Return C, with Z E C about the shifts of the statistics where a term allows it.

        A slope beside its intercept may be taken about any origin: T is C T C' then.
        """
        design, basis = self.problem.design, self.problem.units.z_basis
        C = np.eye(self.effects.shape[1])
        for s in self.structure.slices:
            at = {
                int(np.argmax(column)): k
                for k, column in enumerate(self.effects[:, s].T, start=s.start)
                if np.count_nonzero(column) == 1 and column.max() == 1
            }
            for j, k in at.items():
                anchor = design.z_anchor[j]
                if anchor != j and anchor in at:
                    C[at[anchor], k] = basis[anchor, j] / basis[j, j]
        return C

    def by_factor(self) -> list[tuple[int, list[int], FloatArray]]:
        """Return for each factor that stays its number, its effects here, and K.

        The columns of Z E C are Z~ K, for the columns Z~ of the statistics.
        """
        problem, design = self.problem, self.problem.design
        scale = np.asarray(problem.core.z_scale)
        E = self.effects @ self.centring()
        K = np.linalg.solve(problem.units.z_basis, E) / scale[:, None]
        found = []
        for f in range(len(design.groups)):
            own = design.members(f)
            here = np.flatnonzero(np.abs(E[own]).sum(axis=0)).tolist()
            if here:
                found.append((f, here, np.asfortranarray(K[np.ix_(own, here)])))
        return found

    def column_sizes(self) -> FloatArray:
        """Return the root mean squares of the columns of Z E C, shape (r,), the core's units."""
        problem, design = self.problem, self.problem.design
        cross = np.asarray(problem.statistics.totals.cross_products())
        out = np.ones(self.effects.shape[1])
        for f, here, K in self.by_factor():
            columns = [design.z_columns[k] for k in design.members(f)]
            own = np.diag(K.T @ cross[np.ix_(columns, columns)] @ K)
            out[here] = np.sqrt(own / problem.units.n)
        return out

    def in_units_of_columns(self, factor: FloatArray) -> FloatArray:
        """Return a factor of T (r x r) in the user's units in those of :meth:`column_sizes`."""
        return np.asarray(self.column_sizes()[:, None] * np.linalg.solve(self.centring(), factor))

    def core_model(self, reml: bool, factor: FloatArray) -> _core.BootstrapModel:
        """Return it as the core's bootstrap wants it.

        Parameters
        ----------
        reml : bool
        factor : array of shape (r, r)
            Of T in the user's units, to start from.
        """
        parts = self.by_factor()
        first = self.lifted(self.in_units_of_columns(factor))
        return _core.BootstrapModel(
            effects=[(f, K) for f, _, K in parts],
            x_columns=self.x_columns,
            members=[here for _, here, _ in parts],
            blocks=self.blocks,
            criterion=reml,
            always=[first],
            if_flat=[0.1 * first, 4.0 * first],
        )

    def lifted(self, factor: FloatArray, least: float = 0.1) -> FloatArray:
        """Return a factor to start from: term by term with singular values from ``least``."""
        blocks = []
        for s in self.structure.slices:
            left, sizes, _ = np.linalg.svd(factor[s, s])
            blocks.append(left * np.maximum(sizes, least))
        whole = block_diag(*blocks) if blocks else np.zeros((0, 0))
        return np.asarray(self.structure.canonical(whole))

    def fit(self, reml: bool) -> ReducedFit:
        """Minimise its criterion; no row is read.

        Parameters
        ----------
        reml : bool
            With fewer columns of X only maximum likelihoods compare.
        """
        if self.problem.groups_leave < _CANCELLED:
            raise InferenceError(
                "the groups explain all but a trace of the response "
                f"({self.problem.groups_leave:.1e} is left), which models without some of their "
                "effects lose in rounding: fit them on their own and compare by anova"
            )
        core, _ = self._core()
        identity = np.eye(self.effects.shape[1])
        starts = [0.5 * identity]
        if isinstance(core, _core.SparseObjective):
            starts.append(0.1 * identity)
        with blas_limit(core):
            found = _core.minimize(
                core,
                blocks=self.blocks,
                always=starts,
                if_flat=[0.05 * identity, 2.0 * identity],
                criterion=reml,
                constant=self.constant(reml) + 2 * self.nu(reml) * float(np.log(core.m_scale[-1])),
                n_threads=1,
                max_evaluations=_MOST_EVALUATIONS,
                tolerance=_TOLERANCE,
            )
        if not found.converged:
            warn(
                "the fit of a smaller model is not certified to be optimal: its likelihood ratio "
                "may be too large",
                ConvergenceWarning,
            )
        N = found.evaluation.inverse_factor
        sigma = float(core.m_scale[-1] / (N[-1, -1] * np.sqrt(self.nu(reml))))
        scale = np.asarray(core.z_scale)
        return ReducedFit(
            self,
            found.evaluation.value,
            self.centring() @ (found.factor / scale[:, None]),
            sigma,
            found.converged,
        )

    def at(self, fit: FittedParameters) -> ReducedFit:
        """Return it at the estimates of a fit of its own.

        Raises
        ------
        DataError
            If its criterion there is not that of the fit: they are not of the same rows.
        """
        factor = fit._problem.structure.matrix(fit.theta)
        is_told = self.has_own_columns and self.problem.statistics.has_groups
        if self.problem.groups_leave < _CANCELLED or not is_told:
            return ReducedFit(self, fit.objective, factor, fit.sigma, fit.converged)
        value = self._value(factor, fit.reml)
        if not abs(value - fit.objective) <= 1e-6 * (1 + abs(fit.objective)):
            raise DataError(
                f"the criterion of {fit.formula!r} is {fit.objective:.8g} in its own fit and "
                f"{value:.8g} from the larger model's data: the fits are not of the same rows, "
                "weights or groups, or not nested"
            )
        return ReducedFit(self, fit.objective, factor, fit.sigma, fit.converged)

    def _value(self, factor: FloatArray, reml: bool) -> float:
        """Return the criterion at a factor of T in the user's units."""
        core, options = self._core()
        scale = np.asarray(core.z_scale)
        inner = scale[:, None] * np.linalg.solve(self.centring(), factor)
        with blas_limit(core):
            found = core.evaluate(
                lambda_=np.asfortranarray(inner),
                criterion=reml,
                derivatives=False,
                n_threads=1,
                **options,
            )
        scale_of_y = 2 * self.nu(reml) * float(np.log(core.m_scale[-1]))
        return float(found.value) + self.constant(reml) + scale_of_y

    def _core(self) -> tuple[Core, dict[str, Any]]:
        """Return the core's objective on the statistics, and what its evaluations need."""
        parts = self.by_factor()
        statistics = self.problem.statistics.core.with_effects([(f, K) for f, _, K in parts])
        if len(parts) > 1:
            sparse = _core.SparseObjective(
                statistics=statistics,
                x_columns=self.x_columns,
                members=[here for _, here, _ in parts],
                blocks=self.blocks,
                memory_limit=memory_limit(),
            )
            return sparse, {"exact_hessian": _core.ExactHessian.never}
        entries = self.structure.block_entries
        return _core.BlockObjective(statistics, self.x_columns, entries), {}

    def nu(self, reml: bool) -> int:
        """Return n - p, or n under maximum likelihood."""
        return int(self.problem.units.n) - (len(self.x_kept) if reml else 0)

    def constant(self, reml: bool) -> float:
        """Return what the core's criterion lacks, but for the scale of y."""
        units = self.problem.units
        if not reml:
            return -float(units.log_weights)
        if len(self.x_kept) != units.p:
            raise ValueError("REML criteria of different fixed effects do not compare")
        return float(2 * np.log(units.x_scale).sum() + units.log_det - units.log_weights)


@dataclass(frozen=True, slots=True)
class ReducedFit:
    """A reduced model at its optimum.

    Attributes
    ----------
    model : ReducedModel
    objective : float
    factor : array of shape (r, r)
        Of T, in the user's units.
    sigma : float
    converged : bool
    """

    model: ReducedModel
    objective: float
    factor: FloatArray
    sigma: float
    converged: bool

    @property
    def is_singular(self) -> bool:
        """Whether a variance of its own is zero, or a correlation one."""
        return self.model.structure.is_singular(self.model.in_units_of_columns(self.factor))

    def embedded(self) -> FloatArray:
        """Return a factor of the larger model's T in its core's units, shape (q, q)."""
        effects, basis = self.model.effects, self.model.problem.units.z_basis
        out = np.zeros_like(basis, order="F")
        if effects.size:  # each column within its term
            out[:, np.abs(effects).argmax(axis=0)] = np.linalg.solve(basis, effects @ self.factor)
        return out


def likelihood_ratio(null: npt.ArrayLike, full: npt.ArrayLike) -> FloatArray:
    """Return likelihood-ratio statistics of criteria; what may be rounding is zero."""
    smaller, larger = np.asarray(null, dtype=float), np.asarray(full, dtype=float)
    ratio = smaller - larger
    return np.where(ratio > _NOTHING + 1e-14 * np.abs(larger), ratio, 0.0)


def lambdas_of_statistics(problem: Problem, factor: FloatArray) -> list[FloatArray]:
    """Return a lambda for each grouping factor, in the units of the statistics.

    Parameters
    ----------
    problem : Problem
    factor : array of shape (q, q)
        Of T, in the core's units.
    """
    raw = factor / np.asarray(problem.core.z_scale)[:, None]
    members = [problem.design.members(f) for f in range(len(problem.design.groups))]
    return [np.asfortranarray(raw[np.ix_(own, own)]) for own in members]
