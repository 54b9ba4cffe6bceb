"""Degrees of freedom and tests of fixed effects against lmerTest and pbkrtest."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pytest

from . import reader
from .test_cases import CASES, fitted, kept

WITH_KR = [name for name in CASES if "kenward_roger" in reader.read("cases", name)]


def values(case, key, part):
    return kept(case[key], part)


@pytest.mark.parametrize("name", CASES)
def test_satterthwaite(name):
    case, fit = reader.read("cases", name), fitted(name)
    expected = values(case, "satterthwaite", "df")
    np.testing.assert_allclose(fit.df, expected, rtol=3e-5)
    # R's p-values take its own derivatives' error with them where they are tiny
    p = values(case, "satterthwaite", "p")
    table = fit.tidy()
    np.testing.assert_allclose(np.log(table["p.value"] + 1e-300), np.log(p + 1e-300), rtol=1e-4)
    np.testing.assert_allclose(table["std.error"], kept(case, "se"), rtol=1e-6)


@pytest.mark.parametrize("name", WITH_KR)
def test_kenward_roger(name):
    case, fit = reader.read("cases", name), fitted(name)
    table = fit.tidy(ddf="kenward-roger")
    np.testing.assert_allclose(table["df"], values(case, "kenward_roger", "df"), rtol=1e-7)
    p = values(case, "kenward_roger", "p")
    np.testing.assert_allclose(np.log(table["p.value"]), np.log(p), rtol=1e-5)
    expected = np.array(case["kenward_roger"]["vcov_adjusted"])
    found = fit.cov_params(ddf="kenward-roger")
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-6)
    np.testing.assert_allclose(table["std.error"] ** 2, np.diag(found), rtol=1e-12)


def test_f_test_of_two_degrees_of_freedom():
    expected, fit = reader.read("comparisons", "cmp_oats_F"), fitted("oats_reml")
    L = np.eye(4)[2:]
    estimate = L @ fit.params.to_numpy()
    kr = fit._fixed_errors("kenward-roger").f_test(L, estimate)
    known = expected["kenward_roger"]
    assert kr.statistic == pytest.approx(known["F"], rel=1e-6)
    assert kr.den_df == pytest.approx(known["ddf"], rel=1e-6)
    assert kr.p_value == pytest.approx(known["p"], rel=1e-6)
    assert kr.num_df == known["ndf"]
    satterthwaite = fit._fixed_errors().f_test(L, estimate)
    known = expected["satterthwaite"]
    assert satterthwaite.statistic == pytest.approx(known["statistic"], rel=1e-5)
    assert satterthwaite.den_df == pytest.approx(known["ddf"], rel=1e-4)
    assert satterthwaite.p_value == pytest.approx(known["p.value"], rel=1e-4)


TABLES = [
    (name, ddf)
    for name in CASES
    for ddf, key in [("satterthwaite", "satterthwaite"), ("kenward-roger", "kr")]
    if f"anova_type3_{key}" in reader.read("cases", name)
]


@pytest.mark.parametrize(("name", "ddf"), TABLES)
def test_type_3_tables(name, ddf):
    case = reader.read("cases", name)
    key = "anova_type3_" + ("kr" if ddf == "kenward-roger" else ddf)
    table = bl.anova(fitted(name), type=3, ddf=ddf)
    # R counts columns that a rank deficiency dropped among the terms
    expected = [row for row in case[key] if row["term"] in table.index]
    assert [row["term"] for row in expected] == [t for t in table.index if table["num_df"][t] > 0]
    for row in expected:
        found = table.loc[row["term"]]
        assert found["num_df"] == row["num_df"]
        for mine, theirs in [("sum_sq", "sum_sq"), ("mean_sq", "mean_sq"), ("F", "F")]:
            assert found[mine] == pytest.approx(row[theirs], rel=2e-5)
        assert found["den_df"] == pytest.approx(row["den_df"], rel=1e-4)
        assert found["p_value"] == pytest.approx(row["p"], rel=1e-3, abs=1e-300)


def within_monte_carlo_error(found, expected):
    known = expected["RLRsim"]
    error = np.hypot(found.standard_error, max(known["p_mc_se"], 1e-5))
    return abs(found.p_value - known["p"]) < 4 * error


@pytest.mark.parametrize(
    ("name", "term"),
    [("cmp_dyestuff_rlrt", None), ("cmp_sleep_rlrt_slope", "(0 + Days | Subject)")],
)
def test_exact_rlrt(name, term):
    expected = reader.read("comparisons", name)
    data = reader.frame(expected["data"])
    fit = bl.lmer(expected["full"]["formula"], data)
    found = bl.exact_rlrt(fit, 40_000, seed=1, term=term)
    assert found.statistic == pytest.approx(expected["statistic"], abs=1e-5)
    assert within_monte_carlo_error(found, expected)


def test_exact_rlrt_of_a_zero_variance():
    """R's p-value is P(RLRT > 0), from a statistic that rounding made positive."""
    expected = reader.read("comparisons", "cmp_dyestuff2_rlrt")
    fit = bl.lmer(expected["full"]["formula"], reader.frame(expected["data"]))
    found = bl.exact_rlrt(fit, 40_000, seed=1)
    assert found.statistic == 0
    assert found.p_value == 1
    assert (found.null > 0).mean() == pytest.approx(expected["RLRsim"]["p"], abs=0.012)


def test_exact_lrt():
    expected = reader.read("comparisons", "cmp_orthodont_lrt")
    data = reader.frame(expected["data"])
    smaller = bl.lmer(expected["null_formula"], data, reml=False)
    found = bl.exact_lrt(smaller, bl.lmer(expected["full"]["formula"], data), 5_000, seed=1)
    assert found.statistic == pytest.approx(expected["statistic"], abs=1e-5)
    assert found.p_value < 1e-3


@pytest.mark.parametrize("name", ["cmp_penicillin_ranova", "cmp_sleep_ranova"])
def test_ranova(name):
    expected = reader.read("comparisons", name)
    data = reader.frame(expected["data"])
    table = bl.ranova(bl.lmer(expected["full"]["formula"], data))
    tests = [smaller["test"] for smaller in expected["reduced"]]
    assert len(table) == len(tests) + 1
    for row, test in zip(table.iloc[1:].itertuples(), tests, strict=True):
        assert pytest.approx(test["chisq"], abs=1e-6) == row.LRT
        assert row.Df == test["df"]
        assert row.p_chisq == pytest.approx(test["p"], rel=1e-5)
