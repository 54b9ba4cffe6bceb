"""Many responses whose rows, or the design's, miss values, and with them levels and columns."""

from __future__ import annotations

import pickle
import warnings

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .test_many import assert_single_fits, one_factor, responses


def test_rows_that_the_design_misses():
    frame = one_factor().astype({"a": "category"})
    frame.loc[[3, 50, 51], "t"] = np.nan
    frame.loc[7, "a"] = None
    Y = responses(one_factor(), 4)
    Y[50, 1] = np.nan  # in a row that is left out
    with pytest.raises(bl.DataError, match="'t' has missing values"):
        bl.lmer_many("~ a + t + (t | g)", frame, Y)
    fits = bl.lmer_many("~ a + t + (t | g)", frame, Y, missing="drop")
    assert fits.dropped.n_rows == 4
    assert "4 dropped" in repr(fits)
    assert (fits.nobs == 116).all()
    assert_single_fits(fits, "~ a + t + (t | g)", frame, Y)


def test_a_level_that_only_dropped_rows_have():
    frame = one_factor()
    frame.loc[5, ["a", "t"]] = ["z", np.nan]
    Y = responses(one_factor(), 3)
    fits = bl.lmer_many("~ a + t + (1 | g)", frame, Y, missing="drop")
    assert list(fits.params) == ["Intercept", "a[T.v]", "a[T.w]", "t"]
    assert_single_fits(fits, "~ a + t + (1 | g)", frame, Y)


def test_a_level_of_dropped_rows_and_one_that_a_response_lacks():
    frame = one_factor()
    frame.loc[5, ["a", "t"]] = ["first", np.nan]
    Y = responses(one_factor(), 2)
    Y[frame["a"] == "w", 1] = np.nan
    fits = bl.lmer_many("~ a + t + (1 | g)", frame, Y, missing="drop")
    one = bl.lmer("y ~ a + t + (1 | g)", frame.assign(y=Y[:, 1]))
    pd.testing.assert_series_equal(fits.fit(1).params, one.params)
    assert fits.fit(1).dropped_columns == ()


def test_responses_that_miss_values():
    frame = one_factor()
    Y = responses(frame, 5)
    Y[[1, 9], 2] = np.nan
    Y[4, 3] = np.inf
    with pytest.raises(bl.DataError, match=r"2 of 5 responses.*2, 3; 2 in 2 rows \(rows 1, 9"):
        bl.lmer_many("~ t + (t | g)", frame, Y)
    with pytest.warns(bl.BlocklmmWarning, match="1 of 5 responses have no fit"):
        fits = bl.lmer_many("~ t + (t | g)", frame, Y, missing="drop")
    assert fits.status[3] == "failed"
    assert "infinite" in fits.failures[3]
    assert fits.params.loc[3].isna().all()
    assert np.isnan(fits.df.loc[3]).all()
    kept = bl.lmer("y ~ t + (t | g)", frame.assign(y=Y[:, 2]))
    assert fits.nobs[2] == kept.nobs == 118
    np.testing.assert_allclose(fits.params.loc[2], kept.params, rtol=1e-12)
    np.testing.assert_allclose(fits.df.loc[2], kept.df, rtol=1e-12)


def test_a_coefficient_that_a_response_has_no_rows_for():
    frame = one_factor()
    Y = responses(frame, 2)
    Y[frame["a"] == "w", 1] = np.nan
    fits = bl.lmer_many("~ a + (1 | g)", frame, Y, missing="drop")
    one = bl.lmer("y ~ a + (1 | g)", frame.assign(y=Y[:, 1]))
    assert np.isnan(fits.params.loc[1, "a[T.w]"])
    np.testing.assert_allclose(fits.params.loc[1, ["Intercept", "a[T.v]"]], one.params)
    np.testing.assert_allclose(fits.df.loc[1, ["Intercept", "a[T.v]"]], one.df)
    assert np.isnan(fits.df.loc[1, "a[T.w]"])


def without_level(level, formula, r=2):
    """The last of some responses has no row at one level."""
    frame = one_factor()
    Y = responses(frame, r)
    Y[frame["a"] == level, r - 1] = np.nan
    return frame, Y, bl.lmer_many(formula, frame, Y, names=list("pqrs")[:r], missing="drop")


@pytest.mark.parametrize("formula", ["~ a * t + (t | g)", "~ a + t + (1 | g) + (1 | h)", "~ a + t"])
def test_what_a_lost_level_leaves_is_that_of_the_single_fit(formula):
    frame, Y, fits = without_level("w", formula)
    one = bl.lmer(f"y {formula}", frame.assign(y=Y[:, 1]))
    lost = [name for name in fits.params if "[T.w]" in name]
    for own, expected in [
        (fits.params, one.params),
        (fits.bse, one.bse),
        (fits.tvalues, one.tvalues),
        (fits.df, one.df),
        (fits.pvalues, one.pvalues),
    ]:
        assert own.loc["q", lost].isna().all()
        np.testing.assert_allclose(own.loc["q"].drop(lost), expected, rtol=1e-6)
    own, expected = fits.glance().loc["q"], one.glance().iloc[0]
    for column in ("nobs", "sigma", "logLik", "AIC", "BIC", "REMLcrit"):
        assert own[column] == pytest.approx(expected[column], rel=1e-9)
    tidy = fits.to_frame().query("response == 'q'").set_index("term")
    assert tidy.loc[lost].drop(columns=["response", "effect"]).isna().all(axis=None)
    columns = ["estimate", "std.error", "df", "p.value", "conf.low", "conf.high"]
    expected = one.tidy().set_index("term")
    np.testing.assert_allclose(tidy.drop(lost)[columns], expected[columns], rtol=1e-6)


@pytest.mark.parametrize("ddf", ["satterthwaite", "residual", "asymptotic"])
def test_contrasts_beside_a_lost_level(ddf):
    """Those that touch it are NaN; its own rows determine the others."""
    frame, Y, fits = without_level("w", "~ a + t + (t | g)")
    one = bl.lmer("y ~ a + t + (t | g)", frame.assign(y=Y[:, 1]))
    L = ["a[T.v] - t", "Intercept + 2 * t = 1"]
    own = fits.contrast([*L, "a[T.v] = a[T.w]"], ddf=ddf).query("response == 'q'")
    expected = one.contrast(L, ddf=ddf).to_frame()
    for column in ("estimate", "std_error", "df", "statistic", "p_value"):
        np.testing.assert_allclose(own[column][:2], expected[column], rtol=1e-6)
        assert column == "df" or np.isnan(own[column].iloc[2])


def test_without_the_first_level_what_is_about_it_is_nan():
    """The single fit compares with the next level, under the same names."""
    frame, Y, fits = without_level("u", "~ a + t + (t | g)")
    one = bl.lmer("y ~ a + t + (t | g)", frame.assign(y=Y[:, 1]))
    assert list(one.params.index) == ["Intercept", "a[T.w]", "t"]
    for table in (fits.params, fits.bse, fits.df, fits.pvalues):
        assert table.loc["q", ["Intercept", "a[T.v]", "a[T.w]"]].isna().all()
        assert table.loc["p"].notna().all()
    assert fits.params.loc["q", "t"] == pytest.approx(one.params["t"], rel=1e-8)
    assert fits.bse.loc["q", "t"] == pytest.approx(one.bse["t"], rel=1e-8)
    L = ["a[T.w] - a[T.v]", "Intercept + a[T.v]", "Intercept"]
    own = fits.contrast(L).query("response == 'q'")
    expected = one.contrast(["a[T.w]", "Intercept"]).to_frame()
    for column in ("estimate", "std_error", "df", "p_value"):
        np.testing.assert_allclose(own[column][:2], expected[column], rtol=1e-6)
    assert np.isnan(own["estimate"].iloc[2])
    assert fits.glance().loc["q", "AIC"] == pytest.approx(one.aic, rel=1e-10)
    again = pickle.loads(pickle.dumps(fits))
    pd.testing.assert_frame_equal(again.bse, fits.bse)


def test_a_covariate_that_is_constant_in_a_response_s_rows():
    frame = one_factor().assign(t=lambda d: d["t"].round())
    Y = responses(frame, 2)
    Y[frame["t"] != 1, 1] = np.nan
    fits = bl.lmer_many("~ t + (1 | g)", frame, Y, missing="drop")
    one = bl.lmer("y ~ 1 + (1 | g)", frame.assign(y=Y[:, 1]))
    assert fits.params.loc[1].isna().all()  # the mean where t is 1
    own = fits.contrast("Intercept + t").iloc[1]
    assert own["estimate"] == pytest.approx(one.params["Intercept"], rel=1e-9)
    assert own["std_error"] == pytest.approx(one.bse["Intercept"], rel=1e-9)


@pytest.mark.parametrize("level", ["u", "w"])
@pytest.mark.parametrize("term", ["(a | g)", "(0 + a | g)", "(a || g)"])
def test_a_lost_level_that_has_random_effects(term, level):
    with pytest.warns(bl.BlocklmmWarning, match="1 of 2 responses have no fit"):
        frame, Y, fits = without_level(level, f"~ t + {term}")
    assert fits.status["q"] == "failed"
    assert f"'a' at '{level}'" in fits.failures["q"]
    assert fits.params.loc["q"].isna().all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bl.BlocklmmWarning)
        one = bl.lmer(f"y ~ t + {term}", frame.assign(y=Y[:, 1]))
        assert fits.fit("q").objective == pytest.approx(one.objective, rel=1e-12)


def test_rows_of_responses_that_can_t_be_fitted():
    frame = one_factor()
    Y = responses(frame, 3)
    Y[:, 1] = np.nan
    Y[3:, 2] = np.nan
    with pytest.warns(bl.BlocklmmWarning, match="2 of 3 responses have no fit"):
        fits = bl.lmer_many("~ t + (t | g)", frame, Y, missing="drop")
    assert fits.status.tolist()[1:] == ["failed", "failed"]
    assert fits.nobs.tolist() == fits.glance()["nobs"].tolist() == [len(frame), 0, 3]
