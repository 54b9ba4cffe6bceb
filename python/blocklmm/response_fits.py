"""A model's responses fitted block by block: in the core, or from their rows where need be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import BlocklmmWarning, ConvergenceError, DataError
from .fit import LinearMixedFit
from .inference.bootstrap.replicates import threads_that_fit
from .inference.degrees_of_freedom.criterion_derivatives import (
    CriterionDerivatives,
    through_chart,
)
from .inference.degrees_of_freedom.satterthwaite import Satterthwaite
from .inference.fixed_effects.span import Span, span_of
from .many_model import ManyModel
from .objective import blas_limit
from .optimize import FitOptions
from .progress import Pace
from .response_table import ResponseTable
from .unfit_columns import are_constant, constant_text

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_STATUS = {
    _core.Status.closed_form: "closed form",
    _core.Status.optimal: "optimal",
    _core.Status.singular: "singular",
    _core.Status.uncertified: "uncertified",
    _core.Status.stopped: "stopped",
    _core.Status.exact_fit: "exact fit",
}


@dataclass(slots=True)
class Estimates:
    """Fits of some responses, NaN where there is none.

    Attributes
    ----------
    params : array of shape (r, p)
        One solution, with zeros, where the rows of a response determine none alone.
    unscaled : array of shape (r, p, p)
        F with Var(beta) = sigma^2 F F'.
    spans : array of shape (r,) of Span or None
        Of the responses whose rows don't determine all coefficients: which functions they do.
    theta : array of shape (r, number of parameters)
    factor : array of shape (r, q, q)
        Of T, in the core's units.
    sigma, objective : arrays of shape (r,)
    n_rows : array of shape (r,) of int
    status : array of shape (r,) of str
    converged, singular : arrays of shape (r,) of bool
    by_rows : array of shape (r,) of bool
        Whether the response was fitted on its own, from its rows.
    is_unidentified : array of shape (r,) of bool
        Whether the criterion does not depend on the size of a term.
    """

    params: FloatArray
    unscaled: FloatArray
    spans: npt.NDArray[np.object_]
    theta: FloatArray
    factor: FloatArray
    sigma: FloatArray
    objective: FloatArray
    n_rows: npt.NDArray[np.int64]
    status: npt.NDArray[np.object_]
    converged: BoolArray
    singular: BoolArray
    by_rows: BoolArray
    is_unidentified: BoolArray

    @classmethod
    def joined(cls, parts: list[Estimates]) -> Estimates:
        """Return blocks of responses as one."""
        names = [f.name for f in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def n_coefficients(self) -> npt.NDArray[np.int64]:
        """How many coefficients were estimated, shape (r,)."""
        p = self.params.shape[1]
        return np.array([p if span is None else len(span.kept) for span in self.spans])

    def are_estimable(self, L: FloatArray) -> BoolArray:
        """Tell which functions L (k x p) of the coefficients the rows determine, shape (r, k)."""
        out = np.ones((len(self.spans), len(L)), dtype=bool)
        for k, span in enumerate(self.spans):
            if span is not None:
                out[k] = span.is_estimable(L)
        return out


class ResponseFits:
    """Fits of a model's responses by one criterion.

    Parameters
    ----------
    model : ManyModel
    table : ResponseTable
    reml : bool
    options : FitOptions
    block_size : int

    Attributes
    ----------
    failures : dict of int to str
        Why a response could not be fitted, by its number.
    """

    def __init__(
        self,
        model: ManyModel,
        table: ResponseTable,
        reml: bool,
        options: FitOptions,
        block_size: int,
    ) -> None:
        self.model, self.table, self.reml, self.options = model, table, reml, options
        self._block_size = block_size
        self.failures: dict[int, str] = {}
        problem = model.problem
        self._core = problem.response_fits(reml, options)
        self._n_threads = threads_that_fit(problem, 1, options.n_threads)
        design = problem.design
        ones = np.zeros(len(design.x_columns)) if design.ones is None else design.ones
        self._of_shift = problem.units.expressed @ ones

    def estimates(self, advance: Callable[[int], object]) -> Estimates:
        """Fit all responses; ``advance`` hears of each batch."""
        parts = [self._block(start, stop, advance) for start, stop in self._blocks()]
        return Estimates.joined(parts)

    def degrees_of_freedom(self, L: FloatArray, of: Estimates) -> FloatArray:
        """Return Satterthwaite's degrees of freedom of contrasts L (k x p), shape (r, k).

        Each response's products are made again, and with them the exact Hessian at its estimates.
        """
        out = np.full((len(of.sigma), len(L)), np.nan)
        for start, stop in self._blocks():
            fitted = ~np.isnan(of.objective[start:stop]) & ~of.by_rows[start:stop]
            numbers = np.flatnonzero(fitted)
            if len(numbers):
                responses = self._products(start, stop)
                for first, size in Pace(self._n_threads).batches(len(numbers)):
                    own = numbers[first : first + size]
                    found = self._derivatives(responses, own, start + own, of)
                    out[start + own] = Satterthwaite(found).df(L)
        for k in np.flatnonzero(of.by_rows & ~np.isnan(of.objective)):
            fit, span = self._fit_rows(int(k)), of.spans[k]
            known = np.ones(len(L), dtype=bool) if span is None else span.is_estimable(L)
            own = L[known] if span is None else L[np.ix_(known, span.kept)]
            if len(own):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", BlocklmmWarning)
                    out[k, known] = fit._satterthwaite.df(np.ascontiguousarray(own))
        return out

    @property
    def coefficients(self) -> list[str]:
        """The names of the fixed effects."""
        problem = self.model.problem
        return [problem.design.x_names[k] for k in problem.kept]

    def _blocks(self) -> list[tuple[int, int]]:
        n, size = self.table.n_responses, self._block_size
        return [(start, min(start + size, n)) for start in range(0, n, size)]

    def _products(self, start: int, stop: int) -> _core.Responses:
        return self.model.rows.products(self.table.block(start, stop), self._n_threads)

    def _block(self, start: int, stop: int, advance: Callable[[int], object]) -> Estimates:
        problem, units = self.model.problem, self.model.problem.units
        responses = self._products(start, stop)
        parts = []
        for first, size in Pace(self._n_threads).batches(stop - start):
            with blas_limit(problem.core):
                parts.append(
                    self._core.run(
                        responses=responses, first=first, n=size, n_threads=self._n_threads
                    )
                )
            advance(size)
        found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        by_rows = found["needs_rows"].astype(bool)
        params = (found["beta"] / units.x_scale) @ units.unshift.T
        params += responses.shift[:, None] * self._of_shift
        names = np.array([_STATUS[_core.Status(k)] for k in range(len(_STATUS))], dtype=object)
        out = Estimates(
            params=params,
            unscaled=np.asarray(units.x_basis @ found["inverse_factor"]),
            spans=np.full(stop - start, None),
            theta=found["theta"],
            factor=found["factor"],
            sigma=found["sigma"],
            objective=found["value"],
            n_rows=np.full(stop - start, units.n),
            status=names[found["status"]],
            converged=found["converged"].astype(bool),
            singular=np.zeros(stop - start, dtype=bool),
            by_rows=by_rows,
            is_unidentified=found["n_unidentified"] > 0,
        )
        out.singular[~by_rows] = units.structure.are_singular(out.factor[~by_rows])
        for values in (out.params, out.unscaled, out.theta, out.factor, out.sigma, out.objective):
            values[by_rows] = np.nan
        shift = np.asarray(responses.shift)
        constant = by_rows & are_constant(np.asarray(responses.yy), shift, units.n)
        out.status[constant], out.converged[constant] = "constant", False
        out.is_unidentified[constant] = False
        for number in (start + np.flatnonzero(constant)).tolist():
            name = str(self.table.names[number])
            self.failures[number] = constant_text(name, float(shift[number - start]))
        for k in np.flatnonzero(by_rows & ~constant):
            self._take_rows(int(k), start + int(k), out)
        on_boundary = out.converged & out.singular
        out.status[on_boundary] = "singular"
        inside = out.converged & ~out.singular & (out.status == "singular")
        out.status[inside] = "optimal"
        return out

    def _take_rows(self, at: int, number: int, out: Estimates) -> None:
        """Fit a response from its rows, as the single fit does, and say what came of it."""
        out.converged[at] = out.is_unidentified[at] = False
        try:
            fit = self._fit_rows(number)
        except (ConvergenceError, DataError) as error:
            out.status[at] = "exact fit" if isinstance(error, ConvergenceError) else "failed"
            self.failures[number] = str(error)
            out.n_rows[at] = self.model.n_rows_with(self.table.column(number))
            return
        units, optimum = fit._problem.units, fit._optimum
        own = units.unscaled_covariance_factor(optimum.evaluation.inverse_factor)
        span = out.spans[at] = self._span(fit)
        kept = np.arange(len(own)) if span is None else span.kept
        out.params[at] = out.unscaled[at] = 0.0
        out.params[at, kept] = fit._beta
        out.unscaled[at, kept, : len(kept)] = own
        out.theta[at], out.sigma[at], out.objective[at] = fit.theta, fit.sigma, fit.objective
        out.n_rows[at], out.converged[at], out.singular[at] = fit.nobs, fit.converged, fit.singular
        out.is_unidentified[at] = bool(optimum.unidentified)
        if fit.converged:
            out.status[at] = "optimal" if fit._has_random else "closed form"
        else:
            is_stopped = fit.certificate.message.startswith("stopped")
            out.status[at] = "stopped" if is_stopped else "uncertified"

    def _fit_rows(self, number: int) -> LinearMixedFit:
        values, name = self.table.column(number), str(self.table.names[number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlocklmmWarning)
            return self.model.fit_rows(values, name, self.reml, self.options, same_columns=True)

    def _span(self, fit: LinearMixedFit) -> Span | None:
        """Return what a fit's rows determine of the coefficients; None for all of them."""
        common, own = self.model.problem.kept, fit._problem.kept
        if own == common:
            return None
        span = span_of(fit._problem)
        kept = np.searchsorted(common, own)
        return replace(span, kept=kept, expressed=span.expressed[:, common])

    def _derivatives(
        self,
        responses: _core.Responses,
        numbers: npt.NDArray[np.int64],
        at: npt.NDArray[np.int64],
        of: Estimates,
    ) -> CriterionDerivatives:
        problem = self.model.problem
        with blas_limit(problem.core):
            found = self._core.derivatives(
                responses=responses,
                numbers=numbers.tolist(),
                factors=list(of.factor[at]),
                n_threads=self._n_threads,
            )
        structure, p = problem.structure, len(problem.kept)
        upper = [(i, j) for i, j in structure.block_entries if i <= j]
        directions = np.array(upper, dtype=np.intp).reshape(-1, 2)
        to_chart, turning = through_chart(
            structure.block_entries, directions, found["F"], found["basis"], found["gamma"]
        )
        S = found["S"]
        return CriterionDerivatives(
            n=problem.units.n,
            reml=self.reml,
            sigma=of.sigma[at],
            F=of.unscaled[at],
            S=S[..., :p, :p],
            S_e=S[..., :p, p],
            S_ee=S[..., p, p],
            Q_trace=found["Q_trace"],
            Q_ee=found["Q_ee"],
            trace_pairs=found["trace_pairs"],
            to_chart=to_chart,
            turning=turning,
        )
