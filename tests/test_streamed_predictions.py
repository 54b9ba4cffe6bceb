"""Predictions and fitted values of rows in chunks: those of the same rows in memory."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .test_streams import (
    DATA,
    MODELS,
    N,
    counted,
    in_chunks,
    parts,
)


def test_predictions_are_written_to_parquet(tmp_path):
    formula, _ = MODELS["slopes"]
    data = DATA.copy()
    data.loc[3, "x"] = np.nan
    fit, whole = (bl.lmer(formula, d) for d in (in_chunks(data), data))
    fit.predict(interval="prediction", out=tmp_path / "p.parquet")
    found = pd.read_parquet(tmp_path / "p.parquet")
    expected = whole.predict(data, interval="prediction")
    for name in ("mean", "lower", "upper"):
        np.testing.assert_allclose(found[f".{name}"], expected[name], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(found["y"], data["y"])
    fit.augment(out=tmp_path / "a.parquet")
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert found[".fitted"].isna().sum() == whole.dropped.n_rows > 1
    used = found[".fitted"].notna()
    np.testing.assert_allclose(found[".fitted"][used], whole.fittedvalues, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found[".resid"][used], whole.resid, rtol=0, atol=1e-8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "p.parquet"]


def test_predictions_that_are_interrupted_leave_nothing(tmp_path):
    formula, _ = MODELS["slopes"]
    fit = bl.lmer(formula, DATA)

    def chunks():
        yield DATA[:50]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.predict(chunks(), out=tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("group", ["g", "x2", "flag", "g:room", "g:name"])
@pytest.mark.parametrize("kind", [str, bool, int, float])
def test_labels_of_new_rows_in_another_kind(group, kind):
    data = DATA.assign(x2=DATA["g"] + 0.5)
    formula = f"y ~ z + (1 | {group})"
    whole, chunks = (bl.lmer(formula, rows) for rows in (data, in_chunks(data)))
    new = data[:20].astype({name: kind for name in group.split(":") if name != "name"})
    expected = whole.predict(new, new_levels="population")
    found = chunks.predict(parts(new, [7]), new_levels="population")
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    if kind is str:  # known as what they are in the rows of the fit
        np.testing.assert_allclose(expected, whole.predict(data[:20]), rtol=1e-12)


@pytest.mark.parametrize("category", ["arm", "C(n)"])
def test_rows_with_levels_that_only_dropped_ones_have(tmp_path, category):
    data = DATA.astype({"n": float})
    data.loc[[90, 200], ["x"]] = np.nan
    data.loc[[90, 200], "arm"] = ["none", "else"]
    data.loc[[90, 200], "n"] = [7, 9]
    formula = f"y ~ x + {category} + (x | g)"
    whole, chunks = (bl.lmer(formula, rows, weights="w") for rows in (data, in_chunks(data)))
    assert chunks.params.index.tolist() == whole.params.index.tolist()
    for name in ("fittedvalues", "resid", "pearson_resid"):
        np.testing.assert_allclose(getattr(chunks, name), getattr(whole, name), rtol=0, atol=1e-8)
    np.testing.assert_allclose(chunks.predict(), whole.predict(), rtol=0, atol=1e-8)
    chunks.predict(out=tmp_path / "p.parquet")
    chunks.augment(out=tmp_path / "a.parquet")
    for path, name in (("p.parquet", ".mean"), ("a.parquet", ".fitted")):
        found = pd.read_parquet(tmp_path / path)[name]
        assert found[data["x"].isna()].isna().all()
        used = data[["x", "y"]].notna().all(axis=1)
        np.testing.assert_allclose(found[used], whole.fittedvalues, rtol=0, atol=1e-8)
    with pytest.raises(bl.DataError, match="was not fitted with"):
        chunks.predict([data])


@pytest.mark.parametrize("unknown", [None, np.nan])
@pytest.mark.parametrize("interval", [None, "prediction"])
def test_new_rows_whose_response_is_unknown_are_not_held(unknown, interval):
    whole = bl.lmer("log(y + 20) ~ x + (x | g)", DATA, weights="w")
    new = DATA.assign(y=pd.Series([unknown] * N, dtype=None if unknown else object))
    if interval is None:
        new["w"] = np.nan
    found = whole.predict(counted(in_chunks(new, 10), 4), interval=interval)
    expected = whole.predict(DATA, interval=interval)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_response_that_is_known_later_has_no_say_in_predictions():
    whole = bl.lmer("y ~ x + (x | g)", DATA)
    first = DATA[:50].assign(y=pd.Series([None] * 50, dtype=object))
    found = whole.predict([first, DATA[50:100], DATA[100:].assign(y="unknown")])
    np.testing.assert_allclose(found, whole.predict(DATA), rtol=1e-12)


def test_new_rows_without_any_value_of_a_column():
    whole = bl.lmer("y ~ x + arm + (1 | g)", DATA)
    for column, kind in (("x", object), ("x", float), ("arm", object), ("y", object)):
        new = DATA[:9].assign(**{column: pd.Series([None] * 9, dtype=kind)})
        known = np.isfinite(whole.predict(DATA[:9])) & (column == "y")
        for rows in (new, [new, new], iter([new])):
            assert np.isfinite(whole.predict(rows)[:9]).tolist() == known.tolist()


@pytest.mark.parametrize("order", [1, -1])
def test_files_of_columns_whose_type_changes_among_the_rows(tmp_path, order):
    data = DATA.assign(n=DATA["n"] + np.where(np.arange(N) < 100, 0, 0.5))
    chunks = parts(data, [100, 200])
    chunks[0] = chunks[0].astype({"n": "int64"})
    chunks[1] = chunks[1].assign(arm=pd.Series([None] * 100, dtype=object, index=chunks[1].index))
    chunks[2] = chunks[2].astype({"arm": "category", "school": "category"})
    chunks = chunks[::order]
    fit = bl.lmer("y ~ n + arm + (1 | school)", chunks)
    fit.augment(out=tmp_path / "a.parquet")
    fit.predict(chunks, out=tmp_path / "p.parquet")
    expected = pd.concat([part.astype({"arm": object, "school": str}) for part in chunks])
    for path, column, values in (
        ("a.parquet", ".resid", fit.resid),
        ("p.parquet", ".mean", fit.predict(chunks)),
    ):
        found = pd.read_parquet(tmp_path / path)
        for name in ("n", "arm", "school"):
            left, right = found[name], expected[name]
            assert (left.isna().to_numpy() == right.isna().to_numpy()).all()
            assert left.dropna().tolist() == right.dropna().tolist()
        np.testing.assert_allclose(found[column].dropna(), values[~np.isnan(values)], rtol=1e-12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "p.parquet"]


def test_a_column_that_no_type_holds_is_named(tmp_path):
    fit = bl.lmer("y ~ x + (1 | g)", DATA)
    texts = DATA[100:].assign(y="unknown")
    with pytest.raises(bl.DataError, match=r"(?s)change among the rows.*y: double.*y: .*string"):
        fit.predict([DATA[:100], texts], out=tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())
