"""Sums by cluster against the dense matrices of all rows."""

from __future__ import annotations

import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

from . import clusters, dense, several

KINDS = ("none", "symmetric", "jackknife")


def whole_statistics(factors, X, u, weights, labels, cluster):
    """Statistics whose records of one factor hold all cross products, with u for y."""
    Z = [column for z in factors for column in z.T]
    columns = [*Z, *X.T, u]
    q, m = len(Z), len(columns)
    plan, at = [], 0
    for f, (z, of) in enumerate(zip(factors, labels, strict=True)):
        own = [*range(at, at + z.shape[1]), *range(q, m)]
        plan.append((own, len(own) if f == cluster else z.shape[1], int(of.max()) + 1))
        at += z.shape[1]
    sources = [np.ascontiguousarray(c) for c in [*columns, weights]]
    core = _core.Statistics(
        recipes=[("numeric", k) for k in range(m + 1)],
        columns=list(range(m)),
        shifted=[False] * m,
        factors=plan,
        n_sources=m + 1,
        weight=m,
        pairs=False,
    )
    core.update(sources, labels, [0] * len(labels), len(u), 1)
    core.finish()
    return core


def wide(z, labels):
    out = np.zeros((len(z), (int(labels.max()) + 1) * z.shape[1]))
    for k in range(z.shape[1]):
        out[np.arange(len(z)), labels * z.shape[1] + k] = z[:, k]
    return out


def setting(factors, X, y, weights, labels, cluster, lambdas):
    """The dense model, the core's spans and N."""
    root = np.sqrt(weights)[:, None]
    Z = root * np.hstack([wide(z, of) for z, of in zip(factors, labels, strict=True)])
    T = np.zeros((0, 0))
    for of, factor in zip(labels, lambdas, strict=True):
        block = np.kron(np.eye(int(of.max()) + 1), factor @ factor.T)
        T = np.block(
            [
                [T, np.zeros((len(T), len(block)))],
                [np.zeros((len(block), len(T))), block],
            ]
        )
    model = clusters.Model(root * X, root[:, 0] * y, Z, T, labels[cluster])
    u = (model.inverse @ model.e) / root[:, 0]
    whole = whole_statistics(factors, X, u, weights, labels, cluster)
    widths = [z.shape[1] for z in factors]
    q = sum(widths)
    ends = np.cumsum(widths)
    members = [list(range(end - w, end)) for end, w in zip(ends, widths, strict=True)]
    lambda_ = np.zeros((q, q))
    for own, factor in zip(members, lambdas, strict=True):
        lambda_[np.ix_(own, own)] = factor
    pairs = whole
    if len(factors) > 1:
        terms = [several.Term(z, of) for z, of in zip(factors, labels, strict=True)]
        pairs = several.statistics(several.Design(y, X, terms, weights))
    N, found = clusters.spans(
        pairs,
        whole,
        list(range(q, q + X.shape[1])),
        list(range(q)),
        members,
        cluster,
        lambda_,
        model.M,
    )
    return model, N, found


def check(model, N, found, kind, rng):
    p = len(N)
    a = rng.normal(size=(p, 2))
    results = clusters.sums(found, kind, a, "scores", "variance", "reach")
    size = 1e-7 * (1 + np.abs(model.scores(kind) @ N).max())
    np.testing.assert_allclose(results["scores"], model.scores(kind) @ N, atol=size)
    # contrasts a of the columns X N are c = N^-T a of X
    for k in range(2):
        expected = model.covariance(kind, np.linalg.solve(N.T, a[:, k]))
        R = results["reach"][:, :, k]
        P = np.diag(results["variance"][:, k, k]) - R @ R.T
        np.testing.assert_allclose(P, expected, atol=1e-7 * (1 + np.abs(expected).max()))


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    q=st.integers(1, 4),
    p=st.integers(1, 4),
    n_groups=st.integers(3, 12),
    n=st.integers(25, 60),
    weighted=st.booleans(),
    rank=st.integers(0, 4),
    kind=st.sampled_from(KINDS),
)
def test_one_factor(seed, q, p, n_groups, n, weighted, rank, kind):
    design = dense.random_design(seed, q, p, n_groups, n, weighted)
    factor = dense.random_factor(seed, q, min(rank, q))
    args = [design.Z], design.X, design.y, design.weights, [design.groups], 0, [factor]
    check(*setting(*args), kind, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(["nested", "nested twice"]),
    widths=st.tuples(*[st.integers(1, 2)] * 3),
    weighted=st.booleans(),
    n_zero=st.integers(0, 2),
    kind=st.sampled_from(KINDS),
)
def test_nested_factors(seed, shape, widths, weighted, n_zero, kind):
    design = several.random_design(seed, shape, widths, p=3, n=70, weighted=weighted)
    lambda_ = several.random_factor(seed, design, n_zero)
    lambdas = [lambda_[s, s] for s in several.slices(design)]
    labels = [term.groups for term in design.factors]
    cluster = int(np.argmin([of.max() for of in labels]))
    factors = [term.Z for term in design.factors]
    args = factors, design.X, design.y, design.weights, labels, cluster, lambdas
    check(*setting(*args), kind, np.random.default_rng(seed))


@pytest.mark.parametrize("n_inner", [14, 50])
def test_more_effects_than_rotations_take(n_inner):
    """Clusters whose singular vectors are LAPACK's: more than 16 effects, and for CR2 64."""
    rng = np.random.default_rng(1)
    n = 11 * n_inner
    outer = rng.integers(0, 3, n)
    inner = np.unique(outer * 100 + rng.integers(0, n_inner, n), return_inverse=True)[1]
    X, one = np.column_stack([np.ones(n), rng.normal(size=n)]), np.ones((n, 1))
    Z_inner = np.column_stack([one, rng.normal(size=n)])
    lambdas = [np.array([[1.0, 0], [0.3, 0.5]]), np.array([[0.7]])]
    y = rng.normal(size=n)
    args = [Z_inner, one], X, y, np.ones(n), [inner, outer], 1, lambdas
    model, N, found = setting(*args)
    assert found.largest_side > 2 * n_inner
    for kind in KINDS:
        check(model, N, found, kind, rng)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_one_cluster_alone_has(kind):
    """A leverage of one: the pseudo-inverses leave the direction out."""
    design = dense.random_design(5, 2, 2, 6, 50)
    X = np.column_stack([design.X, design.groups == 2])
    args = [design.Z], X, design.y, design.weights, [design.groups], 0, [np.eye(2)]
    check(*setting(*args), kind, np.random.default_rng(5))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e7])
def test_symmetric_kind_is_unbiased_for_any_variances(size):
    """Where V is right each cluster's variance is its share in S, whatever the size of T."""
    design = dense.random_design(6, 2, 3, 7, 60)
    factor = np.diag([size, 1.0])
    args = [design.Z], design.X, design.y, design.weights, [design.groups], 0, [factor]
    _, _, found = setting(*args)
    results = clusters.sums(found, "symmetric", np.eye(3), "variance", "reach", "leverage")
    own = results["variance"] - np.einsum("npa,npb->nab", results["reach"], results["reach"])
    np.testing.assert_allclose(own, results["leverage"], atol=1e-8)


def test_shares_of_the_criterion():
    design = dense.random_design(7, 2, 3, 6, 50, weighted=True)
    factor = dense.random_factor(3, 2, 2)
    args = [design.Z], design.X, design.y, design.weights, [design.groups], 0, [factor]
    model, N, found = setting(*args)
    wanted = ["n_rows", "leverage", "square", "A", "moments"]
    results = clusters.sums(found, "none", np.zeros((3, 0)), *wanted)
    Z = np.sqrt(design.weights)[:, None] * design.Z
    for i, r in enumerate(model.rows()):
        inverse = np.linalg.inv(model.V[np.ix_(r, r)])
        XN, e = model.X[r] @ N, model.e[r]
        assert results["n_rows"][i] == len(r)
        np.testing.assert_allclose(results["leverage"][i], XN.T @ inverse @ XN, atol=1e-12)
        assert results["square"][i] == pytest.approx(e @ inverse @ e, rel=1e-10)
        np.testing.assert_allclose(results["A"][i], Z[r].T @ inverse @ Z[r], atol=1e-10)
        J = (Z[r].T @ inverse @ np.column_stack([XN, e])).ravel(order="F")
        np.testing.assert_allclose(results["moments"][i], np.outer(J, J), atol=1e-10)


@pytest.mark.parametrize("n_inner", [0, 50])
def test_any_number_of_threads_gives_the_same_bits(n_inner):
    if n_inner:  # by LAPACK
        n, rng = 2000, np.random.default_rng(2)
        outer = rng.integers(0, 130, n)
        inner = np.unique(outer * 100 + rng.integers(0, n_inner, n), return_inverse=True)[1]
        X, one = np.column_stack([np.ones(n), rng.normal(size=(n, 2))]), np.ones((n, 1))
        Z = np.column_stack([one, rng.normal(size=n)])
        labels, lambdas = [inner, outer], [np.eye(2), np.eye(1)]
        args = [Z, one], X, rng.normal(size=n), np.ones(n), labels, 1, lambdas
    else:
        design = dense.random_design(8, 2, 3, 200, 700)
        args = [design.Z], design.X, design.y, design.weights, [design.groups], 0, [np.eye(2)]
    _, _, found = setting(*args)
    one, two = (
        clusters.sums(found, "symmetric", np.eye(3), "scores", "variance", n_threads=t)
        for t in (1, 2)
    )
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_misuse():
    design = dense.random_design(9, 2, 2, 5, 30)
    args = [design.Z], design.X, design.y, design.weights, [design.groups], 0, [np.eye(2)]
    _, _, found = setting(*args)
    with pytest.raises(ValueError, match="numbers of clusters"):
        found.sums(
            first=3,
            n=9,
            z_factor=0,
            adjustment=_core.Adjustment.none,
            contrasts=np.eye(2),
            wanted=["scores"],
            n_threads=1,
        )
    with pytest.raises(ValueError, match="contrasts"):
        clusters.sums(found, "none", np.eye(3), "scores")
    with pytest.raises(ValueError, match="unknown result"):
        clusters.sums(found, "none", np.eye(2), "score")
    statistics = dense.statistics(design)
    with pytest.raises(ValueError, match="all cross products"):
        clusters.spans(statistics, statistics, [2, 3], [0, 1], [[0, 1]], 0, np.eye(2), np.eye(2))
