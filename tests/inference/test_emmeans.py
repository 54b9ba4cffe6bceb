"""Estimated marginal means and their differences."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.inference.marginal_means import pairs
from scipy import stats

from tests.bad_data import says

from .reference_fits import CASES, case, column, fitted, numbers

GIVEN = [
    (name, k)
    for name in CASES
    for k, about in enumerate(case(name).get("emmeans") or [])
    if about["ddf"] == "asymptotic"
]


def means_of(name, about):
    fit, by = fitted(name), about["by"] or None
    return fit.emmeans(about["specs"], by=by, at=about["at"] or None, ddf="asymptotic")


def label(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(("name", "k"), GIVEN)
def test_means_are_those_of_emmeans(name, k):
    about = case(name)["emmeans"][k]
    found, expected = means_of(name, about).to_frame(), about["means"]
    variables = [*about["specs"], *about["by"]]
    assert list(found.columns) == [
        *variables,
        *("emmean", "std_error", "df", "conf_low", "conf_high"),
    ]
    for variable in variables:
        assert found[variable].map(label).tolist() == [row[variable] for row in expected]
    scale = np.nanmax(np.append(column(expected, "std_error"), 0.0))
    for key in ("emmean", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(found[key], column(expected, key), atol=1e-5 * scale)


@pytest.mark.parametrize(("name", "k"), GIVEN)
def test_differences_are_those_of_emmeans(name, k):
    about = case(name)["emmeans"][k]
    pairs = means_of(name, about).pairs()
    names = about["contrast"]
    assert pairs.labels["contrast"].tolist() == (names if isinstance(names, list) else [names])
    se = numbers(about["std_error"])
    scale = np.nanmax(np.append(se, 0.0))
    np.testing.assert_allclose(pairs.estimate, numbers(about["estimate"]), atol=1e-5 * scale)
    np.testing.assert_allclose(pairs.std_error, se, rtol=1e-5)
    for adjust, expected in about["adjusted"].items():
        table = pairs.adjust(adjust).to_frame()
        p, t = numbers(expected["p_value"]), numbers(expected["statistic"])
        np.testing.assert_allclose(table["statistic"], t, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(table["p_value"], p, rtol=1e-4, atol=1e-9)
        for key in ("conf_low", "conf_high"):
            np.testing.assert_allclose(table[key], numbers(expected[key]), atol=1e-4 * scale)


CAKE = bl.datasets.load("cake")
BALANCED = bl.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", CAKE)


def frame(fit, *args, **options):
    return fit.emmeans(*args, ddf="asymptotic", **options).to_frame()


def test_balanced_means_are_the_data_s():
    for by in (["recipe"], ["temperature"], ["temperature", "recipe"]):
        found = frame(BALANCED, by).set_index(by)["emmean"]
        raw = CAKE.groupby(by, observed=True)["angle"].mean()
        np.testing.assert_allclose(found.reindex(raw.index), raw, rtol=1e-10)


def test_balanced_errors_have_closed_forms():
    tau2, sigma2 = BALANCED.varcorr["recipe:replicate"].cov[0, 0], BALANCED.sigma**2
    recipe = frame(BALANCED, "recipe")
    np.testing.assert_allclose(recipe["std_error"] ** 2, tau2 / 15 + sigma2 / 90, rtol=1e-9)
    within = BALANCED.emmeans("temperature", ddf="asymptotic").pairs()
    np.testing.assert_allclose(within.std_error**2, 2 * sigma2 / 45, rtol=1e-9)
    p = stats.studentized_range.sf(
        np.sqrt(2) * np.abs(within.estimate / within.std_error), 6, np.inf
    )
    np.testing.assert_allclose(within.to_frame()["p_value"], p, rtol=1e-5, atol=1e-10)


def test_means_are_averaged_predictions():
    rng = np.random.default_rng(7)
    n = 240
    data = pd.DataFrame(
        {
            "a": np.array(["u", "v", "w"])[rng.integers(0, 3, n)],
            "flag": rng.integers(0, 2, n) == 1,
            "k": rng.integers(1, 4, n),
            "x": rng.gamma(3, 2, n),
            "t": rng.integers(0, 2, n) * 5.0,
            "o": rng.normal(size=n),
            "g": np.arange(n) % 12,
        }
    )
    data["y"] = data["x"] + rng.normal(size=n) + rng.normal(size=12)[data["g"]]
    data.loc[5, "o"] = np.nan
    data.loc[9, "x"] = 60.0
    data.loc[9, "y"] = np.nan
    formula = "y ~ a * log(x) + poly(x, 2) + flag * C(k) + t + offset(o) + (x | g)"
    fit = bl.lmer(formula, data)
    used = data.drop(index=[5, 9])
    grid = pd.MultiIndex.from_product(
        [["u", "v", "w"], [False, True], [1, 2, 3], [0.0, 5.0]], names=["a", "flag", "k", "t"]
    ).to_frame(index=False)
    grid = grid.assign(x=used["x"].mean(), o=used["o"].mean())
    mean = fit.predict(grid, random="population")
    for by in (["a"], ["flag"], ["k"], ["t"], ["k", "a"]):
        found = frame(fit, by).set_index(by)["emmean"]
        expected = pd.Series(mean).groupby([grid[b] for b in by]).mean()
        np.testing.assert_allclose(found.reindex(expected.index), expected, rtol=1e-9)
    half = fit.predict(grid.assign(x=2.0), random="population")
    found = frame(fit, "flag", at={"x": 2})["emmean"]
    np.testing.assert_allclose(found, [half[~grid["flag"]].mean(), half[grid["flag"]].mean()])


def test_categories_made_of_a_covariate_stand_at_all_its_values():
    fit = bl.lmer("angle ~ recipe + C(temp > 180) + (1 | recipe:replicate)", CAKE)
    grid = CAKE.drop_duplicates(["recipe", "temp"])
    expected = pd.Series(fit.predict(grid, random="population")).groupby(
        grid["recipe"].array, observed=True
    )
    found = frame(fit, "recipe")["emmean"]
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-10)


def test_errors_of_one_cell_are_those_of_a_prediction():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    found = frame(fit, "Days", at={"Days": [0, 4.5, 30]})
    expected = fit.predict({"Days": [0, 4.5, 30]}, random="population", interval="confidence")
    np.testing.assert_allclose(found["emmean"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(found["conf_high"], expected["upper"], rtol=1e-9)


def test_codings_leave_means_alone():
    coded = bl.lmer(BALANCED.formula, CAKE, contrasts={"recipe": "sum", "temperature": "helmert"})
    pd.testing.assert_frame_equal(
        frame(coded, "recipe", "temperature"), frame(BALANCED, "recipe", "temperature"), rtol=1e-7
    )


def test_families_within_by():
    pairs = BALANCED.emmeans("recipe", by="temperature", ddf="asymptotic").pairs()
    table = pairs.to_frame()
    assert list(table.columns[:2]) == ["contrast", "temperature"]
    assert table["contrast"].tolist() == ["A - B", "A - C", "B - C"] * 6
    one = BALANCED.emmeans("recipe", at={"temperature": "185"}, ddf="asymptotic").pairs()
    own = table[table["temperature"] == "185"].reset_index(drop=True)
    pd.testing.assert_frame_equal(one.to_frame(), own.drop(columns="temperature"), rtol=1e-9)


def test_differences_can_be_estimable_where_means_are_not():
    data = CAKE[~((CAKE["recipe"] == "A") & (CAKE["temperature"] == "175"))]
    fit = bl.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", data)
    means = fit.emmeans("recipe", ddf="asymptotic")
    assert means.to_frame()["emmean"].isna().tolist() == [True, False, False]
    assert np.isnan(means.pairs().estimate).tolist() == [True, True, False]
    # recipe A is empty throughout in x == 0: neither level of x has a mean, their difference has
    rng = np.random.default_rng(3)
    data = data.assign(x=np.where(data["recipe"] == "A", 1.0, rng.integers(0, 2, len(data))))
    fit = bl.lmer("angle ~ temperature * recipe + x + (1 | replicate)", data)
    means = fit.emmeans("x", ddf="asymptotic")
    assert means.to_frame()["emmean"].isna().all()
    assert means.pairs().estimate == pytest.approx([-fit.params["x"]])


def test_array_offsets_stand_at_their_mean():
    offset = np.linspace(0, 3, len(CAKE))
    by_array = bl.lmer("angle ~ recipe + (1 | replicate)", CAKE, offset=offset)
    by_column = bl.lmer("angle ~ recipe + (1 | replicate)", CAKE.assign(o=offset), offset="o")
    plain = frame(by_array, "recipe")
    pd.testing.assert_frame_equal(plain, frame(by_column, "recipe"), rtol=1e-10)
    expected = by_array.params["Intercept"] + offset.mean()
    assert plain["emmean"].iloc[0] == pytest.approx(expected)
    moved = frame(by_column, "recipe", at={"o": 0})
    np.testing.assert_allclose(plain["emmean"] - moved["emmean"], offset.mean())


def test_names_of_differences():
    data = CAKE.assign(kind=np.where(CAKE["replicate"].astype(int) > 7, "x-y", "z"))
    fit = bl.lmer("angle ~ kind * temp + recipe + (1 | replicate)", data)

    def names(*args, **options):
        return fit.emmeans(*args, **options).pairs().labels["contrast"].tolist()

    assert names("kind") == ["(x-y) - z"]
    assert names("temp", at={"temp": [180, 200.5]}) == ["temp180 - temp200.5"]
    assert names("temp", at={"temp": [-1, 200]}) == ["(temp-1) - temp200"]
    both = names(["temp", "kind"], at={"temp": [180, 200]})
    assert both[:3] == [
        "(temp180 x-y) - (temp200 x-y)",
        "(temp180 x-y) - temp180 z",
        "(temp180 x-y) - temp200 z",
    ]


def test_text_and_html():
    fit = bl.lmer("log(angle) ~ recipe * temp + temperature + (1 | replicate)", CAKE)
    means = fit.emmeans("recipe", ddf="asymptotic", level=0.9)
    shown = repr(means)
    for part in ("emmean", "temperature (6)", "temp = 200", "log(angle)", "level 0.9"):
        assert part in shown
        assert part in means._repr_html_()
    pairs = means.pairs("sidak")
    assert "sidak adjustment in families of 3 means" in repr(pairs)
    assert "A - B" in pairs._repr_html_()


def test_interactions_with_others_are_named():
    fit = bl.lmer("angle ~ recipe * temp + temperature + (1 | replicate)", CAKE)
    assert "mind the interactions recipe:temp" in repr(fit.emmeans("recipe"))
    assert "mind" not in repr(fit.emmeans("temperature"))
    assert "mind" not in repr(fit.emmeans("recipe", by="temp", at={"temp": [180, 220]}))


def test_values_given_twice():
    fit = bl.lmer("angle ~ recipe * temp + (1 | replicate)", CAKE)
    for at in ({"recipe": ["A", "A"]}, {"temp": [180, 180.0]}):
        with pytest.raises(bl.DataError, match="twice"):
            fit.emmeans("recipe", at=at)


def test_too_many_pairs(monkeypatch):
    monkeypatch.setattr(pairs, "_MOST_PAIRS", 14)
    means = bl.lmer("angle ~ temperature + (1 | replicate)", CAKE).emmeans("temperature")
    with pytest.raises(bl.DataError, match="15 differences of pairs are more than 14"):
        means.pairs()


def test_fits_without_data():
    fit = bl.lmer("angle ~ recipe * temp + (1 | replicate)", CAKE)
    restored = pickle.loads(pickle.dumps(fit))
    with says(bl.DataError, "without its rows", "'temp'", "at="):
        restored.emmeans("recipe")
    pd.testing.assert_frame_equal(
        frame(restored, "recipe", at={"temp": 200}), frame(fit, "recipe"), rtol=1e-8
    )
    plain = pickle.loads(pickle.dumps(BALANCED))
    pd.testing.assert_frame_equal(frame(plain, "recipe"), frame(BALANCED, "recipe"), rtol=1e-9)
    again = pickle.loads(pickle.dumps(fit.emmeans("recipe")))
    pd.testing.assert_frame_equal(
        again.pairs().to_frame(), fit.emmeans("recipe").pairs().to_frame()
    )


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"factor": "recipes"}, ("'recipes'", "Did you mean 'recipe'?")),
        ({"factor": "replicate"}, ("no variable of the fixed effects", "'temperature'")),
        ({"factor": "temp"}, ("covariate with many values", "at={'temp': [...]}")),
        ({"factor": "recipe", "by": "temp"}, ("covariate with many values",)),
        ({"factor": "recipe", "by": "recipe"}, ("named twice",)),
        ({"factor": []}, ("at least one",)),
        ({"factor": "recipe", "at": {"recipe": ["A", "D"]}}, ("no level 'D'", "'A', 'B', 'C'")),
        ({"factor": "recipe", "at": {"recipe": []}}, ("no level of 'recipe'",)),
        ({"factor": "recipe", "at": {"temp": "hot"}}, ("no numbers", "'hot'")),
        ({"factor": "recipe", "at": {"temp": [np.nan]}}, ("a number or several",)),
        ({"factor": "recipe", "at": {"tmp": 1}}, ("'tmp'", "Did you mean 'temp'?")),
        ({"factor": "recipe", "at": {"temp": np.arange(600)}}, ("10,800 rows", "temp: 600")),
    ],
)
def test_what_has_no_means(options, parts):
    fit = bl.lmer("angle ~ recipe * temp + temperature + (1 | replicate)", CAKE)
    with says(bl.DataError, *parts):
        fit.emmeans(**options)


def test_other_misuse():
    with says(ValueError, "level is between 0 and 1"):
        BALANCED.emmeans("recipe", level=5)
    with says(TypeError, "factor"):
        BALANCED.emmeans(3)
    with says(TypeError, "at is a dict"):
        BALANCED.emmeans("recipe", at=["A"])
    with says(ValueError, "'tukey'", "'holm'", "'scheffe'"):
        BALANCED.emmeans("recipe").pairs("scheffe")
    with says(bl.DataError, "one level"):
        BALANCED.emmeans("recipe", at={"recipe": "A"}).pairs()


def test_means_of_rows_in_chunks():
    """Over numbers, numbers of two kinds, and texts, as of the same rows in memory."""
    rng = np.random.default_rng(4)
    n = 300
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(3, 2, n),
            "late": np.arange(n) > 200,
            "f": np.sort(rng.choice(list("abc"), n)),
            "g": rng.integers(0, 20, n),
        }
    )
    data.loc[5, "x"] = np.nan
    formula = "y ~ x * f + late + (1 | g)"
    chunks = [data[start : start + 70] for start in range(0, n, 70)]
    for specs in ("f", "late"):
        expected = bl.lmer(formula, data).emmeans(specs).to_frame()
        found = bl.lmer(formula, chunks).emmeans(specs).to_frame()
        pd.testing.assert_frame_equal(found, expected, rtol=1e-7)
