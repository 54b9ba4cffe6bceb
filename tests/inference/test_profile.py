"""Profiles against closed forms, and against constrained minima of a criterion on a dense V."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.inference.profile.held import HeldCorrelation, HeldSd
from blocklmm.inference.profile.restricted import HeldCriterion
from scipy.optimize import minimize
from scipy.stats import chi2

Z95 = np.sqrt(chi2.ppf(0.95, 1))


def random_data(seed, n_groups=7, m=6, slope=0.7, centre=0.0):
    rng = np.random.default_rng(seed)
    n = n_groups * m
    g, x = np.repeat(np.arange(n_groups), m), rng.normal(size=n)
    b = rng.normal(size=(n_groups, 2)) * [1.0, slope]
    h = rng.integers(0, 5, n)
    y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=5)[h] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x + centre, "w": rng.normal(size=n), "g": g, "h": h})


class Dense:
    """The criterion in absolute variance parameters of (x | g), or (1 | g) + (1 | h)."""

    def __init__(self, data, reml, crossed):
        self.reml, self.y = reml, data["y"].to_numpy()
        self.X = np.column_stack([np.ones(len(data)), data["x"]])
        same = {k: data[k].to_numpy()[:, None] == data[k].to_numpy() for k in "gh"}
        x = data["x"].to_numpy()
        if crossed:
            self.parts = [same["g"] * 1.0, same["h"] * 1.0]
        else:
            self.parts = [same["g"] * 1.0, same["g"] * np.outer(x, x)]
            self.parts.append(same["g"] * np.add.outer(x, x))

    def __call__(self, parameters):
        """Of sd_1, sd_2, the correlation if the model has one, and sigma."""
        sd_1, sd_2, *rho, sigma = parameters
        weights = [sd_1**2, sd_2**2, *(r * sd_1 * sd_2 for r in rho)]
        V = sum(w * part for w, part in zip(weights, self.parts, strict=True))
        L = np.linalg.cholesky(V + sigma**2 * np.eye(len(self.y)))
        X, y = np.linalg.solve(L, self.X), np.linalg.solve(L, self.y)
        e = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        n, p = self.X.shape
        nu = n - p if self.reml else n
        out = 2 * np.log(np.diag(L)).sum() + nu * np.log(2 * np.pi) + e @ e
        return out + (np.linalg.slogdet(X.T @ X)[1] if self.reml else 0.0)


def constrained_minimum(f, start, held, value):
    """Over the other parameters, without derivatives: zero is always stationary."""
    free = [k for k in range(len(start)) if k != held]
    bounds = [(0, None), (0, None), *[(-1, 1)] * (len(start) - 3), (1e-3, None)]

    def full(rest):
        out = np.empty(len(start))
        out[held], out[free] = value, rest
        return f(out)

    near = [*np.maximum(start[:2], 0.2), *start[2:]]
    far = [1.5, 0.5, *[0.0] * (len(start) - 3), 1.0]
    bounds = [bounds[k] for k in free]
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000}
    return min(
        minimize(full, np.array(s)[free], method="Nelder-Mead", bounds=bounds, options=options).fun
        for s in (near, far)
    )


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_profiles_are_constrained_minima(reml, crossed, seed):
    data = random_data(seed)
    formula = "y ~ x + (1 | g) + (1 | h)" if crossed else "y ~ x + (x | g)"
    fit, f = bl.lmer(formula, data, reml=reml), Dense(data, reml, crossed)
    estimates = fit.varcorr.to_frame()["sdcor"].to_numpy()
    profile = fit.profile("theta_", level=0.95)
    assert f(estimates) == pytest.approx(fit.objective, abs=1e-6)
    for k, one in enumerate(profile):
        assert one.estimate == pytest.approx(estimates[k])
        np.testing.assert_allclose(one.zeta**2, one.criterion - fit.objective, atol=1e-7)
        assert (np.sign(one.zeta) == np.sign(one.value - one.estimate)).all()
        for value, criterion in list(zip(one.value, one.criterion, strict=True))[1::5]:
            expected = constrained_minimum(f, estimates, k, value)
            assert criterion <= expected + 1e-6
            assert criterion == pytest.approx(expected, abs=1e-5)
    interval = profile.conf_int(0.95)
    for k, (lower, upper) in enumerate(interval.to_numpy()):
        is_correlation = interval.index[k].startswith("cor")
        for limit, end in [(lower, -1 if is_correlation else 0), (upper, 1)]:
            rise = constrained_minimum(f, estimates, k, limit) - fit.objective
            if limit == end:
                assert rise <= Z95**2 + 1e-6
            else:
                assert rise == pytest.approx(Z95**2, abs=1e-5)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "formula", ["y ~ x + (x + w | g)", "y ~ x + (x | g) + (1 | h)", "y ~ x + (w || g)"]
)
def test_derivatives_of_the_restricted_criterion(formula, reml):
    fit = bl.lmer(formula, random_data(5, centre=3.0), reml=reml)
    objective, units = fit._problem.objective(reml, 1), fit._problem.units
    sigma0 = 0.8
    held_fixed = [HeldSd(units, sigma0, 0, 0)]
    if units.structure.blocks[0] > 1:
        held_fixed.append(HeldCorrelation(units, sigma0, 0, (0, 1)))
    for held in held_fixed:
        criterion, rng = HeldCriterion(objective, held, sigma0), np.random.default_rng(7)
        x = held.coordinates(0.7 * np.eye(units.structure.q))
        t, y = 0.3, np.append(x + 0.2 * rng.normal(size=len(x)), 0.1)
        found, h = criterion.derivatives(t, y[:-1], y[-1], exact_hessian=True), 1e-5

        def at(t, y, criterion=criterion):
            return criterion.derivatives(t, y[:-1], y[-1], exact_hessian=True)

        size = 1 + np.abs(found.hessian).max()
        for k, step in enumerate(h * np.eye(len(y))):
            up, down = at(t, y + step), at(t, y - step)
            assert found.gradient[k] == pytest.approx(
                (up.value - down.value) / (2 * h), abs=1e-5 * size
            )
            np.testing.assert_allclose(
                found.hessian[k], (up.gradient - down.gradient) / (2 * h), atol=2e-6 * size
            )
        up, down = at(t + h, y), at(t - h, y)
        size += np.abs(found.mixed).max()
        assert found.slope == pytest.approx((up.value - down.value) / (2 * h), abs=1e-5 * size)
        np.testing.assert_allclose(
            found.mixed, (up.gradient - down.gradient) / (2 * h), atol=2e-6 * size
        )
        size += abs(found.bend)
        assert found.bend == pytest.approx((up.slope - down.slope) / (2 * h), abs=2e-6 * size)


def test_held_values_are_held():
    units = bl.lmer("y ~ x + (x + w | g)", random_data(5, centre=3.0))._problem.units
    rng = np.random.default_rng(1)
    for rows, held in [
        ([1], HeldSd(units, 0.8, 0, 1)),
        ([2, 0], HeldCorrelation(units, 0.8, 0, (2, 0))),
    ]:
        x = held.coordinates(rng.normal(size=(3, 3)))
        X = held.at(0.3, x).X.reshape(3, 3, order="F")
        half = units.y_scale * 0.8 * units.z_basis @ X
        Sigma = half @ half.T
        if len(rows) == 1:
            assert np.sqrt(Sigma[1, 1]) == pytest.approx(0.3)
        else:
            corr = Sigma[2, 0] / np.sqrt(Sigma[0, 0] * Sigma[2, 2])
            assert corr == pytest.approx(np.sin(0.3))


@cache
def dyestuff(reml):
    return bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"), reml=reml)


def sums_of_squares(data):
    means = data.groupby("Batch", observed=True)["Yield"].transform("mean")
    within = ((data["Yield"] - means) ** 2).sum()
    return within, ((means - means.mean()) ** 2).sum()


def test_balanced_one_way_layouts_have_a_closed_form():
    # f = a(m-1) log sigma^2 + SSW/sigma^2 + a log v + (SSB + am (mean - b)^2)/v with v = sigma^2 +
    # m tau^2, here larger than sigma^2 at all b
    a, m, z = 6, 5, Z95
    data = bl.datasets.load("Dyestuff")
    _, between = sums_of_squares(data)
    interval = dyestuff(False).conf_int(method="profile")
    half = np.sqrt(between / (a * m) * np.expm1(z**2 / a))
    mean = data["Yield"].mean()
    np.testing.assert_allclose(interval.loc["Intercept"], [mean - half, mean + half], rtol=1e-9)


@pytest.mark.parametrize("reml", [True, False])
def test_sigma_of_balanced_one_way_layouts(reml):
    # beta does not enter. v >= sigma^2 holds between the limits
    within, between = sums_of_squares(bl.datasets.load("Dyestuff"))
    a, m = 6, 5
    fit = dyestuff(reml)
    k = a - 1 if reml else a
    lower, upper = fit.conf_int(method="profile").loc["sigma"]
    estimate = within / (a * (m - 1))
    for limit in (lower, upper):
        s2, v_hat = limit**2, between / k
        v = max(v_hat, s2)
        rise = a * (m - 1) * (np.log(s2 / estimate) + estimate / s2 - 1)
        rise += k * (np.log(v / v_hat) + v_hat / v - 1)
        assert rise == pytest.approx(Z95**2, abs=1e-6)


@pytest.mark.parametrize("reml", [True, False])
def test_models_without_random_terms(reml):
    data = random_data(3)
    fit = bl.lmer("y ~ x + w", data, reml=reml)
    interval = fit.conf_int(0.9, method="profile")
    assert list(interval.index) == ["sigma", "Intercept", "x", "w"]
    n, z2 = len(data), chi2.ppf(0.9, 1)
    rss = fit.sigma**2 * (n - 3 if reml else n)
    half = fit.bse / fit.sigma * np.sqrt(rss * np.expm1(z2 / n))
    np.testing.assert_allclose(interval["lower"].iloc[1:], fit.params - half, rtol=1e-8)
    nu = n - 3 if reml else n
    for limit in interval.loc["sigma"]:
        ratio = rss / nu / limit**2
        assert nu * (ratio - 1 - np.log(ratio)) == pytest.approx(z2, abs=1e-6)


def test_limits_at_boundaries():
    flat = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2"))
    profile = flat.profile("sd_(Intercept)|Batch")["sd_(Intercept)|Batch"]
    assert profile.estimate == profile.value[0] == profile.zeta[0] == 0
    assert (np.diff(profile.zeta) > 0).all()
    lower, upper = flat.conf_int(method="profile").loc["sd_(Intercept)|Batch"]
    assert lower == 0
    assert upper > 1


def test_a_correlation_estimated_as_one_has_one_limit():
    data = random_data(8)
    b = np.random.default_rng(3).normal(size=7)[data["g"]]
    data["y"] = 3 * b + 2 * b * data["x"] + np.random.default_rng(4).normal(size=len(data))
    fit = bl.lmer("y ~ x + (x | g)", data)
    assert fit.varcorr["g"].corr[1, 0] == pytest.approx(1)
    one = fit.profile("cor_x.(Intercept)|g")["cor_x.(Intercept)|g"]
    assert (one.zeta <= 0).all()
    lower, upper = fit.conf_int(method="profile").loc["cor_x.(Intercept)|g"]
    assert upper == 1
    assert 0 < lower < 1


def test_correlations_of_effects_without_variance_have_no_interval():
    data = bl.datasets.load("sleepstudy")
    fit = bl.lmer("Reaction ~ 1 + Days + (Days | Subject)", data)
    factor = np.zeros((2, 2))  # not its optimum, but it is one of no variance
    objective = fit._problem.objective(True, 1)
    at = replace(fit._optimum, factor=factor, evaluation=objective(factor))
    other = bl.LinearMixedFit(fit._problem, at, True)
    assert np.isnan(other.varcorr["Subject"].corr[1, 0])
    with pytest.warns(bl.BlocklmmWarning, match="below the .* of the fit"):
        found = other.profile(["sd_Days|Subject", "cor_Days.(Intercept)|Subject"], level=0.95)
    expected = fit.conf_int(method="profile").loc[[one.name for one in found]]
    np.testing.assert_allclose(found.conf_int(), expected, rtol=1e-6)


def test_a_lower_minimum_is_taken_and_told():
    # what sets out from a saddle on the boundary stays there unless it looks
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    with pytest.warns(bl.ConvergenceWarning):
        poor = bl.LinearMixedModel(
            "Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy")
        ).fit(start=[1, 0, 1], options=bl.FitOptions(max_evaluations=1))
    with pytest.warns(bl.BlocklmmWarning, match="not the best one"):
        found = poor.profile("theta_", level=0.9)
    np.testing.assert_allclose(
        found.conf_int(0.9), fit.profile("theta_", level=0.9).conf_int(0.9), rtol=1e-6
    )


def test_a_profile_of_two_valleys():
    # little is known of sigma with three rows a group: all may be in the slopes, or none
    rng = np.random.default_rng(247)
    g, x = np.repeat(np.arange(8), 3), rng.normal(size=24) + 5
    y = rng.normal(size=8)[g] + rng.normal(size=8)[g] * (x - 5) + rng.normal(size=24)
    fit = bl.lmer("y ~ x + (x || g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    one = fit.profile("sigma", level=0.95)["sigma"]
    peak = one.zeta[one.value < 0.8].max()
    assert 1.6 < peak < Z95
    assert one.zeta[(one.value > 0.8) & (one.value < 1.1)].min() < 0.5
    assert one.limit(1, Z95) == one.value[-1] > 1.5
    assert one.limit(1, 1.5) < 0.8  # the first
    narrow = fit.profile("sigma", level=0.85).conf_int(0.85)["upper"]
    assert narrow.iloc[0] < 0.8


def test_profiles_give_intervals_of_lower_levels():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    profile = fit.profile()
    exact = fit.conf_int(0.9, method="profile")
    found = profile.conf_int(0.9)
    width = exact["upper"] - exact["lower"]
    assert ((found - exact).abs().max(axis=1) < 2e-4 * width).all()
    assert list(found.index) == [*fit.varcorr.labels(), *fit.params.index]
    frame = profile.to_frame()
    assert list(frame.columns) == ["parameter", "value", "zeta", "criterion"]
    assert (frame.groupby("parameter", sort=False)["zeta"].max() > 2.5).all()
    assert "sd_Days|Subject" in repr(profile)
    with pytest.raises(bl.OptionError, match=r"goes out to level 0\.99"):
        profile.conf_int(0.999)
    with pytest.raises(KeyError, match="Did you mean 'Days'"):
        profile["days"]


def test_units_and_origins_do_not_matter():
    data = random_data(4)
    fit = bl.lmer("y ~ x + (x | g)", data)
    interval = fit.conf_int(method="profile")
    moved = data.assign(y=1e4 * data["y"] + 3e7, x=1e-3 * data["x"])
    scaled = bl.lmer("y ~ x + (x | g)", moved).conf_int(method="profile")
    factor = np.array([1e4, 1e7, 1, 1e4, 1e4, 1e7])[:, None]
    shift = np.array([0, 0, 0, 0, 3e7, 0])[:, None]
    np.testing.assert_allclose(scaled, factor * interval.to_numpy() + shift, rtol=1e-5)
    # far from zero x's sd, sigma and slope are the same, and the intercept's is that at zero
    far = bl.lmer("y ~ x + (x | g)", data.assign(x=data["x"] + 1000)).conf_int(method="profile")
    same = ["sd_x|g", "sigma", "x"]
    np.testing.assert_allclose(far.loc[same], interval.loc[same], rtol=1e-5)


def test_choice_of_criterion():
    reml = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    ml = reml.refit_ml()
    mixed, all_ml = reml.conf_int(method="profile"), ml.conf_int(method="profile")
    np.testing.assert_allclose(reml.conf_int(method="profile", criterion="ML"), all_ml, rtol=1e-7)
    np.testing.assert_allclose(mixed.loc[["Intercept", "Days"]], all_ml.iloc[4:], rtol=1e-7)
    assert (mixed["upper"].iloc[:2] > all_ml["upper"].iloc[:2]).all()
    found = ml.profile("theta_", criterion="REML", level=0.95).conf_int()
    np.testing.assert_allclose(found, mixed.iloc[:4], rtol=1e-7)
    with pytest.raises(bl.InferenceError, match="'REML' profiles variance parameters alone"):
        reml.profile(criterion="REML")
    with pytest.raises(bl.InferenceError, match="'REML' profiles variance parameters alone"):
        reml.conf_int(method="profile", criterion="REML")


def test_fixed_effects_called_sigma_are_themselves():
    data = random_data(2).rename(columns={"x": "sigma"})
    fit = bl.lmer("y ~ sigma + (1 | g)", data)
    profile = fit.profile("sigma", level=0.9)
    assert [one.name for one in profile] == ["sigma", "sigma"]
    expected = [fit.sigma, fit.refit_ml().params["sigma"]]
    assert [one.estimate for one in profile] == pytest.approx(expected)


def test_misuse():
    fit = dyestuff(True)
    with pytest.raises(bl.DataError, match=r"'Sigma'. Did you mean 'sigma'"):
        fit.profile("Sigma")
    with pytest.raises(bl.OptionError, match="parameters is empty"):
        fit.profile([])
    with pytest.raises(bl.OptionError, match="criterion is 'REML', 'ML' or None, not 'ml'"):
        fit.profile(criterion="ml")
    for level in (0.05, 1.0, "0.9"):
        with pytest.raises(bl.OptionError, match="level is between 0 and 1"):
            fit.profile(level=level)
        with pytest.raises(bl.OptionError, match="level is between 0 and 1"):
            fit.conf_int(level, method="profile")
    with pytest.raises(
        bl.OptionError, match=r"method is 'wald' or 'profile'.* Did you mean 'profile'"
    ):
        fit.conf_int(method="profil")
    with pytest.raises(bl.OptionError, match=r"not 'boot'. Bootstrap .* fit.bootstrap\(.*conf_int"):
        fit.conf_int(method="boot")
    with pytest.raises(bl.OptionError, match="ddf, robust and cluster belong to method='wald'"):
        fit.conf_int(method="profile", ddf="satterthwaite")
    with pytest.raises(bl.OptionError, match="criterion belongs to method='profile'"):
        fit.conf_int(criterion="ML")
