"""Value, gradient, Hessian and Gamma of the core against a dense V and finite differences."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

from . import dense

designs = st.builds(
    dense.random_design,
    seed=st.integers(0, 10**6),
    q=st.integers(1, 6),
    p=st.integers(1, 4),
    n_groups=st.integers(2, 12),
    n=st.integers(25, 70),
    weighted=st.booleans(),
)


def evaluate(core, factor, reml, derivatives=True, n_threads=1):
    return core.evaluate(
        lambda_=factor, criterion=reml, derivatives=derivatives, n_threads=n_threads
    )


@settings(max_examples=150, deadline=None)
@given(designs, st.integers(0, 10**6), st.integers(0, 6), st.booleans())
def test_value_gamma_and_gradient_against_dense(design, seed, rank, reml):
    q = design.Z.shape[1]
    core = dense.objective(design)
    factor = dense.random_factor(seed, q, min(rank, q))
    found = evaluate(core, factor, reml)
    value, gamma = dense.criterion(design, core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-10, abs=1e-8)
    scale = np.abs(gamma).max() + len(design.y)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-10 * scale)
    np.testing.assert_allclose(
        found.gradient, (2 * gamma @ factor).ravel(order="F"), atol=1e-9 * scale
    )


@settings(max_examples=60, deadline=None)
@given(designs, st.integers(0, 10**6), st.integers(0, 6), st.booleans())
def test_hessian_against_differences_of_the_gradient(design, seed, rank, reml):
    q = design.Z.shape[1]
    core = dense.objective(design)
    factor = dense.random_factor(seed, q, min(rank, q))
    found = evaluate(core, factor, reml)
    h = 1e-5
    columns = []
    for k in range(q * q):
        step = np.zeros(q * q)
        step[k] = h
        step = step.reshape(q, q, order="F")
        up, down = evaluate(core, factor + step, reml), evaluate(core, factor - step, reml)
        columns.append((up.gradient - down.gradient) / (2 * h))
    numeric = np.column_stack(columns)
    np.testing.assert_allclose(found.hessian, numeric, atol=1e-6 * (1 + np.abs(numeric).max()))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("q", [7, 9])
def test_more_random_effects_than_there_are_kernels_for(q, reml):
    design = dense.random_design(3, q, n=90)
    core = dense.objective(design)
    factor = dense.random_factor(1, q, q - 2)
    value, gamma = dense.criterion(design, core, factor, reml)
    found = evaluate(core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-9 * np.abs(gamma).max())


@pytest.mark.parametrize("reml", [True, False])
def test_many_fixed_effects(reml):
    """Long vectors of moments go by matrix products: q (p + 1) > 48."""
    design = dense.random_design(8, 2, p=60, n_groups=9, n=200)
    core = dense.objective(design)
    factor = dense.random_factor(2, 2, 2)
    value, gamma = dense.criterion(design, core, factor, reml)
    found = evaluate(core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-9 * np.abs(gamma).max())
    h = 1e-5
    for k, (i, j) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        step = np.zeros((2, 2))
        step[i, j] = h
        up, down = evaluate(core, factor + step, reml), evaluate(core, factor - step, reml)
        numeric = (up.gradient - down.gradient) / (2 * h)
        np.testing.assert_allclose(found.hessian[:, k], numeric, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("q", [1, 2])
def test_equal_groups_are_compressed_to_the_same_criterion(q, reml):
    """A balanced design of 300 groups becomes one pattern of at most q (p + 1) groups."""
    rng = np.random.default_rng(5)
    n_groups, size = 300, 4
    groups = np.repeat(np.arange(n_groups), size)
    t = np.tile(np.arange(size) - 1.5, n_groups)
    x = rng.normal(size=n_groups * size)
    Z = np.column_stack([np.ones_like(t), t])[:, :q]
    y = x + t + (Z * rng.normal(size=(n_groups, q))[groups]).sum(axis=1) + rng.normal(size=len(x))
    design = dense.Design(y, np.column_stack([np.ones_like(t), t, x]), Z, groups, np.ones(len(x)))
    core = dense.objective(design)
    assert core.n_patterns == 1
    factor = dense.random_factor(4, q, q)
    value, gamma = dense.criterion(design, core, factor, reml)
    found = evaluate(core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-10 * np.abs(gamma).max())


def test_large_variances_lose_no_digits():
    """As lambda grows f tends to a constant plus 2 log of it for each group and effect."""
    design = dense.random_design(11, 1, n_groups=8, n=60)
    core = dense.objective(design)
    values = [evaluate(core, np.array([[s]]), False).value for s in (1e6, 1e7, 1e8)]
    steps = np.diff(values)
    np.testing.assert_allclose(steps, 2 * design.n_groups * np.log(10), rtol=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("q", [2, 3, 5])
def test_graded_variances_against_mpmath(q, reml):
    """Effects a million times the residual beside effects of its size: L by rotations."""
    design = dense.random_design(31, q, n_groups=5, n=40)
    core = dense.objective(design)
    factor = dense.random_factor(3, q, q) * np.array([1e6, 1e3, 1, 1, 1])[:q]
    X, y, Z = dense.scaled(design, core)
    with mp.workdps(60):
        F = mp.matrix(factor.tolist())
        ZF = mp.matrix(Z.tolist()) * F
        V = ZF * ZF.T
        for i in range(40):
            for j in range(40):
                same = design.groups[i] == design.groups[j]
                V[i, j] = (V[i, j] if same else 0) + (1 if i == j else 0)
        inverse = V**-1
        Xm, ym = mp.matrix(X.tolist()), mp.matrix(y.tolist())
        S = Xm.T * inverse * Xm
        residual = ym - Xm * (S**-1 * (Xm.T * inverse * ym))
        nu = 38 if reml else 40
        r2 = (residual.T * inverse * residual)[0]
        f = mp.log(mp.det(V)) + nu * (1 + mp.log(2 * mp.pi * r2 / nu))
        if reml:
            f += mp.log(mp.det(S))
    found = evaluate(core, factor, reml)
    assert found.value == pytest.approx(float(f), abs=1e-8)


def test_threads_change_no_bit():
    rng = np.random.default_rng(1)
    n, n_groups = 200_000, 30_000
    groups = rng.integers(0, n_groups, n)
    groups[:n_groups] = np.arange(n_groups)
    x = rng.normal(size=n)
    design = dense.Design(
        rng.normal(size=n) + x,
        np.column_stack([np.ones(n), x]),
        np.column_stack([np.ones(n), x]),
        groups,
        np.ones(n),
    )
    factor = np.array([[0.7, 0.0], [0.2, 0.5]])
    results = []
    for n_threads in (1, 2, 3):
        core = dense.statistics(design, n_threads)
        found = evaluate(dense.objective(design, core), factor, True, n_threads=n_threads)
        results.append(
            (
                core.cross_products().tobytes(),
                core.level_products(0).tobytes(),
                found.value,
                found.hessian.tobytes(),
                found.gamma.tobytes(),
            )
        )
    assert results[0] == results[1] == results[2]


def test_dependent_columns_are_refused():
    # rounding may leave a pivot of either sign; a multiple of two of a column that is orthogonal
    # to Z, with 4^3 rows of squares one, leaves exactly zero
    column = np.tile([1.0, -1.0, 1.0, -1.0], 16)
    design = dense.Design(
        np.random.default_rng(2).normal(size=64),
        np.column_stack([column, 2 * column]),
        np.ones((64, 1)),
        np.repeat(np.arange(16), 4),
        np.ones(64),
    )
    core = dense.objective(design)
    with pytest.raises(_core.NotPositiveDefinite):
        evaluate(core, np.zeros((1, 1)), True)


def test_shapes_are_checked():
    core = dense.objective(dense.random_design(2, 2))
    with pytest.raises(ValueError, match="q x q"):
        evaluate(core, np.eye(3), True)
