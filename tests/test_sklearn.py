"""The estimator of scikit-learn is the same model, in pipelines, splits and searches."""

from __future__ import annotations

import pickle
import subprocess
import sys

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from blocklmm.sklearn import MixedLMRegressor
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from .bad_data import says

SLEEP = bl.datasets.load("sleepstudy")
X, Y = SLEEP[["Days", "Subject"]], SLEEP["Reaction"]
FORMULA = "~ Days + (Days | Subject)"
ARRAY, GROUPS = SLEEP[["Days"]].to_numpy(float), SLEEP["Subject"].to_numpy()
LMER = bl.lmer("Reaction" + FORMULA, SLEEP)
NEW = pd.DataFrame({"Days": [0.0, 4.5, 12.0], "Subject": ["308", "372", "a new one"]})


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# -- scikit-learn's own checks ---------------------------------------------------------------

EXACT = "X explains its y exactly: no residual variance is left, and no mixed model to be fitted"
EXPECTED_FAILED_CHECKS = {
    "check_regressors_no_decision_function": EXACT,
    "check_sample_weight_equivalence_on_dense_data": EXACT,
    "check_sample_weights_not_overwritten": EXACT,
    "check_sample_weights_shape": EXACT,
}


@pytest.mark.filterwarnings("ignore::blocklmm.BlocklmmWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("parameters", [{}, {"random": None}, {"random": None, "missing": "drop"}])
def test_checks_of_scikit_learn(parameters):
    found = check_estimator(
        MixedLMRegressor(**parameters), expected_failed_checks=EXPECTED_FAILED_CHECKS, on_skip=None
    )
    failed = [check for check in found if check["status"] == "xfail"]
    assert {check["check_name"] for check in failed} == set(EXPECTED_FAILED_CHECKS)
    assert all("explain the response 'y' exactly" in str(check["exception"]) for check in failed)
    assert len(found) > 50


# -- the same numbers ------------------------------------------------------------------------


def test_of_a_formula():
    model = MixedLMRegressor(FORMULA).fit(X, Y)
    assert isinstance(model.fit_, bl.LinearMixedFit)
    assert model.fit_.formula == "Reaction ~  Days + (Days | Subject)"
    same(model.predict(X), LMER.fittedvalues)
    same(model.predict(NEW), LMER.predict(NEW, new_levels="population"))
    same(model.coef_, [LMER.params["Days"]])
    assert model.coef_names_.tolist() == ["Days"]
    same(model.intercept_, LMER.params["Intercept"])
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["Days", "Subject"]
    residual = Y - LMER.fittedvalues
    same(model.score(X, Y), 1 - (residual**2).sum() / ((Y - Y.mean()) ** 2).sum())


# older versions of scikit-learn ask polars for the names of columns by it
@pytest.mark.filterwarnings("ignore:Support for the dataframe interchange protocol")
@pytest.mark.parametrize("make", [pl.from_pandas, lambda frame: pa.Table.from_pandas(frame)])
def test_of_other_frames(make):
    weights = np.where(np.arange(len(Y)) % 7, 1.0, 0.0)
    text = X.astype({"Subject": str})
    model = MixedLMRegressor(FORMULA).fit(make(text), Y.to_numpy(), sample_weight=weights)
    expected = MixedLMRegressor(FORMULA).fit(text, Y, sample_weight=weights)
    same(model.predict(make(NEW)), expected.predict(NEW))
    columns = MixedLMRegressor(group_column="Subject", random="1 + Days").fit(make(text), Y)
    same(columns.predict(make(NEW)), LMER.predict(NEW, new_levels="population"))


@pytest.mark.parametrize("dtype", [">i4", "<f4", "u1", "M8[M]", "m8[s]", "M8[ns]"])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_groups_of_any_type_beside_other_frames(make, dtype):
    """Arrays from files of other machines, and times, which polars and pyarrow take in part."""
    frame, groups = make(SLEEP[["Days"]]), np.repeat(np.arange(18), 10).astype(dtype)
    model = MixedLMRegressor("~ Days + (1 | groups)")
    if groups.dtype.kind in "mM":
        with pytest.raises(bl.DataError, match="'groups'"):
            model.fit(frame, Y, groups=groups)
        return
    same(
        model.fit(frame, Y, groups=groups).predict(frame),
        model.fit(SLEEP[["Days"]], Y, groups=np.arange(180) // 10).predict(SLEEP[["Days"]]),
    )


@pytest.mark.parametrize("formula", ["Reaction ~ Days", "other ~ Days", "`a b` ~ Days", "~Days"])
def test_the_response_is_y_whatever_its_name(formula):
    frame = SLEEP.assign(y=0.0, Reaction=SLEEP["Reaction"] * 2)
    model = MixedLMRegressor(formula + " + (1 | Subject)").fit(frame, Y)
    expected = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    same(model.predict(frame), expected.fittedvalues)


def test_predictions_of_the_population():
    model = MixedLMRegressor(FORMULA, prediction="population").fit(X, Y)
    same(model.predict(NEW), LMER.predict(NEW, random="population"))


def test_new_groups_may_raise():
    model = MixedLMRegressor(FORMULA, new_levels="error").fit(X, Y)
    with says(bl.DataError, "'a new one'"):
        model.predict(NEW)


def test_maximum_likelihood_weights_and_options():
    weights = np.random.default_rng(1).uniform(0.5, 2, len(Y))
    options = bl.FitOptions(n_threads=2)
    model = MixedLMRegressor(FORMULA, reml=False, options=options).fit(X, Y, sample_weight=weights)
    expected = bl.lmer("Reaction" + FORMULA, SLEEP, reml=False, weights=weights)
    same(model.predict(X), expected.fittedvalues)
    assert not model.fit_.reml


def test_of_arrays_and_groups():
    model = MixedLMRegressor(random="1 + x0").fit(ARRAY, Y.to_numpy(), groups=GROUPS)
    assert model.fit_.formula == "y ~ 1 + x0 + (1 + x0 | groups)"
    same(model.predict(ARRAY, groups=GROUPS), LMER.fittedvalues)
    same(model.predict(ARRAY), LMER.predict(SLEEP, random="population"))
    new = NEW[["Days"]].to_numpy()
    same(model.predict(new, groups=NEW["Subject"]), LMER.predict(NEW, new_levels="population"))
    same(model.score(ARRAY, Y, groups=GROUPS), MixedLMRegressor(FORMULA).fit(X, Y).score(X, Y))
    intercepts = MixedLMRegressor().fit(ARRAY, Y, groups=GROUPS)
    expected = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    same(intercepts.predict(ARRAY, groups=GROUPS), expected.fittedvalues)
    same(intercepts.intercept_ + ARRAY @ intercepts.coef_, intercepts.predict(ARRAY))


def test_a_formula_of_arrays():
    model = MixedLMRegressor("~ x0 + I(x0^2) + (x0 | groups)").fit(ARRAY, Y, groups=GROUPS)
    expected = bl.lmer("Reaction ~ Days + I(Days^2) + (Days | Subject)", SLEEP)
    same(model.predict(ARRAY, groups=GROUPS), expected.fittedvalues)
    assert model.coef_names_.tolist() == ["x0", "I(x0 ** 2)"]


@pytest.mark.parametrize("column", [1, -1, "Subject"])
def test_groups_that_are_a_column(column):
    numbers = X.assign(Subject=X["Subject"].astype(int))
    given = numbers if isinstance(column, str) else numbers.to_numpy()
    name = "Days" if isinstance(column, str) else "x0"
    model = MixedLMRegressor(group_column=column, random=f"1 + {name}").fit(given, Y)
    same(model.predict(given), LMER.fittedvalues)
    assert model.n_features_in_ == 2
    assert model.coef_.shape == (1,)


def test_columns_of_any_name():
    odd = pd.DataFrame({"age (years)": ARRAY[:, 0], "y": ARRAY[:, 0] ** 2, "groups": 0.0, "if": Y})
    model = MixedLMRegressor().fit(odd.drop(columns="if"), Y, groups=GROUPS)
    assert model.coef_names_.tolist() == ["age (years)", "y", "groups"]
    assert model.coef_[2] == 0  # a column that depends on the intercept
    assert model.fit_.dropped_columns == ("groups",)
    assert model.fit_.response_name == "Reaction"
    same(
        model.intercept_ + odd.iloc[:, :3].to_numpy() @ model.coef_, model.predict(odd.iloc[:, :3])
    )
    numbered = pd.DataFrame(np.column_stack([ARRAY, GROUPS.astype(int)]))
    model = MixedLMRegressor("~ x0 + (x0 | x1)").fit(numbered, Y)
    same(model.predict(numbered), LMER.fittedvalues)


def test_many_columns():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(400, 150))
    y = wide @ rng.normal(size=150) + rng.normal(size=400)
    model = MixedLMRegressor(random=None).fit(wide, y)
    solution = np.linalg.lstsq(np.column_stack([np.ones(400), wide]), y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_, solution[1:], rtol=1e-9)


# -- weights and missing values --------------------------------------------------------------


def test_rows_of_weight_zero_are_left_out():
    weights = np.where(np.arange(len(Y)) % 5, 1.0, 0.0)
    model = MixedLMRegressor(FORMULA).fit(X, Y, sample_weight=weights)
    without = MixedLMRegressor(FORMULA).fit(X[weights > 0], Y[weights > 0])
    same(model.predict(X), without.predict(X))
    given = MixedLMRegressor().fit(ARRAY, Y, groups=GROUPS, sample_weight=weights)
    assert given.fit_.nobs == int(weights.sum())


def test_a_whole_weight_repeats_a_row_without_random_effects():
    weights = np.arange(len(Y)) % 3
    model = MixedLMRegressor(random=None).fit(ARRAY, Y, sample_weight=weights)
    repeated = MixedLMRegressor(random=None).fit(ARRAY.repeat(weights, axis=0), Y.repeat(weights))
    np.testing.assert_allclose(model.predict(ARRAY), repeated.predict(ARRAY), rtol=1e-10)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "shape (2,)"),
        (np.full(len(Y), -1.0), "numbers from 0"),
        (np.full(len(Y), np.nan), "numbers from 0"),
        (np.full(len(Y), "a"), "does not hold numbers"),
    ],
)
def test_weights_that_are_none(weights, message):
    with says(bl.DataError, "sample_weight", message):
        MixedLMRegressor(FORMULA).fit(X, Y, sample_weight=weights)


def test_missing_values():
    gaps = X.assign(Days=np.where(np.arange(len(X)) == 3, np.nan, X["Days"]))
    with says(bl.DataError, "'Days'", "row 3"):
        MixedLMRegressor(FORMULA).fit(gaps, Y)
    model = MixedLMRegressor(FORMULA, missing="drop").fit(gaps, Y)
    expected = bl.lmer("Reaction" + FORMULA, SLEEP.drop(index=3))
    found = model.predict(gaps)
    assert np.isnan(found[3])
    same(np.delete(found, 3), expected.fittedvalues)
    numeric = MixedLMRegressor(missing="drop").fit(gaps[["Days"]], Y, groups=GROUPS)
    assert numeric.fit_.nobs == len(Y) - 1


def test_the_score_is_of_rows_that_miss_no_value():
    gaps = X.astype({"Days": float})
    gaps.loc[3, "Days"] = np.nan
    weights = np.arange(1.0, len(Y) + 1)
    model = MixedLMRegressor(FORMULA, missing="drop").fit(gaps, Y)
    whole, y, w = gaps.drop(index=3), Y.drop(index=3), np.delete(weights, 3)
    same(model.score(gaps, Y, weights), r2_score(y, model.predict(whole), sample_weight=w))
    same(model.score(gaps, Y.tolist()), r2_score(y, model.predict(whole)))
    with pytest.raises(bl.DataError, match="nothing to score"):
        model.score(gaps[3:4], Y[3:4])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(gaps, Y[:-1])


def test_groups_of_several_columns_are_refused():
    with pytest.raises(bl.DataError, match=r"groups are one label a row, .* shape \(180, 2\)"):
        MixedLMRegressor().fit(ARRAY, Y, groups=np.column_stack([GROUPS, GROUPS]))


# -- pipelines, splits, searches -------------------------------------------------------------


def test_in_a_pipeline():
    columns = make_column_transformer(
        (StandardScaler(), ["Days"]), remainder="passthrough", verbose_feature_names_out=False
    )
    steps = make_pipeline(columns.set_output(transform="pandas"), MixedLMRegressor(FORMULA))
    same(steps.fit(X, Y).predict(X), LMER.fittedvalues)
    scaled = make_pipeline(StandardScaler(), MixedLMRegressor(random="1 + x0"))
    scaled.fit(ARRAY, Y, mixedlmregressor__groups=GROUPS)
    same(scaled.predict(ARRAY), LMER.predict(SLEEP, random="population"))


def test_cross_validation_by_groups():
    cv = GroupKFold(3)
    found = cross_val_score(MixedLMRegressor(FORMULA), X, Y, groups=GROUPS, cv=cv)
    for score, (train, test) in zip(found, cv.split(X, Y, GROUPS), strict=True):
        fit = bl.lmer("Reaction" + FORMULA, SLEEP.iloc[train])
        residual = Y.iloc[test] - fit.predict(SLEEP.iloc[test], random="population")
        spread = Y.iloc[test] - Y.iloc[test].mean()
        same(score, 1 - (residual**2).sum() / (spread**2).sum())


def test_groups_by_metadata_routing():
    by_column = cross_val_score(MixedLMRegressor(FORMULA), X, Y, groups=GROUPS, cv=GroupKFold(3))
    model = MixedLMRegressor(random="1 + x0")
    given = {"params": {"groups": GROUPS}, "cv": GroupKFold(3)}
    same(cross_val_score(model, ARRAY, Y, groups=GROUPS, **given), by_column)
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(groups=True).set_score_request(groups=True)
        same(cross_val_score(model, ARRAY, Y, **given), by_column)
        folds = list(KFold(3, shuffle=True, random_state=0).split(X))
        known = cross_val_score(model, ARRAY, Y, params=given["params"], cv=folds)
        search = GridSearchCV(model, {"random": ["intercept", "1 + x0"]}, cv=GroupKFold(3))
        search.fit(ARRAY, Y, groups=GROUPS)
        assert "groups" in search.best_estimator_.fit_.ngroups
    same(known, cross_val_score(MixedLMRegressor(FORMULA), X, Y, cv=folds))
    assert known.mean() > by_column.mean()


def test_grid_search_by_groups():
    formulas = [FORMULA, "~ Days + (1 | Subject)", "~ 1 + (1 | Subject)"]
    grid = {"formula": formulas, "reml": [True, False]}
    search = GridSearchCV(
        MixedLMRegressor(), grid, cv=GroupKFold(3), scoring="neg_root_mean_squared_error"
    )
    search.fit(X, Y, groups=GROUPS)
    assert search.best_params_["formula"] != formulas[2]
    best = bl.lmer("Reaction" + search.best_params_["formula"], SLEEP, search.best_params_["reml"])
    same(search.predict(X), best.fittedvalues)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_levels_that_a_split_lacks():
    frame = X.assign(arm=np.where(X["Days"] > 8, "c", np.where(X["Days"] > 4, "b", "a")))
    train = (frame["arm"] != "b").to_numpy()
    formula = "~ arm + (1 | Subject)"
    plain = MixedLMRegressor(formula).fit(frame[train], Y[train])
    with says(bl.DataError, "'arm'", "'b'"):
        plain.predict(frame)
    declared = MixedLMRegressor(formula, levels={"arm": ["a", "b", "c"]}).fit(
        frame[train], Y[train]
    )
    same(declared.predict(frame[train]), plain.predict(frame[train]))
    assert declared.coef_.shape == (2,)


def test_parameters_clones_and_pickles():
    model = MixedLMRegressor(FORMULA, reml=False)
    assert set(model.get_params()) >= {"formula", "random", "group_column", "reml", "prediction"}
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(reml=True, formula="~ 1 + (1 | Subject)") is model
    fitted = model.set_params(formula=FORMULA).fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(NEW), fitted.predict(NEW))
    assert not again.fit_.has_data
    with pytest.raises(NotFittedError):
        clone(fitted).predict(NEW)


# -- what can't be done ----------------------------------------------------------------------


def test_a_fit_without_groups_says_so():
    with pytest.warns(bl.BlocklmmWarning, match="no groups"):
        MixedLMRegressor().fit(ARRAY, Y)


@pytest.mark.parametrize("formula", ["log(y) ~ Days", "Days + 1", 3, "y + x ~ Days"])
def test_formulas_that_transform_y(formula):
    with says(bl.FormulaError, "TransformedTargetRegressor", repr(formula)):
        MixedLMRegressor(formula).fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "given", "message"),
    [
        ({"prediction": "blup"}, {}, "prediction is one of"),
        ({"new_levels": "ignore"}, {}, "new_levels is one of"),
        ({"missing": "fill"}, {}, "missing is one of"),
        ({"random": 3}, {}, "random is a text"),
        ({"formula": FORMULA, "group_column": 1}, {}, "leave group_column out"),
        ({"group_column": 1}, {"groups": GROUPS}, "given twice"),
    ],
)
def test_parameters_that_are_none(parameters, given, message):
    with says(bl.OptionError, message):
        MixedLMRegressor(**parameters).fit(X, Y, **given)


def test_groups_that_can_not_be_used():
    with says(bl.DataError, "no column 'Subjekt'"):
        MixedLMRegressor(group_column="Subjekt").fit(X, Y)
    with says(bl.DataError, "no column 2"):
        MixedLMRegressor(group_column=2).fit(ARRAY, Y)
    named = X.rename(columns={"Subject": "groups"})
    with says(bl.OptionError, "column 'groups' as well"):
        MixedLMRegressor("~ Days + (1 | groups)").fit(named, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        MixedLMRegressor().fit(ARRAY, Y, groups=GROUPS[:-1])
    model = MixedLMRegressor(FORMULA).fit(X, Y)
    with says(bl.OptionError, "the fit was without"):
        model.predict(X, groups=GROUPS)
    given = MixedLMRegressor().fit(ARRAY, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        given.predict(ARRAY, groups=GROUPS[:-1])


def test_texts_need_a_formula():
    with pytest.raises(ValueError, match="could not convert"):
        MixedLMRegressor().fit(X.assign(Subject="a"), Y, groups=GROUPS)


def test_arrays_of_pipelines_have_neither_names_nor_texts():
    data = SLEEP.assign(sex=np.where(SLEEP["Subject"].astype(int) % 2, "f", "m"))
    scaled = make_column_transformer(
        (StandardScaler(), ["Days"]), remainder="passthrough", verbose_feature_names_out=False
    )
    named = make_pipeline(scaled, MixedLMRegressor(FORMULA))
    with says(bl.DataError, "no column 'Subject'", "x0, x1", "set_output(transform='pandas')"):
        named.fit(X.astype({"Subject": int}), Y)
    of_texts = make_pipeline(scaled, MixedLMRegressor("~ Days + sex + (1 | Subject)"))
    columns = data[["Days", "sex", "Subject"]]
    with says(bl.DataError, "could not convert string", "set_output(transform='pandas')"):
        of_texts.fit(columns, Y)
    with says(bl.DataError, "could not convert string", "without a formula"):
        MixedLMRegressor(random=None).fit(columns, Y)
    of_texts[:-1].set_output(transform="pandas")
    assert list(of_texts.fit(columns, Y)[-1].coef_names_) == ["Days", "sex[T.m]"]


def test_the_library_imports_no_optional_package():
    script = (
        "import sys, blocklmm as bl\n"
        "assert not {'sklearn', 'marginaleffects', 'polars'} & set(sys.modules)\n"
        "sys.modules['sklearn'] = None\n"
        "try: bl.sklearn\n"
        "except ImportError as error: print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (
        found.stdout.strip() == "an estimator needs scikit-learn: pip install 'blocklmm[sklearn]'"
    )
    assert bl.sklearn.MixedLMRegressor is MixedLMRegressor
    with pytest.raises(AttributeError, match="no attribute 'skl'"):
        _ = bl.skl


def test_columns_that_are_called_by_numbers():
    table = pd.DataFrame({"0": ARRAY[:, 0], "2": ARRAY[:, 0] ** 2, "g": GROUPS})
    model = MixedLMRegressor(group_column="g").fit(table, Y)
    assert model.coef_names_.tolist() == ["0", "2"]
    expected = bl.lmer("Reaction ~ Days + I(Days**2) + (1 | Subject)", SLEEP)
    same(model.predict(table), expected.fittedvalues)
    with pytest.raises(bl.FormulaError, match="a column called '1' for the intercept: rename it"):
        MixedLMRegressor(group_column="g").fit(table.rename(columns={"2": "1"}), Y)
