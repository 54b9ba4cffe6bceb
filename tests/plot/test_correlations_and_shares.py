"""Heat maps of implied correlations, and intraclass correlations on their scale."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.bad_data import says

from .fits import (
    SLEEP,
    five,
    many,
    own_axes,
    penicillin,
    sleep,
    texts,
    title,
    without_rows,
    y_labels,
)


def test_colours_and_numbers_are_the_correlations():
    fit = sleep()
    ax = bl.plot.implied_correlation(fit, "308", ax=own_axes())
    sd, Z = fit.varcorr["Subject"].cov, np.column_stack([np.ones(10), np.arange(10)])
    V = Z @ sd @ Z.T + fit.sigma**2 * np.eye(10)
    corr = V / np.sqrt(np.outer(np.diag(V), np.diag(V)))
    np.testing.assert_allclose(ax.images[0].get_array(), corr, rtol=1e-12)
    written = np.array(texts(ax)).reshape(10, 10)
    assert (np.diag(written) == "1").all()
    expected = corr[~np.eye(10, dtype=bool)].round(2)
    np.testing.assert_array_equal(written[~np.eye(10, dtype=bool)].astype(float), expected)
    assert y_labels(ax) == [str(k) for k in range(1, 11)]
    assert ax.images[0].get_clim() == (0, 1)
    assert "Subject 308" in title(ax)


def test_observations_named_by_a_column():
    data = SLEEP.sample(frac=1, random_state=0).reset_index(drop=True)
    data.loc[data.index[data["Subject"] == "308"][2], "Reaction"] = np.nan
    for rows in (data, pl.from_pandas(data)):
        fit = bl.lmer("Reaction ~ Days + (Days | Subject)", rows)
        ax = bl.plot.implied_correlation(fit, "308", labels="Days", ax=own_axes())
        own = data[(data["Subject"] == "308") & data["Reaction"].notna()]
        assert y_labels(ax) == [f"{day:g}" for day in own["Days"]]
        assert ax.get_xlabel() == ax.get_ylabel() == "Days"
        np.testing.assert_array_equal(ax.images[0].get_array(), fit.marginal_corr("308"))
    ax = bl.plot.implied_correlation(penicillin(), "c", "plate", labels="sample", ax=own_axes())
    assert y_labels(ax) == list("ABCDEF")


def test_negative_correlations_have_a_scale_with_two_ends():
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(50), 4), np.tile([-1.0, -0.5, 0.5, 1.0], 50)
    y = 5 * x * rng.normal(size=50)[g] + rng.normal(size=200)
    fit = bl.lmer("y ~ x + (0 + x | g)", {"y": y, "x": x, "g": g})
    ax = bl.plot.implied_correlation(fit, 3, ax=own_axes())
    assert ax.images[0].get_clim() == (-1, 1)
    assert texts(ax)[3].startswith("-.")


def test_numbers_are_left_out_where_they_do_not_fit():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": rng.normal(size=600), "g": np.repeat([0, 1, 2, 3], 150)})
    fit = bl.lmer("y ~ 1 + (1 | g)", data.assign(y=data["y"] + data["g"]))
    ax = bl.plot.implied_correlation(fit, 2, ax=own_axes())
    assert texts(ax) == []
    assert 5 < len(y_labels(ax)) < 40
    assert bl.plot.implied_correlation(sleep(), "308", ax=own_axes(1.5, 1.5)).texts.__len__() == 0


def test_errors_of_correlations():
    with says(bl.DataError, "'Subject'", "'3008'", "Did you mean '308'?"):
        bl.plot.implied_correlation(sleep(), "3008")
    with says(bl.DataError, "'days'", "Did you mean 'Days'?"):
        bl.plot.implied_correlation(sleep(), "308", labels="days")
    with says(bl.DataError, "factor="):
        bl.plot.implied_correlation(penicillin(), "a")
    with says(bl.DataError, "without its rows"):
        bl.plot.implied_correlation(without_rows(), "308")


def test_one_of_many_groups():
    ax = bl.plot.implied_correlation(many(), 49_999, ax=own_axes())
    np.testing.assert_array_equal(ax.images[0].get_array(), many().marginal_corr(49_999))


# -- intraclass correlations -----------------------------------------------------------------


@pytest.mark.parametrize("make", [sleep, penicillin, five, many, without_rows])
def test_shares(make):
    fit = make()
    ax = bl.plot.icc(fit, ax=own_axes())
    found = fit.icc()
    expected = [found.unadjusted, found.adjusted, *list(found.by_group.values())[::-1]]
    assert [bar.get_width() for bar in ax.patches] == expected
    assert y_labels(ax) == ["unadjusted", "adjusted", *list(found.by_group)[::-1]]
    assert texts(ax)[: len(expected)] == [f"{value:.2f}" for value in expected]
    assert found.label in title(ax)


def test_the_words_of_the_scale_stand_between_its_bounds():
    ax = bl.plot.icc(sleep(), ax=own_axes())
    assert [float(line.get_xdata()[0]) for line in ax.lines] == [0.4, 0.6, 0.8]
    words = {text.get_text(): text.get_position()[0] for text in ax.texts[-4:]}
    assert words == pytest.approx({"poor": 0.2, "fair": 0.5, "good": 0.7, "excellent": 0.9})
    assert "excellent" not in texts(bl.plot.icc(sleep(), ax=own_axes(2, 2)))


def test_a_linear_model_has_no_shares():
    fit = bl.lmer("Reaction ~ Days", SLEEP)
    for plot in (bl.plot.icc, bl.plot.caterpillar, bl.plot.shrinkage, bl.plot.qq_ranef):
        with says(bl.DataError, "no random terms"):
            plot(fit)
