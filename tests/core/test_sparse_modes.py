"""Modes of several factors, their variances and covariances, against the dense formulas."""

from __future__ import annotations

import numpy as np
import pytest

from . import several
from .test_sparse_objective import NEVER

WANTED = ["modes", "conditional", "prediction", "cross", "own"]


def all_columns(design, Zs):
    """Z of all effects: for each factor its levels, and their columns side by side."""
    parts = []
    for term, Z in zip(design.factors, Zs, strict=True):
        q = Z.shape[1]
        full = np.zeros((len(design.y), term.n_groups, q))
        full[np.arange(len(design.y)), term.groups] = Z
        parts.append(full.reshape(len(design.y), term.n_groups * q))
    return parts


@pytest.mark.parametrize("kind", [*several.KINDS, *several.ENDS])
@pytest.mark.parametrize("n_zero", [0, 1, 2])
def test_modes_against_dense(kind, n_zero):
    n = 450 if kind in several.ENDS else 80
    design = several.random_design(31, kind, (2, 1, 2), p=3, n=n, weighted=True)
    core = several.objective(design)
    factor = several.random_factor(9, design, n_zero)
    found = core.evaluate(
        lambda_=factor, criterion=True, derivatives=False, exact_hessian=NEVER, n_threads=1
    )
    rng = np.random.default_rng(2)
    sizes = several.blocks(design)
    bases = [np.tril(rng.normal(size=(q, q))) + 2 * np.eye(q) for q in sizes]
    modes = core.modes(
        lambda_=factor,
        inverse_factor=found.inverse_factor,
        bases=bases,
        wanted=WANTED,
        n_threads=1,
    )
    _, inverse, S, _, y, Zs = several.projections(design, core, factor)
    X = several.scaled(design, core)[0]
    S_inverse = np.linalg.inv(S)
    e = y - X @ (S_inverse @ X.T @ inverse @ y)
    Z_all = all_columns(design, Zs)
    slices = several.slices(design)
    T_all = [
        np.kron(np.eye(term.n_groups), factor[s, s] @ factor[s, s].T)
        for term, s in zip(design.factors, slices, strict=True)
    ]
    R_inverse = found.inverse_factor[:3, :3]
    for f, (Z, T, basis, q) in enumerate(zip(Z_all, T_all, bases, sizes, strict=True)):
        n_levels = design.factors[f].n_groups
        C = T @ Z.T @ inverse
        b, spread = C @ e, C @ X
        conditional = T - C @ Z @ T
        prediction = conditional + spread @ S_inverse @ spread.T
        result = modes[f]
        for level in range(n_levels):
            at = slice(level * q, (level + 1) * q)
            near = {"rtol": 1e-7, "atol": 1e-9}
            np.testing.assert_allclose(result["modes"][level], basis @ b[at], **near)
            np.testing.assert_allclose(
                result["conditional"][level], basis @ conditional[at, at] @ basis.T, **near
            )
            np.testing.assert_allclose(
                result["prediction"][level], basis @ prediction[at, at] @ basis.T, **near
            )
            np.testing.assert_allclose(
                result["cross"][level] @ R_inverse.T, basis @ spread[at] @ S_inverse, **near
            )
            rows = design.factors[f].groups == level
            own = Z[rows][:, at]
            if np.linalg.matrix_rank(own) == q and np.linalg.cond(own) < 1e4:
                expected = basis @ np.linalg.lstsq(own, e[rows], rcond=None)[0]
                np.testing.assert_allclose(result["own"][level], expected, rtol=1e-6, atol=1e-9)

    # covariances of levels of two factors, whether they meet in a row or not
    for f in range(len(sizes)):
        for g in range(len(sizes)):
            if f == g:
                continue
            i = rng.integers(0, design.factors[f].n_groups, 90)
            j = rng.integers(0, design.factors[g].n_groups, 90)
            given = core.covariances(lambda_=factor, f=f, g=g, i=i, j=j, n_threads=1)
            dense = -T_all[f] @ Z_all[f].T @ inverse @ Z_all[g] @ T_all[g]
            for k in range(len(i)):
                rows = slice(i[k] * sizes[f], (i[k] + 1) * sizes[f])
                columns = slice(j[k] * sizes[g], (j[k] + 1) * sizes[g])
                np.testing.assert_allclose(given[k], dense[rows, columns], rtol=1e-7, atol=1e-9)


def test_levels_are_checked():
    design = several.random_design(31, "crossed")
    core = several.objective(design)
    factor = several.random_factor(9, design)
    zero = np.zeros(1, dtype=np.int64)
    for f, g, i in ((0, 0, zero), (0, 9, zero), (0, 1, zero - 1), (0, 1, zero + 1000)):
        with pytest.raises(ValueError, match=r"factors|level"):
            core.covariances(lambda_=factor, f=f, g=g, i=i, j=zero, n_threads=1)
    with pytest.raises(ValueError, match="unknown result"):
        core.modes(
            lambda_=factor,
            inverse_factor=np.eye(3),
            bases=[np.eye(q) for q in several.blocks(design)],
            wanted=["mood"],
            n_threads=1,
        )
