"""Estimates without a group or a row, against dense matrices, refits, and lme4's."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.inference.clusters.clusters import find_clusters
from blocklmm.inference.influence import refits

from .dense import Dense, made, nearly_exact_fits

STORED = json.loads((Path(__file__).parents[1] / "reference" / "influence.json").read_text())
SLEEP = bl.datasets.load("sleepstudy")
FIXED = ["1", "x", "t"]
MODELS = {
    "y ~ x + t + (t | a)": [("a", ["1", "t"])],
    "y ~ x + t + (1 | a) + (0 + t | a)": [("a", ["1"]), ("a", ["t"])],
    "y ~ x + t + (1 | a) + (t | b)": [("a", ["1"]), ("b", ["1", "t"])],
}


def check_against(dense, table, parts):
    """Each row of the table against the dense estimates without its rows."""
    fit, p = dense.fit, dense.X.shape[1]
    H = dense.X @ dense.M @ dense.X.T @ np.linalg.inv(dense.V)
    for row, rows in zip(table.itertuples(index=False), parts, strict=True):
        found = dict(zip(table.columns, row, strict=True))
        beta, cov, sigma = dense.without(rows)
        moved = dense.beta - beta
        assert found["n"] == len(rows)
        assert found["leverage"] == pytest.approx(np.diag(H)[rows].sum(), abs=1e-9)
        cooks = moved @ np.linalg.solve(dense.cov, moved) / p
        assert found["cooks_distance"] == pytest.approx(cooks, rel=1e-7, abs=1e-10)
        ratio = np.linalg.det(cov) / np.linalg.det(dense.cov)
        assert found["covratio"] == pytest.approx(ratio, rel=1e-7)
        for k, name in enumerate(fit.params.index):
            assert found[f"params_{name}"] == pytest.approx(beta[k], abs=1e-9)
            expected = moved[k] / np.sqrt(cov[k, k])
            assert found[f"dfbetas_{name}"] == pytest.approx(expected, abs=1e-7)
        yield found, sigma


@pytest.mark.parametrize("formula", MODELS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reml", [False, True])
def test_groups_against_dense(formula, weighted, reml):
    nested = "b" in formula
    data = made(3, nested=nested, weighted=weighted)
    fit = bl.lmer(formula, data, reml=reml, weights="w")
    table = fit.influence()
    assert list(table.index) == list(fit.ranef()["a"].index)
    dense = Dense(data, fit, FIXED, MODELS[formula])
    parts = [np.flatnonzero(data["a"] == level) for level in table.index]
    assert len(list(check_against(dense, table, parts))) == 8
    assert table["leverage"].sum() == pytest.approx(3)


@pytest.mark.parametrize("formula", MODELS)
@pytest.mark.parametrize("nested", [False, True])
def test_rows_against_dense(formula, nested):
    data = made(4, nested=nested, weighted=True)
    fit = bl.lmer(formula, data, weights="w")
    table = fit.influence(by="row")
    dense = Dense(data, fit, FIXED, MODELS[formula])
    for found, sigma in check_against(dense, table, [[j] for j in range(len(data))]):
        assert found["sigma"] == pytest.approx(sigma, rel=1e-9)
    assert table["leverage"].sum() == pytest.approx(3)


def test_rows_of_a_linear_model():
    data = made(5)
    fit = bl.lmer("y ~ x + t", data)
    table = fit.influence(by="row")
    list(check_against(Dense(data, fit, FIXED, []), table, [[j] for j in range(len(data))]))


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("formula", list(MODELS)[:2])
def test_the_step_is_newtons(formula, reml):
    """The gradient is that of the criterion without the group, at the theta of all data."""
    data = made(6, weighted=True)
    fit = bl.lmer(formula, data, weights="w", reml=reml)
    problem, factor = fit._problem, fit._optimum.factor
    structure = problem.structure

    def slopes(problem, factor):
        entries = np.zeros((structure.q, structure.q))
        place = tuple(np.array(structure.block_entries).T)
        entries[place] = problem.objective(reml, 1)(factor).gradient
        return structure.theta(entries)

    steps = [1e-5 * structure.matrix(unit) for unit in np.eye(len(fit.theta))]
    hessian = np.array(
        [(slopes(problem, factor + d) - slopes(problem, factor - d)) / 2e-5 for d in steps]
    )
    without = refits._from_statistics(fit, find_clusters(fit, None))
    table = fit.influence()
    for level in range(8):
        there = without(level)
        to_there = np.linalg.solve(there.units.z_basis, problem.units.z_basis)
        gradient = to_there.T @ structure.matrix(slopes(there, to_there @ factor))
        theta = structure.theta(factor) - np.linalg.solve(hessian, structure.theta(gradient))
        half = problem.units.z_basis @ structure.matrix(theta)
        sizes = np.linalg.norm(half, axis=1)
        found = table.iloc[level]
        sd = found[[c for c in table if c.startswith("sd_")]].to_numpy()
        np.testing.assert_allclose(sd / found["sigma"], sizes, rtol=1e-6)
        if "0 +" not in formula:
            cor = half[0] @ half[1] / sizes.prod()
            assert found["cor_t.(Intercept)|a"] == pytest.approx(cor, abs=1e-6)


def test_the_step_comes_near_the_refit():
    """With many groups, what a step leaves is of second order."""
    rng = np.random.default_rng(7)
    a = np.repeat(np.arange(150), 5)
    t = np.tile(np.arange(5.0), 150)
    b = rng.normal(size=(150, 2))
    y = 1 + t + b[a, 0] + 0.5 * b[a, 1] * t + rng.normal(size=750)
    fit = bl.lmer("y ~ t + (t | a)", {"y": y, "t": t, "a": a})
    step, refit = fit.influence(), fit.influence(refit=True)
    names = fit.varcorr.labels()
    all_data = fit.varcorr.to_frame()["sdcor"].to_numpy()
    moved = np.abs(refit[names] - all_data).max()
    left = np.abs(refit[names] - step[names]).max()
    assert (left < 0.1 * moved).all()


def test_nested_step_comes_near_the_refit():
    rng = np.random.default_rng(8)
    a = np.repeat(np.arange(40), 12)
    b = a * 4 + np.tile(np.repeat(np.arange(4), 3), 40)
    y = rng.normal(size=40)[a] + rng.normal(size=160)[b] + rng.normal(size=480)
    fit = bl.lmer("y ~ 1 + (1 | a/b)", {"y": y, "a": a, "b": b})
    step, refit = fit.influence(), fit.influence(refit=True)
    names = fit.varcorr.labels()
    all_data = fit.varcorr.to_frame()["sdcor"].to_numpy()
    left = np.abs(refit[names] - step[names]).max()
    assert (left < 0.1 * np.abs(refit[names] - all_data).max()).all()


FORMULAS = {
    "sleep_rs_reml": ("Reaction ~ Days + (Days | Subject)", None),
    "sleep_weights_reml": ("Reaction ~ Days + (Days | Subject)", "wt"),
}


def reference_fit(name):
    from tests.reference.test_cases import fitted

    return fitted(name)


@pytest.mark.parametrize("name", list(STORED["cases"]))
def test_refits_against_lme4(name):
    stored, fit = STORED["cases"][name], reference_fit(name)
    table = fit.influence(refit=True, group=stored["group"])
    frame = fit.varcorr.to_frame()
    ours = [f"{row.group} {row.name1 or 'NA'} {row.name2 or 'NA'}" for row in frame.itertuples()]
    place = [stored["vc"].index(name) for name in ours]
    assert list(table.index.astype(str)) == stored["levels"]
    names = list(fit.params.index)
    for row, known in zip(table.to_dict("records"), stored["refits"], strict=True):
        se = np.array(known["se"])
        found = np.array([row[f"params_{c}"] for c in names])
        np.testing.assert_allclose(found, known["fixef"], atol=2e-5 * se.min())
        moved = fit.params.to_numpy() - np.array(known["fixef"])
        dfbetas = [row[f"dfbetas_{c}"] for c in names]
        np.testing.assert_allclose(dfbetas, moved / se, atol=1e-4)
        sdcor = np.array(known["sdcor"], dtype=float)[place]
        variances = [row[c] for c in fit.varcorr.labels()]
        np.testing.assert_allclose(variances, sdcor, rtol=1e-4, atol=1e-4)
        assert row["cooks_distance"] == pytest.approx(known["cooks"], rel=1e-4, abs=1e-8)
        assert row["covratio"] == pytest.approx(known["covratio"], rel=2e-4)
        assert row["n"] == known["n"]


def test_refits_against_lme4s_own_influence():
    stored = STORED["cases"]["sleep_rs_reml"]["lme4_influence"]
    fit = reference_fit("sleep_rs_reml")
    table = fit.influence(refit=True)
    ours = table[["dfbetas_Intercept", "dfbetas_Days"]]
    np.testing.assert_allclose(-ours, stored["dfbetas"], atol=2e-3)  # lme4: without less with
    n, p = 18, 2  # its Cook's distance has a factor (n - p) / n
    np.testing.assert_allclose(
        table["cooks_distance"] * (n - p) / n, stored["cooks"], rtol=5e-3, atol=1e-4
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_refits_from_statistics_are_those_from_rows(weighted):
    data = made(9, weighted=weighted)
    fit = bl.lmer("y ~ x + t + (t | a)", data, weights="w")
    table = fit.influence(refit=True)
    for level, row in zip(table.index, table.to_dict("records"), strict=True):
        alone = bl.lmer("y ~ x + t + (t | a)", data[data["a"] != level], weights="w")
        np.testing.assert_allclose(
            [row[f"params_{c}"] for c in alone.params.index], alone.params, rtol=1e-7
        )
        np.testing.assert_allclose(
            [row[c] for c in fit.varcorr.labels()],
            alone.varcorr.to_frame()["sdcor"],
            rtol=1e-5,
            atol=1e-6,
        )


def test_crossed_groups_are_refitted():
    data = made(10)
    fit = bl.lmer("y ~ x + t + (1 | a) + (1 | b)", data)
    with pytest.raises(bl.InferenceError, match="refit=True"):
        fit.influence(group="a")
    with pytest.raises(bl.DataError, match="crossed"):
        fit.influence()
    table = fit.influence(group="b", refit=True)
    alone = bl.lmer("y ~ x + t + (1 | a) + (1 | b)", data[data["b"] != 2])
    assert table.loc[2, "params_x"] == pytest.approx(alone.params["x"], rel=1e-7)
    assert table["leverage"].sum() == pytest.approx(3)
    assert table["n"].sum() == len(data)


def test_a_coefficient_that_one_group_alone_knows():
    data = made(11)
    data["only"] = (data["a"] == 3) * data["x"]
    fit = bl.lmer("y ~ x + only + (1 | a)", data)
    for table in (fit.influence(), fit.influence(refit=True)):
        assert table.loc[3].filter(like="params_").isna().all()
        assert np.isnan(table.loc[3, "cooks_distance"])
        assert table.drop(index=3).notna().all(axis=None)
        assert table.loc[3, "leverage"] > 1


def test_a_coefficient_that_one_row_alone_knows():
    data = made(12)
    data["only"] = (np.arange(len(data)) == 5) * 1.0
    fit = bl.lmer("y ~ x + only + (1 | a)", data)
    table = fit.influence(by="row")
    assert table.loc[5].filter(like="params_").isna().all()
    assert table.drop(index=5).notna().all(axis=None)
    assert np.isnan(fit.residuals("standardized")[5])


def test_singular_fits_and_groups_of_one_row():
    rng = np.random.default_rng(13)
    a = np.concatenate([np.arange(12), rng.integers(0, 12, 20) // 4])
    data = pd.DataFrame({"y": rng.normal(size=32), "x": rng.normal(size=32), "a": a, "w": 1.0})
    fit = bl.lmer("y ~ x + (x | a)", data)
    assert fit.singular
    table = fit.influence()
    dense = Dense(data, fit, ["1", "x"], [("a", ["1", "x"])])
    parts = [np.flatnonzero(data["a"] == level) for level in table.index]
    assert min(map(len, parts)) == 1
    list(check_against(dense, table, parts))


def test_rows_that_miss_values_and_labels():
    data = SLEEP.copy()
    data.loc[[3, 40], "Reaction"] = np.nan
    data["Subject"] = data["Subject"].astype(str)
    data.index = [f"row{k}" for k in range(len(data))]
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", data)
    rows, groups = fit.influence(by="row"), fit.influence()
    assert len(rows) == fit.nobs
    assert "row3" not in rows.index
    assert list(groups.index) == list(fit.ranef()["Subject"].index)
    assert groups.index.name == "Subject"
    assert groups["n"].sum() == fit.nobs
    kept = bl.lmer("Reaction ~ Days + (Days | Subject)", data.dropna())
    pd.testing.assert_frame_equal(groups, kept.influence(), rtol=1e-6)


def test_units_leave_no_trace():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    moved = SLEEP.assign(Reaction=SLEEP["Reaction"] * 1e3 + 1e8, Days=SLEEP["Days"] * 1e-3 + 2000)
    other = bl.lmer("Reaction ~ Days + (Days | Subject)", moved)
    for by in ("group", "row"):
        a, b = fit.influence(by=by), other.influence(by=by)
        for name in ("cooks_distance", "leverage", "covratio", "dfbetas_Days"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-7)
    # the step is taken about the first rows' mean, to the nearest multiple of a power of two
    sd, other_sd = (f.influence()["sd_Days|Subject"] for f in (fit, other))
    np.testing.assert_allclose(sd * 1e6, other_sd, rtol=1e-3)


@pytest.mark.parametrize("spread", [0.0, 1e5])
def test_a_nearly_exact_fit_keeps_its_digits(spread):
    alone, fit = nearly_exact_fits(spread)
    for by in ("group", "row"):
        a, b = (f.influence(by=by)[["cooks_distance", "dfbetas_x"]] for f in (alone, fit))
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_without_fixed_effects():
    fit = bl.lmer("Reaction ~ 0 + (Days | Subject)", SLEEP)
    assert fit.influence()["leverage"].eq(0).all()
    assert fit.influence(by="row")["sigma"].notna().all()


def test_misuse():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    with pytest.raises(bl.OptionError, match="by is one of 'group', 'row'"):
        fit.influence(by="Subject")
    with pytest.raises(bl.OptionError, match="neither refit nor group"):
        fit.influence(by="row", refit=True)
    with pytest.raises(bl.DataError, match="Did you mean 'Subject'"):
        fit.influence(group="subject")
    with pytest.raises(bl.DataError, match="no random terms"):
        bl.lmer("Reaction ~ Days", SLEEP).influence()
    restored = pickle.loads(pickle.dumps(fit))
    for options in ({}, {"by": "row"}, {"refit": True}):
        with pytest.raises(bl.DataError, match="without its rows"):
            restored.influence(**options)
