"""A fitted linear mixed-effects model and what can be asked of it."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .arguments import as_floats, require_choice
from .errors import ConvergenceWarning, DataError, OptionError, warn
from .fitted_diagnostics import FittedDiagnostics
from .fitted_intervals import FittedIntervals
from .inference.variance_errors import variance_errors
from .native_tables import native
from .optimize import FitOptions, minimize
from .other_names import OF_INTERVALS, ON_A_FIT, answers, instead
from .parameters import FloatArray
from .problem import Problem
from .reports import tidy as _tidy
from .reports.sections import Report
from .reports.summary import summary
from .tables import wide

_MOST_ROWS_SUMMARISED = 1_000_000  # residuals in a summary: a pass over the rows


class LinearMixedFit(FittedIntervals, FittedDiagnostics):
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

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if hasattr(type(self), name):  # a property that failed: its own error
                return object.__getattribute__(self, name)
            said = f"a fit has no attribute {name!r}{instead(ON_A_FIT, name)}"
            raise AttributeError(said, name=name, obj=self)

    def refit(self, y: npt.ArrayLike, options: FitOptions | None = None) -> LinearMixedFit:
        """Fit the same model to another response, as lme4's ``refit``.

        Parameters
        ----------
        y : array of shape (nobs,) or (nobs, 1)
            On the scale of the formula's response, for the rows that were used.
        options : FitOptions, optional

        Returns
        -------
        LinearMixedFit

        Raises
        ------
        DataError
            If y has the wrong length or is not finite.

        Notes
        -----
        It costs one product of y with X and Z: what does not depend on the response is taken over.
        Where the model leaves next to nothing of y, the rows are passed over again.
        """
        try:
            values = as_floats(y)
        except (TypeError, ValueError):
            raise DataError("y does not hold numbers") from None
        if values.ndim == 2 and values.shape[1] == 1:  # a draw of simulate(1)
            values = values[:, 0]
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
        return estimate(self._with_response(response), self.reml, options=options)

    def _with_response(self, response: FloatArray) -> Problem:
        """Return the problem for a response, by one product with X and Z where that is enough."""
        problem = self._problem
        rows = problem.rows(self._used if self.dropped.n_rows else None)
        core = copy.copy(problem.statistics.core)
        rows.products(response[:, None]).replace_response(0, core)
        found = problem.with_products(problem.design.with_response(response), core)
        return problem.with_response(self._frame(), response) if found is None else found

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

    def summary(
        self, ddf: str | None = None, robust: str | None = None, cluster: str | None = None
    ) -> Report:
        """Return a report in the layout of lme4's summary, with a line for the certificate.

        Parameters
        ----------
        ddf, robust, cluster : str, optional
            Degrees of freedom and errors of the fixed effects, as for :meth:`tidy`.

        Returns
        -------
        Report
            A text; its ``as_html()``, ``as_latex()`` and ``as_markdown()`` say the same.
        """
        if not self.has_data:
            scaled: FloatArray | str = "not computed, the fit is without its rows"
        elif self._problem.frame is None:
            scaled = "not computed of rows that come in chunks"
        elif self.nobs > _MOST_ROWS_SUMMARISED:
            scaled = f"not computed above {_MOST_ROWS_SUMMARISED:,} rows"
        else:
            scaled = self.pearson_resid / self.sigma
        return summary(self, scaled, self._fixed_errors(ddf, robust, cluster))

    @answers(OF_INTERVALS)
    def tidy(
        self,
        effects: str = "fixed",
        ddf: str | None = None,
        robust: str | None = None,
        level: float = 0.95,
        cluster: str | None = None,
    ) -> Any:
        """Return the estimates as a table, with broom.mixed's columns.

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"}
            Fixed effects; standard deviations and correlations of the random effects, also called
            "random"; BLUPs; coefficients of each group.
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
        cluster : str, optional
            The grouping factor of robust errors, if not that in which all others are nested: where
            factors are crossed there is none, and one has to be named.

        Returns
        -------
        DataFrame
            In the library that the rows came in (:func:`blocklmm.lmer`). The column effect, and of
            fixed effects: term, estimate, std.error, statistic, df, p.value, conf.low, conf.high.

            Of "ran_pars": group, term (``sd__x``, ``cor__x.y``, ``sd__Observation``), estimate,
            std.error, by the delta method from the exact Hessian of the criterion. These are NaN on
            the boundary (a standard deviation of zero, a correlation of one); intervals are better
            made from profiles (:meth:`conf_int`).

            Of "ran_vals": group, level, term, estimate, std.error (given the data, the parameters
            taken as known), conf.low, conf.high by the normal distribution. Of "ran_coefs": group,
            level, term, estimate. Levels of several factors that are numbers and texts are texts,
            except in pandas.

        Raises
        ------
        InferenceError
            For "kenward-roger" after maximum likelihood, "between-within" with crossed factors,
            "CR2" and "CR3" where clusters share random effects.
        """
        require_choice("effects", effects, ("fixed", "random", *_tidy.RANDOM))
        if effects != "fixed" and not (ddf is None and robust is None and cluster is None):
            raise OptionError("ddf, robust and cluster are about the fixed effects")
        if effects == "ran_vals":
            table = _tidy.ran_vals(self.ranef(), self.ranef_sd(), level)
        elif effects == "ran_coefs":
            table = _tidy.ran_coefs(self.coef())
        elif effects != "fixed":
            self._warn_uncertified("standard errors of variance components")
            table = _tidy.ran_pars(self.varcorr, variance_errors(self, self._satterthwaite))
        else:
            table = _tidy.fixed(self, self._fixed_errors(ddf, robust, cluster), level)
        return wide(native(table, self._problem.library))

    def glance(self) -> Any:
        """Return one row of figures that describe the fit, with broom.mixed's columns.

        Returns
        -------
        DataFrame
            In the library that the rows came in (:func:`blocklmm.lmer`).
        """
        return wide(native(_tidy.glance(self), self._problem.library))

    def augment(self, out: str | os.PathLike[str] | None = None) -> Any:
        """Return the columns that the model reads, with what is fitted, as broom.mixed does.

        Parameters
        ----------
        out : str or path, optional
            A Parquet file to write to instead, chunk by chunk. It is there once all rows are
            written.

        Returns
        -------
        DataFrame or None
            ``.fitted``, ``.fixed`` and ``.resid`` beside the columns, which are as they came, in
            their library (:func:`blocklmm.lmer`), and the response where it is no column itself; a
            row for each row used, in pandas indexed as the data are. A file has all rows, with NaN
            where one was left out.

        Raises
        ------
        OptionError
            If ``out`` would be among the files that are read.
        DataError
            If a column of the model is called so.
        """
        if out is not None:
            self._write_fitted(out)
            return None
        table, frame, design = self._columns_read(), self._problem.frame, self._problem.design
        if isinstance(table, pd.DataFrame):
            labels = pd.RangeIndex(len(self._used)) if frame is None else frame.index
            table = table.set_axis(labels[self._used], axis=0)
        response = self._problem.formula.response
        column = response.strip("`")
        return _tidy.augment(
            table,
            column if column in design.names else response,
            self._response(),
            self._training,
            is_of_rows=not design.has_array("response"),
        )

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
        If the criterion does not depend on the size of a term's variances, or on some combination
        of variances and covariances.
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
    texts = [term.text for term in problem.formula.random]
    for k in optimum.unidentified:  # (1 | a/b) makes two terms
        term = problem.formula.random[k]
        by = f" by {term.group_name!r}" if texts.count(term.text) > 1 else ""
        warn(
            f"the variances of {term.text}{by} are not identified: the criterion does not depend "
            "on their size (do the fixed effects explain the groups?)"
        )
    if optimum.n_flat and not optimum.unidentified:
        warn(
            "not all variances and covariances of the random effects are identified: the "
            f"criterion is the same for others ({certificate.message}). Do terms repeat one "
            "another, or columns left of a bar not vary within groups? Leave one out"
        )
    if not optimum.converged:
        warn(
            f"the fit is not certified to be optimal: {certificate.message} (largest gradient "
            f"{certificate.gradient:.2g}, smallest eigenvalue {certificate.min_eigenvalue:.2g})",
            ConvergenceWarning,
        )
    return fit
