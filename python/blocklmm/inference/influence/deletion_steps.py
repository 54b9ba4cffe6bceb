"""Variance parameters without a group, by one Newton step from the fitted ones.

Without group i, with beta and sigma as they are without it, the criterion's slope in T is

    Gamma_(i) = sum_(j != i) (A~_j - J_j G_i J_j'),   J_j = Z_j'V_j^-1[X N, e]
    G_i = [(I - H_i)^-1 0; 0 0] + e_i e_i' / sigma^2_(i),   e_i = (delta_i; 1)

(``cpp/core/block_objective.hpp``; ML: the last part of G_i alone), a sum over all groups less the
group's own. The step takes it with the Hessian of all data, and r^2_(i) along with it, in the
core's units, about the covariates' means (where the user's have their zero matters little then):

    lambda_(i) = lambda + L,   L = -H^-1 (2 Gamma_(i) lambda)
    log r^2_(i) += -2 tr(sum_(j != i) J_j e_i e_i'J_j' lambda L') / r^2_(i)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.effects import FittedEffects
from blocklmm.inference.clusters.clusters import Clusters

FloatArray = npt.NDArray[np.float64]

_FLAT = 1e-8  # eigenvalues of the Hessian, in parts of the rows, that allow no step


class DeletionSteps:
    """One Newton step of the variance parameters for each group that is left out.

    Parameters
    ----------
    fit : FittedEffects
    clusters : Clusters
        By which V is block diagonal.
    n_threads : int

    Attributes
    ----------
    width : int
        Numbers that are needed of a group at one time.
    """

    def __init__(self, fit: FittedEffects, clusters: Clusters, n_threads: int) -> None:
        problem = fit._problem
        self._clusters, self._n_threads = clusters, n_threads
        self._reml, self._p, self._structure = fit.reml, len(fit._beta), problem.structure
        self._lambda = fit._optimum.factor
        self._inverse_hessian = _inverse_hessian(fit)
        self._basis = problem.units.z_basis
        self._members = [problem.design.members(f) for f in range(len(problem.design.groups))]
        self._z_scale = np.asarray(problem.core.z_scale)
        self.width = (max(map(len, self._members)) * (self._p + 1)) ** 2
        self._totals = []
        for f, own in enumerate(self._members):
            A, moments = np.zeros((len(own),) * 2), np.zeros((len(own) * (self._p + 1),) * 2)
            for of in clusters.slices(self.width):
                A_of, moments_of = self._sums(of, f)
                A += A_of.sum(axis=0)
                moments += moments_of.sum(axis=0)
            self._totals.append((A, moments))

    def _sums(self, of: slice, f: int) -> tuple[FloatArray, FloatArray]:
        """Return for some groups sum A~ and sum vec(J) vec(J)' over their levels of a factor."""
        found = self._clusters.sums(of, "A", "moments", z_factor=f, n_threads=self._n_threads)
        return found["A"], found["moments"]

    def parameters(
        self, of: slice, half: FloatArray, delta: FloatArray, r2: FloatArray, nu: FloatArray
    ) -> FloatArray:
        """Return standard deviations, correlations and sigma without each of some groups.

        Parameters
        ----------
        of : slice
            The groups, m of them.
        half : array of shape (m, p, p)
            half half' = (I - H_i)^-1.
        delta : array of shape (m, p)
        r2, nu : arrays of shape (m,)
            Residual sum of squares and its degrees of freedom without the group.

        Returns
        -------
        array of shape (m, v)
            In the order of ``VarCorr.labels()``.
        """
        m, q, p = len(delta), self._structure.q, self._p
        e = np.column_stack([delta, np.ones(m)])
        ee = e[:, :, None] * e[:, None, :]
        G = ee * (nu / r2)[:, None, None]
        if self._reml:
            G[:, :p, :p] += half @ half.transpose(0, 2, 1)
        gamma, spread = np.zeros((m, q, q)), np.zeros((m, q, q))
        for f, own in enumerate(self._members):
            A, moments = self._sums(of, f)
            A, moments = self._totals[f][0] - A, self._totals[f][1] - moments
            moments = moments.reshape(m, p + 1, len(own), p + 1, len(own))
            unit = np.outer(self._z_scale[own], self._z_scale[own])
            row, column = np.ix_(own, own)
            gamma[:, row, column] = (A - np.einsum("ncadb,ncd->nab", moments, G)) / unit
            spread[:, row, column] = np.einsum("ncadb,ncd->nab", moments, ee) / unit
        i, j = np.array(self._structure.entries, dtype=np.intp).T
        moved = np.zeros((m, q, q))
        moved[:, i, j] = -2 * (gamma @ self._lambda)[:, i, j] @ self._inverse_hessian
        slope = -2 * ((spread @ self._lambda) * moved).sum(axis=(1, 2)) / r2
        return self._described(self._lambda + moved, np.sqrt(r2 / nu * np.exp(slope)))

    def _described(self, lambda_: FloatArray, sigma: FloatArray) -> FloatArray:
        columns = []
        for s in self._structure.slices:
            block = self._basis[s, s] @ lambda_[:, s, s]
            size = np.linalg.norm(block, axis=2)
            with np.errstate(invalid="ignore", divide="ignore"):
                corr = block @ block.transpose(0, 2, 1) / (size[:, :, None] * size[:, None, :])
            width = s.stop - s.start
            columns += [sigma * size[:, a] for a in range(width)]
            columns += [corr[:, b, a] for a in range(width) for b in range(a + 1, width)]
        return np.column_stack([*columns, sigma])


def _inverse_hessian(fit: FittedEffects) -> FloatArray:
    """Return the inverse of the criterion's Hessian in theta; zero where it has no curvature."""
    problem, factor = fit._problem, fit._optimum.factor
    found = problem.objective(fit.reml, 1)(factor, exact_hessian=True)
    structure = problem.structure
    of_theta = [structure.block_entries.index(entry) for entry in structure.entries]
    hessian = found.hessian[np.ix_(of_theta, of_theta)]
    values, vectors = np.linalg.eigh(hessian)
    half = vectors[:, values > _FLAT * fit.nobs] / np.sqrt(values[values > _FLAT * fit.nobs])
    return np.asarray(half @ half.T)
