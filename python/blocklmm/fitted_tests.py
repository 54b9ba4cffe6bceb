"""What a fit answers about its fixed effects: errors, degrees of freedom, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .errors import InferenceError, OptionError
from .fitted_rows import FittedRows
from .inference.clusters.robust import ClusterRobust, cluster_robust
from .inference.degrees_of_freedom.between_within import between_within_df
from .inference.degrees_of_freedom.fixed_errors import DDF, ROBUST, ConstantDf, FixedErrors
from .inference.degrees_of_freedom.kenward_roger import KenwardRoger
from .inference.degrees_of_freedom.satterthwaite import Satterthwaite
from .inference.degrees_of_freedom.variance_derivatives import (
    VarianceDerivatives,
    variance_derivatives,
)
from .inference.fixed_effects.contrasts import Contrasts, contrast
from .inference.fixed_effects.explained_by_terms import r2_by_term
from .inference.fixed_effects.hypotheses import hypotheses
from .inference.marginal_means.emmeans import MarginalMeans, emmeans
from .inference.testing.tails import t_p_values


class FittedTests(FittedRows):
    """Tests of the fixed effects, on degrees of freedom by several methods."""

    @cached_property
    def _variance_derivatives(self) -> VarianceDerivatives:
        optimum = self._optimum
        return variance_derivatives(
            self._problem, optimum.factor, optimum.evaluation, self.sigma, self.reml
        )

    def _fixed_errors(
        self, ddf: str | None = None, robust: str | None = None, cluster: str | None = None
    ) -> FixedErrors:
        """Return covariance and degrees of freedom of the fixed effects by a method's name."""
        ddf = ddf.lower() if isinstance(ddf, str) else ddf
        robust = robust.upper() if isinstance(robust, str) else robust
        if robust is not None:
            if ddf not in (None, "satterthwaite"):
                raise OptionError(
                    f"robust={robust!r} has Satterthwaite's degrees of freedom of its own: leave "
                    "ddf out"
                )
            if robust not in ROBUST:
                raise OptionError(
                    f"robust is one of {', '.join(map(repr, ROBUST))}, or None, not {robust!r}"
                )
            known = self._robust_errors
            if (robust, cluster) not in known:
                known[robust, cluster] = cluster_robust(self, robust, cluster)
            return known[robust, cluster]
        if cluster is not None:
            raise OptionError("cluster is of robust errors: choose robust='CR2' or another of them")
        if ddf is None or ddf == "satterthwaite":
            return self._satterthwaite
        if ddf == "kenward-roger":
            return self._kenward_roger
        if ddf == "between-within":
            by_coefficient = between_within_df(self._problem)
        elif ddf == "residual":
            by_coefficient = np.full(len(self._beta), float(self.nobs - len(self._beta)))
        elif ddf == "asymptotic":
            by_coefficient = np.full(len(self._beta), np.inf)
        else:
            raise OptionError(f"ddf is one of {', '.join(map(repr, DDF))}, not {ddf!r}")
        return ConstantDf(ddf, self._cov_beta, by_coefficient)

    @cached_property
    def _robust_errors(self) -> dict[tuple[str, str | None], ClusterRobust]:
        return {}

    @cached_property
    def _satterthwaite(self) -> Satterthwaite:
        return Satterthwaite(self._variance_derivatives)

    @cached_property
    def _kenward_roger(self) -> KenwardRoger:
        if not self.reml:
            raise InferenceError(
                "Kenward & Roger's method adjusts REML estimates, and this is a maximum likelihood "
                "fit: use fit.refit_reml(), or ddf='satterthwaite'"
            )
        self._warn_uncertified("Kenward-Roger errors")
        return KenwardRoger(self._variance_derivatives)

    @property
    def df(self) -> pd.Series[float]:
        """Satterthwaite's degrees of freedom of the fixed effects (Fai & Cornelius 1996)."""
        return self._series(self._satterthwaite.df(np.eye(len(self._beta))), "df")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the fixed effects, by t on Satterthwaite's degrees of freedom."""
        return self._series(t_p_values(np.asarray(self.tvalues), np.asarray(self.df)), "p_value")

    def cov_params(
        self, ddf: str | None = None, robust: str | None = None, cluster: str | None = None
    ) -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", "between-within", "residual", "asymptotic"}
            "kenward-roger" gives the adjusted matrix of Kenward & Roger (1997), all others
            sigma^2 (X'V^-1 X)^-1.
        robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
            Cluster-robust (:meth:`LinearMixedFit.tidy`).
        cluster : str, optional
            The grouping factor of robust errors, if not that in which all others are nested.

        Returns
        -------
        DataFrame of shape (p, p)

        Raises
        ------
        InferenceError
            For "kenward-roger" after maximum likelihood; for "CR2" and "CR3" where clusters share
            random effects.
        """
        if ddf is None and robust is None and cluster is None:
            cov = self._cov_beta
        else:
            cov = self._fixed_errors(ddf, robust, cluster).cov
        return pd.DataFrame(cov.copy(), index=self._names, columns=self._names)

    def contrast(
        self,
        L: Any,
        ddf: str | None = None,
        rhs: Any = 0,
        level: float = 0.95,
        robust: str | None = None,
        cluster: str | None = None,
    ) -> Contrasts:
        """Estimate and test linear functions of the fixed effects.

        Parameters
        ----------
        L : array of shape (p,) or (k, p), mapping, DataFrame, str or sequence of str
            Weights; a dict of coefficients and weights, or a DataFrame with coefficients as
            columns; or texts such as ``"Days - 10"``, ``"A[T.b] = A[T.c]"``, of which a constant
            left of "=" belongs to the function and one on the right is what it is tested against.
            A dict of names and any of these names the contrasts.
        ddf : str, optional
            The method for degrees of freedom.
        rhs : float or array of shape (k,)
            Values under the null hypothesis.
        level : float
            Of the intervals.
        robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
            Cluster-robust errors; the joint test is then HTZ (Pustejovsky & Tipton 2018).
        cluster : str, optional
            The grouping factor of robust errors, if not that in which all others are nested.

        Returns
        -------
        Contrasts
            ``.to_frame()``, the joint ``.f_test``, and ``.adjust("holm")`` for their number.

        Raises
        ------
        DataError
            For another width, an unknown or dropped coefficient, or what is no number.
        OptionError
            For a level that is none.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("angle ~ recipe + (1 | replicate)", bl.datasets.load("cake"))
        >>> table = fit.contrast(["recipe[T.B]", "recipe[T.B] = recipe[T.C]"]).to_frame()
        >>> table["estimate"].round(3).tolist()
        [-1.478, 0.044]
        """
        return contrast(self, L, self._fixed_errors(ddf, robust, cluster), rhs, level)

    def emmeans(
        self,
        factor: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        ddf: str | None = None,
        level: float = 0.95,
        robust: str | None = None,
        cluster: str | None = None,
    ) -> MarginalMeans:
        """Estimate marginal means, as R's emmeans.

        Parameters
        ----------
        factor : str or sequence of str
            The variables whose levels have means.
        by : str or sequence of str, optional
            Variables within whose levels the means are compared.
        at : mapping, optional
            Values of variables in place of all levels, or of a covariate's mean:
            ``{"Days": [0, 5]}``.
        ddf : str, optional
            The method for degrees of freedom.
        level : float
            Of the intervals.
        robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
            Cluster-robust errors.
        cluster : str, optional
            The grouping factor of robust errors, if not that in which all others are nested.

        Returns
        -------
        MarginalMeans
            ``.to_frame()``, and ``.pairs(adjust="tukey")`` for all differences.

        Raises
        ------
        DataError
            For an unknown variable, a covariate of many values without any in ``at``, a grid of
            more than 10,000 rows, or if a covariate's mean is needed and the fit was restored
            without its data.
        OptionError
            For a level that is none.

        Notes
        -----
        Means over the grid of all categories' levels, each level of the same weight (Searle, Speed
        & Milliken 1980). A covariate stands at its mean over the rows used, one of one or two
        different values at these; an offset at its value there, or at its mean if it was given as
        an array. A mean that the data do not determine, because cells are empty, is NaN. Nested
        factors are not looked for.

        Examples
        --------
        >>> import blocklmm as bl
        >>> cake = bl.datasets.load("cake")
        >>> fit = bl.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", cake)
        >>> means = fit.emmeans("recipe")
        >>> means.to_frame()["emmean"].round(2).tolist()
        [33.12, 31.64, 31.6]
        >>> means.pairs().to_frame()["contrast"].tolist()
        ['A - B', 'A - C', 'B - C']
        """
        return emmeans(self, self._fixed_errors(ddf, robust, cluster), factor, by, at, level)

    def hypotheses(self, type: int | str = 3) -> dict[str, pd.DataFrame]:  # noqa: A002
        """Return what the F tests of the terms test, as lmerTest's ``show_tests``.

        Parameters
        ----------
        type : {1, 2, 3}
            SAS's type of hypothesis, or "I", "II", "III", as for :func:`blocklmm.anova`.

        Returns
        -------
        dict of str to DataFrame
            By term L, of which L beta = 0 is tested: a row for each hypothesis, a column for each
            coefficient. No row where the data hold nothing of the term that the others do not
            explain.

        Raises
        ------
        OptionError
            For another type.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("angle ~ recipe + temp + (1 | replicate)", bl.datasets.load("cake"))
        >>> fit.hypotheses(3)["temp"].loc[0].tolist()
        [0.0, 0.0, 0.0, 1.0]
        """
        return hypotheses(self, type)

    def r2_by_term(
        self,
        ddf: str | None = None,
        type: int | str = 3,  # noqa: A002
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return R^2_beta of the fixed effects together and of each term.

        Parameters
        ----------
        ddf : str, optional
            The method for the denominator's degrees of freedom. "kenward-roger" is r2glmm's "kr".
        type : {1, 2, 3}
            SAS's type of hypothesis of a term.
        level : float
            Of the limits.

        Returns
        -------
        DataFrame
            First the row Model, then one for each term: num_df, den_df, F, r2, lower, upper.

        Raises
        ------
        InferenceError
            For "asymptotic", and for "kenward-roger" after maximum likelihood.
        OptionError
            For a type, level or ddf that is none.

        Notes
        -----
        r2 = q F / (q F + nu) for the F of q rows on nu degrees of freedom (Edwards et al. 2008;
        Jaeger et al. 2017), with quantiles of the noncentral beta distribution as limits. Model
        tests whether X beta is constant.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("angle ~ recipe + temp + (1 | replicate)", bl.datasets.load("cake"))
        >>> fit.r2_by_term()["r2"].round(3).tolist()
        [0.265, 0.023, 0.252]
        """
        return r2_by_term(self, self._fixed_errors(ddf), type, level)
