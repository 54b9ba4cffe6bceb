"""Which files a path, a glob, a folder or a list of them means, and columns of odd names."""

from __future__ import annotations

import sys

import blocklmm as bl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from blocklmm.errors import DataError

from .test_streams import DATA, IN_MEMORY, N, assert_same, in_chunks


def write_partitioned(data, folder, columns):
    table = pa.Table.from_pandas(data, preserve_index=False)
    pq.write_to_dataset(table, folder, partition_cols=columns)


@pytest.mark.parametrize("below", ["", "/**/*.parquet", "/*/*/*.parquet"])
def test_files_in_folders_that_make_columns(tmp_path, below):
    data = DATA.assign(site=np.where(DATA["rater"] < 2, "a b", "c/d"))
    write_partitioned(data, tmp_path / "rows", ["room", "site"])
    (tmp_path / "rows" / "_SUCCESS").touch()
    fit = bl.lmer("y ~ x + room + site + (1 | g)", f"{tmp_path}/rows{below}")
    whole = bl.lmer("y ~ x + room + site + (1 | g)", data)
    assert_same(fit, whole)


def test_a_columns_own_values_go_before_its_folders(tmp_path):
    for room, part in DATA.groupby("room"):
        folder = tmp_path / f"room={7 - room}"
        folder.mkdir()
        part.to_parquet(folder / "rows.parquet", index=False)
    fit = bl.lmer("y ~ x + room + (1 | g)", tmp_path)
    assert_same(fit, bl.lmer("y ~ x + room + (1 | g)", DATA))


@pytest.mark.parametrize("where", ["rows", "rows/**/*.parquet"])
def test_files_at_all_depths(tmp_path, where):
    for k, part in enumerate(in_chunks(DATA, 61)):
        folder = tmp_path / "rows" / "/".join("abcd"[:k])
        folder.mkdir(parents=True, exist_ok=True)
        part.to_parquet(folder / "part.parquet", index=False)
    assert_same(bl.lmer("y ~ x + (1 | g)", tmp_path / where), IN_MEMORY["intercepts"])
    with pytest.raises(bl.DataError, match="matches the folder"):
        bl.lmer("y ~ x + (1 | g)", tmp_path / "rows" / "*")


def test_several_paths(tmp_path, monkeypatch):
    """In the order given; of folders that make columns, and in one's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_partitioned(DATA[DATA["room"] == 2], tmp_path / "late", ["room"])
    write_partitioned(DATA[DATA["room"] < 2], tmp_path / "early", ["room"])
    formula = "y ~ x + room + (1 | g)"
    fit = bl.lmer(formula, ("~/late", tmp_path / "early" / "*" / "*.parquet"))
    assert_same(fit, bl.lmer(formula, DATA))
    rows = pd.concat([DATA[DATA["room"] == k] for k in (2, 0, 1)])
    np.testing.assert_allclose(fit.predict(), bl.lmer(formula, rows).predict(), rtol=1e-9)
    with pytest.raises(bl.DataError, match="is found twice"):
        bl.lmer(formula, [tmp_path / "late", tmp_path / "**" / "*.parquet"])
    with pytest.raises(bl.DataError, match=r"there is no file 'nowhere\.parquet'"):
        bl.lmer(formula, [tmp_path / "late", "nowhere.parquet"])
    with pytest.raises(bl.OptionError, match=r"late.*and 1 more"):
        fit.augment(out=tmp_path / "early" / "room=0" / "fitted.parquet")


@pytest.mark.parametrize("field", ["x", "rater", "room", "z"])
def test_data_sets_with_a_filter(tmp_path, field):
    write_partitioned(DATA, tmp_path / "rows", ["room"])
    rows = ds.dataset(tmp_path / "rows", format="parquet", partitioning="hive")
    fit = bl.lmer("y ~ arm * x + room + (x | g)", rows.filter(ds.field(field) > 1))
    whole = bl.lmer("y ~ arm * x + room + (x | g)", DATA[DATA[field] > 1])
    assert_same(fit, whole)
    assert len(fit.resid) == whole.nobs


def test_a_file_that_is_called_as_a_glob(tmp_path):
    DATA.to_parquet(tmp_path / "d[1].parquet")
    assert_same(bl.lmer("y ~ x + (1 | g)", tmp_path / "d[1].parquet"), IN_MEMORY["intercepts"])


def odd_columns():
    """Columns that no model can read, whose names are in formulas."""
    when = pd.Timestamp("2020-01-01")
    names = ["0", "1", "2", "log", "log1p", "I", "C", "df", "sum", "Intercept", "offset"]
    return dict.fromkeys(names, when) | {"poly": [[1]] * N}


@pytest.mark.parametrize(
    ("formula", "more"),
    [
        ("y ~ 1 + x + (1 | g)", {}),
        ("log(y + 20) ~ np.log1p(z) + (0 + x | g)", {}),
        ("y ~ poly(x, 2) + bs(z, df=4) + I(x^2):z + (1 | g)", {}),
        ("y ~ C(n, contr.sum) + offset(log(w)) + (1 | school:room)", {}),
        ("y ~ x + (1 | g)", {"weights": "log(w + 2)", "offset": "shift * 2"}),
        ("y ~ x + arm + (1 | g)", {"contrasts": {"arm": "sum"}, "levels": {"arm": ["early"]}}),
    ],
)
def test_names_that_are_no_columns_of_the_formula(tmp_path, formula, more):
    if "levels" in more:
        more["levels"] = {"arm": ["early", "later", "last"]}
    whole = bl.lmer(formula, DATA, **more)
    path = tmp_path / "odd.parquet"
    DATA.assign(**odd_columns()).to_parquet(path)
    assert_same(bl.lmer(formula, path, **more), whole)
    np.testing.assert_allclose(whole.predict(path), whole.predict(DATA), rtol=1e-12)


@pytest.mark.parametrize("name", ["my.x", "x.y.z", "größe", "a b", "x:y", "12", "_x"])
def test_names_of_all_kinds(tmp_path, name):
    data = DATA.rename(columns={"z": name})
    data.to_parquet(tmp_path / "rows.parquet")
    quoted = name if name in ("my.x", "x.y.z", "größe", "_x") else f"`{name}`"
    for term in (quoted, f"log({quoted} + 20)", f"poly({quoted}, 2)", f"({quoted} | g)"):
        more = {"weights": f"exp({quoted} / 50)"}
        formula = f"y ~ x + {term} + (1 | school)"
        fit = bl.lmer(formula, tmp_path / "rows.parquet", **more)
        assert_same(fit, bl.lmer(formula, data, **more))


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("d.csv", "read_csv"),
        ("d.tsv.gz", "read_csv"),
        ("d.XLSX", "read_excel"),
        ("d.dta", "read_stata"),
        ("d.sav", "read_spss"),
    ],
)
@pytest.mark.parametrize("is_installed", [True, False])
def test_files_that_are_no_parquet(tmp_path, monkeypatch, name, reader, is_installed):
    """Whether pyarrow is there or not, which would not help."""
    if not is_installed:
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = str(tmp_path / name)
    with pytest.raises(DataError, match="there is no file"):
        bl.lmer("y ~ 1", path)
    with open(path, "wb") as file:
        file.write(b"y,x\n1,2\n")
    for given in (path, [path], str(tmp_path)):
        with pytest.raises(DataError, match=rf"is no Parquet file: give it .* pd\.{reader}\('"):
            bl.lmer("y ~ 1", given)
    (tmp_path / "d.parquet").touch()
    if not is_installed:
        with pytest.raises(ImportError, match=r"pip install 'blocklmm\[arrow\]'"):
            bl.lmer("y ~ 1", str(tmp_path / "d.parquet"))


def test_parquet_may_be_called_otherwise(tmp_path):
    data = bl.datasets.load("sleepstudy")
    data.to_parquet(tmp_path / "d.txt")
    formula = "Reaction ~ Days + (1 | Subject)"
    assert bl.lmer(formula, tmp_path / "d.txt").nobs == len(data)
