"""Coordinates of the covariance matrix T of the random effects, for the optimiser."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from .objective import Structure

FloatArray = npt.NDArray[np.float64]


class Chart:
    """Coordinates of T = F F' near a point, in which nothing is redundant.

    With F = U diag(s) from the singular values of a term's block, T = (F + U E)(F + U E)'. Of the
    q^2 entries of E, those that only rotate F are left out: for each pair (i, j), E moves along
    s_j e_i e_j' + s_i e_j e_i', which is orthogonal to the rotation (the horizontal space of the
    quotient by rotations; Journee, Bach, Absil & Sepulchre 2010, sec. 3). Where s_j is zero this
    turns the range of T without leaving the boundary, and e_j e_j' leaves it: its curvature is
    that of Gamma, so a saddle on the boundary shows as a negative eigenvalue of the Hessian.

    Parameters
    ----------
    structure : Structure
    factor : array of shape (q, q)
        Any block diagonal F.

    Attributes
    ----------
    factor : array of shape (q, q)
        U diag(s), block by block.
    sizes : list of arrays
        The singular values s of each block, largest first.
    """

    def __init__(self, structure: Structure, factor: FloatArray) -> None:
        self.factor = np.zeros_like(factor)
        self.sizes: list[FloatArray] = []
        blocks = []
        for s in structure.slices:
            left, size, _ = np.linalg.svd(factor[s, s])
            self.factor[s, s] = left * size
            self.sizes.append(size)
            blocks.append(_horizontal_basis(left, size))
        self._entries = structure.block_entry_arrays
        self._basis = blocks[0] if len(blocks) == 1 else block_diag(*blocks)

    def derivatives(
        self, gradient: FloatArray, hessian: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return gradient and Hessian in these coordinates, from those in the entries of F."""
        return self._basis.T @ gradient, self._basis.T @ hessian @ self._basis

    def moved(self, structure: Structure, step: FloatArray) -> Chart:
        """Return the chart at another point, given in these coordinates."""
        factor = self.factor.copy()
        factor[self._entries] += self._basis @ step
        return Chart(structure, factor)


@lru_cache(maxsize=64)
def _pairs(b: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Return i <= j of all pairs below b, their numbers, and where they differ."""
    j, i = np.tril_indices(b)
    return i, j, np.arange(len(i)), i != j


def _horizontal_basis(left: FloatArray, size: FloatArray) -> FloatArray:
    """Return U E for each pair i <= j as columns, each as long as max(1, s_i)."""
    b = len(size)
    i, j, k, off = _pairs(b)
    vanishing = size[i] <= 1e-100
    along_i = np.where(vanishing, 1.0, size[j])  # what e_i e_j' is multiplied by
    along_j = np.where(vanishing, 1.0, size[i])
    unit = np.maximum(1.0, size[i]) / np.where(off, np.hypot(along_i, along_j), along_i)
    basis = np.zeros((b, b, len(k)))  # column of U E, row, pair
    basis[j, :, k] = (left[:, i] * (unit * along_i)).T
    basis[i[off], :, k[off]] = (left[:, j] * (unit * along_j)).T[off]
    return basis.reshape(b * b, len(k))
