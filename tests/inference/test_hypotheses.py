"""Hypotheses of types I, II and III, and F tests, against lmerTest and against each other."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from tests.bad_data import says
from tests.reference import reader
from tests.reference.test_cases import fitted as fitted_reference

from .reference_fits import CASES, case, column, fitted

TYPES = (1, 2, 3)
TYPE_3 = [
    name
    for name in reader.names("cases")
    if "anova_type3_satterthwaite" in reader.read("cases", name)
]


def our_name(term):
    return term.replace("factor(", "C(")


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("name", CASES)
def test_hypotheses_are_those_of_lmertest(name, type_):
    fit = fitted(name)
    found = fit.hypotheses(type_)
    expected = case(name)[f"type{type_}"]["hypotheses"]
    assert set(found) == {our_name(term) for term in expected}
    for term, rows in expected.items():
        L = found[our_name(term)]
        assert list(L.columns) == list(fit.params.index)
        reference = np.array(rows, dtype=float).reshape(-1, len(fit.params))
        assert L.shape == reference.shape
        # lmerTest rounds to seven digits of the largest entry on the way
        np.testing.assert_allclose(L, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("name", CASES)
def test_tables_are_those_of_lmertest(name, type_):
    table = bl.anova(fitted(name), type=type_, ddf="asymptotic")
    expected = case(name)[f"type{type_}"]["tests"]
    assert set(table.index) == {our_name(row["term"]) for row in expected}
    table = table.loc[[our_name(row["term"]) for row in expected]]
    np.testing.assert_array_equal(table["num_df"], np.nan_to_num(column(expected, "num_df")))
    for key in ("F", "sum_sq", "mean_sq"):
        reference = column(expected, key)
        # F of nothing but rounding is compared as such
        np.testing.assert_allclose(table[key], reference, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", TYPE_3)
def test_type_3_of_many_models(name):
    table = bl.anova(fitted_reference(name), ddf="asymptotic")
    expected = reader.read("cases", name)["anova_type3_satterthwaite"]
    assert list(table.index) == [row["term"] for row in expected]
    np.testing.assert_array_equal(table["num_df"], column(expected, "num_df"))
    np.testing.assert_allclose(table["F"], column(expected, "F"), rtol=1e-5)
    np.testing.assert_allclose(table["sum_sq"], column(expected, "sum_sq"), rtol=1e-5)


CAKE = bl.datasets.load("cake")
UNBALANCED = CAKE.drop(index=CAKE.index[::7])


@pytest.mark.parametrize("coding", ["sum", "helmert", "diff", "poly", "sas"])
@pytest.mark.parametrize(
    "fixed", ["recipe * temperature", "recipe * temp", "temperature + recipe:temperature"]
)
def test_codings_leave_type_3_alone(fixed, coding):
    formula = f"angle ~ {fixed} + (1 | recipe:replicate)"
    plain = bl.anova(bl.lmer(formula, UNBALANCED), ddf="asymptotic")
    coded = bl.lmer(formula, UNBALANCED, contrasts={"recipe": coding, "temperature": coding})
    pd.testing.assert_frame_equal(bl.anova(coded, ddf="asymptotic"), plain, rtol=1e-6)


def test_types_agree_in_balanced_data():
    fit = bl.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", CAKE)
    tables = [bl.anova(fit, type=t, ddf="asymptotic") for t in TYPES]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other, rtol=1e-9)


def test_balanced_split_plot_has_textbook_ratios():
    data = bl.datasets.load("Oats")
    fit = bl.lmer("yield ~ Variety * C(nitro) + (1 | Block/Variety)", data)
    table = bl.anova(fit, ddf="asymptotic")
    y = data["yield"]
    mean = y.mean()

    def sum_sq(*by):
        means = data.groupby(list(by), observed=True)["yield"].transform("mean")
        return float(((means - mean) ** 2).sum())

    nitro, variety, block = sum_sq("nitro"), sum_sq("Variety"), sum_sq("Block")
    plots = sum_sq("Block", "Variety") - block - variety  # the error of whole plots, 10 df
    cells = sum_sq("Variety", "nitro") - variety - nitro
    total = float(((y - mean) ** 2).sum())
    within = total - block - variety - plots - nitro - cells  # the error of split plots, 45 df
    expected = [variety / 2 / (plots / 10), nitro / 3 / (within / 45), cells / 6 / (within / 45)]
    np.testing.assert_allclose(table["F"], expected, rtol=1e-6)


def test_far_covariates_cost_no_digits():
    rng = np.random.default_rng(4)
    n = 400
    data = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "g": np.arange(n) % 20})
    data["a"] = np.array(["p", "q", "r"])[rng.integers(0, 3, n)]
    data["y"] = data["x"] + rng.normal(size=n) + rng.normal(size=20)[data["g"]]
    far = data.assign(x=1e3 * data["x"] + 1e7, z=1e-14 * (data["z"] - 3))
    for fixed in ("x + a + z", "a * z + x", "a * (x + z)"):
        for type_ in TYPES:
            near, moved = (
                bl.anova(bl.lmer(f"y ~ {fixed} + (1 | g)", d), type=type_, ddf="asymptotic")["F"]
                for d in (data, far)
            )
            if "*" in fixed and type_ > 1:  # a is tested where the covariate is zero
                near, moved = near.drop("a"), moved.drop("a")
            np.testing.assert_allclose(moved, near, rtol=1e-5)


def test_terms_without_columns_have_nothing_to_test():
    twice = CAKE.assign(other=CAKE["temp"] * 2 + 1)
    fit = bl.lmer("angle ~ temp + other + (1 | replicate)", twice)
    table = bl.anova(fit)
    assert table["num_df"].tolist() == [1, 0]
    assert np.isnan(table.loc["other"].drop("num_df")).all()


def test_no_terms_make_an_empty_table():
    for formula in ("angle ~ 1 + (1 | replicate)", "angle ~ 0 + (1 | replicate)"):
        table = bl.anova(bl.lmer(formula, CAKE))
        assert list(table.columns) == ["sum_sq", "mean_sq", "num_df", "den_df", "F", "p_value"]
        assert len(table) == 0
        assert table.index.name == "term"


def test_notes_name_empty_cells():
    fit = fitted("cake_empty_cells")
    notes = bl.anova(fit).attrs["notes"]
    assert "type III" in notes[0]
    assert "recipe:temperature" in notes[1]
    assert len(bl.anova(fitted("cake_unbalanced")).attrs["notes"]) == 1


def test_types_have_roman_names_too():
    fit = fitted("cake_unbalanced")
    for arabic, roman in ((1, "I"), (2, "II"), (3, "III")):
        pd.testing.assert_frame_equal(bl.anova(fit, type=arabic), bl.anova(fit, type=roman))
    pd.testing.assert_frame_equal(bl.anova(fit), bl.anova(fit, type=3))


@pytest.mark.parametrize("wrong", [0, 4, "IV", "type3", 2.5, []])
def test_other_types_are_refused(wrong):
    with says(ValueError, "type is 1, 2 or 3"):
        bl.anova(fitted("cake_unbalanced"), type=wrong)


def test_type_and_ddf_are_about_one_fit():
    fit = fitted("cake_unbalanced")
    for options in ({"type": 3}, {"ddf": "asymptotic"}):
        with says(ValueError, "one fit"):
            bl.anova(fit, fit, **options)
    with says(ValueError, "give one or more"):
        bl.anova()
    with says(TypeError, "'str'"):
        bl.anova("fit")


def test_no_data_are_needed():
    fit = fitted("cake_empty_cells_sum")
    for type_ in TYPES:
        again = bl.anova(pickle.loads(pickle.dumps(fit)), type=type_)
        pd.testing.assert_frame_equal(again, bl.anova(fit, type=type_), rtol=1e-9)
