"""Shifts, scales and bases of the core leave no trace in what the user sees."""

from __future__ import annotations

import pickle
import warnings

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import _core

RNG = np.random.default_rng(5)
N = 240
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=N) + 5,
        "t": RNG.normal(size=N),
        "a": RNG.choice(list("pqr"), N),
        "g": np.arange(N) % 20,
    }
)
DATA["z"] = DATA.a.map({"p": 1.5, "q": 4.0, "r": -2.0})


@pytest.mark.parametrize("random", ["", " + (1 | g)"])
def test_a_dropped_indicator_that_made_the_constant(random):
    """In 0 + z + a, with z constant within a, the last indicator goes; X still spans ones."""
    fit = bl.lmer(f"y ~ 0 + z + t + a{random}", DATA)
    same_space = bl.lmer(f"y ~ 0 + a + t{random}", DATA)
    assert fit.dropped_columns == ("a[r]",)
    np.testing.assert_allclose(fit.fittedvalues, same_space.fittedvalues, rtol=1e-9)
    X = np.column_stack([DATA.z, DATA.t, DATA.a == "p", DATA.a == "q"]).astype(float)
    np.testing.assert_allclose(X @ fit.params, fit.predict(random="population"), rtol=1e-9)
    other = bl.lmer(f"y ~ 0 + a + t{random}", DATA, reml=False)
    assert fit.refit_ml().objective == pytest.approx(other.objective, rel=1e-12)
    inverse = np.linalg.inv(X.T @ X)
    if not random:
        sigma2 = fit.sigma**2
        np.testing.assert_allclose(fit.cov_params(), sigma2 * inverse, rtol=1e-8, atol=1e-12)
        residual = DATA.y - X @ fit.params
        nu = N - 4
        criterion = nu * (1 + np.log(2 * np.pi * (residual @ residual) / nu))
        criterion += np.linalg.slogdet(X.T @ X)[1]
        assert fit.objective == pytest.approx(criterion, rel=1e-11)


def test_a_column_that_begins_with_missing_values_far_from_zero():
    rng = np.random.default_rng(0)
    n = 9000
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    missing = np.arange(n) < 5000
    groups = np.arange(n) % 50
    plain = bl.lmer("y ~ x + (1 | g)", {"y": y, "x": np.where(missing, np.nan, x), "g": groups})
    far = np.where(missing, np.nan, x + 1e7)
    fit = bl.lmer("y ~ x + (1 | g)", {"y": y, "x": far, "g": groups})
    assert fit.objective == pytest.approx(plain.objective, abs=1e-5)
    assert fit.params["x"] == pytest.approx(plain.params["x"], rel=1e-7)


@pytest.mark.parametrize("formula", ["y ~ a * t", "y ~ 0 + a + a:t", "y ~ a * t + (t | g)"])
@pytest.mark.parametrize("shift", [1e4, 1e7])
def test_covariates_far_from_zero_in_interactions(formula, shift):
    t = np.round(DATA.t * 2**20) / 2**20
    plain = bl.lmer(formula, DATA.assign(t=t))
    fit = bl.lmer(formula, DATA.assign(t=t + shift))
    assert fit.dropped_columns == ()
    assert fit.objective == pytest.approx(plain.objective, abs=1e-8)
    slopes = [name for name in plain.params.index if "t" in name.split(":")]
    np.testing.assert_allclose(fit.params[slopes], plain.params[slopes], rtol=1e-7)
    np.testing.assert_allclose(fit.bse[slopes], plain.bse[slopes], rtol=1e-8)
    np.testing.assert_allclose(fit.fittedvalues, plain.fittedvalues, rtol=1e-6)
    assert fit.r2().marginal == pytest.approx(plain.r2().marginal, rel=1e-7)


@pytest.mark.parametrize("interval", ["prediction", "confidence"])
def test_intervals_with_a_covariate_far_from_zero(interval):
    t = np.round(DATA.t * 2**10) / 2**10
    plain = bl.lmer("y ~ t + (t | g)", DATA.assign(t=t)).predict(interval=interval)
    for shift in (2.0**20, 2.0**30):
        fit = bl.lmer("y ~ t + (t | g)", DATA.assign(t=t + shift))
        found = fit.predict(interval=interval)
        half, expected = (f["upper"] - f["mean"] for f in (found, plain))
        np.testing.assert_allclose(half, expected, rtol=1e-6)


def test_no_fixed_effects_at_all():
    fit = bl.lmer("y ~ 0 + (1 | g)", DATA)
    assert len(fit.params) == 0
    y, groups = DATA.y.to_numpy(), DATA.g.to_numpy()
    sd = fit.varcorr["g"].sd[0]
    V = sd**2 * (groups[:, None] == groups) + fit.sigma**2 * np.eye(N)
    _, logdet = np.linalg.slogdet(V)
    criterion = logdet + y @ np.linalg.solve(V, y) + N * np.log(2 * np.pi)
    assert fit.objective == pytest.approx(criterion, rel=1e-12)
    found = fit.predict(interval="confidence")
    conditional = sd**2 - sd**4 * 12 / (fit.sigma**2 + 12 * sd**2)
    half = 1.959963984540054 * np.sqrt(conditional)
    np.testing.assert_allclose(found["upper"] - found["mean"], half, rtol=1e-9)
    assert "No fixed effects" in fit.summary()


def test_anova_of_other_codings_of_the_same_response():
    a = bl.lmer("y ~ 0 + t + (1 | g)", DATA)
    b = bl.lmer("y ~ t + (1 | g)", DATA)
    assert bl.anova(a, b)["Df"].iloc[1] == 1


@pytest.mark.parametrize("size", [1e4, 1e5, 1e7])
def test_slopes_far_larger_than_the_residuals(size):
    """A look at the boundary that would fit nothing must not throw the optimum away.

    At 1e7 times sigma the variances differ by more than doubles hold beside the identity in
    I + R T R': the certificate may be refused, which is said, but the estimates stand.
    """
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(20), 8)
        t = rng.normal(size=160)
        effects = rng.normal(size=(20, 2)) * [1, size]
        y = effects[groups, 0] + effects[groups, 1] * t + rng.normal(size=160)
        with warnings.catch_warnings():
            if size > 1e6:
                warnings.simplefilter("ignore", bl.ConvergenceWarning)
            fit = bl.lmer("y ~ t + (t | g)", {"y": y, "t": t, "g": groups})
        assert fit.converged or size > 1e6
        assert 0.7 < fit.sigma < 1.4
        assert fit.varcorr["g"].sd[1] == pytest.approx(effects[:, 1].std(ddof=1), rel=0.1)


def test_large_groups_with_a_constant_covariate_have_no_own_slope():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(15), 2000)
    x = np.where(groups < 9, rng.normal(size=15)[groups] + 0.1, rng.normal(size=30_000))
    y = x + rng.normal(size=15)[groups] + rng.normal(size=30_000)
    fit = bl.lmer("y ~ x + (x | g)", {"y": y, "x": x, "g": groups})
    own = fit.shrinkage()["g"]["own"]
    assert own.iloc[:9].isna().all().all()
    assert own.iloc[9:].notna().all().all()


def test_closed_statistics_take_no_more_rows():
    core = _core.Statistics(
        recipes=[("constant",), ("numeric", 0)],
        columns=[0, 1],
        shifted=[False, False],
        factors=[([0, 1], 1, 2)],
        n_sources=1,
        weight=-1,
    )
    rows = np.arange(4.0), np.array([0, 1, 0, 1])
    core.update([rows[0]], [rows[1]], [0], 4, 1)
    core.finish()
    for closed in (core, pickle.loads(pickle.dumps(core))):
        with pytest.raises(ValueError, match="closed"):
            closed.update([rows[0]], [rows[1]], [0], 4, 1)
        with pytest.raises(ValueError, match="closed"):
            closed.finish()


def test_modes_want_the_objective_s_own_statistics():
    a, b = (
        bl.LinearMixedModel(f"y ~ t + {random}", DATA)._prepared(1)
        for random in ("(1 | g)", "(t | g)")
    )
    with pytest.raises(ValueError, match="not those of the objective"):
        a.core.own_fits(b.statistics.core)


def test_a_pickle_holds_no_row_given_as_an_array():
    weights = RNG.uniform(1, 2, 200_000)
    data = {"y": RNG.normal(size=200_000), "g": np.arange(200_000) % 50}
    fit = bl.lmer("y ~ 1 + (1 | g)", data, weights=weights, offset=weights)
    text = pickle.dumps(fit)
    assert len(text) < 20_000
    other = pickle.loads(text)
    assert other.params.equals(fit.params)
    assert len(pickle.dumps(fit.refit(fit.resid + 1))) < 20_000


def test_refit_leaves_weights_made_of_the_response_alone():
    data = DATA.assign(y=DATA.y.abs() + 1)
    fit = bl.lmer("y ~ t + (1 | g)", data, weights="y")
    draw = fit.simulate(1, seed=0)[:, 0]
    expected = bl.lmer("r ~ t + (1 | g)", data.assign(r=draw), weights="y")
    assert fit.refit(draw).objective == pytest.approx(expected.objective, rel=1e-12)


def test_joint_labels_that_could_be_confused():
    data = DATA.assign(h=np.where(DATA.g % 2, "a:b", "a"), k=np.where(DATA.t > 0, "c", "b:c"))
    fit = bl.lmer("y ~ t + (1 | h:k)", data)
    assert fit.ngroups == {"h:k": 4}
    assert len(fit.fittedvalues) == N


def test_many_joint_levels_take_no_more_than_the_rows():
    n = 60_000
    a, b = np.arange(n) % 30_000, np.arange(n) % 29_999
    y = np.random.default_rng(0).normal(size=n)
    with pytest.raises(bl.DataError, match="as many levels as there are rows"):
        bl.lmer("y ~ 1 + (1 | a:b)", {"y": y, "a": a, "b": b})


def test_infinite_values_make_no_category():
    with pytest.raises(bl.DataError, match="infinite"):
        bl.lmer("y ~ C(t)", DATA.assign(t=np.where(DATA.index == 2, np.inf, np.round(DATA.t))))


def test_threads_and_missing_rows():
    rng = np.random.default_rng(6)
    n = 140_000
    data = pd.DataFrame(
        {"y": rng.normal(size=n), "x": rng.normal(size=n), "g": rng.integers(0, 9000, n)}
    )
    data.loc[rng.random(n) < 0.1, "x"] = np.nan
    one, two = (
        bl.lmer("y ~ x + (x | g)", data, options=bl.FitOptions(n_threads=k)) for k in (1, 2)
    )
    assert one.dropped == two.dropped
    assert one.objective == two.objective
    assert one.params.equals(two.params)
