"""Fits of real data against lme4's best optima; see README.md in this folder."""

from __future__ import annotations

from functools import cache

import blocklmm as bl
import numpy as np
import pytest

from . import reader

CASES = reader.names("cases")
# Each school has one level of vr only: correlations and modes of the others are not identified.
UNIDENTIFIED = "exam_unidentified_reml"
REGULAR = [
    name for name in CASES if name != UNIDENTIFIED and not reader.read("cases", name)["is_singular"]
]


@cache
def model(name):
    case = reader.read("cases", name)
    return bl.LinearMixedModel(
        case["formula"],
        reader.frame(case["data"]),
        weights=case.get("weights"),
        offset=case.get("offset"),
    )


@cache
def fitted(name):
    reml = reader.read("cases", name)["REML"]
    if name == UNIDENTIFIED:
        with pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified"):
            return model(name).fit(reml=reml)
    return model(name).fit(reml=reml)


@pytest.fixture(params=CASES)
def case(request):
    return reader.read("cases", request.param)


@pytest.fixture
def fit(case):
    return fitted(case["name"])


def terms_in_our_order(case):
    """lme4's terms, largest factor first, as places in the formula's order, which is ours."""
    ours = [(term.group.split(".")[0], term.names) for term in fitted(case["name"]).varcorr]
    places = []
    for term in case["VarCorr"]:
        wanted = (term["factor"], tuple(term["names"]))
        places.append(next(k for k, t in enumerate(ours) if t == wanted and k not in places))
    return places


def to_our_order(case, theta):
    """A theta of lme4 with the terms in the formula's order."""
    sizes = [len(term["names"]) for term in case["VarCorr"]]
    ends = np.cumsum([size * (size + 1) // 2 for size in sizes])
    parts = np.split(np.array(theta, dtype=float), ends[:-1])
    return np.concatenate([parts[k] for k in np.argsort(terms_in_our_order(case))])


def kept(case, key):
    return np.array([value for value in case[key].values() if value is not None])


def sharpness(case):
    """How far the reference theta may be from its optimum, by its own gradient and Hessian."""
    best = case["best"]
    eigenvalues = [e for e in best["hessian_eigenvalues"] or [] if e > 1e-3]
    return (best["max_abs_gradient"] or 0.0) / min(eigenvalues, default=1.0)


def test_objective_is_never_above_the_best_known(case, fit):
    assert fit.objective <= case["best"]["objective"] + 1e-7
    assert fit.objective == pytest.approx(case["best"]["objective"], abs=1e-6)
    assert fit.converged


def test_objective_at_given_theta(case):
    at = model(case["name"])
    for probe in [*case["objective_probe"], case["best"]]:
        found = at.objective(to_our_order(case, probe["theta"]), reml=case["REML"])
        assert found == pytest.approx(probe["objective"], rel=1e-11)


def test_counts(case, fit):
    assert fit.nobs == case["nobs"]
    assert fit.dropped.n_rows == case["n_rows_dropped_na"]
    assert fit.ngroups == case["ngroups"]
    assert fit.n_parameters == case["n_parameters"]
    assert len(fit.dropped_columns) == len(case.get("dropped_fixef", []))
    assert fit.singular == case["is_singular"]


def test_fixed_effects(case, fit):
    se = kept(case, "se")
    assert np.all(np.abs(fit.params.to_numpy() - kept(case, "fixef")) <= 1e-6 * se)
    np.testing.assert_allclose(fit.bse, se, rtol=1e-6)
    vcov = np.array(case["vcov"])
    np.testing.assert_allclose(
        fit.cov_params() / np.outer(se, se), vcov / np.outer(se, se), atol=2e-6
    )
    interval = fit.conf_int()
    np.testing.assert_allclose(interval["lower"], case["ci_wald"]["lower"], atol=1e-5 * se.max())
    np.testing.assert_allclose(interval["upper"], case["ci_wald"]["upper"], atol=1e-5 * se.max())


def test_likelihood(case, fit):
    assert fit.llf == pytest.approx(case["logLik"], abs=1e-7)
    assert fit.aic == pytest.approx(case["AIC"], abs=1e-7)
    assert fit.bic == pytest.approx(case["BIC"], abs=1e-7)


def test_variance_components(case, fit):
    assert fit.sigma == pytest.approx(case["sigma"], rel=1e-6)
    assert len(fit.varcorr.terms) == len(case["VarCorr"])
    for place, expected in zip(terms_in_our_order(case), case["VarCorr"], strict=True):
        term = fit.varcorr.terms[place]
        assert list(term.names) == expected["names"]
        sd = np.array(expected["sd"])
        np.testing.assert_allclose(term.sd, sd, rtol=1e-5, atol=1e-6 * case["sigma"])
        if case["name"] == UNIDENTIFIED:
            continue
        found, corr = term.corr, np.array(expected["corr"], dtype=float)
        both = np.isfinite(found) & np.isfinite(corr)
        np.testing.assert_allclose(found[both], corr[both], atol=1e-3 if fit.singular else 1e-5)


@pytest.mark.parametrize("name", REGULAR)  # elsewhere theta itself is not unique
def test_theta(name):
    case, fit = reader.read("cases", name), fitted(name)
    theta = to_our_order(case, case["theta"])
    np.testing.assert_allclose(fit.theta, theta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != UNIDENTIFIED])
def test_conditional_modes(name):
    case, fit = reader.read("cases", name), fitted(name)
    slack = 1 + 100 * sharpness(case) / 1e-5
    ranef, sds, covs = fit.ranef(), fit.ranef_sd(), fit.ranef_cov()
    for term, place in zip(case["ranef"], terms_in_our_order(case), strict=True):
        group, q = term["factor"], len(term["names"])
        own = [len(t.names) for t in fit.varcorr.terms[:place] if t.group.split(".")[0] == group]
        at = sum(own)
        table = ranef[group].iloc[:, at : at + q]
        assert list(table.columns) == term["names"]
        rows = table.index.astype(str).get_indexer(term["levels"])
        if term["all_levels_stored"]:
            assert list(table.index.astype(str)) == term["levels"]
        sd = sds[group].to_numpy()[rows, at : at + q]
        modes = np.array(term["modes"])
        assert np.abs(table.to_numpy()[rows] - modes).max() <= 1e-5 * slack * max(sd.max(), 1e-9)
        cov = np.array(term["cond_cov"])
        found = covs[group][rows, at : at + q, at : at + q]
        np.testing.assert_allclose(found, cov, atol=2e-5 * slack * max(np.abs(cov).max(), 1e-12))


def test_rows(case, fit):
    rows = slice(0, len(case["rows_first20"]))
    tolerance = 1e-5 * case["sigma"]
    np.testing.assert_allclose(fit.fittedvalues[rows], case["fitted_first20"], atol=tolerance)
    np.testing.assert_allclose(fit.resid[rows], case["resid_first20"], atol=tolerance)
    population = fit.predict(random="population")[rows]
    np.testing.assert_allclose(population, case["marginal_first20"], atol=tolerance)


def test_explained_variance(case, fit):
    expected = case["variance_direct"]
    icc, r2 = fit.icc(), fit.r2()
    assert icc.adjusted == pytest.approx(expected["icc_adjusted"], rel=1e-5, abs=1e-9)
    assert icc.unadjusted == pytest.approx(expected["icc_unadjusted"], rel=1e-5, abs=1e-9)
    assert r2.marginal == pytest.approx(expected["r2_marginal"], rel=1e-5, abs=1e-9)
    assert r2.conditional == pytest.approx(expected["r2_conditional"], rel=1e-5, abs=1e-9)


def test_evaluations():
    counts = [fitted(name).certificate.n_evaluations for name in CASES]
    assert np.median(counts) <= 10
    assert max(counts) <= 30


def test_evaluations_with_several_factors():
    several = [name for name in CASES if len(reader.read("cases", name)["ngroups"]) > 1]
    counts = [fitted(name).certificate.n_evaluations for name in several]
    assert len(counts) >= 19
    assert np.median(counts) <= 12
    assert max(counts) <= 40


@pytest.mark.parametrize("name", reader.names("newdata"))
def test_new_data(name):
    expected = reader.read("newdata", name)
    fit = fitted(name)
    new = expected["newdata"]
    sigma = reader.read("cases", name)["sigma"]
    conditional = fit.predict(new, new_levels="population")
    np.testing.assert_allclose(conditional, expected["pred_conditional"], atol=1e-5 * sigma)
    population = fit.predict(new, random="population")
    reference = np.array(expected["pred_marginal"])
    if not reader.read("cases", name)["predict_reformNA_includes_offset"]:
        reference = reference + np.array(new[reader.read("cases", name)["offset"]])
    np.testing.assert_allclose(population, reference, atol=1e-5 * sigma)


COMPARISONS = {
    name: reader.read("comparisons", name)["kind"] for name in reader.names("comparisons")
}


@pytest.mark.parametrize("name", [name for name, kind in COMPARISONS.items() if "lrt" in kind])
def test_comparisons(name):
    expected = reader.read("comparisons", name)
    data = reader.frame(expected["data"])
    if expected["kind"] == "lrt_random_terms":
        series = [
            ([smaller, expected["full"]], [smaller["test"]]) for smaller in expected["reduced"]
        ]
    else:
        series = [(expected["models"], expected["tests"])]
    for models, tests in series:
        check_comparison(data, models, tests)


def check_comparison(data, models, tests):
    fits = [bl.lmer(m["formula"], data, reml=m["REML"]) for m in models]
    table = bl.anova(*reversed(fits))
    assert list(table.index) == [m["formula"] for m in models]
    np.testing.assert_array_equal(table["npar"], [m["npar"] for m in models])
    np.testing.assert_allclose(table["logLik"], [m["logLik"] for m in models], atol=1e-7)
    np.testing.assert_allclose(table["BIC"], [m["BIC"] for m in models], atol=1e-7)
    for k, test in enumerate(tests, start=1):
        row = table.iloc[k]
        assert row["Chisq"] == pytest.approx(test["chisq"], abs=1e-6)
        assert row["Df"] == test["df"]
        assert row["p_chisq"] == pytest.approx(test["p"], rel=1e-5)
