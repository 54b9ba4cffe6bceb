"""CSV files: what is read, and what is refused in words that say what to do."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import threading
import types
from contextlib import contextmanager

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.cli.csv_input import CsvFormat, is_csv, read_csv
from blocklmm.errors import DataError

from .conftest import INTERCEPTS

FORMULA = "y ~ x + (1 | g)"


def data():
    rng = np.random.default_rng(3)
    g = np.repeat(["a, b", 'c "d"', "e\nf", "g;h", "é"], 6)
    y = rng.normal(size=30) + np.repeat(rng.normal(size=5), 6) * 3
    return pd.DataFrame({"y": y, "x": rng.normal(size=30), "g": g})


DATA = data()


def objective(ended):
    assert (ended.status, ended.err) == (0, "")
    return json.loads(ended.out)["objective"]


def read(path, **form):
    return read_csv(str(path), CsvFormat(**form), {"y", "x", "g"})


@pytest.mark.parametrize(
    ("name", "written", "arguments"),
    [
        ("d.csv", {}, []),
        ("D.CSV", {}, []),
        ("d.csv", {"quoting": 1}, []),
        ("d.csv", {"encoding": "utf-8-sig"}, []),
        ("d.csv", {"lineterminator": "\r\n"}, []),
        ("d.csv", {"sep": ";"}, ["--sep", ";"]),
        ("d.csv", {"sep": ";", "decimal": ","}, ["--sep", ";", "--decimal", ","]),
        ("d.csv", {"sep": "|"}, ["--sep", "|"]),
        ("d.txt", {"sep": "\t"}, ["--sep", "tab"]),
        ("d.txt", {"sep": "\t"}, ["--sep", "\\t"]),
        ("d.tsv", {"sep": "\t"}, []),
        ("d.csv", {"encoding": "latin-1"}, ["--encoding", "latin-1"]),
        ("d.csv", {"encoding": "utf-16"}, ["--encoding", "utf-16"]),
        ("d.csv.gz", {}, []),
        ("d.csv.bz2", {}, []),
        ("d.tsv.xz", {"sep": "\t"}, []),
        ("d.csv.zip", {}, []),
    ],
)
def test_tables_are_read_as_they_were(run, folder, name, written, arguments):
    DATA.to_csv(folder / name, index=False, **written)
    found = objective(run("fit", name, FORMULA, "--out", "-", *arguments))
    np.testing.assert_allclose(found, bl.lmer(FORMULA, DATA).objective, rtol=1e-12)


def test_values_are_exact(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=2000) * 10.0 ** rng.integers(-20, 20, 2000)
    pd.DataFrame({"y": values}).to_csv(tmp_path / "d.csv", index=False)
    np.testing.assert_array_equal(read(tmp_path / "d.csv")["y"], values)


def test_types(tmp_path):
    (tmp_path / "d.csv").write_text(
        "y,id,big,flag,name,none\n"
        "1.5,9007199254740993,18446744073709551614,True,a,\n"
        ",9007199254740992,1,False,None,NA\n"
        "2,,3,true,,\n"
    )
    found = read(tmp_path / "d.csv")
    assert found["y"].dtype == np.float64
    np.testing.assert_array_equal(found["y"], [1.5, np.nan, 2])
    assert found["id"].tolist()[:2] == [9007199254740993, 9007199254740992]  # not as floats
    assert found["big"].tolist() == [18446744073709551614, 1, 3]  # 2^64 - 1 is NA to pandas 2
    assert found["flag"].dtype == bool
    assert found["name"].tolist()[:2] == ["a", "None"]
    assert found[["id", "name"]].isna().to_numpy().tolist() == [[False] * 2] * 2 + [[True] * 2]
    assert found["none"].isna().all()


def test_identifiers_that_may_be_missing_stay_apart(run, folder):
    first = 2**53
    labels = [first + k // 6 for k in range(30)]
    table = DATA.assign(g=pd.array(labels, dtype="Int64"))
    table.loc[0, "g"] = pd.NA
    table.to_csv(folder / "d.csv", index=False)
    told = json.loads(run("fit", "d.csv", FORMULA, "--out", "-", "--ranef", "r.csv").out)
    assert told["ngroups"] == {"g": 5}
    assert told["dropped_rows"] == {"n_rows": 1, "by_column": {"g": 1}}
    assert pd.read_csv("r.csv")["level"].tolist() == [first + k for k in range(5)]


def test_identifiers_with_leading_zeros_are_texts(run, folder):
    names = np.array(["007", "7", "07", "100", "0"])
    labels = names[np.arange(30) // 6]
    DATA.assign(g=labels).to_csv(folder / "d.csv", index=False)
    arguments = ("--save", "m.blmm", "--ranef", "r.csv", "--fitted", "f.csv", "--out", "-")
    told = json.loads(run("fit", "d.csv", FORMULA, *arguments).out)
    expected = bl.lmer(FORMULA, DATA.assign(g=[f"g{label}" for label in labels]))
    np.testing.assert_allclose(told["objective"], expected.objective, rtol=1e-12)
    assert sorted(pd.read_csv("r.csv", dtype=str)["level"]) == sorted(names)
    assert pd.read_csv("f.csv", dtype=str)["g"].tolist() == labels.tolist()
    (folder / "new.csv").write_text("x,g\n0,07\n0,100\n")
    predicted = pd.read_csv(io.StringIO(run("predict", "m.blmm", "new.csv").out), dtype=str)
    mean = expected.coef()["g"].loc[["g07", "g100"], "Intercept"]
    np.testing.assert_allclose(predicted[".mean"].astype(float), mean, rtol=1e-9)
    assert predicted["g"].tolist() == ["07", "100"]
    objectives = [
        row["deviance"]
        for row in json.loads(
            run("compare", "d.csv", FORMULA, "y ~ 1 + (1 | g)", "--ml", "--out", "-").out
        )["tests"]
    ]
    assert objectives[1] == pytest.approx(expected.refit_ml().objective, rel=1e-9)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("7,9007199254740993,", "Int64"),
        ("7,8,9", "int64"),
        ("1.5,2,", "float64"),
        ("True,false,true", "bool"),
        ("a,1,", "string"),
        ("05,1,NA", "string"),
    ],
)
def test_labels_without_leading_zeros_are_what_other_columns_are(tmp_path, written, kind):
    values = written.split(",")
    rows = [f"{k},{value},{value}" for k, value in enumerate(values)]
    (tmp_path / "d.csv").write_text("\n".join(["y,x,g", *rows]))
    found = read_csv(str(tmp_path / "d.csv"), CsvFormat(), {"y", "x", "g"}, {"g"})
    assert found["g"].dtype == kind
    if "05" not in values:
        pd.testing.assert_series_equal(found["g"], found["x"], check_names=False)


def test_months_that_are_numbers_as_well_stay_numbers(run, folder):
    months = [f"{k % 12 + 1:02d}" for k in range(96)]
    y = np.random.default_rng(1).normal(size=96) + np.tile(np.arange(12) % 5, 8)
    pd.DataFrame({"y": y, "m": months}).to_csv(folder / "d.csv", index=False)
    told = json.loads(run("fit", "d.csv", "y ~ m + (1 | m)", "--out", "-").out)
    assert [row["term"] for row in told["fixed_effects"]] == ["Intercept", "m"]


def test_texts_for_no_value(run, folder):
    table = DATA.astype({"x": str})
    table.loc[2, "x"], table.loc[4, "x"] = "-", "N/A"
    table.to_csv(folder / "d.csv", index=False)
    for formula in ("x ~ 1 + (1 | g)", FORMULA, "y ~ log(x) + (1 | g)", "y ~ 1 + (x | g)"):
        ended = run("fit", "d.csv", formula)
        assert ended.status == 1
        assert "column 'x' of 'd.csv' is numbers but for '-': say --na - if" in ended.err
    told = json.loads(run("fit", "d.csv", FORMULA, "--na", "-", "--na", "?", "--out", "-").out)
    assert told["dropped_rows"] == {"n_rows": 2, "by_column": {"x": 2}}


def test_spaces_after_separators_are_none(tmp_path):
    (tmp_path / "d.csv").write_text('y, x, g\n1, 2, "a, b"\n3, 4, c\n')
    found = read(tmp_path / "d.csv")
    assert found.to_dict("list") == {"y": [1, 3], "x": [2, 4], "g": ["a, b", "c"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("y;x;g\n1;2;a\n", "has a single column 'y;x;g': .* say --sep ';'"),
        ("y;x;g\n1,5;2,5;a\n", "say --sep ';'"),
        ("y\tx\n1\t2\n", "say --sep tab"),
        ("y|x\n1|2\n", "say --sep '|'"),
        ("y,x,y\n1,2,3\n", "two columns of .* have the same name: 'y'"),
        ("y,x\n1,2,\n3,4,\n", "line 2 has 3 fields, and there are 2 columns"),
        ("y,x\n1,2\n3,4,5\n", "line 3 has 3 fields, and there are 2 columns"),
        ('y,x\n1,"2\n3,4\n', "can't be read as CSV: EOF inside string"),
        (b"y,x\n1,\xff\n", "is not text in utf-8: give its --encoding"),
        (b"\xff\xfe,\x00", "is not text in utf-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(DataError, match=message.replace("|", r"\|")):
        read(tmp_path / "d.csv")


def test_a_table_without_rows_or_with_one_column_of_names(tmp_path, run, folder):
    (folder / "d.csv").write_text("y,x,g\n")
    ended = run("fit", "d.csv", FORMULA)
    assert (ended.status, ended.lines) == (1, ["blocklmm: the data have no rows"])
    (tmp_path / "one.csv").write_text("y\n1\n2\n")
    assert read(tmp_path / "one.csv").to_dict("list") == {"y": [1, 2]}


def test_decimal_commas_are_not_taken_for_categories(tmp_path):
    (tmp_path / "d.csv").write_text("y;x;g;z\n1,5;a;2,5;7\n-2,5;b;3,5;8,\n")
    with pytest.raises(DataError, match=r"'y' of .* holds numbers with commas, '1,5': say --dec"):
        read(tmp_path / "d.csv", sep=";")
    assert read(tmp_path / "d.csv", sep=";", decimal=",")["y"].tolist() == [1.5, -2.5]
    assert read(tmp_path / "d.csv", sep=";", decimal=".")["g"].tolist() == ["2,5", "3,5"]
    (tmp_path / "d.csv").write_text("y;other\n1;2,5\n")  # of no column that is used
    assert read(tmp_path / "d.csv", sep=";")["other"].tolist() == ["2,5"]


@pytest.mark.parametrize("values", ["0;0,2;1", "7;8,;,5", "-1;+2,5e3;10"])
def test_decimal_commas_beside_whole_numbers(run, folder, values):
    rows = [f"{k},5;{values.split(';')[k % 3]};g{k % 4}" for k in range(24)]
    (folder / "d.csv").write_text("\n".join(["y;x;g", *rows]))
    for formula in (FORMULA, "x ~ 1 + (1 | g)", "y ~ 1 + (1 | x)"):
        ended = run("fit", "d.csv", formula, "--sep", ";")
        assert (ended.status, len(ended.lines)) == (1, 1)
        assert "holds numbers with commas" in ended.err
    ended = run("fit", "d.csv", FORMULA, "--sep", ";", "--decimal", ",", "--out", "-")
    assert [row["term"] for row in json.loads(ended.out)["fixed_effects"]] == ["Intercept", "x"]


@pytest.mark.parametrize(
    ("strays", "form", "advice"),
    [
        ([".", "?"], {}, "but for '.', '?': say --na . --na '?' if that means no value"),
        (["--"], {}, "say --na=-- if"),
        (["n.d."], {}, "say --na n.d. if that means no value, write C(x) for categories"),
        (["<0.1", "<0.2", "<0.3", "<0.4"], {}, "'<0.3', …: write C(x) for categories, or mend"),
        (["-"], {"sep": ";", "decimal": ","}, "say --na - if that means no value,"),
        (["-", "1,5"], {"sep": ";"}, "say --na - if that means no value, --decimal , if these are"),
    ],
)
def test_numbers_with_strays_are_not_taken_for_categories(tmp_path, strays, form, advice):
    mark, sep = form.get("decimal", "."), form.get("sep", ",")
    values = [f"{k}.25".replace(".", mark) for k in range(24)] + strays
    (tmp_path / "d.csv").write_text("\n".join([f"y{sep}x", *(f"1{sep}{v}" for v in values)]))
    for may_be_text in (True, False):
        with pytest.raises(DataError) as caught:
            read_csv(
                str(tmp_path / "d.csv"), CsvFormat(**form), {"y", "x"}, plain={"x": may_be_text}
            )
        expected = advice if may_be_text else advice.partition("write C")[0]
        assert expected in str(caught.value)
        assert ("C(x)" in str(caught.value)) is may_be_text


def test_strays_of_categories_and_groups(run, folder):
    doses = np.array(["1", "2", "3", "placebo"])[np.arange(30) % 4]
    table = DATA.assign(x=doses, g=np.arange(30) // 5).astype({"g": str})
    table.to_csv(folder / "d.csv", index=False)
    formula = "y ~ factor(x) + (1 | g)"
    assert run("fit", "d.csv", formula).err == ""
    table.loc[0, "g"] = "?"
    table.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", formula)
    assert ended.status == 0
    assert ended.lines[0] == (
        "blocklmm: warning: column 'g' of 'd.csv' is numbers but for '?': say --na '?' if that "
        "means no value; as it is, all are texts"
    )


def test_a_response_of_texts_shows_those_that_are_no_numbers(run, folder):
    texts = [f"{k}" if k < 15 else f"{k} kg" for k in range(30)]
    DATA.assign(y=texts).to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", FORMULA)
    assert "the response 'y' is not numeric: it holds '15 kg', '16 kg', '17 kg', …" in ended.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--decimal", ","], "say --sep ';'"),
        (["--sep", ","], None),
        (["--sep", ".", "--decimal", "."], "--sep . is the decimal mark"),
        (["--sep", ";;"], "one character, or tab, not ';;'"),
        (["--sep", ""], "one character, or tab, not ''"),
        (["--sep", '"'], "one character"),
        (["--decimal", ";"], "invalid choice"),
        (["--encoding", "klingon"], "no encoding is called 'klingon'"),
    ],
)
def test_formats_that_are_none(run, folder, arguments, text):
    DATA.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", FORMULA, *arguments)
    assert ended.status == (2 if text else 0)
    assert (text or "") in ended.err


def test_damaged_archives(run, folder):
    packed = gzip.compress(DATA.to_csv(index=False).encode())
    (folder / "d.csv.gz").write_bytes(packed[:-20])
    (folder / "e.csv.gz").write_bytes(b"y,x,g\n")
    (folder / "f.csv.xz").write_bytes(lzma.compress(b"y,x\n1,2\n")[:-9])
    (folder / "g.csv.zip").write_bytes(b"PK\3\4 and no more")
    for name in ("d.csv.gz", "e.csv.gz", "f.csv.xz", "g.csv.zip"):
        ended = run("fit", name, FORMULA)
        assert (ended.status, len(ended.lines)) == (1, 1)
        assert f"'{name}' can't be unpacked" in ended.err


@pytest.mark.parametrize("name", ["no.csv", "no.csv.gz", "http://127.0.0.1/no.csv.gz"])
def test_files_that_are_not_there(run, folder, name):
    assert not list(folder.iterdir())
    ended = run("fit", name, FORMULA)
    assert ended.lines == [f"blocklmm: '{name}': No such file or directory"]
    assert ended.status == 1


def test_a_folder_is_no_csv_file(run, folder):
    (folder / "d.csv").mkdir()
    ended = run("fit", "d.csv", FORMULA)
    assert (ended.status, ended.lines) == (1, ["blocklmm: 'd.csv': Is a directory"])


def test_permissions_are_told(run, folder, monkeypatch):
    DATA.to_csv(folder / "d.csv", index=False)

    def denied(*_):
        raise PermissionError(13, "Permission denied", "d.csv")

    monkeypatch.setattr("blocklmm.cli.csv_input._opener", denied)
    assert run("fit", "d.csv", FORMULA).lines == ["blocklmm: 'd.csv': Permission denied"]
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("blocklmm.cli.outputs.os.access", lambda path, _: str(path) != "fit.json")
    (folder / "fit.json").write_text("as it was")
    ended = run("fit", "d.csv", FORMULA, "--out", "fit.json")
    assert (ended.status, ended.lines) == (1, ["blocklmm: 'fit.json': Permission denied"])
    assert (folder / "fit.json").read_text() == "as it was"


def test_standard_input(run, monkeypatch):
    content = DATA.to_csv(index=False).encode()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    found = objective(run("fit", "-", FORMULA, "--out", "-"))
    np.testing.assert_allclose(found, bl.lmer(FORMULA, DATA).objective, rtol=1e-12)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"")))
    assert run("fit", "-", FORMULA).lines == ["blocklmm: standard input is empty"]
    monkeypatch.setattr("sys.stdin", None)
    assert run("fit", "-", FORMULA).lines == ["blocklmm: there is no standard input to read"]


def test_a_pipe_with_a_name(tmp_path):
    pipe = tmp_path / "p.csv"
    os.mkfifo(pipe)
    content = DATA.to_csv(index=False)
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()
    found = read(pipe)
    writer.join()
    pd.testing.assert_frame_equal(found, DATA, check_dtype=False)


def test_an_interrupt_while_a_file_is_read(run, sleep_csv, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("blocklmm.cli.csv_input._Counting.readinto", interrupted)
    ended = run("fit", sleep_csv, INTERCEPTS)
    assert (ended.status, ended.lines) == (130, ["blocklmm: interrupted"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *[(p, True) for p in ("-", "a.csv", "a.CSV", "a.tsv.gz", "b/a.txt", "/dev/fd/63")],
        *[(p, False) for p in ("a.parquet", "csv", "a.csv/part.parquet", "/dev/shm/a", "a.gz")],
    ],
)
def test_what_is_taken_for_csv(path, expected):
    assert is_csv(path) is expected


def test_progress_counts_bytes(tmp_path, monkeypatch):
    seen = []

    @contextmanager
    def bar(total, unit, progress):
        seen.append([total, unit, progress])
        yield seen[-1].append

    monkeypatch.setattr("blocklmm.cli.csv_input.progress_bar", bar)
    DATA.to_csv(tmp_path / "d.csv", index=False)
    read_csv(str(tmp_path / "d.csv"), CsvFormat(), set(), progress=True)
    size = (tmp_path / "d.csv").stat().st_size
    assert seen[-1][:3] == [size, "B", True]
    assert sum(seen[-1][3:]) == size


@pytest.mark.parametrize("name", ["d.xlsx", "d.SAV", "d.dta", "d.sas7bdat", "d.json"])
def test_files_of_other_programs(run, folder, name):
    (folder / name).write_bytes(b"PK\3\4 and more")
    for arguments in (("fit", name, FORMULA), ("predict", "d.blmm", name)):
        ended = run(*arguments)
        told = f"blocklmm: '{name}' is neither CSV nor Parquet: export it as CSV"
        assert (ended.status, ended.lines) == (1, [told])
    assert run("fit", "no.xlsx", FORMULA).lines == ["blocklmm: there is no file 'no.xlsx'"]
