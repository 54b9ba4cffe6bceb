"""Growth curves show the data, the subject's line and the population's."""

from __future__ import annotations

from itertools import pairwise

import blocklmm as bl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.figure import Figure

from tests.bad_data import says

from .fits import SLEEP, drawn, five, many, own_axes, sleep, without_rows


def on_line(points, intercept, slope):
    np.testing.assert_allclose(points[:, 1], intercept + slope * points[:, 0], rtol=1e-9)


def test_all_subjects_are_shown_in_order():
    fit = sleep()
    panels = bl.plot.growth_curves(fit, "Days")
    coef = fit.coef()["Subject"]
    assert panels.shape == (18,)
    assert [ax.get_title() for ax in panels] == list(coef.index)
    assert len(panels[0].figure.axes) == 18  # none is left empty
    for ax, (label, own) in zip(panels, coef.iterrows(), strict=True):
        rows = SLEEP[SLEEP["Subject"] == label]
        np.testing.assert_array_equal(drawn(ax, "data"), rows[["Days", "Reaction"]])
        on_line(drawn(ax, "own line"), *own)
        on_line(drawn(ax, "population"), *fit.params)
        assert (np.diff(drawn(ax, "own line")[:, 0]) >= 0).all()
    assert panels[0].figure.get_suptitle() == "Subject"
    assert panels[0].figure.get_supxlabel() == "Days"
    assert panels[0].figure.get_supylabel() == "Reaction"
    assert panels[0].get_ylim() == panels[17].get_ylim()


@pytest.mark.parametrize(("most", "columns"), [(3, 3), (18, 5), (100, 5)])
def test_figures_are_10_inches_wide_at_most_and_texts_do_not_collide(most, columns):
    panels = bl.plot.growth_curves(many(), "t", most=most)
    figure = panels[0].figure
    assert figure.get_figwidth() <= 10.001
    figure.canvas.draw()
    lefts = {round(ax.get_position().x0, 3) for ax in panels}
    assert len(lefts) == columns
    boxes = [ax.get_window_extent() for ax in panels]
    assert min(box.width for box in boxes) > 1.1 * figure.dpi
    for ax in panels:
        ticks = [t for t in ax.get_xticklabels() if t.get_text() and t.get_visible()]
        spans = [tick.get_window_extent() for tick in ticks]
        assert not any(a.overlaps(b) for a, b in pairwise(spans))


def test_chosen_subjects_on_given_axes():
    axes = Figure(figsize=(9, 3)).subplots(1, 4)
    panels = bl.plot.growth_curves(sleep(), "Days", groups=["335", "308"], axes=axes)
    assert list(panels) == list(axes[:2])
    assert [ax.get_title().splitlines()[-1] for ax in panels] == ["335", "308"]
    assert not axes[2].lines
    assert [ax.get_xlabel() for ax in panels] == ["Days", "Days"]
    assert panels[0].get_legend() is not None
    assert plt.get_fignums() == []


def test_panels_are_made_in_a_figure_or_a_part_of_it():
    whole = Figure(figsize=(8, 4), layout="constrained")
    left, right = whole.subfigures(1, 2)
    panels = bl.plot.growth_curves(sleep(), "Days", most=4, axes=right)
    assert all(ax.figure is right for ax in panels)
    assert left.axes == []
    whole.canvas.draw()
    assert plt.get_fignums() == []


def test_curves_are_smooth_where_only_time_changes():
    data = SLEEP.assign(old=SLEEP["Subject"].astype(str) > "340", square=SLEEP["Days"] ** 2)
    formula = "Reaction ~ poly(Days, 2) * old + (Days | Subject)"
    for rows in (data, pl.from_pandas(data)):
        fit = bl.lmer(formula, rows)
        ax = bl.plot.growth_curves(fit, "Days", groups=["350"], axes=Figure())[0]
        found = drawn(ax, "population")
        assert len(found) == 60
        parabola = np.polynomial.Polynomial.fit(*found.T, 2)
        np.testing.assert_allclose(parabola(found[:, 0]), found[:, 1], rtol=1e-9)
        of = (data["Subject"] == "350").to_numpy()
        at = np.searchsorted(found[:, 0], data["Days"][of])
        population = fit.predict(random="population")[of]
        np.testing.assert_allclose(found[at, 1], population, rtol=1e-9)
        own = drawn(ax, "own line")
        np.testing.assert_allclose(own[at, 1], fit.fittedvalues[of], rtol=1e-9)


def parts(points):
    """Lines of one artist, which NaN part."""
    gaps = np.flatnonzero(np.isnan(points[:, 0]))
    return [part[~np.isnan(part[:, 0])] for part in np.split(points, gaps)]


def of_subject(formula, offset=None, seed=1, **columns):
    """A fit to rows out of order, two of which miss x, the rows of 308, and their fitted values."""
    data = SLEEP.assign(square=SLEEP["Days"] ** 2, **columns)
    data = data.sample(frac=1, random_state=seed).reset_index(drop=True)
    data.loc[[5, 17], "Days"] = np.nan
    fit = bl.lmer(formula, data, offset=offset)
    used = data["Days"].notna()
    of = (data["Subject"][used] == "308").to_numpy()
    values = np.column_stack([fit.fittedvalues, fit.predict(random="population")])[of]
    return fit, data[used][of], values


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days + square + (Days | Subject)",
        "Reaction ~ factor(Days) + (1 | Subject)",
        "Reaction ~ I(Days - np.mean(Days)) + (1 | Subject)",
    ],
)
def test_curves_join_fitted_values_where_others_move_with_time(formula):
    fit, rows, values = of_subject(formula)
    order = np.argsort(rows["Days"].to_numpy())
    ax = bl.plot.growth_curves(fit, "Days", groups=["308"], axes=own_axes())[0]
    np.testing.assert_array_equal(drawn(ax, "data"), rows[["Days", "Reaction"]])
    for label, fitted in zip(("own line", "population"), values.T, strict=True):
        found = drawn(ax, label)
        np.testing.assert_array_equal(found[:, 0], rows["Days"].iloc[order])
        np.testing.assert_allclose(found[:, 1], fitted[order], rtol=1e-12)
    assert ax.get_title() == "Subject\n308"


def test_numbers_that_vary_within_the_group_are_held_at_its_mean():
    z = np.random.default_rng(0).normal(size=180)
    fit, rows, _ = of_subject("Reaction ~ poly(Days, 2) + z + (Days | Subject)", z=z)
    panels = bl.plot.growth_curves(fit, "Days", groups=["308", "335"])
    found = {label: drawn(panels[0], label) for label in ("own line", "population")}
    for label, points in found.items():
        at = pd.DataFrame({"Days": points[:, 0], "z": rows["z"].mean(), "Subject": "308"})
        how = "population" if label == "population" else "conditional"
        np.testing.assert_allclose(points[:, 1], fit.predict(at, random=how), rtol=1e-9)
        assert len(points) > 50
    assert panels[0].figure.get_suptitle() == "Subject\nz at the group's mean"


def test_what_cannot_be_held_is_not_joined():
    z = np.random.default_rng(0).normal(size=180)
    formula = "Reaction ~ I(Days - np.mean(Days)) + z + (1 | Subject)"
    fit, _, values = of_subject(formula, z=z)
    ax = bl.plot.growth_curves(fit, "Days", groups=["308"], axes=own_axes())[0]
    line = next(line for line in ax.lines if line.get_label() == "own line")
    assert line.get_linestyle() == "None"
    np.testing.assert_allclose(np.sort(line.get_ydata()), np.sort(values[:, 0]), rtol=1e-12)
    assert "at the group's mean" not in ax.get_title()


def test_an_offset_given_as_an_array_is_at_the_group_s_mean():
    offset = np.linspace(0, 50, 180)
    fit, rows, _ = of_subject("Reaction ~ Days + (1 | Subject)", offset)
    ax = bl.plot.growth_curves(fit, "Days", groups=["308"], axes=own_axes())[0]
    mean = offset[rows.index].mean()
    on_line(drawn(ax, "population"), fit.params["Intercept"] + mean, fit.params["Days"])


def test_a_group_has_a_line_for_each_combination():
    oats = bl.datasets.load("Oats").sample(frac=1, random_state=2).reset_index(drop=True)
    for rows in (oats, pl.from_pandas(oats)):
        fit = bl.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", rows)
        panels = bl.plot.growth_curves(fit, "nitro", "Block")
        assert panels[0].figure.get_suptitle() == "Block\na line for each Variety"
        for ax in panels:
            block = oats[oats["Block"] == ax.get_title()]
            for label, how in (("own line", "conditional"), ("population", "population")):
                found = parts(drawn(ax, label))
                assert len(found) == 3
                for variety, line in zip(block["Variety"].unique(), found, strict=True):
                    at = pd.DataFrame({"nitro": line[:, 0]})
                    at = at.assign(Variety=variety, Block=ax.get_title())
                    np.testing.assert_allclose(line[:, 1], fit.predict(at, random=how), rtol=1e-9)
                    assert np.ptp(line[:, 0]) == pytest.approx(0.6)
                    assert (np.diff(line[:, 0]) >= 0).all()


def test_columns_of_two_values_are_categories_and_one_x_is_a_dash():
    machines = bl.datasets.load("Machines")
    t = np.tile(np.arange(3), 18)
    data = machines.assign(t=t, late=(machines["Machine"] == "C").astype(int))
    data = data[(data["late"] == 0) | (data["t"] == 1)]
    fit = bl.lmer("score ~ t + late + (1 | Worker)", data)
    ax = bl.plot.growth_curves(fit, "t", groups=["1"], axes=own_axes())[0]
    long, single = parts(drawn(ax, "own line"))
    b = fit.coef()["Worker"].loc["1"]
    on_line(long, b["Intercept"], b["t"])
    on_line(single, b["Intercept"] + b["late"], b["t"])
    (line,) = [line for line in ax.lines if line.get_label() == "own line"]
    at = line.get_markevery()
    assert set(line.get_xdata()[at]) == {1.0}
    assert "a line for each late" in ax.get_title()


@pytest.mark.parametrize(
    ("formula", "note"),
    [
        ("Reaction ~ Days + poly(z, 2) + (1 | Subject)", "z at the group's mean"),
        ("Reaction ~ Days * `a z` + (1 | Subject)", "a z at the group's mean"),
        ("Reaction ~ Days + C(three) + (1 | Subject)", "a line for each three"),
        ("Reaction ~ Days + three + (1 | Subject)", "three at the group's mean"),
        ("Reaction ~ Days + (0 + odd | Subject)", "a line for each odd"),
        ("Reaction ~ Days + offset(z) + (1 | Subject)", "z at the group's mean"),
        ("Reaction ~ Days + (1 | Subject)", ""),
    ],
)
def test_what_else_varies_is_in_the_title(formula, note):
    z = np.random.default_rng(0).normal(size=180)
    others = {"a z": z, "a": z > 0, "three": np.arange(180) % 3, "odd": z > 0}
    fit = bl.lmer(formula, SLEEP.assign(z=z, **others))
    panels = bl.plot.growth_curves(fit, "Days", axes=Figure(figsize=(9, 6)))
    assert panels[0].figure.get_suptitle() == f"Subject\n{note}".strip()


def test_crossed_factors_have_lines_of_their_own_or_are_left_out():
    rng = np.random.default_rng(0)
    subject, item, t = (k.ravel() for k in np.indices((8, 30, 2)))
    y = t + rng.normal(size=8)[subject] + rng.normal(size=30)[item] + rng.normal(size=480)
    data = pd.DataFrame({"y": y, "t": t, "subject": subject, "item": item})
    fit = bl.lmer("y ~ t + (1 | subject) + (1 | item)", data)
    ax = bl.plot.growth_curves(fit, "t", "subject", groups=[3], axes=own_axes())[0]
    own = fit.params["Intercept"] + fit.ranef()["subject"].loc[3].item()
    on_line(drawn(ax, "own line"), own, fit.params["t"])
    assert "without the effects of item" in ax.get_title().replace("\n", " ")
    ax = bl.plot.growth_curves(fit, "t", "item", groups=[7], axes=own_axes())[0]
    assert len(parts(drawn(ax, "own line"))) == 8
    assert "a line for each subject" in ax.get_title()


def test_nested_factors_are_in_the_line():
    rng = np.random.default_rng(3)
    pupil = np.repeat(np.arange(40), 5)
    t = np.tile(np.arange(5.0), 40)
    y = rng.normal(size=8)[pupil // 5] + rng.normal(size=40)[pupil] + 0.1 * rng.normal(size=200)
    data = pd.DataFrame({"y": y, "t": t, "pupil": pupil, "school": pupil // 5})
    fit = bl.lmer("y ~ t + (1 | school) + (1 | pupil)", data)
    ax = bl.plot.growth_curves(fit, "t", "pupil", groups=[7], axes=own_axes())[0]
    effects = fit.ranef()["school"].loc[1].item() + fit.ranef()["pupil"].loc[7].item()
    on_line(drawn(ax, "own line"), fit.params["Intercept"] + effects, fit.params["t"])
    on_line(drawn(ax, "population"), *fit.params)


def test_a_sample_of_many_groups_is_said_to_be_one():
    panels = bl.plot.growth_curves(many(), "t", most=6, seed=1, axes=Figure(figsize=(9, 6)))
    figure = panels[0].figure
    assert figure.get_suptitle() == "g: 6 of 50,000 groups, drawn at random (seed 1)"
    labels = [int(ax.get_title()) for ax in panels]
    assert labels == sorted(labels)
    assert len(set(labels)) == 6
    coef = many().coef()["g"]
    for ax, label in zip(panels, labels, strict=True):
        on_line(drawn(ax, "own line"), *coef.loc[label])
        assert len(drawn(ax, "data")) == 3
    on_given = bl.plot.growth_curves(many(), "t", most=2, axes=[own_axes(), own_axes()])
    assert "2 of 50,000" in on_given[0].get_title()


def test_long_names_stay_within_their_panels():
    panels = bl.plot.growth_curves(five(), "t")
    panels[0].figure.canvas.draw()
    for ax in panels:
        title, frame = ax.title.get_window_extent(), ax.get_window_extent()
        assert title.width <= 1.02 * frame.width
    assert len({ax.get_title() for ax in panels}) == 5


@pytest.mark.parametrize(
    ("error", "options", "parts"),
    [
        (bl.DataError, {"x": "days"}, ["'days'", "Did you mean 'Days'?"]),
        (bl.DataError, {"x": "Subject"}, ["'Subject'", "numbers"]),
        (bl.DataError, {"groups": ["308", "309a"]}, ["'309a'", "Did you mean '309'?"]),
        (bl.DataError, {"factor": "g"}, ["'g'", "'Subject'"]),
        (bl.OptionError, {"x": ["Days"]}, ["x is a name", "['Days']"]),
        (bl.OptionError, {"groups": []}, ["groups is empty"]),
        (bl.OptionError, {"most": 2.5}, ["most"]),
        (bl.OptionError, {"seed": "a"}, ["seed"]),
        (bl.OptionError, {"axes": "here"}, ["axes", "'str'"]),
        (bl.OptionError, {"axes": []}, ["18 panels", "0 axes"]),
    ],
)
def test_options(error, options, parts):
    with says(error, *parts):
        bl.plot.growth_curves(sleep(), **{"x": "Days"} | options)
    assert plt.get_fignums() == []


def test_more_panels_than_can_be_read():
    with says(bl.OptionError, "101 panels", "100 at most"):
        bl.plot.growth_curves(many(), "t", most=101)


def test_rows_are_needed():
    with says(bl.DataError, "without its rows"):
        bl.plot.growth_curves(without_rows(), "Days")
    with says(bl.DataError, "in chunks"):
        chunks = bl.lmer("Reaction ~ Days + (1 | Subject)", [SLEEP[:90], SLEEP[90:]])
        bl.plot.growth_curves(chunks, "Days")
