"""What the tests of errors share: good data to spoil, and what a message must say."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

N = 60
FORMULA = "y ~ x + (1 | g)"


def make_data():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N) + 3,
            "a": rng.choice(list("pqr"), N),
            "b": rng.choice(list("uv"), N),
            "x": rng.normal(size=N),
            "z": rng.uniform(1, 5, N),
            "g": np.arange(N) % 10,
        }
    )


DATA = make_data()
ROWS = np.arange(N)


def with_values(column, rows, value):
    values = DATA[column].to_numpy(float, copy=True)
    values[rows] = value
    return DATA.assign(**{column: values})


@contextmanager
def says(error, *parts):
    with pytest.raises(error) as caught:
        yield caught
    for part in parts:
        assert part in str(caught.value)
