"""What a fit answers about its fixed effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from blocklmm.fitted_rows import FittedRows

from .conditional_aic import ConditionalAIC, conditional_aic
from .contrasts import Contrasts, contrast
from .design_effect import DesignEffect, design_effect
from .emmeans import MarginalMeans, emmeans
from .explained_by_terms import r2_by_term

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedInference(FittedRows):
    """Contrasts, marginal means, and what describes a fit as a whole."""

    def contrast(
        self,
        L: Any,
        ddf: str | None = None,
        rhs: Any = 0,
        level: float = 0.95,
        robust: str | None = None,
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

        Returns
        -------
        Contrasts
            ``.to_frame()``, the joint ``.f_test``, and ``.adjust("holm")`` for their number.

        Raises
        ------
        DataError
            For another width, an unknown or dropped coefficient, or what is no number.
        ValueError
            For a level that is none.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("angle ~ recipe + (1 | replicate)", bl.datasets.load("cake"))
        >>> table = fit.contrast(["recipe[T.B]", "recipe[T.B] = recipe[T.C]"]).to_frame()
        >>> table["estimate"].round(3).tolist()
        [-1.478, 0.044]
        """
        return contrast(cast("LinearMixedFit", self), L, ddf, rhs, level, robust)

    def emmeans(
        self,
        factor: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        ddf: str | None = None,
        level: float = 0.95,
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
        ValueError
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
        return emmeans(cast("LinearMixedFit", self), factor, by, at, ddf, level)

    def caic(self) -> ConditionalAIC:
        """Return the conditional AIC, for prediction in the groups that were seen.

        Returns
        -------
        ConditionalAIC
            ``.caic``, from ``.llf``, the log-likelihood of y given the conditional modes, and
            ``.effective_df``, with the estimation of the variances in it (Greven & Kneib 2010);
            ``.caic_known_variances`` from ``.hat_trace`` (Vaida & Blanchard 2005).

        Notes
        -----
        The marginal :attr:`aic` is for prediction in new groups. Without random effects the
        effective degrees of freedom are p, and after maximum likelihood both are the same. Fits
        by REML and ML have different sigma, hence different values.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
        >>> found = fit.caic()
        >>> round(found.llf, 2), round(found.effective_df, 2), round(found.caic, 2)
        (-824.51, 30.25, 1711.52)
        """
        return conditional_aic(self)

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
            For ddf="asymptotic", and "kenward-roger" after maximum likelihood.
        ValueError
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
        return r2_by_term(self, ddf, type, level)

    def design_effect(self) -> DesignEffect:
        """Return what clustering costs: design effects and effective sample sizes.

        Returns
        -------
        DesignEffect
            ``.design_effect`` and ``.effective_n`` of the mean, ``.by_group`` with Kish's
            1 + (m - 1) rho of each grouping factor, ``.by_coefficient``.

        Notes
        -----
        Kish (1965), "Survey Sampling", sec. 5.4; Scott & Holt (1982) for coefficients. With weights
        X'X is the weighted one, and the residual variance that of a row of weight one.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("Reaction ~ Days + (1 | Subject)", bl.datasets.load("sleepstudy"))
        >>> found = fit.design_effect()
        >>> round(found.design_effect, 2), round(found.effective_n, 1)
        (6.3, 28.6)
        >>> found.by_coefficient["design_effect"].round(2).tolist()
        [2.12, 0.41]
        """
        return design_effect(self)
