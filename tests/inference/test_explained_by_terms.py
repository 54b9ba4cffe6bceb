"""R squared by term: against R's numbers, linear models, and what is refused."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pytest

from tests.bad_data import says

SLEEP = bl.datasets.load("sleepstudy")
CAKE = bl.datasets.load("cake")
COLUMNS = ["num_df", "den_df", "F", "r2", "lower", "upper"]


def test_kenward_roger_as_r2glmm():
    """pbkrtest 0.5.2's KRmodcomp(fit, L)$stat and qbeta(, ndf / 2, ddf / 2, ndf F), in R 4.2."""
    fit = bl.lmer("Reaction ~ Days + I(Days^2) + (Days | Subject)", SLEEP)
    table = fit.r2_by_term(ddf="kenward-roger")
    assert list(table.index) == ["Model", "Days", "I(Days^2)"]
    assert list(table.columns) == COLUMNS
    expected = [
        [2, 39.817042442830, 23.364518080491, 0.539932448874, 0.359468529692, 0.708796971075],
        [1, 114.431234286, 6.95511580877, 0.0572973468873, 0.00407802371277, 0.161735966772],
        [1, 143, 1.65575226017, 0.0114461556786, 3.60378680684e-05, 0.0703266391965],
    ]
    np.testing.assert_allclose(table, expected, rtol=2e-5)
    fit = bl.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", CAKE)
    model = fit.r2_by_term(ddf="kenward-roger").loc["Model"]
    expected = [
        5,
        133.509981652837,
        18.766609283139,
        0.412737734748,
        0.310569968980,
        0.533143077159,
    ]
    np.testing.assert_allclose(model, expected, rtol=1e-5)


def test_terms_are_those_of_anova():
    fit = bl.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", CAKE)
    for type in (1, 2, 3):  # noqa: A001
        table = fit.r2_by_term(type=type).iloc[1:]
        tests = bl.anova(fit, type=type)
        assert list(table.index) == list(tests.index)
        np.testing.assert_allclose(
            table[["num_df", "den_df", "F"]], tests[["num_df", "den_df", "F"]]
        )
        ratio = tests["num_df"] * tests["F"] / tests["den_df"]
        np.testing.assert_allclose(table["r2"], ratio / (1 + ratio))


def test_a_linear_model_has_its_r_squared():
    data = SLEEP.assign(late=SLEEP["Days"] > 5)
    fit = bl.lmer("Reaction ~ Days + late", data)
    table = fit.r2_by_term(ddf="residual")
    left, total = fit.resid @ fit.resid, SLEEP["Reaction"].var() * (len(SLEEP) - 1)
    assert table.loc["Model", "r2"] == pytest.approx(1 - left / total)
    other = bl.lmer("Reaction ~ Days", data).resid
    assert table.loc["late", "r2"] == pytest.approx(1 - left / (other @ other))
    assert (table["lower"] < table["r2"]).all()
    assert (table["r2"] < table["upper"]).all()
    # the same without an intercept that is one column of X
    again = bl.lmer("Reaction ~ 0 + late + Days", data).r2_by_term(ddf="residual")
    assert again.loc["Model", "r2"] == pytest.approx(table.loc["Model", "r2"])


def test_without_a_constant_zero_is_the_comparison():
    fit = bl.lmer("Reaction ~ 0 + Days", SLEEP)
    y = SLEEP["Reaction"].to_numpy()
    r2 = 1 - fit.resid @ fit.resid / (y @ y)
    assert fit.r2_by_term(ddf="residual").loc["Model", "r2"] == pytest.approx(r2)


def test_units_do_not_matter():
    formula = "Reaction ~ Days + I(Days^2) + (Days | Subject)"
    other = SLEEP.assign(Days=1e4 * SLEEP["Days"])
    np.testing.assert_allclose(
        bl.lmer(formula, SLEEP).r2_by_term(ddf="kenward-roger"),
        bl.lmer(formula, other).r2_by_term(ddf="kenward-roger"),
        rtol=1e-5,
    )


def test_nothing_to_explain():
    table = bl.lmer("Reaction ~ 1 + (1 | Subject)", SLEEP).r2_by_term()
    assert table["num_df"].tolist() == [0]
    assert np.isnan(table.loc["Model", "r2"])


def test_misuse():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    with says(bl.InferenceError, "'kenward-roger'"):
        fit.r2_by_term(ddf="asymptotic")
    with says(bl.InferenceError, "REML"):
        fit.refit_ml().r2_by_term(ddf="kenward-roger")
    with says(ValueError, "type"):
        fit.r2_by_term(type=4)
    with says(ValueError, "level"):
        fit.r2_by_term(level=95)
