"""The bootstrap on the statistics against the bootstrap on rows, and what else it promises."""

from __future__ import annotations

import pickle
import warnings

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import _core
from blocklmm.inference.bootstrap import replicates
from blocklmm.inference.nested.reduced import lambdas_of_statistics
from scipy import stats

SLEEP = bl.datasets.load("sleepstudy")
N = 400  # the benchmark draws more


def weighted():
    rng = np.random.default_rng(3)
    n = 120
    g, h = rng.integers(0, 12, n), rng.integers(0, 6, n)
    x, w = rng.normal(size=n), rng.uniform(0.3, 3, n)
    y = x + rng.normal(size=12)[g] * (1 + x) + rng.normal(size=6)[h] + rng.normal(size=n) / w**0.5
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "w": w})


MODELS = {
    "slopes": lambda: bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP),
    "balanced": lambda: bl.lmer(
        "Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"), reml=False
    ),
    "nested": lambda: bl.lmer("strength ~ 1 + (1 | batch/cask)", bl.datasets.load("Pastes")),
    "crossed": lambda: bl.lmer(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"), reml=False
    ),
    "weighted": lambda: bl.lmer("y ~ x + (x | g)", weighted(), weights="w"),
    "weighted crossed": lambda: bl.lmer("y ~ x + (1 | g) + (1 | h)", weighted(), weights="w"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_distribution_as_with_rows(name):
    fit = MODELS[name]()
    found = fit.bootstrap(N, seed=1).to_frame()
    ys = fit.simulate(N, seed=2)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bl.BlocklmmWarning)
        for y in ys.T:
            other = fit.refit(y)
            sdcor = other.varcorr.to_frame()["sdcor"]
            shares = [other.icc().adjusted, other.r2().marginal, other.r2().conditional]
            rows.append([*other.params, *sdcor, *shares])
    by_rows = np.array(rows)
    for k, column in enumerate(found):
        a, b = found[column].dropna(), by_rows[:, k]
        b = b[np.isfinite(b)]
        assert stats.ks_2samp(a, b).pvalue > 1e-4, column
        assert abs((a == 0).mean() - (np.abs(b) < 1e-8).mean()) < 0.15


def test_one_replicate_is_a_fit_of_its_response():
    """The numbers of a replicate are those of a refit to rows with the same statistics."""
    fit = MODELS["weighted"]()
    problem = fit._problem
    draws = _core.ResponseDraws(
        statistics=problem.statistics.core, x_columns=problem.x_columns, memory_limit=1e9
    )
    response = draws.draw(
        lambdas=lambdas_of_statistics(problem, fit._optimum.factor),
        sigma=fit.sigma,
        seed=9,
        replicate=0,
    )
    data, root = weighted(), np.sqrt(weighted()["w"].to_numpy())
    indicator = (data["g"].to_numpy()[:, None] == np.arange(12)).astype(float)
    x = data["x"].to_numpy()
    shift = np.asarray(problem.statistics.core.shift)
    columns = problem.design.z_columns
    Z = [np.ones(len(x)) - shift[columns[0]], x - shift[columns[1]]]
    W = np.hstack([root[:, None] * indicator * z[:, None] for z in Z])
    targets = np.concatenate([response.Zy[0][0], response.Zy[0][1]])
    y = np.linalg.lstsq(W.T, targets, rcond=1e-10)[0]
    outside = np.linalg.svd(W)[0][:, np.linalg.matrix_rank(W) :]
    y += outside[:, 0] * np.sqrt(response.yy - y @ y)
    refit = fit.refit(y / root)
    replicate = fit.bootstrap(1, seed=9)
    np.testing.assert_allclose(
        replicate.to_frame().iloc[0, :2] - fit.params.to_numpy(), refit.params, atol=1e-6
    )
    np.testing.assert_allclose(
        replicate.to_frame().iloc[0, 2:6], refit.varcorr.to_frame()["sdcor"], rtol=1e-5, atol=1e-6
    )
    assert replicate.replicates.objective[0] == pytest.approx(refit.objective, abs=1e-6)
    np.testing.assert_allclose(replicate.replicates.bse[0], refit.bse, rtol=1e-6)


def test_reproducible_for_any_number_of_threads():
    fit = MODELS["slopes"]()
    a, b = fit.bootstrap(60, seed=4), fit.bootstrap(60, seed=4, n_threads=3)
    pd.testing.assert_frame_equal(a.to_frame(), b.to_frame(), check_exact=True)
    c = fit.bootstrap(60)
    d = fit.bootstrap(60, seed=c.seed)
    pd.testing.assert_frame_equal(c.to_frame(), d.to_frame(), check_exact=True)
    assert not c.to_frame().equals(a.to_frame())


def test_threads_that_have_no_memory(monkeypatch):
    fit = MODELS["balanced"]()  # 6 levels of 1 x 2 numbers
    expected = fit.bootstrap(20, seed=1).to_frame()
    monkeypatch.setattr(replicates, "memory_limit", lambda: 32.0 * 6 * 2 * 2.5)
    with pytest.warns(bl.BlocklmmWarning, match="memory for 2 of 4 threads"):
        found = fit.bootstrap(20, seed=1, n_threads=4).to_frame()
    pd.testing.assert_frame_equal(found, expected)
    monkeypatch.setattr(replicates, "memory_limit", lambda: 10.0)
    with pytest.raises(bl.ModelSizeError, match="replicates of 6 levels"):
        fit.bootstrap(20, seed=1)


def test_intervals():
    fit = MODELS["balanced"]()
    boot = fit.bootstrap(2000, seed=1)
    frame, estimates = boot.to_frame(), boot.estimates
    assert list(estimates.index) == list(frame.columns)
    assert estimates["sd_(Intercept)|Batch"] == pytest.approx(fit.varcorr["Batch"].sd[0])
    assert estimates["icc"] == pytest.approx(fit.icc().adjusted)
    assert estimates["r2_conditional"] == pytest.approx(fit.r2().conditional)
    percentile = boot.conf_int()
    np.testing.assert_allclose(percentile["lower"], frame.quantile(0.025))
    basic = boot.conf_int("basic", level=0.9)
    np.testing.assert_allclose(basic["upper"][:3], (2 * estimates - frame.quantile(0.05))[:3])
    assert (basic["lower"][1:] >= 0).all()
    # sigma^2 (n - m) / sigma^2 is chi-square on 24 degrees of freedom, the intercept normal
    sigma = stats.chi2(24).ppf([0.025, 0.975])
    np.testing.assert_allclose(percentile.loc["sigma"], fit.sigma * np.sqrt(sigma / 24), rtol=0.03)
    half = 1.96 * fit.bse["Intercept"]
    np.testing.assert_allclose(
        percentile.loc["Intercept"], fit.params["Intercept"] + np.array([-half, half]), rtol=0.01
    )
    assert "2000 replicates (seed 1)" in repr(boot)


def test_too_few_replicates_for_a_limit():
    boot = MODELS["balanced"]().bootstrap(30, seed=1)
    with pytest.warns(bl.BlocklmmWarning, match="of 30 replicates less than one lies beyond"):
        boot.conf_int()
    boot.conf_int(level=0.9)


def test_what_is_refused():
    fit = MODELS["balanced"]()
    with pytest.raises(bl.OptionError, match="n is a whole number"):
        fit.bootstrap(0)
    with pytest.raises(bl.OptionError, match="seed is a whole number"):
        fit.bootstrap(10, seed=-1)
    with pytest.raises(bl.OptionError, match="n_threads is a whole number"):
        fit.bootstrap(10, n_threads=0)
    boot = fit.bootstrap(20, seed=1)
    with pytest.raises(bl.OptionError, match="'percentile', 'basic', 'bca'"):
        boot.conf_int("normal")
    with pytest.raises(bl.OptionError, match="between 0 and 1"):
        boot.conf_int(level=1.0)
    with pytest.raises(bl.InferenceError, match="no random terms"):
        bl.lmer("Reaction ~ Days", SLEEP).bootstrap(10)
    with pytest.warns(bl.ConvergenceWarning):
        stopped = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", SLEEP).fit(
            start=[1, 0, 1], options=bl.FitOptions(max_evaluations=1)
        )
    with pytest.raises(bl.InferenceError, match="not certified"):
        stopped.bootstrap(10)


def test_without_the_data():
    """A fit restored from a pickle has its statistics, and needs no more."""
    fit = MODELS["slopes"]()
    other = pickle.loads(pickle.dumps(fit))
    pd.testing.assert_frame_equal(
        fit.bootstrap(5, seed=1).to_frame(), other.bootstrap(5, seed=1).to_frame()
    )
