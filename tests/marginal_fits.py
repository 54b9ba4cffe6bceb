"""Fits that marginaleffects is tried on, rows of X by formulaic alone, and the delta method."""

from __future__ import annotations

import blocklmm as bl
import formulaic
import numpy as np
import pandas as pd


def make_data(n=240):
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "x": rng.normal(2, 1, n),
            "z": rng.uniform(1, 5, n),
            "a": rng.choice(list("pqr"), n),
            "dose": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"]),
            "year": rng.choice([2000, 2001, 2003], n),
            "flag": rng.random(n) < 0.5,
            "k": rng.integers(0, 2, n),
            "w": rng.uniform(0.5, 2, n),
            "g": np.arange(n) % 12,
        }
    )
    noise = rng.normal(size=12)[data["g"]] + rng.normal(size=n)
    data["y"] = data["x"] ** 2 + np.log(data["z"]) + (data["a"] == "q") * data["x"] + noise
    return data


DATA = make_data()
NEW = DATA.iloc[::7].assign(x=lambda d: d["x"] * 1.1).reset_index(drop=True)
FIXED = {
    "numbers": "x * z",
    "a category": "a + x + a:x",
    "ordered": "dose + z",
    "numbers as levels": "C(year) + x",
    "booleans": "flag + x + flag:x + k",
    "expressions": "x + I(x ** 2) + np.log(z)",
    "orthogonal": "poly(x, 2) + scale(z)",
    "splines": "bs(z, df=5) + x",
    "contrasts": "C(a, contr.sum) + x",
    "nothing": "1",
}
FITS = {name: bl.lmer(f"y ~ {fixed} + (1 | g)", DATA) for name, fixed in FIXED.items()}


def rows(name, frame):
    """Rows of X as formulaic makes them, without this library."""

    def as_categories(frame):
        flags = {"flag": pd.Categorical(frame["flag"], [False, True])} if "flag" in frame else {}
        return frame.assign(**flags)

    spec = formulaic.model_matrix(FIXED[name], as_categories(DATA)).model_spec
    return pd.DataFrame(spec.get_model_matrix(as_categories(frame)))[list(FITS[name].params.index)]


def check(found, fit, L, rtol=1e-8, constant=0.0):
    """Estimates and delta method: L beta, sqrt(diag(L V L'))."""
    L = np.atleast_2d(np.asarray(L, dtype=float))
    estimate = L @ fit.params.to_numpy() + constant
    std_error = np.sqrt(np.einsum("ij,jk,ik->i", L, fit.cov_params().to_numpy(), L))
    np.testing.assert_allclose(found["estimate"].to_numpy(), estimate, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found["std_error"].to_numpy(), std_error, rtol=rtol)
