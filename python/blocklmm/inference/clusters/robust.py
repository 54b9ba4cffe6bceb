"""Covariances of the fixed effects that hold whatever the covariance within clusters is.

With V_i the fitted covariance of the rows of cluster i, relative to sigma^2, S = X'V^-1X and
e = y - X beta^ (Liang & Zeger 1986; Bell & McCaffrey 2002; Pustejovsky & Tipton 2018),

    cov = S^-1 (sum_i s_i s_i') S^-1,    s_i = X_i'V_i^-1 A_i e_i

and the kinds differ in A_i: see :func:`cluster_robust`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.effects import FittedEffects
from blocklmm.errors import InferenceError, OptionError, warn
from blocklmm.inference.degrees_of_freedom.fixed_errors import ROBUST, FTest
from blocklmm.inference.testing.tails import f_p_value
from blocklmm.inference.testing.wald import uncorrelated, wald

from .clusters import ALONE, Clusters, find_clusters, require_blocks

FloatArray = npt.NDArray[np.float64]

_FEWEST_DF = 1e-8
_ADJUSTMENTS = {"CR2": _core.Adjustment.symmetric, "CR3": _core.Adjustment.jackknife}


@dataclass(frozen=True, slots=True)
class ClusterRobust:
    """A cluster-robust covariance of the fixed effects, and tests that go with it.

    Attributes
    ----------
    kind : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
    cluster : str
        The grouping factor whose levels are the clusters.
    cov : array of shape (p, p)
        In the user's units.
    cov_fitted : array of shape (p, p)
        sigma^2 (X'V^-1X)^-1.
    n_clusters : int
    has_blocks : bool
        Whether the fitted covariance of the rows is block diagonal by the clusters.
    """

    kind: str
    cluster: str
    cov: FloatArray
    cov_fitted: FloatArray
    n_clusters: int
    has_blocks: bool
    _clusters: Clusters | None
    _n_threads: int

    @property
    def name(self) -> str:
        """The name of the method."""
        name = f"{self.kind} by {self.cluster}"
        return name if self.has_blocks else f"{name}, with clusters less one"

    def __reduce__(self) -> tuple[Any, ...]:
        known = self.kind, self.cluster, self.cov, self.cov_fitted, self.n_clusters, self.has_blocks
        return ClusterRobust, (*known, None, 1)

    def _sums_by_cluster(self) -> Clusters:
        if self._clusters is None:
            raise InferenceError(
                "this was restored without the sums by cluster, of which its degrees of freedom "
                "are made: ask the fit again"
            )
        return self._clusters

    def df(self, L: FloatArray) -> FloatArray:
        """Return Satterthwaite's degrees of freedom of contrasts.

        Parameters
        ----------
        L : array of shape (k, p)
            Contrasts of the fixed effects by rows.

        Returns
        -------
        array of shape (k,)
            2 E(v)^2 / Var(v) of the variance v that is estimated of c'beta^, taking the fitted
            covariance of the rows as true; clusters less one where that is not block diagonal by
            the clusters, NaN for a contrast of zeros.

        Notes
        -----
        v = sum_i (c't_i)^2 with Cov(c't_i, c't_j) = P_ij, so that df = (sum_i P_ii)^2 / sum_ij
        P_ij^2 (Bell & McCaffrey 2002, sec. 3; Pustejovsky & Tipton 2018, sec. 3.1). P is a diagonal
        matrix less one of rank p, and the double sum over clusters a sum over one.
        """
        L = np.atleast_2d(np.asarray(L, dtype=np.float64))
        if not self.has_blocks:
            known = np.any(L != 0, axis=1)
            return np.where(known, self.n_clusters - 1.0, np.nan)
        p, k = len(self.cov), len(L)
        traces, squares, outer = np.zeros(k), np.zeros(k), np.zeros((k, p, p))
        for variance, reach in self._sums(L):
            own = np.einsum("naa->na", variance)
            shared = (reach**2).sum(axis=1)
            traces += (own - shared).sum(axis=0)
            squares += (own * (own - 2 * shared)).sum(axis=0)
            by_contrast = np.ascontiguousarray(reach.transpose(2, 1, 0))
            outer += by_contrast @ by_contrast.transpose(0, 2, 1)
        squares += (outer**2).sum(axis=(1, 2))
        known = traces > 0
        return np.where(known, traces**2 / np.where(known, squares, 1.0), np.nan)

    def f_test(self, L: FloatArray, estimate: FloatArray) -> FTest:
        """Test L beta = 0 jointly by the approximate Hotelling test.

        Parameters
        ----------
        L : array of shape (k, p)
            Dependent rows are dropped.
        estimate : array of shape (k,)
            Of L beta, or of its distance from the hypothesis.

        Returns
        -------
        FTest
            With q the rank of L, F = (eta - q + 1) / (eta q) times the Wald statistic, on q and
            eta - q + 1 degrees of freedom; NaN, with a warning, where these are not positive.

        Notes
        -----
        The matrix that is estimated of L beta^ is taken as Wishart with eta degrees of freedom,
        those that match the total variance of its entries (the test HTZ of Tipton & Pustejovsky
        2015, Journal of Educational and Behavioral Statistics 40, 604-634). It is the t test with
        :meth:`df` where q is one. Where the rows' covariance is not block diagonal by the clusters,
        F is the Wald statistic over q, on q and clusters less one degrees of freedom.
        """
        # the rank is that of L, not of cov, which few clusters leave singular
        _, weights = uncorrelated(estimate, L @ self.cov_fitted @ L.T)
        q, L, estimate = len(weights), weights @ L, weights @ estimate
        if q == 0:
            return FTest(np.nan, 0, np.nan, np.nan)
        if not self.has_blocks:
            eta = self.n_clusters - 1.0 if q < self.n_clusters else 0.0
            den_df, scale = eta, 1 / q
        else:
            eta = self._wishart_df(L)
            den_df = eta - q + 1
            scale = den_df / (eta * q)
        if den_df < _FEWEST_DF:
            warn(
                f"no {self.kind} test of {q} hypotheses together: {self.n_clusters} clusters of "
                f"{self.cluster!r} are too few"
            )
            return FTest(np.nan, q, np.nan, np.nan)
        F = scale * wald(estimate, L @ self.cov @ L.T)
        return FTest(F, q, den_df, f_p_value(F, q, den_df))

    def _wishart_df(self, L: FloatArray) -> float:
        """Return eta of the test HTZ.

        With blocks P_ij = 1[i = j] Q_i - R_i'R_j (q x q) in units in which sum_i P_ii is the
        identity, eta = q (q + 1) / sum_ij [tr(P_ij P_ij) + tr(P_ij)^2]. Of the parts without a Q
        the sums over i and j are one sum of vec(R_i) vec(R_i)', contracted with itself.
        """
        p, q = len(self.cov), len(L)
        expected = np.zeros((q, q))
        for Q, R in self._sums(L):
            expected += Q.sum(axis=0) - np.einsum("npa,npb->ab", R, R, optimize=True)
        values, vectors = np.linalg.eigh(expected)
        whitened = (vectors / np.sqrt(values)).T @ L
        total = 0.0
        moments = np.zeros((p * q, p * q))
        for Q, R in self._sums(whitened):
            RR = np.einsum("npa,npb->nab", R, R, optimize=True)
            total += float((Q * (Q - 2 * RR)).sum())
            trace_Q, trace_R = np.einsum("naa->n", Q), np.einsum("naa->n", RR)
            total += float((trace_Q * (trace_Q - 2 * trace_R)).sum())
            flat = R.reshape(len(R), p * q)
            moments += flat.T @ flat
        total += float((moments**2).sum())
        four = moments.reshape(p, q, p, q)
        total += float((four * four.transpose(0, 3, 2, 1)).sum())
        return q * (q + 1) / total

    def _sums(self, L: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield Pi'Pi and Phi'Pi of ``cpp/core/cluster_robust.hpp`` for rows of L."""
        clusters = self._sums_by_cluster()
        contrasts = (L @ clusters.F).T
        p, c = contrasts.shape
        for of in clusters.slices((p + c) ** 2):
            part = clusters.sums(
                of,
                "variance",
                "reach",
                adjustment=_ADJUSTMENTS.get(self.kind, _core.Adjustment.none),
                contrasts=contrasts,
                n_threads=self._n_threads,
            )
            yield part["variance"], part["reach"]


def cluster_robust(
    fit: FittedEffects, kind: str = "CR2", cluster: str | None = None, n_threads: int = 1
) -> ClusterRobust:
    """Return a cluster-robust covariance of a fit's fixed effects.

    Parameters
    ----------
    fit : FittedEffects
    kind : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        With J clusters, n rows, p coefficients, and D_i'D_i = V_i:

        - CR0: A_i = I;
        - CR1, CR1S: CR0 times J / (J - 1), and times (n - 1) / (n - p) too;
        - CR2: A_i = D_i'(D_i (V_i - X_i S^-1 X_i') D_i')^(+1/2) D_i, with which cov is unbiased
          where V is right;
        - CR3: A_i = (I - X_i S^-1 X_i'V_i^-1)^+, with which s_i is what the estimate moves when the
          cluster is left out: the jackknife.
    cluster : str, optional
        A grouping factor of the model; by default that in which all others are nested.
    n_threads : int
        For the pass over the rows and the sums over clusters; they are equal to the bit for any.

    Returns
    -------
    ClusterRobust

    Raises
    ------
    InferenceError
        For CR2 and CR3 where V is not block diagonal by the clusters: they need its blocks.
    DataError
        For an unknown or undetermined cluster, a model without random terms, or a fit restored
        without its data: this takes another pass over the rows.
    OptionError
        For an unknown kind.

    Notes
    -----
    Nothing of a cluster's size is formed: on the orthogonal complement of [Z_i X_i] the rows'
    covariance is sigma^2 I, so that the cross products of [Z_i X_i] and of X_i with V^-1 e are
    enough (``cpp/core/cluster_span.hpp``). With weights this holds for rows times sqrt(w), and D_i
    is a factor of their covariance; any factor makes CR2 unbiased, but those of the rows as they
    are would give another A_i. Agrees with clubSandwich's vcovCR for lmer, which takes no weights.
    """
    if kind not in ROBUST:
        raise OptionError(f"kind is one of {', '.join(map(repr, ROBUST))}, not {kind!r}")
    clusters = find_clusters(fit, cluster, n_threads)
    if kind in _ADJUSTMENTS:
        require_blocks(clusters, kind, "use CR0, CR1 or CR1S")
    p = len(clusters.F)
    meat, n_needed = np.zeros((p, p)), 0
    if clusters.spans is None:
        scores = clusters.row_scores()
        meat += scores.T @ scores
    else:
        adjustment = _ADJUSTMENTS.get(kind, _core.Adjustment.none)
        for of in clusters.slices(p * (p + 1)):
            wanted = ("scores", "leverage") if kind == "CR3" else ("scores",)
            found = clusters.sums(of, *wanted, adjustment=adjustment, n_threads=n_threads)
            meat += found["scores"].T @ found["scores"]
            if kind == "CR3":
                shares = np.linalg.eigvalsh(found["leverage"])
                n_needed += int((shares > 1 - ALONE).any(axis=1).sum())
        if n_needed:
            warn(
                f"without {n_needed} of the clusters of {clusters.factor.name!r}, one at a time, a "
                "coefficient can't be estimated: CR3 is not the jackknife there, and its errors "
                "are too small; use CR2"
            )
    J, n = clusters.n_clusters, fit.nobs
    if kind in ("CR1", "CR1S"):
        meat *= J / (J - 1)
    if kind == "CR1S":
        meat *= (n - 1) / (n - p)
    cov = clusters.F @ meat @ clusters.F.T
    return ClusterRobust(
        kind,
        clusters.factor.name,
        cov,
        fit._cov_beta,
        clusters.n_clusters,
        clusters.spans is not None,
        clusters,
        n_threads,
    )
