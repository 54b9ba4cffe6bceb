"""Clusters by brute force: all matrices of the rows, in rows times the square root of w."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from blocklmm import _core


@dataclass
class Model:
    """Rows times sqrt(w), each factor's Z (wide: levels x columns), clusters, and T over all."""

    X: np.ndarray
    y: np.ndarray
    Z: np.ndarray
    T: np.ndarray
    clusters: np.ndarray

    def __post_init__(self):
        self.V = np.eye(len(self.y)) + self.Z @ self.T @ self.Z.T
        self.inverse = np.linalg.inv(self.V)
        self.M = np.linalg.pinv(self.X.T @ self.inverse @ self.X)
        self.beta = self.M @ self.X.T @ self.inverse @ self.y
        self.e = self.y - self.X @ self.beta

    def rows(self):
        return [np.flatnonzero(self.clusters == i) for i in np.unique(self.clusters)]

    def adjustment(self, rows, kind):
        """A_i as it is defined, with D_i a Cholesky factor."""
        V = self.V[np.ix_(rows, rows)]
        X = self.X[rows]
        if kind == "none":
            return np.eye(len(rows))
        D = np.linalg.cholesky(V).T
        if kind == "jackknife":  # I - H is symmetric for the inner product of V^-1
            half = np.linalg.solve(D.T, X)
            left = np.eye(len(rows)) - half @ self.M @ half.T
            return D.T @ np.linalg.pinv(left, 1e-8, hermitian=True) @ np.linalg.inv(D.T)
        values, vectors = np.linalg.eigh(D @ (V - X @ self.M @ X.T) @ D.T)
        root = np.where(values > 1e-9 * values.max(), np.abs(values) ** -0.5, 0.0)
        return D.T @ (vectors * root) @ vectors.T @ D

    def estimating(self, kind):
        """X_i'V_i^-1 A_i of each cluster."""
        return [
            self.X[r].T @ np.linalg.inv(self.V[np.ix_(r, r)]) @ self.adjustment(r, kind)
            for r in self.rows()
        ]

    def scores(self, kind):
        return np.array(
            [E @ self.e[r] for E, r in zip(self.estimating(kind), self.rows(), strict=True)]
        )

    def covariance(self, kind, c):
        """Cov(c't_i, c't_j) / sigma^2 where V is right, for c in the user's units."""
        n = len(self.y)
        residual = np.eye(n) - self.X @ self.M @ self.X.T @ self.inverse
        along = np.zeros((len(self.rows()), n))
        for i, (E, r) in enumerate(zip(self.estimating(kind), self.rows(), strict=True)):
            along[i] = c @ self.M @ E @ residual[r]
        return along @ self.V @ along.T


def spans(statistics, whole, x_columns, z_columns, members, cluster, factor, M):
    """The core's spans, in units of the statistics' columns, and N with N N' = M."""
    N = np.linalg.cholesky(M)
    return N, _core.ClusterSpans(
        rows=whole,
        pairs=statistics,
        cluster=cluster,
        x_columns=x_columns,
        z_columns=z_columns,
        members=members,
        lambda_=factor,
        N=N,
    )


def sums(found, adjustment, contrasts, *wanted, z_factor=0, n_threads=1):
    return found.sums(
        first=0,
        n=found.n_clusters,
        z_factor=z_factor,
        adjustment=getattr(_core.Adjustment, adjustment),
        contrasts=contrasts,
        wanted=wanted,
        n_threads=n_threads,
    )
