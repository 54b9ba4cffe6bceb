"""Predictions, fits and options that can't be had: which error, and what it says."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest

from .bad_data import DATA, FORMULA, ROWS, N, says, with_values

# -- predictions -----------------------------------------------------------------------------

FIT = bl.lmer("y ~ x + a + (x | g)", DATA)
NEW = DATA.iloc[:5]


def test_a_method_in_the_place_of_the_level():
    with says(bl.OptionError, "level is a number", "method='profile'"):
        FIT.conf_int("profile")


def test_unseen_groups_are_named():
    new = NEW.assign(g=[1, 99, 100, 99, 2])
    parts = ("'g'", "99, 100", "3 rows (rows 1, 2, 3", "new_levels='population'")
    for interval in (None, "prediction"):
        with says(bl.DataError, *parts):
            FIT.predict(new, interval=interval)


def test_unseen_groups_take_the_population():
    new = NEW.assign(g=[1, 99, 100, 99, 2])
    found = FIT.predict(new, new_levels="population")
    population = FIT.predict(new, random="population")
    np.testing.assert_array_equal(found[1:4], population[1:4])
    known = FIT.predict(new.iloc[[0, 4]])
    np.testing.assert_allclose(found[[0, 4]], known, rtol=1e-14)
    assert np.all(np.abs(found[[0, 4]] - population[[0, 4]]) > 1e-6)


@pytest.mark.parametrize("new_levels", ["error", "population"])
@pytest.mark.parametrize(
    ("fitted", "new", "parts"),
    [
        (
            lambda g: [f"{k:03d}" for k in g],
            int,
            ("was text in the fit, such as '00", "is numbers"),
        ),
        (
            lambda g: [f"{k}.0" for k in g],
            int,
            ("was text in the fit", "is numbers here: give text"),
        ),
        (
            lambda g: g,
            lambda g: f"{g:03d}",
            ("was numbers in the fit", "is text here: give numbers"),
        ),
    ],
)
def test_labels_of_another_kind_are_not_new_groups(fitted, new, parts, new_levels):
    """1 is the '001' of the fit, perhaps: a prediction for the population would be a wrong one."""
    fit = bl.lmer("y ~ x + (1 | g)", DATA.assign(g=fitted(DATA["g"])))
    with says(bl.DataError, "'g' has levels that the model was not fitted with", *parts):
        fit.predict(NEW.assign(g=[new(k) for k in NEW["g"]]), new_levels=new_levels)


def test_numbers_find_the_text_that_they_are():
    fit = bl.lmer("y ~ x + (1 | g)", DATA.assign(g=DATA["g"].astype(str)))
    new = NEW.assign(g=[*NEW["g"][:4], 2000])
    found = fit.predict(new, new_levels="population")
    as_text = new.assign(g=new["g"].astype(str))
    np.testing.assert_array_equal(found, fit.predict(as_text, new_levels="population"))
    with says(bl.DataError, "2000 in 1 row", "it was fitted with '", "new_levels='population'"):
        fit.predict(new)
    padded = bl.lmer("y ~ x + (1 | g)", DATA.assign(g=[f"{k:03d}" for k in DATA["g"]]))
    alone = padded.predict(NEW.assign(g=2000), new_levels="population")
    np.testing.assert_array_equal(alone, padded.predict(NEW, random="population"))


def test_unseen_text_groups_are_named():
    fit = bl.lmer("y ~ x + (1 | b)", DATA)
    with says(bl.DataError, "'b'", "'w'", "5 rows") as caught:
        fit.predict(NEW.assign(b="w"))
    unseen, fitted = str(caught.value).split("; it was fitted with ")
    assert "'u'" not in unseen
    assert fitted.startswith("'u', 'v'; ")


def test_unseen_levels_of_a_fixed_category_are_named():
    new = NEW.assign(a=["p", "q", "new", "other", "p"])
    for random in ("conditional", "population"):
        with says(bl.DataError, "column 'a'", "'new', 'other'", "not fitted with"):
            FIT.predict(new, random=random)


def test_new_data_without_a_column():
    for name in ("x", "a", "g"):
        with says(bl.DataError, f"there is no column {name!r}"):
            FIT.predict(NEW.drop(columns=name))
    with says(bl.DataError, "no column 'x'", "Did you mean 'X'?"):
        FIT.predict(NEW.rename(columns={"x": "X"}))
    for new in (NEW.drop(columns="g"), pl.DataFrame(NEW.drop(columns="g").to_dict("list"))):
        for rows in (new, [new]):
            with says(bl.DataError, "no column 'g'", "random='population'", "Columns are 'y'"):
                FIT.predict(rows)
    without = NEW.drop(columns=["g", "y"])
    np.testing.assert_array_equal(
        FIT.predict(without, random="population"), FIT.predict(NEW, random="population")
    )


def test_new_data_of_another_type():
    with says(bl.DataError, "'x'", "not numeric"):
        FIT.predict(NEW.assign(x="u"))
    with says(bl.DataError, "'x'", "complex"):
        FIT.predict(NEW.assign(x=NEW["x"] + 1j))
    with says(bl.DataError, "'int'", "is no table"):
        FIT.predict(5)


def test_missing_values_in_new_data_give_nan():
    expected = FIT.predict(NEW)
    for name, values in [
        ("x", [np.nan, *NEW["x"][1:]]),
        ("a", [None, *NEW["a"][1:]]),
        ("g", pd.Categorical([None, *NEW["g"][1:]])),
    ]:
        found = FIT.predict(NEW.assign(**{name: values}))
        np.testing.assert_allclose(found, [np.nan, *expected[1:]], rtol=1e-14)
        table = FIT.predict(NEW.assign(**{name: values}), interval="prediction")
        np.testing.assert_array_equal(table.isna().to_numpy(), [[True] * 3] + [[False] * 3] * 4)


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("random", "blups", "'conditional'"),
        ("new_levels", "ignore", "'population'"),
        ("interval", "credible", "'prediction'"),
    ],
)
def test_options_of_predict(option, value, known):
    with says(ValueError, option, repr(value), known):
        FIT.predict(NEW, **{option: value})


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, np.nan])
def test_levels_of_intervals(level):
    with says(ValueError, "between 0 and 1"):
        FIT.conf_int(level)
    with says(ValueError, "between 0 and 1"):
        FIT.predict(NEW, interval="confidence", level=level)


# -- fits and options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["sigma", "objective", "params", "theta", "converged", "certificate", "anything"]
)
def test_a_fit_cannot_be_changed(name):
    with pytest.raises(AttributeError, match=f"can't be changed.*{name}"):
        setattr(FIT, name, 1.0)
    with pytest.raises(AttributeError, match=f"can't be changed.*{name}"):
        delattr(FIT, name)


def test_parts_of_a_fit_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        FIT.theta[0] = 1.0
    with pytest.raises(FrozenInstanceError):
        FIT.certificate.gradient = 0.0


@pytest.mark.parametrize("part", ["params", "bse", "fittedvalues", "resid"])
def test_what_a_fit_hands_out_is_a_copy(part):
    before = np.array(getattr(FIT, part))
    values = getattr(FIT, part)
    if isinstance(values, pd.Series):
        values.iloc[0] = 99.0
    else:
        values[0] = 99.0
    np.testing.assert_array_equal(getattr(FIT, part), before)
    modes = FIT.ranef()["g"]
    modes.iloc[0, 0] = 99.0
    assert FIT.ranef()["g"].iloc[0, 0] != 99.0


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 2.5}, {"seed": -1}, {"seed": "a"}])
def test_what_simulate_takes(options):
    with says(bl.OptionError, "is a whole number"):
        FIT.simulate(**options)


def test_starts_and_contrasts_of_another_kind():
    data = bl.datasets.load("sleepstudy")
    model = bl.LinearMixedModel("Reaction ~ Days + (1 | Subject)", data)
    with says(bl.OptionError, "theta is a vector of 1 finite numbers"):
        model.fit(start="a")
    with says(bl.OptionError, "contrasts are a dict"):
        bl.lmer("Reaction ~ Days + (1 | Subject)", data, contrasts="sum")


def test_names_that_are_no_text():
    with says(bl.DataError, "no grouping factor 5"):
        FIT.tidy(robust="CR2", cluster=5)
    with says(bl.DataError, "no grouping factor 5"):
        FIT.influence(group=5)
    with says(bl.OptionError, "n_threads is a whole number"):
        FIT.influence(n_threads=0)
    with says(bl.DataError, "neither a coefficient nor a random effect None"):
        bl.power(FIT, None, 10)
    with says(bl.OptionError, "alpha"):
        bl.power(FIT, "Days", 10, alpha="a")


def test_refit_wants_one_value_a_row():
    for values in (np.ones(N - 1), np.ones((N, 2)), 1.0):
        with says(bl.DataError, "shape", f"{N} rows"):
            FIT.refit(values)
    for value in (np.nan, np.inf):
        values = np.where(ROWS == 3, value, DATA["y"])
        with says(bl.DataError, "missing or infinite"):
            FIT.refit(values)
    with says(bl.DataError, "constant"):
        FIT.refit(np.ones(N))
    dropped = bl.lmer(FORMULA, with_values("x", [0], np.nan))
    with says(bl.DataError, f"{N - 1} rows"):
        dropped.refit(DATA["y"])
    assert dropped.refit(DATA["y"][1:]).objective == dropped.objective


def test_a_fit_without_its_data_says_so():
    fit = pickle.loads(pickle.dumps(FIT))
    for call in (fit.predict, fit.simulate, lambda: fit.refit(DATA["y"])):
        with says(bl.DataError, "without its rows"):
            call()
    np.testing.assert_array_equal(fit.predict(NEW), FIT.predict(NEW))


def test_groups_by_name():
    frame = bl.datasets.load("sleepstudy")
    fit = bl.lmer(
        "Reaction ~ Days + (Days | Subject)",
        frame.assign(Subject="S" + frame["Subject"].astype(str)),
    )
    with says(bl.DataError, "'Subject'", "'S3088'", "mean 'S308'"):
        fit.marginal_cov("S3088")
    plain = bl.lmer("Reaction ~ Days", frame)
    with says(bl.DataError, "no random terms"):
        plain.marginal_cov("S308")
    assert plain.ranef() == {}
    with pytest.raises(KeyError, match=r"'Subjects'.*'Subject'"):
        fit.varcorr["Subjects"]


def test_arguments_of_a_model():
    for name in ("missing", "rank_deficient"):
        with says(ValueError, name, "'drop' or 'error'", "'ignore'"):
            bl.lmer(FORMULA, DATA, **{name: "ignore"})
    for start in ([1.0, 2.0], [np.nan], [[1.0]], []):
        with says(ValueError, "theta is a vector of 1 finite numbers"):
            bl.lmer(FORMULA, DATA, start=start)
    model = bl.LinearMixedModel("y ~ x + (x | g)", DATA)
    with says(ValueError, "vector of 3"):
        model.objective([1.0])


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("n_threads", [0, -1, 1.5, True, None, "2"]),
        ("max_evaluations", [0, -1, 2.5, False, None]),
        ("tolerance", [0.0, -1e-9, np.nan]),
    ],
)
def test_options_check_themselves(option, values):
    for value in values:
        with says(ValueError, "FitOptions", option, repr(value)):
            bl.FitOptions(**{option: value})


def test_options_are_frozen():
    options = bl.FitOptions(n_threads=np.int64(2), max_evaluations=7)
    with pytest.raises(FrozenInstanceError):
        options.n_threads = 1
    with pytest.raises(TypeError):
        bl.FitOptions(2)


def test_stopping_early_is_no_convergence():
    options = bl.FitOptions(max_evaluations=1)
    with pytest.warns(bl.ConvergenceWarning, match="not certified") as caught:
        fit = bl.lmer(FORMULA, DATA, options=options)
    assert caught[0].filename == __file__
    assert not fit.converged


def test_anova_wants_fits_to_the_same_data():
    with says(ValueError, "give one or more"):
        bl.anova()
    fewer = bl.lmer(FORMULA, DATA[:50])
    with says(bl.DataError, "same data", "60 rows", "50 rows"):
        bl.anova(FIT, fewer)
    other = bl.lmer("log(y + 5) ~ x + (1 | g)", DATA)
    with says(bl.DataError, "'y'", "'log(y + 5)'"):
        bl.anova(FIT, other)


def test_unknown_data_sets():
    with says(bl.DataError, "'sleepstdy'", "mean 'sleepstudy'") as caught:
        bl.datasets.load("sleepstdy")
    assert "Dyestuff" in str(caught.value)


def test_a_response_with_its_rows_in_another_order():
    with says(bl.DataError, "labels in another order"):
        FIT.refit(pd.Series(DATA["y"]).sample(frac=1, random_state=1))
    other = FIT.refit(pd.Series(DATA["y"]))
    assert other.objective == pytest.approx(FIT.objective)


def test_the_name_of_a_robust_covariance():
    with says(ValueError, "robust is one of 'CR0'"):
        FIT.tidy(robust="HC3")
