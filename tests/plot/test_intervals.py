"""Caterpillars and forests: what is drawn are the fit's estimates and intervals."""

from __future__ import annotations

from itertools import pairwise

import blocklmm as bl
import numpy as np
import pytest
from scipy.stats import norm, t

from tests.bad_data import says

from .fits import (
    drawn,
    five,
    many,
    own_axes,
    penicillin,
    segments,
    sleep,
    title,
    without_rows,
    y_labels,
)


def intervals(ax):
    """Points and interval ends by height, of all kinds together."""
    points = np.concatenate([line.get_xydata() for line in ax.lines if "(" in line.get_label()])
    ends = np.concatenate([s for s in segments(ax) if not (s[:, 0, 0] == 0.98).all()])
    points, ends = points[points[:, 1].argsort()], ends[ends[:, 0, 1].argsort()]
    np.testing.assert_array_equal(points[:, 1], np.arange(len(points)))
    np.testing.assert_array_equal(ends[:, :, 1], np.arange(len(points))[:, None] + [0, 0])
    return points[:, 0], ends[:, 0, 0], ends[:, 1, 0]


@pytest.mark.parametrize("term", ["(Intercept)", "Days"])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_caterpillar_shows_modes_and_their_intervals(term, level):
    fit = sleep()
    ax = bl.plot.caterpillar(fit, "Subject", term, level, ax=own_axes())
    mode = fit.ranef()["Subject"][term].sort_values(kind="stable")
    half = norm.ppf((1 + level) / 2) * fit.ranef_sd()["Subject"][term][mode.index]
    found = intervals(ax)
    np.testing.assert_allclose(found, [mode, mode - half, mode + half], rtol=1e-12)
    assert y_labels(ax) == list(mode.index)
    covers = np.abs(mode) <= half
    for label, of in (("covers 0", covers), ("excludes 0", ~covers)):
        np.testing.assert_array_equal(drawn(ax, label)[:, 0], mode[of])
    assert [text.get_text() for text in ax.get_legend().texts] == [
        f"covers 0 ({covers.sum()})",
        f"excludes 0 ({(~covers).sum()})",
    ]
    assert title(ax) == f"Subject: {term}"
    assert f"{100 * level:g}%" in ax.get_xlabel()


def test_kinds_of_intervals_differ_by_more_than_colour():
    covers, excludes = (
        line
        for line in bl.plot.caterpillar(sleep(), ax=own_axes()).lines
        if "0 (" in line.get_label()
    )
    assert covers.get_markerfacecolor() == (1, 1, 1, 1) != excludes.get_markerfacecolor()
    assert covers.get_color() != excludes.get_color()


def test_a_caterpillar_of_five_groups_has_short_names_that_differ():
    ax = bl.plot.caterpillar(five())
    labels = y_labels(ax)
    assert len(set(labels)) == 5
    assert all(len(label) <= 48 and "…" in label for label in labels)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert all(box.x0 >= 0 for box in boxes)


def test_a_caterpillar_of_many_groups_is_a_band():
    fit = many()
    ax = bl.plot.caterpillar(fit, term="t", ax=own_axes())
    mode = fit.ranef()["g"]["t"].sort_values(kind="stable")
    half = norm.ppf(0.975) * fit.ranef_sd()["g"]["t"][mode.index]
    np.testing.assert_allclose(intervals(ax), [mode, mode - half, mode + half], rtol=1e-12)
    assert y_labels(ax) == []
    assert "50,000 groups" in title(ax)
    assert all(c.get_rasterized() for c in ax.collections)
    (edge,) = [s for s in segments(ax) if (s[:, 0, 0] == 0.98).all()]
    np.testing.assert_array_equal(edge[:, 0, 1], np.flatnonzero(np.abs(mode) > half))
    ax.figure.savefig("/dev/null", format="png")


def test_of_several_factors_one_is_named():
    fit = penicillin()
    with says(bl.DataError, "factor=", "plate, sample"):
        bl.plot.caterpillar(fit)
    with says(bl.DataError, "'plat'", "Did you mean 'plate'?"):
        bl.plot.caterpillar(fit, "plat")
    with says(bl.DataError, "'plate'", "'(Interc)'", "Did you mean '(Intercept)'?"):
        bl.plot.caterpillar(fit, "plate", "(Interc)")
    ax = bl.plot.caterpillar(fit, "sample", ax=own_axes())
    assert y_labels(ax) == list(fit.ranef()["sample"]["(Intercept)"].sort_values().index)


def test_an_effect_that_stands_twice_is_refused():
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(20), 10), rng.normal(size=200)
    y = rng.normal(size=20)[g] + x * rng.normal(size=20)[g] + rng.normal(size=200)
    with pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified"):
        fit = bl.lmer("y ~ x + (x | g) + (0 + x | g)", {"y": y, "x": x, "g": g})
    with says(bl.DataError, "more than one", "'x'"):
        bl.plot.caterpillar(fit, term="x")
    with says(bl.DataError, "no grouping factor 'x'", "'x' is a random effect"):
        bl.plot.caterpillar(fit, "x")
    with says(bl.OptionError, "term is a name", "['x']"):
        bl.plot.caterpillar(fit, term=["x"])


@pytest.mark.parametrize("ddf", [None, "kenward-roger", "residual", "asymptotic"])
def test_a_forest_shows_fixed_effects(ddf):
    fit = bl.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", bl.datasets.load("cake"))
    ax = bl.plot.fixed_effects(fit, level=0.9, ddf=ddf, ax=own_axes())
    errors = fit.contrast(np.eye(6), ddf=ddf).to_frame()
    half = t.ppf(0.95, errors["df"]) * errors["std_error"]
    mean = fit.params.to_numpy()
    expected = np.array([mean, mean - half, mean + half])[:, :0:-1]  # all but the intercept
    np.testing.assert_allclose(intervals(ax), expected, rtol=1e-9)
    assert y_labels(ax) == list(fit.params.index[:0:-1])
    said = {
        "kenward-roger": "90% t intervals, Kenward and Roger's errors and degrees of freedom",
        "residual": "90% t intervals, residual degrees of freedom",
        "asymptotic": "90% normal intervals",
    }.get(ddf, "90% t intervals, Satterthwaite's degrees of freedom")
    assert said in title(ax).replace("\n", " ")


def test_names_of_interactions_are_whole_where_the_figure_can_be_wider():
    fit = bl.lmer("yield ~ C(nitro) * Variety + (1 | Block)", bl.datasets.load("Oats"))
    ax = bl.plot.fixed_effects(fit)
    assert y_labels(ax) == list(fit.params.index[:0:-1])
    assert 6 < ax.figure.get_figwidth() < 10
    assert bl.plot.fixed_effects(sleep()).figure.get_figwidth() == 6
    assert any("…" in label for label in y_labels(bl.plot.fixed_effects(fit, ax=own_axes())))
    long = bl.datasets.load("Oats").rename(columns={"nitro": "n" * 90})
    fit = bl.lmer(f"yield ~ {'n' * 90} + Variety + (1 | Block)", long)
    ax = bl.plot.fixed_effects(fit)
    assert ax.figure.get_figwidth() == pytest.approx(10, abs=0.2)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(box.x0 >= 0 for box in boxes)
    assert "…" in y_labels(ax)[-1]


def test_a_forest_of_chosen_coefficients():
    fit = sleep()
    ax = bl.plot.fixed_effects(fit, terms=["Intercept", "Days"], robust="CR2", ax=own_axes())
    assert y_labels(ax) == ["Days", "Intercept"]
    table = fit.tidy(robust="CR2").set_index("term").loc[["Days", "Intercept"]]
    columns = table[["estimate", "conf.low", "conf.high"]].to_numpy().T
    np.testing.assert_array_equal(intervals(ax), columns)
    with says(bl.DataError, "'days'", "Did you mean 'Days'?"):
        bl.plot.fixed_effects(fit, terms="days")
    with says(bl.OptionError, "terms is empty"):
        bl.plot.fixed_effects(fit, terms=[])
    with says(bl.OptionError, "terms is a name", "3.5"):
        bl.plot.fixed_effects(fit, terms=3.5)


def test_an_intercept_alone_is_shown():
    ax = bl.plot.fixed_effects(penicillin(), ax=own_axes())
    assert y_labels(ax) == ["Intercept"]


def test_a_model_without_fixed_effects():
    fit = bl.lmer("Reaction ~ 0 + (1 | Subject)", sleep()._problem.frame.native)
    with says(bl.InferenceError, "no fixed effects"):
        bl.plot.fixed_effects(fit)


@pytest.mark.parametrize("level", [0, 1, 95, 0.05])
def test_levels(level):
    for plot in (bl.plot.caterpillar, bl.plot.fixed_effects):
        with says(bl.OptionError, "between 0 and 1"):
            plot(sleep(), level=level)


def test_statistics_are_enough():
    fit = without_rows()
    assert len(y_labels(bl.plot.caterpillar(fit, ax=own_axes()))) == 18
    assert y_labels(bl.plot.fixed_effects(fit, ax=own_axes())) == ["Days"]
