"""What marginaleffects makes of fits is what predictions, contrasts and the delta method give."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import pairwise

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from marginaleffects import (
    avg_comparisons,
    avg_predictions,
    avg_slopes,
    comparisons,
    datagrid,
    hypotheses,
    predictions,
    slopes,
)
from scipy import stats

from .bad_data import says
from .marginal_fits import DATA, FITS, NEW, check, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*get_categories:DeprecationWarning")
adapt = bl.marginaleffects.adapt


# -- predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_predictions_of_the_rows(name):
    fit = FITS[name]
    found = predictions(adapt(fit))
    check(found, fit, rows(name, DATA))
    expected = fit.predict(DATA, random="population")
    np.testing.assert_allclose(found["estimate"].to_numpy(), expected, rtol=1e-12)
    mean = avg_predictions(adapt(fit))
    check(mean, fit, rows(name, DATA).mean())


@pytest.mark.parametrize("name", FITS)
def test_predictions_of_new_rows(name):
    fit, frame = FITS[name], NEW.drop(columns=["y", "a", "dose"])
    model = adapt(fit)
    own = model.get_modeldata()
    frame = pl.from_pandas(frame).with_columns(own[::7]["a"], own[::7]["dose"])
    found = predictions(model, newdata=frame)
    expected = fit.predict(NEW, random="population", interval="confidence")
    np.testing.assert_allclose(found["estimate"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(found["conf_low"], expected["lower"], rtol=1e-8)


@pytest.mark.parametrize("make", [lambda f: f, pl.from_pandas, pa.Table.from_pandas])
def test_new_rows_of_any_make(make):
    for name in ("a category", "ordered"):
        found = predictions(adapt(FITS[name]), newdata=make(NEW.drop(columns="y")))
        expected = FITS[name].predict(NEW, random="population")
        np.testing.assert_allclose(found["estimate"].to_numpy(), expected, rtol=1e-12)


def test_means_by_groups_of_rows():
    fit = FITS["numbers"]
    for by in ("a", "g", "flag"):
        found = avg_predictions(adapt(fit), by=by).sort(by)
        expected = rows("numbers", DATA).groupby(DATA[by]).mean()
        assert found[by].to_list() == expected.index.tolist()
        check(found, fit, expected)


def test_means_with_weights():
    fit = FITS["numbers"]
    weighted = rows("numbers", DATA).multiply(DATA["w"], axis=0)
    found = avg_predictions(adapt(fit), by="k", wts="w").sort("k")
    total = weighted.groupby(DATA["k"]).sum().divide(DATA["w"].groupby(DATA["k"]).sum(), axis=0)
    check(found, fit, total)


def test_grids():
    fit = FITS["a category"]
    model = adapt(fit)
    cells = pd.DataFrame({"a": list("pqr"), "x": DATA["x"].mean()})
    found = predictions(model, newdata="balanced")
    assert found["a"].to_list() == ["p", "q", "r"]
    check(found, fit, rows("a category", cells))
    emmeans = fit.emmeans("a").to_frame()
    np.testing.assert_allclose(found["estimate"], emmeans["emmean"], rtol=1e-12)
    at_mean = predictions(model, newdata="mean")
    typical = cells[cells["a"] == DATA["a"].mode()[0]]
    check(at_mean, fit, rows("a category", typical))
    factual = predictions(model, newdata=datagrid(x=[1.0, 2.0], grid_type="counterfactual"))
    assert len(factual) == 2 * len(DATA)
    both = avg_predictions(model, variables={"x": [1.0, 2.0]}, by="x")
    expected = [rows("a category", DATA.assign(x=x)).mean() for x in (1.0, 2.0)]
    check(both, fit, expected)


def test_offsets():
    fit = bl.lmer("y ~ x + offset(np.log(z)) + offset(w) + (1 | g)", DATA)
    model = adapt(fit)
    assert model.find_predictors() == ["x"]
    X = np.column_stack([np.ones(len(DATA)), DATA["x"]])
    offset = np.log(DATA["z"]) + DATA["w"]
    check(predictions(model, eps_vcov=1.0), fit, X, constant=offset)
    check(predictions(model), fit, X, constant=offset, rtol=1e-6)
    np.testing.assert_allclose(
        predictions(model, newdata=pl.from_pandas(NEW[["x", "z", "w"]]))["estimate"],
        fit.predict(NEW, random="population"),
        rtol=1e-12,
    )
    check(comparisons(model, variables="x"), fit, [[0, 1]] * len(DATA), rtol=1e-6)
    changed = comparisons(model, variables={"z": [1, 3]}, vcov=False)
    np.testing.assert_allclose(changed["estimate"], np.log(3), rtol=1e-12)
    named = bl.lmer("y ~ x + (1 | g)", DATA, offset="w")
    expected = named.predict(DATA, random="population")
    np.testing.assert_allclose(predictions(adapt(named))["estimate"], expected, rtol=1e-12)


# -- comparisons -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numbers", "expressions", "orthogonal"])
def test_a_step_of_a_number(name):
    fit, model = FITS[name], adapt(FITS[name])
    L = rows(name, DATA.assign(x=DATA["x"] + 0.5)) - rows(name, DATA.assign(x=DATA["x"] - 0.5))
    check(comparisons(model, variables="x"), fit, L)
    check(avg_comparisons(model, variables="x"), fit, L.mean())
    ends = rows(name, DATA.assign(x=3.0)) - rows(name, DATA.assign(x=1.0))
    check(comparisons(model, variables={"x": [1, 3]}), fit, ends)
    contrast = fit.contrast(ends.mean().to_frame().T, ddf="asymptotic").to_frame()
    found = avg_comparisons(model, variables={"x": [1, 3]})
    for column in ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"):
        np.testing.assert_allclose(found[column], contrast[column], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "variable", "levels"),
    [("a category", "a", ["p", "q", "r"]), ("ordered", "dose", ["low", "mid", "high"])],
)
def test_levels_against_the_first(name, variable, levels):
    fit, model = FITS[name], adapt(FITS[name])
    at = [rows(name, DATA.assign(**{variable: pd.Categorical([v] * 240, levels)})) for v in levels]
    found = comparisons(model, variables=variable)
    assert found["contrast"].unique(maintain_order=True).to_list() == [
        f"{level} - {levels[0]}" for level in levels[1:]
    ]
    check(found, fit, np.vstack([other - at[0] for other in at[1:]]))
    means = avg_comparisons(model, variables={variable: "sequential"})
    check(means, fit, [(b - a).mean() for a, b in pairwise(at)])
    pair = avg_comparisons(model, variables={variable: [levels[2], levels[1]]})
    check(pair, fit, (at[1] - at[2]).mean())
    by = avg_comparisons(model, variables=variable, by="k").sort("contrast", "k")
    groups = (at[1] - at[0]).groupby(DATA["k"]).mean()
    of_first = by.filter(pl.col("contrast") == f"{levels[1]} - {levels[0]}")
    check(of_first, fit, groups)


def test_numbers_that_are_levels():
    fit, model = FITS["numbers as levels"], adapt(FITS["numbers as levels"])
    found = avg_comparisons(model, variables="year")
    assert found["contrast"].to_list() == ["2001 - 2000", "2003 - 2000"]
    names = ["C(year)[T.2001]", "C(year)[T.2003]"]
    check(found, fit, np.array([fit.params.index == name for name in names]))
    categories = bl.lmer("y ~ year + x + (1 | g)", DATA.assign(year=pd.Categorical(DATA["year"])))
    again = avg_comparisons(adapt(categories), variables="year")
    assert again["contrast"].to_list() == found["contrast"].to_list()
    np.testing.assert_allclose(again["estimate"], found["estimate"], rtol=1e-9)
    slope = avg_slopes(model, variables="year")
    np.testing.assert_allclose(slope["estimate"], found["estimate"], rtol=1e-9)


def test_booleans_and_zeros_and_ones():
    fit, model = FITS["booleans"], adapt(FITS["booleans"])
    L = rows("booleans", DATA.assign(flag=True)) - rows("booleans", DATA.assign(flag=False))
    found = comparisons(model, variables="flag")
    assert found["contrast"].unique().to_list() == ["True - False"]
    check(found, fit, L)
    check(avg_comparisons(model, variables="k"), fit, fit.params.index == "k")


def test_levels_that_are_intervals():
    data = DATA.assign(part=pd.cut(DATA["z"], [0, 2, 3, 6]))
    fit = bl.lmer("y ~ part + x + (1 | g)", data)
    found = avg_comparisons(adapt(fit), variables="part")
    assert found["contrast"].to_list() == ["(2, 3] - (0, 2]", "(3, 6] - (0, 2]"]
    np.testing.assert_allclose(found["estimate"], fit.params.filter(like="part"), rtol=1e-10)
    expected = fit.predict(data, random="population")
    np.testing.assert_allclose(predictions(adapt(fit))["estimate"], expected, rtol=1e-12)


def test_ratios_by_the_delta_method():
    fit, model = FITS["numbers"], adapt(FITS["numbers"])
    hi, lo = (np.asarray(rows("numbers", DATA.assign(x=x)).mean()) for x in (3.0, 1.0))
    mu, nu = hi @ fit.params, lo @ fit.params
    found = avg_comparisons(model, variables={"x": [1, 3]}, comparison="ratio")
    gradient = hi / nu - lo * mu / nu**2
    np.testing.assert_allclose(found["estimate"], [mu / nu], rtol=1e-12)
    expected = np.sqrt(gradient @ fit.cov_params() @ gradient)
    np.testing.assert_allclose(found["std_error"], [expected], rtol=1e-8)
    logs = avg_comparisons(model, variables={"x": [1, 3]}, comparison="lnratio")
    expected = expected * nu / mu
    np.testing.assert_allclose(logs["std_error"], [expected], rtol=1e-5)


# -- slopes ----------------------------------------------------------------------------------


def slope_rows(fit, columns):
    zero = pd.DataFrame(0.0, index=range(len(DATA)), columns=fit.params.index)
    return zero.assign(**columns)


@pytest.mark.parametrize(
    ("name", "variable", "columns"),
    [
        ("numbers", "x", {"x": 1.0, "x:z": DATA["z"]}),
        pytest.param(
            "a category",
            "x",
            {"x": 1.0, "a[T.q]:x": DATA["a"] == "q", "a[T.r]:x": DATA["a"] == "r"},
        ),
        ("expressions", "x", {"x": 1.0, "I(x ** 2)": 2 * DATA["x"]}),
        ("expressions", "z", {"np.log(z)": 1 / DATA["z"]}),
        ("orthogonal", "z", {"scale(z)": 1 / DATA["z"].std()}),
    ],
)
def test_slopes(name, variable, columns):
    fit, model = FITS[name], adapt(FITS[name])
    L = slope_rows(fit, columns)
    check(slopes(model, variables=variable, eps_vcov=1.0), fit, L)
    check(avg_slopes(model, variables=variable, eps_vcov=1.0), fit, L.mean())
    # by marginaleffects' own steps, in which little is left of the digits
    check(slopes(model, variables=variable), fit, L, rtol=0.2)
    check(avg_slopes(model, variables=variable), fit, L.mean(), rtol=0.02)


def test_slopes_of_orthogonal_polynomials():
    plain = bl.lmer("y ~ x + I(x^2) + scale(z) + (1 | g)", DATA)
    L = slope_rows(plain, {"x": 1.0, "I(x ** 2)": 2 * DATA["x"]})
    check(slopes(adapt(FITS["orthogonal"]), variables="x", eps_vcov=1.0), plain, L, rtol=1e-7)


def test_slopes_of_splines():
    fit = bl.lmer("y ~ bs(z, df=5, extrapolation='extend') + (1 | g)", DATA)
    found = slopes(adapt(fit), variables="z", eps_vcov=1.0)["estimate"].to_numpy()
    h = 1e-3 * np.arange(-2, 3)
    at = np.array([fit.predict(DATA.assign(z=DATA["z"] + d), random="population") for d in h])
    expected = (at[0] - 8 * at[1] + 8 * at[3] - at[4]) / 12e-3
    between_knots = np.abs(found - expected) < 1e-3  # steps across one see two polynomials
    assert between_knots.mean() > 0.95
    np.testing.assert_allclose(found[between_knots], expected[between_knots], atol=1e-6)


# -- hypotheses ------------------------------------------------------------------------------


def test_hypotheses_are_contrasts():
    fit, model = FITS["numbers"], adapt(FITS["numbers"])
    table = fit.tidy(ddf="asymptotic")
    table.columns = table.columns.str.replace(".", "_")  # marginaleffects has polars' names
    found = hypotheses(model)
    assert found["term"].to_list() == table["term"].tolist()
    for column in ("estimate", "std_error", "statistic", "conf_low", "conf_high"):
        np.testing.assert_allclose(found[column], table[column], rtol=1e-6)
    difference = hypotheses(model, "x - 2 * z = 0.5", eps_vcov=1.0)
    expected = fit.contrast("x - 2 * z - 0.5", ddf="asymptotic").to_frame()
    for column in ("estimate", "std_error", "statistic"):
        np.testing.assert_allclose(difference[column], expected[column], rtol=1e-8)
    category = FITS["a category"]
    quoted = hypotheses(adapt(category), "Q(a[T.q]) - Q(a[T.r]) = 0", eps_vcov=1.0)
    expected = category.contrast("a[T.q] = a[T.r]").to_frame()
    np.testing.assert_allclose(quoted["std_error"], expected["std_error"], rtol=1e-8)


def test_hypotheses_of_comparisons():
    fit = FITS["a category"]
    found = avg_comparisons(adapt(fit), variables="a", hypothesis="b0 = b1")
    at = {v: rows("a category", DATA.assign(a=v)).mean() for v in "qr"}
    check(found, fit, at["q"] - at["r"], rtol=1e-6)


@pytest.mark.parametrize("vcov", ["CR0", "CR2", "cr1s", "kenward-roger"])
def test_covariance_matrices(vcov):
    fit = FITS["numbers"]
    given = {"ddf": vcov} if vcov == "kenward-roger" else {"robust": vcov}
    V = fit.cov_params(**given).to_numpy()
    expected = np.sqrt(np.diag(V))
    np.testing.assert_allclose(hypotheses(adapt(fit), vcov=vcov)["std_error"], expected, rtol=1e-6)
    L = rows("numbers", DATA).to_numpy()
    found = predictions(adapt(fit), vcov=vcov)["std_error"]
    np.testing.assert_allclose(found, np.sqrt(np.einsum("ij,jk,ik->i", L, V, L)), rtol=1e-8)
    assert "std_error" not in predictions(adapt(fit), vcov=False).columns


def test_degrees_of_freedom():
    fit = FITS["numbers"]
    L = rows("numbers", DATA).mean().to_frame().T
    expected = fit.contrast(L).to_frame()
    found = avg_predictions(adapt(fit, df=float(expected["df"].iloc[0])))
    for column in ("statistic", "conf_low", "conf_high"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-8)
    normal = avg_predictions(adapt(fit))
    half = stats.norm.ppf(0.975) * expected["std_error"]
    np.testing.assert_allclose(normal["conf_low"], expected["estimate"] - half, rtol=1e-8)


def test_joint_hypotheses():
    fit = bl.lmer("y ~ x + z + (1 | g)", DATA)
    expected = fit.contrast(["x", "z"], ddf="asymptotic").f_test
    found = hypotheses(adapt(fit), joint=["x", "z"])
    np.testing.assert_allclose(found["statistic"], expected.statistic, rtol=1e-10)
    chi_square = hypotheses(adapt(fit), joint=["x", "z"], joint_test="chisq")
    np.testing.assert_allclose(chi_square["statistic"], 2 * expected.statistic, rtol=1e-10)
    some = hypotheses(adapt(fit, df=17), joint=["x", "z"])
    np.testing.assert_allclose(some["p_value"], stats.f.sf(expected.statistic, 2, 17), atol=1e-12)
    for name in ("numbers", "booleans"):
        with says(bl.InferenceError, "one coefficient", "f_test"):
            hypotheses(adapt(FITS[name]), joint=True)


# -- dropped columns and rows ----------------------------------------------------------------


def test_columns_that_were_dropped():
    data = DATA.assign(twice=2 * DATA["x"] + 1)
    fit = bl.lmer("y ~ x + twice + z + (1 | g)", data)
    assert fit.dropped_columns == ("twice",)
    model = adapt(fit)
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    check(predictions(model), fit, X)
    check(avg_comparisons(model, variables="z"), fit, [0, 0, 1])
    with pytest.warns(bl.BlocklmmWarning, match="don't determine predictions of 240 rows"):
        assert np.isnan(avg_comparisons(model, variables="x")["estimate"].item())


def test_cells_without_rows():
    data = DATA[~((DATA["a"] == "r") & (DATA["k"] == 1))].assign(k=lambda d: d["k"].astype(str))
    fit = bl.lmer("y ~ a * k + (1 | g)", data)
    grid = pd.DataFrame({"a": np.repeat(list("pqr"), 2), "k": list("01") * 3})
    with pytest.warns(bl.BlocklmmWarning, match="of 1 row,"):
        found = predictions(adapt(fit), newdata=grid)
    means = fit.emmeans(["k", "a"]).to_frame()
    np.testing.assert_allclose(found["estimate"], means["emmean"], rtol=1e-10)
    np.testing.assert_allclose(found["std_error"], means["std_error"], rtol=1e-7)
    assert np.isnan(found["estimate"].to_numpy()).tolist() == [False] * 5 + [True]
    with pytest.warns(bl.BlocklmmWarning, match="don't determine"):
        by = avg_comparisons(adapt(fit), variables="k", by="a").sort("a")
    assert np.isnan(by["estimate"].to_numpy()).tolist() == [False, False, True]


def test_rows_that_were_left_out():
    gaps = DATA.assign(x=DATA["x"].where(DATA["k"] == 1), a=DATA["a"].where(DATA["z"] > 2))
    fit = bl.lmer("y ~ x + (1 | g)", gaps)
    found = predictions(adapt(fit))
    np.testing.assert_allclose(found["estimate"], fit.predict(gaps, random="population")[fit._used])
    assert found["a"].null_count() == (DATA["z"][DATA["k"] == 1] <= 2).sum()


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas])
def test_fits_of_other_frames(make):
    fit = bl.lmer("y ~ a + flag + x + (1 | g)", make(DATA))
    model = adapt(fit)
    expected = fit.predict(DATA, random="population")
    np.testing.assert_allclose(predictions(model)["estimate"], expected, rtol=1e-12)
    assert model.get_variable_type("flag") == "boolean"
    assert model.get_modeldata()["a"].dtype == pl.Enum(["p", "q", "r"])


def test_single_precision_keeps_its_slopes():
    fit = bl.lmer("y ~ x * z + (1 | g)", DATA.astype({"x": np.float32, "z": np.float32}))
    L = slope_rows(fit, {"x": 1.0, "x:z": DATA["z"].astype(np.float32)})
    check(slopes(adapt(fit), variables="x", eps_vcov=1.0), fit, L)


def test_other_columns_of_the_data():
    data = DATA.assign(group="all", when=pd.Timestamp("2020-01-01"), text=DATA["a"] + "!")
    model = adapt(bl.lmer("y ~ x + (1 | group:g)", data))
    assert not {"group", "when"} & set(model.get_modeldata().columns)
    assert avg_predictions(model, by="text").sort("text")["text"].to_list() == ["p!", "q!", "r!"]


def test_many_groups_of_texts():
    texts = [f"id{k}" for k in range(3000)]
    data = pd.concat([DATA] * 25, ignore_index=True).assign(s=texts * 2)
    model = adapt(bl.lmer("y ~ x + (1 | s)", data))
    assert model.get_modeldata()["s"].dtype == pl.String
    assert avg_predictions(model).height == 1
    with pytest.raises(TypeError, match="'s' has String type"):
        avg_predictions(model, by="s")


def test_responses_that_are_expressions_or_others():
    fit = bl.lmer("np.log(y + 10) ~ x + (1 | g)", DATA)
    model = adapt(fit)
    own = model.get_modeldata()[model.find_response()].to_numpy()
    np.testing.assert_allclose(own, np.log(DATA["y"] + 10))
    assert predictions(model, newdata="balanced").height == 1
    other = adapt(fit.refit(np.arange(240.0)))
    np.testing.assert_array_equal(other.get_modeldata()[other.find_response()], np.arange(240.0))
    many = bl.lmer_many("~ x + (1 | g)", DATA, DATA[["y", "w"]])
    found = avg_predictions(adapt(many.fit("w")))
    np.testing.assert_allclose(found["estimate"], DATA["w"].mean(), rtol=0.05)


# -- what can't be done ----------------------------------------------------------------------


def test_fits_without_rows_take_others():
    fit = FITS["numbers"]
    restored = pickle.loads(pickle.dumps(fit))
    chunks = bl.lmer("y ~ x * z + (1 | g)", [DATA[:100], DATA[100:]])
    for other in (restored, chunks):
        with says(bl.DataError, "no rows in memory", "data="):
            adapt(other)
        gaps = DATA.assign(x=DATA["x"].where(DATA["k"] == 1))
        found = avg_predictions(adapt(other, data=gaps.drop(columns="y")))
        expected = fit.predict(DATA[DATA["k"] == 1], random="population").mean()
        np.testing.assert_allclose(found["estimate"], expected, rtol=1e-10)


def test_what_can_not_be_adapted():
    fit = FITS["numbers"]
    with says(TypeError, "a fit", "'DataFrame'"):
        adapt(DATA)
    for df in (0, -1, "17", True, np.nan):
        with says(bl.OptionError, "df is a positive number", repr(df)):
            adapt(fit, df=df)
    with says(bl.OptionError, "'kenward-roger'", "'CR2'", "not 'HC3'"):
        predictions(adapt(fit), vcov="HC3")
    with says(bl.DataError, "offset was given as an array"):
        adapt(bl.lmer("y ~ x + (1 | g)", DATA, offset=DATA["w"].to_numpy()))
    with says(bl.DataError, "'group'", "rename"):
        adapt(bl.lmer("y ~ group + (1 | g)", DATA.rename(columns={"x": "group"})))
    with says(bl.DataError, "whole column"):
        avg_comparisons(adapt(bl.lmer("y ~ I(x - np.mean(x)) + (1 | g)", DATA)))
    with says(TypeError, "pickle the fit"):
        pickle.dumps(adapt(fit))


def test_without_the_package():
    script = (
        "import sys, blocklmm as bl\n"
        "sys.modules['marginaleffects'] = None\n"
        "try: bl.marginaleffects\n"
        "except ImportError as error: print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "need marginaleffects: pip install 'blocklmm[marginaleffects]'" in found.stdout
