"""Growth curves show the data, the subject's line and the population's."""

from __future__ import annotations

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


OTHERS = {
    "changing": ("Reaction ~ Days + z + (Days | Subject)", None),
    "of time": ("Reaction ~ Days + square + (Days | Subject)", None),
    "category": ("Reaction ~ factor(Days) + (1 | Subject)", None),
    "mean": ("Reaction ~ I(Days - np.mean(Days)) + (1 | Subject)", None),
    "offset": ("Reaction ~ Days + (1 | Subject)", np.linspace(0, 50, 180)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_curves_join_fitted_values_where_more_changes(case):
    formula, offset = OTHERS[case]
    rng = np.random.default_rng(0)
    data = SLEEP.assign(z=rng.normal(size=180), square=SLEEP["Days"] ** 2)
    data = data.sample(frac=1, random_state=1).reset_index(drop=True)
    data.loc[[5, 17], "Days"] = np.nan
    fit = bl.lmer(formula, data, offset=offset)
    used = data["Days"].notna()
    of = (data["Subject"][used] == "308").to_numpy()
    rows = data[used][of]
    order = np.argsort(rows["Days"].to_numpy())
    ax = bl.plot.growth_curves(fit, "Days", groups=["308"], axes=own_axes())[0]
    np.testing.assert_array_equal(drawn(ax, "data"), rows[["Days", "Reaction"]])
    for label, values in (
        ("own line", fit.fittedvalues),
        ("population", fit.predict(random="population")),
    ):
        found = drawn(ax, label)
        np.testing.assert_array_equal(found[:, 0], rows["Days"].iloc[order])
        np.testing.assert_allclose(found[:, 1], values[of][order], rtol=1e-12)


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
