"""Data and arguments that can't be used: which error, and what it says about where and what to do.

Malformed formulas are in test_formula.py.
"""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from blocklmm import expression_code

from .bad_data import DATA, FORMULA, ROWS, N, says, with_values

SLEEP = bl.datasets.load("sleepstudy")


def test_families_of_errors():
    for error in (bl.FormulaError, bl.DataError, bl.ConvergenceError, bl.RankDeficientError):
        assert issubclass(error, bl.BlocklmmError)
    assert issubclass(bl.RankDeficientError, bl.DataError)
    assert issubclass(bl.FormulaError, ValueError)
    assert issubclass(bl.DataError, ValueError)
    assert issubclass(bl.ConvergenceError, ArithmeticError)
    assert issubclass(bl.ConvergenceWarning, bl.BlocklmmWarning)


# -- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pd.concat([DATA, DATA[["x"]]], axis=1),
        pd.concat([DATA.rename(columns={"z": "x"}), DATA[["a"]]], axis=1),
        pa.table([pa.array(DATA[c]) for c in "yxxg"], names=list("yxxg")),
    ],
)
def test_duplicate_columns(data):
    with says(bl.DataError, "two columns", "'x'"):
        bl.lmer(FORMULA, data)


def test_names_equal_as_text_are_duplicates():
    data = DATA.rename(columns={"a": 1, "b": "1"})
    with says(bl.DataError, "two columns", "'1'"):
        bl.lmer(FORMULA, data)


@pytest.mark.parametrize(
    "data",
    [None, 5, [1.0, 2.0], np.ones((3, 3)), DATA["y"], pl.Series([1.0])],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_table(data):
    name = repr(type(data).__name__)
    with says(bl.DataError, name, "is no table", "pandas"):
        bl.lmer(FORMULA, data)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"y": np.ones(4), "x": np.ones(3)}, ("unequal lengths", "'y': 4", "'x': 3")),
        ({"y": np.ones(4), "x": 1.0}, ("'x'", "is one value", "a list")),
        ({"y": np.ones(4), "x": "text"}, ("'x'", "is one value", "a list")),
        ({"y": np.ones(4), "x": None}, ("'x'", "is one value", "a list")),
        ({"y": np.ones((4, 1)), "x": np.ones(4)}, ("'y'", "2 dimensions")),
    ],
)
def test_mappings_that_are_no_table(data, parts):
    with says(bl.DataError, *parts):
        bl.lmer("y ~ x", data)


@pytest.mark.parametrize(
    "data",
    [DATA[:0], pl.DataFrame(DATA)[:0], pa.Table.from_pandas(DATA)[:0], pd.DataFrame(), {}],
)
def test_no_rows(data):
    with says(bl.DataError, "the data have no rows"):
        bl.lmer(FORMULA, data)


@pytest.mark.parametrize(
    "values",
    [
        DATA["a"],
        DATA["a"].astype("category"),
        DATA["y"].astype(str),
        pd.Categorical(ROWS % 3),
    ],
)
def test_a_response_that_is_no_number(values):
    with says(bl.DataError, "response 'y' is not numeric", "it holds"):
        bl.lmer(FORMULA, DATA.assign(y=values))


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (DATA["x"] + 1j, ("complex",)),
        (pd.to_datetime(DATA["g"], unit="D"), ("datetime64", "convert")),
        (pd.to_timedelta(DATA["g"], unit="D"), ("timedelta64", "convert")),
        (np.array(["a", 2] * (N // 2), dtype=object), ("mixes types", "astype(str)")),
        (np.array(["a", 2.5] * (N // 2), dtype=object), ("mixes types", "astype(str)")),
        (pd.Series([[1]] * N), ("mixes types",)),
        (pd.Series([(1, 2)] * N), ("mixes types",)),
    ],
)
@pytest.mark.parametrize("column", ["x", "g", "y"])
def test_columns_of_other_types(column, values, parts):
    with says(bl.DataError, f"column {column!r}", *parts):
        bl.lmer(FORMULA, DATA.assign(**{column: values}))


@pytest.mark.parametrize(
    "values", [pd.to_datetime(DATA["g"], unit="D").tolist(), [{"a": 1}] * N, [[1]] * N]
)
@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_columns_of_other_types_in_polars_and_arrow(make, values):
    data = make({"y": DATA["y"].tolist(), "x": values, "g": DATA["g"].tolist()})
    with says(bl.DataError, "column 'x'", "type", "convert"):
        bl.lmer(FORMULA, data)


def test_text_where_numbers_are_wanted():
    with says(bl.DataError, "weights 'a'"):
        bl.lmer("y ~ x", DATA, weights="a")
    with says(bl.DataError, "offset 'a'"):
        bl.lmer("y ~ x", DATA, offset="a")
    with says(bl.DataError, "offset 'a'"):
        bl.lmer("y ~ x + offset(a)", DATA)
    with says(bl.DataError, "weights"):
        bl.lmer("y ~ x", DATA, weights=["u"] * N)
    with says(bl.DataError, "offset"):
        bl.lmer("y ~ x", DATA, offset=DATA["x"] + 1j)
    with says(bl.FormulaError, "'log(a)'"):
        bl.lmer("y ~ log(a)", DATA)
    with says(bl.FormulaError, "poly(y, 2)", "column"):
        bl.lmer("poly(y, 2) ~ x", DATA)


@pytest.mark.parametrize("role", ["weights", "offset"])
def test_arrays_of_wrong_length(role):
    for given in (np.ones(3), np.ones(N + 1)):
        with says(bl.DataError, role, f"{np.size(given)} values", f"{N} rows"):
            bl.lmer(FORMULA, DATA, **{role: given})
    for given in (2.0, np.ones((N, 1))):
        with says(bl.DataError, role, "vector", str(np.shape(given))):
            bl.lmer(FORMULA, DATA, **{role: given})


# -- missing and infinite values -------------------------------------------------------------


def test_missing_rows_are_dropped_and_counted():
    data = with_values("x", [3, 7], np.nan)
    data.loc[[7, 11, 12], "y"] = np.nan
    data.loc[13, "a"] = None
    fit = bl.lmer("y ~ x + a + (1 | g)", data)
    assert fit.nobs == N - 5
    assert fit.dropped.n_rows == 5
    assert fit.dropped.by_column == {"y": 3, "x": 2, "a": 1}
    assert "5 rows dropped for missing values" in fit.summary()
    complete = bl.lmer("y ~ x + a + (1 | g)", data.dropna().reset_index(drop=True))
    assert complete.dropped.n_rows == 0
    assert complete.dropped.by_column == {}
    assert fit.objective == pytest.approx(complete.objective, rel=1e-13)
    np.testing.assert_allclose(fit.resid, complete.resid, rtol=1e-9, atol=1e-12)


def test_values_missing_from_an_expression_count_as_its_own():
    negative = int((DATA["x"] < 0).sum())
    with pytest.warns(bl.BlocklmmWarning, match=rf"'log\(x\)' is not a number in {negative} rows"):
        fit = bl.lmer("y ~ log(x) + (1 | g)", DATA)
    assert fit.dropped.n_rows == negative > 0
    assert fit.dropped.by_column == {"log(x)": negative}


def test_columns_outside_the_formula_may_miss_values():
    data = with_values("z", [3], np.nan)
    assert bl.lmer(FORMULA, data, missing="error").nobs == N
    assert bl.lmer(FORMULA, with_values("z", [3], np.inf)).dropped.n_rows == 0


def test_missing_as_an_error_names_columns_and_rows():
    data = with_values("x", [3, 7], np.nan)
    data.loc[5, "y"] = np.nan
    data.loc[ROWS[::6], "a"] = None
    with says(
        bl.DataError,
        "column 'x' has missing values in 2 rows (rows 3, 7",
        "column 'y' has missing values in 1 row (row 5",
        "column 'a' has missing values in 10 rows (rows 0, 6, 12, 18, 24, …",
        "missing='drop'",
    ) as caught:
        bl.lmer("y ~ x + a + (1 | g)", data, missing="error")
    assert "'g'" not in str(caught.value)
    groups = DATA.assign(g=pd.Categorical(DATA["g"]).set_categories(range(9)))
    with says(bl.DataError, "column 'g' has missing values in 6 rows (rows 9, 19"):
        bl.lmer(FORMULA, groups, missing="error")
    assert bl.lmer(FORMULA, DATA, missing="error").nobs == N


@pytest.mark.parametrize("missing", ["drop", "error"])
@pytest.mark.parametrize("column", ["x", "y"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_never_dropped(missing, column, value):
    data = with_values(column, [4, 9, 30], value)
    data.loc[9, "z"] = np.nan  # row 9 would be dropped
    with says(
        bl.DataError, f"column {column!r} has infinite values in 3 rows (rows 4, 9, 30", "remove"
    ):
        bl.lmer("y ~ x + z + (1 | g)", data, missing=missing)


def test_infinite_values_of_expressions_and_products():
    zero = with_values("z", [2], 0.0)
    with says(bl.DataError, "'log(z)'", "infinite", "row 2"):
        bl.lmer("y ~ log(z)", zero)
    with says(bl.DataError, "'log(z)'", "infinite", "row 2"):
        bl.lmer("log(z) ~ x", zero)
    huge = with_values("z", [2], 1e200).assign(x=1e200)
    with says(bl.DataError, "overflows", "1 row", "row 2"):
        bl.lmer("y ~ x:z", huge)


def test_weights_that_are_not_finite():
    for value, what in ((np.inf, "infinite values in"), (np.nan, "weights are missing in")):
        data = with_values("z", [5, 8], value)
        with says(bl.DataError, what, "2 rows (rows 5, 8"):
            bl.lmer(FORMULA, data, weights="z")
        with says(bl.DataError, "weights", what, "2 rows (rows 5, 8"):
            bl.lmer(FORMULA, data, weights=data["z"].to_numpy())


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_weights_that_are_not_positive(value):
    data = with_values("z", [5, 8], value)
    said = ("weights are zero or negative in 2 rows (rows 5, 8",)
    with says(bl.DataError, *said):
        bl.lmer(FORMULA, data, weights="z")
    with says(bl.DataError, *said):
        bl.lmer(FORMULA, data, weights=data["z"].tolist())


def test_missing_offsets_are_dropped_and_counted():
    offset = np.where(ROWS < 2, np.nan, 1.0)
    assert bl.lmer(FORMULA, DATA, offset=offset).dropped.by_column == {"offset": 2}


def test_all_rows_dropped():
    every = with_values("x", ROWS, np.nan)
    said = (f"no row is left: all {N} rows have a missing value",)
    with says(bl.DataError, *said, f"'x': {N}"):
        bl.lmer(FORMULA, every)
    half = DATA.assign(x=np.where(ROWS % 2, np.nan, ROWS), y=np.where(ROWS % 2, DATA["y"], np.nan))
    with says(bl.DataError, *said, "'y': 30", "'x': 30"):
        bl.lmer(FORMULA, half)


def test_a_category_without_values():
    data = DATA.assign(a=pd.Categorical([None] * N, categories=["p"]))
    with says(bl.DataError, "'a' has no values", "missing"):
        bl.lmer("y ~ a", data)


def test_infinite_groups():
    data = with_values("g", [3, 5], np.inf)
    for frame in (data, pl.DataFrame(data), pa.Table.from_pandas(data)):
        with says(bl.DataError, "grouping column 'g' has infinite", "2 rows (rows 3, 5", "remove"):
            bl.lmer(FORMULA, frame)


# -- models that the data can't identify -----------------------------------------------------


def test_fewer_rows_than_coefficients():
    said = ("2 rows are too few for 2 fixed-effects coefficients",)
    with says(bl.DataError, *said):
        bl.lmer("y ~ x", DATA[:2])
    data = DATA[:11].assign(g=np.arange(11) % 2)
    with says(bl.DataError, "11 rows are too few for 11"):
        bl.lmer("y ~ a*b*x + poly(z, 4) + (1 | g)", data)
    dropped = DATA.assign(x=np.where(ROWS < 2, DATA["x"], np.nan))
    with says(bl.DataError, *said):
        bl.lmer("y ~ x", dropped)
    assert bl.lmer("y ~ x", DATA[:3]).nobs == 3


def test_one_group():
    for data in (
        DATA.assign(g="only"),
        DATA.assign(g=np.where(ROWS == 0, "other", "only"), x=DATA["x"].where(ROWS > 0)),
        DATA.assign(g=pd.Categorical(["only"] * N, categories=["other", "only"])),
    ):
        with says(bl.DataError, "grouping factor 'g'", "one level only", "'only'"):
            bl.lmer(FORMULA, data)


def test_one_row_a_group():
    data = DATA.assign(g=ROWS)
    for term in ("(1 | g)", "(x | g)", "(x || g)"):
        with says(bl.DataError, "'g'", f"rows ({N})", "can't be told from the residual"):
            bl.lmer("y ~ x + " + term, data)


def test_as_many_random_effects_as_rows():
    data = DATA.assign(g=ROWS // 2)
    for term, width in (("(x | g)", 2), ("(x + z | g)", 3), ("(a | g)", 3)):
        effects = f"30 x {width} = {30 * width} random effects for {N} rows"
        with says(bl.DataError, term, effects, "simplify"):
            bl.lmer("y ~ x + " + term, data)
    assert bl.lmer("y ~ x + (0 + x | g)", data).nobs == N


@pytest.mark.parametrize("value", [0.0, 1.0, -3.25, 7])
@pytest.mark.parametrize("formula", ["y ~ 1", "y ~ x", FORMULA])
def test_a_constant_response(formula, value):
    with says(bl.DataError, "response 'y' is constant", f"{value:g}" if value else "zero"):
        bl.lmer(formula, DATA.assign(y=value))


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ a + x", FORMULA, "y ~ x + (x | g)"])
def test_a_response_that_is_a_linear_function(formula):
    data = DATA.assign(y=2 + 3 * DATA["x"])
    with says(bl.ConvergenceError, "response 'y'", "exactly", "residual variance"):
        bl.lmer(formula, data)


def test_a_tiny_residual_is_one():
    noise = np.random.default_rng(3).normal(size=N)
    fit = bl.lmer("y ~ x", DATA.assign(y=2 + 3 * DATA["x"] + 1e-8 * noise))
    np.testing.assert_allclose(fit.params, [2, 3], rtol=1e-8)
    assert 0.7e-8 < fit.sigma < 1.3e-8


@pytest.mark.parametrize(
    ("formula", "slope"), [("y ~ 1 + (1 | g)", 0), (FORMULA, 0), ("y ~ x + (x | g)", 1)]
)
def test_a_response_without_variance_within_groups(formula, slope):
    data = DATA.assign(y=1.5 * DATA["g"] + slope * DATA["x"] * (DATA["g"] % 3))
    with says(bl.ConvergenceError, "response 'y'", "'g'", "exactly", "residual variance"):
        bl.lmer(formula, data)


def test_a_category_of_one_level():
    data = DATA.assign(a="p")
    with says(bl.DataError, "'a'", "one level", "'p'", "remove"):
        bl.lmer("y ~ a", data)
    assert bl.lmer("y ~ 0 + a", data).params.index.tolist() == ["a[p]"]


def test_dependent_columns_as_an_error():
    data = DATA.assign(x2=2 * DATA["x"], c=1.0)
    with says(bl.RankDeficientError, "'x2'", "'c'") as caught:
        bl.lmer("y ~ x + x2 + z + c", data, rank_deficient="error")
    assert "'z'" not in str(caught.value)
    assert bl.lmer("y ~ x + x2 + z + c", data).dropped_columns == ("x2", "c")


def test_contrasts():
    with says(bl.DataError, "'summ'", "'a'") as caught:
        bl.lmer("y ~ a", DATA, contrasts={"a": "summ"})
    for known in ("treatment", "sum", "helmert", "poly"):
        assert repr(known) in str(caught.value)
    frame = bl.datasets.load("cake")
    with says(bl.DataError, "'recipes'", "Did you mean 'recipe'?"):
        bl.lmer("angle ~ recipe", frame, contrasts={"recipes": "sum"})
    with says(bl.DataError, "'a'", "5"):
        bl.lmer("y ~ a", DATA, contrasts={"a": 5})
    with says(bl.FormulaError, "nope"):
        bl.lmer("y ~ C(a, contr.nope)", DATA)
    with says(bl.FormulaError, "C(a, b, x)"):
        bl.lmer("y ~ C(a, b, x)", DATA)
    with says(bl.FormulaError, "C()"):
        bl.lmer("y ~ C()", DATA)


@pytest.mark.parametrize(
    "number", ["9**9**9", "x**9**9**9", "(1 << 10**12)", "(2 + 1)**8**8**8", "(1+(2>1))**9**9**9"]
)
def test_whole_numbers_that_take_hours_to_compute(number):
    with pytest.raises(bl.FormulaError, match="is too large"):
        expression_code.read_code(f"I(x * {number})", ["x"])
    with pytest.raises(bl.FormulaError, match="is too large"):
        bl.lmer(f"Reaction ~ I(Days * {number.replace('x', 'Days')}) + (1 | Subject)", SLEEP)


@pytest.mark.parametrize("number", ["2**10", "(1 << 3)", "2**2**3", "(-2)**63"])
def test_other_powers_are_computed(number):
    fit = bl.lmer(f"Reaction ~ I(Days / {number}) + poly(Days, 2**1) + (1 | Subject)", SLEEP)
    assert fit.dropped_columns
    one = bl.lmer(f"Reaction ~ I(Days / {number}) + (1 | Subject)", SLEEP)
    days = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    assert one.params.iloc[1] / eval(number) == pytest.approx(days.params["Days"], rel=1e-9)
