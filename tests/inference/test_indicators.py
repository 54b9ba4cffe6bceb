"""The algebra on levels and cross products against the rows."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.inference.fixed_effects.indicators import Indicators
from blocklmm.inference.fixed_effects.span import span_of

N = 300
FORMULAS = [
    "a * b * c",
    "a * x + b",
    "a * b * x",
    "a + a:b",
    "a:b",
    "a:b + c",
    "x:a + b",
    "x + x:a + x:b + x:a:b",
    "a * poly(x, 2)",
    "a + b + x + x:z + a:x:z",
    "0 + a * b",
    "0 + x + a + b",
    "0 + a:b + c",
    "0 + a:x + b",
    "C(k) * a",
    "flag * a",
]


def rows(seed, empty):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "a": np.array(["a1", "a2", "a3"])[rng.integers(0, 3, N)],
            "b": np.array(["b1", "b2", "b3", "b4"])[rng.integers(0, 4, N)],
            "c": np.array(["c1", "c2"])[rng.integers(0, 2, N)],
            "k": rng.integers(1, 4, N),
            "flag": rng.integers(0, 2, N) == 1,
            "x": rng.normal(5, 1, N),
            "z": rng.normal(size=N),
            "g": np.arange(N) % 15,
            "w": rng.uniform(0.5, 2, N),
            "y": rng.normal(size=N),
        }
    )
    if empty:
        data = data[~((data["a"] == "a1") & (data["b"] == "b2"))]
        data = data[~((data["a"] == "a3") & (data["b"] == "b1"))]
    return data


def dense_indicators(design, data, term):
    """All indicators of a term row by row, the last factor's levels running fastest."""
    out = np.ones((len(data), 1))
    for text in term:
        name = text[2:-1] if text.startswith("C(") else text
        if name in ("x", "z"):
            values = data[[name]].to_numpy()
        elif name in data:
            levels = design._factors[text].levels
            values = (data[name].to_numpy()[:, None] == np.asarray(levels)).astype(float)
        else:
            own = [k for k, of in enumerate(design.x_terms) if of == term or of == (text,)]
            alone = [k for k in own if design.x_terms[k] == (text,)]
            frame = bl.frames.Frame(data)
            values = design.matrix(frame, [design.x_recipes[k] for k in alone])
        out = (out[:, :, None] * values[:, None, :]).reshape(len(data), -1)
    return out


@pytest.mark.parametrize("coding", [None, "sum", "helmert", "poly"])
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("fixed", FORMULAS)
def test_indicators_of_all_terms(fixed, empty, coding):
    data = rows(seed=len(fixed), empty=empty)
    contrasts = {} if coding is None else dict.fromkeys("abc", coding)
    fit = bl.lmer(f"y ~ {fixed} + (1 | g)", data, contrasts=contrasts, weights="w")
    design, span = fit._problem.design, span_of(fit._problem)
    frame = bl.frames.Frame(data)
    X = design.matrix(frame, design.x_recipes)
    kept = X[:, span.kept]
    scale = np.linalg.norm(kept, axis=0)
    np.testing.assert_allclose(
        span.B.T @ span.B / np.outer(scale, scale),
        kept.T @ kept / np.outer(scale, scale),
        atol=1e-12,
    )
    np.testing.assert_allclose(kept @ span.expressed, X, atol=1e-10 * np.abs(X).max())
    ones, left = np.linalg.lstsq(kept, np.ones(len(X)), rcond=None)[:2]
    spans_ones = left.sum() < 1e-15
    np.testing.assert_allclose(kept @ span.constant, kept @ ones, atol=1e-9)

    indicators = Indicators(design, span)
    for term in design.formula.fixed:
        found = indicators.of(term)
        dense = dense_indicators(design, data, term)
        in_rows = kept @ found.reshape(len(found), -1)
        if "0 +" in fixed and not spans_ones:
            # R codes factors as if X spanned the constant; what it does not span is projected
            continue
        np.testing.assert_allclose(in_rows, dense, atol=1e-9 * np.abs(dense).max())


def test_rows_of_x_are_estimable_and_others_are_not():
    data = rows(seed=3, empty=True)
    fit = bl.lmer("y ~ a * b + x + (1 | g)", data)
    design, span = fit._problem.design, span_of(fit._problem)
    assert len(fit.dropped_columns) == 2
    X = design.matrix(bl.frames.Frame(data), design.x_recipes)
    assert span.is_estimable(X).all()
    assert span.is_estimable(X[:50] - 3 * X[50:100]).all()
    cells = {"a": ["a1", "a3", "a1"], "b": ["b2", "b1", "b1"], "x": [1e6, 0.0, 1e-6]}
    empty = design.matrix(bl.frames.Frame(cells), design.x_recipes)
    np.testing.assert_array_equal(span.is_estimable(empty), [False, False, True])
