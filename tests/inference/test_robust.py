"""Cluster-robust covariances against dense matrices, and what is refused."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.inference.clusters import clusters
from blocklmm.inference.clusters.robust import cluster_robust
from scipy import stats

from tests.core import clusters as core_clusters

from .dense import Dense, made, nearly_exact_fits

KINDS = {"CR0": "none", "CR1": "none", "CR1S": "none", "CR2": "symmetric", "CR3": "jackknife"}
MODELS = {
    "y ~ x + t + (t | a)": [("a", ["1", "t"])],
    "y ~ x + t + (1 | a) + (t | b)": [("a", ["1"]), ("b", ["1", "t"])],
}
SLEEP = bl.datasets.load("sleepstudy")


def dense_model(data, fit, terms, groups):
    """The matrices of tests/core/clusters.py for a fit."""
    dense = Dense(data, fit, ["1", "x", "t"], terms)
    model = core_clusters.Model(
        dense.X, dense.y, np.zeros((len(data), 1)), np.zeros((1, 1)), groups
    )
    model.V, model.inverse = dense.V, np.linalg.inv(dense.V)
    model.M = np.linalg.inv(dense.X.T @ model.inverse @ dense.X)
    model.e = dense.y - dense.X @ (model.M @ dense.X.T @ model.inverse @ dense.y)
    return model


@pytest.mark.parametrize("formula", MODELS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_against_dense(formula, weighted, kind):
    data = made(31, nested=True, weighted=weighted)
    fit = bl.lmer(formula, data, weights="w")
    found = cluster_robust(fit, kind)
    assert (found.cluster, found.n_clusters, found.kind) == ("a", 8, kind)
    model = dense_model(data, fit, MODELS[formula], data["a"].to_numpy())
    meat = model.scores(KINDS[kind])
    cov = model.M @ meat.T @ meat @ model.M
    n, p, J = len(data), 3, 8
    cov *= {"CR1": J / (J - 1), "CR1S": J * (n - 1) / ((J - 1) * (n - p))}.get(kind, 1.0)
    np.testing.assert_allclose(found.cov, cov, rtol=1e-7, atol=1e-10)
    L = np.array([[1.0, 0, 0], [0, 1, -1], [0.5, 0.5, 2]])
    P = [model.covariance(KINDS[kind], c) for c in L]
    expected = [np.trace(m) ** 2 / (m**2).sum() for m in P]
    np.testing.assert_allclose(found.df(L), expected, rtol=1e-7)


def test_unbiased_where_the_model_is_right():
    """The mean of CR2 over responses drawn from a model at given theta is Var(beta^)."""
    data = made(32)
    fit = bl.lmer("y ~ x + t + (t | a)", data)
    model = dense_model(data, fit, [("a", ["1", "t"])], data["a"].to_numpy())
    n = len(data)
    residual = np.eye(n) - model.X @ model.M @ model.X.T @ model.inverse
    expected = np.zeros((3, 3))
    for E, rows in zip(model.estimating("symmetric"), model.rows(), strict=True):
        part = model.M @ E @ residual[rows]
        expected += part @ model.V @ part.T
    np.testing.assert_allclose(expected, model.M, rtol=1e-9)


def test_joint_test_by_its_definition():
    """HTZ from the double sum over clusters of blocks P_ij (Tipton & Pustejovsky 2015)."""
    data = made(33, weighted=True)
    fit = bl.lmer("y ~ x + t + (t | a)", data, weights="w")
    found = cluster_robust(fit, "CR2")
    L = np.array([[0.0, 1, 0], [0, 1, 1]])
    model = dense_model(data, fit, [("a", ["1", "t"])], data["a"].to_numpy())
    residual = np.eye(len(data)) - model.X @ model.M @ model.X.T @ model.inverse
    parts = [
        L @ model.M @ E @ residual[r]
        for E, r in zip(model.estimating("symmetric"), model.rows(), strict=True)
    ]
    P = np.array([[a @ model.V @ b.T for b in parts] for a in parts])
    values, vectors = np.linalg.eigh(np.einsum("iiab->ab", P))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    P = root @ P @ root
    total = np.einsum("ijab,ijba->", P, P) + (np.einsum("ijaa->ij", P) ** 2).sum()
    eta = 2 * 3 / total
    estimate = L @ fit.params.to_numpy()
    wald = estimate @ np.linalg.solve(L @ found.cov @ L.T, estimate)
    test = found.f_test(L, estimate)
    assert test.num_df == 2
    assert test.den_df == pytest.approx(eta - 1, rel=1e-8)
    assert test.statistic == pytest.approx((eta - 1) / eta * wald / 2, rel=1e-8)
    assert test.p_value == pytest.approx(stats.f.sf(test.statistic, 2, test.den_df), rel=1e-8)
    # the same space of hypotheses, with a dependent row
    again = found.f_test(np.vstack([L, L[0] - L[1]]), np.append(estimate, estimate @ [1, -1]))
    assert again.den_df == pytest.approx(test.den_df, rel=1e-8)
    assert again.num_df == 2


def test_crossed_factors_have_sums_of_scores():
    data = made(34, weighted=True)
    fit = bl.lmer("y ~ x + t + (1 | a) + (t | b)", data, weights="w")
    model = dense_model(data, fit, [("a", ["1"]), ("b", ["1", "t"])], data["b"].to_numpy())
    u = model.inverse @ model.e
    scores = np.array([model.X[r].T @ u[r] for r in model.rows()])
    cov = model.M @ scores.T @ scores @ model.M
    found = cluster_robust(fit, "CR0", "b")
    np.testing.assert_allclose(found.cov, cov, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(cluster_robust(fit, "CR1", "b").cov, cov * 6 / 5, atol=1e-10)
    np.testing.assert_array_equal(found.df(np.eye(3)), [5, 5, 5])
    test = found.f_test(np.eye(3)[1:], fit.params.to_numpy()[1:])
    assert (test.num_df, test.den_df) == (2, 5)
    for kind in ("CR2", "CR3"):
        with pytest.raises(bl.InferenceError, match="block diagonal by the clusters"):
            cluster_robust(fit, kind, "b")
    chosen = {"robust": "CR0", "cluster": "b"}
    np.testing.assert_allclose(fit.cov_params(**chosen), cov, rtol=1e-8, atol=1e-12)
    std_error = np.sqrt(np.diag(cov))
    contrasts = fit.contrast(np.eye(3), **chosen).to_frame()
    for table, column in ((fit.tidy(**chosen), "std.error"), (contrasts, "std_error")):
        np.testing.assert_allclose(table[column], std_error, rtol=1e-8)
        np.testing.assert_allclose(table["df"], 5)
    width = fit.conf_int(**chosen).diff(axis=1)["upper"]
    np.testing.assert_allclose(width, 2 * stats.t(5).ppf(0.975) * std_error, rtol=1e-8)
    assert "CR0 by b" in fit.summary(**chosen)
    f = bl.anova(fit, **chosen).loc["x", "F"]
    assert f == pytest.approx(fit.params["x"] ** 2 / cov[1, 1], rel=1e-8)
    with pytest.raises(bl.DataError, match=r"crossed.*'a' or 'b'"):
        cluster_robust(fit, "CR0")


def test_an_inner_factor_is_no_cluster_for_adjustments():
    data = made(35, nested=True)
    fit = bl.lmer("y ~ x + (1 | a) + (1 | b)", data)
    assert cluster_robust(fit, "CR2").cluster == "a"
    assert cluster_robust(fit, "CR0", "b").n_clusters == data["b"].nunique()
    with pytest.raises(bl.InferenceError, match="random effects of another factor"):
        cluster_robust(fit, "CR2", "b")


@pytest.mark.parametrize("kind", KINDS)
def test_units_leave_no_trace(kind):
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    moved = SLEEP.assign(Reaction=SLEEP["Reaction"] + 1e9, Days=(SLEEP["Days"] + 2e5) * 1e-4)
    other = bl.lmer("Reaction ~ Days + (Days | Subject)", moved)
    a, b = cluster_robust(fit, kind), cluster_robust(other, kind)
    assert b.cov[1, 1] * 1e-8 == pytest.approx(a.cov[1, 1], rel=1e-7)
    L = np.array([[0.0, 1.0]])
    assert b.df(L)[0] == pytest.approx(a.df(L)[0], rel=1e-7)
    # the value at day 4.5, where the covariate's shift is of no account
    at, at_moved = np.array([1.0, 4.5]), np.array([1.0, (4.5 + 2e5) * 1e-4])
    assert at_moved @ b.cov @ at_moved == pytest.approx(at @ a.cov @ at, rel=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1e5])
def test_a_nearly_exact_fit_keeps_its_digits(spread):
    alone, fit = nearly_exact_fits(spread)
    for kind in ("CR0", "CR2", "CR3"):
        a, b = (cluster_robust(f, kind).cov[1:, 1:] for f in (alone, fit))
        np.testing.assert_allclose(b, a, rtol=1e-5)


def test_dropped_columns_singular_fits_and_single_rows():
    rng = np.random.default_rng(37)
    a = np.concatenate([np.arange(12), rng.integers(0, 12, 25) // 4])
    data = pd.DataFrame({"y": rng.normal(size=37), "x": rng.normal(size=37), "a": a, "w": 1.0})
    data["t"] = rng.normal(size=37)
    data["twice"] = 2 * data["x"] + 1
    fit = bl.lmer("y ~ x + twice + t + (t | a)", data)
    assert fit.singular
    assert fit.dropped_columns == ("twice",)
    model = dense_model(data, fit, [("a", ["1", "t"])], a)
    for kind in KINDS:
        found = cluster_robust(fit, kind)
        meat = model.scores(KINDS[kind])
        expected = model.M @ meat.T @ meat @ model.M
        expected *= {"CR1": 12 / 11, "CR1S": 12 / 11 * 36 / 34}.get(kind, 1.0)
        np.testing.assert_allclose(found.cov, expected, rtol=1e-6, atol=1e-9)


def test_clusters_come_in_parts_and_threads(monkeypatch):
    data = made(38, n=300)
    fit = bl.lmer("y ~ x + t + (t | a)", data)
    whole = cluster_robust(fit, "CR2")
    L = np.eye(3)
    df, test = whole.df(L), whole.f_test(L[1:], fit.params.to_numpy()[1:])
    threads = cluster_robust(fit, "CR2", n_threads=2)
    np.testing.assert_array_equal(threads.cov, whole.cov)
    np.testing.assert_array_equal(threads.df(L), df)
    monkeypatch.setattr(clusters, "_AT_ONCE", 3)
    parts = cluster_robust(fit, "CR2")
    np.testing.assert_allclose(parts.cov, whole.cov, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(parts.df(L), df, rtol=1e-12)
    assert parts.f_test(L[1:], fit.params.to_numpy()[1:]).den_df == pytest.approx(test.den_df)


def test_contrasts_of_nothing():
    fit = bl.lmer("Reaction ~ 0 + (Days | Subject)", SLEEP)
    assert all(cluster_robust(fit, kind).cov.shape == (0, 0) for kind in KINDS)
    found = cluster_robust(bl.lmer("y ~ x + (1 | a)", made(39)), "CR2")
    assert np.isnan(found.df(np.zeros((1, 2)))).all()
    test = found.f_test(np.zeros((1, 2)), np.zeros(1))
    assert test.num_df == 0
    assert np.isnan(test.p_value)


def test_a_cluster_is_of_robust_errors():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    for ask in (fit.tidy, fit.cov_params, fit.conf_int, fit.summary):
        with pytest.raises(bl.OptionError, match="cluster is of robust errors"):
            ask(cluster="Subject")
    with pytest.raises(bl.OptionError, match="about the fixed effects"):
        fit.tidy("random", robust="CR2")
    with pytest.raises(bl.OptionError, match="about the terms of one fit"):
        bl.anova(fit, fit, cluster="Subject")


def test_misuse():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    with pytest.raises(bl.OptionError, match="kind is one of 'CR0'"):
        cluster_robust(fit, "HC3")
    with pytest.raises(bl.DataError, match=r"no grouping factor 'subject'.*Did you mean 'Subject'"):
        cluster_robust(fit, "CR2", "subject")
    with pytest.raises(bl.DataError, match="add a random intercept"):
        cluster_robust(bl.lmer("Reaction ~ Days", SLEEP), "CR2")
    with pytest.raises(bl.DataError, match="without its rows"):
        cluster_robust(pickle.loads(pickle.dumps(fit)), "CR2")


def test_fewer_clusters_than_hypotheses():
    """The estimated covariance has a rank below that of L: no test of a part of the hypothesis."""
    data = bl.datasets.load("Oats")
    fit = bl.lmer("yield ~ C(nitro) * Variety + (1 | Block)", data)
    with pytest.warns(bl.BlocklmmWarning, match="no CR2 test of 6 hypotheses together: 6 clusters"):
        table = bl.anova(fit, robust="CR2")
    row = table.loc["C(nitro):Variety"]
    assert row["num_df"] == 6
    assert np.isnan(row["F"])
    assert np.isnan(row["den_df"])
    assert np.isfinite(table.loc["Variety", "F"])
    crossed = bl.lmer("y ~ x + t + (1 | a) + (1 | b)", made(34))
    test = crossed.contrast(np.eye(3)[1:], robust="CR0", cluster="b").f_test
    assert (test.num_df, test.den_df) == (2, 5)


def test_a_cluster_that_the_jackknife_can_not_leave_out():
    data = made(35, nested=True).assign(only=lambda d: (d["a"] == 2).astype(float))
    fit = bl.lmer("y ~ x + only + (1 | a)", data)
    with pytest.warns(bl.BlocklmmWarning, match="without 1 of the clusters of 'a'"):
        cluster_robust(fit, "CR3")
    cluster_robust(fit, "CR2")


def test_what_would_not_fit_into_memory(monkeypatch):
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    monkeypatch.setattr(clusters, "memory_limit", lambda: 10.0)
    with pytest.raises(bl.ModelSizeError, match="3 columns for 18 clusters of 'Subject'"):
        cluster_robust(fit, "CR2")
    crossed = made(34)
    fit = bl.lmer("y ~ x + (1 | a) + (1 | a:b)", crossed)
    monkeypatch.setattr(clusters, "memory_limit", lambda: 600.0)
    with pytest.raises(bl.ModelSizeError, match="random effects"):
        cluster_robust(fit, "CR2")


def test_restored_from_a_pickle():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    found = fit.contrast("Days", robust="CR2")
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    assert found.f_test.p_value < 1e-3
    with pytest.raises(bl.InferenceError, match="restored without the sums by cluster"):
        _ = again.f_test


def test_no_fixed_effects():
    fit = bl.lmer("Reaction ~ 0 + (1 | Subject)", SLEEP)
    assert len(fit.tidy(robust="CR0")) == 0
