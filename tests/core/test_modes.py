"""Conditional modes and their variances against the dense formulas (Robinson 1991)."""

from __future__ import annotations

import numpy as np
import pytest

from . import dense


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_modes_against_dense(rank, weighted):
    q = 3
    design = dense.random_design(21, q, p=3, n_groups=7, n=60, weighted=weighted)
    statistics = dense.statistics(design)
    core = dense.objective(design, statistics)
    factor = dense.random_factor(9, q, rank)
    basis = np.tril(np.random.default_rng(2).normal(size=(q, q))) + 2 * np.eye(q)
    found = core.evaluate(lambda_=factor, criterion=True, derivatives=False, n_threads=1)
    wanted = ["modes", "conditional", "prediction", "cross", "own", "weight"]
    modes = core.modes(
        statistics=statistics,
        lambda_=factor,
        inverse_factor=found.inverse_factor,
        basis=basis,
        groups=np.arange(design.n_groups),
        wanted=wanted,
    )
    X, y, Z = dense.scaled(design, core)
    V = dense.covariance(design, Z, factor)
    inverse = np.linalg.inv(V)
    S_inverse = np.linalg.inv(X.T @ inverse @ X)
    beta = S_inverse @ X.T @ inverse @ y
    R_inverse = found.inverse_factor[:3, :3]
    np.testing.assert_allclose(R_inverse @ R_inverse.T, S_inverse, rtol=1e-9)
    T = factor @ factor.T
    for i in range(design.n_groups):
        rows = design.groups == i
        C = T @ Z[rows].T @ inverse[rows]  # Cov(b_i, y) V^-1
        np.testing.assert_allclose(modes["modes"][i], basis @ C @ (y - X @ beta), atol=1e-10)
        conditional = T - C[:, rows] @ Z[rows] @ T
        np.testing.assert_allclose(
            modes["conditional"][i], basis @ conditional @ basis.T, atol=1e-10
        )
        spread = C @ X
        prediction = conditional + spread @ S_inverse @ spread.T
        np.testing.assert_allclose(modes["prediction"][i], basis @ prediction @ basis.T, atol=1e-10)
        np.testing.assert_allclose(
            modes["cross"][i] @ R_inverse.T, basis @ spread @ S_inverse, atol=1e-10
        )
        A = Z[rows].T @ Z[rows]
        own = np.linalg.solve(A, Z[rows].T @ (y - X @ beta)[rows])
        np.testing.assert_allclose(modes["own"][i], basis @ own, rtol=1e-7)
        share = np.eye(q) - np.linalg.inv(np.eye(q) + T @ A)
        weight = np.diag(basis @ share @ np.linalg.inv(basis))
        np.testing.assert_allclose(modes["weight"][i], weight, atol=1e-9)


def test_own_estimate_of_too_few_rows_is_nan():
    design = dense.random_design(3, 2, n_groups=3, n=20)
    design.groups[:] = np.r_[np.zeros(10, int), np.ones(9, int), 2]
    statistics = dense.statistics(design)
    core = dense.objective(design, statistics)
    found = core.evaluate(lambda_=np.eye(2), criterion=True, derivatives=False, n_threads=1)
    modes = core.modes(
        statistics=statistics,
        lambda_=np.eye(2),
        inverse_factor=found.inverse_factor,
        basis=np.eye(2),
        groups=np.arange(3),
        wanted=["own"],
    )
    assert np.isfinite(modes["own"][:2]).all()
    assert np.isnan(modes["own"][2]).all()
