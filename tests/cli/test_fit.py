"""``blocklmm fit``: its numbers are those of ``bl.lmer``, in all that it prints and writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from .conftest import INTERCEPTS, SLOPES

KEYS = [
    *("format", "version", "blocklmm", "data", "formula", "method", "weights"),
    *("nobs", "ngroups", "dropped_rows", "dropped_columns"),
    *("objective", "logLik", "AIC", "BIC", "n_parameters", "df_resid"),
    *("ddf", "level", "fixed_effects", "variance_components", "theta", "sigma"),
    *("converged", "singular", "certificate"),
]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def assert_told(told, fit, ddf=None, level=0.95):
    """The JSON's numbers are the fit's."""
    assert list(told) == KEYS
    assert (told["format"], told["version"], told["blocklmm"]) == ("blocklmm.fit", 1, "0.1.0")
    assert (told["nobs"], told["ngroups"]) == (fit.nobs, fit.ngroups)
    assert told["method"] == ("REML" if fit.reml else "ML")
    for name, value in (
        ("objective", fit.objective),
        ("logLik", fit.llf),
        ("AIC", fit.aic),
        ("BIC", fit.bic),
        ("theta", fit.theta),
        ("sigma", fit.sigma),
        ("n_parameters", fit.n_parameters),
        ("df_resid", fit.df_resid),
    ):
        close(told[name], value)
    fixed = pd.DataFrame(told["fixed_effects"])
    expected = fit.tidy(ddf=ddf, level=level).drop(columns="effect")
    expected.columns = expected.columns.str.replace(".", "_")
    assert list(fixed) == list(expected)
    assert fixed["term"].tolist() == expected["term"].tolist()
    close(fixed.drop(columns=["term", "p_value"]), expected.drop(columns=["term", "p_value"]))
    np.testing.assert_allclose(fixed["p_value"], expected["p_value"], rtol=1e-10)
    components = pd.DataFrame(told["variance_components"])
    varcorr = fit.varcorr.to_frame()
    assert components["label"].tolist() == fit.varcorr.labels()
    assert components["group"].tolist() == varcorr["group"].tolist()
    close(components[["vcov", "sdcor"]], varcorr[["vcov", "sdcor"]])
    assert told["certificate"]["message"] == fit.certificate.message
    assert (told["converged"], told["singular"]) == (fit.converged, fit.singular)


def test_summary_is_printed(run, sleep_csv, sleep):
    ended = run("fit", sleep_csv, SLOPES)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == bl.lmer(SLOPES, sleep).summary() + "\n"


@pytest.mark.parametrize("method", [[], ["--reml"], ["--ml"]])
def test_json(run, sleep_csv, sleep, method):
    ended = run("fit", sleep_csv, SLOPES, *method, "--out", "fit.json", "--quiet")
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    told = json.loads(Path("fit.json").read_text(encoding="utf-8"))
    assert_told(told, bl.lmer(SLOPES, sleep, reml=method != ["--ml"]))
    assert (told["data"], told["weights"]) == ("sleep.csv", None)
    assert told["dropped_rows"] == {"n_rows": 0, "by_column": {}}


@pytest.mark.parametrize("ddf", ["kenward-roger", "between-within", "residual"])
def test_degrees_of_freedom_and_level(run, sleep_csv, sleep, ddf):
    ended = run("fit", sleep_csv, SLOPES, "--ddf", ddf, "--level", 0.9, "--out", "fit.json")
    fit = bl.lmer(SLOPES, sleep)
    assert ended.out == fit.summary(ddf=ddf) + "\n"
    told = json.loads(Path("fit.json").read_text(encoding="utf-8"))
    assert_told(told, fit, ddf, 0.9)
    assert (told["ddf"], told["level"]) == (ddf, 0.9)


def test_numbers_that_are_not_finite_are_null(run, sleep_csv):
    ended = run("fit", sleep_csv, SLOPES, "--ddf", "asymptotic", "--out", "-")
    told = json.loads(ended.out, parse_constant=pytest.fail)
    assert [row["df"] for row in told["fixed_effects"]] == [None, None]
    assert all(row["p_value"] > 0 for row in told["fixed_effects"])
    told = json.loads(run("fit", sleep_csv, "Reaction ~ Days", "--out", "-").out)
    assert told["certificate"]["min_eigenvalue"] is None
    assert (told["ngroups"], told["theta"]) == ({}, [])


def test_weights_and_missing_values(run, folder, sleep):
    data = sleep.assign(w=np.linspace(0.5, 2, len(sleep)))
    data.loc[[3, 90], "Days"] = np.nan
    data.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", SLOPES, "--weights", "w", "--out", "-")
    told = json.loads(ended.out)
    assert_told(told, bl.lmer(SLOPES, data, weights="w"))
    assert told["dropped_rows"] == {"n_rows": 2, "by_column": {"Days": 2}}
    assert told["weights"] == "w"
    ended = run("fit", "d.csv", SLOPES, "--missing", "error")
    assert (ended.status, ended.out) == (1, "")
    (line,) = ended.lines
    assert line == (
        "blocklmm: column 'Days' has missing values in 2 rows (rows 3, 90, counting from 0). "
        "--missing drop leaves such rows out"
    )


def test_columns_that_depend_on_others_are_told(run, folder, sleep):
    sleep.assign(twice=2 * sleep["Days"]).to_csv(folder / "d.csv", index=False)
    told = json.loads(
        run("fit", "d.csv", "Reaction ~ Days + twice + (1|Subject)", "--out", "-").out
    )
    assert told["dropped_columns"] == ["twice"]


@pytest.mark.parametrize("where", ["one.parquet", "part*.parquet"])
def test_parquet_is_streamed(run, folder, sleep, where):
    sleep.to_parquet(folder / "one.parquet")
    for k in range(3):
        sleep[60 * k : 60 * k + 60].to_parquet(folder / f"part{k}.parquet")
    ended = run("fit", where, SLOPES, "--threads", 2, "--out", "fit.json", "--fitted", "f.csv")
    assert "Rows came in chunks" in ended.out
    assert_told(json.loads(Path("fit.json").read_text()), bl.lmer(SLOPES, where))
    fit = bl.lmer(SLOPES, sleep)
    found = pd.read_csv("f.csv")
    np.testing.assert_allclose(found[".fitted"], fit.fittedvalues, rtol=1e-9)
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_random_effects_in_long_form(run, folder, sleep):
    data = sleep.assign(room=np.tile(["é", "b"], 90))
    data.to_csv(folder / "d.csv", index=False)
    formula = "Reaction ~ Days + (Days | Subject) + (1 | room)"
    for name in ("r.csv", "r.parquet"):
        run("fit", "d.csv", formula, "--ranef", name)
    fit = bl.lmer(formula, data)
    read = {"level": str}
    for found in (pd.read_csv("r.csv", dtype=read), pd.read_parquet("r.parquet")):
        assert list(found) == ["group", "level", "term", "estimate", "std_error"]
        assert len(found) == 18 * 2 + 2
        for group, table in fit.ranef().items():
            own = found[found["group"] == group]
            assert own["level"].unique().tolist() == table.index.astype(str).tolist()
            for column, what in (("estimate", table), ("std_error", fit.ranef_sd()[group])):
                wide = own.pivot(index="level", columns="term", values=column)
                wide = wide.loc[table.index.astype(str), list(table)]
                close(wide.to_numpy(), what.to_numpy())


def test_random_effects_are_written_in_pieces(run, sleep_csv, monkeypatch):
    run("fit", sleep_csv, SLOPES, "--ranef", "whole.csv")
    monkeypatch.setattr("blocklmm.cli.fitting._LEVELS_AT_A_TIME", 5)
    run("fit", sleep_csv, SLOPES, "--ranef", "pieces.csv", "--save", "s.blmm")
    assert Path("pieces.csv").read_text(encoding="utf-8") == Path("whole.csv").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_fitted_values_of_all_rows(run, folder, sleep, name):
    data = sleep.assign(id=np.arange(180), other=1.0)
    data.loc[7, "Reaction"] = np.nan
    data.to_csv(folder / "d.csv", index=False)
    run("fit", "d.csv", SLOPES, "--fitted", name)
    found = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert list(found) == ["Reaction", "Days", "Subject", ".fitted", ".fixed", ".resid"]
    assert found.index[found[".fitted"].isna()].tolist() == [7]
    fit = bl.lmer(SLOPES, data)
    for column, values in fit.augment()[[".fitted", ".fixed", ".resid"]].items():
        close(found[column].dropna(), values)


def test_columns_that_would_be_there_twice(run, folder, sleep):
    sleep.rename(columns={"Days": ".resid"}).to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", "Reaction ~ `.resid` + (1 | Subject)", "--fitted", "f.csv")
    assert ended.status == 1
    assert ended.lines == [
        "blocklmm: two columns would be called '.resid': rename that of the data"
    ]
    assert not (folder / "f.csv").exists()


def test_files_are_written_beside_a_summary_nobody_reads(run, sleep_csv, folder, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    assert run("fit", sleep_csv, SLOPES, "--out", "fit.json", "--save", "s.blmm").status == 141
    assert (folder / "fit.json").exists()
    assert (folder / "s.blmm").exists()


def test_a_fit_that_is_not_certified(run, folder, uneven):
    uneven.to_csv(folder / "d.csv", index=False)
    formula = "y ~ x + (x | g)"
    ended = run("fit", "d.csv", formula, "--max-evaluations", 1, "--out", "fit.json")
    assert ended.status == 3
    assert ended.out.startswith("Linear mixed model fit by REML")
    assert len(ended.lines) == 1
    assert ended.lines[0].startswith("blocklmm: warning: the fit is not certified to be optimal")
    told = json.loads(Path("fit.json").read_text(encoding="utf-8"))
    assert told["converged"] is False
    assert run("fit", "d.csv", formula).status == 0


def test_warnings_are_said_once(run, folder, sleep):
    data = sleep.assign(z=np.where(np.arange(180) == 5, -1.0, 1.0 + sleep["Days"]))
    data.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", "Reaction ~ log(z) + (1 | Subject)", "--save", "s.blmm")
    told = [line for line in ended.lines if "log(z)" in line]
    assert len(told) == 1
    assert told[0].startswith("blocklmm: warning: 'log(z)' is not a number in 1 rows")
    assert ended.status == 0


def test_small_groups_in_a_file_that_is_kept_are_warned_of(run, folder, uneven):
    uneven.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", "y ~ x + (x | g)", "--save", "d.blmm")
    assert ended.status == 0
    assert ended.lines[0].startswith("blocklmm: warning: 'd.blmm', if it is to be shared: 3 of 8")
    assert bl.SufficientStatistics.load("d.blmm").nobs == len(uneven)


@pytest.mark.parametrize("column", ["größe", "身長", "body mass", "été.1"])
def test_names_that_are_not_plain_ascii(run, folder, sleep, column):
    data = sleep.rename(columns={"Days": column, "Subject": "Sujet é"})
    data.to_csv(folder / "d.csv", index=False)
    formula = f"Reaction ~ `{column}` + (`{column}` | `Sujet é`)"
    ended = run("fit", "d.csv", formula, "--out", "fit.json", "--ranef", "r.csv")
    assert (ended.status, ended.err) == (0, "")
    assert column in ended.out
    text = Path("fit.json").read_text(encoding="utf-8")
    assert column in text  # not as escapes
    told = json.loads(text)
    fit = bl.lmer(formula, data)
    assert_told(told, fit)
    assert told["ngroups"] == {"Sujet é": 18}
    assert set(pd.read_csv("r.csv")["term"]) == {"(Intercept)", column}


@pytest.fixture
def panels(monkeypatch):
    """What is drawn, by caterpillar."""
    seen = []
    drawn = bl.plot.caterpillar

    def caterpillar(fit, factor, term, ax):
        seen.append((factor, term))
        return drawn(fit, factor, term, ax=ax)

    monkeypatch.setattr("blocklmm.plot.caterpillar", caterpillar)
    return seen


@pytest.mark.parametrize(
    ("suffix", "start"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("SVG", b"<?xml")]
)
def test_plot(run, sleep_csv, folder, panels, suffix, start):
    ended = run("fit", sleep_csv, SLOPES, "--plot", f"out.{suffix}")
    assert (ended.status, ended.err) == (0, "")
    assert (folder / f"out.{suffix}").read_bytes().startswith(start)
    assert panels == [("Subject", "(Intercept)"), ("Subject", "Days")]


@pytest.mark.parametrize(
    ("random", "expected"),
    [
        ("(1 | g)", ["g (Intercept)"]),
        ("(1 | h) + (1 | g)", ["h (Intercept)", "g (Intercept)"]),
        ("(1 | h/g)", ["h (Intercept)", "g:h (Intercept)"]),
        ("(x || h) + (x | g)", [f"{f} {e}" for f in "hg" for e in ("(Intercept)", "x")]),
        ("(1 | g) + (1 | h) + (0 + x | g)", ["g (Intercept)", "g x", "h (Intercept)"]),
    ],
)
def test_plot_of_several_factors_and_effects(run, folder, uneven, panels, random, expected):
    uneven.assign(h=[f"h{k % 5}" for k in range(len(uneven))]).to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", f"y ~ x + {random}", "--plot", "out.png", "--quiet")
    assert ended.status == 0
    assert [" ".join(panel) for panel in panels] == expected
    assert (folder / "out.png").exists()


def test_plot_of_many_effects(run, folder, uneven, panels):
    rng = np.random.default_rng(5)
    table = pd.concat([uneven] * 4, ignore_index=True)
    names = list("abcdefh")
    table[names] = rng.normal(size=(len(table), len(names)))
    table.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", f"y ~ x + ({' + '.join(names)} || g)", "--plot", "p.png")
    assert "blocklmm: warning: --plot shows the first 6 of 8 random effects" in ended.lines
    assert [term for _, term in panels] == ["(Intercept)", *"abcde"]


def test_plot_without_what_draws(run, sleep_csv, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "blocklmm.plot", None)
    ended = run("fit", sleep_csv, SLOPES, "--plot", "out.png", "--out", "fit.json")
    assert (ended.status, ended.out) == (1, "")
    assert len(ended.lines) == 1
    assert ended.lines[0].startswith("blocklmm: --plot can't draw: ")
    assert not (folder / "fit.json").exists()  # nothing was fitted


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["nothere.csv", SLOPES], 1, "'nothere.csv': No such file or directory"),
        (["nothere.parquet", SLOPES], 1, "there is no file 'nothere.parquet'"),
        (["*.csv", SLOPES], 1, "one is read at a time"),
        (["sleep.csv", "Reaction ~ Dayz + (1 | Subject)"], 1, "Did you mean 'Days'?"),
        (["sleep.csv", SLOPES, "--weights", "w"], 1, "there is no column 'w'"),
        (["sleep.csv", SLOPES, "--out", "nowhere/fit.json"], 1, "'nowhere': there is no such"),
        (["sleep.csv", SLOPES, "--out", "."], 1, "'.': Is a directory"),
        (["sleep.csv", SLOPES, "--out", "/dev/null"], 1, "'/dev/null': this is no plain file"),
        (["sleep.csv", SLOPES, "--save", "/dev/stdout"], 1, "this is no plain file"),
        (["sleep.csv", SLOPES, "--out", "sleep.csv"], 2, "is among the files that are read"),
        (["sleep.csv", SLOPES, "--out", "a", "--save", "./a"], 2, "are the same file"),
        (["sleep.csv", SLOPES, "--ranef", "a.txt"], 2, "ends in .parquet or .csv: 'a.txt'"),
        (["sleep.csv", SLOPES, "--plot", "a.csv"], 2, "ends in .png or .pdf or .svg"),
        (["sleep.csv", "Reaction ~ Days", "--ranef", "a.csv"], 2, "the formula has none"),
        (["sleep.csv", SLOPES, "--ml", "--ddf", "kenward-roger"], 2, "leave --ml out"),
        (["sleep.csv", SLOPES, "--ml", "--reml"], 2, "not allowed with"),
        (["sleep.csv", SLOPES, "--level", "0.05"], 2, "a coverage from 0.5"),
        (["sleep.csv", SLOPES, "--threads", "0"], 2, "a whole number from 1, not '0'"),
        (["sleep.csv", SLOPES, "--missing", "no"], 2, "invalid choice"),
        (["sleep.csv", SLOPES, "--ran", "a.csv"], 2, "unrecognized arguments: --ran a.csv (see"),
        (["sleep.csv", "Reaction", "/root", "Days"], 2, "a formula stands in quotes"),
        (["sleep.csv"], 2, "required: FORMULA"),
        (["sleep.csv", "Reaction ~ Days + (1 | Subject", "--ranef", "r.csv"], 1, "never closed"),
    ],
)
def test_errors_are_lines_before_anything_is_done(run, sleep_csv, folder, arguments, status, text):
    ended = run("fit", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert text in ended.err
    assert "Traceback" not in ended.err
    if "never closed" not in text:
        assert len(ended.lines) == 1
    assert [p.name for p in folder.iterdir()] == [sleep_csv]


def test_a_formula_s_error_shows_the_place(run, sleep_csv):
    ended = run("fit", sleep_csv, "Reaction ~ Days + (1 | Subject")
    assert ended.lines == [
        "blocklmm: this '(' is never closed",
        "blocklmm:     Reaction ~ Days + (1 | Subject",
        "blocklmm:                       ^",
    ]


def test_files_among_those_of_a_glob_are_refused(run, folder, sleep):
    (folder / "rows").mkdir()
    sleep.to_parquet(folder / "rows" / "one.parquet")
    for data in ("rows/*.parquet", "rows"):
        ended = run("fit", data, SLOPES, "--fitted", "rows/f.parquet")
        assert ended.status == 2
        assert "is among the files that are read" in ended.err
    assert run("fit", "rows/*.parquet", SLOPES, "--fitted", "rows/f.csv").status == 0
    assert sorted(p.name for p in (folder / "rows").iterdir()) == ["f.csv", "one.parquet"]


def test_a_link_stays_one(run, sleep_csv, folder):
    (folder / "real").mkdir()
    (folder / "real" / "fit.json").write_text("before")
    (folder / "fit.json").symlink_to(folder / "real" / "fit.json")
    run("fit", sleep_csv, SLOPES, "--out", "fit.json")
    assert (folder / "fit.json").is_symlink()
    assert json.loads((folder / "real" / "fit.json").read_text())["nobs"] == 180


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("before", [None, "as it was"])
@pytest.mark.parametrize("option", ["--out", "--ranef", "--fitted", "--save", "--plot"])
def test_nothing_is_left_half_written(run, sleep_csv, folder, monkeypatch, error, before, option):
    """What writes stops after some bytes."""

    def stops(file):
        file.write(b"half of it" if "b" in getattr(file, "mode", "") else "half of it")
        file.flush()
        raise error

    def savefig(_, path, format):  # noqa: A002, ARG001
        path.write_text("half of it")
        raise error

    def text(path, *_, **__):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    monkeypatch.setattr("pathlib.Path.write_text", text)
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda _, stream, **__: stops(stream))
    monkeypatch.setattr(
        "blocklmm.statistics_file._Digesting.write_array", lambda self, _: stops(self._file)
    )
    name = "r.csv" if option in ("--ranef", "--fitted") else "f.pdf"
    if before is not None:
        (folder / name).write_bytes(before.encode())
    ended = run("fit", sleep_csv, INTERCEPTS, option, name)
    if error is KeyboardInterrupt:
        assert (ended.status, ended.lines) == (130, ["blocklmm: interrupted"])
    else:
        assert (ended.status, ended.lines[-1]) == (1, "blocklmm: No space left on device")
    assert ended.out.startswith("Linear mixed model")  # what was found is shown
    names = {sleep_csv} | ({name} if before is not None else set())
    assert {p.name for p in folder.iterdir()} == names
    if before is not None:
        assert (folder / name).read_bytes() == before.encode()


def test_an_interrupted_fit(run, sleep_csv, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("blocklmm.cli.fitting.lmer", interrupted)
    ended = run("fit", sleep_csv, SLOPES, "--out", "fit.json")
    assert (ended.status, ended.out, ended.lines) == (130, "", ["blocklmm: interrupted"])
    assert [p.name for p in folder.iterdir()] == [sleep_csv]


@pytest.mark.parametrize("arguments", [[], ["--quiet"]])
def test_progress_is_left_to_the_terminal_or_silenced(run, sleep_csv, monkeypatch, arguments):
    seen = []

    def fitted(*positional, progress, **named):
        seen.append(progress)
        return bl.lmer(*positional, progress=progress, **named)

    monkeypatch.setattr("blocklmm.cli.fitting.lmer", fitted)
    run("fit", sleep_csv, SLOPES, *arguments)
    assert seen == [False if arguments else None]


def test_without_pyarrow_parquet_is_refused_at_once(run, sleep_csv, monkeypatch):
    monkeypatch.setattr("blocklmm.cli.outputs.importlib.util.find_spec", lambda _: None)
    ended = run("fit", sleep_csv, SLOPES, "--ranef", "r.parquet")
    assert ended.status == 1
    assert "needs pyarrow" in ended.err
    assert run("fit", sleep_csv, SLOPES, "--ranef", "r.csv").status == 0
