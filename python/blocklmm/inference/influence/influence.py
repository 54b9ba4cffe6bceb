"""What the estimates would be without a group, at the fitted theta, in closed form.

Without group i the sums S = X'V^-1X and X'V^-1e lose the group's share and nothing else, so that
all but theta is known exactly (Cook 1977; Demidenko & Stukel 2005). In units of the columns X N, in
which S is the identity, with H_i and t_i these shares,

    delta_i = N^-1 (beta^ - beta^_(i)) = (I - H_i)^-1 t_i
    r^2_(i) = r^2 - e_i'V_i^-1e_i - t_i'delta_i
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.effects import FittedEffects
from blocklmm.inference.clusters.clusters import ALONE, Clusters, find_clusters, require_blocks

from .deletion_steps import DeletionSteps
from .deletions import Deletions

FloatArray = npt.NDArray[np.float64]


def group_influence(
    fit: FittedEffects, group: str | None = None, n_threads: int = 1
) -> pd.DataFrame:
    """Leave out each group in turn.

    Parameters
    ----------
    fit : FittedEffects
    group : str, optional
        The grouping factor; by default that in which all others are nested.
    n_threads : int

    Returns
    -------
    DataFrame
        As ``fit.influence()`` describes it.

    Raises
    ------
    InferenceError
        If V is not block diagonal by the groups.
    DataError
        As :func:`find_clusters`.
    """
    clusters = find_clusters(fit, group, n_threads)
    require_blocks(
        clusters, "leaving out a group in closed form", "refit=True refits the model without it"
    )
    steps = DeletionSteps(fit, clusters, n_threads)
    found = Deletions.joined(
        _without(fit, clusters, steps, of, n_threads) for of in clusters.slices(steps.width)
    )
    order = clusters.factor.order
    index = pd.Index(clusters.factor.levels[order], name=clusters.factor.name)
    return found.ordered(order).to_frame(fit, fit.varcorr.labels(), index)


def _without(
    fit: FittedEffects, clusters: Clusters, steps: DeletionSteps, of: slice, n_threads: int
) -> Deletions:
    wanted = ("n_rows", "scores", "leverage", "square")
    n, t, H, square = (clusters.sums(of, *wanted, n_threads=n_threads)[name] for name in wanted)
    p, F = len(fit._beta), clusters.F
    nu = fit.nobs - p if fit.reml else fit.nobs
    values, vectors = np.linalg.eigh(H)
    known = (1.0 - values > ALONE).all(axis=1) & (nu - n > 0)
    left = np.where(known[:, None], 1.0 - values, np.nan)
    half = vectors / np.sqrt(left)[:, None, :]  # (I - H)^-1 = half half'
    delta = np.einsum("npa,nqa,nq->np", half, half, t, optimize=True)
    r2 = nu * fit.sigma**2 - square - (t * delta).sum(axis=1)
    r2 = np.where(known & (r2 > 0), r2, np.nan)
    sigma2 = r2 / np.where(known, nu - n, np.nan)
    return Deletions(
        n_rows=n,
        leverage=np.einsum("npp->n", H),
        covratio=np.exp(p * np.log(sigma2 / fit.sigma**2) - np.log(left).sum(axis=1)),
        params=fit._beta - delta @ F.T,
        bse=np.sqrt(sigma2[:, None] * ((F @ half) ** 2).sum(axis=2)),
        variances=steps.parameters(of, half, delta, r2, nu - n),
    )
