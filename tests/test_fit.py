"""What a fit offers: identities between its parts, dense formulas, and behaviour."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from scipy import stats


@pytest.fixture(scope="module")
def sleepstudy():
    return bl.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def slopes(sleepstudy):
    return bl.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)


def dense(fit, data):
    """Z b's design, V, X of the sleepstudy slopes model by hand."""
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    same = data["Subject"].to_numpy()[:, None] == data["Subject"].to_numpy()
    Sigma = fit.varcorr["Subject"].cov
    V = same * (X @ Sigma @ X.T) + fit.sigma**2 * np.eye(len(data))
    return X, V, Sigma


def test_table_of_variances(slopes):
    frame = slopes.varcorr.to_frame()
    assert list(frame.columns) == ["group", "name1", "name2", "vcov", "sdcor"]
    assert frame["group"].tolist() == ["Subject"] * 3 + ["Residual"]
    assert frame["name1"].tolist() == ["(Intercept)", "Days", "(Intercept)", None]
    assert frame["name2"].tolist() == [None, None, "Days", None]
    np.testing.assert_allclose(frame["vcov"], [612.09, 35.07166, 9.604331, 654.941], rtol=1e-5)
    np.testing.assert_allclose(frame["sdcor"], [24.74045, 5.922133, 0.0655513, 25.59182], rtol=1e-5)


def test_labels_of_two_terms_on_one_factor(sleepstudy):
    fit = bl.lmer("Reaction ~ Days + (Days || Subject)", sleepstudy)
    assert [term.group for term in fit.varcorr] == ["Subject", "Subject.1"]
    assert list(fit.ranef()) == ["Subject"]
    assert list(fit.ranef()["Subject"].columns) == ["(Intercept)", "Days"]


def test_coefficients_are_fixed_effects_plus_modes(slopes):
    coef, ranef = slopes.coef()["Subject"], slopes.ranef()["Subject"]
    np.testing.assert_allclose(coef - slopes.params.to_numpy(), ranef, rtol=1e-12)


def test_random_effect_without_fixed_one(sleepstudy):
    fit = bl.lmer("Reaction ~ 1 + (Days | Subject)", sleepstudy)
    coef = fit.coef()["Subject"]
    assert list(coef.columns) == ["Intercept", "Days"]
    np.testing.assert_allclose(coef["Days"], fit.ranef()["Subject"]["Days"])


def test_wald_statistics(slopes):
    z = slopes.params / slopes.bse
    np.testing.assert_allclose(slopes.tvalues, z)
    np.testing.assert_allclose(slopes.pvalues, 2 * stats.t.sf(abs(z), slopes.df), rtol=1e-12)
    interval = slopes.conf_int(0.9)
    np.testing.assert_allclose(interval["upper"], slopes.params + stats.norm.ppf(0.95) * slopes.bse)
    assert (slopes.tidy(ddf="asymptotic")["df"] == np.inf).all()


def test_prediction_errors_against_dense(slopes, sleepstudy):
    """Var(x'beta^ + z'b^ - x'beta - z'b) from the joint covariance of y, beta^ and b."""
    X, V, Sigma = dense(slopes, sleepstudy)
    inverse = np.linalg.inv(V)
    bread = np.linalg.inv(X.T @ inverse @ X)
    hat = bread @ X.T @ inverse  # beta^ = hat y
    confidence = slopes.predict(interval="confidence")
    prediction = slopes.predict(interval="prediction")
    normal = stats.norm.ppf(0.975)
    subjects = sleepstudy["Subject"].to_numpy()
    for row in (0, 7, 35, 179):
        own = subjects == subjects[row]
        ZS = np.where(own[:, None], X @ Sigma, 0.0)  # Cov(y, b_i)
        modes = ZS.T @ inverse @ (np.eye(len(X)) - X @ hat)  # b^_i = modes y
        weights = X[row] @ hat + X[row] @ modes
        variance = weights @ V @ weights - 2 * weights @ ZS @ X[row] + X[row] @ Sigma @ X[row]
        half = (confidence["upper"] - confidence["mean"])[row]
        assert half == pytest.approx(normal * np.sqrt(variance), rel=1e-9)
        half = (prediction["upper"] - prediction["mean"])[row]
        assert half == pytest.approx(normal * np.sqrt(variance + slopes.sigma**2), rel=1e-9)
    prediction_cov = slopes.ranef_cov(fixed_uncertainty=True)["Subject"][0]
    own = subjects == "308"
    C = np.where(own[:, None], X @ Sigma, 0.0).T @ inverse
    expected = Sigma - C @ (V - X @ bread @ X.T) @ C.T
    np.testing.assert_allclose(prediction_cov, expected, rtol=1e-9)


def test_intervals_of_unseen_groups(slopes):
    new = {"Days": [0.0, 5.0], "Subject": ["new", "308"]}
    x = np.array([[1, 0.0], [1, 5.0]])
    Sigma, cov = slopes.varcorr["Subject"].cov, slopes.cov_params().to_numpy()
    found = slopes.predict(new, new_levels="population", interval="prediction", level=0.9)
    variance = x[0] @ (Sigma + cov) @ x[0] + slopes.sigma**2
    half = stats.norm.ppf(0.95) * np.sqrt(variance)
    assert (found["upper"] - found["mean"])[0] == pytest.approx(half)
    assert (found["mean"] - found["lower"])[1] < half
    population = slopes.predict(new, random="population", interval="prediction", level=0.9)
    assert (population["upper"] - population["mean"])[0] == pytest.approx(half)
    mean_only = slopes.predict(new, random="population", interval="confidence", level=0.9)
    half = stats.norm.ppf(0.95) * np.sqrt(x[1] @ cov @ x[1])
    assert (mean_only["upper"] - mean_only["mean"])[1] == pytest.approx(half)


def test_marginal_covariance(slopes, sleepstudy):
    _, V, _ = dense(slopes, sleepstudy)
    np.testing.assert_allclose(slopes.marginal_cov("309"), V[10:20, 10:20], rtol=1e-12)
    corr = slopes.marginal_corr("309")
    assert corr[0, 1] == pytest.approx(V[10, 11] / np.sqrt(V[10, 10] * V[11, 11]))
    with pytest.raises(bl.DataError, match=r"no level '3o9'. Did you mean '3.9'"):
        slopes.marginal_cov("3o9")


def test_textbook_shrinkage():
    """mu + rho n / (1 + (n - 1) rho) (mean_i - mu) for groups of unequal size."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    y = 10 + rng.normal(size=12)[groups] + rng.normal(size=len(groups))
    fit = bl.lmer("y ~ 1 + (1 | g)", {"y": y, "g": groups})
    rho, mu = fit.icc().adjusted, fit.params["Intercept"]
    table = fit.shrinkage()["g"]
    n = np.bincount(groups)
    means = np.bincount(groups, y) / n
    np.testing.assert_allclose(table["weight"], rho * n / (1 + (n - 1) * rho), rtol=1e-9)
    np.testing.assert_allclose(table["own"], means - mu, rtol=1e-9)
    np.testing.assert_allclose(table["blup"], table["weight"] * table["own"], rtol=1e-9)
    np.testing.assert_allclose(table["blup"], fit.ranef()["g"]["(Intercept)"], rtol=1e-12)


def test_shrinkage_of_slopes(slopes):
    table = slopes.shrinkage()["Subject"]
    assert set(table.columns.get_level_values(0)) == {"weight", "own", "blup"}
    assert table["weight"].to_numpy().min() > 0
    assert table["weight"].to_numpy().max() < 1


@pytest.mark.parametrize(
    ("scale", "label"), [(0.3, "poor"), (1.0, "fair"), (1.6, "good"), (5.0, "excellent")]
)
def test_icc_and_its_label(scale, label):
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(60), 6)
    y = scale * rng.normal(size=60)[groups] + rng.normal(size=360)
    fit = bl.lmer("y ~ 1 + (1 | g)", {"y": y, "g": groups})
    icc = fit.icc()
    tau2, sigma2 = fit.varcorr.to_frame()["vcov"]
    assert icc.adjusted == pytest.approx(tau2 / (tau2 + sigma2))
    assert icc.unadjusted == pytest.approx(icc.adjusted)
    assert icc.by_group == {"g": pytest.approx(icc.adjusted)}
    assert icc.label == label


def test_model_without_random_terms_is_ordinary_least_squares(sleepstudy):
    fit = bl.lmer("Reaction ~ Days", sleepstudy)
    X = np.column_stack([np.ones(180), sleepstudy["Days"]])
    y = sleepstudy["Reaction"].to_numpy()
    beta, rss, *_ = np.linalg.lstsq(X, y, rcond=None)
    np.testing.assert_allclose(fit.params, beta, rtol=1e-12)
    assert fit.sigma**2 == pytest.approx(rss[0] / 178)
    cov = rss[0] / 178 * np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(fit.cov_params(), cov, rtol=1e-10)
    ml = bl.lmer("Reaction ~ Days", sleepstudy, reml=False)
    assert ml.llf == pytest.approx(stats.norm.logpdf(y, X @ beta, np.sqrt(rss[0] / 180)).sum())
    assert fit.converged
    assert not fit.singular
    assert fit.theta.shape == (0,)
    assert fit.ngroups == fit.ranef() == fit.coef() == fit.ranef_cov() == fit.shrinkage() == {}
    assert fit.icc().adjusted == 0
    np.testing.assert_allclose(fit.fittedvalues, X @ beta)
    np.testing.assert_allclose(fit.predict({"Days": [3.0]}), [beta[0] + 3 * beta[1]])
    assert "Linear model" in fit.summary()


def test_sum_to_zero_contrasts_beside_random_effects():
    """Fixed effects that sum to zero are the group means' deviations; BLUPs shrink them."""
    data = bl.datasets.load("Dyestuff")
    fixed = bl.lmer("Yield ~ Batch", data, contrasts={"Batch": "sum"})
    random = bl.lmer("Yield ~ 1 + (1 | Batch)", data)
    means = data.groupby("Batch", observed=True)["Yield"].mean()
    deviations = (means - means.mean()).to_numpy()
    np.testing.assert_allclose(fixed.params.to_numpy()[1:], deviations[:-1], rtol=1e-9)
    assert fixed.params.iloc[0] == pytest.approx(random.params.iloc[0])
    weight = random.shrinkage()["Batch"]["weight"].to_numpy()
    blups = random.ranef()["Batch"]["(Intercept)"].to_numpy()
    np.testing.assert_allclose(blups, weight * deviations, rtol=1e-7)


def test_a_pickled_fit_works_without_its_data(slopes, sleepstudy):
    text = pickle.dumps(slopes)
    assert len(text) < 20_000
    fit = pickle.loads(text)
    pd.testing.assert_frame_equal(fit.ranef()["Subject"], slopes.ranef()["Subject"])
    pd.testing.assert_series_equal(fit.params, slopes.params)
    np.testing.assert_array_equal(fit.predict(sleepstudy), slopes.predict(sleepstudy))
    assert fit.icc() == slopes.icc()
    assert fit.refit_ml().objective == slopes.refit_ml().objective
    assert "Certificate" in fit.summary()
    with pytest.raises(bl.DataError, match="without its rows"):
        _ = fit.fittedvalues


def test_a_pickle_of_expressions_and_categories():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=90),
            "x": rng.uniform(1, 5, 90),
            "a": pd.Categorical(rng.choice(["u", "v", "w"], 90)),
            "g": np.repeat(np.arange(15), 6),
        }
    )
    fit = bl.lmer("y ~ poly(x, 2) + log(x) * a + (1 | g)", data)
    other = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(other.predict(data.head(7)), fit.predict(data.head(7)))


def test_simulate_and_refit(slopes):
    draws = slopes.simulate(300, seed=1)
    assert draws.shape == (180, 300)
    np.testing.assert_array_equal(draws, slopes.simulate(300, seed=1))
    _, V, _ = dense(slopes, bl.datasets.load("sleepstudy"))
    centred = draws - slopes.predict(random="population")[:, None]
    observed = (centred**2).mean(axis=1)
    np.testing.assert_allclose(observed / np.diag(V), 1, atol=6 * np.sqrt(2 / 300))
    same = slopes.refit(slopes.fittedvalues + slopes.resid)
    assert same.objective == pytest.approx(slopes.objective, rel=1e-13)
    other = slopes.refit(draws[:, 0])
    data = bl.datasets.load("sleepstudy").assign(Reaction=draws[:, 0])
    again = bl.lmer("Reaction ~ Days + (Days | Subject)", data)
    assert other.objective == pytest.approx(again.objective, rel=1e-13)


def test_anova_on_the_boundary(sleepstudy):
    none = bl.lmer("Reaction ~ Days", sleepstudy)
    intercepts = bl.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy)
    slopes = bl.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)
    table = bl.anova(slopes, none, intercepts)
    assert list(table.columns) == [
        "npar", "AIC", "BIC", "logLik", "deviance", "Chisq", "Df", "p_chisq", "p_boundary",
    ]  # fmt: skip
    assert table["npar"].tolist() == [3, 4, 6]
    first, second = table["Chisq"].iloc[1:]
    assert first == pytest.approx(none.objective - intercepts.objective)
    assert table["p_chisq"].iloc[1] == pytest.approx(stats.chi2.sf(first, 1))
    assert table["p_boundary"].iloc[1] == pytest.approx(0.5 * stats.chi2.sf(first, 1))
    mixture = 0.5 * stats.chi2.sf(second, 1) + 0.5 * stats.chi2.sf(second, 2)
    assert table["p_boundary"].iloc[2] == pytest.approx(mixture)
    assert table.index.name is None


def test_anova_refits_by_ml_where_fixed_effects_differ(sleepstudy):
    small = bl.lmer("Reaction ~ 1 + (Days | Subject)", sleepstudy)
    large = bl.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)
    table = bl.anova(small, large)
    assert table.index.name == "refitted by ML"
    expected = small.refit_ml().objective - large.refit_ml().objective
    assert table["Chisq"].iloc[1] == pytest.approx(expected)
    assert table["p_boundary"].iloc[1] == table["p_chisq"].iloc[1]


def test_anova_of_an_added_covariance_is_not_on_the_boundary(sleepstudy):
    apart = bl.lmer("Reaction ~ Days + (Days || Subject)", sleepstudy)
    together = bl.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)
    row = bl.anova(apart, together).iloc[1]
    assert row["p_boundary"] == row["p_chisq"]


def test_anova_of_two_variances_lies_between_the_mixtures_that_bound_it(sleepstudy):
    none = bl.lmer("Reaction ~ Days", sleepstudy.iloc[::7])
    both = bl.lmer("Reaction ~ Days + (Days || Subject)", sleepstudy.iloc[::7])
    row = bl.anova(none, both).iloc[1]
    assert row["Df"] == 2
    # weights (w0, 1/2, w2) with w0 + w2 = 1/2, for any information
    least = 0.5 * stats.chi2.sf(row["Chisq"], 1)
    assert least < row["p_boundary"] < least + 0.5 * row["p_chisq"]


def test_a_zero_variance_is_exactly_zero_and_certified():
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2"))
    assert fit.theta.tolist() == [0.0]
    assert fit.singular
    assert fit.converged
    assert fit.certificate.min_eigenvalue == pytest.approx(9.9, abs=0.05)
    assert (fit.ranef()["Batch"].to_numpy() == 0).all()
    assert (fit.ranef_sd()["Batch"].to_numpy() == 0).all()


def test_summary_has_lme4s_parts(slopes):
    text = slopes.summary()
    for part in (
        "Linear mixed model fit by REML",
        "Formula: Reaction ~ Days + (Days | Subject)",
        "REML criterion at convergence: 1743.628",
        "Scaled residuals:",
        "-3.9536 -0.4634",
        "Random effects:",
        "Number of obs: 180, groups: Subject, 18",
        "Fixed effects:",
        "Correlation of fixed effects:",
        "Certificate: optimal",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100
    assert '<td style="text-align: left">Days</td>' in slopes._repr_html_()
    assert "AIC" in slopes.refit_ml().summary()


def test_correlations_of_effects_whose_names_start_alike():
    data = bl.datasets.load("cake")
    fit = bl.lmer("angle ~ recipe * temp + (1 | replicate)", data)
    lines = fit.summary().splitlines()
    head = lines[lines.index("Correlation of fixed effects:") + 1]
    assert head.split() == ["(1)", "(2)", "(3)", "(4)", "(5)"]
    assert "(6) recipe[T.C]:temp" in fit.summary()


def test_summary_tells_what_was_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    data = {"y": rng.normal(size=60), "x": x, "twice": 2 * x, "g": np.repeat(np.arange(10), 6)}
    data["x"] = np.where(np.arange(60) == 5, np.nan, x)
    fit = bl.lmer("y ~ x + twice + (1 | g)", data)
    assert fit.dropped_columns == ("twice",)
    assert "1 row dropped for missing values (x: 1)" in fit.summary()
    assert "dropped for linear dependence: twice" in fit.summary()
    with pytest.raises(bl.RankDeficientError, match="'twice'"):
        bl.lmer("y ~ x + twice + (1 | g)", data, rank_deficient="error")


def test_tables(slopes):
    tidy = slopes.tidy()
    assert list(tidy.columns) == [
        "effect", "term", "estimate", "std.error", "statistic", "df", "p.value",
        "conf.low", "conf.high",
    ]  # fmt: skip
    assert tidy["term"].tolist() == ["Intercept", "Days"]
    random = slopes.tidy("random")
    assert random["term"].tolist() == [
        "sd__(Intercept)", "sd__Days", "cor__(Intercept).Days", "sd__Observation",
    ]  # fmt: skip
    assert slopes.glance()["REMLcrit"].iloc[0] == slopes.objective
    augmented = slopes.augment()
    assert set(augmented) == {"Reaction", "Days", "Subject", ".fitted", ".fixed", ".resid"}
    np.testing.assert_allclose(augmented[".fitted"] + augmented[".resid"], augmented["Reaction"])


def test_the_same_bits_with_any_number_of_threads():
    rng = np.random.default_rng(2)
    n = 150_000
    groups = rng.integers(0, 20_000, n)
    x = rng.normal(size=n)
    data = {"y": x + rng.normal(size=20_000)[groups] + rng.normal(size=n), "x": x, "g": groups}
    fits = [
        bl.lmer("y ~ x + (x | g)", data, options=bl.FitOptions(n_threads=k)) for k in (1, 1, 2, 3)
    ]
    for other in fits[1:]:
        assert other.objective == fits[0].objective
        assert other.theta.tobytes() == fits[0].theta.tobytes()
        assert other.params.to_numpy().tobytes() == fits[0].params.to_numpy().tobytes()
        assert other.ranef()["g"].to_numpy().tobytes() == fits[0].ranef()["g"].to_numpy().tobytes()


def test_rows_in_any_order():
    rng = np.random.default_rng(2)
    n = 3000
    data = pd.DataFrame(
        {"x": rng.normal(size=n), "g": rng.integers(0, 200, n), "y": rng.normal(size=n)}
    )
    data["y"] += data["x"] + rng.normal(size=200)[data["g"]]
    fit = bl.lmer("y ~ x + (x | g)", data)
    shuffled = data.sample(frac=1, random_state=0)
    other = bl.lmer("y ~ x + (x | g)", shuffled)
    assert other.objective == pytest.approx(fit.objective, rel=1e-13)
    np.testing.assert_allclose(other.theta, fit.theta, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(other.ranef()["g"], fit.ranef()["g"], atol=1e-8)
    np.testing.assert_allclose(other.fittedvalues, fit.fittedvalues[shuffled.index], atol=1e-8)


def test_start_and_limit_of_evaluations(sleepstudy):
    model = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", sleepstudy)
    with pytest.warns(bl.ConvergenceWarning, match="stopped after 1 evaluations"):
        fit = model.fit(start=[1, 0, 1], options=bl.FitOptions(max_evaluations=1))
    assert not fit.converged
    assert fit.objective == pytest.approx(1773.6803306160002, rel=1e-13)
    np.testing.assert_allclose(fit.theta, [1, 0, 1], atol=1e-14)
    with pytest.raises(bl.OptionError, match="vector of 3"):
        model.fit(start=[1.0])


def test_weights_are_precisions(sleepstudy):
    """A row of weight two is as good as two equal rows, but for the count of rows."""
    twice = pd.concat([sleepstudy, sleepstudy.iloc[::3]], ignore_index=True)
    weights = np.where(np.arange(180) % 3 == 0, 2.0, 1.0)
    model = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", sleepstudy, weights=weights)
    doubled = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", twice)
    theta = [0.7, 0.1, 0.3]
    a = model._prepared(1).objective(False, 1)(model._prepared(1).factor(theta))
    b = doubled._prepared(1).objective(False, 1)(doubled._prepared(1).factor(theta))
    beta = model._prepared(1).units.beta(a.inverse_factor)
    np.testing.assert_allclose(beta, doubled._prepared(1).units.beta(b.inverse_factor), rtol=1e-12)


REFITTED = {
    "slopes": ("y ~ t + (t | g)", {}),
    "weights and offsets": ("y ~ t + offset(o) + (1 | g)", {"weights": "w", "offset": "2 * t"}),
    "crossed": ("y ~ t + (1 | g) + (1 | h)", {"reml": False}),
    "rank deficient": ("y ~ t + I(2 * t) + poly(w, 2) + (1 | g)", {}),
    "no random terms": ("y ~ t + a", {}),
    "missing": ("y ~ u + a + (1 | g)", {}),
}


@pytest.mark.parametrize("name", REFITTED)
def test_a_refit_is_the_fit_of_its_response(name):
    rng = np.random.default_rng(2)
    n = 150
    data = pd.DataFrame(
        {
            "g": rng.integers(0, 15, n),
            "h": rng.integers(0, 6, n),
            "t": rng.normal(size=n),
            "a": rng.choice(list("uvw"), n),
            "w": rng.uniform(0.2, 3, n),
            "o": rng.normal(size=n),
        }
    )
    data["u"] = data["t"].where(rng.uniform(size=n) > 0.1)
    b, noise = rng.normal(size=15)[data["g"]], rng.normal(size=n)
    t, used = data["t"], np.ones(n, dtype=bool)
    if name == "missing":
        used = data["u"].notna().to_numpy()
    formula, arguments = REFITTED[name]
    fit = bl.lmer(formula, data.assign(y=b + noise), **arguments)
    others = [3 + t - b + noise[::-1], 1e9 + b + noise, 1e-9 * noise]
    others.append(2 * t + 3 + 1e-7 * noise)  # next to nothing is left of this one, and the next
    if name != "crossed":
        others.append(1e6 * b + noise)
    for y in others:
        expected = bl.lmer(formula, data.assign(y=y), **arguments)
        found = fit.refit(y[used])
        assert found.objective == pytest.approx(expected.objective, rel=1e-11, abs=1e-8)
        np.testing.assert_allclose(found.params, expected.params, rtol=1e-9)
        np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-9)
        np.testing.assert_allclose(found.theta, expected.theta, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found.df, expected.df, rtol=1e-6)
        np.testing.assert_allclose(found.resid, expected.resid, atol=1e-8 * expected.sigma)
        assert found.is_of_same_response(expected)
        assert not found.is_of_same_response(fit)
        again = found.refit(fit.augment()["y"].to_numpy())
        assert again.objective == pytest.approx(fit.objective, rel=1e-12)
