"""The data frames of the benchmark: seeded, so the same in every run and interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

INSTEVAL = Path(__file__).parents[1] / "tests" / "reference" / "data" / "InstEval.csv.gz"
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


def crossed(n_rows: int) -> pd.DataFrame:
    """Rows of C, `y ~ x + (1 | a) + (1 | b)`: every row picks one of each at random."""
    rng = np.random.default_rng(4)
    n_a, n_b = max(n_rows // 20, 20), max(n_rows // 200, 5)
    a, b = rng.integers(0, n_a, n_rows), rng.integers(0, n_b, n_rows)
    x = rng.normal(size=n_rows)
    y = 1.0 + 0.5 * x + rng.normal(scale=0.8, size=n_a)[a] + rng.normal(scale=0.5, size=n_b)[b]
    return pd.DataFrame({"y": y + rng.normal(size=n_rows), "x": x, "a": a, "b": b})


def nested(n_rows: int) -> pd.DataFrame:
    """Rows of D, `y ~ x + (1 | a/b)`: 50 b's in every a, numbered anew in each, 20 rows each."""
    rng = np.random.default_rng(5)
    n_a = max(n_rows // 1000, 4)
    unit = np.arange(n_rows) % (n_a * 50)
    a, b = unit // 50, unit % 50
    x = rng.normal(size=n_rows)
    y = 1.0 + 0.5 * x + rng.normal(scale=0.7, size=n_a)[a]
    y += rng.normal(scale=0.5, size=n_a * 50)[unit] + rng.normal(size=n_rows)
    order = rng.permutation(n_rows)
    return pd.DataFrame({"y": y, "x": x, "a": a, "b": b}).iloc[order].reset_index(drop=True)


def ratings(n_rows: int) -> pd.DataFrame:
    """Rows of F, `y ~ 1 + (1 | user) + (1 | film)`: films are rated as often as Zipf has it."""
    rng = np.random.default_rng(6)
    n_users, n_films = (6040, 3706) if n_rows >= 100_000 else (60, 40)
    share = 1.0 / (np.arange(n_films) + 10.0)
    film = rng.choice(n_films, size=n_rows, p=share / share.sum())
    activity = rng.lognormal(sigma=1.0, size=n_users)
    user = rng.choice(n_users, size=n_rows, p=activity / activity.sum())
    film[:n_films], user[:n_users] = np.arange(n_films), np.arange(n_users)
    y = 3.5 + rng.normal(scale=0.45, size=n_users)[user] + rng.normal(scale=0.6, size=n_films)[film]
    return pd.DataFrame({"y": y + rng.normal(size=n_rows), "user": user, "film": film})


def pupils(n_rows: int) -> pd.DataFrame:
    """Rows of G, `y ~ t + (t | pupil) + (1 | school)`: 6 occasions, one in five changes school."""
    rng = np.random.default_rng(7)
    n_pupils, n_schools = max(n_rows // 6, 12), 300 if n_rows >= 60_000 else 5
    pupil = np.arange(n_rows) // 6 % n_pupils
    t = np.arange(n_rows) % 6 / 5.0
    home, other = rng.integers(0, n_schools, (2, n_pupils))
    moved = (rng.random(n_pupils) < 0.2)[pupil] & (t > rng.random(n_pupils)[pupil])
    school = np.where(moved, other[pupil], home[pupil])
    b = rng.normal(size=(n_pupils, 2)) @ np.array([[0.8, 0.2], [0.0, 0.5]])
    y = 1.0 + 0.5 * t + b[pupil, 0] + b[pupil, 1] * t
    y += rng.normal(scale=0.4, size=n_schools)[school] + rng.normal(scale=0.7, size=n_rows)
    return pd.DataFrame({"y": y, "t": t, "pupil": pupil, "school": school})


def insteval() -> pd.DataFrame:
    """Rows of `y ~ service + (1 | s) + (1 | d) + (1 | dept)`: ratings of lectures, from lme4."""
    frame = pd.read_csv(INSTEVAL, usecols=["y", "service", "s", "d", "dept"])
    return frame.astype({"y": float, "service": float})


def sleepstudy() -> pd.DataFrame:
    """Rows of `Reaction ~ Days + (Days | Subject)`, 180 of them."""
    frame = pd.read_csv(SLEEPSTUDY, usecols=["Reaction", "Days", "Subject"])
    return frame.assign(Subject=frame["Subject"].astype(str).astype("category"))
