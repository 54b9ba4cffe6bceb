"""A fitted linear mixed-effects model and what can be asked of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .errors import ConvergenceWarning, DataError, did_you_mean, warn
from .frames import Frame
from .inference.diagnostics import Diagnostics
from .inference.intervals import FittedIntervals
from .machine import one_blas_thread
from .optimize import FitOptions, minimize
from .parameters import FloatArray, normal_quantile
from .predict import (
    Errors,
    Estimates,
    IntArray,
    RowPredictions,
    predict_rows,
    require_known,
    row_groups,
    used_rows,
)
from .problem import Problem
from .reports import summary as _summary
from .reports import tidy as _tidy

_MOST_ROWS_SUMMARISED = 1_000_000  # residuals in a summary: a pass over the rows


class LinearMixedFit(FittedIntervals, Diagnostics):
    """A fit; immutable. Made by :func:`blocklmm.lmer` or :meth:`LinearMixedModel.fit`.

    Attributes
    ----------
    reml : bool
        Whether the REML criterion was minimised, or minus twice the log-likelihood.
    objective : float
        The criterion's value with all constants, as lme4's ``REMLcrit`` and ``deviance``.
    theta : array of shape (number of parameters,)
        Relative covariance factors: column-major lower triangles with a non-negative diagonal,
        terms in the formula's order.
    sigma : float
        Residual standard deviation; with weights, of a row of weight one.
    converged, singular : bool
        Whether the certificate holds; whether a variance is zero or a correlation one.
    certificate : Certificate
    nobs : int
        Rows used.
    ngroups : dict of str to int
    dropped : Dropped
        Rows left out for missing values, and the missing values by column.
    dropped_columns : tuple of str
        Columns of X that depend on the columns before them and are not in the model.
    """

    def __getstate__(self) -> dict[str, Any]:
        # Nothing of a row's goes into a pickle, computed before or not.
        return {k: v for k, v in self.__dict__.items() if k not in ("_training", "_used")}

    def _frame(self) -> Frame:
        if self._problem.frame is None:
            raise DataError("this fit was restored without its data: give them to predict(data)")
        return self._problem.frame

    def _estimates(self, with_errors: bool) -> Estimates:
        return Estimates(self._beta, self._modes, self._errors() if with_errors else None)

    def _errors(self) -> Errors:
        problem, optimum = self._problem, self._optimum
        units, p = problem.units, len(self._beta)
        sigma2 = self.sigma**2
        factor = optimum.evaluation.inverse_factor[:p, :p]
        found = self._mode_results("prediction", "cross", in_core_units=True)

        def between(f: int, g: int, i: IntArray, j: IntArray) -> FloatArray:
            # Q_ij + (T D~_X R^-1)_i (T D~_X R^-1)_j'
            assert isinstance(problem.core, _core.SparseObjective)
            with one_blas_thread():
                given = problem.core.covariances(
                    lambda_=optimum.factor, f=f, g=g, i=i, j=j, n_threads=1
                )
            added = np.einsum("nap,nbp->nab", found[f]["cross"][i], found[g]["cross"][j])
            return np.asarray(sigma2 * (given + added))

        return Errors(
            units.x_basis,
            units.z_basis,
            sigma2 * factor @ factor.T,
            sigma2 * optimum.factor @ optimum.factor.T,
            [sigma2 * results["prediction"] for results in found],
            # Cov(b^ - b, beta^) = -sigma^2 (T D~_X R^-1) R^-T
            [-sigma2 * (results["cross"] @ factor.T) for results in found],
            between,
        )

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        """Which rows of the data were used."""
        frame = self._frame()
        if self.dropped.n_rows == 0:
            return np.ones(frame.n_rows, dtype=bool)
        return used_rows(self._problem, frame)

    @cached_property
    def _training(self) -> RowPredictions:
        problem, frame = self._problem, self._frame()
        groups = row_groups(problem, frame) if self._has_random else None
        found = predict_rows(problem, frame, self._estimates(False), groups)
        return RowPredictions(found.mean[self._used], found.fixed[self._used], None)

    @property
    def fittedvalues(self) -> FloatArray:
        """X beta + Z b and the offset, shape (nobs,), in the rows' order."""
        return self._training.mean.copy()

    @property
    def has_data(self) -> bool:
        """Whether the fit still has its data; one restored from a pickle has not."""
        return self._problem.frame is not None

    @property
    def pearson_resid(self) -> FloatArray:
        """Residuals times the square root of the weights, shape (nobs,)."""
        weights = self._row_weights(self._frame(), is_training=True)[self._used]
        return self.resid * np.sqrt(weights)

    @property
    def resid(self) -> FloatArray:
        """Response less fitted values, shape (nobs,), in the rows' order."""
        return np.asarray(self._response() - self._training.mean)

    def _response(self) -> FloatArray:
        design = self._problem.design
        recipe = design.response
        return np.asarray(design.matrix(self._frame(), [recipe])[self._used, 0])

    def predict(
        self,
        data: Any = None,
        random: str = "conditional",
        new_levels: str = "error",
        interval: str | None = None,
        level: float = 0.95,
    ) -> FloatArray | pd.DataFrame:
        """Predict the response.

        Parameters
        ----------
        data : data frame, optional
            New rows; the rows used in the fit by default. An offset that is a column of the
            training data must be in them.
        random : {"conditional", "population"}
            With the groups' conditional modes, or with random effects of zero.
        new_levels : {"error", "population"}
            What to do with groups that were not in the fit: raise, or predict by the fixed
            effects.
        interval : {None, "prediction", "confidence"}
            Also an interval: for a new observation, or for its mean. An unseen group carries its
            whole variance; a prediction interval for the population is that of an unseen group.
        level : float

        Returns
        -------
        array of shape (n,), or DataFrame with columns mean, lower, upper
            NaN for new rows that miss a value.

        Raises
        ------
        DataError
            For unseen levels with ``new_levels="error"``, and for missing columns.

        Notes
        -----
        The variance of the error of x'beta + z'b (Henderson 1975; Robinson 1991, sec. 3) includes
        the estimation of beta and its covariance with the conditional modes, but not the
        estimation of the variance parameters.
        """
        _choice("random", random, ("conditional", "population"))
        _choice("new_levels", new_levels, ("error", "population"))
        _choice("interval", interval, (None, "prediction", "confidence"))
        problem = self._problem
        frame = self._frame() if data is None else Frame(data)
        if data is not None and problem.design.has_array("offset"):
            raise DataError(
                "the offset was given as an array, of which new data have no values: fit with a "
                "column's name, offset='name', to predict for new data"
            )
        if interval == "prediction" and data is not None and problem.design.has_array("weights"):
            raise DataError(
                "the weights were given as an array, of which new data have no values: fit with a "
                "column's name, weights='name', for intervals of new observations"
            )
        conditional = random == "conditional" and self._has_random
        groups = row_groups(problem, frame) if conditional else None
        if groups is not None and new_levels == "error" and data is not None:
            require_known(problem, frame, groups)
        if random == "population" and interval == "prediction" and self._has_random:
            groups = np.full((frame.n_rows, len(self.ngroups)), -1, dtype=np.int64)
        found = predict_rows(problem, frame, self._estimates(interval is not None), groups)
        rows = self._used if data is None else slice(None)
        mean = found.mean[rows]
        if found.variance is None:
            return mean
        variance = found.variance[rows]
        if interval == "prediction":
            variance = variance + self.sigma**2 / self._row_weights(frame, data is None)[rows]
        half = normal_quantile(level) * np.sqrt(variance)
        return pd.DataFrame({"mean": mean, "lower": mean - half, "upper": mean + half})

    def _row_weights(self, frame: Frame, is_training: bool) -> FloatArray:
        """Weights of rows; one for new rows where the weights were given as an array."""
        design = self._problem.design
        if design.weight >= 0 and (is_training or not design.has_array("weights")):
            return design.matrix(frame, [design.weight])[:, 0]
        return np.ones(frame.n_rows)

    def marginal_cov(self, level: Any, group: str | None = None) -> FloatArray:
        """Return V_i, the covariance of one group's observations given the parameters.

        Parameters
        ----------
        level : label of a group
        group : str, optional
            The grouping factor, where the model has several.

        Returns
        -------
        array of shape (n_i, n_i)
            Z_i Sigma Z_i' + sigma^2 W_i^-1, rows in the data's order; the random effects of all
            factors are in it.

        Raises
        ------
        DataError
            If there is no such group.
        """
        problem, frame = self._problem, self._frame()
        if not self._has_random:
            raise DataError("the model has no random terms, hence no groups")
        chosen = self._chosen_factor(group)
        factor = problem.statistics.factors[chosen]
        place = factor.levels.get_indexer(pd.Index([level]))[0]
        if place < 0:
            raise DataError(
                f"{factor.name!r} has no level {level!r}."
                f"{did_you_mean(str(level), map(str, factor.levels[:10_000]))}"
            )
        groups = row_groups(problem, frame)
        rows = np.flatnonzero((groups[:, chosen] == place) & self._used)
        Z = problem.design.matrix(frame, problem.design.z_recipes)[rows]
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        out = np.diag(self.sigma**2 / self._row_weights(frame, is_training=True)[rows])
        for f in range(len(problem.statistics.factors)):
            own = problem.design.members(f)
            half = Z[:, own] @ lambda_[np.ix_(own, own)]
            same = groups[rows, f][:, None] == groups[rows, f]
            out += np.where(same, half @ half.T, 0.0)
        return np.asarray(out, dtype=np.float64)

    def _chosen_factor(self, group: str | None) -> int:
        names = list(self.ngroups)
        if group is None:
            if len(names) == 1:
                return 0
            raise DataError(
                f"the model has several grouping factors: give group=, one of {', '.join(names)}"
            )
        if group not in names:
            raise DataError(f"there is no grouping factor {group!r}.{did_you_mean(group, names)}")
        return names.index(group)

    def marginal_corr(self, level: Any, group: str | None = None) -> FloatArray:
        """Return the correlations that go with :meth:`marginal_cov`."""
        cov = self.marginal_cov(level, group)
        sd = np.sqrt(np.diag(cov))
        return np.asarray(cov / np.outer(sd, sd))

    def simulate(self, n: int = 1, seed: int | None = None) -> FloatArray:
        """Draw responses from the fitted model, with new random effects.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int, optional

        Returns
        -------
        array of shape (nobs, n)
            On the scale of the formula's response.
        """
        problem, frame = self._problem, self._frame()
        rng = np.random.default_rng(seed)
        used = self._used
        offsets = problem.design.offsets
        mean = self._training.fixed
        if offsets:
            mean = mean + problem.design.matrix(frame, offsets).sum(axis=1)[used]
        noise = self.sigma / np.sqrt(self._row_weights(frame, is_training=True)[used])
        out = mean[:, None] + noise[:, None] * rng.standard_normal((self.nobs, n))
        if not self._has_random:
            return out
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        groups = row_groups(problem, frame)[used]
        Z = problem.design.matrix(frame, problem.design.z_recipes)[used]
        for k in range(n):
            for f, factor in enumerate(problem.statistics.factors):
                own = problem.design.members(f)
                b = rng.standard_normal((factor.n_levels, len(own))) @ lambda_[np.ix_(own, own)].T
                out[:, k] += np.einsum("nq,nq->n", Z[:, own], b[groups[:, f]])
        return out

    def refit(self, y: npt.ArrayLike, options: FitOptions | None = None) -> LinearMixedFit:
        """Fit the same model to another response, as lme4's ``refit``.

        Parameters
        ----------
        y : array of shape (nobs,)
            On the scale of the formula's response, for the rows that were used.
        options : FitOptions, optional

        Returns
        -------
        LinearMixedFit

        Raises
        ------
        DataError
            If y has the wrong length or is not finite.
        """
        problem = self._problem
        try:
            values = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError("y does not hold numbers") from None
        if values.shape != (self.nobs,):
            raise DataError(
                f"y has shape {values.shape}: give one value for each of the "
                f"{self.nobs} rows that were used"
            )
        if not np.isfinite(values).all():
            raise DataError("y has missing or infinite values")
        if isinstance(y, pd.Series):
            self._require_order(y.index)
        response = np.full(self._frame().n_rows, np.nan)
        response[self._used] = values
        return estimate(problem.with_response(self._frame(), response), self.reml, options=options)

    def _require_order(self, labels: pd.Index[Any]) -> None:
        rows = self._frame().index[self._used]
        if not labels.equals(rows) and labels.sort_values().equals(rows.sort_values()):
            raise DataError(
                "y is a Series with the rows' labels in another order; bring it into theirs, or "
                "give y.to_numpy() if it is in that order already"
            )

    def refit_ml(self, options: FitOptions | None = None) -> LinearMixedFit:
        """Fit the same model to the same data by maximum likelihood, as lme4's ``refitML``.

        Parameters
        ----------
        options : FitOptions, optional

        Returns
        -------
        LinearMixedFit
        """
        return estimate(self._problem, reml=False, options=options)

    def refit_reml(self, options: FitOptions | None = None) -> LinearMixedFit:
        """Fit the same model to the same data by REML.

        Parameters
        ----------
        options : FitOptions, optional

        Returns
        -------
        LinearMixedFit
        """
        return estimate(self._problem, reml=True, options=options)

    def summary(self, ddf: str | None = None, robust: str | None = None) -> _summary.SummaryText:
        """Return a text in the layout of lme4's summary, with a line for the certificate.

        Parameters
        ----------
        ddf, robust : str, optional
            Degrees of freedom and errors of the fixed effects, as for :meth:`tidy`.
        """
        if not self.has_data:
            scaled: FloatArray | str = "not computed, the fit was restored without its data"
        elif self.nobs > _MOST_ROWS_SUMMARISED:
            scaled = f"not computed above {_MOST_ROWS_SUMMARISED:,} rows"
        else:
            scaled = self.pearson_resid / self.sigma
        return _summary.text(self, scaled, self._fixed_errors(ddf, robust))

    def tidy(
        self,
        effects: str = "fixed",
        ddf: str | None = None,
        robust: str | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the estimates as a table, in the manner of broom.mixed.

        Parameters
        ----------
        effects : {"fixed", "random"}
            Fixed effects, or variance components.
        ddf : {"satterthwaite", "kenward-roger", "between-within", "residual", "asymptotic"}
            Degrees of freedom of the tests and intervals: Satterthwaite's by default (Fai &
            Cornelius 1996); those of Kenward & Roger (1997) with their adjusted standard errors,
            after REML; those of the level of the grouping factors at which a column varies; rows
            less coefficients; infinitely many.
        robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
            Cluster-robust standard errors, by the grouping factor in which all others are nested,
            with Satterthwaite's degrees of freedom of their own (Bell & McCaffrey 2002;
            Pustejovsky & Tipton 2018). They take another pass over the rows.
        level : float
            Of the confidence intervals.

        Returns
        -------
        DataFrame
            Of fixed effects: term, estimate, std_error, statistic, df, p_value, conf_low,
            conf_high. Of variance components: group, term, estimate, std_error; standard
            deviations and correlations, with standard errors by the delta method from the exact
            Hessian of the criterion. They are NaN on the boundary (a standard deviation of zero, a
            correlation of one); intervals are better made from profiles (:meth:`conf_int`).

        Raises
        ------
        InferenceError
            For "kenward-roger" after maximum likelihood, "between-within" with crossed factors,
            "CR2" and "CR3" where clusters share random effects.
        """
        _choice("effects", effects, ("fixed", "random"))
        if effects == "random":
            return _tidy.random(self)
        return _tidy.fixed(self, self._fixed_errors(ddf, robust), level)

    def glance(self) -> pd.DataFrame:
        """Return one row of figures that describe the fit."""
        return _tidy.glance(self)

    def augment(self) -> pd.DataFrame:
        """Return a table of the rows used: response, fitted values, fixed part, residuals."""
        fitted = self._training
        index = self._frame().index[self._used]
        return _tidy.augment(self._response(), fitted.mean, fitted.fixed, index)

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def estimate(
    problem: Problem,
    reml: bool,
    start: npt.ArrayLike | None = None,
    options: FitOptions | None = None,
) -> LinearMixedFit:
    """Minimise a problem's criterion and wrap what is found.

    Parameters
    ----------
    problem : Problem
    reml : bool
    start : array of shape (number of parameters,), optional
    options : FitOptions, optional

    Returns
    -------
    LinearMixedFit

    Warns
    -----
    BlocklmmWarning
        If the criterion does not depend on the size of a term's variances.
    ConvergenceWarning
        If the certificate of optimality does not hold.
    """
    if not isinstance(reml, bool | np.bool_):
        raise TypeError(f"reml is True or False, not {reml!r}")
    options = FitOptions() if options is None else options
    if not isinstance(options, FitOptions):
        raise TypeError(f"options are FitOptions, not {type(options).__name__!r}")
    reml = bool(reml)
    objective = problem.objective(reml, options.n_threads)
    optimum = minimize(objective, problem.starts(start), options)
    fit = LinearMixedFit(problem, optimum, reml)
    problem.require_residual(fit.sigma)
    certificate = optimum.certificate
    if options.verbose:
        print(f"{fit.criterion_name} {fit.objective:.6f}: {certificate.message}")
    for text, count in problem.design.not_a_number().items():
        warn(f"{text!r} is not a number in {count} rows that have all it needs: they are left out")
    for term in optimum.unidentified:
        warn(
            f"the variances of {problem.formula.random[term].text} are not identified: the "
            "criterion does not depend on their size (do the fixed effects explain the groups?)"
        )
    if not optimum.converged:
        warn(
            f"the fit is not certified to be optimal: {certificate.message} (largest gradient "
            f"{certificate.gradient:.2g}, smallest eigenvalue {certificate.min_eigenvalue:.2g})",
            ConvergenceWarning,
        )
    return fit


def _choice(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")
