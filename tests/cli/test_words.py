"""Messages in flags, not in arguments of Python."""

from __future__ import annotations

import numpy as np
import pytest
from blocklmm.cli.words import in_flags

from .conftest import INTERCEPTS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choose ddf='satterthwaite' or 'kenward-roger'", "choose --ddf satterthwaite or kenward-"),
        ("fit: use fit.refit_reml(), or ddf='satterthwaite'", "fit: leave --ml out, or say --ddf "),
        ("t with ddf='satterthwaite', as", "t with --ddf satterthwaite, as"),
        ("fit with a column's name, weights='name', for", "name, --weights, for"),
        ("out='a.parquet' may be among", "--out 'a.parquet' may be among"),
        ("column 'dropout=3' and a--b_c", "column 'dropout=3' and a--b_c"),
        ("use max_evaluations=2", "use --max-evaluations 2"),
    ],
)
def test_arguments_are_flags(text, expected):
    assert expected in in_flags(text)


def test_messages_of_commands(run, folder, sleep):
    data = sleep.assign(Days=np.where(np.arange(180) == 3, np.nan, sleep["Days"]))
    data.to_csv(folder / "d.csv", index=False)
    ended = run("fit", "d.csv", INTERCEPTS, "--missing", "error")
    assert ended.status == 1
    assert ended.err.endswith(". --missing drop leaves such rows out\n")
    (folder / "new.csv").write_text("Days,Subject\n1,999\n")
    ended = run("predict", "d.csv", INTERCEPTS, "new.csv")
    assert ended.status == 1
    assert "; --new-levels population predicts for others" in ended.err


def test_csv_files_in_a_folder(run, folder, sleep):
    (folder / "rows").mkdir()
    sleep.to_csv(folder / "rows" / "a.csv", index=False)
    ended = run("fit", "rows", INTERCEPTS)
    assert ended.lines == [
        "blocklmm: 'rows/a.csv' is no Parquet file: files in folders and globs are Parquet"
    ]
