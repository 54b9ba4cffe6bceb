"""Influence: every group's measure, with the largest named."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest

from tests.bad_data import says

from .fits import many, own_axes, penicillin, sleep, texts, title, without_rows, y_labels

TABLE = sleep().influence()
NONE = "none is beyond it"


def points(ax):
    """All values by height, and whether they are diamonds."""
    others, largest = [line.get_xydata() for line in ax.lines if line.get_linestyle() == "None"]
    marked = np.append(np.zeros(len(others)), np.ones(len(largest)))
    both = np.concatenate([others, largest])
    order = both[:, 1].argsort()
    np.testing.assert_array_equal(both[order, 1], np.arange(len(both)))
    return both[order, 0], marked[order] > 0


def bounds(ax):
    return sorted(float(line.get_xdata()[0]) for line in ax.lines if line.get_linestyle() == "--")


@pytest.mark.parametrize("found", [sleep(), TABLE], ids=["fit", "table"])
@pytest.mark.parametrize("what", ["cooks_distance", "leverage", "covratio", "dfbetas_Days"])
def test_values_in_order(found, what):
    ax = bl.plot.influence(found, what, most=3, ax=own_axes())
    expected = TABLE[what].sort_values(kind="stable")
    values, marked = points(ax)
    np.testing.assert_array_equal(values, expected)
    assert y_labels(ax) == list(expected.index)
    away = (expected - (what == "covratio")).abs().sort_values(ascending=False, kind="stable")
    bound = {"cooks_distance": 4 / 18, "dfbetas_Days": 2 / np.sqrt(18)}.get(what, 0)
    assert set(expected.index[marked]) == set(away[away > bound].index[:3])


def test_what_is_beyond_the_bound_is_a_diamond():
    ax = bl.plot.influence(TABLE, ax=own_axes())
    assert TABLE["cooks_distance"].max() < 4 / 18
    assert not points(ax)[1].any()
    assert title(ax).splitlines()[1:] == ["dashed: 4/18 = 0.222, a rule of thumb", NONE]
    far = TABLE.assign(cooks_distance=TABLE["cooks_distance"] * np.where(TABLE.index > "330", 5, 1))
    n = int((far["cooks_distance"] > 4 / 18).sum())
    assert n == 6
    ax = bl.plot.influence(far, ax=own_axes())
    np.testing.assert_array_equal(np.flatnonzero(points(ax)[1]), np.arange(13, 18))
    assert "diamonds: the 5 largest of 6 beyond it" in title(ax)
    ax = bl.plot.influence(far, most=9, ax=own_axes())
    assert points(ax)[1].sum() == 6
    assert "diamonds: the 6 beyond it" in title(ax)
    ax = bl.plot.influence(far, most=0, ax=own_axes())
    assert not points(ax)[1].any()
    assert "6 beyond it" in title(ax)
    assert "diamonds: the 3 largest" in title(
        bl.plot.influence(TABLE, "covratio", most=3, ax=own_axes())
    )


def test_bounds_in_use():
    ax = bl.plot.influence(TABLE, ax=own_axes())
    assert bounds(ax) == pytest.approx([4 / 18])
    assert "4/18 = 0.222" in title(ax)
    ax = bl.plot.influence(TABLE, "dfbetas_Days", ax=own_axes())
    assert bounds(ax) == pytest.approx([-2 / np.sqrt(18), 2 / np.sqrt(18)])
    assert ax.get_xlabel() == "DFBETAS of Days"
    assert bounds(bl.plot.influence(TABLE, "covratio", ax=own_axes())) == []


def test_a_bound_far_beyond_is_said_and_not_drawn():
    table = penicillin().influence(group="plate", refit=True)
    ax = bl.plot.influence(table, ax=own_axes())
    assert table["cooks_distance"].max() < 4 / 24 / 3
    assert bounds(ax) == []
    assert "all far within 4/24" in title(ax)
    assert ax.get_xlim()[1] < 2 * table["cooks_distance"].max()


def test_the_largest_of_many_are_listed():
    fit = many()
    table = fit.influence()
    for what in ("cooks_distance", "dfbetas_t"):
        ax = bl.plot.influence(table, what, most=4, ax=own_axes())
        largest = table[what].loc[table[what].abs().nlargest(4).index]
        assert texts(ax) == ["\n".join(f"{g}:  {v:.3g}" for g, v in largest.items())]
        values, marked = points(ax)
        np.testing.assert_array_equal(values, np.sort(table[what]))
        assert marked.sum() == 4
        assert y_labels(ax) == []
        assert "50,000 levels of g" in title(ax)


def test_rows_one_by_one():
    table = sleep().influence(by="row")
    ax = bl.plot.influence(table, "dfbetas_Days", ax=own_axes())
    np.testing.assert_array_equal(points(ax)[0], np.sort(table["dfbetas_Days"]))
    assert "180 rows" in title(ax)


def test_groups_without_which_nothing_is_estimated_are_counted():
    g = np.repeat(np.arange(10), 6)
    rng = np.random.default_rng(0)
    y = rng.normal(size=10)[g] + rng.normal(size=60)
    data = pd.DataFrame({"y": y, "g": g, "only": (g == 4) * np.tile([0.0, 1.0], 30)})
    fit = bl.lmer("y ~ only + (1 | g)", data)
    ax = bl.plot.influence(fit, ax=own_axes())
    assert len(points(ax)[0]) == 9
    assert "4" not in y_labels(ax)
    assert "without 1" in title(ax)
    with says(bl.InferenceError, "any one"):
        bl.plot.influence(fit.influence().loc[[4]])


def test_errors():
    with says(bl.DataError, "'cook_distance'", "Did you mean 'cooks_distance'?"):
        bl.plot.influence(TABLE, "cook_distance")
    with says(bl.DataError, "fit.influence()"):
        bl.plot.influence(sleep().tidy())
    with says(TypeError, "'list'"):
        bl.plot.influence([1, 2])
    with says(bl.OptionError, "factor"):
        bl.plot.influence(TABLE, factor="Subject")
    with says(bl.OptionError, "most"):
        bl.plot.influence(TABLE, most=-1)
    with says(bl.InferenceError, "refit=True"):
        bl.plot.influence(penicillin(), factor="plate")
    with says(bl.DataError, "without its rows"):
        bl.plot.influence(without_rows())
