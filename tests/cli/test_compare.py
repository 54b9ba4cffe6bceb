"""``blocklmm compare``: the tables of ``bl.anova`` and ``bl.compare``."""

from __future__ import annotations

import json

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .conftest import INTERCEPTS, SLOPES

NO_DAYS = "Reaction ~ 1 + (Days | Subject)"


def fits(data, formulas, **options):
    return [bl.lmer(formula, data, **options) for formula in formulas]


@pytest.mark.parametrize(
    ("formulas", "arguments", "reml"),
    [
        ([INTERCEPTS, SLOPES], [], True),
        ([SLOPES, INTERCEPTS], ["--ml"], False),
        ([NO_DAYS, SLOPES], ["--reml"], True),
        (["Reaction ~ Days", INTERCEPTS, SLOPES], [], True),
    ],
)
def test_tables(run, sleep_csv, sleep, formulas, arguments, reml):
    ended = run("compare", sleep_csv, *formulas, *arguments, "--out", "c.json")
    assert (ended.status, ended.err) == (0, "")
    expected = fits(sleep, formulas, reml=reml)
    tests, criteria = bl.anova(*expected), bl.compare(*expected)
    assert ended.out == (
        f"Likelihood-ratio tests:\n\n{tests!r}\n\nInformation criteria:\n\n{criteria!r}\n"
    )
    with open("c.json") as file:
        told = json.load(file, parse_constant=pytest.fail)
    assert (told["format"], told["version"]) == ("blocklmm.comparison", 1)
    assert told["converged"] == dict.fromkeys(formulas, True)
    for name, table in (("tests", tests), ("criteria", criteria)):
        found = pd.DataFrame(told[name]).set_index("formula").astype(float)
        assert found.index.tolist() == table.index.tolist()
        assert list(found) == list(table)
        np.testing.assert_allclose(found, table.astype(float), rtol=1e-12)
        assert told[f"{name}_notes"] == table.attrs["notes"]
    first = told["tests"][0]
    assert [first[name] for name in ("Chisq", "Df", "p_chisq", "p_boundary")] == [None] * 4


def test_json_in_place_of_the_tables(run, sleep_csv):
    ended = run("compare", sleep_csv, INTERCEPTS, SLOPES, "--out", "-")
    assert [row["formula"] for row in json.loads(ended.out)["criteria"]] == [SLOPES, INTERCEPTS]


def test_parquet_and_weights(run, folder, sleep):
    data = sleep.assign(w=np.linspace(1, 3, 180))
    data.to_parquet(folder / "d.parquet")
    ended = run("compare", "d.parquet", INTERCEPTS, SLOPES, "--weights", "w", "--threads", 2)
    expected = fits("d.parquet", [INTERCEPTS, SLOPES], weights="w")
    assert ended.out.startswith(f"Likelihood-ratio tests:\n\n{bl.anova(*expected)!r}\n")


def test_a_fit_that_is_not_certified(run, folder, uneven):
    uneven.to_csv(folder / "d.csv", index=False)
    formulas = ["y ~ x + (1 | g)", "y ~ x + (x | g)"]
    ended = run("compare", "d.csv", *formulas, "--max-evaluations", 1, "--out", "c.json")
    assert ended.status == 3
    assert any("not certified" in line for line in ended.lines)
    with open("c.json") as file:
        assert not all(json.load(file)["converged"].values())


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ([SLOPES], 2, "compare needs two formulas or more"),
        ([], 2, "required: FORMULA"),
        ([SLOPES, "Reaction ~"], 1, "no terms right of '~'"),
        ([SLOPES, "Days ~ 1 + (1 | Subject)"], 1, "the fits are not to the same data"),
        ([SLOPES, "Reaction ~ Dys + (1 | Subject)"], 1, "Did you mean 'Days'?"),
        ([SLOPES, INTERCEPTS, "--out", "sleep.csv"], 2, "is among the files that are read"),
    ],
)
def test_errors(run, sleep_csv, arguments, status, text):
    ended = run("compare", sleep_csv, *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert text in ended.err


def test_rows_that_one_model_misses(run, folder, sleep):
    data = sleep.assign(x=np.arange(180.0))
    data.loc[3, "x"] = np.nan
    data.to_csv(folder / "d.csv", index=False)
    ended = run("compare", "d.csv", INTERCEPTS, "Reaction ~ Days + x + (1 | Subject)")
    assert ended.status == 1
    assert ended.err.endswith(
        "have different values or weights. Not all of the models read what misses values, "
        "'x' in 1 row: leave such rows out of the file\n"
    )
