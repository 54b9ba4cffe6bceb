"""Digits by standard errors, and notes below tables."""

from __future__ import annotations

import copy
import pickle

import blocklmm as bl
import pandas as pd
import pytest
from blocklmm.tables import noted, text

SLEEP = bl.datasets.load("sleepstudy")


def test_estimates_have_the_digits_of_their_errors():
    table = pd.DataFrame(
        {"estimate": [2015.00123, 3e9 + 0.25], "std_error": [0.0029864, 12.0], "df": [30.5, 7.0]},
        index=["a", "b"],
    )
    a, b = text(table, []).splitlines()[1:]
    assert a.split() == ["a", "2015.001230", "0.002986", "30.5"]
    assert b.split() == ["b", "3000000000.25", "12.00", "7"]


def test_without_errors():
    table = pd.DataFrame({"estimate": [1 / 3, float("nan")], "std_error": [float("nan"), 0.0]})
    assert [line.split() for line in text(table, []).splitlines()[1:]] == [
        ["0.33333", "NaN"],
        ["NaN", "0"],
    ]


def test_limits_have_the_digits_of_their_distance():
    table = pd.DataFrame({"lower": [0.123456], "upper": [0.523456]})
    assert text(table, ["note"]).splitlines()[1:] == ["0.1235 0.5235", "note"]


def test_a_noted_table_is_a_data_frame():
    plain = pd.DataFrame({"AIC": [1234.56789, 2.0]}, index=["a", "b"])
    table = noted(plain, ["restricted likelihoods"])
    assert repr(table).endswith("restricted likelihoods")
    assert "<p>restricted likelihoods</p>" in table._repr_html_()
    pd.testing.assert_frame_equal(table, plain)
    assert type(table[["AIC"]]) is type(table.T) is pd.DataFrame
    for again in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        pd.testing.assert_frame_equal(again, plain)


def test_wide_tables_print_all_columns_and_are_data_frames():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    tables = [fit.tidy(), fit.glance(), fit.influence(), fit.influence(by="row")]
    tables += [fit.coef()["Subject"], fit.shrinkage()["Subject"], fit.tidy("ran_vals")]
    with pd.option_context("display.width", 80, "display.max_columns", 4, "display.max_rows", 10):
        for table in tables:
            lines = repr(table).splitlines()
            heads = set().union(*table) if table.columns.nlevels > 1 else set(table)
            assert all(name in "".join(lines[:2]) for name in heads)
            assert str(table) == repr(table)
            assert len(lines) < 20
    for table in tables:
        plain = pd.DataFrame(table)
        assert type(plain) is type(table.T) is type(table.iloc[:1]) is pd.DataFrame
        for again in (table, pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
            pd.testing.assert_frame_equal(again, plain)


def test_figures_of_a_fit_have_six_digits():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert repr(fit.icc()) == (
        "ICC(adjusted=0.721658, unadjusted=0.520567, by_group={'Subject': 0.721658}, label='good')"
    )
    assert repr(fit.r2()) == "RSquared(marginal=0.278652, conditional=0.799219)"
    assert repr(fit.caic()) == (
        "ConditionalAIC(llf=-824.507, hat_trace=29.0221, effective_df=30.2535)"
    )
    assert pickle.loads(pickle.dumps(fit.icc())) == fit.icc()


def test_tables_of_a_fit_say_what_they_are():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    other = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert "type III hypotheses, satterthwaite" in repr(bl.anova(fit))
    assert "compared on restricted likelihoods, as their fixed" in repr(bl.anova(fit, other))
    assert "compared on maximum likelihoods" in repr(bl.anova(fit, bl.lmer("Reaction ~ 1", SLEEP)))
    assert "normal quantiles" in repr(fit.conf_int())
    assert "satterthwaite degrees" in repr(fit.conf_int(ddf="Satterthwaite", level=0.9))
    assert "level 0.9" in repr(fit.conf_int(method="Profile", level=0.9))
    assert "limits of level 0.8" in repr(fit.profile("Days", level=0.8))
    drawn = fit.bootstrap(50, seed=1)
    assert "percentile limits of level 0.95" in repr(drawn)
    assert repr(drawn.conf_int("basic", 0.9)).endswith("basic limits of level 0.9, 50 replicates")


LINE = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
SLOPES = bl.lmer("Reaction ~ Days + I(Days**2) + (Days | Subject)", SLEEP)


@pytest.mark.parametrize("table", [bl.anova(SLOPES, LINE), bl.compare(LINE, SLOPES)])
def test_formulas_stand_above_tables_of_models(table):
    names = ["m1", "m0"]  # given the other way
    again = pickle.loads(pickle.dumps(table))
    for shown in (table, again):
        lines = repr(shown).splitlines()
        assert lines[:3] == ["Models:", *map(": ".join, zip(names, table.index, strict=True))]
        assert [line.split()[0] for line in lines[4:6]] == names
        assert max(map(len, lines)) <= 90
        html = shown._repr_html_()
        assert all(f"{m}: {f}" in html for m, f in zip(names, table.index, strict=True))
        assert f"<th>{table.index[0]}</th>" not in html
    assert list(table.index) == list(table.reset_index().iloc[:, 0])


def test_tables_of_models_that_were_changed():
    table = bl.compare(LINE, SLOPES)
    assert "Models:" not in repr(table.iloc[::-1])
    table.index = ["line", "slopes"]
    assert repr(table).splitlines()[1].startswith("line ")
    table.attrs.clear()
    assert repr(table).splitlines()[1].startswith("line ")
    assert "<th>line</th>" in table._repr_html_()


def test_models_with_as_many_parameters_are_not_tested():
    other = bl.lmer("Reaction ~ I(Days**2) + (1 | Subject)", SLEEP)
    table = bl.anova(LINE, other)
    assert table["Df"].iloc[1] == 0
    assert table["p_chisq"].isna().all()
    (note,) = (note for note in table.attrs["notes"] if "no test" in note)
    assert note == (
        f"{LINE.formula!r} and {other.formula!r} have as many parameters: neither is nested in the "
        "other, and there is no test; compare them by AIC"
    )
    assert not any("no test" in note for note in bl.anova(LINE, LINE).attrs["notes"])
