"""A comparison with a missing value is missing, as in R, where Python says False."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest

RNG = np.random.default_rng(3)
N = 108
DATA = pd.DataFrame(
    {
        "y": RNG.normal(25, 3, N),
        "age": RNG.choice([8.0, 10.0, 12.0, 14.0], N),
        "sex": RNG.choice(["Male", "Female"], N),
        "a b": pd.array(RNG.integers(0, 9, N), dtype="Int64"),
        "s": np.repeat(np.arange(27), 4),
    }
)
DATA.loc[[3, 50], "sex"] = None
DATA.loc[[7, 8, 9], "age"] = np.nan
DATA.loc[[1, 2], "a b"] = pd.NA

FORMULAS = {
    "y ~ I(sex == 'Male') + (1 | s)": ["sex"],
    "y ~ I(age != 8) + (1 | s)": ["age"],
    "y ~ C(age > 10) + (1 | s)": ["age"],
    "y ~ C(sex == 'Male', contr.sum) + (1 | s)": ["sex"],
    "y ~ np.where(age > 10, 1, 0) + (1 | s)": ["age"],
    "y ~ I(np.greater(age, 10) * 1.0) + (1 | s)": ["age"],
    "y ~ I(age.between(9, 13)) + (1 | s)": ["age"],
    "y ~ np.digitize(age, [9, 13]) + (1 | s)": ["age"],
    "y ~ I(`a b` > 4) + (1 | s)": ["a b"],
    "y ~ I((age > 10) * 1.0):`a b` + (1 | s)": ["age", "a b"],
    "y ~ I((age > 10) & (sex == 'Male')) + (1 | s)": ["age", "sex"],
    "y ~ I(age > np.mean(age)) + (1 | s)": ["age"],
    "y ~ scale(age > 10) + (1 | s)": ["age"],
    "y ~ 1 + (0 + I(age > 10) | s)": ["age"],
    "I(age > 10) ~ sex + (1 | s)": ["age", "sex"],
}


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("made_of", [lambda d: d, pl.from_pandas])
def test_rows_that_miss_what_is_compared_are_left_out(formula, made_of):
    fit = bl.lmer(formula, made_of(DATA))
    complete = bl.lmer(formula, DATA.dropna(subset=FORMULAS[formula]))
    assert fit.nobs == complete.nobs == len(DATA.dropna(subset=FORMULAS[formula])) < N
    np.testing.assert_allclose(fit.params, complete.params, rtol=1e-12)
    assert fit.objective == pytest.approx(complete.objective, rel=1e-12)


def test_they_are_counted_or_refused():
    formula = "y ~ I(age > 10) + (1 | s)"
    assert "3" in next(
        line for line in bl.lmer(formula, DATA).summary().splitlines() if "dropped" in line
    )
    with pytest.raises(bl.DataError, match="age > 10"):
        bl.lmer(formula, DATA, missing="error")


def test_they_have_no_predictions():
    fit = bl.lmer("y ~ I(age > 10) + (1 | s)", DATA)
    found = fit.predict(DATA.iloc[[6, 7]], random="population")
    assert np.isnan(found).tolist() == [False, True]


@pytest.mark.parametrize(
    "known", ["np.where(np.isnan(age), 0, age > 10)", "I(age.fillna(20) > 10)", "I(age.isna())"]
)
def test_who_asks_for_missing_values_has_them(known):
    asked = bl.lmer(f"y ~ {known} + (1 | s)", DATA)
    values = eval(known, {"np": np, "I": np.asarray, "age": DATA["age"]})
    expected = bl.lmer("y ~ x + (1 | s)", DATA.assign(x=np.asarray(values, dtype=float)))
    assert asked.nobs == N
    np.testing.assert_allclose(asked.params, expected.params, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::blocklmm.PrivacyWarning")
def test_statistics_know_it_too(tmp_path):
    formula = "y ~ I(age > 10) + (1 | s)"
    bl.SufficientStatistics.from_data(formula, DATA).save(tmp_path / "s.blmm")
    fit = bl.SufficientStatistics.load(tmp_path / "s.blmm").fit()
    assert fit.nobs == N - 3
    assert np.isnan(fit.predict(DATA.iloc[[7]], random="population")).all()
