"""Tests of random terms: ranova, chi-bar-square weights, simulated null distributions."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.comparison import chi_bar_square
from blocklmm.comparison.boundary import nested_in, null_law
from scipy import stats
from scipy.optimize import minimize, nnls

SLEEP = bl.datasets.load("sleepstudy")
DATA = {
    name: bl.datasets.load(name) for name in ("Machines", "Penicillin", "Dyestuff", "Dyestuff2")
}


def refitted(data, formula, reml=True):
    return bl.lmer(formula, data, reml=reml)


# lmerTest 3.1-3's ranova under R 4.2.2: npar, logLik, LRT, Df
RANOVA = {
    ("Machines", "score ~ Machine + (0 + Machine | Worker)"): {
        "Machine in (0 + Machine | Worker)": (5, -143.44, 78.567, 5)
    },
    ("Machines", "score ~ Machine + (Machine | Worker)"): {
        "Machine in (Machine | Worker)": (5, -143.44, 78.567, 5)
    },
    ("sleepstudy", "Reaction ~ Days + (Days + I(Days^2) | Subject)"): {
        "Days in (Days + I(Days^2) | Subject)": (6, -874.04, 18.07, 3),
        "I(Days^2) in (Days + I(Days^2) | Subject)": (6, -871.81, 13.62, 3),
    },
    ("sleepstudy", "Reaction ~ Days + (Days || Subject)"): {
        "(1 | Subject)": (4, -883.26, 22.856, 1),
        "Days in (0 + Days | Subject)": (4, -893.23, 42.796, 1),
    },
}


@pytest.mark.parametrize(("name", "formula"), RANOVA)
def test_ranova_as_lmertest(name, formula):
    fit = bl.lmer(formula, DATA.get(name, SLEEP))
    table = bl.ranova(fit)
    expected = RANOVA[name, formula]
    assert list(table.index) == ["<none>", *expected]
    assert table["npar"].iloc[0] == fit.n_parameters
    assert table["logLik"].iloc[0] == pytest.approx(fit.llf)
    for label, (npar, loglik, lrt, df) in expected.items():
        row = table.loc[label]
        assert row["npar"] == npar
        assert row["Df"] == df
        assert row["logLik"] == pytest.approx(loglik, abs=0.006)
        assert row["LRT"] == pytest.approx(lrt, rel=2e-3)
        assert row["p_chisq"] == pytest.approx(stats.chi2.sf(row["LRT"], df), rel=1e-9)
        assert 0 < row["p_boundary"] < row["p_chisq"]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("formula", "smaller"),
    [
        (
            "y ~ x + (x + z | g) + (1 | h)",
            ["y ~ x + (z | g) + (1 | h)", "y ~ x + (x | g) + (1 | h)", "y ~ x + (x + z | g)"],
        ),
        ("y ~ x + (x || g)", ["y ~ x + (0 + x | g)", "y ~ x + (1 | g)"]),
        ("y ~ x + (0 + x + z | g)", ["y ~ x + (0 + z | g)", "y ~ x + (0 + x | g)"]),
        ("y ~ x + (1 | g)", ["y ~ x"]),
        ("y ~ x + (1 | g/k)", ["y ~ x + (1 | g:k)", "y ~ x + (1 | g)"]),
    ],
)
def test_reduced_models_are_those_of_their_own_formulas(formula, smaller, reml):
    """Covariates far from zero: reduced terms keep their origin."""
    rng = np.random.default_rng(1)
    n = 300
    g, h, k = rng.integers(0, 25, n), rng.integers(0, 8, n), rng.integers(0, 3, n)
    x, z = 2000 + rng.normal(size=n), rng.normal(size=n)
    b = rng.normal(size=(25, 3))
    y = b[g, 0] + b[g, 1] * (x - 2000) + b[g, 2] * z + rng.normal(size=8)[h] + rng.normal(size=n)
    y += rng.normal(size=75)[3 * g + k]
    data = pd.DataFrame({"y": y, "x": x, "z": z, "g": g, "h": h, "k": k})
    table = bl.ranova(refitted(data, formula, reml))
    for (label, row), other in zip(table.iloc[1:].iterrows(), smaller, strict=True):
        fit = refitted(data, other, reml)
        assert row["logLik"] == pytest.approx(fit.llf, abs=2e-6), label
        assert row["npar"] == fit.n_parameters
        assert row["AIC"] == pytest.approx(fit.aic, abs=4e-6)


def test_whole_terms():
    table = bl.ranova(bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP), reduce_terms=False)
    none = bl.lmer("Reaction ~ Days", SLEEP)
    assert list(table.index) == ["<none>", "(Days | Subject)"]
    assert table["logLik"].iloc[1] == pytest.approx(none.llf, abs=1e-8)
    assert table["Df"].iloc[1] == 3


def test_p_boundary_of_one_variance():
    row = bl.ranova(bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)).iloc[1]
    expected = 0.5 * stats.chi2.sf(row["LRT"], 1) + 0.5 * stats.chi2.sf(row["LRT"], 2)
    assert row["p_boundary"] == pytest.approx(expected, rel=1e-9)
    row = bl.ranova(bl.lmer("Yield ~ 1 + (1 | Batch)", DATA["Dyestuff"])).iloc[1]
    assert row["p_boundary"] == pytest.approx(0.5 * row["p_chisq"], rel=1e-9)
    row = bl.ranova(bl.lmer("Yield ~ 1 + (1 | Batch)", DATA["Dyestuff2"])).iloc[1]
    assert row["LRT"] == 0
    assert row["p_boundary"] == 1


def test_the_coding_of_a_category_does_not_matter():
    a = bl.ranova(bl.lmer("score ~ Machine + (Machine | Worker)", DATA["Machines"])).iloc[1]
    b = bl.ranova(bl.lmer("score ~ Machine + (0 + Machine | Worker)", DATA["Machines"])).iloc[1]
    assert a["p_boundary"] == pytest.approx(b["p_boundary"], rel=0.03)  # the weights are simulated


def project(u, J, sizes):
    """The squared length of the nearest point of the cone in the metric J."""
    if set(sizes) == {1}:
        L = np.linalg.cholesky(J).T
        return u @ J @ u - nnls(L, L @ u)[1] ** 2

    def factors(v):
        at = np.cumsum([r * (r + 1) // 2 for r in sizes])
        for r, part in zip(sizes, np.split(v, at[:-1]), strict=True):
            L = np.zeros((r, r))
            L[np.tril_indices(r)] = part
            yield r, L

    def distance(v):  # and its gradient, by factors of the matrices
        off = np.concatenate([(L @ L.T)[np.triu_indices(r)] for r, L in factors(v)]) - u
        slope, slopes = 2 * J @ off, []
        for r, L in factors(v):
            M = np.zeros((r, r))
            M[np.triu_indices(r)], slope = np.split(slope, [r * (r + 1) // 2])
            slopes.append(((M + M.T) @ L)[np.tril_indices(r)])
        return off @ J @ off, np.concatenate(slopes)

    starts = np.random.default_rng(0).normal(size=(1, len(u)))
    found = (minimize(distance, start, method="BFGS", jac=True) for start in starts)
    return u @ J @ u - min(end.fun for end in found)


@pytest.mark.parametrize("sizes", [[1, 1], [1, 1, 1], [1, 1, 1, 1], [2], [2, 1], [3]])
def test_weights_by_brute_force(sizes):
    rng = np.random.default_rng(len(sizes))
    d = sum(r * (r + 1) // 2 for r in sizes)
    A = rng.normal(size=(2 * d, d))
    J = A.T @ A
    weights = chi_bar_square.weights(sizes, J)
    assert weights.sum() == pytest.approx(1)
    assert weights[::2].sum() == pytest.approx(0.5, abs=0.01)
    L = np.linalg.cholesky(np.linalg.inv(J))
    n = 2000 if set(sizes) == {1} else 60
    lengths = np.array([project(L @ rng.normal(size=d), J, sizes) for _ in range(n)])
    for at in np.quantile(lengths, [0.5, 0.7, 0.9, 0.97]):
        share, expected = (lengths >= at).mean(), chi_bar_square.tail(at, weights, 0)
        assert abs(share - expected) < 4.5 * np.sqrt(max(share * (1 - share), 0.02) / n)


def test_weights_in_closed_form():
    np.testing.assert_allclose(chi_bar_square.weights([1], np.array([[3.0]])), [0.5, 0.5])
    np.testing.assert_allclose(chi_bar_square.weights([1, 1], np.eye(2)), [0.25, 0.5, 0.25])
    binomial = np.array([1, 3, 3, 1]) / 8
    np.testing.assert_allclose(chi_bar_square.weights([1, 1, 1], np.diag([1.0, 2, 3])), binomial)
    four = chi_bar_square.weights([1] * 4, np.eye(4))
    np.testing.assert_allclose(four, np.array([1, 4, 6, 4, 1]) / 16, atol=0.01)


def test_boundary_p_value_is_that_of_a_simulation():
    """Two variances at once, in one term: the chi-bar-square tail against a bootstrap."""
    rng = np.random.default_rng(5)
    n, m = 1200, 120
    g = np.repeat(np.arange(m), n // m)
    x, z = rng.normal(size=n), rng.normal(size=n)
    y = x + rng.normal(size=m)[g] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "z": z, "g": g})
    null = bl.lmer("y ~ x + (1 | g)", data)
    larger = bl.lmer("y ~ x + (x + z | g)", data)
    simulated = bl.bootstrap_lrt(null, larger, 1000, seed=1)
    for level in (0.5, 0.8, 0.95):
        at = float(np.quantile(simulated.null, level))
        law, _ = null_law(larger, nested_in(larger, null).at(null))
        p = law.tail(at)
        assert p == pytest.approx(1 - level, abs=0.05)
        assert stats.chi2.sf(at, 5) > p + 0.03 * (level < 0.9)


def test_anova_has_the_same_weights():
    larger = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP, reml=False)
    none = bl.lmer("Reaction ~ 1", SLEEP, reml=False)
    row = bl.anova(none, larger).iloc[1]
    statistic = row["Chisq"]
    # a free fixed effect beside the cone of 2 x 2 matrices
    assert row["Df"] == 4
    assert stats.chi2.sf(statistic, 1) < row["p_boundary"] < stats.chi2.sf(statistic, 4)
    other = bl.lmer("Reaction ~ Days + (0 + I(Days^2) | Subject)", SLEEP, reml=False)
    table = bl.anova(other, larger)
    assert np.isnan(table["p_boundary"].iloc[1])
    assert "not seen to be nested" in " ".join(table.attrs["notes"])


def test_an_intercept_that_stands_already_is_not_added_again():
    """R: lmerTest 3.1-3, ranova(lmer(score ~ Machine + (Machine || Worker)))."""
    with pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified"):
        fit = bl.lmer("score ~ Machine + (Machine || Worker)", DATA["Machines"])
    row = bl.ranova(fit).loc["Machine in (0 + Machine | Worker)"]
    alone = bl.lmer("score ~ Machine + (1 | Worker)", DATA["Machines"])
    assert (row["npar"], row["Df"]) == (5, 6)
    assert row["AIC"] == pytest.approx(alone.aic, abs=1e-6)
    assert row["AIC"] == pytest.approx(296.88, abs=0.005)
    assert row["p_chisq"] == pytest.approx(7.06e-15, rel=1e-2)


def test_unidentified_variances_have_no_boundary_p_value():
    """A slope of what is constant within groups: only one of its two parameters can be known."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(40), 5)
    data = pd.DataFrame({"g": g, "z": g % 2, "x": rng.normal(size=200)})
    data["y"] = rng.normal(size=200) + rng.normal(size=40)[g] * np.where(g % 2, 2.0, 0.8)
    with pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified"):
        fit = bl.lmer("y ~ z + x + (z | g)", data)
    assert "not identified" in fit.certificate.message
    smaller = bl.lmer("y ~ z + x + (1 | g)", data)
    for table in (bl.ranova(fit), bl.anova(smaller, fit)):
        assert table["p_chisq"].iloc[1] < 0.05
        assert np.isnan(table["p_boundary"].iloc[1])
        assert "do not identify" in repr(table)
    with pytest.warns(bl.BlocklmmWarning, match="do not identify"):
        fit.bootstrap(5, seed=1)


def test_variances_that_the_fixed_effects_take_have_no_boundary_p_value():
    data = DATA["Machines"]
    with pytest.warns(bl.BlocklmmWarning, match="not identified"):
        fit = bl.lmer("score ~ Machine + Worker + (1 | Worker)", data)
    table = bl.ranova(fit)
    assert table["LRT"].iloc[1] == 0
    assert np.isnan(table["p_boundary"].iloc[1])
    assert "do not identify" in repr(table)


def test_a_null_model_on_the_boundary_is_said_to_be():
    data = DATA["Dyestuff2"].assign(x=np.tile(np.arange(5.0), 6))
    table = bl.ranova(bl.lmer("Yield ~ x + (x | Batch)", data))
    assert "approximate" in repr(table)
    assert "approximate" not in repr(bl.ranova(bl.lmer("Reaction ~ Days + (Days|Subject)", SLEEP)))


def test_a_null_model_is_on_the_boundary_in_any_units():
    scaled = SLEEP.assign(Days=1e6 * SLEEP["Days"])
    table = bl.ranova(bl.lmer("Reaction ~ Days + (Days || Subject)", scaled))
    assert "approximate" not in repr(table)


def test_the_order_of_joined_columns_is_of_no_account():
    data = DATA["Machines"]
    larger = bl.lmer("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", data)
    smaller = bl.lmer("score ~ Machine + (1 | Machine:Worker)", data)
    assert np.isfinite(bl.anova(smaller, larger)["p_boundary"].iloc[1])


def test_exact_rlrt_is_that_of_a_spectral_decomposition():
    """Crainiceanu & Ruppert (2004), eq. 6, for an unbalanced random intercept."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(9), [2, 3, 4, 5, 6, 7, 3, 2, 8])
    x = rng.normal(size=len(g))
    data = pd.DataFrame({"y": x + 0.4 * rng.normal(size=9)[g] + rng.normal(size=len(g)), "x": x})
    data["g"] = g
    fit = bl.lmer("y ~ x + (1 | g)", data)
    found = bl.exact_rlrt(fit, 20_000, seed=1)
    X, Z = np.column_stack([np.ones(len(g)), x]), (g[:, None] == np.arange(9)).astype(float)
    P = np.eye(len(g)) - X @ np.linalg.pinv(X)
    mu = np.linalg.eigvalsh(Z.T @ P @ Z)[1:]  # one is zero
    lam = np.append(0, np.exp(np.linspace(-9, 7, 400)))
    w = rng.normal(size=(20_000, len(mu))) ** 2
    rest = rng.chisquare(len(g) - 2 - len(mu), 20_000)
    best = np.zeros(20_000)
    for value in lam:
        N = (w * value * mu / (1 + value * mu)).sum(axis=1)
        D = (w / (1 + value * mu)).sum(axis=1) + rest
        best = np.maximum(best, (len(g) - 2) * np.log1p(N / D) - np.log1p(value * mu).sum())
    assert abs((found.null == 0).mean() - (best == 0).mean()) < 0.02
    assert stats.ks_2samp(found.null[found.null > 0], best[best > 0]).pvalue > 1e-3
    reached = int((found.null >= found.statistic).sum())
    assert found.p_value == pytest.approx((reached + 1) / (len(found.null) + 1))


def test_simulated_tests_without_the_data_and_for_any_threads():
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", DATA["Dyestuff"])
    a = bl.exact_rlrt(fit, 500, seed=2)
    b = bl.exact_rlrt(pickle.loads(pickle.dumps(fit)), 500, seed=2, n_threads=2)
    np.testing.assert_array_equal(a.null, b.null)
    assert a.p_value == b.p_value
    assert "exact RLRT" in repr(a)


def test_what_is_refused():
    slopes = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    with pytest.raises(bl.InferenceError, match="2 effects"):
        bl.exact_rlrt(slopes)
    with pytest.raises(bl.InferenceError, match="refit_reml"):
        bl.exact_rlrt(bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, reml=False))
    two = bl.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
    with pytest.raises(bl.InferenceError, match="several random terms"):
        bl.exact_rlrt(two)
    for term in ("(1 | Person)", 5):
        with pytest.raises(bl.DataError, match="no random term"):
            bl.exact_rlrt(two, term=term)
    none = bl.lmer("Reaction ~ Days", SLEEP)
    for test in (bl.ranova, bl.exact_rlrt):
        with pytest.raises(bl.InferenceError, match="no random terms"):
            test(none)
        with pytest.raises(TypeError, match="of a fit"):
            test(SLEEP)
    with pytest.raises(bl.InferenceError, match="bootstrap_lrt"):
        bl.exact_lrt(none, slopes)
    with pytest.raises(bl.InferenceError, match="not seen to be nested"):
        bl.bootstrap_lrt(slopes, two)
    with pytest.raises(bl.OptionError, match="reduce_terms is True or False"):
        bl.ranova(slopes, reduce_terms="no")
    with pytest.raises(bl.OptionError, match="n_sim is a whole number"):
        bl.exact_rlrt(bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP), 0)


def other_rows(seed):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(9), 6), 100 + rng.normal(size=54)
    y = rng.normal(size=9)[g] + rng.normal(size=54)
    h = rng.permutation(g)
    return pd.DataFrame({"y": y + 2 * rng.normal(size=9)[h], "x": x, "g": g, "h": h})


def test_models_of_other_groups_or_another_origin_are_not_nested():
    data = other_rows(1)
    larger = bl.lmer("y ~ x + (x | g)", data, reml=False)
    permuted = bl.lmer("y ~ x + (1 | g)", data.assign(g=data["h"]), reml=False)
    with pytest.raises(bl.DataError, match="not of the same rows"):
        bl.bootstrap_lrt(permuted, larger, 10, seed=1)
    through_zero = bl.lmer("y ~ 0 + x + (1 | g)", data, reml=False)
    with pytest.raises(bl.InferenceError, match="another origin"):
        bl.bootstrap_lrt(through_zero, larger, 10, seed=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_ratio_of_zero_has_p_one_whatever_the_rounding(seed):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(8), 5)
    y = rng.normal(size=40)
    y -= np.bincount(g, y)[g] / 5 * 0.9  # groups that are too much alike
    fit = bl.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))
    assert fit.singular
    assert bl.ranova(fit)["p_boundary"].iloc[1] == 1
    assert bl.exact_rlrt(fit, 50, seed=1).p_value == 1


def test_a_fit_that_stopped_early_is_tested_by_none():
    options = bl.FitOptions(max_evaluations=1)
    with pytest.warns(bl.ConvergenceWarning):  # balanced data start at the minimum
        fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP[7:], options=options)
    for test in (bl.ranova, bl.exact_rlrt, lambda f: bl.power(f, "Days", 10)):
        with pytest.raises(bl.InferenceError, match="not certified"):
            test(fit)


def test_a_term_that_stands_for_several():
    two = bl.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
    with pytest.raises(bl.InferenceError, match="stands for several terms"):
        bl.exact_rlrt(two, term="(Days || Subject)")
