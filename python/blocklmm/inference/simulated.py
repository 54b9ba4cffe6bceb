"""What a fit answers by drawing responses from itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .bootstrap import Bootstrap, bootstrap
from .fitted import FittedInference

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedSimulations(FittedInference):
    """The parametric bootstrap of a fit."""

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
