"""Residuals against fitted values, and quantile plots with their band."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from scipy.stats import beta, norm

from tests.bad_data import says

from .fits import SLEEP, drawn, many, own_axes, penicillin, sleep, title, unbalanced, without_rows


@pytest.mark.parametrize("kind", ["conditional", "pearson", "standardized"])
def test_residuals_are_drawn_against_fitted_values(kind):
    fit = sleep()
    ax = bl.plot.residuals(fit, kind, ax=own_axes())
    points = ax.lines[0].get_xydata()
    np.testing.assert_array_equal(points, np.column_stack([fit.fittedvalues, fit.residuals(kind)]))
    assert ax.get_ylabel() == f"{kind} residual"


def test_marginal_residuals_are_drawn_against_the_population():
    data = SLEEP.assign(z=np.linspace(-30, 30, 180))
    fit = bl.lmer("Reaction ~ Days + offset(z) + (1 | Subject)", data)
    points = bl.plot.residuals(fit, "marginal", ax=own_axes()).lines[0].get_xydata()
    np.testing.assert_allclose(points.sum(axis=1), data["Reaction"], rtol=1e-12)
    mean = fit.params["Intercept"] + fit.params["Days"] * data["Days"] + data["z"]
    np.testing.assert_allclose(points[:, 0], mean, rtol=1e-9)


def test_the_trend_is_median_and_quartiles_in_bins():
    fit = sleep()
    ax = bl.plot.residuals(fit, ax=own_axes())
    bins = pd.qcut(fit.fittedvalues, 6)
    parts = pd.DataFrame({"x": fit.fittedvalues, "y": fit.resid}).groupby(bins, observed=True)
    np.testing.assert_allclose(drawn(ax, "median"), parts.median(), rtol=1e-12)
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    corners = band.get_paths()[0].vertices
    for share in (0.25, 0.75):
        for x, y in zip(parts["x"].median(), parts["y"].quantile(share), strict=True):
            assert np.isclose(corners, [x, y], rtol=1e-12).all(axis=1).any()

    assert "6 bins of 30 rows or more, joined at the middles" in title(ax).replace("\n", " ")


def test_the_trend_of_many_rows_goes_nearly_to_the_ends():
    fit = many()
    found = drawn(bl.plot.residuals(fit, ax=own_axes()), "median")[:, 0]
    shares = np.searchsorted(np.sort(fit.fittedvalues), found) / fit.nobs
    assert 0 < shares[0] < 0.001
    assert 0.999 < shares[-1] < 1
    assert np.diff(shares).max() == pytest.approx(0.05, abs=0.001)


def test_no_trend_along_too_few_different_values():
    fit = bl.lmer("Reaction ~ 1 + (1 | Subject)", SLEEP[SLEEP["Subject"].isin(["308", "309"])])
    assert len(bl.plot.residuals(fit, ax=own_axes()).lines) == 2  # points, zero


def test_many_rows_are_counted():
    fit = many()
    ax = bl.plot.residuals(fit, ax=own_axes())
    counts = ax.collections[0].get_array()
    assert counts.sum() == fit.nobs == 150_000
    assert "150,000 rows, counted" in title(ax).replace("\n", " ")
    assert len(ax.figure.axes) == 1  # axes that are given get no scale beside them
    assert len(bl.plot.residuals(fit).figure.axes) == 2


def test_rows_without_a_residual_are_said():
    data = SLEEP.assign(only=(np.arange(180) == 3).astype(float))
    fit = bl.lmer("Reaction ~ Days + only + (1 | Subject)", data)
    ax = bl.plot.residuals(fit, "standardized", ax=own_axes())
    assert len(ax.lines[0].get_xdata()) == 179
    assert "1 rows have none" in title(ax)
    assert "1 rows have none" in title(bl.plot.qq_residuals(fit, ax=own_axes()))


# -- quantiles -------------------------------------------------------------------------------


def order_statistics(ax):
    """Abscissae and ordinates of all points, in order."""
    points = np.concatenate(
        [line.get_xydata() for line in ax.lines if "side (" in str(line.get_label())]
    )
    return points[points[:, 0].argsort()].T


def check_band(ax, level, n):
    """The band at each abscissa, against SciPy's beta distribution; who is outside of it."""
    x, y = order_statistics(ax)
    ranks = np.arange(1, n + 1)
    of_beta = beta(ranks, n + 1 - ranks)
    np.testing.assert_allclose(x, norm.ppf(of_beta.median()), atol=1e-9)
    low, high = (norm.ppf(of_beta.ppf(share)) for share in ((1 - level) / 2, (1 + level) / 2))
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    corners = band.get_paths()[0].vertices
    for limit in (low, high):
        for point in zip(x, limit, strict=True):
            assert np.isclose(corners, point, atol=1e-9).all(axis=1).any()
    outside = (y < low) | (y > high)
    if outside.any():
        np.testing.assert_allclose(drawn(ax, "outside (")[:, 1], y[outside], atol=1e-12)
    return y


@pytest.mark.parametrize("kind", ["standardized", "standardized_marginal", "pearson"])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_residuals_in_order(kind, level):
    fit = sleep()
    ax = bl.plot.qq_residuals(fit, kind, level, ax=own_axes())
    values = fit.residuals(kind) / (fit.sigma if kind == "pearson" else 1)
    np.testing.assert_allclose(check_band(ax, level, 180), np.sort(values), rtol=1e-12)
    assert f"pointwise {100 * level:g}% band" in title(ax)


@pytest.mark.parametrize(("make", "factor"), [(sleep, "Subject"), (penicillin, "plate")])
def test_random_effects_over_their_standard_deviations(make, factor):
    fit = make()
    for term in fit.ranef()[factor]:
        ax = bl.plot.qq_ranef(fit, factor, term, ax=own_axes())
        variance = fit.varcorr[factor].cov[fit.varcorr[factor].names.index(term)]
        variance = variance[fit.varcorr[factor].names.index(term)]
        error = fit.ranef_sd(fixed_uncertainty=True)[factor][term]
        values = fit.ranef()[factor][term] / np.sqrt(variance - error**2)
        found = check_band(ax, 0.95, len(values))
        np.testing.assert_allclose(found, np.sort(values), rtol=1e-9)


def test_the_standard_deviation_of_a_blup_is_that_of_its_distribution():
    """Var(b^) by brute force: the BLUP is a matrix times y, and y has covariance V."""
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"))
    Z = np.kron(np.eye(6), np.ones((5, 1)))
    variance = fit.varcorr["Batch"].cov[0, 0]
    V = variance * Z @ Z.T + fit.sigma**2 * np.eye(30)
    W, X = np.linalg.inv(V), np.ones((30, 1))
    P = W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    sd = np.sqrt(np.diag(variance**2 * Z.T @ P @ Z))
    ax = bl.plot.qq_ranef(fit, ax=own_axes())
    expected = np.sort(fit.ranef()["Batch"]["(Intercept)"] / sd)
    np.testing.assert_allclose(order_statistics(ax)[1], expected, rtol=1e-6)


def test_terms_apart_on_one_factor_have_their_own_variance():
    fit = bl.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
    ax = bl.plot.qq_ranef(fit, term="Days", ax=own_axes())
    variance = fit.varcorr["Subject.1"].cov[0, 0]
    error = fit.ranef_sd(fixed_uncertainty=True)["Subject"]["Days"]
    values = fit.ranef()["Subject"]["Days"] / np.sqrt(variance - error**2)
    np.testing.assert_allclose(order_statistics(ax)[1], np.sort(values), rtol=1e-9)


def test_of_many_values_some_order_statistics_are_drawn():
    fit = many()
    x, y = order_statistics(bl.plot.qq_residuals(fit, ax=own_axes()))
    values = np.sort(fit.residuals("standardized"))
    assert 1000 < len(x) <= 2000
    assert np.isin(y, values).all()
    ranks = np.searchsorted(values, y) + 1
    np.testing.assert_allclose(
        x, norm.ppf(beta(ranks, len(values) + 1 - ranks).median()), atol=1e-8
    )
    assert set(range(1, 20)) <= set(ranks)
    assert {len(values) - k for k in range(20)} <= set(ranks)
    assert np.diff(x)[20:-20].max() < 0.02
    ax = bl.plot.qq_ranef(fit, ax=own_axes())
    assert f"{len(order_statistics(ax)[0]):,} of 50,000 values" in title(ax).replace("\n", " ")


def test_groups_of_different_sizes_are_alike():
    """Data drawn from the model are within the band about as often as they should be."""
    ax = bl.plot.qq_ranef(unbalanced(), term="t", ax=own_axes())
    _, y = order_statistics(ax)
    assert len(y) == 300
    assert np.std(y) == pytest.approx(1, abs=0.1)


def test_a_variance_of_zero_has_no_quantiles():
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2"))
    assert fit.singular
    with says(bl.InferenceError, "'(Intercept)'", "'Batch'", "zero"):
        bl.plot.qq_ranef(fit)


def test_options():
    with says(bl.OptionError, "kind", "'conditional'"):
        bl.plot.residuals(sleep(), "raw")
    with says(bl.OptionError, "kind", "'standardized'"):
        bl.plot.qq_residuals(sleep(), "conditional")
    for plot in (bl.plot.qq_residuals, bl.plot.qq_ranef):
        with says(bl.OptionError, "between 0 and 1"):
            plot(sleep(), level=5)


def test_rows_are_needed():
    for plot in (bl.plot.residuals, bl.plot.qq_residuals):
        with says(bl.DataError, "without its rows"):
            plot(without_rows())
    assert len(order_statistics(bl.plot.qq_ranef(without_rows(), ax=own_axes()))[0]) == 18
    chunks = bl.lmer("Reaction ~ Days + (1 | Subject)", [SLEEP[:90], SLEEP[90:]])
    whole = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    found, expected = (
        bl.plot.residuals(fit, ax=own_axes()).lines[0].get_xydata() for fit in (chunks, whole)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    pearson = bl.plot.qq_residuals(chunks, "pearson", ax=own_axes())
    assert len(order_statistics(pearson)[0]) == 180
