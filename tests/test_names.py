"""Names of columns and functions: what is said of unknown ones, and which are refused."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from .bad_data import DATA, says


@pytest.mark.parametrize(
    ("formula", "unknown", "nearest"),
    [
        ("Reacton ~ Days + (1 | Subject)", "Reacton", "Reaction"),
        ("Reaction ~ Day + (1 | Subject)", "Day", "Days"),
        ("Reaction ~ Days + (Dyas | Subject)", "Dyas", "Days"),
        ("Reaction ~ Days + (1 | subject)", "subject", "Subject"),
        ("Reaction ~ Days*DAYS", "DAYS", "Days"),
        ("Reaction ~ log(Dayz + 1)", "Dayz", "Days"),
        ("log(Reactoin) ~ Days", "Reactoin", "Reaction"),
        ("Reaction ~ C(Subjct)", "Subjct", "Subject"),
        ("Reaction ~ Days + offset(Dais)", "Dais", "Days"),
    ],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pandas])
def test_unknown_columns_are_named_with_the_nearest(make, formula, unknown, nearest):
    frame = make(bl.datasets.load("sleepstudy"))
    said = f"there is no column {unknown!r} in the data"
    with says(bl.DataError, said, f"Did you mean {nearest!r}?"):
        bl.lmer(formula, frame)


@pytest.mark.parametrize(
    ("name", "right"), [("Intercept", "`Intercept`"), ("a[T.q]", "a + `a[T.q]`")]
)
def test_coefficients_of_one_name_are_refused(name, right):
    """Which of them a table or a contrast means could not be told."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=40), name: rng.normal(size=40)})
    data = data.assign(a=np.tile(["p", "q"], 20), g=np.arange(40) // 8)
    with says(bl.DataError, f"several fixed effects would be called {name!r}: rename"):
        bl.lmer(f"y ~ {right} + (1 | g)", data)
    assert list(bl.lmer(f"y ~ 0 + `{name}` + (1 | g)", data).params.index) == [name]


def test_no_guess_where_nothing_is_near():
    with says(bl.DataError, "no column 'weight'") as caught:
        bl.lmer("y ~ weight", DATA)
    assert "Did you mean" not in str(caught.value)
    assert str(caught.value).endswith(f" Columns are {', '.join(map(repr, DATA))}.")
    with says(bl.DataError, "no column 'weight'") as caught:
        bl.lmer("y ~ weight", {**DATA, **{f"q{k}": DATA["y"] for k in range(12)}})
    assert str(caught.value).endswith("in the data.")


def test_text_of_a_number_is_near_the_number():
    g = np.repeat(np.arange(8), 5)
    fit = bl.lmer("y ~ 1 + (1 | g)", {"y": np.sin(np.arange(40.0)), "g": g})
    with says(bl.DataError, "'g' has no level '3'. Did you mean 3?"):
        fit.marginal_cov("3")


@pytest.mark.parametrize("unknown", ["Alter", "ALTER", "Alt"])
def test_the_beginning_of_a_name_is_near_in_any_case(unknown):
    with says(bl.DataError, f"no column {unknown!r}", "Did you mean 'Alter (Jahre)'?"):
        bl.lmer(f"y ~ `{unknown}`", {**DATA, "Alter (Jahre)": DATA["y"]})


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("Alter (Jahr)", "Alter (Jahre)"),
        ("alter (jahre)", "Alter (Jahre)"),
        ("Einkomen(EUR)", "Einkommen(EUR)"),
        ("Umsatz/Kop", "Umsatz/Kopf"),
        ("Vp N", "Vp Nr"),
        ("Gewicht (kg)", None),
    ],
)
@pytest.mark.parametrize("formula", ["y ~ `{}`", "y ~ x + (`{}` | g)", "`{}` ~ x"])
def test_names_in_backticks_are_read_as_names(unknown, nearest, formula):
    names = ("Alter (Jahre)", "Einkommen(EUR)", "Umsatz/Kopf", "Vp Nr")
    guess = f"Did you mean {nearest!r}?" if nearest else " Columns are 'y', "
    with says(bl.DataError, f"there is no column {unknown!r} in the data.", guess):
        bl.lmer(formula.format(unknown), {**DATA, **dict.fromkeys(names, DATA["x"])})


def test_expressions_near_a_name_are_read_as_expressions():
    data = {**DATA, "log(w)": DATA["y"], "y + w": DATA["y"]}
    assert list(bl.lmer("y + x ~ log(g + 1)", data).params.index) == ["Intercept", "log(g + 1)"]


@pytest.mark.parametrize("role", ["weights", "offset"])
def test_unknown_weights_and_offset(role):
    frame = bl.datasets.load("sleepstudy")
    with says(bl.DataError, "no column 'Day'", "Did you mean 'Days'?"):
        bl.lmer("Reaction ~ Days", frame, **{role: "Day"})


def test_unknown_functions_are_named():
    with says(bl.FormulaError, "sqroot(x)", "'sqroot'"):
        bl.lmer("y ~ sqroot(x)", DATA)


@pytest.mark.parametrize(
    ("term", "instead"),
    [
        ("I(x - mean(x))", "np.mean(x)"),
        ("I(x / sd(x))", "np.std(x, ddof=1)"),
        ("ifelse(x > 0, 1, 0)", "np.where(x > 10, 1, 0)"),
        ("ns(x, 3)", "cr(x, df=3) or bs(x, df=4)"),
        ("relevel(a, ref='u')", "levels="),
        ("dummy(a, 'u')", "I(a == 'level')"),
        ("pmax(x, 0)", "np.maximum(x, 10)"),
        ("Q('my column')", "backticks"),
        ("f(x)", "make it a column"),
    ],
)
def test_functions_of_r_have_others_in_their_place(term, instead):
    with says(bl.FormulaError, "there is no function", repr(term), instead):
        bl.lmer(f"y ~ {term}", DATA)


def test_what_stands_in_the_place_of_functions_of_r():
    terms = "np.std(x,ddof=1) np.median(x) np.where(x>10,1,0) np.maximum(x,0) cr(x,df=3) bs(x,df=4)"
    for term in [*terms.split(), "I(a == 'q')", "I(x > 0)"]:
        bl.lmer(f"y ~ I(x - {term})" if term.startswith("np") else f"y ~ {term}", DATA)


def test_messages_of_expressions_show_them_as_written():
    with says(bl.FormulaError, "poly(x, degree='two')", "can't be evaluated: Type") as caught:
        bl.lmer("y ~ poly(x, degree='two')", DATA)
    assert "a_text" not in str(caught.value)


@pytest.mark.parametrize("term", ["x > 1", "(x >= 1)", "x:(x < 1)"])
def test_comparisons_go_inside_a_call(term):
    with says(bl.FormulaError, "Unknown operator", "I(x > 10)"):
        bl.lmer(f"y ~ {term}", DATA)
