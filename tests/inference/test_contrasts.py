"""Linear functions of the fixed effects."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.bad_data import says

from .reference_fits import fitted

CAKE = bl.datasets.load("cake")
FIT = bl.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", CAKE)
NAMES = list(FIT.params.index)
L = np.zeros((2, len(NAMES)))
L[0, NAMES.index("temp")] = 1
L[1, NAMES.index("recipe[T.B]")], L[1, NAMES.index("recipe[T.C]")] = 1, -1


def frame(given, **options):
    return FIT.contrast(given, ddf="asymptotic", **options).to_frame()


def test_one_row_is_the_wald_test():
    row = frame(L[0]).iloc[0]
    assert row["estimate"] == FIT.params["temp"]
    assert row["std_error"] == pytest.approx(FIT.bse["temp"], rel=1e-12)
    assert row["statistic"] == pytest.approx(FIT.tvalues["temp"], rel=1e-12)
    z = row["estimate"] / row["std_error"]
    assert row["p_value"] == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)
    half = stats.norm.ppf(0.975) * row["std_error"]
    assert row["conf_low"] == pytest.approx(row["estimate"] - half, rel=1e-12)
    assert row["conf_high"] == pytest.approx(row["estimate"] + half, rel=1e-12)
    assert np.isinf(row["df"])


def test_ways_to_write_the_same():
    expected = frame(L).reset_index(drop=True)
    columns = pd.DataFrame({"temp": [1, 0], "recipe[T.B]": [0, 1.0], "recipe[T.C]": [0, -1.0]})
    for given in (
        L.tolist(),
        ["temp", "recipe[T.B] - recipe[T.C]"],
        ("temp = 0", "recipe[T.B] = recipe[T.C]"),
        columns,
        {"slope": "temp", "B - C": "recipe[T.B] - recipe[T.C]"},
        {"slope": {"temp": 1}, "B - C": pd.Series({"recipe[T.B]": 1, "recipe[T.C]": -1})},
        {"slope": L[0], "B - C": L[1]},
        {"both": L},
        {"slope": L[:1], "others": columns[1:]},
    ):
        found = frame(given)
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-12)


def test_names():
    assert list(frame("temp - .1").index) == ["temp - .1"]
    assert list(frame(["temp", "2*temp"]).index) == ["temp", "2*temp"]
    assert list(frame({"slope": "temp", "m": L}).index) == ["slope", "m 1", "m 2"]
    assert list(frame(pd.DataFrame({"temp": [1, 2]}, index=["one", "two"])).index) == ["one", "two"]
    assert list(frame({"temp": 1}).index) == ["contrast"]
    assert list(frame(L).index) == ["contrast 1", "contrast 2"]


def test_values_to_test_against():
    slope = frame("temp").iloc[0]
    shifted = frame("temp - 0.1").iloc[0]
    assert shifted["estimate"] == pytest.approx(slope["estimate"] - 0.1)
    assert shifted["conf_low"] == pytest.approx(slope["conf_low"] - 0.1)
    tested = frame("temp = 0.1").iloc[0]
    assert tested["estimate"] == slope["estimate"]
    assert tested["conf_low"] == slope["conf_low"]
    assert tested["statistic"] == pytest.approx(shifted["statistic"])
    pd.testing.assert_frame_equal(frame({"temp = 0.1": L[0]}, rhs=0.1), frame("temp = 0.1"))
    both = frame(L, rhs=[0.1, 2])
    assert both["statistic"].iloc[1] == pytest.approx(
        (both["estimate"].iloc[1] - 2) / both["std_error"].iloc[1]
    )


def test_joint_test():
    found = FIT.contrast(L, ddf="asymptotic").f_test
    estimate = L @ FIT.params.to_numpy()
    cov = L @ FIT.cov_params().to_numpy() @ L.T
    chi2 = estimate @ np.linalg.solve(cov, estimate)
    assert found.num_df == 2
    assert found.statistic == pytest.approx(chi2 / 2, rel=1e-10)
    assert found.p_value == pytest.approx(stats.chi2.sf(chi2, 2), rel=1e-9)
    repeated = FIT.contrast(np.vstack([L, L[0] - 2 * L[1]]), ddf="asymptotic").f_test
    assert repeated.num_df == 2
    assert repeated.statistic == pytest.approx(found.statistic, rel=1e-9)


def test_joint_test_against_values():
    rhs = np.array([0.1, 2.0])
    found = FIT.contrast(L, ddf="asymptotic", rhs=rhs).f_test
    distance = L @ FIT.params.to_numpy() - rhs
    chi2 = distance @ np.linalg.solve(L @ FIT.cov_params().to_numpy() @ L.T, distance)
    assert found.statistic == pytest.approx(chi2 / 2, rel=1e-10)
    same = FIT.contrast(["temp - 0.1", "recipe[T.B] - recipe[T.C] = 2"], ddf="asymptotic").f_test
    assert same.statistic == pytest.approx(found.statistic, rel=1e-10)
    one = FIT.contrast("temp = 0.1", ddf="asymptotic")
    assert one.f_test.statistic == pytest.approx(one.to_frame()["statistic"].iloc[0] ** 2)


def test_adjustment():
    plain = FIT.contrast(L, ddf="asymptotic")
    assert plain.adjust("none").to_frame().equals(plain.to_frame())
    holm, bonferroni = plain.adjust().to_frame(), plain.adjust("bonferroni").to_frame()
    p = plain.to_frame()["p_value"]
    np.testing.assert_allclose(bonferroni["p_value"], np.minimum(2 * p, 1))
    assert (holm["p_value"] <= bonferroni["p_value"]).all()
    assert holm[["conf_low", "conf_high"]].equals(bonferroni[["conf_low", "conf_high"]])
    assert (bonferroni["conf_low"] < plain.to_frame()["conf_low"]).all()
    with says(ValueError, "'holm'", "emmeans(...).pairs()"):
        plain.adjust("tukey")


def test_text_and_html():
    found = FIT.contrast(["temp", "temp = .1"], ddf="asymptotic", level=0.9).adjust("sidak")
    shown = repr(found)
    assert "temp = .1" in shown
    assert "estimate" in shown
    for note in ("asymptotic", "level 0.9", "tested against 0, 0.1", "sidak adjustment for 2"):
        assert note in shown
        assert note in found._repr_html_()


def test_results_do_not_change_and_can_be_pickled():
    found = FIT.contrast(L)
    with pytest.raises(FrozenInstanceError):
        found.level = 0.5
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    restored = pickle.loads(pickle.dumps(FIT)).contrast(L)
    pd.testing.assert_frame_equal(restored.to_frame(), found.to_frame(), rtol=1e-9)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ([1, 2], ("6 coefficients", "not 2", "Intercept")),
        (np.zeros((2, 3, 4)), ("a vector or a matrix",)),
        ([0] * 6, ("zero for all coefficients",)),
        ([[1, 2], [1]], ("no number",)),
        ({"tmp": 1}, ("'tmp'", "Did you mean 'temp'?")),
        (pd.DataFrame({"tmp": [1]}), ("'tmp'", "Did you mean 'temp'?")),
        ({"temp": 1, "recipe[T.B]": "x"}, ("no number",)),
        ({"temp": np.nan}, ("missing or infinite",)),
        ("tmp", ("'tmp'", "Did you mean 'temp'?", "^")),
        ({}, ("no contrast",)),
        ([], ("6 coefficients",)),
        (np.zeros((0, 6)), ("no contrast",)),
        (["temp", 1], ("of shape",)),
        (None, ("missing or infinite",)),
    ],
)
def test_what_is_no_contrast(given, parts):
    with says(bl.DataError, *parts):
        FIT.contrast(given)


def test_values_that_are_none():
    with says(bl.DataError, "one for each of the 2"):
        FIT.contrast(L, rhs=[1, 2, 3])
    with says(bl.DataError, "rhs", "no number"):
        FIT.contrast(L, rhs="ten")
    with says(bl.DataError, "not by both"):
        FIT.contrast("temp = 1", rhs=2)


def test_what_can_not_be_read():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", bl.datasets.load("sleepstudy"))
    twice = pd.DataFrame([[1.0, -1.0]], columns=["Days", "Days"])
    with says(bl.DataError, "two columns 'Days'"):
        fit.contrast(twice)
    for given in ("1e400 * Days", np.array([[1, 2j]])):
        with says(bl.DataError):
            fit.contrast(given)
    with says(bl.DataError, "does not hold numbers"):
        fit.refit(fit.fittedvalues + 1j)
    with says(bl.DataError, "too many brackets"):
        fit.contrast("(" * 5000 + "Days" + ")" * 5000)


@pytest.mark.parametrize("level", [0.05, 0, 1, 95])
def test_levels(level):
    with says(ValueError, "level is between 0 and 1"):
        FIT.contrast(L, level=level)


def test_dropped_coefficients():
    fit = fitted("cake_empty_cells")
    (name, *_) = fit.dropped_columns
    for given in (name, {name: 1}, pd.DataFrame({name: [1]}), f"temperature[T.185] - {name}"):
        with says(bl.DataError, f"{name!r} was dropped", "leave it out"):
            fit.contrast(given)
    with says(bl.DataError, name, "were dropped"):
        fit.contrast(np.ones(18))


def test_hypotheses_that_contradict_each_other():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    with says(bl.DataError, "contradict each other"):
        _ = fit.contrast(["Days = 0", "Days = 100"]).f_test
    once, twice = fit.contrast("Days = 5").f_test, fit.contrast(["Days = 5", "2*Days = 10"]).f_test
    assert twice.num_df == 1
    assert twice.statistic == pytest.approx(once.statistic)
