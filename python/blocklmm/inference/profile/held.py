"""Covariances of the random effects in which a standard deviation or a correlation is held fixed.

Let Sigma = L L' be the covariance of one term's random effects, in the user's units, with its rows
in an order that puts those concerned in front, L lower triangular. Then

    sd_1 = t             is   L_11 = t
    cor_21 = sin t       is   L_11 = s_1,   (L_21, L_22) = s_2 (sin t, cos t),   s_1, s_2 > 0

and all other entries are free. The signs of the diagonal do not matter, but s_1 s_2 < 0 would be
the correlation -sin t: s_1 and s_2 are given by their logarithms. Both ways t is smooth at the ends
of its range, and the criterion is an even function of the distance from there.

The other terms have free lower triangular factors. In the core's units, and relative to sigma0,
a factor of all covariances is linear in the entries l of these triangles: vec X = B l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.objective import Structure, Units

FloatArray = npt.NDArray[np.float64]

_SMALLEST = 1e-6  # of s_1 and s_2 at a start, in parts of the residual's


@dataclass(frozen=True, slots=True)
class FactorAt:
    """vec X at held t and free coordinates x, by entries of the blocks (``block_entries``).

    Attributes
    ----------
    X, along_t, bending : arrays of shape (entries,)
        With dX/dt and d^2X/dt^2.
    J, turning : arrays of shape (entries, m)
        dX/dx and dJ/dt.
    is_log : array of shape (m,)
        Which coordinates are logarithms: there d^2X/dx_k^2 = dX/dx_k, elsewhere zero.
    """

    X: FloatArray
    along_t: FloatArray
    bending: FloatArray
    J: FloatArray
    turning: FloatArray
    is_log: npt.NDArray[np.bool_]


class Triangles:
    """Lower triangles of all terms, one of them with chosen rows in front.

    Parameters
    ----------
    units : Units
    sigma0 : float
        Of the core's units, what X is relative to.
    term : int
    rows : sequence of int
        Of the term's random effects, those that come first.
    """

    def __init__(self, units: Units, sigma0: float, term: int, rows: Sequence[int]) -> None:
        structure = units.structure
        self._structure, self._own = structure, structure.slices[term]
        size = structure.blocks[term]
        order = [*rows, *(k for k in range(size) if k not in rows)]
        self._to_triangle = units.y_scale * sigma0 * units.z_basis[self._own, self._own][order]
        back = np.eye(structure.q)
        back[self._own, self._own] = np.linalg.inv(self._to_triangle)
        columns = np.array([j for _, j in structure.block_entries])
        places = np.array([i for i, _ in structure.block_entries])
        self.B = np.column_stack(
            [np.where(columns == j, back[places, i], 0.0) for i, j in structure.entries]
        )
        start = self._own.start
        self._at = {
            (i - start, j - start): k
            for k, (i, j) in enumerate(structure.entries)
            if start <= j < self._own.stop
        }
        self.unit = float(np.linalg.norm(self._to_triangle, axis=1)[0])

    def _entries(self, X: FloatArray) -> FloatArray:
        """Return the triangles' entries l for any block diagonal factor X (q x q)."""
        turned = X.copy()
        turned[self._own, self._own] = self._to_triangle @ X[self._own, self._own]
        structure: Structure = self._structure
        return structure.theta(_core.canonical_factor(blocks=structure.blocks, factor=turned))


class HeldSd(Triangles):
    """The row has standard deviation t."""

    def __init__(self, units: Units, sigma0: float, term: int, row: int) -> None:
        super().__init__(units, sigma0, term, [row])
        self._held = self._at[0, 0]
        self._along_t, self._rest = self.B[:, self._held], np.delete(self.B, self._held, axis=1)
        n_free = self._rest.shape[1]
        self._turning, self._is_log = np.zeros_like(self._rest), np.zeros(n_free, dtype=bool)

    def coordinates(self, X: FloatArray) -> FloatArray:
        """Return x for any factor X (q x q), whose own standard deviation does not count."""
        return np.delete(self._entries(X), self._held)

    def at(self, t: float, x: FloatArray) -> FactorAt:
        """Return X, and how it changes."""
        X = t * self._along_t + self._rest @ x
        return FactorAt(X, self._along_t, np.zeros_like(X), self._rest, self._turning, self._is_log)


class HeldCorrelation(Triangles):
    """The two rows have correlation sin t."""

    def __init__(self, units: Units, sigma0: float, term: int, rows: tuple[int, int]) -> None:
        super().__init__(units, sigma0, term, rows)
        self._held = [self._at[place] for place in ((0, 0), (1, 0), (1, 1))]
        self._smallest = _SMALLEST * np.linalg.norm(self._to_triangle, axis=1)[:2]
        self._rest = np.delete(self.B, self._held, axis=1)
        self._is_log = np.arange(2 + self._rest.shape[1]) < 2

    def coordinates(self, X: FloatArray) -> FloatArray:
        """Return x for any factor X (q x q), whose own correlation does not count."""
        entries = self._entries(X)
        first, across, second = entries[self._held]
        s = np.maximum([first, np.hypot(across, second)], self._smallest)
        return np.concatenate([np.log(s), np.delete(entries, self._held)])

    def at(self, t: float, x: FloatArray) -> FactorAt:
        """Return X, and how it changes."""
        s_1, s_2 = np.exp(x[:2])
        first, across, second = self.B[:, self._held].T
        along_1 = s_1 * first
        along_2 = s_2 * (np.sin(t) * across + np.cos(t) * second)
        along_t = s_2 * (np.cos(t) * across - np.sin(t) * second)
        J = np.column_stack([along_1, along_2, self._rest])
        turning = np.zeros_like(J)
        turning[:, 1] = along_t
        X = along_1 + along_2 + self._rest @ x[2:]
        return FactorAt(X, along_t, -along_2, J, turning, self._is_log)
