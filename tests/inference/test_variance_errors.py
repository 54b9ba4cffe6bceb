"""Standard errors of variance components against closed forms and numerical Hessians."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .test_profile import Dense, dyestuff, random_data


def std_errors(fit):
    table = fit.tidy("random")
    assert list(table.columns) == ["effect", "group", "term", "estimate", "std.error"]
    assert (table["estimate"] == fit.varcorr.to_frame()["sdcor"]).all()
    return table["std.error"].to_numpy()


@pytest.mark.parametrize("reml", [True, False])
def test_balanced_one_way_layouts_have_a_closed_form(reml):
    # Searle, Casella & McCulloch (1992), sec. 4.5 and 4.7: mean squares are independent
    a, m, fit = 6, 5, dyestuff(reml)
    tau, sigma = fit.varcorr["Batch"].sd[0], fit.sigma
    between = sigma**2 + m * tau**2
    of_sigma2 = 2 * sigma**4 / (a * (m - 1))
    of_tau2 = (2 * between**2 / (a - 1 if reml else a) + of_sigma2) / m**2
    expected = [np.sqrt(of_tau2) / (2 * tau), np.sqrt(of_sigma2) / (2 * sigma)]
    np.testing.assert_allclose(std_errors(fit), expected, rtol=1e-7)


def hessian(f, at, h=1e-4):
    k = len(at)
    out, steps = np.empty((k, k)), h * np.diag(np.maximum(np.abs(at), 0.1))
    for i in range(k):
        for j in range(k):
            a, b = steps[i], steps[j]
            total = f(at + a + b) - f(at + a - b) - f(at - a + b) + f(at - a - b)
            out[i, j] = total / (4 * a[i] * b[j])
    return out


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("crossed", [True, False])
def test_numerical_hessians(reml, crossed):
    data = random_data(2, centre=2.0)
    formula = "y ~ x + (1 | g) + (1 | h)" if crossed else "y ~ x + (x | g)"
    fit = bl.lmer(formula, data, reml=reml)
    assert not fit.singular
    labels, frame = fit.varcorr.labels(), fit.varcorr.to_frame()
    H = hessian(Dense(data, reml, crossed), frame["sdcor"].to_numpy())
    expected = np.sqrt(np.diag(2 * np.linalg.inv(H)))
    np.testing.assert_allclose(std_errors(fit), expected, rtol=2e-4, err_msg=str(labels))


def test_units_do_not_matter():
    data = random_data(4)
    found = std_errors(bl.lmer("y ~ x + (x | g)", data))
    moved = data.assign(y=1e4 * data["y"] + 3e7, x=1e-3 * data["x"])
    scaled = std_errors(bl.lmer("y ~ x + (x | g)", moved))
    np.testing.assert_allclose(scaled, found * [1e4, 1e7, 1, 1e4], rtol=1e-5)


def test_boundaries_have_none():
    flat = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2"))
    of_sd, of_sigma = std_errors(flat)
    assert np.isnan(of_sd)
    assert of_sigma == pytest.approx(flat.sigma / np.sqrt(2 * 29))
    b = np.random.default_rng(3).normal(size=20)
    g, x = np.repeat(np.arange(20), 6), np.random.default_rng(5).normal(size=120)
    y = 3 * b[g] + 2 * b[g] * x + np.random.default_rng(4).normal(size=120)
    line = bl.lmer("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    assert line.singular
    np.testing.assert_array_equal(np.isnan(std_errors(line)), [False, False, True, False])


def test_without_random_terms():
    fit = bl.lmer("Reaction ~ Days", bl.datasets.load("sleepstudy"))
    np.testing.assert_allclose(std_errors(fit), [fit.sigma / np.sqrt(2 * 178)])
