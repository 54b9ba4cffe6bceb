"""``blocklmm predict``: the numbers of ``fit.predict``, by a kept model or by data."""

from __future__ import annotations

import io
import json
import types

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.statistics_file import read as read_file

from .conftest import INTERCEPTS, SLOPES


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.fixture
def new(folder):
    table = pd.DataFrame(
        {"Subject": [308, 309, 372], "other": ["a", "b", "c"], "Days": [3.0, np.nan, 12.5]}
    )
    table.to_csv(folder / "new.csv", index=False)
    table.to_parquet(folder / "new.parquet")
    return table


@pytest.fixture
def kept(run, sleep_csv):
    assert run("fit", sleep_csv, SLOPES, "--quiet", "--save", "sleep.blmm").status == 0
    return "sleep.blmm"


MODELS = [["sleep.blmm"], ["sleep.csv", SLOPES], ["sleep.parquet", SLOPES]]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m[0])
@pytest.mark.parametrize("rows", ["new.csv", "new.parquet"])
@pytest.mark.parametrize("out", ["-", "p.csv", "p.parquet"])
@pytest.mark.parametrize("interval", [None, "prediction", "confidence"])
@pytest.mark.usefixtures("kept")
def test_predictions(run, folder, sleep, new, model, rows, out, interval):
    sleep.to_parquet(folder / "sleep.parquet")
    before = {p.name for p in folder.iterdir()}
    arguments = ["--out", out] if out != "-" else []
    arguments += ["--interval", interval, "--level", 0.9] if interval else []
    ended = run("predict", *model, rows, *arguments)
    assert (ended.status, ended.err) == (0, "")
    if out == "-":
        found = pd.read_csv(io.StringIO(ended.out))
    else:
        found = pd.read_csv(out) if out.endswith("csv") else pd.read_parquet(out)
    names = ["mean", "lower", "upper"] if interval else ["mean"]
    assert sorted(found) == sorted(["Subject", "Days", *(f".{name}" for name in names)])
    assert found["Subject"].tolist() == new["Subject"].tolist()
    expected = bl.lmer(SLOPES, sleep).predict(new, interval=interval, level=0.9)
    expected = expected[names] if interval else pd.DataFrame({"mean": expected})
    np.testing.assert_allclose(found[[f".{name}" for name in names]], expected, rtol=1e-9)
    assert found[".mean"].isna().tolist() == [False, True, False]
    assert {p.name for p in folder.iterdir()} - before == ({out} - {"-"})


@pytest.mark.usefixtures("new")
def test_a_kept_model_is_fitted_as_it_was(run, sleep_csv, sleep):
    means = {}
    for method in ("--ml", "--reml"):
        run("fit", sleep_csv, SLOPES, method, "--save", "m.blmm")
        assert read_file("m.blmm")[0]["fit"] == {"reml": method == "--reml"}
        for again in ([], ["--ml"], ["--reml"]):
            ended = run("predict", "m.blmm", "new.csv", *again, "--interval", "confidence")
            means[(method, *again)] = pd.read_csv(io.StringIO(ended.out))[".upper"].dropna()
    ml, reml = (
        bl.lmer(SLOPES, sleep, reml=reml).predict(
            pd.read_csv("new.csv").dropna(), interval="confidence"
        )["upper"]
        for reml in (False, True)
    )
    for keys, expected in (
        ([("--ml",), ("--ml", "--ml"), ("--reml", "--ml")], ml),
        ([("--reml",), ("--ml", "--reml"), ("--reml", "--reml")], reml),
    ):
        for key in keys:
            np.testing.assert_allclose(means[key], expected, rtol=1e-9)


@pytest.mark.usefixtures("new")
def test_statistics_of_the_library_are_a_model(run, sleep):
    bl.SufficientStatistics.from_data(SLOPES, sleep).save("s.blmm")
    found = pd.read_csv(io.StringIO(run("predict", "s.blmm", "new.csv").out))[".mean"].dropna()
    new = pd.read_csv("new.csv").dropna()
    np.testing.assert_allclose(found, bl.lmer(SLOPES, sleep).predict(new), rtol=1e-9)


def test_a_kept_model_is_statistics_of_the_library(kept, sleep):
    statistics = bl.SufficientStatistics.load(kept)
    close(statistics.fit().objective, bl.lmer(SLOPES, sleep).objective)


def test_new_groups_and_the_population(run, kept, folder, sleep):
    (folder / "new.csv").write_text("Days,Subject\n3,308\n4,somebody new\n")
    ended = run("predict", kept, "new.csv")
    assert (ended.status, ended.out) == (1, "")
    assert "somebody new" in ended.err
    fit, new = bl.lmer(SLOPES, sleep), pd.read_csv("new.csv")
    for arguments, options in (
        (["--new-levels", "population"], {"new_levels": "population"}),
        (["--population"], {"random": "population"}),
    ):
        ended = run("predict", kept, "new.csv", *arguments)
        found = pd.read_csv(io.StringIO(ended.out))[".mean"]
        np.testing.assert_allclose(found, fit.predict(new, **options), rtol=1e-9)


def test_weights_and_states_are_kept(run, folder, sleep):
    data = sleep.assign(w=np.linspace(1, 4, 180))
    data.loc[5, "Days"] = np.nan
    data.to_csv(folder / "d.csv", index=False)
    formula = "Reaction ~ poly(Days, 2) + (1 | Subject)"
    run("fit", "d.csv", formula, "--weights", "w", "--save", "m.blmm")
    data[:9].drop(columns="Reaction").to_csv(folder / "new.csv", index=False)
    expected = bl.lmer(formula, data, weights="w").predict(data[:9], interval="prediction")
    kept = run("predict", "m.blmm", "new.csv", "--interval", "prediction")
    anew = run("predict", "d.csv", formula, "new.csv", "--interval=prediction", "--weights=w")
    for ended in (kept, anew):
        assert (ended.status, ended.err) == (0, "")
        found = pd.read_csv(io.StringIO(ended.out))
        assert found.columns[:3].tolist() == ["Days", "Subject", "w"]
        for name in expected:
            np.testing.assert_allclose(found[f".{name}"], expected[name], rtol=1e-9)
    ended = run("predict", "d.csv", formula, "new.csv", "--missing", "error")
    assert (ended.status, "missing values" in ended.err) == (1, True)


def test_new_rows_on_standard_input(run, kept, monkeypatch):
    monkeypatch.setattr(
        "sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"Days,Subject\n1,308\n"))
    )
    assert run("predict", kept, "-").out.startswith("Days,Subject,.mean\n1,308,2")


def test_integers_that_miss_values_are_written_as_integers(run, kept, folder):
    table = pd.DataFrame({"Days": pd.array([1, None, 3], dtype="Int64"), "Subject": 308})
    table.to_parquet(folder / "new.parquet")
    table.to_csv(folder / "new.csv", index=False)
    for rows in ("new.parquet", "new.csv"):
        lines = run("predict", kept, rows).out.splitlines()
        assert [line.split(",")[0] for line in lines] == ["Days", "1", "", "3"]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["sleep.blmm"], 2, "MODEL NEWDATA or DATA FORMULA NEWDATA, not 1 names"),
        (["a", "b", "c", "d"], 2, "not 4 names"),
        ([], 2, "required: MODEL NEWDATA"),
        (["sleep.csv", "new.csv"], 1, "'sleep.csv' is no file of statistics (a model is what"),
        (["no.blmm", "new.csv"], 1, "'no.blmm': No such file or directory"),
        (["sleep.blmm", "no.csv"], 1, "'no.csv': No such file or directory"),
        (["sleep.blmm", "no.parquet"], 1, "there is no file 'no.parquet'"),
        (["sleep.blmm", "new.csv", "--out", "new.csv"], 2, "is among the files that are read"),
        (["sleep.csv", SLOPES, "new.csv", "--out", "sleep.csv"], 2, "files that are read"),
        (["sleep.blmm", "new.csv", "--out", "sleep.blmm"], 2, "ends in .parquet or .csv"),
        (["sleep.blmm", "new.csv", "--weights", "w"], 2, "a kept model has its own"),
        (["sleep.blmm", "new.csv", "--missing", "drop"], 2, "a kept model has its own"),
        (["-", SLOPES, "-"], 2, "standard input can't be both"),
        (["sleep.blmm", "new.csv", "--interval", "both"], 2, "invalid choice"),
        (["sleep.blmm", "empty.csv"], 1, "'empty.csv' is empty"),
        (["sleep.blmm", "short.csv"], 1, "there is no column 'Days'"),
    ],
)
@pytest.mark.usefixtures("kept", "new")
def test_errors(run, folder, arguments, status, text):
    (folder / "fit.json").write_text("{}")
    (folder / "empty.csv").write_text("")
    (folder / "short.csv").write_text("Subject,Dys\n308,1\n")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    ended = run("predict", *arguments)
    assert (ended.status, ended.out, len(ended.lines)) == (status, "", 1)
    assert text in ended.err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_model_that_was_altered(run, kept, folder):
    content = bytearray((folder / kept).read_bytes())
    content[200] ^= 1
    (folder / kept).write_bytes(content)
    ended = run("predict", kept, "sleep.csv")
    assert (ended.status, len(ended.lines)) == (1, 1)
    assert "truncated or was altered" in ended.err


@pytest.mark.parametrize("fit", [None, 3, [], {"reml": "no"}, {}])
def test_a_header_that_says_something_else_of_the_fit_is_reml(run, kept, monkeypatch, fit):
    header, arrays = read_file(kept)
    monkeypatch.setattr("blocklmm.cli.kept_model.read", lambda _: (header | {"fit": fit}, arrays))
    expected = run("predict", kept, "sleep.csv", "--reml").out
    assert run("predict", kept, "sleep.csv").out == expected


@pytest.mark.parametrize("rows", ["new.csv", "new.parquet"])
@pytest.mark.usefixtures("new")
def test_predictions_that_are_interrupted_leave_nothing(run, kept, folder, monkeypatch, rows):
    def stops(_, stream, **__):
        stream.write("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", stops)
    before = {p.name for p in folder.iterdir()}
    ended = run("predict", kept, rows, "--out", "p.csv")
    assert (ended.status, ended.lines) == (130, ["blocklmm: interrupted"])
    assert {p.name for p in folder.iterdir()} == before


@pytest.mark.usefixtures("new")
def test_a_fit_that_is_not_certified(run, folder, uneven):
    uneven.to_csv(folder / "d.csv", index=False)
    arguments = ["y ~ x + (x | g)", "d.csv", "--max-evaluations", 1]
    ended = run("predict", "d.csv", *arguments, "--out", "p.csv")
    assert ended.status == 3
    assert pd.read_csv("p.csv")[".mean"].notna().all()


def test_a_fit_and_its_model_agree(run, sleep_csv):
    """The fitted values of the one are the predictions of the other."""
    run("fit", sleep_csv, INTERCEPTS, "--save", "m.blmm", "--fitted", "f.csv", "--out", "f.json")
    run("predict", "m.blmm", sleep_csv, "--out", "p.csv")
    fitted, predicted = pd.read_csv("f.csv"), pd.read_csv("p.csv")
    np.testing.assert_allclose(predicted[".mean"], fitted[".fitted"], rtol=1e-9)
    with open("f.json") as file:
        assert json.load(file)["formula"] == INTERCEPTS
