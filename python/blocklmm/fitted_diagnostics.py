"""What a fit says of its own rows and groups: residuals, influence, and its worth as a whole."""

from __future__ import annotations

import pandas as pd

from .arguments import require_choice, require_count, require_flag
from .errors import OptionError
from .fitted_tests import FittedTests
from .inference.conditional_aic.conditional_aic import ConditionalAIC, conditional_aic
from .inference.design_effect import DesignEffect, design_effect
from .inference.influence.influence import group_influence
from .inference.influence.refits import refit_influence
from .inference.influence.residuals import residuals
from .inference.influence.rows import row_influence
from .parameters import FloatArray
from .tables import WideTable


class FittedDiagnostics(FittedTests):
    """The part of a fit that looks back at the data."""

    def residuals(self, kind: str = "conditional") -> FloatArray:
        """Return residuals.

        Parameters
        ----------
        kind : {"conditional", "marginal", "pearson", "standardized", "standardized_marginal"}
            With V of rows times sqrt(w) and relative to sigma^2, M = (X'V^-1X)^-1 and
            P = V^-1 - V^-1X M X'V^-1:

            - ``"conditional"`` (or ``"response"``): y - X beta^ - Z b^, about the group's own mean;
            - ``"marginal"``: y - X beta^, about the population's;
            - ``"pearson"``: sqrt(w) (y - X beta^ - Z b^);
            - ``"standardized"``: that over sigma sqrt(P_jj), its standard deviation; it is also the
              error of predicting row j from all others, over the standard deviation of that;
            - ``"standardized_marginal"``: sqrt(w) (y - X beta^) over sigma
              sqrt((V - X M X')_jj).

        Returns
        -------
        array of shape (nobs,)
            In the rows' order; NaN where the variance is zero, because nothing but the row itself
            tells a coefficient.

        Raises
        ------
        DataError
            If the fit is without its rows.

        Notes
        -----
        Nobre & Singer (2007), Biometrical Journal 49, 863-875; Haslett & Haslett (2007),
        International Statistical Review 75, 1-24. The variances take theta and sigma as known.
        """
        return residuals(self, kind)

    def influence(
        self,
        by: str = "group",
        group: str | None = None,
        refit: bool = False,
        n_threads: int = 1,
    ) -> pd.DataFrame:
        """Return what the estimates would be without each group, or without each row.

        Parameters
        ----------
        by : {"group", "row"}
            What is left out, one at a time.
        group : str, optional
            The grouping factor; by default that in which all others are nested.
        refit : bool
            With groups: refit the model without each, from the fitted theta, instead of the closed
            form at the fitted theta. For some hundred groups.
        n_threads : int

        Returns
        -------
        DataFrame
            Indexed by the groups as :meth:`ranef` orders them, or by the rows used. NaN where a
            coefficient can't be estimated without the group. Columns:

            - n: rows left out;
            - cooks_distance: (beta^ - beta^_(i))' Var(beta^)^-1 (beta^ - beta^_(i)) / p, with the
              variance of the whole fit;
            - leverage: the sum over the rows left out of the diagonal of X (X'V^-1X)^-1 X'V^-1,
              which makes X beta^ of y; p in all;
            - covratio: det Var(beta^_(i)) / det Var(beta^);
            - dfbetas_x: (beta^ - beta^_(i)) over the standard error of beta^_(i), coefficient x;
            - params_x: beta^_(i), coefficient x;
            - sd_x|g, cor_y.x|g, sigma: the variance parameters, by group. In the closed form they
              are one Newton step from the fitted ones; by row, sigma alone, at the fitted theta.

        Raises
        ------
        InferenceError
            For groups in closed form, where their rows share random effects of another factor:
            leaving the group out would change the others' covariance.
        DataError
            If the factors are crossed and none is named, the model has no random terms, or the fit
            is without its rows.
        OptionError

        Notes
        -----
        Without refit the fixed effects and what is made of them are exact for the fitted theta;
        lme4's ``influence`` and influence.ME refit. Cook (1977), Technometrics 19, 15-18; Belsley,
        Kuh & Welsch (1980); Demidenko & Stukel (2005), Statistics in Medicine 24, 893-909;
        Nieuwenhuis, te Grotenhuis & Pelzer (2012), The R Journal 4(2), 38-47.
        """
        require_choice("by", by, ("group", "row"))
        require_flag("refit", refit)
        require_count("n_threads", n_threads)
        self._warn_uncertified("influence")
        if by == "row":
            if refit or group is not None:
                raise OptionError("by='row' takes neither refit nor group")
            return WideTable(row_influence(self))
        of_groups = refit_influence if refit else group_influence
        return WideTable(of_groups(self, group, n_threads))

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
        return conditional_aic(self, self._satterthwaite)

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
