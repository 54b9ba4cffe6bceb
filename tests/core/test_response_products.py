"""Products of responses with a design against dense matrices, and starts from them."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.problem import Problem


def problem_of(formula, frame, **arguments) -> Problem:
    return bl.lmer(formula, frame, **arguments)._problem


def rows_of(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": 1e3 + rng.normal(size=n),
            "g": rng.integers(0, 40, n),
            "h": rng.integers(0, 11, n),
            "w": rng.uniform(0.1, 3, n),
            "o": rng.normal(size=n),
        }
    )


@pytest.mark.parametrize("r", [1, 3, 4, 11])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_are_those_of_dense_matrices(r, weights, dtype):
    frame = rows_of()
    frame.loc[[0, 700], "x"] = np.nan
    problem = problem_of("y ~ x + offset(o) + (x | g) + (1 | h)", frame, weights=weights)
    used = frame["x"].notna().to_numpy()
    Y = (50 + np.random.default_rng(1).normal(size=(len(frame), r))).astype(dtype)
    found = problem.rows(used).products(Y)
    kept = frame[used]
    shift = np.asarray(problem.statistics.core.shift)
    design = problem.design
    U = design.matrix(problem.frame, [recipe for recipe, _ in design.columns])[used] - shift
    root = np.sqrt(kept["w"].to_numpy() if weights else np.ones(len(kept)))[:, None]
    plain = Y[used].astype(float) - kept["o"].to_numpy()[:, None] - found.shift
    assert np.abs(plain.mean(axis=0)).max() < 0.5
    U, y = root * U[:, :-1], root * plain
    np.testing.assert_allclose(found.Xy, U.T @ y, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(found.yy, (y**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.plain_yy, (plain**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.sum, plain.sum(axis=0), rtol=1e-9, atol=1e-9)
    for f, name in enumerate(["g", "h"]):
        Z = U[:, [design.z_columns[k] for k in design.members(f)]]
        indicator = kept[name].to_numpy()[:, None] == np.arange(kept[name].max() + 1)
        expected = np.einsum("nl,nq,nr->lqr", indicator, Z, y).reshape(-1, r)
        np.testing.assert_allclose(found.Zy[f], expected, rtol=1e-10, atol=1e-8)


def test_products_are_those_of_the_pass_over_the_rows():
    """To the bit, about the same shift: a refit to the same response changes nothing."""
    frame = rows_of(5000)
    for arguments in ({}, {"weights": "w"}):
        problem = problem_of("y ~ x + (x | g)", frame, **arguments)
        core = problem.statistics.core
        found = problem.rows(None).products(frame[["y"]].to_numpy())
        columns = np.asarray(core.cross_products())[-1]
        assert found.shift[0] == core.shift[-1]
        assert found.Xy[:, 0].tolist() == columns[:-1].tolist()
        assert found.yy[0] == columns[-1]
        Zy = np.asarray(core.level_column(0, problem.design.n_columns - 1))
        assert found.Zy[0][:, 0].tolist() == Zy.ravel().tolist()


def test_values_that_are_not_finite_are_counted():
    frame = rows_of(700)
    problem = problem_of("y ~ x + (x | g)", frame)
    used = np.ones(700, dtype=bool)
    used[5] = False
    Y = np.zeros((700, 6))
    Y[5, 0], Y[[1, 600], 1], Y[2, 3] = np.nan, np.nan, -np.inf
    rows = problem.rows(used)
    assert rows.count_not_finite(Y).tolist() == [0, 2, 0, 1, 0, 0]
    assert rows.count_not_finite(np.asfortranarray(Y), n_threads=2).tolist() == [0, 2, 0, 1, 0, 0]
