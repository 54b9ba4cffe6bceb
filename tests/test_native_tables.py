"""Tables are of the library that the rows came in, with the numbers of pandas'."""

from __future__ import annotations

import pickle
import subprocess
import sys

import blocklmm as bl
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

SLEEP = bl.datasets.load("sleepstudy").astype({"Subject": str})
FORMULA = "Reaction ~ Days + (Days | Subject)"
FIT = bl.lmer(FORMULA, SLEEP)
POLARS = pl.DataFrame({name: SLEEP[name].to_list() for name in SLEEP})
EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
FRAMES = {pl.DataFrame: POLARS, pa.Table: POLARS.to_arrow()}
CHUNKS = {
    "LazyFrame": (pl.DataFrame, POLARS.lazy),
    "list of polars": (pl.DataFrame, lambda: [POLARS[:70], POLARS[70:]]),
    "iterator of polars": (pl.DataFrame, lambda: iter([POLARS[:70], POLARS[70:]])),
    "function that gives polars": (pl.DataFrame, lambda: lambda: [POLARS[:70], POLARS[70:]]),
    "polars, then pandas": (pl.DataFrame, lambda: [POLARS[:70], SLEEP[70:]]),
    "list of pyarrow": (pa.Table, lambda: [POLARS[:70].to_arrow(), POLARS[70:].to_arrow()]),
    "list of record batches": (pa.Table, lambda: POLARS.to_arrow().to_batches(70)),
}


def values(table):
    """Columns as lists."""
    if isinstance(table, pd.DataFrame):
        return table.to_dict("list")
    return table.to_pydict() if isinstance(table, pa.Table) else table.to_dict(as_series=False)


def tables(fit):
    new = fit.predict(interval="prediction")
    return [*(fit.tidy(effects) for effects in EFFECTS), fit.glance(), fit.augment(), new]


@pytest.mark.parametrize("kind", FRAMES)
def test_tables_of_frames_in_memory(kind):
    fit = bl.lmer(FORMULA, FRAMES[kind])
    for found, expected in zip(tables(fit), tables(FIT), strict=True):
        assert type(found) is kind
        np.testing.assert_equal(values(found), values(expected))


@pytest.mark.parametrize("name", CHUNKS)
def test_tables_of_chunks(name):
    kind, make = CHUNKS[name]
    fit = bl.lmer(FORMULA, make())
    found = tables(fit) if fit.has_data else [fit.tidy(), fit.glance()]
    expected = tables(FIT) if fit.has_data else [FIT.tidy(), FIT.glance()]
    for mine, other in zip(found, expected, strict=True):
        assert type(mine) is kind
        assert list(values(mine)) == list(other)
        for column, of_pandas in values(other).items():
            if isinstance(of_pandas[0], str):
                assert values(mine)[column] == of_pandas
            else:
                np.testing.assert_allclose(values(mine)[column], of_pandas, rtol=1e-6)


def test_tables_of_all_else_are_of_pandas(tmp_path):
    path = tmp_path / "sleep.parquet"
    POLARS.write_parquet(path)
    connection = duckdb.connect()
    connection.register("sleep", POLARS.to_arrow())
    statistics = bl.SufficientStatistics.from_data(FORMULA, POLARS)
    fits = [
        bl.lmer(FORMULA, data)
        for data in (
            path,
            ds.dataset(path),
            POLARS.to_arrow().to_reader(),
            connection.table("sleep"),
            POLARS.to_dict(),
            POLARS.to_dict(as_series=False),
            [SLEEP[:70], POLARS[70:]],
        )
    ]
    for fit in (*fits, statistics.fit()):
        assert isinstance(fit.tidy(), pd.DataFrame)
        assert isinstance(fit.glance(), pd.DataFrame)
        if fit.has_data:
            assert type(fit.augment()) is pd.DataFrame
    of_polars = bl.lmer(FORMULA, POLARS)
    for labelled in (of_polars.ranef()["Subject"], of_polars.conf_int(), bl.anova(of_polars)):
        assert isinstance(labelled, pd.DataFrame)
    assert isinstance(of_polars.params, pd.Series)


def test_predictions_go_by_the_rows_that_are_predicted():
    of_polars = bl.lmer(FORMULA, POLARS)
    new = {"Days": [3.0, None, 12.0], "Subject": ["308", "309", "a new one"]}
    how = {"new_levels": "population", "interval": "confidence"}
    expected = FIT.predict(new, **how)
    assert type(of_polars.predict(new, **how)) is pd.DataFrame
    for fit in (FIT, of_polars):
        assert type(fit.predict(pd.DataFrame(new), **how)) is pd.DataFrame
        for made, kind in (
            (pl.DataFrame(new), pl.DataFrame),
            (pl.LazyFrame(new), pl.DataFrame),
            (pa.table(new), pa.Table),
        ):
            found = fit.predict(made, **how)
            assert type(found) is kind
            np.testing.assert_equal(values(found), values(expected))
            assert isinstance(fit.predict(made, new_levels="population"), np.ndarray)
    assert found["mean"].null_count == 0  # NaN, as the other numbers that can't be had


def odd_rows(n=120):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), n // 12)
    y = np.round(100 + rng.normal(0, 9, 12)[g] + rng.normal(0, 9, n))
    doses = pl.Enum(["d2", "d0", "d1", "d9"])
    return pl.DataFrame(
        {
            "y": pl.Series(y, dtype=pl.Int32),
            "x": pl.Series([None, *rng.normal(size=n - 1)], dtype=pl.Float32),
            "dose": pl.Series([f"d{k % 3}" for k in range(n)], dtype=doses),
            "site": pl.Series([f"s{k % 4}" for k in range(n)], dtype=pl.Categorical),
            "is_late": np.arange(n) % 7 == 0,
            "g": pl.Series(g, dtype=pl.UInt16),
            "not read": "text",
        }
    )


@pytest.mark.parametrize("chunks", [1, 2])
def test_columns_are_as_they_came(chunks):
    data = odd_rows()
    n = len(data) // chunks
    given = data if chunks == 1 else [data[k * n : (k + 1) * n] for k in range(chunks)]
    fit = bl.lmer("y ~ x + dose + site + is_late + (1 | g)", given)
    found = fit.augment()
    read = data.drop("not read").drop_nulls()
    assert found.select(read.columns).equals(read)
    fitted = [".fitted", ".fixed", ".resid"]
    assert found.schema == {**read.schema, **dict.fromkeys(fitted, pl.Float64)}
    np.testing.assert_array_equal(found[".resid"], read["y"] - fit.fittedvalues)
    table = odd_rows().drop("not read").to_arrow()
    of_arrow = bl.lmer(fit.formula, table).augment()
    assert of_arrow.drop_columns(fitted).equals(table.slice(1))


def test_chunks_of_other_types_are_widened():
    whole = POLARS.with_columns(Reaction=pl.col("Reaction").round())
    first, second = whole[:70].with_columns(pl.col("Reaction").cast(pl.Int64)), whole[70:]
    for chunks in ([first, second], [first.to_arrow(), second.to_arrow()]):
        found = bl.lmer(FORMULA, chunks).augment()
        assert values(found)["Reaction"] == whole["Reaction"].to_list()


def test_a_response_that_is_none_of_the_columns():
    fit = bl.lmer("log(Reaction) ~ Days + (1 | Subject)", POLARS)
    found = fit.augment()
    assert found.columns == [
        "Reaction", "Days", "Subject", "log(Reaction)", ".fitted", ".fixed", ".resid",
    ]  # fmt: skip
    np.testing.assert_allclose(found["log(Reaction)"], np.log(POLARS["Reaction"]), rtol=1e-15)
    again = bl.lmer(FORMULA, POLARS).refit(np.arange(180.0) % 7)
    assert type(again.tidy()) is pl.DataFrame
    assert again.augment()["Reaction"].to_list() == (np.arange(180.0) % 7).tolist()


def test_labels_of_groups():
    rng = np.random.default_rng(5)
    a, b = np.arange(200) % 20, np.arange(200) // 20
    data = {"y": rng.normal(size=200) + a, "a": a + 2**40, "b": [f"b{k}" for k in b], "c": b > 4}
    table = pl.DataFrame(data)
    whole = bl.lmer("y ~ 1 + (1 | a)", table).tidy("ran_vals")
    assert whole["level"].dtype == pl.Int64
    assert table.join(whole, left_on="a", right_on="level")["estimate"].null_count() == 0
    assert bl.lmer("y ~ 1 + (1 | c)", table).tidy("ran_coefs")["level"].dtype == pl.Boolean
    both = bl.lmer("y ~ 1 + (1 | a) + (1 | b)", table).tidy("ran_vals")
    assert both["level"].dtype == pl.String
    expected = bl.lmer("y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame(data)).tidy("ran_vals")
    assert both["level"].to_list() == expected["level"].map(str).to_list()
    assert both["estimate"].to_list() == expected["estimate"].to_list()


def test_without_random_effects():
    found = bl.lmer("Reaction ~ Days", POLARS).tidy("ran_vals")
    assert found.shape == (0, 8)
    assert found.schema["term"] == pl.String
    assert found.schema["estimate"] == pl.Float64


def test_pickles_and_refits_keep_the_library():
    fit = bl.lmer(FORMULA, POLARS)
    model = bl.LinearMixedModel(FORMULA, POLARS, keep_data=True)
    restored = pickle.loads(pickle.dumps(fit))
    for other in (restored, fit.refit_ml(), pickle.loads(pickle.dumps(model)).fit()):
        assert type(other.tidy()) is pl.DataFrame
    assert restored.tidy().equals(fit.tidy())
    kept = pickle.loads(pickle.dumps(model.fit()))
    assert kept.augment().equals(fit.augment())


def test_many_responses():
    Y = np.random.default_rng(2).normal(size=(180, 3)) + SLEEP[["Reaction"]].to_numpy()
    names = ["a", "b", "c"]
    expected = bl.lmer_many("~ Days + (1 | Subject)", SLEEP, Y, names=names)
    for kind, design in FRAMES.items():
        fits = bl.lmer_many("~ Days + (1 | Subject)", design, pl.DataFrame(Y, schema=names))
        for found, of_pandas in (
            (fits.to_frame(), expected.to_frame()),
            (fits.to_frame("random"), expected.to_frame("random")),
            (fits.contrast("Days - 10"), expected.contrast("Days - 10")),
            (fits.glance(), expected.glance().reset_index()),
            (fits.fit("b").tidy(), expected.fit("b").tidy()),
        ):
            assert type(found) is kind
            np.testing.assert_equal(values(found), values(of_pandas))
        assert list(fits.params) == ["Intercept", "Days"]
        numbered = bl.lmer_many("~ Days + (1 | Subject)", design, Y)
        assert values(numbered.glance())["response"] == [0, 1, 2]
        assert type(pickle.loads(pickle.dumps(fits)).glance()) is kind


def test_what_reads_tables_reads_those_of_polars():
    from matplotlib.figure import Figure

    fit = bl.lmer(FORMULA, POLARS)
    assert bl.model_table(fit, show="conf.int") == bl.model_table(FIT, show="conf.int")
    assert fit.summary() == FIT.summary()
    ax = bl.plot.fixed_effects(fit, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Days"]
    assert (
        len(bl.plot.growth_curves(fit, "Days", most=4, axes=Figure().subplots(2, 2).ravel())) == 4
    )


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
import blocklmm as bl
import polars as pl

data = pl.DataFrame({name: v.tolist() for name, v in bl.datasets.load("sleepstudy").items()})
data = data.with_columns(pl.col("Subject").cast(pl.String))
for given in (data, data.lazy(), data.with_columns(pl.col("Subject").cast(pl.Categorical))):
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", given)
    found = [fit.tidy(e) for e in ("fixed", "ran_pars", "ran_vals", "ran_coefs")]
    found += [fit.glance(), fit.augment(), fit.predict(data, interval="prediction")]
    assert all(type(table) is pl.DataFrame for table in found)
print(found[0]["estimate"][1])
"""


def test_polars_without_pyarrow():
    command = [sys.executable, "-W", "error", "-c", WITHOUT_PYARROW]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(FIT.params["Days"], rel=1e-9)
