"""Products of vectors of random effects with Z'Z and Z'V^-1Z, from the statistics.

A vector v holds one number for each effect of each level, and stands for the response Zv of all
rows. With T = F F', V = I + ZTZ' and Omega = I + F'Z'ZF,

    Z'V^-1Z v = (I + Z'Z T)^-1 Z'Z v = Z'Zv - Z'Z F Omega^-1 F'Z'Zv.

With one factor Z'Z is block diagonal, A_i, and the first form is solved level by level. With
several the second has a symmetric system, whose factor is made once. Fixed effects are projected
out by D~ = Z'V^-1X and S_XX^-1 = N N':

    Z'PZ v = Z'V^-1Zv - D~ N N'D~'v.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from blocklmm.problem import Problem

from .two_block_solver import TwoBlockSolver

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Effects = list[FloatArray]
"""By grouping factor, an array of shape (levels, q, k): k vectors of random effects."""


class RandomProducts:
    """Z'Z and Z'PZ times vectors of random effects, in the core's units.

    Parameters
    ----------
    problem : Problem
    factor : array of shape (q, q)
        F, with T = F F'.
    inverse_factor : array of shape (p+1, p+1)
        R_S^-1 there.

    Attributes
    ----------
    whitened : callable
        Takes Z'm, for any m of all rows, to Z'V^-1 m.
    """

    def __init__(self, problem: Problem, factor: FloatArray, inverse_factor: FloatArray) -> None:
        design, core = problem.design, problem.statistics.core
        self._members = [problem.design.members(f) for f in range(len(design.groups))]
        scale, m_scale = np.asarray(problem.core.z_scale), np.asarray(problem.core.m_scale)
        self._F = [factor[np.ix_(own, own)] for own in self._members]
        self._A: Effects = []
        ZX: Effects = []
        for f, own in enumerate(self._members):
            products = np.asarray(core.level_products(f)) / scale[own][:, None]
            columns = design.record_columns(f)
            of_x = [columns.index(design.x_columns[k]) for k in problem.kept]
            self._A.append(products[:, :, : len(own)] / scale[own])
            ZX.append(products[:, :, of_x] / m_scale[:-1])
        # of two factors: Z_f'Z_g by pair of levels, and which levels
        self._pairs = []
        for f, g, _, start, level, values in core.pairs():
            i = np.repeat(np.arange(len(start) - 1, dtype=np.int64), np.diff(start))
            shape = (len(level), len(self._members[g]), len(self._members[f]))
            blocks = np.reshape(values, shape).transpose(0, 2, 1)
            blocks = blocks / np.outer(scale[self._members[f]], scale[self._members[g]])
            self._pairs.append((f, g, i, np.asarray(level, dtype=np.int64), blocks))
        self.whitened = self._level_by_level if len(self._members) == 1 else self._by_elimination()
        N = inverse_factor[:-1, :-1]
        self._half = [D @ N for D in self.whitened(ZX)]

    def zz(self, v: Effects) -> Effects:
        """Return Z'Z v."""
        out = [A @ part for A, part in zip(self._A, v, strict=True)]
        for f, g, i, j, blocks in self._pairs:
            np.add.at(out[f], i, blocks @ v[g][j])
            np.add.at(out[g], j, blocks.transpose(0, 2, 1) @ v[f][i])
        return out

    def zpz(self, v: Effects) -> Effects:
        """Return Z'PZ v."""
        along = inner(self._half, v)
        found = self.whitened(self.zz(v))
        return [w - half @ along for w, half in zip(found, self._half, strict=True)]

    def _level_by_level(self, products: Effects) -> Effects:
        """Return (I + A T)^-1 Z'm."""
        (A,), (F,) = self._A, self._F
        return [np.asarray(np.linalg.solve(np.eye(len(F)) + A @ (F @ F.T), products[0]))]

    def _by_elimination(self) -> Callable[[Effects], Effects]:
        """Return the same for several factors, of which the one with most effects goes first."""
        first = max(range(len(self._A)), key=lambda f: self._A[f].shape[0] * self._A[f].shape[1])
        order = [first, *(f for f in range(len(self._A)) if f != first)]
        shapes = [self._A[f].shape[:2] for f in order]
        ends = np.cumsum([levels * q for levels, q in shapes])
        Omega = self._omega(order)
        n = ends[0]
        F, A = self._F[first], self._A[first]
        solver = TwoBlockSolver(np.eye(len(F)) + F.T @ A @ F, Omega[:n, n:], Omega[n:, n:])

        def whitened(products: Effects) -> Effects:
            k = products[0].shape[2]
            if k == 0:
                return products
            right = [(self._F[f].T @ products[f]).reshape(-1, k) for f in order]
            moved = [np.empty(0)] * len(order)
            parts = np.split(solver.solve(np.vstack(right)), ends[:-1])
            for f, part, shape in zip(order, parts, shapes, strict=True):
                moved[f] = self._F[f] @ part.reshape(*shape, k)
            return [m - w for m, w in zip(products, self.zz(moved), strict=True)]

        return whitened

    def _omega(self, order: list[int]) -> sparse.csr_matrix:
        """Return I + F'Z'ZF with the factors in an order; the first one's own block is left out."""
        starts, n = {}, 0
        for f in order:
            starts[f] = n
            n += self._A[f].shape[0] * self._A[f].shape[1]
        rows, columns, values = [], [], []

        def add(f: int, g: int, i: IntArray, j: IntArray, blocks: FloatArray) -> None:
            q_f, q_g = blocks.shape[1:]
            at = starts[f] + q_f * i[:, None, None] + np.arange(q_f)[:, None]
            to = starts[g] + q_g * j[:, None, None] + np.arange(q_g)
            rows.append(np.broadcast_to(at, blocks.shape).ravel())
            columns.append(np.broadcast_to(to, blocks.shape).ravel())
            values.append(blocks.ravel())

        for f in order[1:]:
            levels = np.arange(len(self._A[f]), dtype=np.int64)
            F = self._F[f]
            add(f, f, levels, levels, np.eye(len(F)) + F.T @ self._A[f] @ F)
        for f, g, i, j, blocks in self._pairs:
            whitened = self._F[f].T @ blocks @ self._F[g]
            add(f, g, i, j, whitened)
            add(g, f, j, i, whitened.transpose(0, 2, 1))
        joined = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        return sparse.csr_matrix(joined, shape=(n, n))


def inner(v: Effects, w: Effects) -> FloatArray:
    """Return v'w, shape (k of v, k of w): the sum over all levels."""
    return np.asarray(
        sum(np.einsum("lqa,lqb->ab", a, b, optimize=True) for a, b in zip(v, w, strict=True))
    )
