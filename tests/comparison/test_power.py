"""Simulated power: designs, tests, and what is refused."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

SLEEP = bl.datasets.load("sleepstudy")
FIT = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_a_balanced_slope_has_the_power_of_a_t_test():
    """A t-test of the groups' own slopes: noncentral t on m - 1 degrees of freedom."""
    table = bl.power(FIT, "Days", [9, 18], effect=4.0, n_sim=4000, seed=1)
    for m, row in table.iterrows():
        se = FIT.bse["Days"] * np.sqrt(18 / m)
        critical = stats.t.ppf(0.975, m - 1)
        t = stats.nct(m - 1, 4.0 / se)
        expected = t.sf(critical) + t.cdf(-critical)
        assert row["power"] == pytest.approx(expected, abs=0.03)
        assert row["lower"] < row["power"] < row["upper"]
        assert row["n_rows"] == 10 * m
        assert row["df"] == pytest.approx(m - 1, rel=1e-4)


def test_under_the_null_hypothesis_it_is_alpha():
    table = bl.power(FIT, "Days", 18, effect=0.0, alpha=0.1, n_sim=3000, seed=2)
    assert table["power"].iloc[0] == pytest.approx(0.1, abs=0.02)


def test_of_a_random_effect():
    table = bl.power(FIT, "Days in (Days | Subject)", [3, 18], n_sim=300, seed=1)
    assert table["power"].iloc[1] > 0.97 > table["power"].iloc[0]
    assert table["df"].isna().all()


def test_nested_groups_and_other_frames():
    pastes = bl.lmer("strength ~ 1 + (1 | batch/cask)", bl.datasets.load("Pastes"))
    table = bl.power(pastes, "(1 | batch)", [10, 25], n_sim=50, seed=1)
    assert list(table["n_rows"]) == [60, 150]
    other = bl.lmer("Reaction ~ Days + (Days | Subject)", pl.from_pandas(SLEEP))
    pd.testing.assert_frame_equal(
        bl.power(other, "Days", 20, effect=2.0, n_sim=50, seed=3),
        bl.power(FIT, "Days", 20, effect=2.0, n_sim=50, seed=3),
    )


def test_groups_of_a_category_with_fixed_effects():
    cake = bl.lmer("angle ~ recipe + (1 | recipe:replicate)", bl.datasets.load("cake"))
    table = bl.power(cake, "recipe[T.B]", [45, 90], effect=2.0, n_sim=50, seed=1)
    assert list(table["n_rows"]) == [270, 540]


def test_what_is_refused():
    with pytest.raises(bl.DataError, match="Did you mean 'Days'"):
        bl.power(FIT, "Dais", 10)
    with pytest.raises(bl.OptionError, match="n_groups"):
        bl.power(FIT, "Days", 1)
    with pytest.raises(bl.OptionError, match="alpha"):
        bl.power(FIT, "Days", 10, alpha=5)
    with pytest.raises(bl.OptionError, match="effect is of a coefficient"):
        bl.power(FIT, "Days in (Days | Subject)", 10, effect=1.0)
    with pytest.raises(TypeError, match="about a fit"):
        bl.power(SLEEP, "Days", 10)
    with pytest.raises(bl.InferenceError, match="no random terms"):
        bl.power(bl.lmer("Reaction ~ Days", SLEEP), "Days", 10)
    crossed = bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))
    with pytest.raises(bl.InferenceError, match="crossed"):
        bl.power(crossed, "Intercept", 10)


def test_arms_keep_their_shares():
    """The order of the groups' labels is of no account where they are alike but for their arm."""
    rng = np.random.default_rng(2)
    arm, x = np.repeat([0.0, 1.0], [16, 8]), np.tile(np.arange(5.0), 24)
    shuffled = rng.permutation(24)
    found = []
    for label in (np.arange(24), shuffled):
        data = pd.DataFrame({"g": np.repeat(label, 5), "arm": np.repeat(arm, 5), "x": x})
        effects = rng.normal(size=24) if not found else effects  # noqa: F821
        noise = rng.normal(size=120) if not found else noise  # noqa: F821
        data["y"] = data["x"] + np.repeat(effects, 5) + noise
        fit = bl.lmer("y ~ arm * x + (1 | g)", data)
        found.append(bl.power(fit, "arm:x", [9, 12, 36], effect=0.4, n_sim=400, seed=3))
    pd.testing.assert_frame_equal(found[0], found[1], rtol=1e-6)
    # a third of 12 groups in the smaller arm: Var = sigma^2 / 10 (1/8 + 1/4)
    sd = fit.sigma * np.sqrt((1 / 8 + 1 / 4) / 10)
    df = found[0].loc[12, "df"]
    expected = stats.nct(df, 0.4 / sd).sf(stats.t(df).ppf(0.975))
    assert found[0].loc[12, "power"] == pytest.approx(expected, abs=0.08)


def test_what_is_not_identified_has_no_power():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(30), 6)
    data = pd.DataFrame({"g": g, "h": np.array(list("abc"))[g % 3], "y": rng.normal(size=180)})
    data["y"] += rng.normal(size=30)[g]
    said = pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified")
    with said:
        fit = bl.lmer("y ~ h + (h | g)", data)
    with said, pytest.raises(bl.InferenceError, match="do not identify"):
        bl.power(fit, "h in (h | g)", [30], n_sim=20, seed=1)


def test_designs_that_lack_an_effect_or_change_its_meaning():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 6)
    data = pd.DataFrame({"g": g, "arm": g >= 6, "x": rng.normal(size=72)})
    data["arm"] = data["arm"].astype(float)
    data["y"] = data["arm"] + rng.normal(size=12)[g] + rng.normal(size=72)
    fit = bl.lmer("y ~ arm + x + (1 | g)", data)
    found = bl.power(fit, "arm", [4, 7, 24], n_sim=10, seed=1)
    assert list(found["n_rows"]) == [24, 42, 144]
    rare = data.assign(arm=(g == 3).astype(float))
    with pytest.raises(bl.DataError, match="3 groups do not estimate"):
        bl.power(bl.lmer("y ~ arm + x + (1 | g)", rare), "arm", [3], n_sim=10, seed=1)
    curved = bl.lmer("y ~ poly(x, 2) + (1 | g)", data)
    with pytest.raises(bl.InferenceError, match="depends on all rows"):
        bl.power(curved, "poly(x, 2)[1]", 10, n_sim=10, seed=1)
