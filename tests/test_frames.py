"""Frames of all makes and columns of all types give the same fit, without copies."""

from __future__ import annotations

import decimal
from itertools import pairwise

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from blocklmm.frames import Frame, Numbers

N = 120
FORMULA = "y ~ x + (1 | g)"


def make_data():
    rng = np.random.default_rng(1)
    g = rng.integers(0, 12, N)
    x = rng.integers(0, 50, N).astype(float)
    y = 0.1 * x + rng.normal(size=12)[g] + rng.normal(size=N)
    return {"y": y, "x": x, "g": g}


DATA = make_data()
NAMES = np.array([f"s{k}" for k in DATA["g"]])
REFERENCE = bl.lmer(FORMULA, DATA)


def assert_same_bits(fit, reference=REFERENCE):
    assert fit.objective == reference.objective
    np.testing.assert_array_equal(fit.params, reference.params)
    np.testing.assert_array_equal(fit.theta, reference.theta)


def assert_same_fit(fit, reference=REFERENCE):
    """The same but for the order in which groups are summed."""
    assert fit.objective == pytest.approx(reference.objective, rel=1e-13)
    np.testing.assert_allclose(fit.params, reference.params, rtol=1e-12)
    np.testing.assert_allclose(fit.theta, reference.theta, rtol=1e-7)


def chunked(data, cuts=(50, 51, 51)):
    table = pa.table(data)
    edges = [0, *cuts, table.num_rows]
    return pa.concat_tables([table[a:b] for a, b in pairwise(edges)])


def polars_chunks(data):
    table = pa.table(data)
    parts = [pl.from_arrow(table[:50]), pl.from_arrow(table[50:])]
    return pl.concat(parts, rechunk=False)


MAKES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars in chunks": polars_chunks,
    "arrow": pa.table,
    "arrow in chunks": chunked,
    "arrow slice": lambda data: pa.concat_tables([pa.table(data)] * 2).combine_chunks()[N:],
    "dict of arrays": dict,
    "dict of lists": lambda data: {k: v.tolist() for k, v in data.items()},
    "dict of Series": lambda data: {k: pd.Series(v) for k, v in data.items()},
    "dict of polars": lambda data: {k: pl.Series(v) for k, v in data.items()},
    "dict of arrow": lambda data: {k: pa.array(v) for k, v in data.items()},
}


@pytest.mark.parametrize("make", MAKES)
def test_makes(make):
    frame = MAKES[make](DATA)
    fit = bl.lmer(FORMULA, frame)
    assert_same_bits(fit)
    np.testing.assert_array_equal(fit.predict(frame), REFERENCE.fittedvalues)


@pytest.mark.parametrize("make", MAKES)
def test_text_in_all_makes(make):
    fit = bl.lmer("y ~ c + (1 | g)", MAKES[make](DATA | {"g": NAMES, "c": NAMES > "s2"}))
    again = bl.lmer("y ~ c + (1 | g)", DATA | {"c": NAMES > "s2"})
    assert_same_fit(fit, again)
    assert fit.ranef()["g"].index.tolist() == sorted(set(NAMES))


def test_chunks_end_where_they_like():
    n = 140_000  # converted columns are read 65,536 rows at a time
    rng = np.random.default_rng(2)
    data = {"y": rng.normal(size=n), "x": rng.normal(size=n), "g": rng.integers(0, 300, n)}
    plain = bl.lmer(FORMULA, data)
    assert_same_fit(bl.lmer(FORMULA, chunked(data, (65_535, 65_537, 131_072))), plain)
    assert_same_fit(bl.lmer("y ~ I(x) + (1 | g)", data), plain)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", [*INTEGERS, "float32"])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, chunked, dict])
def test_types(make, dtype):
    assert_same_bits(bl.lmer(FORMULA, make(DATA | {"x": DATA["x"].astype(dtype)})))


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f8", ">i4", "object"])
def test_numpy_types(dtype):
    assert_same_bits(bl.lmer(FORMULA, DATA | {"x": DATA["x"].astype(dtype)}))


@pytest.mark.parametrize(
    "dtype", ["Int8", "Int64", "UInt64", "Float32", "Float64", "int16[pyarrow]", "double[pyarrow]"]
)
def test_pandas_types(dtype):
    frame = pd.DataFrame(DATA)
    assert_same_bits(bl.lmer(FORMULA, frame.assign(x=frame["x"].astype(dtype))))


def test_decimals_and_mixed_numbers():
    x = [decimal.Decimal(int(v)) for v in DATA["x"]]
    assert_same_bits(bl.lmer(FORMULA, DATA | {"x": np.array(x)}))
    assert_same_bits(bl.lmer(FORMULA, pa.table(DATA | {"x": pa.array(x)})))
    mixed = np.array([int(v) if v % 2 else float(v) for v in DATA["x"]], dtype=object)
    assert_same_bits(bl.lmer(FORMULA, DATA | {"x": mixed}))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: pd.DataFrame(DATA | {"b": b}),
        lambda b: pd.DataFrame(DATA | {"b": b}).astype({"b": "boolean"}),
        lambda b: pd.DataFrame(DATA | {"b": b}).astype({"b": object}),
        lambda b: pl.DataFrame(DATA | {"b": b}),
        lambda b: pa.table(DATA | {"b": b}),
        lambda b: DATA | {"b": b},
    ],
)
def test_booleans_next_to_an_intercept(make):
    b = DATA["x"] > 25
    number = bl.lmer("y ~ b + (1 | g)", DATA | {"b": b.astype(float)})
    fit = bl.lmer("y ~ b + (1 | g)", make(b))
    assert fit.objective == pytest.approx(number.objective, rel=1e-13)
    np.testing.assert_allclose(fit.params, number.params, rtol=1e-11)
    assert fit.params.index[1] == "b[T.True]"


def strided(values):
    block = np.zeros((N, 5))
    block[:, 3] = values
    return block[:, 3]


def reversed_view(values):
    return values[::-1].copy()[::-1]


def read_only(values):
    out = values.copy()
    out.setflags(write=False)
    return out


def field_of_a_packed_record(values):
    records = np.zeros(N, dtype=[("flag", "i1"), ("value", values.dtype)])
    records["value"] = values
    return records["value"]


@pytest.mark.parametrize("view", [strided, reversed_view, read_only, field_of_a_packed_record])
def test_views_are_read_in_place(view):
    for name in ("y", "x", "g"):
        values = view(DATA[name])
        assert_same_bits(bl.lmer(FORMULA, DATA | {name: values}))
        column = Frame({name: values}).column(name)
        assert isinstance(column, Numbers)
        assert np.shares_memory(column.array, values)


def test_rows_in_another_order():
    fit = bl.lmer(FORMULA, {name: values[::-1] for name, values in DATA.items()})
    assert_same_fit(fit)
    np.testing.assert_allclose(fit.fittedvalues[::-1], REFERENCE.fittedvalues, rtol=1e-12)


def test_labels_of_rows_play_no_part():
    frame = pd.DataFrame(DATA)
    assert_same_bits(bl.lmer(FORMULA, frame.set_axis(np.zeros(N, dtype=int))))
    assert_same_bits(bl.lmer(FORMULA, frame, weights=pd.Series(np.ones(N), index=range(1, N + 1))))
    shuffled = DATA | {"y": pd.Series(DATA["y"], index=range(N, 0, -1))}
    assert_same_bits(bl.lmer(FORMULA, shuffled))


def test_a_series_in_another_order_than_the_rows_is_refused():
    frame = pd.DataFrame(DATA)
    with pytest.raises(bl.DataError, match=r"weights: .* another order"):
        bl.lmer(FORMULA, frame, weights=frame["x"].abs().sort_values() + 1)


def test_names_that_are_no_text():
    frame = pd.DataFrame(DATA).rename(columns={"x": 0})
    np.testing.assert_array_equal(bl.lmer("y ~ `0` + (1 | g)", frame).params, REFERENCE.params)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "uint8"])
@pytest.mark.parametrize("make", ["pandas", "polars", "arrow", "dict"])
def test_numbers_share_memory_with_their_source(make, dtype):
    values = np.arange(10).astype(dtype)
    if make == "pandas":
        data = pd.DataFrame({"v": values, "w": values})
        source = data["v"].to_numpy(copy=False)
    elif make == "polars":
        data = pl.DataFrame({"v": values})
        source = data["v"].to_numpy(allow_copy=False)
    elif make == "arrow":
        data = pa.table({"v": values})
        source = data["v"].chunk(0).to_numpy(zero_copy_only=True)
    else:
        data, source = {"v": values}, values
    column = Frame(data).column("v")
    assert isinstance(column, Numbers)
    assert column.array.dtype == dtype
    assert np.shares_memory(column.array, source)
    assert np.shares_memory(column.rows(2, 5), source)
    np.testing.assert_array_equal(column.rows(2, 5), values[2:5])


G = DATA["g"]
GROUPS = {
    "int8": G.astype(np.int8),
    "int32": G.astype(np.int32),
    "uint64": G.astype(np.uint64),
    "negative": G - 100,
    "sparse": G * 10**9 - 5 * 10**9,
    "huge": G + 2**62,
    "hugely negative": G - 2**62,
    "far apart": np.where(G < 6, G - 2**62 - 2**61, G + 2**62),
    "beyond int64": G.astype(np.uint64) + np.uint64(2**63),
    "whole floats": G.astype(float),
    "float32": G.astype(np.float32),
    "fractions": G + 0.5,
    "Int64": pd.array(G, dtype="Int64"),
    "objects": G.astype(object),
    "numpy text": np.array([f"s{k:02d}" for k in G]),
    "text objects": np.array([f"s{k:02d}" for k in G], dtype=object),
    "pandas string": pd.array([f"s{k:02d}" for k in G], dtype="string"),
    "arrow string": pd.array([f"s{k:02d}" for k in G], dtype="string[pyarrow]"),
    "categorical": pd.Categorical([f"s{k:02d}" for k in G]),
    "categorical of integers": pd.Categorical(G * 7),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups(kind):
    labels = GROUPS[kind]
    fit = bl.lmer(FORMULA, DATA | {"g": labels})
    assert_same_fit(fit)
    assert fit.ngroups == {"g": 12}
    modes = fit.ranef()["g"]
    assert modes.index.tolist() == sorted(set(labels.tolist()))
    np.testing.assert_allclose(modes, REFERENCE.ranef()["g"], rtol=1e-8)


def test_boolean_groups_are_two():
    fit = bl.lmer(FORMULA, DATA | {"g": G < 6})
    assert_same_fit(fit, bl.lmer(FORMULA, DATA | {"g": np.where(G < 6, 1, 0)}))
    assert fit.ranef()["g"].index.tolist() == [False, True]


def test_order_of_groups():
    backwards = [f"s{k}" for k in range(20, -1, -1)]  # s12 … s20 have no rows
    used = [name for name in backwards if name in set(NAMES)]
    category = pd.Categorical(NAMES, categories=backwards)
    for data in (
        DATA | {"g": category},
        pd.DataFrame(DATA | {"g": category}),
        pa.table(DATA | {"g": pa.DictionaryArray.from_pandas(category)}),
    ):
        fit = bl.lmer(FORMULA, data)
        assert_same_fit(fit)
        assert fit.ngroups == {"g": 12}
        assert fit.ranef()["g"].index.tolist() == used
        assert fit.coef()["g"].index.tolist() == used
    by_name = REFERENCE.ranef()["g"]["(Intercept)"].set_axis([f"s{k}" for k in range(12)])
    np.testing.assert_allclose(fit.ranef()["g"]["(Intercept)"], by_name[used], rtol=1e-8)


@pytest.mark.parametrize(
    "labels",
    [
        pl.Series(NAMES),
        pl.Series(NAMES, dtype=pl.Categorical),
        pa.array(NAMES),
        pa.array(NAMES, type=pa.large_string()),
        pa.array(NAMES).cast(pa.string_view()),
        pa.array(NAMES).dictionary_encode(),
        pa.chunked_array([pa.array(NAMES[:40]), pa.array(NAMES[40:])]),
        pa.chunked_array([pa.array(p).dictionary_encode() for p in (NAMES[:40], NAMES[40:])]),
    ],
    ids=lambda labels: str(getattr(labels, "dtype", getattr(labels, "type", None))),
)
def test_text_groups_of_polars_and_arrow(labels):
    frame = pl.DataFrame if isinstance(labels, pl.Series) else pa.table
    fit = bl.lmer(FORMULA, frame(DATA | {"g": labels}))
    assert_same_fit(fit)
    modes = fit.ranef()["g"]["(Intercept)"]
    by_name = REFERENCE.ranef()["g"]["(Intercept)"].set_axis([f"s{k}" for k in range(12)])
    np.testing.assert_allclose(modes.loc[by_name.index], by_name, rtol=1e-8)


def test_crossed_labels_as_one_factor():
    a, b = np.array(list("qp"))[G % 2], G // 2 + 5
    fit = bl.lmer("y ~ x + (1 | a:b)", DATA | {"a": a, "b": b})
    assert_same_fit(fit)
    labels = [f"{p}:{k}" for p in "pq" for k in range(5, 11)]
    assert fit.ranef()["a:b"].index.tolist() == labels
    sparse = bl.lmer("y ~ x + (1 | a:b)", DATA | {"a": G * 10**6, "b": G})
    assert_same_fit(sparse)
    assert sparse.ngroups == {"a:b": 12}


MISSING = [3, 7, 40]
KEEP = np.setdiff1d(np.arange(N), MISSING)
COMPLETE = {name: values[KEEP] for name, values in DATA.items()}


def without(values):
    """The values as a list, with None in the missing rows."""
    return [None if k in MISSING else v for k, v in enumerate(values.tolist())]


HOLES = {
    "pandas NaN": lambda v: pd.DataFrame(DATA | {"x": pd.Series(without(v), dtype=float)}),
    "pandas Float64": lambda v: pd.DataFrame(DATA | {"x": pd.array(without(v), "Float64")}),
    "pandas Int64": lambda v: pd.DataFrame(DATA | {"x": pd.array(without(v), "Int64")}),
    "pandas Arrow": lambda v: pd.DataFrame(DATA | {"x": pd.array(without(v), "double[pyarrow]")}),
    "objects": lambda v: DATA | {"x": np.array(without(v), dtype=object)},
    "masked array": lambda v: DATA | {"x": np.ma.array(v, mask=np.isin(np.arange(N), MISSING))},
    "polars null": lambda v: pl.DataFrame(DATA | {"x": without(v)}),
    "polars integers": lambda v: pl.DataFrame(DATA | {"x": without(v.astype(int))}),
    "polars NaN": lambda v: pl.DataFrame(DATA | {"x": np.array(without(v), dtype=float)}),
    "arrow null": lambda v: pa.table(DATA | {"x": pa.array(without(v))}),
    "arrow integers": lambda v: pa.table(DATA | {"x": pa.array(without(v.astype(int)))}),
    "arrow chunks": lambda v: chunked(DATA | {"x": pa.array(without(v))}),
}


@pytest.mark.parametrize("kind", HOLES)
def test_missing_numbers_are_dropped_and_counted(kind):
    fit = bl.lmer(FORMULA, HOLES[kind](DATA["x"]))
    assert_same_fit(fit, bl.lmer(FORMULA, COMPLETE))
    assert fit.nobs == N - 3
    assert (fit.dropped.n_rows, fit.dropped.by_column) == (3, {"x": 3})
    assert fit.fittedvalues.shape == fit.resid.shape == (N - 3,)
    np.testing.assert_allclose(fit.fittedvalues + fit.resid, DATA["y"][KEEP], rtol=1e-12)


TEXT_HOLES = {
    "objects": lambda v: DATA | {"g": np.array(v, dtype=object)},
    "pandas text": lambda v: pd.DataFrame(DATA | {"g": pd.array(v, dtype="string")}),
    "categorical": lambda v: pd.DataFrame(DATA | {"g": pd.Categorical(v)}),
    "polars text": lambda v: pl.DataFrame(DATA | {"g": v}),
    "polars categorical": lambda v: pl.DataFrame(DATA | {"g": pl.Series(v, dtype=pl.Categorical)}),
    "arrow text": lambda v: pa.table(DATA | {"g": pa.array(v)}),
    "arrow dictionary": lambda v: pa.table(DATA | {"g": pa.array(v).dictionary_encode()}),
}


@pytest.mark.parametrize("kind", TEXT_HOLES)
def test_missing_text_is_dropped_and_counted(kind):
    frame = TEXT_HOLES[kind](without(NAMES))
    complete = bl.lmer(FORMULA, COMPLETE)
    fit = bl.lmer(FORMULA, frame)
    assert_same_fit(fit, complete)
    assert (fit.dropped.n_rows, fit.dropped.by_column) == (3, {"g": 3})
    assert fit.ngroups == complete.ngroups
    factor = bl.lmer("y ~ x + g", frame)
    np.testing.assert_allclose(
        factor.objective, bl.lmer("y ~ x + C(g)", COMPLETE).objective, rtol=1e-12
    )
    assert (factor.dropped.n_rows, factor.dropped.by_column) == (3, {"g": 3})


@pytest.mark.parametrize(
    "make",
    [
        lambda b: pd.DataFrame(DATA | {"b": pd.array(b, dtype="boolean")}),
        lambda b: DATA | {"b": np.array(b, dtype=object)},
        lambda b: pl.DataFrame(DATA | {"b": b}),
        lambda b: pa.table(DATA | {"b": b}),
    ],
)
def test_missing_booleans_are_dropped_and_counted(make):
    b = DATA["x"] > 25
    fit = bl.lmer("y ~ b + (1 | g)", make(without(b)))
    again = bl.lmer("y ~ b + (1 | g)", COMPLETE | {"b": b[KEEP]})
    assert_same_fit(fit, again)
    assert fit.dropped.by_column == {"b": 3}


@pytest.mark.parametrize("make", [np.asarray, list, pd.Series, pl.Series, pa.array])
def test_weights_and_offset_of_all_makes(make):
    w, o = np.linspace(1, 3, N), np.sin(np.arange(N))
    by_name = bl.lmer(FORMULA, DATA | {"w": w, "o": o}, weights="w", offset="o")
    assert_same_bits(bl.lmer(FORMULA, DATA, weights=make(w), offset=make(o)), by_name)


@pytest.mark.parametrize("dtype", ["UInt64", pd.ArrowDtype(pa.uint64())], ids=str)
@pytest.mark.parametrize("missing", [[], [5, 9]])
def test_unsigned_integers_above_the_signed_ones(dtype, missing):
    rng = np.random.default_rng(4)
    n = 120
    data = pd.DataFrame({"y": rng.normal(size=n), "k": rng.integers(0, 8, n).astype(np.uint64)})
    data["x"] = (data["k"] + np.arange(n, dtype=np.uint64)) * np.uint64(2**57)
    data["g"] = data["k"] + np.uint64(2**63)
    assert (data["x"] > 2**63).any()
    nullable = data.astype({"x": dtype, "g": dtype})
    nullable.loc[missing, "g"] = pd.NA
    fit = bl.lmer("y ~ x + (1 | g)", nullable)
    plain = bl.lmer("y ~ x + (1 | g)", data.drop(missing))
    assert fit.objective == plain.objective
    assert fit.params.tolist() == plain.params.tolist()
    assert fit.ranef()["g"].index.tolist() == sorted(set(data["g"]))


@pytest.mark.parametrize("values", [["c", "a", "b"], [7, 2, 5]], ids=["text", "numbers"])
def test_categories_of_arrow_in_pandas(values):
    column = pa.array(np.resize(values, N)).dictionary_encode()
    table = pa.table(DATA | {"c": column})
    frame = table.to_pandas().assign(c=pd.arrays.ArrowExtensionArray(column))
    for formula in ("y ~ x + (1 | c)", "y ~ x + c + (1 | g)"):
        expected = bl.lmer(formula, table)
        fit = bl.lmer(formula, frame)
        assert_same_bits(fit, expected)
        assert fit.params.index.tolist() == expected.params.index.tolist()
        chunks = bl.lmer(formula, [frame[:50], frame[50:]])
        assert chunks.params.index.tolist() == expected.params.index.tolist()
        assert chunks.objective == pytest.approx(expected.objective, rel=1e-12)
