"""Derivatives in the entries of T, and what is held fixed, against a dense V."""

from __future__ import annotations

import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

from . import dense, several

ALWAYS = _core.ExactHessian.always


def direction_matrices(directions, q):
    for a, b in directions:
        dT = np.zeros((q, q))
        dT[a, b] = dT[b, a] = 1
        yield dT


def check_derivatives(found, q, M, V, G_of, N):
    """N'M'V^-1 G_k V^-1 M N and its like, with G_k given by a function of dT_k."""
    inverse = np.linalg.inv(V)
    G = [G_of(dT) for dT in direction_matrices(found.directions, q)]
    VMN = inverse @ M @ N
    for k, G_k in enumerate(G):
        expected = -VMN.T @ G_k @ VMN
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(found.S[k], expected, atol=1e-8 * scale)
        assert found.traces[k] == pytest.approx(np.trace(inverse @ G_k), rel=1e-8, abs=1e-8)
        for m, G_m in enumerate(G):
            expected = VMN.T @ G_k @ inverse @ G_m @ VMN
            scale = np.abs(expected).max() + 1e-3
            np.testing.assert_allclose(found.Q[k, m], expected, atol=1e-7 * scale)
            trace = np.trace(inverse @ G_k @ inverse @ G_m)
            size = np.sqrt(
                np.trace(inverse @ G_k @ inverse @ G_k) * np.trace(inverse @ G_m @ inverse @ G_m)
            )
            assert found.trace_pairs[k, m] == pytest.approx(trace, abs=1e-7 * size + 1e-12)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_one_factor(seed, q, p, rank, weighted, patterned):
    design = dense.random_design(seed, q, p, n_groups=9, n=70, weighted=weighted)
    if patterned:  # many equal groups: stand-ins for a pattern
        design = dense.random_design(seed, 1, p, n_groups=60, n=240)
        design.Z[:] = 1
        design.groups = np.repeat(np.arange(60), 4)
        q = 1
    core = dense.objective(design)
    factor = dense.random_factor(seed, q, min(rank, q))
    X, y, Z = dense.scaled(design, core)
    same = design.groups[:, None] == design.groups
    V = dense.covariance(design, Z, factor)
    found = core.covariance_derivatives(lambda_=factor, n_threads=1)
    N = core.evaluate(lambda_=factor, criterion=True, derivatives=False, n_threads=1).inverse_factor
    M = np.column_stack([X, y])
    check_derivatives(found, q, M, V, lambda dT: same * (Z @ dT @ Z.T), N)


@pytest.mark.parametrize("kind", [*several.KINDS, *several.ENDS])
@pytest.mark.parametrize("n_zero", [0, 2, 7])
@pytest.mark.parametrize("weighted", [True, False])
def test_several_factors(kind, n_zero, weighted):
    n = 400 if kind in several.ENDS else 80
    design = several.random_design(11, kind, (2, 1, 1), p=3, n=n, weighted=weighted)
    core = several.objective(design)
    if kind in several.ENDS:
        assert core.plan["n_dense"] > 30
    factor = several.random_factor(4, design, n_zero)
    X, y, Zs = several.scaled(design, core)
    V, *_ = several.projections(design, core, factor)
    found = core.covariance_derivatives(lambda_=factor, n_threads=2)
    N = core.evaluate(
        lambda_=factor, criterion=True, derivatives=False, exact_hessian=ALWAYS, n_threads=1
    ).inverse_factor

    def G_of(dT):
        out = np.zeros_like(V)
        for s, term, Z in zip(several.slices(design), design.factors, Zs, strict=True):
            same = term.groups[:, None] == term.groups
            out += same * (Z @ dT[s, s] @ Z.T)
        return out

    check_derivatives(found, design.q, np.column_stack([X, y]), V, G_of, N)


def brute_force(X, y, V, reml, sigma=0.0, contrast=None, at=0.0):
    n, p = X.shape
    inverse = np.linalg.inv(V)
    S = X.T @ inverse @ X
    if contrast is None:
        beta = np.linalg.solve(S, X.T @ inverse @ y)
    else:
        K = np.block([[S, contrast[:, None]], [contrast[None], np.zeros((1, 1))]])
        beta = np.linalg.solve(K, np.append(X.T @ inverse @ y, at))[:p]
    e = y - X @ beta
    rss, nu = e @ inverse @ e, n - p if reml else n
    f = np.linalg.slogdet(V)[1] + (np.linalg.slogdet(S)[1] if reml else 0)
    if sigma:
        return f + nu * np.log(2 * np.pi * sigma**2) + rss / sigma**2
    return f + nu * (1 + np.log(2 * np.pi * rss / nu))


def check_held_fixed(evaluate, entries, factor, X, y, covariance, seed):
    rng = np.random.default_rng(seed)
    p = X.shape[1]
    c = rng.normal(size=p)
    for reml, options in [
        (True, {"sigma": 0.7}),
        (False, {"sigma": 1.3}),
        (False, {"contrast": c, "at": 0.4}),
        (False, {"contrast": np.eye(p)[-1], "at": -1.0}),
        (False, {"contrast": np.eye(p)[0], "at": 0.2, "sigma": 0.9}),
    ]:
        criterion = _core.Criterion(reml, **options)
        found = evaluate(factor, criterion)
        expected = brute_force(X, y, covariance(factor), reml, **options)
        assert found.value == pytest.approx(expected, rel=1e-10, abs=1e-9)
        h, columns, slopes = 1e-5, [], []
        for i, j in entries:
            step = np.zeros_like(factor)
            step[i, j] = h
            up, down = evaluate(factor + step, criterion), evaluate(factor - step, criterion)
            columns.append((up.gradient - down.gradient) / (2 * h))
            slopes.append((up.value - down.value) / (2 * h))
        size = 1 + np.abs(found.hessian).max()
        np.testing.assert_allclose(found.gradient, slopes, atol=1e-5 * size)
        np.testing.assert_allclose(found.hessian, np.column_stack(columns), atol=2e-6 * size)
        if "sigma" in options:  # df/dlambda changes with 1/sigma^2 as w^2 dr^2/dlambda does
            sigma = options["sigma"]
            near = _core.Criterion(reml, **{**options, "sigma": sigma * np.exp(h)})
            far = _core.Criterion(reml, **{**options, "sigma": sigma * np.exp(-h)})
            change = (evaluate(factor, near).gradient - evaluate(factor, far).gradient) / (2 * h)
            np.testing.assert_allclose(-2 * found.rss_gradient, change, atol=1e-5 * size)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4))
def test_held_fixed_with_one_factor(seed, q, p):
    design = dense.random_design(seed, q, p, n=60)
    core = dense.objective(design)
    X, y, Z = dense.scaled(design, core)

    def evaluate(factor, criterion):
        return core.evaluate(lambda_=factor, criterion=criterion, derivatives=True, n_threads=1)

    check_held_fixed(
        evaluate,
        [(i, j) for j in range(q) for i in range(q)],
        dense.random_factor(seed, q, q),
        X,
        y,
        lambda factor: dense.covariance(design, Z, factor),
        seed,
    )


@pytest.mark.parametrize("kind", several.KINDS)
def test_held_fixed_with_several_factors(kind):
    design = several.random_design(5, kind, (2, 1, 1), p=3)
    core = several.objective(design)
    X, y, _ = several.scaled(design, core)

    def evaluate(factor, criterion):
        return core.evaluate(
            lambda_=factor,
            criterion=criterion,
            derivatives=True,
            exact_hessian=ALWAYS,
            n_threads=1,
        )

    def covariance(factor):
        V, *_ = several.projections(design, core, factor)
        return V

    check_held_fixed(
        evaluate,
        several.entries(design),
        several.random_factor(2, design),
        X,
        y,
        covariance,
        5,
    )
