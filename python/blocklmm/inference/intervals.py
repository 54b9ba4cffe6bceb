"""Intervals that a fit makes by fitting again: profiles and the parametric bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from .bootstrap import Bootstrap, bootstrap
from .fitted import FittedInference
from .profile import Profile
from .profiling import profile

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedIntervals(FittedInference):
    """Profile likelihood and bootstrap of a fit."""

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
