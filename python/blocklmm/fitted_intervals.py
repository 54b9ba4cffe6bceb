"""Intervals of a fit: Wald's, profiles, and the parametric bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .arguments import require_level
from .errors import OptionError, did_you_mean
from .fitted_tests import FittedTests
from .inference.bootstrap.bootstrap import Bootstrap, bootstrap
from .inference.profile.profile import Profile
from .inference.profile.profiling import profile
from .inference.testing.tails import t_quantiles
from .other_names import OF_INTERVALS, answers
from .tables import noted


class FittedIntervals(FittedTests):
    """Confidence intervals of a fit's parameters."""

    @answers(OF_INTERVALS)
    def conf_int(
        self,
        level: float = 0.95,
        method: str = "wald",
        ddf: str | None = None,
        criterion: str | None = None,
        robust: str | None = None,
        cluster: str | None = None,
    ) -> pd.DataFrame:
        """Return confidence intervals of the fixed effects, or by profiles of all parameters.

        Parameters
        ----------
        level : float
        method : {"wald", "profile"}
            "wald": the fixed effects' estimates plus or minus a quantile times the standard error.
            "profile": likelihood intervals, all values at which the criterion with everything else
            free is at most chi-square's quantile (one degree of freedom) above its minimum.
        ddf : str, optional
            Wald's quantile is Student's, on these degrees of freedom, and the standard error goes
            with them (:meth:`tidy`); by default it is the normal distribution's, as lme4's.
        criterion : {"ML"}, optional
            Of profiles: by default variance parameters are profiled in the criterion that was
            fitted, fixed effects in the deviance; "ML" profiles all in the deviance, as lme4.
        robust : str, optional
            Wald's standard errors and degrees of freedom are cluster-robust (:meth:`tidy`).
        cluster : str, optional
            The grouping factor of robust errors, if not that in which all others are nested.

        Returns
        -------
        DataFrame
            Columns lower, upper. Rows of profiles are ``varcorr.labels()``, then fixed effects.

        Raises
        ------
        OptionError

        Notes
        -----
        A profile's limit is the first one outward from the estimate. Where a standard deviation of
        zero is within the interval, its lower limit is zero, and where no correlation is beyond it,
        a correlation's are -1 and 1. The quantile is the same at these boundaries, as lme4's: the
        intervals are rather too wide there. A correlation with an effect whose variance is
        estimated as zero has none (NaN). More of profiles in :meth:`LinearMixedFit.profile`.
        """
        if isinstance(level, str) and level.lower() in ("wald", "profile"):
            raise OptionError(f"level is a number: say method={level!r} for a method")
        method = method.lower() if isinstance(method, str) else method
        if method == "profile":
            if ddf is not None or robust is not None or cluster is not None:
                raise OptionError(
                    "ddf, robust and cluster belong to method='wald': profiles have none"
                )
            found = profile(self, None, criterion, level).conf_int(level)
            return noted(found, [f"profile likelihood intervals of level {level:g}"])
        if method != "wald":
            near = did_you_mean(str(method), ("wald", "profile"))
            if str(method).startswith("boot"):
                near = " Bootstrap intervals are fit.bootstrap(1000, seed=1).conf_int()."
            raise OptionError(f"method is 'wald' or 'profile', not {method!r}.{near}")
        if criterion is not None:
            raise OptionError("criterion belongs to method='profile'")
        is_normal = ddf is None and robust is None
        errors = self._fixed_errors("asymptotic" if is_normal else ddf, robust, cluster)
        df = errors.df(np.eye(len(self._beta)))
        half = t_quantiles(1 - require_level(level), df) * np.sqrt(np.diag(errors.cov))
        table = pd.DataFrame({"lower": self.params - half, "upper": self.params + half})
        by = f"{errors.name} degrees of freedom"
        if is_normal:
            by = "normal quantiles, as lme4's; t with ddf='satterthwaite', as in tidy and summary"
        return noted(table, [f"Wald intervals of level {level:g}, {by}"])

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
            Names as :meth:`conf_int` has them with ``method="profile"``; ``"theta_"`` stands for
            all variance parameters, ``"beta_"`` for all fixed effects. By default all.
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
        OptionError
            For a level or criterion that is none.

        Warns
        -----
        BlocklmmWarning
            If profiling finds a lower minimum than the fit's: profiles are about that one.

        Notes
        -----
        zeta = sign(value - estimate) sqrt(f(value) - f_min) is normal, to the order that
        likelihood theory goes, and bent where Wald's intervals mislead (Bates & Watts 1988, ch. 6;
        Bates, Mächler, Bolker & Walker 2015, sec. 5.1). Standard deviations and correlations are
        the absolute ones of ``varcorr``; sigma is among what is free.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"), reml=False)
        >>> fit.profile(level=0.95).conf_int().round(2).loc["sd_(Intercept)|Batch"].tolist()
        [12.2, 84.06]
        """
        return profile(self, parameters, criterion, level)

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
        [36.4, 62.6]
        """
        return bootstrap(self, n, seed, n_threads, progress)
