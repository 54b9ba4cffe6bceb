"""Conditional AIC by dense matrices, by fits to changed responses, and in closed form."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .test_degrees_of_freedom import FORMULAS, covariance_matrices, design, made, parameters

SLEEP = bl.datasets.load("sleepstudy")


def divergence(fit):
    """tr(dy^/dy), by a fit to each changed response."""
    y = fit.fittedvalues + fit.resid
    step = 1e-4 * y.std()
    total = 0.0
    for i in range(len(y)):
        change = np.zeros(len(y))
        change[i] = step
        up, down = fit.refit(y + change), fit.refit(y - change)
        total += (up.fittedvalues[i] - down.fittedvalues[i]) / (2 * step)
    return total


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_by_dense_matrices_and_by_refits(formula, reml, weighted):
    data = made(3, n=40, weighted=weighted)
    fit = bl.lmer(formula, data, reml=reml, weights="w" if weighted else None)
    found = fit.caic()
    G = covariance_matrices(data, FORMULAS[formula])
    V = sum(tau * G_k for tau, G_k in zip(parameters(fit), G, strict=True))
    X, W = design(data, fit), 1 / data["w"].to_numpy()
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    hat = np.eye(len(data)) - fit.sigma**2 * W[:, None] * P
    np.testing.assert_allclose(hat @ data["y"], fit.fittedvalues, atol=1e-6)
    assert found.hat_trace == pytest.approx(np.trace(hat), rel=1e-6)
    density = -0.5 * (np.log(2 * np.pi * fit.sigma**2 * W) + fit.resid**2 / (fit.sigma**2 * W))
    assert found.llf == pytest.approx(density.sum(), rel=1e-8)
    assert found.effective_df == pytest.approx(divergence(fit), rel=1e-6)
    assert found.caic == pytest.approx(-2 * found.llf + 2 * found.effective_df + 2)
    assert found.caic_known_variances == pytest.approx(-2 * found.llf + 2 * found.hat_trace + 2)


@pytest.mark.parametrize("reml", [True, False])
def test_a_correlation_of_one_turns_but_stays(reml):
    rng = np.random.default_rng(4)
    g, t = np.repeat(np.arange(8), 6), np.tile(np.arange(6) - 1.0, 8)
    b = rng.normal(size=8)
    y = 3 + t + b[g] * (1 + 0.8 * t) + rng.normal(size=48)
    fit = bl.lmer("y ~ t + (t | g)", {"y": y, "t": t, "g": g}, reml=reml)
    assert abs(fit.varcorr["g"].corr[0, 1]) == pytest.approx(1)
    found = fit.caic()
    assert found.effective_df == pytest.approx(divergence(fit), rel=1e-5)
    assert found.effective_df > found.hat_trace


@pytest.mark.parametrize("reml", [True, False])
def test_a_variance_of_zero_has_no_part(reml):
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2"), reml=reml)
    assert fit.singular
    found = fit.caic()
    assert (found.hat_trace, found.effective_df) == pytest.approx((1, 1))
    data = made(3, n=40)
    data["y"] -= data.groupby("b")["y"].transform("mean")
    one = bl.lmer("y ~ x + (t | a)", data, reml=reml).caic()
    two = bl.lmer("y ~ x + (t | a) + (1 | b)", data, reml=reml)
    assert two.varcorr["b"].sd[0] == 0
    assert two.caic().effective_df == pytest.approx(one.effective_df, rel=1e-5)
    assert two.caic().caic == pytest.approx(one.caic, rel=1e-7)


def test_without_groups_it_is_the_aic():
    fit = bl.lmer("Reaction ~ Days", SLEEP, reml=False)
    found = fit.caic()
    assert (found.hat_trace, found.effective_df) == (2, 2)
    assert found.caic == pytest.approx(fit.aic)


def test_balanced_groups_in_closed_form():
    """1 + (a - 1) s + 2 (1 - s), with s = 1 - MSE / MSA that shrinks the means of the groups.

    The last part is that of s, as in Stein's estimate: sum (ybar_i - ybar) ds/dy is 2 MSE / MSA.
    """
    a, m = 7, 5
    g = np.repeat(np.arange(a), m)
    rng = np.random.default_rng(1)
    y = rng.normal(size=a)[g] + rng.normal(size=a * m)
    means = y.reshape(a, m).mean(axis=1)
    msa = m * means.var(ddof=1)
    mse = y.reshape(a, m).var(axis=1, ddof=1).mean()
    s = 1 - mse / msa
    fit = bl.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    found = fit.caic()
    assert found.hat_trace == pytest.approx(1 + (a - 1) * s)
    assert found.effective_df == pytest.approx(1 + (a - 1) * s + 2 * (1 - s), rel=1e-6)
    left = y - y.mean() - s * (means - y.mean())[g]
    llf = -0.5 * (a * m * np.log(2 * np.pi * mse) + left @ left / mse)
    assert found.llf == pytest.approx(llf)


def test_near_what_caic4_prints():
    """The tutorial of cAIC4 (Saefken et al. 2021): -824.51 and 31.30, sigma counted.

    31.30 comes with half of one term; without, the degrees of freedom are those of refits.
    """
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    found = fit.caic()
    assert found.llf == pytest.approx(-824.51, abs=0.005)
    assert found.effective_df + 1 == pytest.approx(31.30, abs=0.06)
    assert found.effective_df == pytest.approx(30.2534676, abs=1e-6)


def test_a_response_that_groups_nearly_explain():
    """A second pass takes the groups' fits from such a response; some have too few rows for one."""
    rng = np.random.default_rng(2)
    g = np.r_[np.repeat(np.arange(7), 5), 7, 8, 8]
    t = rng.normal(size=len(g))
    b = rng.normal(size=(9, 2))
    y = t + b[g, 0] + t * b[g, 1] + 1e-3 * rng.normal(size=len(g))
    fit = bl.lmer("y ~ t + (t | g)", {"y": y, "t": t, "g": g})
    found = fit.caic()
    one = np.ones(len(g))
    X, same = np.column_stack([one, t]), g[:, None] == g
    G = [same * M for M in (1.0, np.add.outer(t, t), np.outer(t, t))]
    T = fit.varcorr["g"].cov / fit.sigma**2
    inverse = np.linalg.inv(np.eye(len(g)) + same * (X @ T @ X.T))
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    assert found.hat_trace == pytest.approx(len(g) - np.trace(P), rel=1e-7)
    scaled = fit.resid / fit.sigma
    density = -len(g) * np.log(np.sqrt(2 * np.pi) * fit.sigma) - 0.5 * scaled @ scaled
    assert found.llf == pytest.approx(density, rel=1e-6)
    Py, r2, nu = P @ y, y @ P @ y, len(g) - 2
    u = [P @ G_k @ Py for G_k in G]
    PG = [P @ G_k for G_k in G]
    yu = np.array([y @ u_k for u_k in u])
    H = -np.array([[np.trace(a @ b) for b in PG] for a in PG]) - nu * np.outer(yu, yu) / r2**2
    H += 2 * nu / r2 * np.array([[u_k @ G_l @ Py for G_l in G] for u_k in u])
    dx = np.linalg.solve(H, 2 * nu / r2 * (np.array(u) - np.outer(yu, Py) / r2))
    expected = sum(dx_k @ u_k for dx_k, u_k in zip(dx, u, strict=True))
    assert found.effective_df - found.hat_trace == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("formula", ["y ~ x + (t | a)", "y ~ x + (t | a) + (1 | b)"])
def test_units_and_pickles_do_not_matter(formula):
    data = made(5)
    other = data.assign(y=1e3 * data["y"] + 1e5, x=1e-3 * data["x"] + 7, t=50 * data["t"] - 300)
    one, two = bl.lmer(formula, data), bl.lmer(formula, other)
    expected = one.caic()
    found = two.caic()
    assert found.effective_df == pytest.approx(expected.effective_df, rel=1e-5)
    assert found.llf == pytest.approx(expected.llf - len(data) * np.log(1e3), rel=1e-7)
    assert pickle.loads(pickle.dumps(one)).caic().caic == pytest.approx(expected.caic, rel=1e-12)


def test_nested_factors():
    pastes = bl.datasets.load("Pastes")
    names = {name.lower(): name for name in pastes.columns}
    formula = f"{names['strength']} ~ 1 + (1 | {names['batch']}/{names['cask']})"
    fit = bl.lmer(formula, pastes)
    assert fit.caic().effective_df == pytest.approx(divergence(fit), rel=1e-6)


def test_three_factors():
    data = made(7, n=50).assign(c=lambda d: (d["a"] + 2 * np.arange(50) // 25) % 4)
    fit = bl.lmer("y ~ x + (t | a) + (1 | b) + (0 + x | c)", data)
    assert fit.caic().effective_df == pytest.approx(divergence(fit), rel=1e-6)


def test_many_levels():
    rng = np.random.default_rng(1)
    n = 20_000
    a, b = rng.integers(0, 3_000, n), rng.integers(0, 40, n)
    y = rng.normal(size=3_000)[a] + rng.normal(size=40)[b] + rng.normal(size=n)
    fit = bl.lmer("y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame({"y": y, "a": a, "b": b}))
    found = fit.caic()
    weights = fit.shrinkage()
    assert 0 < found.effective_df - found.hat_trace < 2
    assert found.hat_trace == pytest.approx(sum(w["weight"].sum() for w in weights.values()), 0.02)
