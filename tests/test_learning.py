"""What transforms learn of rows that come in chunks, against formulaic's states of all rows."""

from __future__ import annotations

import pickle
import tracemalloc

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.expressions import Expression, Notes
from blocklmm.frames import Frame

RNG = np.random.default_rng(1)
N = 600
DATA = pd.DataFrame(
    {
        "x": RNG.normal(5, 1, N),
        "z": RNG.normal(1e6, 2, N),
        "c": RNG.choice([True, False], N),
        "my.x": np.sort(RNG.lognormal(0, 1, N)),
    }
)
DATA.loc[RNG.choice(N, 30), "x"] = np.nan
EXPRESSIONS = [
    "scale(x)",
    "scale(z, ddof=0)",
    "scale(x, center=False)",
    "scale(x, False, True, 0)",
    "scale(x, scale=False)",
    "scale(x, 2.5, 3)",
    "scale(x, center=-1)",
    "scale(c)",
    "center(z)",
    "standardize(z)",
    "standardize(x, rescale=False)",
    "poly(x, 2)",
    "poly(z, 4)",
    "poly(my.x, 3)",
    "poly(x, degree=3, raw=True)",
    "scale(log(x))",
    "scale(log(x - 4.5))",  # of which some are not a number
    "poly(log(x - 4.5), 2)",
    "center(x + z)",
    "I(scale(x) ** 2 - center(z))",
    "log(scale(z, center=False)) + center(x)",
    "poly(scale(x), 2)",
    "scale(x, center=z)",
    "bs(x, df=4)",
]


@pytest.mark.parametrize("size", [N, 250, 33])
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_states_learnt_in_chunks_are_formulaic_s(text, size):
    """Parts merge in any order of merging, and are what they were afterwards."""
    frame = Frame(DATA)
    expected = Expression(text, frame)
    empty = Notes(text, frame)
    parts = []
    for start in range(0, N, size):
        parts.append(empty.empty())
        parts[-1].add(Frame(DATA[start : start + size], start))
    before = pickle.dumps(parts)
    halves = [Notes.merged(parts[:2]), Notes.merged(parts[2:] or [empty])]
    found = pickle.loads(pickle.dumps(Notes.merged(halves))).expression(frame)
    assert pickle.dumps(parts) == before
    assert found.suffixes == expected.suffixes
    own, known = found.state()["transforms"], expected.state()["transforms"]
    assert own.keys() == known.keys()
    for call in known:
        assert_same(own[call], known[call])
    if "center=z" in text:  # of all rows, and can't be evaluated in chunks
        return
    values, all_at_once = (e.rows(frame, 0, N) for e in (found, expected))
    np.testing.assert_allclose(values, all_at_once, rtol=1e-8, atol=1e-8)


def assert_same(own, known):
    """Numbers of the same types by the same names: they are written to files."""
    assert type(own) is type(known)
    if isinstance(known, dict):
        assert own.keys() == known.keys()
        for key in known:
            assert_same(own[key], known[key])
    elif known is not None:
        np.testing.assert_allclose(own, known, rtol=1e-12)


def test_constant_columns_and_zeros_in_logarithms_end_as_in_memory():
    data = pd.DataFrame({"y": RNG.normal(size=60), "k": 2.0, "x": RNG.integers(0, 3, 60)})
    for text in ("scale(k)", "poly(k, 1)", "scale(log(x))", "poly(log(x), 2)", "center(log(x))"):
        said = []
        for rows in (data, [data[:25], data[25:]]):
            with pytest.raises(bl.DataError) as caught:
                bl.lmer(f"y ~ {text}", rows)
            said.append(str(caught.value)[:40])
        assert said[0] == said[1]


def peak(text, n_chunks):
    """Memory that learning takes, in bytes."""
    chunk = Frame(pd.DataFrame({"x": RNG.normal(5, 1, 10_000), "z": RNG.normal(size=10_000)}))
    notes = Notes(text, chunk)
    notes.add(chunk)
    tracemalloc.start()
    for _ in range(n_chunks):
        notes.add(chunk)
    notes.expression(chunk)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("text", ["poly(x, 3)", "scale(log(x + 9)) * center(x + z)"])
def test_memory_does_not_grow_with_the_rows(text):
    assert peak(text, 60) < peak(text, 3) + 1e6  # a column of the former has 4.8 MB
