"""Arrows go from the groups' own estimates to their BLUPs."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pytest
from matplotlib.quiver import Quiver

from tests.bad_data import says

from .fits import (
    SLEEP,
    drawn,
    many,
    own_axes,
    penicillin,
    sleep,
    title,
    unbalanced,
    without_rows,
    y_labels,
)


def arrows(ax):
    """Starts and ends of the arrows, shapes (n, 2)."""
    (found,) = [c for c in ax.collections if isinstance(c, Quiver)]
    assert found.angles == found.scale_units == "xy"
    assert found.scale == 1
    start = np.column_stack([found.X, found.Y])
    return start, start + np.column_stack([found.U, found.V])


def own_lines():
    """Intercept and slope of each subject's least-squares line, less the population's."""
    fit = sleep()
    lines = [
        np.polyfit(rows["Days"], rows["Reaction"], 1)[::-1]
        for _, rows in SLEEP.groupby("Subject", observed=True)
    ]
    return np.array(lines) - fit.params.to_numpy()


def test_two_effects_in_a_plane():
    ax = bl.plot.shrinkage(sleep(), ax=own_axes())
    start, end = arrows(ax)
    np.testing.assert_allclose(start, own_lines(), rtol=1e-8, atol=1e-8)
    blup = sleep().ranef()["Subject"].to_numpy()
    np.testing.assert_allclose(end, blup, rtol=1e-12)
    np.testing.assert_array_equal(drawn(ax, "own"), start)
    np.testing.assert_allclose(drawn(ax, "BLUP"), end)
    np.testing.assert_array_equal(drawn(ax, "population"), [[0, 0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("(Intercept)", "Days")
    assert len(title(ax).splitlines()) == 1
    ax = bl.plot.shrinkage(sleep(), terms=["Days", "(Intercept)"], ax=own_axes())
    np.testing.assert_array_equal(arrows(ax)[0], start[:, ::-1])


def test_one_effect_in_order():
    ax = bl.plot.shrinkage(sleep(), terms="Days", ax=own_axes())
    start, end = arrows(ax)
    own = own_lines()[:, 1]
    order = own.argsort()
    np.testing.assert_allclose(start[:, 0], own[order], rtol=1e-8)
    blup = sleep().ranef()["Subject"]["Days"].iloc[order]
    np.testing.assert_allclose(end[:, 0], blup, rtol=1e-12)
    for ends in (start, end):
        np.testing.assert_array_equal(ends[:, 1], np.arange(18))
    assert y_labels(ax) == list(blup.index)


def test_a_factor_with_one_effect():
    ax = bl.plot.shrinkage(penicillin(), "sample", ax=own_axes())
    table = penicillin().shrinkage()["sample"].sort_values("own")
    np.testing.assert_array_equal(arrows(ax)[0][:, 0], table["own"])
    assert y_labels(ax) == list(table.index)


@pytest.mark.parametrize("terms", [None, "t"])
def test_a_sample_of_many_groups_is_said_to_be_one(terms):
    table = many().shrinkage()["g"]
    ax = bl.plot.shrinkage(many(), terms=terms, most=80, seed=3, ax=own_axes())
    assert "80 of 50,000 groups, drawn at random (seed 3)" in title(ax).replace("\n", " ")
    start, end = arrows(ax)
    assert len(start) == 80
    column = 0 if terms else 1
    at = np.searchsorted(np.sort(table["own", "t"]), start[:, column])
    groups = table["own", "t"].to_numpy().argsort()[at]
    np.testing.assert_array_equal(table["own", "t"].iloc[groups], start[:, column])
    np.testing.assert_allclose(table["blup", "t"].iloc[groups], end[:, column], rtol=1e-9)
    again = bl.plot.shrinkage(many(), terms=terms, most=80, seed=3, ax=own_axes())
    np.testing.assert_array_equal(arrows(again)[0], start)
    other = bl.plot.shrinkage(many(), terms=terms, most=80, seed=4, ax=own_axes())
    assert not np.array_equal(arrows(other)[0], start)


def test_groups_that_have_no_estimate_or_one_far_away_are_counted():
    fit = unbalanced()
    ax = bl.plot.shrinkage(fit, most=300, ax=own_axes(9, 6))
    own = fit.shrinkage()["g"]["own"].dropna()
    assert len(own) == 200
    np.testing.assert_array_equal(arrows(ax)[0], own)
    assert "without an estimate of their own: 100" in title(ax)
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    inside = own["(Intercept)"].between(low, high) & own["t"].between(bottom, top)
    blup = fit.ranef()["g"]
    assert blup["(Intercept)"].between(low, high).all()
    assert blup["t"].between(bottom, top).all()
    assert not inside.all()
    beyond = [line for line in title(ax).splitlines() if line.startswith("beginning outside")]
    assert beyond == [f"beginning outside the picture: {(~inside).sum()}"]


def test_statistics_are_enough():
    start, _ = arrows(bl.plot.shrinkage(without_rows(), ax=own_axes()))
    np.testing.assert_allclose(start, own_lines(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("error", "options", "parts"),
    [
        (bl.DataError, {"terms": "days"}, ["'days'", "Did you mean 'Days'?"]),
        (bl.DataError, {"factor": "subject"}, ["Did you mean 'Subject'?"]),
        (bl.OptionError, {"terms": []}, ["one or two"]),
        (bl.OptionError, {"terms": 3.5}, ["terms is a name", "3.5"]),
        (bl.OptionError, {"terms": ["Days", "Days"]}, ["different"]),
        (bl.OptionError, {"most": 0}, ["most"]),
        (bl.OptionError, {"seed": -1}, ["seed"]),
    ],
)
def test_options(error, options, parts):
    with says(error, *parts):
        bl.plot.shrinkage(sleep(), **options)
