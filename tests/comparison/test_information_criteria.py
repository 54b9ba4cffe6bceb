"""Models side by side by information criteria."""

from __future__ import annotations

import re

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from tests.bad_data import says

SLEEP = bl.datasets.load("sleepstudy")
SLOPES = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
APART = bl.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
INTERCEPTS = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
CURVED = bl.lmer("Reaction ~ Days + I(Days^2) + (Days | Subject)", SLEEP)


def test_table():
    table = bl.compare(INTERCEPTS, SLOPES, APART)
    columns = ["npar", "logLik", "AIC", "delta_AIC", "akaike_weight", "BIC", "cAIC"]
    assert list(table.columns) == columns
    assert list(table.index) == [APART.formula, SLOPES.formula, INTERCEPTS.formula]
    assert table["npar"].tolist() == [5, 6, 4]
    np.testing.assert_allclose(table["AIC"], [APART.aic, SLOPES.aic, INTERCEPTS.aic])
    np.testing.assert_allclose(table["BIC"], [APART.bic, SLOPES.bic, INTERCEPTS.bic])
    by_group = [APART.caic().caic, SLOPES.caic().caic, INTERCEPTS.caic().caic]
    np.testing.assert_allclose(table["cAIC"], by_group)
    np.testing.assert_allclose(table["logLik"], [APART.llf, SLOPES.llf, INTERCEPTS.llf])
    assert table["delta_AIC"].iloc[0] == 0
    assert table["akaike_weight"].sum() == pytest.approx(1)
    ratio = table["akaike_weight"].iloc[0] / table["akaike_weight"].iloc[1]
    assert ratio == pytest.approx(np.exp((SLOPES.aic - APART.aic) / 2))


def test_notes():
    notes = " ".join(bl.compare(INTERCEPTS, SLOPES).attrs["notes"])
    for part in ("two units of AIC", "n = 180", "restricted", "lies on the boundary", "cAIC about"):
        assert part in notes
    assert "refitted" not in notes
    # the same variances in both, none of them zero
    notes = " ".join(bl.compare(SLOPES, CURVED).attrs["notes"])
    assert "boundary" not in notes
    assert "refitted by ML" in notes
    assert "restricted" not in notes


def test_singular_fits_are_warned_of():
    data = bl.datasets.load("Dyestuff2").assign(x=lambda d: np.arange(len(d)) % 5)
    fits = [bl.lmer(f"Yield ~ {fixed} + (1 | Batch)", data, reml=False) for fixed in ("1", "x")]
    assert fits[0].singular
    assert "boundary" in " ".join(bl.compare(*fits).attrs["notes"])


def test_different_fixed_effects_are_compared_by_ml():
    table = bl.compare(SLOPES, CURVED)
    by_ml = {fit.formula: fit.refit_ml().aic for fit in (SLOPES, CURVED)}
    np.testing.assert_allclose(table["AIC"], [by_ml[f] for f in table.index], rtol=1e-12)
    mixed = bl.compare(SLOPES, INTERCEPTS.refit_ml())
    np.testing.assert_allclose(mixed["logLik"].iloc[0], SLOPES.refit_ml().llf, rtol=1e-12)


def test_models_without_groups():
    plain = bl.lmer("Reaction ~ Days", SLEEP)
    table = bl.compare(plain, SLOPES)
    assert table.index[-1] == plain.formula


def test_agrees_with_anova():
    table = bl.anova(SLOPES, CURVED).rename_axis("formula")
    pd.testing.assert_frame_equal(
        bl.compare(SLOPES, CURVED)[["npar", "logLik", "AIC", "BIC"]].sort_index(),
        table[["npar", "logLik", "AIC", "BIC"]].sort_index(),
    )


def test_misuse():
    with says(ValueError, "compare compares two or more"):
        bl.compare(SLOPES)
    with says(TypeError, "'str'"):
        bl.compare(SLOPES, "fit")
    other = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP.iloc[1:])
    with says(bl.DataError, "180 rows", "179 rows"):
        bl.compare(SLOPES, other)


def test_columns_that_one_model_misses_are_named():
    data = bl.datasets.load("sleepstudy").assign(a=np.arange(180.0), b=np.arange(180) % 7.0)
    data.loc[[3, 4], "a"] = np.nan
    data.loc[[4, 9, 11], "b"] = np.nan
    data.loc[20, "Days"] = np.nan  # which all miss
    formulas = [f"Reaction ~ Days{more} + (1 | Subject)" for more in ("", " + a", " + b")]
    cure = "'a' in 2 rows, 'b' in 3 rows: fit all to data.dropna(subset=['a', 'b'])"
    fits = [bl.lmer(formula, data) for formula in formulas]
    for compared in (bl.compare, bl.anova):
        with pytest.raises(bl.DataError, match=re.escape(cure) + "$"):
            compared(*fits)
    logarithm = bl.lmer("Reaction ~ log(b + 1) + (1 | Subject)", data)
    with pytest.raises(bl.DataError, match=r"'log\(b \+ 1\)' in 3 rows: fit all to rows that have"):
        bl.compare(fits[0], logarithm)
    bl.compare(*(bl.lmer(formula, data.dropna(subset=["a", "b"])) for formula in formulas))
    with pytest.raises(bl.DataError, match=r"other rows dropped for missing values\?\)$"):
        bl.compare(fits[0], bl.lmer(formulas[0], data.iloc[:100]))
    with pytest.raises(bl.DataError, match=r"different values or weights$"):
        bl.compare(fits[0], bl.lmer("b ~ 1 + (1 | Subject)", data))
