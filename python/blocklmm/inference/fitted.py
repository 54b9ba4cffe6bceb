"""What a fit answers about its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from blocklmm.effects import FittedEffects

from .contrasts import Contrasts, contrast
from .emmeans import MarginalMeans, emmeans
from .profile import Profile
from .profiling import profile

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedInference(FittedEffects):
    """Contrasts, marginal means and profiles of a fit."""

    def contrast(
        self, L: Any, ddf: str | None = None, rhs: Any = 0, level: float = 0.95
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
        return contrast(cast("LinearMixedFit", self), L, ddf, rhs, level)

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

    def profile(
        self,
        parameters: str | Sequence[str] | None = None,
        criterion: str | None = None,
        level: float = 0.99,
    ) -> Profile:
        """Profile the criterion along single parameters, all others free.

        Parameters
        ----------
        parameters : str or sequence of str, optional
            Names as :meth:`conf_int` has them with ``method="profile"``; "theta_" stands for all
            variance parameters, "beta_" for all fixed effects. By default all.
        criterion : {"ML", "REML"}, optional
            By default variance parameters are profiled in the criterion that was fitted, fixed
            effects in the deviance. "ML" profiles all in the deviance, as lme4 does, about its
            minimum; "REML" variance parameters alone.
        level : float
            Out to the limits of intervals of this level.

        Returns
        -------
        Profile
            ``.to_frame()`` for plots of zeta, ``.conf_int(level)``.

        Raises
        ------
        DataError
            For an unknown parameter.
        InferenceError
            For fixed effects under "REML".
        ValueError
            For a level or criterion that is none.

        Warns
        -----
        BlocklmmWarning
            If profiling finds a lower minimum than the fit's: profiles are about that one.

        Notes
        -----
        zeta = sign(value - estimate) sqrt(f(value) - f_min) is normal, to the order that
        likelihood theory goes, and bent where Wald's intervals mislead (Bates & Watts 1988, ch. 6;
        Bates, Maechler, Bolker & Walker 2015, sec. 5.1). Standard deviations and correlations are
        the absolute ones of ``varcorr``; sigma is among what is free.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"), reml=False)
        >>> fit.profile(level=0.95).conf_int().round(2).loc["sd_(Intercept)|Batch"].tolist()
        [12.2, 84.06]
        """
        return profile(cast("LinearMixedFit", self), parameters, criterion, level)
