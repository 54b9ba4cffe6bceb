"""Kinds of residuals against dense matrices."""

from __future__ import annotations

import pickle

import blocklmm as bl
import numpy as np
import pytest
from blocklmm.inference.influence import rows

from .dense import Dense, made

MODELS = {
    "y ~ x + t": [],
    "y ~ x + t + (t | a)": [("a", ["1", "t"])],
    "y ~ x + t + (1 | a) + (t | b)": [("a", ["1"]), ("b", ["1", "t"])],
}


@pytest.mark.parametrize("formula", MODELS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_kinds_against_dense(formula, nested, weighted):
    data = made(21, nested=nested, weighted=weighted)
    fit = bl.lmer(formula, data, weights="w")
    dense = Dense(data, fit, ["1", "x", "t"], MODELS[formula])
    root = np.sqrt(data["w"].to_numpy())
    pearson = dense.P @ dense.y
    sigma = fit.sigma
    expected = {
        "conditional": pearson / root,
        "response": pearson / root,
        "marginal": dense.e / root,
        "pearson": pearson,
        "standardized": pearson / (sigma * np.sqrt(np.diag(dense.P))),
        "standardized_marginal": dense.e
        / (sigma * np.sqrt(np.diag(dense.V - dense.X @ dense.M @ dense.X.T))),
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(fit.residuals(kind), values, atol=1e-8)


def test_standardized_is_the_error_of_predicting_a_row_from_the_others():
    data = made(22)
    fit = bl.lmer("y ~ x + t + (t | a)", data)
    dense = Dense(data, fit, ["1", "x", "t"], [("a", ["1", "t"])])
    found = fit.residuals("standardized")
    for j in (0, 17):
        others = np.setdiff1d(dense.all, [j])
        V, c = dense.V[np.ix_(others, others)], dense.V[j, others]
        X, y = dense.X[others], dense.y[others]
        beta, _, _ = dense.without([j])
        blup = dense.X[j] @ beta + c @ np.linalg.solve(V, y - X @ beta)
        spread = dense.X[j] - X.T @ np.linalg.solve(V, c)
        variance = dense.V[j, j] - c @ np.linalg.solve(V, c)
        variance += spread @ np.linalg.inv(X.T @ np.linalg.solve(V, X)) @ spread
        assert found[j] == pytest.approx((dense.y[j] - blup) / (fit.sigma * np.sqrt(variance)))


def test_chunks_of_rows_offsets_and_missing_values(monkeypatch):
    data = made(23)
    data["o"] = np.arange(len(data)) / 7
    data.loc[[1, 33], "x"] = np.nan
    fit = bl.lmer("y ~ x + (t | a)", data, offset="o")
    whole = {k: fit.residuals(k) for k in ("standardized", "standardized_marginal", "marginal")}
    table = fit.influence(by="row")
    monkeypatch.setattr(rows, "_CHUNK", 16)
    for kind, values in whole.items():
        assert len(values) == fit.nobs
        np.testing.assert_allclose(fit.residuals(kind), values, rtol=1e-12)
    np.testing.assert_allclose(fit.influence(by="row"), table, rtol=1e-10, atol=1e-12)
    fixed = fit.predict(random="population")
    observed = data["y"].drop(index=[1, 33]).to_numpy()
    np.testing.assert_allclose(whole["marginal"], observed - fixed, atol=1e-12)


def test_misuse():
    fit = bl.lmer("y ~ x + (1 | a)", made(24))
    with pytest.raises(bl.OptionError, match="kind is one of 'conditional'"):
        fit.residuals("deviance")
    with pytest.raises(bl.DataError, match="without its rows"):
        pickle.loads(pickle.dumps(fit)).residuals("standardized")
