"""The data frames of the benchmark: seeded, so the same in every run and interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SLEEPSTUDY = Path(__file__).parents[1] / "python" / "blocklmm" / "datasets" / "sleepstudy.csv"


def wide_groups(n_rows: int) -> pd.DataFrame:
    """Rows of W, as A but with 1,000 groups whatever the rows: what an evaluation costs then."""
    return slopes(n_rows, group_size=max(n_rows // 1000, 4))


def slopes(n_rows: int, *, string_labels: bool = False, group_size: int = 10) -> pd.DataFrame:
    """Rows of A, `y ~ t + x + (t | g)`: continuous t, 10 rows a group, groups in order."""
    rng = np.random.default_rng(1)
    g = np.arange(n_rows) // group_size
    t = rng.uniform(-1.0, 1.0, n_rows)
    x = rng.normal(size=n_rows)
    Lambda = np.array([[0.8, 0.0], [0.3, 0.5]])
    b = rng.normal(size=(g[-1] + 1, 2)) @ Lambda.T
    y = 1.0 + 0.5 * t - 0.3 * x + b[g, 0] + b[g, 1] * t + rng.normal(size=n_rows)
    frame = pd.DataFrame({"y": y, "t": t, "x": x, "g": g})
    return frame.assign(g="g" + frame["g"].astype(str)) if string_labels else frame


def intercepts(n_rows: int) -> pd.DataFrame:
    """Rows of B, `y ~ x1 + ... + x5 + (1 | g)`: 1 to 20 rows a group, rows shuffled."""
    rng = np.random.default_rng(2)
    # At a mean size of 10.5 these are twice the groups needed, so the rows cannot run out.
    sizes = rng.integers(1, 21, size=n_rows // 5 + 20)
    g = rng.permutation(np.repeat(np.arange(sizes.size), sizes)[:n_rows])
    X = rng.normal(size=(n_rows, 5))
    b = rng.normal(scale=0.7, size=sizes.size)
    y = 1.0 + X @ np.array([0.5, -0.4, 0.3, -0.2, 0.1]) + b[g] + rng.normal(size=n_rows)
    return pd.DataFrame({"y": y, **{f"x{j + 1}": X[:, j] for j in range(5)}, "g": g})


def vectors(n_rows: int) -> pd.DataFrame:
    """Rows of E, `y ~ x1 + x2 + x3 + (x1 + x2 + x3 | g)`: 20 rows a group, groups in order."""
    rng = np.random.default_rng(3)
    g = np.arange(n_rows) // 20
    X = rng.normal(size=(n_rows, 3))
    Z = np.column_stack([np.ones(n_rows), X])
    Lambda = np.tril(np.full((4, 4), 0.15)) + np.diag([0.7, 0.5, 0.4, 0.3])
    b = rng.normal(size=(g[-1] + 1, 4)) @ Lambda.T
    eta = 1.0 + X @ np.array([0.5, -0.4, 0.3]) + np.sum(Z * b[g], axis=1)
    y = eta + rng.normal(size=n_rows)
    return pd.DataFrame({"y": y, **{f"x{j + 1}": X[:, j] for j in range(3)}, "g": g})


def sleepstudy() -> pd.DataFrame:
    """Rows of `Reaction ~ Days + (Days | Subject)`, 180 of them."""
    frame = pd.read_csv(SLEEPSTUDY, usecols=["Reaction", "Days", "Subject"])
    return frame.assign(Subject=frame["Subject"].astype(str).astype("category"))
