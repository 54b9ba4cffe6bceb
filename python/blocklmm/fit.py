"""A fitted linear mixed-effects model and what can be asked of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from . import explained
from .errors import ConvergenceWarning, DataError, did_you_mean, warn
from .frames import Frame
from .optimize import Certificate, FitOptions, Optimum, minimize
from .predict import Estimates, RowPredictions, predict_rows, require_known, row_groups
from .problem import Problem
from .reports import summary as _summary
from .reports import tidy as _tidy
from .statistics import Dropped
from .varcorr import TermCovariance, VarCorr

FloatArray = npt.NDArray[np.float64]


class LinearMixedFit:
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

    reml: bool
    objective: float
    sigma: float
    converged: bool
    certificate: Certificate

    def __init__(self, problem: Problem, optimum: Optimum, reml: bool) -> None:
        units, inverse_factor = problem.units, optimum.evaluation.inverse_factor
        self.__dict__.update(
            _problem=problem,
            _optimum=optimum,
            reml=reml,
            objective=optimum.evaluation.value,
            sigma=units.sigma(inverse_factor, reml),
            converged=optimum.converged,
            certificate=optimum.certificate,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a fit can't be changed: {name!r} was to be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a fit can't be changed: {name!r} was to be deleted")

    # -- the model ---------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self._problem.formula.text

    @property
    def response_name(self) -> str:
        """The response as written in the formula."""
        return self._problem.formula.response

    @property
    def criterion_name(self) -> str:
        """"REML criterion" or "deviance"."""
        return "REML criterion" if self.reml else "deviance"

    @property
    def nobs(self) -> int:
        """Rows used."""
        return int(self._problem.statistics.core.n_rows_used)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels by grouping factor."""
        statistics = self._problem.statistics
        return {statistics.group_name: int(statistics.core.n_groups)} if self._has_random else {}

    @property
    def dropped(self) -> Dropped:
        """Rows left out for missing values."""
        return self._problem.statistics.dropped

    @property
    def dropped_columns(self) -> tuple[str, ...]:
        """Columns of X that depend on earlier ones and are not in the model."""
        return tuple(self._problem.design.x_names[k] for k in self._problem.dropped)

    @property
    def _has_random(self) -> bool:
        return bool(self._problem.structure.blocks)

    # -- estimates ---------------------------------------------------------------------------

    @cached_property
    def theta(self) -> FloatArray:
        """Relative covariance factors, in lme4's order."""
        structure = self._problem.structure
        out = self._problem.units.to_user(structure.theta(self._optimum.factor))
        out.setflags(write=False)
        return out

    @cached_property
    def _beta(self) -> FloatArray:
        return self._problem.units.beta(self._optimum.evaluation.inverse_factor)

    @cached_property
    def _cov_beta(self) -> FloatArray:
        factor = self._problem.units.unscaled_covariance_factor(
            self._optimum.evaluation.inverse_factor
        )
        return self.sigma**2 * (factor @ factor.T)

    @property
    def _names(self) -> list[str]:
        return [self._problem.design.x_names[k] for k in self._problem.kept]

    def _series(self, values: FloatArray, name: str) -> pd.Series[float]:
        return pd.Series(values, index=pd.Index(self._names), name=name)

    @property
    def params(self) -> pd.Series[float]:
        """Fixed effects."""
        return self._series(self._beta, "estimate")

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return self._series(np.sqrt(np.diag(self._cov_beta)), "std_error")

    @property
    def tvalues(self) -> pd.Series[float]:
        """Estimates in units of their standard errors."""
        return (self.params / self.bse).rename("statistic")

    @property
    def df(self) -> pd.Series[float]:
        """Degrees of freedom of the Wald statistics: infinite, the normal approximation."""
        return self._series(np.full(len(self._beta), np.inf), "df")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the fixed effects, by the normal approximation."""
        return self._series(2 * ndtr(-np.abs(self.tvalues.to_numpy())), "p_value")

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects, sigma^2 (X'V^-1 X)^-1.

        Returns
        -------
        DataFrame of shape (p, p)
        """
        return pd.DataFrame(self._cov_beta.copy(), index=self._names, columns=self._names)

    def conf_int(self, level: float = 0.95, method: str = "wald") -> pd.DataFrame:
        """Return confidence intervals of the fixed effects.

        Parameters
        ----------
        level : float
        method : {"wald"}
            Estimate plus or minus a normal quantile times the standard error.

        Returns
        -------
        DataFrame
            Columns lower, upper.

        Raises
        ------
        ValueError
        """
        if method != "wald":
            raise ValueError(f"method is 'wald', not {method!r}")
        half = _quantile(level) * self.bse
        return pd.DataFrame({"lower": self.params - half, "upper": self.params + half})

    @cached_property
    def varcorr(self) -> VarCorr:
        """Variances and correlations of the random effects, and the residual's."""
        problem = self._problem
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        terms = []
        for k, s in enumerate(problem.structure.slices):
            name = problem.statistics.group_name + (f".{k}" if k else "")
            names = tuple(problem.design.z_names[s])
            terms.append(TermCovariance(name, names, lambda_[s, s] @ lambda_[s, s].T))
        return VarCorr(tuple(terms), self.sigma)

    @cached_property
    def singular(self) -> bool:
        """Whether a variance is zero or a correlation one."""
        factor = self._optimum.factor
        for s in self._problem.structure.slices:
            sizes = np.linalg.svd(factor[s, s], compute_uv=False)
            if sizes[-1] <= 1e-4 * max(sizes[0], 1e-300) or sizes[-1] <= 1e-5:
                return True
        return False

    # -- likelihood --------------------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and the residual variance."""
        return len(self._beta) + len(self._problem.structure.entries) + 1

    @property
    def llf(self) -> float:
        """Log-likelihood, or restricted log-likelihood after REML."""
        return -0.5 * self.objective

    @property
    def aic(self) -> float:
        """Akaike's criterion, from the likelihood that was maximised."""
        return self.objective + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion with log(nobs), from the likelihood that was maximised."""
        return self.objective + float(np.log(self.nobs)) * self.n_parameters

    @property
    def df_resid(self) -> int:
        """Rows less parameters."""
        return self.nobs - self.n_parameters

    # -- random effects ----------------------------------------------------------------------

    def _mode_results(self, *wanted: str) -> dict[str, FloatArray]:
        problem = self._problem
        found: dict[str, FloatArray] = problem.core.modes(
            statistics=problem.statistics.core,
            lambda_=self._optimum.factor,
            inverse_factor=self._optimum.evaluation.inverse_factor,
            basis=problem.units.z_basis,
            groups=np.arange(problem.statistics.core.n_groups),
            wanted=list(wanted),
        )
        return found

    @cached_property
    def _modes(self) -> FloatArray:
        """BLUPs in the core's order of groups, in the user's units."""
        return self._problem.units.y_scale * self._mode_results("modes")["modes"]

    def _by_group(self, values: FloatArray) -> dict[str, pd.DataFrame]:
        statistics, names = self._problem.statistics, self._problem.design.z_names
        order = statistics.order
        index = pd.Index(statistics.levels[order], name=statistics.group_name)
        frame = pd.DataFrame(values[order], index=index, columns=pd.Index(names))
        return {statistics.group_name: frame}

    def ranef(self) -> dict[str, pd.DataFrame]:
        """Return the conditional modes (BLUPs) of the random effects.

        Returns
        -------
        dict of str to DataFrame
            By grouping factor: one row a level, one column a random effect. Terms on the same
            factor stand side by side.

        Notes
        -----
        Robinson (1991), Statistical Science 6, 15-32.
        """
        return self._by_group(self._modes) if self._has_random else {}

    def _conditional(self, fixed_uncertainty: bool) -> FloatArray:
        name = "prediction" if fixed_uncertainty else "conditional"
        return self.sigma**2 * self._mode_results(name)[name]

    def ranef_cov(self, fixed_uncertainty: bool = False) -> dict[str, FloatArray]:
        """Return the covariance matrices of the random effects given the data.

        Parameters
        ----------
        fixed_uncertainty : bool
            False: the conditional variance given the parameters, lme4's ``condVar``. True: the
            variance of the prediction error b^ - b, the estimation of beta included.

        Returns
        -------
        dict of str to array of shape (groups, q, q)
            In the order of :meth:`ranef`.
        """
        if not self._has_random:
            return {}
        statistics = self._problem.statistics
        return {statistics.group_name: self._conditional(fixed_uncertainty)[statistics.order]}

    def ranef_sd(self, fixed_uncertainty: bool = False) -> dict[str, pd.DataFrame]:
        """Return the standard deviations that go with :meth:`ranef_cov`, laid out as ranef."""
        if not self._has_random:
            return {}
        variances = np.diagonal(self._conditional(fixed_uncertainty), axis1=1, axis2=2)
        return self._by_group(np.sqrt(variances))

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each group: fixed effects plus conditional modes.

        Returns
        -------
        dict of str to DataFrame
            One row a level; the fixed effects' columns, then those of random effects without one.
        """
        if not self._has_random:
            return {}
        design, kept = self._problem.design, self._problem.kept
        fixed = {design.columns[design.x_columns[k]][0]: design.x_names[k] for k in kept}
        group, ranef = next(iter(self.ranef().items()))
        out = pd.DataFrame(
            np.tile(self._beta, (len(ranef), 1)), index=ranef.index, columns=self._names
        )
        for k, (recipe, _) in enumerate(design.columns[: design.n_random]):
            name = fixed.get(recipe, design.z_names[k])
            values = ranef.iloc[:, k].to_numpy()
            out[name] = out[name] + values if name in out else values
        return {group: out}

    def shrinkage(self) -> dict[str, pd.DataFrame]:
        """Return how each group's own data and the population share in its random effects.

        Returns
        -------
        dict of str to DataFrame
            One row a level. ``weight`` is the weight on the group's own data, the diagonal of
            I - (I + T A_i)^-1; for a random intercept n_i rho / (1 + (n_i - 1) rho), the
            reliability of the group's mean. ``own`` is the least-squares estimate of the random
            effect from the group alone (NaN where its rows are too few), ``blup`` the conditional
            mode. With more than one random effect the columns have two levels, (weight, effect).
        """
        if not self._has_random:
            return {}
        found = self._mode_results("own", "weight")
        parts = {
            "weight": found["weight"],
            "own": self._problem.units.y_scale * found["own"],
            "blup": self._modes,
        }
        tables = {key: next(iter(self._by_group(v).values())) for key, v in parts.items()}
        out = pd.concat(tables, axis=1)
        if self._problem.structure.q == 1:
            out.columns = pd.Index(list(parts))
        return {self._problem.statistics.group_name: out}

    # -- rows --------------------------------------------------------------------------------

    def _frame(self) -> Frame:
        if self._problem.frame is None:
            raise DataError(
                "this fit was restored without its data: give them to predict(data)"
            )
        return self._problem.frame

    def _estimates(self, with_variance: bool) -> Estimates:
        sigma2 = self.sigma**2
        q, p = self._problem.structure.q, len(self._beta)
        lambda_ = self.sigma * self._problem.structure.matrix(self.theta)
        base = Estimates(
            self._beta,
            self._modes if q else np.zeros((0, 0)),
            self.sigma,
            self._cov_beta,
            lambda_ @ lambda_.T,
        )
        if not with_variance or q == 0:
            return base
        found = self._mode_results("prediction", "cross")
        factor = self._problem.units.unscaled_covariance_factor(
            self._optimum.evaluation.inverse_factor
        )
        # Cov(b^ - b, beta^) = -sigma^2 (T D~_X R^-1)(B_x R^-1)'
        return Estimates(
            base.beta,
            base.modes,
            base.sigma,
            base.cov_beta,
            base.cov_effects,
            sigma2 * found["prediction"],
            -sigma2 * (found["cross"].reshape(-1, q, p) @ factor.T),
        )

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        """Which rows of the data were used."""
        problem, frame = self._problem, self._frame()
        n = frame.n_rows
        if self.dropped.n_rows == 0:
            return np.ones(n, dtype=bool)
        recipes = [recipe for recipe, _ in problem.design.columns]
        out = np.empty(n, dtype=bool)
        for start in range(0, n, 1 << 16):
            stop = min(start + (1 << 16), n)
            values = problem.design.matrix(frame, recipes, start, stop)
            out[start:stop] = np.isfinite(values).all(axis=1)
        if problem.group is not None:
            out &= row_groups(problem, frame) >= 0
        return out

    @cached_property
    def _training(self) -> RowPredictions:
        problem, frame = self._problem, self._frame()
        groups = row_groups(problem, frame) if self._has_random else None
        found = predict_rows(problem, frame, self._estimates(False), groups, with_variance=False)
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
        return self._response() - self._training.mean

    def _response(self) -> FloatArray:
        design = self._problem.design
        recipe = design.response
        return design.matrix(self._frame(), [recipe])[self._used, 0]

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
        conditional = random == "conditional" and self._has_random
        groups = row_groups(problem, frame) if conditional else None
        if groups is not None and new_levels == "error" and data is not None:
            require_known(problem, frame, groups)
        if random == "population" and interval == "prediction" and self._has_random:
            groups = np.full(frame.n_rows, -1, dtype=np.int64)
        with_variance = interval is not None
        found = predict_rows(
            problem, frame, self._estimates(with_variance), groups, with_variance
        )
        rows = self._used if data is None else slice(None)
        mean = found.mean[rows]
        if found.variance is None:
            return mean
        variance = found.variance[rows]
        if interval == "prediction":
            variance = variance + self.sigma**2 / self._row_weights(frame, data is None)[rows]
        half = _quantile(level) * np.sqrt(variance)
        return pd.DataFrame({"mean": mean, "lower": mean - half, "upper": mean + half})

    def _row_weights(self, frame: Frame, is_training: bool) -> FloatArray:
        """Weights of rows; one for new rows where the weights were given as an array."""
        design = self._problem.design
        if design.weight >= 0 and (is_training or not design.has_array("weights")):
            return design.matrix(frame, [design.weight])[:, 0]
        return np.ones(frame.n_rows)

    # -- variance ----------------------------------------------------------------------------

    @cached_property
    def _variances(self) -> explained.Variances:
        problem, core = self._problem, self._problem.statistics.core
        design, n = problem.design, self.nobs
        cross, sums = np.asarray(core.plain_cross_products()), np.asarray(core.sums)
        x = [design.x_columns[k] for k in problem.kept]
        # X beta varies as the shifted columns do: a shift moves all rows alike
        centred = cross[np.ix_(x, x)] - np.outer(sums[x], sums[x]) / n
        fixed = float(self._beta @ centred @ self._beta) / (n - 1) if n > 1 else 0.0
        shift = np.asarray(core.shift)
        q = design.n_random
        Z = cross[:q, :q].copy()
        B = np.eye(q)  # Z = Z_shifted B^-1: undo the shift of each column by its constant one
        for j, anchor in enumerate(design.z_anchor):
            if anchor >= 0 and anchor != j:
                B[anchor, j] = shift[j]
        moments = B.T @ Z @ B / n
        cov = np.zeros((q, q))
        for term, s in zip(self.varcorr, problem.structure.slices, strict=True):
            cov[s, s] = term.cov
        random = {problem.statistics.group_name: float((cov * moments).sum())} if q else {}
        return explained.Variances(max(fixed, 0.0), random, self.sigma**2)

    def icc(self) -> explained.ICC:
        """Return the intraclass correlation, adjusted and unadjusted, and its verbal scale.

        Returns
        -------
        ICC
        """
        return explained.icc(self._variances)

    def r2(self) -> explained.RSquared:
        """Return Nakagawa's marginal and conditional R squared.

        Returns
        -------
        RSquared
        """
        return explained.r2(self._variances)

    def marginal_cov(self, level: Any) -> FloatArray:
        """Return V_i, the covariance of one group's observations given the parameters.

        Parameters
        ----------
        level : label of a group

        Returns
        -------
        array of shape (n_i, n_i)
            Z_i Sigma Z_i' + sigma^2 W_i^-1, rows in the data's order.

        Raises
        ------
        DataError
            If there is no such group.
        """
        problem, frame = self._problem, self._frame()
        if not self._has_random:
            raise DataError("the model has no random terms, hence no groups")
        levels = problem.statistics.levels
        place = levels.get_indexer(pd.Index([level]))[0]
        if place < 0:
            raise DataError(
                f"{problem.statistics.group_name!r} has no level {level!r}."
                f"{did_you_mean(str(level), map(str, levels[:10_000]))}"
            )
        rows = np.flatnonzero((row_groups(problem, frame) == place) & self._used)
        recipes = [recipe for recipe, _ in problem.design.columns[: problem.design.n_random]]
        Z = problem.design.matrix(frame, recipes)[rows]
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        weights = self._row_weights(frame, is_training=True)[rows]
        return np.asarray(
            (Z @ lambda_) @ (Z @ lambda_).T + np.diag(self.sigma**2 / weights), dtype=np.float64
        )

    def marginal_corr(self, level: Any) -> FloatArray:
        """Return the correlations that go with :meth:`marginal_cov`."""
        cov = self.marginal_cov(level)
        sd = np.sqrt(np.diag(cov))
        return np.asarray(cov / np.outer(sd, sd))

    # -- new responses -----------------------------------------------------------------------

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
        q, used = problem.structure.q, self._used
        offsets = problem.design.offsets
        mean = self._training.fixed
        if offsets:
            mean = mean + problem.design.matrix(frame, offsets).sum(axis=1)[used]
        noise = self.sigma / np.sqrt(self._row_weights(frame, is_training=True)[used])
        out = mean[:, None] + noise[:, None] * rng.standard_normal((self.nobs, n))
        if q:
            lambda_ = self.sigma * problem.structure.matrix(self.theta)
            groups = row_groups(problem, frame)[used]
            recipes = [recipe for recipe, _ in problem.design.columns[:q]]
            Z = problem.design.matrix(frame, recipes)[used]
            for k in range(n):
                b = rng.standard_normal((problem.statistics.core.n_groups, q)) @ lambda_.T
                out[:, k] += np.einsum("nq,nq->n", Z, b[groups])
        return out

    def refit(self, y: npt.ArrayLike) -> LinearMixedFit:
        """Fit the same model to another response, as lme4's ``refit``.

        Parameters
        ----------
        y : array of shape (nobs,)
            On the scale of the formula's response, for the rows that were used.

        Returns
        -------
        LinearMixedFit

        Raises
        ------
        DataError
            If y has the wrong length or is not finite.
        """
        problem = self._problem
        values = np.asarray(y, dtype=np.float64)
        if values.shape != (self.nobs,):
            raise DataError(f"y has shape {values.shape}: give one value for each of the "
                            f"{self.nobs} rows that were used")
        if not np.isfinite(values).all():
            raise DataError("y has missing or infinite values")
        response = np.full(self._frame().n_rows, np.nan)
        response[self._used] = values
        return estimate(problem.with_response(self._frame(), response), self.reml)

    def refit_ml(self) -> LinearMixedFit:
        """Fit the same model to the same data by maximum likelihood, as lme4's ``refitML``."""
        return estimate(self._problem, reml=False)

    # -- reports -----------------------------------------------------------------------------

    def summary(self) -> str:
        """Return a text in the layout of lme4's summary, with a line for the certificate."""
        return _summary.text(self)

    def tidy(self, effects: str = "fixed", level: float = 0.95) -> pd.DataFrame:
        """Return the estimates as a table, named as broom.mixed names them.

        Parameters
        ----------
        effects : {"fixed", "random"}
            Fixed effects, or variance components.
        level : float
            Of the confidence intervals.

        Returns
        -------
        DataFrame
        """
        _choice("effects", effects, ("fixed", "random"))
        return _tidy.tidy(self, effects, level)

    def glance(self) -> pd.DataFrame:
        """Return one row of figures that describe the fit."""
        return _tidy.glance(self)

    def augment(self) -> pd.DataFrame:
        """Return a table of the rows used: response, fitted values, fixed part, residuals."""
        fitted = self._training
        return _tidy.augment(self._response(), fitted.mean, fitted.fixed, self._used)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return _summary.html(self)


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
    ConvergenceWarning
        If the certificate of optimality does not hold.
    """
    options = options or FitOptions()
    objective = problem.objective(reml, options.n_threads)
    optimum = minimize(objective, problem.starts(start), options)
    fit = LinearMixedFit(problem, optimum, reml)
    certificate = optimum.certificate
    if options.verbose:
        print(f"{fit.criterion_name} {fit.objective:.6f}: {certificate.message}")
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


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is between 0 and 1, not {level!r}")
    return float(ndtri(0.5 + level / 2))
