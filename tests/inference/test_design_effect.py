"""Design effects in closed form and from the covariance matrix of all rows."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .test_degrees_of_freedom import FORMULAS, covariance_matrices, design, made, parameters

SLEEP = bl.datasets.load("sleepstudy")


def test_balanced_groups():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    found, rho, m = fit.design_effect(), fit.icc().adjusted, 10
    assert found.design_effect == pytest.approx(1 + (m - 1) * rho)
    assert found.effective_n == pytest.approx(180 / (1 + (m - 1) * rho))
    subject = found.by_group.loc["Subject"]
    assert subject["size"] == m
    assert subject["icc"] == pytest.approx(rho)
    assert subject["effective_n"] == pytest.approx(found.effective_n)
    # a covariate within the groups is compared free of what groups differ by
    assert found.by_coefficient.loc["Days", "design_effect"] == pytest.approx(1 - rho)
    mean = bl.lmer("Reaction ~ 1 + (1 | Subject)", SLEEP).design_effect()
    effects = mean.by_coefficient["design_effect"]
    assert effects.tolist() == pytest.approx([mean.design_effect])


def test_the_mean_of_crossed_and_unbalanced_groups():
    data = made(1)
    fit = bl.lmer("y ~ x + (1 | a) + (1 | b)", data)
    G = covariance_matrices(data, [("a", ["1"], True), ("b", ["1"], True)])
    V = sum(tau * G_k for tau, G_k in zip(parameters(fit), G, strict=True))
    found = fit.design_effect()
    assert found.design_effect == pytest.approx(V.sum() / np.trace(V))
    sizes = data["a"].value_counts()
    assert found.by_group.loc["a", "size"] == pytest.approx((sizes**2).sum() / len(data))


@pytest.mark.parametrize("formula", FORMULAS)
def test_coefficients_by_dense_matrices(formula):
    data = made(2)
    data["x"] += 20
    fit = bl.lmer(formula, data)
    G = covariance_matrices(data, FORMULAS[formula])
    V = sum(tau * G_k for tau, G_k in zip(parameters(fit), G, strict=True))
    X = design(data, fit)
    cov = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    independent = np.trace(V) / len(data) * np.linalg.inv(X.T @ X)
    found = fit.design_effect().by_coefficient
    np.testing.assert_allclose(
        found["design_effect"], np.diag(cov) / np.diag(independent), rtol=1e-6
    )
    np.testing.assert_allclose(found["effective_n"], len(data) / found["design_effect"])


def test_random_slopes_have_no_single_correlation():
    found = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).design_effect()
    assert np.isnan(found.design_effect)
    assert found.by_group.loc["Subject", "size"] == 10
    assert found.by_group.loc["Subject"].isna().sum() == 3
    assert found.by_coefficient.notna().all(axis=None)
    assert "with random slopes" in repr(found)


def test_independent_rows_are_worth_themselves():
    found = bl.lmer("Reaction ~ Days", SLEEP).design_effect()
    assert (found.design_effect, found.effective_n) == (1, 180)
    assert len(found.by_group) == 0
    np.testing.assert_allclose(found.by_coefficient["design_effect"], 1)
    zero = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff2")).design_effect()
    assert zero.design_effect == pytest.approx(1)


def test_dropped_columns():
    data = SLEEP.assign(twice=2 * SLEEP["Days"] + 1)
    fit = bl.lmer("Reaction ~ Days + twice + (1 | Subject)", data)
    expected = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).design_effect()
    pd.testing.assert_frame_equal(fit.design_effect().by_coefficient, expected.by_coefficient)


def test_what_is_shown():
    found = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).design_effect()
    shown = repr(found)
    for part in ("Subject", "Days", "effective n 28.554", "n = 180"):
        assert part in shown
    assert "<table" in found._repr_html_()
