"""Groups in parts: sums of the parts against the objective of all groups, and dense NumPy."""

from __future__ import annotations

import pickle

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


def parts_of(statistics, n_parts):
    levels = np.arange(len(statistics.level_rows(0)))
    return [statistics.of_levels(levels[k::n_parts]) for k in range(n_parts)]


def spread(design, n_parts):
    """The objective of groups in parts, and the parts."""
    q, p = design.Z.shape[1], design.X.shape[1]
    statistics = dense.statistics(design)
    units = _core.Standardization(statistics.pooled(), list(range(q, q + p)))
    units = pickle.loads(pickle.dumps(units))
    parts = [_core.PartialSums(part, units) for part in parts_of(statistics, n_parts)]

    def gather(lambda_, N, derivatives):
        asked = {"lambda_": lambda_, "N": N, "derivatives": derivatives, "n_threads": 1}
        return np.column_stack([part.sums(**asked) for part in parts])

    core = _core.SpreadObjective(
        units=units,
        explained=sum(part.explained for part in parts),
        rank_of_z=sum(part.rank_of_z for part in parts),
        free_entries=[(i, j) for j in range(q) for i in range(q)],
        gather=gather,
    )
    return core, parts


@settings(max_examples=100, deadline=None)
@given(designs, st.integers(1, 4), st.integers(0, 10**6), st.integers(0, 6), st.booleans())
def test_same_evaluation_as_of_all_groups(design, n_parts, seed, rank, reml):
    q = design.Z.shape[1]
    whole = dense.objective(design)
    core, _ = spread(design, n_parts)
    np.testing.assert_allclose(core.z_scale, whole.z_scale, rtol=1e-12)
    np.testing.assert_allclose(core.m_scale, whole.m_scale, rtol=1e-12)
    np.testing.assert_allclose(core.within, whole.within, atol=1e-11 * len(design.y))
    # rounding decides of as many directions of a group as its effects are more than its rows
    undecided = int(np.maximum(q - np.bincount(design.groups), 0).sum())
    assert abs(core.rank_of_z - whole.rank_of_z) <= undecided
    factor = dense.random_factor(seed, q, min(rank, q))
    for criterion in (
        _core.Criterion(reml),
        _core.Criterion(reml, sigma=0.7),
        _core.Criterion(False, contrast=np.ones(design.X.shape[1]), at=0.3),
    ):
        asked = {"lambda_": factor, "criterion": criterion, "derivatives": True, "n_threads": 1}
        found, expected = core.evaluate(**asked), whole.evaluate(**asked)
        assert found.value == pytest.approx(expected.value, rel=1e-12, abs=1e-9)
        for name in ("gamma", "gradient", "hessian", "rss_gradient", "inverse_factor"):
            a, b = getattr(found, name), getattr(expected, name)
            np.testing.assert_allclose(a, b, atol=1e-9 * (np.abs(b).max() + len(design.y)))
        asked["derivatives"] = False
        assert core.evaluate(**asked).value == found.value


@settings(max_examples=60, deadline=None)
@given(designs, st.integers(1, 4), st.integers(0, 10**6), st.booleans())
def test_value_and_gamma_against_dense(design, n_parts, seed, reml):
    q = design.Z.shape[1]
    core, _ = spread(design, n_parts)
    factor = dense.random_factor(seed, q, q)
    found = core.evaluate(lambda_=factor, criterion=reml, derivatives=True, n_threads=1)
    value, gamma = dense.criterion(design, core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-10, abs=1e-8)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-9 * (np.abs(gamma).max() + 70))


@settings(max_examples=60, deadline=None)
@given(designs, st.integers(1, 4), st.integers(0, 10**6))
def test_partial_sums_against_dense(design, n_parts, seed):
    """log|K_i| and G_i'G_i of a part, K_i = I + R_i T R_i', from its rows."""
    q, m = design.Z.shape[1], design.X.shape[1] + 1
    core, parts = spread(design, n_parts)
    X, y, Z = dense.scaled(design, core)
    M = np.column_stack([X, y])
    factor = dense.random_factor(seed, q, q)
    T = factor @ factor.T
    logdet, between, A_sum = 0.0, np.zeros((m, m)), np.zeros((q, q))
    for i in range(design.n_groups):
        own = design.groups == i
        A, D = Z[own].T @ Z[own], Z[own].T @ M[own]
        # G'G = D'A^-(I + A T)^-1 D, what T explains of what Z does
        P = np.linalg.inv(np.eye(q) + A @ T)
        between += D.T @ np.linalg.pinv(A, hermitian=True, rcond=1e-10) @ P @ D
        logdet += np.linalg.slogdet(np.eye(q) + A @ T)[1]
        A_sum += P @ A
    asked = {"lambda_": factor, "N": np.eye(m), "derivatives": True, "n_threads": 1}
    found = sum(part.sums(**asked) for part in parts)
    h, k = q * (q + 1) // 2, 1 + m * (m + 1) // 2
    assert found[0] == pytest.approx(logdet, abs=1e-8)
    np.testing.assert_allclose(found[1:k], between[np.tril_indices(m)], atol=1e-7)
    np.testing.assert_allclose(found[k : k + h], A_sum[np.tril_indices(q)], atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(designs, st.integers(1, 4), st.integers(0, 10**6))
def test_same_derivatives_of_the_covariance(design, n_parts, seed):
    q = design.Z.shape[1]
    factor = dense.random_factor(seed, q, q)
    core, _ = spread(design, n_parts)
    found = core.covariance_derivatives(lambda_=factor, n_threads=1)
    expected = dense.objective(design).covariance_derivatives(lambda_=factor, n_threads=1)
    assert found.directions == expected.directions
    for name in ("S", "Q", "traces", "trace_pairs"):
        a, b = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(a, b, atol=1e-9 * (np.abs(b).max() + 1))


@pytest.mark.parametrize("q", [1, 2, 7])
def test_large_variances(q):
    design = dense.random_design(4, q, n=90)
    core, _ = spread(design, 3)
    factor = 300 * dense.random_factor(1, q, q)
    asked = {"lambda_": factor, "criterion": True, "derivatives": True, "n_threads": 1}
    found, expected = core.evaluate(**asked), dense.objective(design).evaluate(**asked)
    assert found.value == pytest.approx(expected.value, rel=1e-11)
    np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-8)


def test_errors_of_the_callback_come_through():
    design = dense.random_design(1, 2)
    statistics = dense.statistics(design)
    units = _core.Standardization(statistics, [2, 3])
    given = {"units": units, "explained": np.zeros((3, 3)), "rank_of_z": 12}

    def gather(*_):
        raise KeyError("gone")

    core = _core.SpreadObjective(**given, free_entries=[(0, 0)], gather=gather)
    asked = {"criterion": True, "derivatives": True, "n_threads": 1}
    with pytest.raises(KeyError, match="gone"):
        core.evaluate(lambda_=np.eye(2), **asked)
    with pytest.raises(KeyError, match="gone"):
        _core.minimize(
            core,
            blocks=[1, 1],
            always=[np.eye(2)],
            if_flat=[],
            criterion=True,
            constant=0.0,
            n_threads=1,
            max_evaluations=5,
            tolerance=1e-15,
        )
    core = _core.SpreadObjective(**given, free_entries=[], gather=lambda *_: np.zeros((3, 2)))
    with pytest.raises(ValueError, match="the sums of all parts"):
        core.evaluate(lambda_=np.eye(2), **asked)


def test_statistics_taken_apart_and_added_are_what_they_were():
    design = dense.random_design(3, 2, n_groups=9, weighted=True)
    whole = dense.statistics(design)
    n = np.asarray(whole.level_rows(0))
    levels = np.arange(9)
    parts = [pickle.loads(pickle.dumps(whole.of_levels(levels[k::2]))) for k in range(2)]
    assert [part.n_rows_used for part in parts] == [n[::2].sum(), n[1::2].sum()]
    parts[0].merge(parts[1], [np.arange(5, 9)])
    order = np.concatenate([levels[::2], levels[1::2]])
    np.testing.assert_array_equal(parts[0].level_products(0), whole.level_products(0)[order])
    assert not parts[0].cross_products().any()
    pooled = pickle.loads(pickle.dumps(whole.pooled()))
    np.testing.assert_allclose(pooled.level_products(0)[0], whole.level_products(0).sum(axis=0))
    np.testing.assert_array_equal(pooled.cross_products(), whole.cross_products())
    np.testing.assert_array_equal(pooled.plain_cross_products(), whole.plain_cross_products())
    assert pooled.n_rows_used == whole.n_rows_used
    assert pooled.log_weights == whole.log_weights
    assert whole.of_levels(levels[:0]).n_rows_used == 0
