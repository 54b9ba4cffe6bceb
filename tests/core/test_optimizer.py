"""The optimiser on small models against SciPy's on the dense criterion, and its outcomes."""

from __future__ import annotations

import _thread
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from . import dense, several

Status = _core.Status


def minimum(core, blocks, start, reml=True, **others):
    defaults = {"if_flat": [], "constant": 0.0, "n_threads": 1}
    limits = {"max_evaluations": 500, "tolerance": 1e-15}
    starts = {"always": [start * np.eye(sum(blocks))]}
    return _core.minimize(
        core, blocks=blocks, criterion=reml, **(defaults | limits | starts | others)
    )


def lowest_by_scipy(f, blocks, rng, n_starts=4):
    """The best of some descents over lower triangles, from f's value and Gamma."""
    ends = np.cumsum(blocks)
    inside = np.zeros((sum(blocks), sum(blocks)), dtype=bool)
    for size, end in zip(blocks, ends, strict=True):
        inside[end - size : end, end - size : end] = np.tri(size, dtype=bool)

    def with_gradient(theta):
        factor = np.zeros(inside.shape)
        factor[inside] = theta
        value, gamma = f(factor)
        return value, (2 * gamma @ factor)[inside]

    starts = rng.normal(size=(n_starts, inside.sum()))
    return min(minimize(with_gradient, start, jac=True).fun for start in starts)


def check_optimum(found, f, blocks, seed):
    assert found.converged
    assert found.status in (Status.optimal, Status.singular)
    rng = np.random.default_rng(seed)
    lowest = lowest_by_scipy(f, blocks, rng)
    assert found.evaluation.value <= lowest + 1e-7
    value, gamma = f(found.factor)
    assert found.evaluation.value == pytest.approx(value, rel=1e-9, abs=1e-7)
    np.testing.assert_array_equal(found.factor, np.tril(found.factor))
    assert (np.diag(found.factor) >= 0).all()
    assert (np.diag(found.factor) == 0).any() == (found.status == Status.singular)
    ends = np.cumsum(blocks)
    slices = [slice(end - size, end) for size, end in zip(blocks, ends, strict=True)]
    for s in slices:
        assert np.abs(2 * gamma[s, s] @ found.factor[s, s]).max() < 1e-4
    smallest = min(np.linalg.eigvalsh(gamma[s, s])[0] for s in slices)
    assert found.min_eigenvalue == pytest.approx(smallest, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(1,), (2,), (3,), (1, 1), (2, 1)]), st.booleans())
def test_one_factor_against_scipy(seed, blocks, reml):
    design = dense.random_design(seed, sum(blocks), n_groups=8, n=60)
    entries, at = [], 0
    for size in blocks:
        entries += [(at + i, at + j) for j in range(size) for i in range(size)]
        at += size
    q, p = sum(blocks), design.X.shape[1]
    statistics = dense.statistics(design)
    core = _core.BlockObjective(statistics, list(range(q, q + p)), entries)
    found = minimum(core, blocks, 0.5, reml)
    check_optimum(found, lambda F: dense.criterion(design, core, F, reml), blocks, seed)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(several.KINDS),
    st.sampled_from([(1, 1, 1), (2, 1, 1)]),
    st.booleans(),
)
def test_several_factors_against_scipy(seed, kind, widths, reml):
    design = several.random_design(seed, kind, widths)
    core = several.objective(design)
    blocks = several.blocks(design)
    found = minimum(core, blocks, 0.5, reml)
    check_optimum(found, lambda F: several.criterion(design, core, F, reml), blocks, seed)


@pytest.fixture
def core():
    return dense.objective(dense.random_design(5, 2, n_groups=8, n=60))


def test_constant_is_part_of_the_value(core):
    plain, moved = minimum(core, [2], 0.5), minimum(core, [2], 0.5, constant=100.0)
    assert moved.evaluation.value == pytest.approx(plain.evaluation.value + 100, rel=1e-12)
    np.testing.assert_allclose(moved.factor, plain.factor, rtol=1e-9)


def test_best_of_all_starts_is_kept(core):
    one = minimum(core, [2], 0.5)
    many = minimum(core, [2], 0.5, always=[k * np.eye(2) for k in (0.0, 0.5, 3.0)])
    assert many.evaluation.value == pytest.approx(one.evaluation.value, abs=1e-9)
    assert many.n_evaluations > one.n_evaluations


def test_zero_is_left_where_it_is_a_saddle(core):
    found = minimum(core, [2], 0.0)
    assert found.evaluation.value == pytest.approx(minimum(core, [2], 0.5).evaluation.value)


def test_stops_at_the_limit_of_evaluations(core):
    found = minimum(core, [2], 0.5, max_evaluations=2)
    assert found.status == Status.stopped
    assert not found.converged
    assert found.n_evaluations == 2
    assert found.gradient > 0


def test_no_random_terms():
    design = dense.random_design(5, 2)
    statistics = dense.statistics(design)
    core = _core.BlockObjective(statistics.with_effects([]), [2, 3], [])
    found = minimum(core, [], 0.5)
    assert found.status == Status.closed_form
    assert found.n_evaluations == 1
    assert np.isnan(found.min_eigenvalue)
    assert found.factor.shape == (0, 0)


def test_no_residual_at_the_start():
    design = dense.random_design(5, 2)
    design.y[:] = 0
    found = minimum(dense.objective(design), [2], 0.5)
    assert found.status == Status.exact_fit
    assert not found.converged


def test_misuse_is_refused(core):
    with pytest.raises(ValueError, match="no start"):
        minimum(core, [2], 0.5, always=[])
    with pytest.raises(ValueError, match="q x q"):
        minimum(core, [2], 0.5, always=[np.eye(3)])
    with pytest.raises(ValueError, match="blocks are not those"):
        minimum(core, [1, 1], 0.5)
    with pytest.raises(ValueError, match="has rows"):
        minimum(core, [2, 0], 0.5)


def test_many_at_once_find_the_same_bits(core):
    def bits(_):
        found = minimum(core, [2], 0.5)
        return found.factor.tobytes(), found.evaluation.value, found.n_evaluations

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(bits, range(200)))) == 1


class AlarmError(Exception):
    pass


def test_a_signal_ends_it(core):
    def ring(*_):
        raise AlarmError

    before = signal.signal(signal.SIGINT, ring)
    timer = threading.Timer(0.05, _thread.interrupt_main)
    try:
        timer.start()
        with pytest.raises(AlarmError):
            minimum(core, [2], 0.5, always=[np.eye(2)] * 100_000, max_evaluations=10**9)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 6))
def test_canonical_factor(seed, size, rank):
    rng = np.random.default_rng(seed)
    factor = np.zeros((size + 2, size + 2))
    factor[:size, : min(rank, size)] = rng.normal(size=(size, min(rank, size)))
    factor[size:, size:] = rng.normal(size=(2, 2))
    blocks = [size, 2]
    L = _core.canonical_factor(blocks=blocks, factor=factor)
    np.testing.assert_allclose(L @ L.T, factor @ factor.T, atol=1e-13)
    np.testing.assert_array_equal(L, np.tril(L))
    assert (np.diag(L) >= 0).all()
    assert (np.diag(L)[:size] > 0).sum() == min(rank, size)
    turned = factor.copy()
    turned[:size, :size] @= np.linalg.qr(rng.normal(size=(size, size)))[0]
    again = _core.canonical_factor(blocks=blocks, factor=turned)
    np.testing.assert_allclose(again, L, atol=1e-11 * np.linalg.norm(factor))


def test_canonical_factor_of_nearly_dependent_rows_has_the_rank_of_its_columns():
    rng = np.random.default_rng(0)
    for gap in 10.0 ** -np.arange(1, 8):
        factor = rng.normal(size=(3, 3))
        factor[1] = factor[0] + gap * factor[1]
        factor[:, 2] = 0
        L = _core.canonical_factor(blocks=[3], factor=factor)
        assert (np.diag(L) > 0).tolist() == [True, True, False]
        np.testing.assert_allclose(L @ L.T, factor @ factor.T, atol=1e-13)
