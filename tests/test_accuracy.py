"""Digits that survive shifts, scales and near-exact fits, against exact results."""

from __future__ import annotations

from fractions import Fraction

import blocklmm as bl
import mpmath as mp
import numpy as np
import pytest


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 10)
    # multiples of 2^-20: adding 1e9 or 1e6 to them rounds nothing
    t = np.round(rng.normal(size=2000) * 2**20) / 2**20
    effects = rng.normal(size=(200, 2)) * [1.3, 0.7]
    y = 1 + 0.5 * t + effects[groups, 0] + effects[groups, 1] * t + rng.normal(size=2000)
    return {"y": np.round(y * 2**20) / 2**20, "t": t, "g": groups}


def figures(fit):
    """Variance components that a shift of t leaves alone, the slope and its standard error."""
    frame = fit.varcorr.to_frame()
    random_slope = frame.query("name1 == 't' and name2.isna()")["vcov"]
    intercept = frame.query("name1 == '(Intercept)' and name2.isna()")["vcov"]
    components = random_slope if len(random_slope) else intercept
    return np.array([components.iloc[0], fit.sigma**2, fit.params["t"] ** 2, fit.bse["t"] ** 2])


@pytest.mark.parametrize("random", ["(1 | g)", "(t | g)"])
@pytest.mark.parametrize(
    ("shift_y", "shift_t", "scale"),
    [
        (1e9, 0, 1),
        (0, 1e6, 1),
        (1e9, 1e6, 1),
        (0, 0, 1e12),
        (0, 0, 1e-12),
        (-(2.0**32), 2.0**30, 1),
    ],
)
def test_shifts_and_scales_lose_no_digits(rows, random, shift_y, shift_t, scale):
    plain = bl.lmer(f"y ~ t + {random}", rows)
    moved = {**rows, "y": rows["y"] * scale + shift_y, "t": rows["t"] + shift_t}
    fit = bl.lmer(f"y ~ t + {random}", moved)
    assert fit.converged
    np.testing.assert_allclose(figures(fit) / scale**2, figures(plain), rtol=1e-10)
    intercept = plain.params["Intercept"] * scale + shift_y - plain.params["t"] * shift_t
    assert fit.params["Intercept"] == pytest.approx(intercept, rel=1e-12)


def test_random_slope_covariance_moves_with_the_origin(rows):
    plain = bl.lmer("y ~ t + (t | g)", rows).varcorr["g"].cov
    fit = bl.lmer("y ~ t + (t | g)", {**rows, "t": rows["t"] + 1e6})
    to_new_origin = np.array([[1, -1e6], [0, 1]])
    expected = to_new_origin @ plain @ to_new_origin.T
    np.testing.assert_allclose(fit.varcorr["g"].cov, expected, rtol=1e-9)


def test_nist_like_layout_against_exact_arithmetic():
    """As NIST's SmLs09: 9 x 2001 values of 1e12 + 0.2 … 0.6, of which doubles hold four digits."""
    n_groups, size = 9, 2001
    level = np.repeat([0.4, 0.3, 0.5, 0.4, 0.3, 0.5, 0.2, 0.4, 0.6], size)
    y = 1e12 + level + np.where(np.arange(n_groups * size) % 2, 0.1, -0.1)
    groups = np.repeat(np.arange(n_groups), size)
    exact = [Fraction(float(v)) for v in y]
    means = [sum(exact[i * size : (i + 1) * size]) / size for i in range(n_groups)]
    grand = sum(means) / n_groups
    between = size * sum((m - grand) ** 2 for m in means) / (n_groups - 1)
    within = sum((v - means[i // size]) ** 2 for i, v in enumerate(exact)) / (n_groups * (size - 1))
    expected = float((between - within) / size), float(within)

    two_pass_means = y.reshape(n_groups, size).mean(axis=1)
    two_pass_within = ((y - two_pass_means[groups]) ** 2).sum() / (n_groups * (size - 1))
    two_pass_error = abs(two_pass_within / expected[1] - 1)

    order = np.random.default_rng(1).permutation(len(y))
    for rows in (slice(None), order):
        fit = bl.lmer("y ~ 1 + (1 | g)", {"y": y[rows], "g": groups[rows]})
        tau2, sigma2 = fit.varcorr.to_frame()["vcov"]
        assert sigma2 == pytest.approx(expected[1], rel=1e-12)
        assert tau2 == pytest.approx(expected[0], rel=1e-10)
        assert abs(sigma2 / expected[1] - 1) <= two_pass_error
        assert fit.params["Intercept"] == float(grand)


@pytest.mark.parametrize("slope", [2.0**10, 2.0**20, 2.0**30])
def test_fixed_effects_that_explain_almost_all(rows, slope):
    """A residual of 1e-18 of the response's variance keeps its digits by a second pass."""
    t = np.round(rows["t"] * 64) / 64
    plain = bl.lmer("y ~ t + (1 | g)", {**rows, "t": t})
    fit = bl.lmer("y ~ t + (1 | g)", {**rows, "t": t, "y": rows["y"] + slope * t})
    rounding = 1e-17 * slope  # of y itself
    np.testing.assert_allclose(fit.sigma, plain.sigma, rtol=1e-9 + rounding)
    np.testing.assert_allclose(fit.bse, plain.bse, rtol=1e-9 + rounding)
    assert fit.objective == pytest.approx(plain.objective, abs=1e-8 + 2000 * rounding)
    assert fit.params["t"] - slope == pytest.approx(plain.params["t"], abs=1e-15 * slope)


@pytest.mark.parametrize("ratio", [1e3, 1e5, 1e7])
def test_groups_that_differ_far_more_than_their_rows(ratio):
    """With balanced groups and a large variance ratio sigma^2 is the mean square within."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(50), 8)
    t = rng.normal(size=400)
    y = ratio * rng.normal(size=50)[groups] + rng.normal(size=400)
    fit = bl.lmer("y ~ 1 + (1 | g)", {"y": y, "g": groups})
    exact = [Fraction(float(v)) for v in y]
    within = Fraction(0)
    for i in range(50):
        part = exact[8 * i : 8 * i + 8]
        mean = sum(part) / 8
        within += sum((v - mean) ** 2 for v in part)
    assert fit.sigma**2 == pytest.approx(float(within / (50 * 7)), rel=1e-10)
    assert fit.converged
    assert np.isfinite(bl.lmer("y ~ t + (1 | g)", {"y": y, "t": t, "g": groups}).bse).all()


@pytest.mark.parametrize("reml", [True, False])
def test_criterion_in_fifty_digits(reml):
    """The criterion of an unbalanced random slope at a given theta, by mpmath."""
    rng = np.random.default_rng(8)
    groups = np.sort(rng.integers(0, 5, 24))
    t = rng.normal(size=24).round(3)
    y = (2 + t + rng.normal(size=5)[groups] + rng.normal(size=24)).round(3)
    theta = [0.8, -0.3, 0.6]
    with mp.workdps(50):
        lam = mp.matrix([[theta[0], 0], [theta[1], theta[2]]])
        T = lam * lam.T
        V = mp.eye(24)
        z = [mp.matrix([1, mp.mpf(float(v))]) for v in t]
        for a in range(24):
            for b in range(24):
                if groups[a] == groups[b]:
                    V[a, b] += (z[a].T * T * z[b])[0]
        X = mp.matrix([[1, mp.mpf(float(v))] for v in t])
        inverse = V**-1
        S = X.T * inverse * X
        yy = mp.matrix([mp.mpf(float(v)) for v in y])
        beta = S**-1 * (X.T * inverse * yy)
        r = yy - X * beta
        r2 = (r.T * inverse * r)[0]
        nu = 22 if reml else 24
        f = mp.log(mp.det(V)) + nu * (1 + mp.log(2 * mp.pi * r2 / nu))
        if reml:
            f += mp.log(mp.det(S))
        expected = float(f)
    model = bl.LinearMixedModel("y ~ t + (t | g)", {"y": y, "t": t, "g": groups})
    assert model.objective(theta, reml=reml) == pytest.approx(expected, rel=4e-15)
