"""What great_tables and pandas' styles make of our tables; README shows both."""

from __future__ import annotations

import re

import blocklmm as bl
import polars as pl
import pytest
from great_tables import GT

SLEEP = bl.datasets.load("sleepstudy").astype({"Subject": str})
FORMULA = "Reaction ~ Days + (Days | Subject)"
FIT = bl.lmer(FORMULA, SLEEP)
ERRORS = ["estimate", "std.error"]


def rows(html):
    """Return the texts of the cells of a table's body."""
    body = html[html.index("<tbody") : html.index("</tbody>")]
    found = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in body.split("</tr>")]
    return [list(filter(None, map(str.strip, row))) for row in found if row]


def polars_fit():
    return bl.lmer(FORMULA, pl.DataFrame({name: SLEEP[name].to_list() for name in SLEEP}))


@pytest.mark.parametrize("fit", [FIT, polars_fit()], ids=["pandas", "polars"])
def test_great_tables_take_tidy_tables(fit):
    shown = GT(fit.tidy(), rowname_col="term").cols_hide("effect").fmt_number(ERRORS, decimals=2)
    found = rows(shown.fmt_scientific("p.value", decimals=1).as_raw_html())
    assert [row[:3] for row in found] == [
        ["Intercept", "251.41", "6.82"],
        ["Days", "10.47", "1.55"],
    ]
    assert found[1][5].startswith("3.3")
    random = GT(fit.tidy("ran_pars"), groupname_col="group").fmt_number(ERRORS, decimals=3)
    error = FIT.tidy("ran_pars").set_index("term").loc["sd__Days", "std.error"]
    assert ["ran_pars", "sd__Days", "5.922", f"{error:.3f}"] in rows(random.as_raw_html())
    assert len(rows(GT(fit.glance()).as_raw_html())) == 1
    assert len(rows(GT(fit.augment()).as_raw_html())) == 180


def test_great_tables_take_labelled_tables_with_their_labels():
    line = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    table = bl.anova(line, FIT)
    shown = GT(table.reset_index(), rowname_col="index").fmt_number("Chisq", decimals=2)
    for note in table.attrs["notes"]:
        shown = shown.tab_source_note(note)
    html = shown.sub_missing().as_raw_html()
    assert [row[0] for row in rows(html)] == list(table.index)
    assert "42.84" in rows(html)[1]
    assert all(note in html for note in table.attrs["notes"])


def test_styles_of_pandas():
    style = FIT.tidy().style.format(precision=3).hide(axis="index").hide("effect", axis="columns")
    assert rows(style.to_html())[1][:3] == ["Days", "10.467", "1.546"]
    tests = bl.anova(FIT).style.format({"F": "{:.2f}"}).highlight_max("F", props="color: red")
    assert rows(tests.to_html())[0][0] == "Days"
    assert "color: red" in tests.to_html()
