"""Adjusted p-values and intervals, and the studentized range."""

from __future__ import annotations

import numpy as np
import pytest
from blocklmm.inference.testing.multiplicity import adjusted_p_values, critical_values
from blocklmm.inference.testing.studentized_range import range_p_values, range_quantiles
from blocklmm.inference.testing.tails import f_p_value, t_p_values, t_quantiles
from scipy import stats

from .reference_fits import CASES, case, numbers

DF = np.array([1.0, 2.5, 12.0, 143.2, 1e4, np.inf])


def test_tails_of_t_and_f():
    t = np.array([0.0, -1.0, 2.0, 30.0, np.nan])
    for df in DF:
        np.testing.assert_allclose(t_p_values(t, df), 2 * stats.t.sf(np.abs(t), df), rtol=1e-9)
        np.testing.assert_allclose(t_quantiles(0.05, df), stats.t.ppf(0.975, df), rtol=1e-9)
        if np.isfinite(df):
            assert f_p_value(3.0, 2, df) == pytest.approx(stats.f.sf(3.0, 2, df), rel=1e-10)
    assert f_p_value(3.0, 2, np.inf) == pytest.approx(stats.chi2.sf(6.0, 2), rel=1e-12)


@pytest.mark.parametrize("k", [2, 3, 6, 20])
def test_studentized_range(k):
    q = np.array([0.3, 1.0, 3.0, 5.0, 8.0])
    for df in DF[1:]:
        expected = stats.studentized_range.sf(q, k, df)
        np.testing.assert_allclose(range_p_values(q, k, df), expected, rtol=1e-6, atol=1e-10)
        quantile = range_quantiles(0.95, k, np.array([df]))
        assert quantile[0] == pytest.approx(stats.studentized_range.ppf(0.95, k, df), rel=1e-7)


def test_studentized_range_of_two_is_t():
    t = np.linspace(0.1, 12, 40)
    for df in DF:
        found = range_p_values(np.sqrt(2) * t, 2, df)
        np.testing.assert_allclose(found, t_p_values(t, df), rtol=1e-8, atol=1e-15)


def test_studentized_range_of_many_differences_at_once():
    df = np.linspace(3, 60, 1000)
    quantiles = range_quantiles(0.9, 12, df)
    np.testing.assert_allclose(range_p_values(quantiles, 12, df), 0.1, rtol=1e-10)
    assert (np.diff(quantiles) < 0).all()


def test_studentized_range_of_what_is_not_there():
    q, df = np.array([np.nan, 3.0, 1e9, 0.0]), np.array([10.0, 10.0, 10.0, np.inf])
    found = range_p_values(q, 4, df)
    assert np.isnan(found[0])
    assert 0 <= found[2] < 1e-60
    assert found[3] == 1
    unknown = range_quantiles(0.95, 4, np.array([np.nan, np.inf]))
    assert unknown[0] == unknown[1]


def test_p_values():
    p = np.array([0.01, 0.02, 0.03, 0.005])
    t, df = t_quantiles(p, np.full(4, np.inf)), np.full(4, np.inf)
    wanted = {
        "none": p,
        "bonferroni": 4 * p,
        "holm": [0.03, 0.04, 0.04, 0.02],
        "sidak": 1 - (1 - p) ** 4,
    }
    for adjust, expected in wanted.items():
        np.testing.assert_allclose(adjusted_p_values(t, df, adjust), expected, rtol=1e-9)
    np.testing.assert_allclose(adjusted_p_values(t / 10, df, "bonferroni"), 1)


def test_missing_estimates_count():
    df = np.full(3, np.inf)
    t = np.array([2.5, np.nan, 1.0])
    p = t_p_values(t, df)
    np.testing.assert_allclose(adjusted_p_values(t, df, "bonferroni"), np.minimum(3 * p, 1))
    holm = adjusted_p_values(t, df, "holm")
    np.testing.assert_allclose(holm, [3 * p[0], np.nan, 2 * p[2]])


@pytest.mark.parametrize("adjust", ["tukey", "bonferroni", "sidak", "none"])
def test_intervals_end_where_the_p_value_is_alpha(adjust):
    df = np.array([8.0, 20.5, np.inf])
    half = critical_values(0.9, df, adjust, n_means=3)
    np.testing.assert_allclose(adjusted_p_values(half, df, adjust, n_means=3), 0.1, rtol=1e-9)


WITH_OWN_DF = [
    (name, k)
    for name in CASES
    for k, about in enumerate(case(name).get("emmeans") or [])
    if about["ddf"] != "asymptotic"
]


@pytest.mark.parametrize("adjust", ["tukey", "holm", "bonferroni", "sidak", "none"])
@pytest.mark.parametrize(("name", "k"), WITH_OWN_DF)
def test_differences_with_their_own_degrees_of_freedom_in_emmeans(name, k, adjust):
    about = case(name)["emmeans"][k]
    df, expected = numbers(about["df"]), about["adjusted"][adjust]
    assert len(np.unique(df)) > 1
    n_means = len(about["means"])
    found = adjusted_p_values(numbers(expected["statistic"]), df, adjust, n_means)
    # R's own ptukey and qtukey are good to some 1e-9 and 1e-5
    np.testing.assert_allclose(found, numbers(expected["p_value"]), rtol=1e-6, atol=1e-9)
    half = critical_values(0.95, df, adjust, n_means) * numbers(about["std_error"])
    high = numbers(about["estimate"]) + half
    np.testing.assert_allclose(high, numbers(expected["conf_high"]), atol=2e-4 * half.max())


def test_one_comparison_is_not_adjusted():
    t, df = np.array([2.0]), np.array([7.0])
    for adjust in ("tukey", "holm", "bonferroni", "sidak", "none"):
        np.testing.assert_allclose(adjusted_p_values(t, df, adjust, 2), t_p_values(t, df))
        np.testing.assert_allclose(critical_values(0.95, df, adjust, 2), t_quantiles(0.05, df))
