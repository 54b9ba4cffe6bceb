"""What a fit answers about its fixed effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from blocklmm.effects import FittedEffects

from .bootstrap import Bootstrap, bootstrap
from .contrasts import Contrasts, contrast
from .emmeans import MarginalMeans, emmeans

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedInference(FittedEffects):
    """Contrasts and marginal means of a fit."""

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

    def bootstrap(
        self,
        n: int = 1000,
        seed: int | None = None,
        n_threads: int | None = None,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Draw responses from the fitted model and fit it to each, as lme4's ``bootMer``.

        Parameters
        ----------
        n : int
            Number of replicates.
        seed : int, optional
            The same seed gives the same replicates, for any number of threads.
        n_threads : int, optional
            One by default.
        progress : bool, optional
            Whether to show a progress bar (by tqdm); by default where one is of use.

        Returns
        -------
        Bootstrap
            ``.to_frame()``, ``.conf_int(kind="percentile")``.

        Raises
        ------
        InferenceError
            If the fit has no certificate, or no random terms.

        Warns
        -----
        BlocklmmWarning
            If replicates ended without a certificate.

        Notes
        -----
        New random effects and new errors, from the fitted T and sigma. What a fit needs of a
        response, (Z'y, X'y, y'y), is drawn directly from its distribution, so that a replicate
        costs a pass over the groups and none over the rows.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"))
        >>> fit.bootstrap(200, seed=1).conf_int().loc["sigma"].round(1).tolist()
        [36.9, 63.7]
        """
        return bootstrap(cast("LinearMixedFit", self), n, seed, n_threads, progress)
