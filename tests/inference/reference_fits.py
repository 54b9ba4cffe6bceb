"""Fits of the models in reference/inference; see README.md in reference."""

from __future__ import annotations

from functools import cache

import blocklmm as bl
import numpy as np

from tests.reference import reader

CASES = reader.names("inference")


@cache
def case(name):
    return reader.read("inference", name)


@cache
def fitted(name):
    about = case(name)
    data = reader.frame(about["data"])
    if about.get("rows"):
        data = data.iloc[np.array(about["rows"]) - 1]
    return bl.lmer(
        about["formula"],
        data,
        reml=about["REML"],
        weights=about.get("weights") or None,
        contrasts=about.get("contrasts") or None,
    )


def numbers(values):
    """R's numbers, NaN for its NA and for what emmeans calls nonEst."""
    listed = values if isinstance(values, list) else [values]
    return np.array([np.nan if v in (None, "nonEst") else v for v in listed], dtype=float)


def column(rows, key):
    """A column of a table that R wrote by rows; it leaves out what is NA."""
    return numbers([row.get(key) for row in rows])
