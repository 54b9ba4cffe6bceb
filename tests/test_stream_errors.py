"""Rows in chunks that can't be read or used: which error, and where; and rows that leave."""

from __future__ import annotations

from collections import deque

import blocklmm as bl
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from .bad_data import DATA, FORMULA, N, says


def chunks(data=DATA, size=25):
    return [data[start : start + size] for start in range(0, len(data), size)]


def write_parts(folder, *frames):
    for k, frame in enumerate(frames):
        frame.to_parquet(folder / f"part{k}.parquet", index=False)
    return str(folder / "part*.parquet")


# -- sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["nowhere.parquet", "nowhere*.parquet", "no/such/folder"])
def test_no_such_file(tmp_path, path):
    for given in (tmp_path / path, str(tmp_path / path)):
        with says(bl.DataError, "there is no file", path):
            bl.lmer(FORMULA, given)


def test_files_that_are_no_parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    for content in (b"", b"y,x,g\n1,2,3\n", b"PAR1" + bytes(100)):
        path.write_bytes(content)
        with says(bl.DataError, "rows.parquet", "can't be read"):
            bl.lmer(FORMULA, path)
    (tmp_path / "empty folder").mkdir()
    with pytest.raises(bl.DataError, match="empty folder"):
        bl.lmer(FORMULA, tmp_path / "empty folder")


def test_a_file_that_ends_early(tmp_path):
    path = tmp_path / "rows.parquet"
    pd.concat([DATA] * 100).to_parquet(path, row_group_size=500)
    content = bytearray(path.read_bytes())
    content[2_000:9_000] = bytes(7_000)
    path.write_bytes(content)
    with says(bl.DataError, "rows.parquet", "failed"):
        bl.lmer(FORMULA, path)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: write_parts(folder, DATA[:0]),
        lambda folder: ds.dataset(write_parts(folder, DATA[:0])[:-9] + "0.parquet"),
        lambda _: pl.DataFrame(DATA)[:0].lazy(),
        lambda _: pl.DataFrame(DATA).lazy().filter(pl.col("x") > 99),
        lambda _: duckdb.from_arrow(pa.Table.from_pandas(DATA)).filter("x > 99"),
        lambda _: pa.Table.from_pandas(DATA[:0]).to_reader(),
        lambda _: iter([]),
        lambda _: iter([DATA[:0], DATA[:0]]),
        lambda _: [DATA[:0]],
        lambda _: list,
        lambda _: [],
        lambda _: deque(),
    ],
)
def test_no_rows(tmp_path, make):
    with says(bl.DataError, "the data have no rows"):
        bl.lmer(FORMULA, make(tmp_path))


@pytest.mark.parametrize("things", [[1, 2], [None], [DATA["x"].to_numpy()], ["rows.csv", 1]])
def test_iterators_of_what_are_no_frames(things):
    name = repr(type(things[0]).__name__)
    with says(bl.DataError, name, "is no table", "data frames"):
        bl.lmer(FORMULA, iter(things))
    with says(bl.DataError, name, "is no table"):
        bl.lmer(FORMULA, lambda: iter(things))
    with says(bl.DataError, name, "is no table"):
        bl.lmer(FORMULA, iter([DATA, *things]))
    with says(bl.DataError, "is no table"):
        bl.lmer(FORMULA, things)


@pytest.mark.parametrize("data", [{1, 2}, object(), 3.5, [1], b"rows", np.ones(9)])
def test_what_are_no_rows_at_all(data):
    with says(bl.DataError, repr(type(data).__name__), "is no table"):
        bl.lmer(FORMULA, data)


@pytest.mark.parametrize("make", [list, tuple, deque, lambda data: dict(enumerate(data)).values()])
@pytest.mark.parametrize("wrong", [None, 3, "rows.parquet"])
def test_one_element_that_is_no_frame(make, wrong):
    with says(bl.DataError, "element 1", repr(type(wrong).__name__), "is no table"):
        bl.lmer(FORMULA, make([DATA, wrong]))


@pytest.mark.parametrize("make", [iter, lambda data: pa.Table.from_pandas(data).to_reader(25)])
def test_a_function_that_gives_the_same_iterator_again(make):
    rows = make(chunks()) if make is iter else make(DATA)
    with says(bl.DataError, "same iterator", "a new one each time"):
        bl.lmer(FORMULA, lambda: rows)


def test_an_object_that_gives_the_same_iterator_again():
    class Once:
        rows = iter(chunks())

        def __iter__(self):
            return self.rows

    with says(bl.DataError, "'Once' gives the same iterator", "a new one each time"):
        bl.lmer(FORMULA, Once())


def test_a_function_that_gives_no_iterator():
    with says(bl.DataError, "function", "failed"):
        bl.lmer(FORMULA, lambda: 5)
    with says(bl.DataError, "function", "failed"):
        bl.lmer(FORMULA, lambda rows: iter(rows))


def failing(after):
    yield from chunks()[:after]
    raise OSError("the disk is gone")


@pytest.mark.parametrize("make", [failing, lambda after: lambda: failing(after)])
def test_iterators_that_raise(make):
    with says(bl.DataError, "failed: the disk is gone") as caught:
        bl.lmer(FORMULA, make(0))
    assert isinstance(caught.value.__cause__, OSError)
    with says(bl.DataError, "failed after 50 rows: the disk is gone") as caught:
        bl.lmer(FORMULA, make(2))
    assert isinstance(caught.value.__cause__, OSError)


def test_an_interrupt_is_no_error_of_the_data():
    def interrupted():
        yield DATA
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bl.lmer(FORMULA, interrupted())


def test_queries_that_fail():
    broken = pl.DataFrame(DATA).lazy().with_columns(pl.col("a").cast(pl.Int64).alias("x"))
    with says(bl.DataError, "Polars LazyFrame", "failed"):
        bl.lmer(FORMULA, broken)
    unknown = pl.DataFrame(DATA).lazy().select("y", "nothing")
    with says(bl.DataError, "Polars LazyFrame", "nothing"):
        bl.lmer(FORMULA, unknown)
    relation = duckdb.from_arrow(pa.Table.from_pandas(DATA)).project(
        "y, g, cast(a as integer) as x"
    )
    with says(bl.DataError, "DuckDB", "failed"):
        bl.lmer(FORMULA, relation)


@pytest.mark.parametrize(
    ("read", "out", "is_among"),
    [
        ("*.parquet", "p.parquet", True),
        ("part*.parquet", "p.parquet", False),
        ("part*.parquet", "part9.parquet", True),
        ("*.parquet", "below/p.parquet", False),
        ("*.parquet", "../p.parquet", False),
        ("*.parquet", "below/../p.parquet", True),
        ("**/*.parquet", "p.parquet", True),
        ("**/*.parquet", "below/deep/p.parquet", True),
        ("**/part*.parquet", "below/deep/p.parquet", False),
        ("*/*.parquet", "below/p.parquet", True),
        ("*/*.parquet", "p.parquet", False),
        ("", "p.parquet", True),
        ("", "below/deep/p.parquet", True),
        ("", "../p.parquet", False),
        ("part0.parquet", "p.parquet", False),
        ("part0.parquet", "part0.parquet", True),
        ("link.parquet", "below/part0.parquet", True),
        ("Dataset", "p.parquet", True),
        ("Dataset", "below/deep/p.parquet", True),
        ("Dataset", "../p.parquet", False),
        ("filtered", "p.parquet", True),
    ],
)
def test_what_is_written_is_none_of_what_is_read(tmp_path, monkeypatch, read, out, is_among):
    folder = tmp_path / "rows"
    (folder / "below" / "deep").mkdir(parents=True)
    for path in ("part0.parquet", "below/part0.parquet"):
        DATA.to_parquet(folder / path)
    if read == "link.parquet":
        (folder / read).symlink_to(folder / "below" / "part0.parquet")
    monkeypatch.chdir(folder)
    sources = [folder / read, read or "."]
    if read in ("Dataset", "filtered"):
        sources = [(FOLDERS | FILTERED)[read](where) for where in (folder, ".")]
    before = sorted(tmp_path.rglob("*"))
    for data in sources:
        fit, other = bl.lmer(FORMULA, data), bl.lmer(FORMULA, DATA)
        for target in (folder / out, out):
            calls = [
                lambda: fit.predict(out=target),  # noqa: B023
                lambda: fit.augment(out=target),  # noqa: B023
                lambda: fit.predict(DATA, out=target),  # noqa: B023
                lambda: other.predict(data, out=target),  # noqa: B023
            ]
            for call in calls:
                if is_among:
                    with says(bl.OptionError, f"out={str(target)!r}", "another folder"):
                        call()
                    assert sorted(tmp_path.rglob("*")) == before
                else:
                    call()
                    found = pd.read_parquet(target)
                    assert len(found) in (N, 2 * N)
                    (folder / out).unlink()


# -- columns ---------------------------------------------------------------------------------

SOURCES = {
    "glob": lambda frame, folder: write_parts(folder, *chunks(frame)),
    "lazily": lambda frame, _: pl.DataFrame(frame).lazy(),
    "relation": lambda frame, _: duckdb.from_arrow(pa.Table.from_pandas(frame)),
    "reader": lambda frame, _: pa.Table.from_pandas(frame).to_reader(25),
    "list": lambda frame, _: chunks(frame),
    "iterator": lambda frame, _: iter(chunks(frame)),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("formula", "unknown", "nearest"),
    [
        ("y ~ zz + (1 | g)", "zz", None),
        ("Y ~ x + (1 | g)", "Y", "y"),
        ("y ~ log(agee) + (1 | g)", "agee", "age"),
        ("y ~ x + (1 | groupe)", "groupe", "group"),
        ("y ~ x + (1 | g/agee)", "agee", "age"),
    ],
)
def test_unknown_columns(tmp_path, source, formula, unknown, nearest):
    frame = DATA.rename(columns={"z": "age", "b": "group"})
    with says(bl.DataError, f"there is no column {unknown!r}") as caught:
        bl.lmer(formula, SOURCES[source](frame, tmp_path))
    assert (f"Did you mean {nearest!r}?" in str(caught.value)) == (nearest is not None)


@pytest.mark.parametrize("role", ["weights", "offset"])
def test_weights_and_offset_are_columns(role):
    with says(bl.DataError, role, "chunks", "name"):
        bl.lmer(FORMULA, chunks(), **{role: np.ones(N)})
    with says(bl.DataError, "no column 'zs'"):
        bl.lmer(FORMULA, chunks(), **{role: "zs"})
    with says(bl.DataError, f"{role} 'a'", "not numeric"):
        bl.lmer(FORMULA, chunks(), **{role: "a"})


@pytest.mark.parametrize("column", ["y", "x"])
def test_numbers_that_become_text(tmp_path, column):
    frames = chunks()
    frames[1] = frames[1].assign(**{column: "one"})
    said = (f"column {column!r}", "numbers in its first rows", "text", "from row 25 on")
    for data in (frames, iter(frames), lambda: frames):
        with says(bl.DataError, *said):
            bl.lmer(FORMULA, data)
    with says(bl.DataError, "part*.parquet", column, "text"):
        bl.lmer(FORMULA, write_parts(tmp_path, *frames))


def test_text_that_becomes_numbers():
    frames = chunks()
    frames[2] = frames[2].assign(a=3.0)
    with says(bl.DataError, "column 'a'", "text", "but numbers from row 50 on"):
        bl.lmer("y ~ a + (1 | g)", frames)


@pytest.mark.parametrize("column", ["x", "a"])
@pytest.mark.parametrize("change", ["gone", "of another kind"])
def test_files_of_another_schema(tmp_path, column, change):
    frames = chunks()
    if change == "gone":
        frames[1] = frames[1].drop(columns=column)
    else:
        frames[1] = frames[1].assign(**{column: "1" if column == "x" else 1.0})
    with says(bl.DataError, column):
        bl.lmer("y ~ x + a + (1 | g)", write_parts(tmp_path, *frames))


FOLDERS = {
    "glob": lambda folder: folder / "part*.parquet",
    "folder": lambda folder: folder,
    "Dataset": lambda folder: ds.dataset(folder, format="parquet"),
}
FILTERED = {
    "filtered": lambda folder: FOLDERS["Dataset"](folder).filter(ds.field("y") > -99),
    "filtered twice": lambda folder: FILTERED["filtered"](folder).filter(ds.field("y") < 99),
}


@pytest.mark.parametrize("source", [*FOLDERS, *FILTERED])
def test_a_file_that_lacks_a_column(tmp_path, source):
    frames = chunks()
    frames[1] = frames[1].drop(columns=["x", "z"])
    write_parts(tmp_path, *frames)
    with says(bl.DataError, "part1.parquet' has no column 'x'"):
        bl.lmer(FORMULA, (FOLDERS | FILTERED)[source](tmp_path))
    fit = bl.lmer("y ~ a + (1 | g)", (FOLDERS | FILTERED)[source](tmp_path))
    assert fit.nobs == N


@pytest.mark.parametrize("source", FOLDERS)
@pytest.mark.parametrize("column", ["x", "g"])
@pytest.mark.parametrize("first", [0, 1])
def test_integers_in_one_file_and_reals_in_another(tmp_path, source, column, first):
    data = DATA.assign(x=(10 * DATA["x"]).round(), g=DATA["g"].astype(float))
    data.loc[25:, column] += 0.5
    frames = chunks(data)
    frames[0] = frames[0].astype({column: "int64"})
    write_parts(tmp_path, *(frames if first == 0 else frames[::-1]))
    fit = bl.lmer(FORMULA, FOLDERS[source](tmp_path))
    whole = bl.lmer(FORMULA, data)
    assert fit.objective == pytest.approx(whole.objective, rel=1e-12)
    assert fit.ranef()["g"].index.tolist() == whole.ranef()["g"].index.tolist()


@pytest.mark.parametrize("source", FOLDERS)
@pytest.mark.parametrize("column", ["x", "a"])
def test_a_first_file_without_a_value(tmp_path, source, column):
    data = DATA.astype({column: object})
    data.loc[:24, column] = None
    write_parts(tmp_path, *chunks(data))
    fit = bl.lmer("y ~ x + a + (1 | g)", FOLDERS[source](tmp_path))
    assert fit.objective == pytest.approx(bl.lmer("y ~ x + a + (1 | g)", data).objective, rel=1e-12)


@pytest.mark.parametrize("column", ["x", "y", "g", "z"])
def test_a_column_that_is_gone(column):
    frames = chunks()
    frames[1] = frames[1].drop(columns=column)
    for data in (frames, iter(frames)):
        with says(bl.DataError, f"no column {column!r} from row 25 on"):
            bl.lmer(FORMULA, data, weights="z")


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [
        (["a"] * N, ("numbers", "text")),
        (DATA["x"] > 0, ("numbers", "booleans")),
    ],
)
def test_labels_of_two_kinds(labels, kinds):
    other = DATA.assign(g=labels)
    for data in ([DATA, other], iter([DATA, other])):
        with says(bl.DataError, "'g'", *kinds):
            bl.lmer(FORMULA, data)


def test_categories_of_rows_that_come_once():
    for formula in ("y ~ a + (1 | g)", "y ~ x + (a | g)", "y ~ C(g) + x"):
        with says(bl.DataError, "only once", "levels={", "learnt from all rows"):
            bl.lmer(formula, iter(chunks()))
    for expression in ("poly(x, 2)", "scale(x)", "bs(z, df=4)"):
        with says(bl.DataError, repr(expression), "only once"):
            bl.lmer(f"y ~ {expression} + (1 | g)", iter(chunks()))
    fit = bl.lmer("y ~ a + (1 | g)", iter(chunks()), levels={"a": ["q", "p", "r"]})
    assert fit.params.index.tolist() == ["Intercept", "a[T.p]", "a[T.r]"]
    booleans = bl.lmer("y ~ b + (1 | g)", iter(chunks(DATA.assign(b=DATA["b"] == "u"))))
    assert booleans.params.index.tolist() == ["Intercept", "b[T.True]"]


def test_expressions_of_whole_columns():
    for data in (chunks(), iter(chunks())):
        with says(bl.DataError, "depends on the whole column", "center()"):
            bl.lmer("y ~ I(x - np.mean(x)) + (1 | g)", data)


def test_levels_that_were_not_declared():
    for data in (chunks(), iter(chunks())):
        with says(bl.DataError, "column 'a'", "were not declared", "'r'"):
            bl.lmer("y ~ a + (1 | g)", data, levels={"a": ["p", "q"]})


@pytest.mark.parametrize(
    ("levels", "error", "parts"),
    [
        ({"aa": ["p"]}, bl.DataError, ("'aa'", "no column", "'a'")),
        ({"a": "pqr"}, bl.OptionError, ("'a'", "a list")),
        ({"a": ["p", "p"]}, bl.OptionError, ("'a'", "different values")),
        ({"a": []}, bl.OptionError, ("'a'", "different values")),
        ({"a": ["p", None]}, bl.OptionError, ("'a'", "different values")),
        (["p", "q"], bl.OptionError, ("a dict",)),
    ],
)
def test_what_levels_are(levels, error, parts):
    for data in (DATA, iter(chunks())):
        with says(error, *parts):
            bl.lmer("y ~ a + (1 | g)", data, levels=levels)


def large_labels():
    k = np.arange(400) % 40
    y = np.random.default_rng(0).normal(size=400) + k
    return pd.DataFrame({"y": y, "x": np.sin(k * y), "g": 2**53 + k})


@pytest.mark.parametrize("first", ["integers", "reals"])
@pytest.mark.parametrize("other", [2.0**53, 0.5])
def test_whole_labels_that_reals_would_merge(first, other):
    whole = large_labels()
    real = whole[:10].assign(g=other + np.arange(10))
    chunks = [whole, real] if first == "integers" else [real, whole]
    with says(bl.DataError, "'g'", "2^53", "text"):
        bl.lmer("y ~ x + (1 | g)", chunks)
    one, two = (bl.SufficientStatistics.from_data("y ~ x + (1 | g)", rows) for rows in chunks)
    with says(bl.IncompatibleError, "'g'", "2^53"):
        one + two
    small = bl.lmer("y ~ x + (1 | g)", [whole[:200], whole[200:]])
    assert small.ngroups == {"g": 40}


@pytest.mark.parametrize("make", [pl.scan_parquet, lambda path: duckdb.read_parquet(str(path))])
def test_what_a_query_reads_is_not_overwritten(tmp_path, make):
    path = tmp_path / "a.parquet"
    whole = large_labels()
    whole.to_parquet(path)
    fit = bl.lmer("y ~ x + (1 | g)", make(path))
    for ask in (fit.augment, fit.predict):
        with says(bl.OptionError, "a.parquet", "not there yet"):
            ask(out=path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole)
    fit.augment(out=tmp_path / "b.parquet")


def test_files_that_change_after_the_fit(tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    data = large_labels().assign(w=1.5, y=lambda d: d["y"].where(d["x"] > -0.9))
    data.to_parquet(path)
    fit = bl.lmer("y ~ x + offset(x) + (1 | g)", path, weights="w")
    assert len(fit.resid) == data["y"].notna().sum()
    for changed in (data.assign(y=data["y"] * 1.01), data.assign(y=data["y"] + 1), data[:-1]):
        changed.to_parquet(path)
        for ask in (lambda: fit.resid, lambda: fit.augment(out=out)):
            with says(bl.DataError, "changed since the fit"):
                ask()
        assert not out.exists()
    data.to_parquet(path)
    fit.augment(out=out)


def test_a_first_file_that_lacks_a_column(tmp_path):
    data = large_labels()
    data.drop(columns="x").to_parquet(tmp_path / "0.parquet")
    data.to_parquet(tmp_path / "1.parquet")
    with says(bl.DataError, "0.parquet' has no column 'x'"):
        bl.lmer("y ~ x + (1 | g)", tmp_path)
