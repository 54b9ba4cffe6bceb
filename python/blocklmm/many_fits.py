"""Fits of one model to many responses, and what can be asked of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .arguments import require_choice
from .errors import DataError
from .fit import LinearMixedFit
from .inference.fixed_effects.contrasts import read_contrasts
from .inference.testing.tails import t_p_values
from .native_tables import Library, native
from .objective import Structure
from .reading import Dropped
from .reports import tidy as _tidy
from .response_fits import Estimates, ResponseFits
from .varcorr import TermCovariance, VarCorr

FloatArray = npt.NDArray[np.float64]

_DDF = ("satterthwaite", "residual", "asymptotic")
_ROWS_AT_A_TIME = 1 << 14  # responses whose covariances exist at one time


class ManyFits:
    """Fits of one model to many responses; immutable. Made by :func:`blocklmm.lmer_many`.

    Rows of all tables are the responses, in the order of Y's columns. A response without a fit has
    NaN everywhere, and ``status`` says why; one that misses values has NaN for what its rows don't
    determine.

    Attributes
    ----------
    formula : str
    reml : bool
    names : Index of length r
        The responses.
    dropped : Dropped
        Rows left out of all fits because the design misses a value.
    dropped_columns : tuple of str
        Columns of X that depend on the columns before them.
    failures : dict of str
        By name, the errors of the responses that have no fit.
    """

    formula: str
    reml: bool
    names: pd.Index[Any]
    failures: dict[Any, str]
    dropped: Dropped
    dropped_columns: tuple[str, ...]
    ngroups: dict[str, int]
    _estimates: Estimates
    _fits: ResponseFits | None
    _coefficients: list[str]
    _structure: Structure
    _terms: list[tuple[str, tuple[str, ...]]]
    _library: Library

    def __init__(self, fits: ResponseFits, estimates: Estimates) -> None:
        problem, names = fits.model.problem, fits.table.names
        for name in Estimates.__slots__:
            getattr(estimates, name).setflags(write=False)
        factors = problem.statistics.factors
        self.__dict__.update(
            formula=fits.model.formula.text,
            reml=fits.reml,
            names=names,
            failures={names[k]: text for k, text in fits.failures.items()},
            dropped=problem.statistics.dropped,
            dropped_columns=tuple(problem.design.x_names[k] for k in problem.dropped),
            ngroups={factor.name: factor.n_levels for factor in factors},
            _estimates=estimates,
            _fits=fits,
            _coefficients=fits.coefficients,
            _library=problem.library,
            _structure=problem.structure,
            _terms=[
                (factors[group].name, tuple(problem.design.z_names[s]))
                for group, s in zip(
                    problem.design.term_groups, problem.structure.slices, strict=True
                )
            ],
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"fits can't be changed: {name!r} was to be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"fits can't be changed: {name!r} was to be deleted")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fits": None}  # with it the rows and the responses stay behind

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> ManyFits:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ManyFits:
        return self  # nothing of it changes

    def __len__(self) -> int:
        return len(self.names)

    @property
    def params(self) -> pd.DataFrame:
        """Fixed effects, shape (r, p)."""
        return self._table(self._functions(np.eye(len(self._coefficients))))

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors of the fixed effects, shape (r, p)."""
        return self._table(self._errors(np.eye(len(self._coefficients))))

    @property
    def tvalues(self) -> pd.DataFrame:
        """Estimates in units of their standard errors, shape (r, p)."""
        return self.params / self.bse

    @property
    def df(self) -> pd.DataFrame:
        """Satterthwaite's degrees of freedom, shape (r, p); another pass over the responses."""
        return self._table(self._own_df)

    @property
    def pvalues(self) -> pd.DataFrame:
        """Two-sided p-values by t on Satterthwaite's degrees of freedom, shape (r, p)."""
        return self._table(t_p_values(self.tvalues.to_numpy(), self._own_df))

    @property
    def theta(self) -> pd.DataFrame:
        """Relative covariance factors, in lme4's order and by its names, shape (r, parameters)."""
        names = [
            f"{group}.{effects[i]}" + ("" if i == j else f".{effects[j]}")
            for group, effects in self._terms
            for j in range(len(effects))
            for i in range(j, len(effects))
        ]
        return pd.DataFrame(self._estimates.theta.copy(), index=self._index, columns=names)

    @property
    def sigma(self) -> pd.Series[float]:
        """Residual standard deviations."""
        return self._series(self._estimates.sigma, "sigma")

    @property
    def objective(self) -> pd.Series[float]:
        """REML criteria, or minus twice the log-likelihoods, with all constants."""
        return self._series(self._estimates.objective, "objective")

    @property
    def converged(self) -> pd.Series[bool]:
        """Whether the certificate of optimality holds."""
        return self._series(self._estimates.converged, "converged")

    @property
    def singular(self) -> pd.Series[bool]:
        """Whether a variance is zero or a correlation one."""
        return self._series(self._estimates.singular, "singular")

    @property
    def nobs(self) -> pd.Series[int]:
        """Rows used."""
        return self._series(self._estimates.n_rows, "nobs")

    @property
    def status(self) -> pd.Series[str]:
        """What came of each response.

        "optimal" and "singular" are certified, "closed form" needs no iteration, "uncertified" and
        "stopped" are estimates without a certificate. A response is "constant", or an "exact fit"
        without a residual variance; of one that "failed" the ``failures`` say why.
        """
        return self._series(self._estimates.status, "status")

    def fit(self, response: Any) -> LinearMixedFit:
        """Return the fit of one response, as :func:`blocklmm.lmer` gives it.

        Levels that its rows lack are no levels of that model: where it lacks the first one, its
        coefficients are not those of the tables.

        Parameters
        ----------
        response : label
            Its name.

        Raises
        ------
        DataError
            If there is no such response, or it can't be fitted.
        ConvergenceError
            If the model fits it exactly.
        """
        fits = self._attached()
        number = fits.table.number(response)
        return fits.model.fit_rows(
            fits.table.column(number), str(fits.table.names[number]), self.reml, fits.options
        )

    def contrast(self, L: Any, ddf: str = "satterthwaite", rhs: float = 0.0) -> Any:
        """Estimate and test linear functions of the fixed effects, in all responses.

        Parameters
        ----------
        L : array of shape (p,) or (k, p), mapping, DataFrame, str or sequence of str
            As for :meth:`LinearMixedFit.contrast`.
        ddf : {"satterthwaite", "residual", "asymptotic"}
            Satterthwaite's take another pass over the responses.
        rhs : float
            The value under the null hypothesis, where the text of a contrast has none.

        Returns
        -------
        DataFrame
            Columns response, contrast, estimate, std_error, df, statistic, p_value; the contrasts
            of a response follow each other. P-values are not adjusted for the number of responses:
            ``scipy.stats.false_discovery_control`` does that. In the design's library
            (:func:`blocklmm.lmer`).

        Raises
        ------
        DataError, OptionError
        """
        require_choice("ddf", ddf, _DDF)
        names, weights, constant, values = read_contrasts(
            L, self._coefficients, list(self.dropped_columns)
        )
        null = np.where(np.isnan(values), float(rhs), values)
        estimate = self._functions(weights) + constant
        std_error, df = self._errors(weights), self._df(weights, ddf)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = (estimate - null) / std_error
        table = pd.DataFrame(
            {
                **self._long("contrast", names),
                "estimate": estimate.ravel(),
                "std_error": std_error.ravel(),
                "df": df.ravel(),
                "statistic": statistic.ravel(),
                "p_value": t_p_values(statistic, df).ravel(),
            }
        )
        return native(table, self._library)

    def to_frame(
        self, effects: str = "fixed", ddf: str = "satterthwaite", level: float = 0.95
    ) -> Any:
        """Return the estimates as a tidy table, one row a response and parameter.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}
            Fixed effects, or standard deviations and correlations, also called "random".
        ddf : {"satterthwaite", "residual", "asymptotic"}
            Degrees of freedom of the tests and intervals; Satterthwaite's take another pass over
            the responses.
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame
            Of each response what :meth:`LinearMixedFit.tidy` gives, under its name in the column
            response; variance components without standard errors. In the design's library
            (:func:`blocklmm.lmer`).
        """
        require_choice("effects", effects, ("fixed", "random", "ran_pars"))
        if effects != "fixed":
            return native(self._variance_components(), self._library)
        require_choice("ddf", ddf, _DDF)
        identity = np.eye(len(self._coefficients))
        estimate, std_error = self._functions(identity), self._errors(identity)
        df = self._df(identity, ddf)
        columns = _tidy.tested(estimate, std_error, df, level)
        table = pd.DataFrame(
            {
                "response": self.names.repeat(len(identity)),
                "effect": "fixed",
                "term": np.tile(np.array(self._coefficients, dtype=object), len(self)),
                **{name: values.ravel() for name, values in columns.items()},
            }
        )
        return native(table, self._library)

    def glance(self) -> Any:
        """Return one row of figures a response: what :meth:`LinearMixedFit.glance` gives.

        Returns
        -------
        DataFrame
            Of pandas indexed by response; of another library, which the design's is, with a column
            response before the others.
        """
        found = self._estimates
        n_parameters = found.n_coefficients + found.theta.shape[1] + 1
        table = pd.DataFrame(
            {
                "nobs": found.n_rows,
                "sigma": found.sigma,
                "logLik": -0.5 * found.objective,
                "AIC": found.objective + 2 * n_parameters,
                "BIC": found.objective + np.log(np.maximum(found.n_rows, 1)) * n_parameters,
                "REMLcrit" if self.reml else "deviance": found.objective,
                "singular": found.singular,
                "converged": found.converged,
                "status": found.status,
            },
            index=self._index,
        )
        return native(table, self._library)

    def __repr__(self) -> str:
        counts = self.status.value_counts()
        outcomes = ", ".join(f"{count} {status}" for status, count in counts.items())
        kind = "REML" if self.reml else "maximum likelihood"
        groups = "".join(f", {count} of {name}" for name, count in self.ngroups.items())
        dropped = f", {self.dropped.n_rows} dropped" if self.dropped.n_rows else ""
        return (
            f"{len(self)} responses by {kind}: {self.formula.strip()}\n"
            f"{int(self._estimates.n_rows.max())} rows{groups}{dropped}\n{outcomes}"
        )

    @cached_property
    def _own_df(self) -> FloatArray:
        """Satterthwaite's of the coefficients themselves, shape (r, p)."""
        return self._attached().degrees_of_freedom(np.eye(len(self._coefficients)), self._estimates)

    def _df(self, L: FloatArray, ddf: str) -> FloatArray:
        found = self._estimates
        shape = (len(self), len(L))
        if ddf == "asymptotic":
            return np.full(shape, np.inf)
        if ddf == "residual":
            left = (found.n_rows - found.n_coefficients).astype(float)
            return np.broadcast_to(left[:, None], shape).copy()
        if np.array_equal(L, np.eye(len(self._coefficients))):
            return self._own_df
        return self._attached().degrees_of_freedom(L, found)

    def _functions(self, L: FloatArray) -> FloatArray:
        """Return L beta, shape (r, k)."""
        found = self._estimates
        return np.where(found.are_estimable(L), found.params @ L.T, np.nan)

    def _errors(self, L: FloatArray) -> FloatArray:
        """Return standard errors of L beta, shape (r, k)."""
        found, out = self._estimates, np.empty((len(self), len(L)))
        for start in range(0, len(out), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            out[part] = np.sqrt(((L @ found.unscaled[part]) ** 2).sum(axis=2))
        return np.where(found.are_estimable(L), found.sigma[:, None] * out, np.nan)

    def _variance_components(self) -> pd.DataFrame:
        """Return standard deviations and correlations."""
        found, structure = self._estimates, self._structure
        lambda_ = np.zeros((len(self), structure.q, structure.q))
        for k, (i, j) in enumerate(structure.entries):
            lambda_[:, i, j] = found.theta[:, k]
        columns, shape = (
            [],
            VarCorr(
                tuple(
                    TermCovariance(g, names, np.eye(len(names))) for g, names in self._numbered()
                ),
                1.0,
            ),
        )
        for s in structure.slices:
            own = lambda_[:, s, s]
            T = own @ own.transpose(0, 2, 1)
            sd = np.sqrt(np.diagonal(T, axis1=1, axis2=2))
            columns += list((found.sigma[:, None] * sd).T)
            with np.errstate(divide="ignore", invalid="ignore"):
                corr = T / (sd[:, :, None] * sd[:, None, :])
            size = sd.shape[1]
            columns += [corr[:, i, j] for j in range(size) for i in range(j + 1, size)]
        columns.append(found.sigma)
        return pd.DataFrame(
            {
                "response": self.names.repeat(len(columns)),
                "effect": "ran_pars",
                "group": np.tile(shape.to_frame()["group"].to_numpy(), len(self)),
                "term": np.tile(np.array(_tidy.parameter_names(shape), dtype=object), len(self)),
                "estimate": np.column_stack(columns).ravel(),
            }
        )

    def _numbered(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the terms, those of one factor told apart as in a fit's ``varcorr``."""
        used: dict[str, int] = {}
        out = []
        for group, names in self._terms:
            k = used.get(group, 0)
            used[group] = k + 1
            out.append((group + (f".{k}" if k else ""), names))
        return out

    def _long(self, name: str, labels: list[str]) -> dict[str, Any]:
        return {
            "response": self.names.repeat(len(labels)),
            name: np.tile(np.array(labels, dtype=object), len(self)),
        }

    def _attached(self) -> ResponseFits:
        if self._fits is None:
            raise DataError(
                "these fits were restored without their data (a pickle holds no rows), which "
                "Satterthwaite's degrees of freedom of contrasts and single fits need: give "
                "ddf='residual' or 'asymptotic' where that is offered, or fit again; those of the "
                "coefficients are kept where .df was asked for before"
            )
        return self._fits

    @property
    def _index(self) -> pd.Index[Any]:
        return self.names.rename("response")

    def _table(self, values: FloatArray) -> pd.DataFrame:
        return pd.DataFrame(values.copy(), index=self._index, columns=self._coefficients)

    def _series(self, values: npt.NDArray[Any], name: str) -> pd.Series[Any]:
        return pd.Series(values.copy(), index=self._index, name=name)
