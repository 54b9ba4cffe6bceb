"""Rows in chunks of any size, from any source, give the fit of the same rows in memory."""

from __future__ import annotations

import weakref
from collections import deque
from itertools import pairwise

import blocklmm as bl
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

N = 300


def make_data():
    """Rows with missing values, in whose later parts levels appear that were not there before."""
    rng = np.random.default_rng(1)
    row = np.arange(N)
    g = rng.integers(0, 6, N) + 3 * (row // 75)  # new groups all along
    school = np.array([f"school {k % 4}" for k in g])
    late = np.where(row < 200, "early", np.where(row < 280, "later", "last"))
    data = pd.DataFrame(
        {
            "x": rng.normal(5, 2, N),
            "z": rng.uniform(1, 3, N) + 0.01 * row,
            "arm": np.where(rng.random(N) < 0.5, late, "early"),
            "flag": rng.random(N) < 0.4,
            "n": rng.integers(1, 4, N) + (row > 150),
            "w": rng.uniform(0.5, 2, N),
            "shift": rng.normal(size=N),
            "g": g - 8,
            "name": [f"s{k}" for k in g],
            "school": school,
            "room": rng.integers(0, 3, N),
            "rater": rng.integers(0, 5, N),
        }
    )
    levels = [f"s{k}" for k in range(20, -1, -1)]
    data["category"] = pd.Categorical(data["name"], categories=levels)
    data["dose"] = pd.Categorical(
        rng.choice(["low", "high"], N), categories=["never", "low", "high"]
    )
    data["nullable"] = pd.array(g, dtype="Int64")
    slopes, ranks = rng.normal(size=(20, 3)), rng.normal(size=5)
    data["y"] = 0.4 * data["x"] + 3 * slopes[g, 0] + slopes[g, 1] * data["x"]
    data["y"] += 2 * slopes[g, 2] * data["z"] + 2 * ranks[data["rater"]] + rng.normal(size=N)
    data["y"] += 2 * (late == "last") + 3 * data["flag"] + ranks[data["room"]] * (g % 4 - 1.5)
    data.loc[[5, 100, 250], "x"] = np.nan
    data.loc[[6, 100], "name"] = None
    data.loc[[7, 101, 299], "nullable"] = pd.NA
    data.loc[[8, 230], "y"] = np.nan
    return data


DATA = make_data()


def parts(data, cuts):
    """Rows between cuts; empty parts are left in."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def in_chunks(data, size=67):
    return parts(data, range(size, len(data), size))


def assert_same(found, expected):
    """Equal but for the order of sums."""
    assert found.objective == pytest.approx(expected.objective, rel=1e-12)
    near = 1e-10
    assert np.all(np.abs(found.params - expected.params) < near * expected.bse)
    largest = np.abs(expected.theta).max(initial=0.0)
    several = len(expected.ngroups) > 1  # one of few levels, of whose variance little is known
    most = (1e-9 if several else near) * largest
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=most)
    assert found.params.index.tolist() == expected.params.index.tolist()
    assert found.nobs == expected.nobs
    assert found.ngroups == expected.ngroups
    assert found.dropped == expected.dropped
    for name, modes in expected.ranef().items():
        ours = found.ranef()[name]
        assert ours.index.tolist() == modes.index.tolist()
        assert ours.columns.tolist() == modes.columns.tolist()
        largest = np.abs(modes).to_numpy().max()
        np.testing.assert_allclose(ours, modes, rtol=0, atol=(1e-8 if several else near) * largest)


MODELS = {  # formula and other arguments
    "intercepts": ("y ~ x + (1 | g)", {}),
    "slopes": ("y ~ x + (x | g)", {}),
    "text": ("y ~ x + (x || name)", {}),
    "category": ("y ~ x + (1 | category)", {}),
    "nullable integers": ("y ~ x + (1 | nullable)", {}),
    "booleans": ("y ~ x + (1 | flag)", {}),
    "late levels": ("y ~ arm * x + (1 | g)", {}),
    "levels in an order": ("y ~ dose * x + flag + (1 | g)", {}),
    "numbers as levels": ("y ~ C(n) + (1 | g)", {}),
    "contrasts": ("y ~ arm + C(n, contr.sum) + (1 | g)", {"contrasts": {"arm": "helmert"}}),
    "weights and offset": ("y ~ x + (1 | g)", {"weights": "w", "offset": "shift"}),
    "offset in the formula": ("log(y + 20) ~ x + offset(shift) + (1 | g)", {"weights": "w"}),
    "poly": ("y ~ poly(x, 2) + (1 | g)", {}),
    "scale": ("y ~ scale(x) * arm + (scale(x) | g)", {}),
    "center": ("y ~ center(z) + (center(z) | g)", {}),
    "splines": ("y ~ bs(z, df=4) + (1 | g)", {}),
    "joint labels": ("y ~ x + (1 | school:room)", {}),
    "no groups": ("y ~ x + arm", {}),
    "nested": ("y ~ x + (1 | school/room)", {}),
    "crossed": ("y ~ x + (1 | name) + (1 | rater)", {}),
    "crossed slopes": ("y ~ x + arm + (x | g) + (1 | rater)", {"weights": "w"}),
}
IN_MEMORY = {name: bl.lmer(formula, DATA, **more) for name, (formula, more) in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [40, 299])
def test_frames_in_a_list(name, size):
    formula, more = MODELS[name]
    assert_same(bl.lmer(formula, in_chunks(DATA, size), **more), IN_MEMORY[name])


@pytest.mark.parametrize("name", ["category", "weights and offset", "crossed"])
def test_row_by_row(name):
    formula, more = MODELS[name]
    fit = bl.lmer(formula, in_chunks(DATA, 1), **more)
    assert_same(fit, IN_MEMORY[name])


SOURCES = {
    "Parquet": lambda folder: str(folder / "all.parquet"),
    "path": lambda folder: folder / "all.parquet",
    "Parquet in many files": lambda folder: str(folder / "part*.parquet"),
    "folder": lambda folder: folder / "parts",
    "Dataset": lambda folder: ds.dataset(folder / "parts", format="parquet"),
    "Polars lazily": lambda folder: pl.scan_parquet(folder / "part?.parquet"),
    "DuckDB": lambda folder: duckdb.read_parquet(str(folder / "part?.parquet")),
    "RecordBatchReader": lambda folder: pq.read_table(folder / "all.parquet").to_reader(41),
    "Arrow stream": lambda folder: Capsule(pq.read_table(folder / "all.parquet").to_reader(41)),
    "iterator": lambda folder: iter(in_chunks(pq.read_table(folder / "all.parquet").to_pandas())),
    "generator of polars frames": lambda folder: (
        part for part in in_chunks(pl.read_parquet(folder / "all.parquet"))
    ),
    "iterator of batches": lambda folder: pq.ParquetFile(folder / "all.parquet").iter_batches(90),
    "function": lambda folder: lambda: pq.ParquetFile(folder / "all.parquet").iter_batches(33),
    "list of tables": lambda folder: in_chunks(pq.read_table(folder / "all.parquet")),
    "list of dicts": lambda _: [dict(part) for part in in_chunks(DATA)],
    "function that gives a list": lambda _: lambda: in_chunks(DATA),
    "deque": lambda _: deque(in_chunks(DATA)),
    "values of a dict": lambda _: dict(enumerate(in_chunks(DATA))).values(),
    "object that is iterated over": lambda _: Chunks(DATA),
}


class Chunks:
    """Nothing but what makes an iterator."""

    def __init__(self, data):
        self._data = data

    def __iter__(self):
        return iter(in_chunks(self._data))


class Capsule:
    """Nothing but an Arrow C stream."""

    def __init__(self, reader):
        self._reader = reader

    def __arrow_c_stream__(self, requested_schema=None):
        return self._reader.__arrow_c_stream__(requested_schema)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows")
    (out / "parts").mkdir()
    DATA.to_parquet(out / "all.parquet", row_group_size=70, index=False)
    for k, part in enumerate(in_chunks(DATA, 61)):
        part.to_parquet(out / f"part{k}.parquet", index=False)
        part.to_parquet(out / "parts" / f"part{k}.parquet", index=False)
    return out


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "name", ["text", "slopes", "booleans", "weights and offset", "nullable integers", "nested"]
)
def test_sources(folder, source, name):
    formula, more = MODELS[name]
    fit = bl.lmer(formula, SOURCES[source](folder), **more)
    assert_same(fit, IN_MEMORY[name])


ONCE = ("RecordBatchReader", "Arrow stream", "iterator", "generator of polars frames")


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {*ONCE, "iterator of batches"}))
@pytest.mark.parametrize("name", ["late levels", "scale", "numbers as levels"])
def test_sources_that_are_read_first_for_levels_and_states(folder, source, name):
    formula, more = MODELS[name]
    fit = bl.lmer(formula, SOURCES[source](folder), **more)
    assert_same(fit, IN_MEMORY[name])


@pytest.mark.parametrize("source", ONCE)
def test_declared_levels_need_no_reading_first(folder, source):
    levels = {"arm": ["early", "last", "later"], "n": [1, 2, 3, 4]}
    fit = bl.lmer("y ~ arm * x + C(n) + (1 | g)", SOURCES[source](folder), levels=levels)
    assert_same(fit, bl.lmer("y ~ arm * x + C(n) + (1 | g)", DATA))
    backwards = {"arm": ["later", "last", "early"]}
    fit = bl.lmer("y ~ arm + x + (1 | g)", SOURCES[source](folder), levels=backwards)
    again = DATA.assign(arm=pd.Categorical(DATA["arm"], categories=backwards["arm"]))
    assert_same(fit, bl.lmer("y ~ arm + x + (1 | g)", again))


CATEGORIES = ", ".join(f"'{level}'" for level in DATA["category"].cat.categories)
ENUM = f"x, y, cast(category as enum({CATEGORIES})) as category"


def in_enums():
    plain = DATA.astype({"category": str, "dose": str, "nullable": float})
    kinds = {"category": pl.Enum(DATA["category"].cat.categories.tolist())}
    return pl.from_pandas(plain).cast(kinds)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "all.parquet",
        lambda folder: folder / "parts",
        lambda folder: pq.read_table(folder / "all.parquet").to_reader(50),
        lambda folder: duckdb.read_parquet(str(folder / "all.parquet")).project(ENUM),
        lambda _: in_enums().lazy(),
        lambda _: in_chunks(in_enums()),
        lambda _: in_chunks(DATA),
    ],
)
def test_categories_keep_their_order(folder, make):
    fit = bl.lmer("y ~ x + (1 | category)", make(folder))
    assert_same(fit, IN_MEMORY["category"])
    levels = DATA["category"].cat.categories
    used = set(DATA["category"][DATA[["x", "y"]].notna().all(axis=1)])
    assert fit.ranef()["category"].index.tolist() == [k for k in levels if k in used]


@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(st.integers(0, N), max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["pandas", "polars", "arrow"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_cuts_of_any_order(name, cuts, seed, make):
    formula, more = MODELS[name]
    order = np.random.default_rng(seed).permutation(N)
    data = DATA.iloc[order].reset_index(drop=True)
    chunks = parts(data, cuts)
    if make != "pandas":
        kinds = {"category": str, "dose": str} if make == "polars" else {}
        if kinds and name in ("category", "levels in an order"):
            return  # polars orders no levels but those of an Enum
        table = pa.Table.from_pandas(data.astype(kinds), preserve_index=False)
        whole = pl.from_arrow(table) if make == "polars" else table
        edges = [0, *sorted(cuts), N]
        chunks = [whole[a:b] for a, b in pairwise(edges)]
    fit = bl.lmer(formula, chunks, **more)
    assert_same(fit, IN_MEMORY[name])


@pytest.mark.parametrize("reml", [True, False])
def test_what_a_fit_of_chunks_can_tell(reml):
    formula, _ = MODELS["slopes"]
    chunks, whole = (bl.lmer(formula, d, reml=reml) for d in (in_chunks(DATA), DATA))
    pd.testing.assert_frame_equal(chunks.tidy(), whole.tidy(), rtol=1e-7)
    new = DATA[:20]
    np.testing.assert_allclose(chunks.predict(new), whole.predict(new), rtol=0, atol=1e-8)
    left = whole.predict(new, interval="prediction")
    pd.testing.assert_frame_equal(chunks.predict(new, interval="prediction"), left, rtol=1e-8)
    np.testing.assert_allclose(chunks.fittedvalues, whole.fittedvalues, rtol=0, atol=1e-8)
    np.testing.assert_allclose(chunks.resid, whole.resid, rtol=0, atol=1e-8)
    once = bl.lmer(formula, iter(in_chunks(DATA)), reml=reml)
    assert not once.has_data
    with pytest.raises(bl.DataError, match="without its rows"):
        once.predict()


def test_real_labels_that_are_whole_in_one_chunk():
    data = DATA.assign(g=DATA["g"].astype(float))
    data.loc[200:, "g"] += 0.5
    whole = bl.lmer("y ~ x + (1 | g)", data)
    chunks = bl.lmer("y ~ x + (1 | g)", parts(data, [100, 300]))
    assert_same(chunks, whole)
    assert chunks.ranef()["g"].index.equals(whole.ranef()["g"].index)


def test_chunks_without_any_value_of_a_column():
    data = DATA.assign(text=DATA["room"].astype(str).astype(object), x=DATA["x"].astype(object))
    data.loc[40:99, ["text", "x"]] = None
    formula = "y ~ x + text + (1 | g)"
    whole = bl.lmer(formula, data)
    for edges in ([40, 100], [40, 60, 100]):
        assert_same(bl.lmer(formula, parts(data, edges)), whole)


def test_one_model_of_rows_that_come_once_is_fitted_twice():
    model = bl.LinearMixedModel("y ~ x + (x | g)", (part for part in in_chunks(DATA)))
    assert_same(model.fit(), IN_MEMORY["slopes"])
    again = bl.lmer("y ~ x + (x | g)", DATA, reml=False)
    assert_same(model.fit(reml=False), again)
    theta = [0.8, 0.1, 0.3]
    whole = bl.LinearMixedModel("y ~ x + (x | g)", DATA)
    assert model.objective(theta) == pytest.approx(whole.objective(theta), rel=1e-12)


@pytest.mark.parametrize("first", [40, 100])
def test_a_first_chunk_that_lacks_a_column(first):
    """Columns are still brought about a value near theirs, not about zero."""
    data = DATA.assign(x=DATA["x"] + 1e6, y=DATA["y"] + 1e7)
    data.loc[: first - 1, "x"] = np.nan
    whole = bl.lmer("y ~ x + (x | g)", data)
    chunks = parts(data, [first, 200])
    assert_same(bl.lmer("y ~ x + (x | g)", chunks), whole)
    assert_same(bl.lmer("y ~ x + (x | g)", iter(chunks)), whole)


def test_nothing_is_read_that_the_formula_does_not_mention(tmp_path):
    path = tmp_path / "rows.parquet"
    odd = DATA.assign(when=pd.Timestamp("2020-01-01"), parts=[[1]] * N)
    odd.to_parquet(path)
    assert_same(bl.lmer("y ~ x + (1 | g)", path), IN_MEMORY["intercepts"])
    lazily = pl.scan_parquet(path).with_columns(pl.col("name").cast(pl.Int64).alias("broken"))
    assert_same(bl.lmer("y ~ x + (1 | g)", lazily), IN_MEMORY["intercepts"])


@pytest.mark.parametrize(
    "labels",
    [
        DATA["g"].astype("int8"),
        DATA["g"] * 10**9,
        DATA["g"] * 2**58,
        DATA["g"] + 0.5,
        DATA["g"].astype(float),
        DATA["g"].astype(object),
        "größe " + DATA["g"].astype(str),
        pd.Series(np.where(DATA["g"] < 0, "", DATA["school"])),
        DATA["name"].astype(object),
        DATA["name"].astype("string[pyarrow]"),
        DATA["flag"].astype("boolean").mask(DATA["g"] == 0),
        DATA["flag"].astype(object).mask(DATA["g"] == 0, None),
        DATA["g"].astype(object).mask(DATA["g"] == 0, None),
        DATA["category"].cat.rename_categories(range(21)),
    ],
    ids=range(14),
)
def test_labels_of_all_kinds(labels):
    data = DATA.assign(g=labels)
    fit, expected = bl.lmer("y ~ x + (1 | g)", in_chunks(data)), bl.lmer("y ~ x + (1 | g)", data)
    assert_same(fit, expected)
    both = bl.lmer("y ~ x + (1 | g:room)", in_chunks(data))
    assert_same(both, bl.lmer("y ~ x + (1 | g:room)", data))


def test_a_first_chunk_that_lacks_a_covariate_of_a_product():
    data = DATA.assign(x=DATA["x"] + 1e6)
    data.loc[:39, "x"] = np.nan
    whole = bl.lmer("y ~ x * C(room) + (1 | g)", data)
    assert_same(bl.lmer("y ~ x * C(room) + (1 | g)", parts(data, [40, 200])), whole)


def counted(frames, most):
    """Frames of which no more than some are to be held at a time."""
    alive = []
    for frame in frames:
        fresh = frame.copy()
        alive.append(weakref.ref(fresh))
        assert sum(found() is not None for found in alive) <= most
        yield fresh
        del fresh


def test_values_are_looked_for_in_so_many_rows_that_come_once():
    n, size = 7 << 18, 1 << 18
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 50})
    data["y"] = data["x"] + rng.normal(size=50)[data["g"]] + rng.normal(size=n)
    data.loc[: 6 * size - 1, "x"] = np.nan
    fit = bl.lmer("y ~ x + (1 | g)", counted(in_chunks(data, size), 6))
    assert_same(fit, bl.lmer("y ~ x + (1 | g)", data))


def test_a_function_that_returns_all_rows():
    assert_same(bl.lmer("y ~ x + (1 | g)", lambda: DATA), IN_MEMORY["intercepts"])


@pytest.mark.parametrize("whole", [True, False])
def test_missing_labels_among_reals_leave_rows_out(whole):
    """As pandas reads a column of numbers with an empty cell."""
    labels = DATA["g"].to_numpy() * (1.0 if whole else 0.5)
    labels[[3, 90, 250]] = np.nan
    data = DATA.assign(g=labels)
    kept = data.dropna(subset="g").assign(g=lambda d: d["g"].astype(int) if whole else d["g"])
    expected = bl.lmer("y ~ x + (1 | g)", kept)
    for rows in (data, in_chunks(data)):
        fit = bl.lmer("y ~ x + (1 | g)", rows)
        assert fit.dropped.by_column["g"] == 3
        assert fit.objective == pytest.approx(expected.objective, rel=1e-12)
        assert fit.ranef()["g"].index.tolist() == expected.ranef()["g"].index.tolist()
        with pytest.raises(bl.DataError, match=r"'g' has missing values in \d row"):
            bl.lmer("y ~ x + (1 | g)", rows, missing="error")
    labels[7] = np.inf
    with pytest.raises(bl.DataError, match=r"'g' has infinite values in 1 row"):
        bl.lmer("y ~ x + (1 | g)", DATA.assign(g=labels))
