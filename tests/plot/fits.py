"""Fits that pictures are made of, and what is read off them."""

from __future__ import annotations

from functools import cache

import blocklmm as bl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

SLEEP = bl.datasets.load("sleepstudy")


@cache
def sleep():
    return bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


@cache
def penicillin():
    return bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))


@cache
def five():
    """Five groups with names that are long, differ at the end and are no mathematics."""
    g = np.repeat(np.arange(5), 8)
    rng = np.random.default_rng(5)
    y = 3 * rng.normal(size=5)[g] + rng.normal(size=40)
    names = np.array([f"the $ospital_of^a {'very ' * 12}long name, no. {k}" for k in range(5)])
    return bl.lmer(
        "y ~ t + (1 | g)", pd.DataFrame({"y": y, "t": np.tile(range(8), 5), "g": names[g]})
    )


@cache
def quoted():
    """Columns whose names have to stand in backticks."""
    data = SLEEP.rename(columns={"Reaction": "Größe in mm", "Days": "t", "Subject": "Kind 1"})
    data["no. of days"] = data["t"] / 10
    formula = "`Größe in mm` ~ I(`no. of days` ** 1) + t:`no. of days` + (t | `Kind 1`)"
    return bl.lmer(formula, data)


@cache
def many():
    """50,000 groups of three rows."""
    m = 50_000
    g, rng = np.repeat(np.arange(m), 3), np.random.default_rng(1)
    t = rng.normal(size=3 * m)
    y = rng.normal(size=m)[g] + 0.5 * t * rng.normal(size=m)[g] + rng.normal(size=3 * m)
    return bl.lmer("y ~ t + (t | g)", pd.DataFrame({"y": y, "t": t, "g": g}))


@cache
def unbalanced():
    """300 groups, a third of which have one row: no slope of their own."""
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(300), np.tile([1, 4, 7], 100))
    t = rng.normal(size=len(g))
    t[g == 4] = 1 + 1e-4 * t[g == 4]  # of which the slope is anybody's guess
    y = 2 * rng.normal(size=300)[g] + t * rng.normal(size=300)[g] + rng.normal(size=len(g))
    return bl.lmer("y ~ t + (t | g)", pd.DataFrame({"y": y, "t": t, "g": g}))


@cache
def without_rows():
    data = SLEEP.assign(Subject=SLEEP["Subject"].astype(str))
    formula = "Reaction ~ Days + (Days | Subject)"
    return bl.SufficientStatistics.from_data(formula, data).fit()


def own_axes(width=6.0, height=6.0):
    """Axes of a figure that pyplot does not know of."""
    return Figure(figsize=(width, height)).subplots()


def drawn(ax, label):
    """x and y of the line whose label begins so."""
    (line,) = [line for line in ax.lines if str(line.get_label()).startswith(label)]
    return np.column_stack([line.get_xdata(), line.get_ydata()])


def segments(ax):
    """Ends of horizontal and vertical lines, shape (n, 2, 2), by collection."""
    return [np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)]


def y_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def title(ax):
    return ax.get_title(loc="left")
