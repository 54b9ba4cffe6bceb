"""Summaries in several formats, tables of several models, tidy tables of random effects."""

from __future__ import annotations

import html
import pickle
import re
from html.parser import HTMLParser

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from scipy import stats

SLEEP = bl.datasets.load("sleepstudy")
FIT = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


class Cells(HTMLParser):
    """The texts of a page's cells; tags have to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_a_summary_says_the_same_in_all_formats():
    summary = FIT.summary()
    cells = [cell for section in summary.sections for row in section.rows for cell in row]
    assert Cells(summary.as_html()).cells == cells
    lines = [line for section in summary.sections for line in section.lines]
    for written in (summary.as_text(), summary.as_markdown()):
        for text in (*cells, *lines):
            assert text in re.sub(r"\\([|*<])", r"\1", written)
    assert summary.as_text() == str(summary) == repr(summary)
    assert FIT._repr_html_() == summary._repr_html_() == summary.as_html()
    again = pickle.loads(pickle.dumps(summary))
    assert again == summary
    assert again.as_latex() == summary.as_latex()


def test_markup_of_odd_names():
    data = SLEEP.rename(columns={"Days": "a<b|c_d & 50%"})
    fit = bl.lmer("Reaction ~ `a<b|c_d & 50%` + (1 | Subject)", data)
    summary = fit.summary()
    assert "a<b|c_d & 50%" in Cells(summary.as_html()).cells
    assert r"a\textless{}b\textbar{}c\_d \& 50\%" in summary.as_latex()
    assert r"\textasciigrave{}a\textless{}b" in summary.as_latex()  # of the formula
    assert "`" not in summary.as_latex()
    rows = [line for line in summary.as_markdown().splitlines() if line.startswith(r"| a\<b")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [7, 3]


def test_markdown_shows_what_is_written():
    """By an independent reader: bullets, emphasis, code and tags would swallow what marks them."""
    data = SLEEP.rename(columns={"Days": "_a_<b>$x$ | k"})
    name = "_a_<b>$x$ | k"
    data["f"] = np.where(np.arange(180) % 2, "*one*", "two\nlines ~~2~~ \\")
    fit = bl.lmer(f"Reaction ~ `{name}` * f + I(`{name}`**2) + (1 | Subject)", data)
    for report in (fit.summary(), bl.model_table(fit, stars=True)):
        page = (
            MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(report.as_markdown())
        )
        assert Cells(page).cells == [
            cell.strip() for section in report.sections for row in section.rows for cell in row
        ]
        assert not re.search("<(em|li|code|s|b)>", page)
        text = html.unescape(re.sub("<[^>]*>", "", page))
        for section in report.sections:
            assert all(line in text for line in section.lines)
    assert "f[T.two lines ~~2~~ \\]" in fit.summary()


def test_latex_tables_are_whole():
    text = FIT.summary().as_latex()
    for rule in ("toprule", "midrule", "bottomrule", "begin{tabular}", "end{tabular}"):
        assert text.count(rule) == 4
    bodies = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.S)
    for sides, body in bodies:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert all(row.count(" & ") == len(sides) - 1 for row in rows)
    assert "$-0.138$" in text
    assert r"$-2$*log" not in text  # a name
    for section in FIT.summary().sections:
        *lines, last = [line.replace("~", r"\textasciitilde{}") for line in section.lines] or [""]
        last = last.replace("|", r"\textbar{}")
        assert "".join(f"{line} \\newline\n" for line in lines) + last in text
    assert r"\textless{}$2 \cdot 10^{-16}$" in text


def test_numbers_that_share_a_cell_of_latex_stay_apart():
    """As $-0.2 0.3$ they would be set as one, as $0.1 -0.2$ as a difference."""
    data = SLEEP.assign(u=np.tile([1.0, -1, 2, 0, 1], 36), w=np.tile([0.0, 3, 1, 1, -2, 5], 30))
    fit = bl.lmer("Reaction ~ Days + (Days + u + w | Subject)", data)
    corr = fit.varcorr["Subject"].corr
    for row in (2, 3):
        shown = " ".join(f"${v:.2f}$" if v < 0 else f"{v:.2f}" for v in corr[row, :row])
        assert f"& {shown} \\\\" in fit.summary().as_latex()
    assert (corr < 0).any()
    table = bl.model_table(
        bl.lmer("y ~ Days + (1 | Subject)", SLEEP.assign(y=-SLEEP["Reaction"])),
        show="conf.int",
        stars=True,
        names=["2019-2020"],
    )
    intercept, days = table.sections[0].rows[1][1], table.sections[0].rows[2][1]
    latex = table.as_latex()
    for cell in (intercept, days):
        assert re.sub(r"-[\d.]+", r"$\g<0>$", cell) in latex
    assert "& 2019-2020 \\\\" in latex


def test_blups_and_coefficients_are_tidy():
    vals, ranef, sd = FIT.tidy("ran_vals", level=0.9), FIT.ranef()["Subject"], FIT.ranef_sd()
    assert list(vals) == [
        "effect", "group", "level", "term", "estimate", "std.error", "conf.low", "conf.high",
    ]  # fmt: skip
    table = vals.pivot(index="level", columns="term", values="estimate")
    np.testing.assert_array_equal(table[ranef.columns].loc[ranef.index], ranef)
    np.testing.assert_array_equal(vals["std.error"], sd["Subject"].to_numpy().ravel())
    half = stats.norm.ppf(0.95) * vals["std.error"]
    np.testing.assert_allclose(vals["conf.high"] - vals["estimate"], half)
    coefs = FIT.tidy("ran_coefs").pivot(index="level", columns="term", values="estimate")
    expected = FIT.coef()["Subject"]
    np.testing.assert_array_equal(coefs[expected.columns].loc[expected.index], expected)
    both = bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))
    assert both.tidy("ran_vals").groupby("group").size().to_dict() == {"plate": 24, "sample": 6}
    line = bl.lmer("Reaction ~ Days", SLEEP)
    assert len(line.tidy("ran_vals")) == len(line.tidy("ran_coefs")) == 0
    with pytest.raises(bl.OptionError, match="about the fixed effects"):
        FIT.tidy("ran_vals", robust="CR2")


def test_augmented_rows_are_those_that_were_used():
    data = SLEEP.assign(Days=SLEEP["Days"].astype(float), other=1.0)
    data.loc[[0, 50], "Days"] = np.nan
    found = bl.lmer("Reaction ~ Days + (1 | Subject)", data).augment()
    assert found.index.tolist() == [k for k in range(180) if k not in (0, 50)]
    assert "other" not in found
    chunks = bl.lmer("Reaction ~ Days + (1 | Subject)", [data[:70], data[70:]]).augment()
    pd.testing.assert_frame_equal(chunks, found, rtol=1e-9)


def test_models_side_by_side():
    line = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, reml=False)
    curve = bl.lmer("Reaction ~ Days + I(Days**2) + (Days | Subject)", SLEEP, reml=False)
    table = bl.model_table(line, curve, names=["line", "curve"], labels={"Days": "day"}, digits=4)
    rows = {row[0]: list(row[1:]) for row in table.sections[0].rows}
    assert rows[""] == ["line", "curve"]
    assert rows["day"] == [
        f"{fit.params['Days']:.4f} ({fit.bse['Days']:.4f})" for fit in (line, curve)
    ]
    assert rows["I(Days ** 2)"][0] == ""
    assert rows["Subject: sd__Days"] == ["", f"{curve.varcorr['Subject'].sd[1]:.4f}"]
    assert rows["Residual: sd__Observation"] == [f"{fit.sigma:.4f}" for fit in (line, curve)]
    assert rows["Groups: Subject"] == ["18", "18"]
    assert rows["AIC"] == [f"{fit.aic:.4f}" for fit in (line, curve)]
    assert "can't be compared" not in table
    assert table.as_latex().count("midrule") == 3
    assert "REML and ML, can't be compared" in bl.model_table(line, FIT)


def test_factors_of_later_models_stand_with_those_of_the_first():
    line = bl.lmer("diameter ~ 1 + (1 | plate)", bl.datasets.load("Penicillin"))
    both = bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))
    rows = [row[0] for row in bl.model_table(line, both).sections[0].rows]
    assert rows == [
        "", "Intercept",
        "plate: sd__(Intercept)", "sample: sd__(Intercept)", "Residual: sd__Observation",
        "Observations", "Groups: plate", "Groups: sample", "Method", "Log-likelihood", "AIC", "BIC",
    ]  # fmt: skip


def test_what_stands_beside_estimates():
    one = FIT.tidy(ddf="kenward-roger").set_index("term").loc["Days"]
    interval = bl.model_table(FIT, show="conf.int", ddf="kenward-roger")
    assert f"{one['estimate']:.3f} ({one['conf.low']:.3f}, {one['conf.high']:.3f})" in interval
    assert "10.467*** (<0.001)" in bl.model_table(FIT, show="p.value", stars=True)
    small = bl.lmer("y ~ Days + (1 | Subject)", SLEEP.assign(y=SLEEP["Reaction"] / 1e6))
    assert f"{small.params['Days']:.3g}" in bl.model_table(small)
    robust = FIT.tidy(robust="CR2")["std.error"][1]
    assert f"({robust:.3f})" in bl.model_table(FIT, robust="CR2")
    wide = FIT.tidy(level=0.8).set_index("term").loc["Days"]
    found = bl.model_table(FIT, show="conf.int", level=0.8)
    assert f"({wide['conf.low']:.3f}, {wide['conf.high']:.3f})" in found
    assert "80% intervals" in found
    assert "kenward-roger standard errors" in bl.model_table(FIT, ddf="kenward-roger")


def test_errors_of_a_chosen_cluster():
    crossed = bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))
    error = crossed.tidy(robust="CR0", cluster="plate")["std.error"][0]
    assert f"({error:.3f})" in bl.model_table(crossed, robust="CR0", cluster="plate")


def test_rows_of_random_effects_can_be_renamed():
    table = bl.model_table(FIT, labels={"Subject: sd__Days": "slopes"})
    rows = {row[0]: row[1] for row in table.sections[0].rows}
    assert rows["slopes"] == f"{FIT.varcorr['Subject'].sd[1]:.3f}"


def test_tables_of_models_that_are_refused():
    for wrong, given in (((), "none"), ((FIT, "fit"), "str"), (([FIT, FIT],), "list")):
        with pytest.raises(bl.OptionError, match=f"fits one by one, .* given was .*{given}"):
            bl.model_table(*wrong)
    with pytest.raises(bl.OptionError, match="2 fits and 1 names"):
        bl.model_table(FIT, FIT, names=["a"])
    with pytest.raises(bl.OptionError, match="no fit has a row 'days'"):
        bl.model_table(FIT, labels={"days": "day"})
    for digits in (-1, 2.5, "3"):
        with pytest.raises(bl.OptionError, match="digits is a whole number from 0"):
            bl.model_table(FIT, digits=digits)
    with pytest.raises(bl.OptionError, match=r"'std\.error'"):
        bl.model_table(FIT, show="se")


def test_notebooks_show_tables():
    assert "<td>Subject</td>" in FIT.varcorr._repr_html_()
    assert "None" not in FIT.varcorr._repr_html_()
    assert "<table" in bl.anova(FIT)._repr_html_()
    for shown in (FIT.profile("Days"), FIT.bootstrap(50, seed=1)):
        cells = Cells(shown._repr_html_()).cells
        assert "Days" in cells
        assert set(cells) <= {*repr(shown).split(), ""}


def test_a_response_in_backticks_is_its_column():
    data = SLEEP.rename(columns={"Reaction": "reaction time"})
    found = bl.lmer("`reaction time` ~ Days + (1 | Subject)", data).augment()
    assert list(found) == ["reaction time", "Days", "Subject", ".fitted", ".fixed", ".resid"]
    np.testing.assert_array_equal(found["reaction time"], data["reaction time"])


def test_columns_that_are_called_as_what_is_fitted():
    data = SLEEP.rename(columns={"Days": ".resid"})
    with pytest.raises(bl.DataError, match=r"two columns would be called '\.resid'"):
        bl.lmer("Reaction ~ `.resid` + (1 | Subject)", data).augment()
