"""Moments of parts, merged, against those of all numbers in many digits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from blocklmm.moments import Moments

RNG = np.random.default_rng(1)
N = 600
NUMBERS = {
    "normal": RNG.normal(size=N),
    "far from zero": RNG.normal(1e6, 1, N),
    "farther": RNG.normal(-1e9, 30, N),
    "sorted": np.sort(RNG.uniform(0, 100, N)),
    "years": np.sort(RNG.integers(1950, 2020, N)).astype(float),
    "few": RNG.integers(0, 6, N).astype(float),
    "skewed": RNG.lognormal(0, 2, N),
    "tiny": 1e-180 * RNG.normal(size=N),
    "huge": 1e180 * RNG.normal(size=N),
}


def exact_recurrence(x, m):
    """a_k, and the products of b_0^2, …, b_k^2: the squares of the monic polynomials."""
    x = [mp.mpf(float(v)) for v in x]
    before, p = [mp.mpf(0)] * len(x), [mp.mpf(1)] * len(x)
    a, squares = [], []
    for k in range(m + 1):
        squares.append(mp.fsum(v * v for v in p))
        a.append(mp.fsum(v * w * w for v, w in zip(x, p, strict=True)) / squares[k])
        beta = squares[k] / squares[k - 1] if k else 0
        new = [(v - a[k]) * w - beta * u for v, w, u in zip(x, p, before, strict=True)]
        before, p = p, new
    return a, squares


@pytest.mark.parametrize("size", [1, 7, 250, N])
@pytest.mark.parametrize("name", NUMBERS)
def test_moments_of_parts_merge_to_those_of_all(name, size):
    x, m = NUMBERS[name], 4
    parts = [Moments.of(x[k : k + size], m) for k in range(0, N, size)]
    while len(parts) > 1:  # by a tree
        parts = [Moments.merged(parts[k : k + 8], m) for k in range(0, len(parts), 8)]
    a, b = parts[0].recurrence(m)
    assert len(parts[0].points) == m + 1
    with mp.workdps(50):
        known, squares = exact_recurrence(x, m)
        spread = mp.sqrt(squares[1] / N)
        errors = [(mp.mpf(float(u)) - v) / spread for u, v in zip(a, known, strict=True)]
        rounding = 1e-12 + 1e-16 * float(abs(known[0]) / spread)  # of what a double can hold
        assert max(map(abs, errors)) < rounding
        found = [mp.mpf(float(v)) ** 2 for v in b]
        ratios = [mp.fprod(found[: k + 1]) / squares[k] - 1 for k in range(m + 1)]
        assert max(map(abs, ratios)) < 1e-12


def test_fewer_different_numbers_than_moments():
    a, b = Moments.of(np.repeat([2.0, 3.0], [1, 3]), 3).recurrence(3)
    np.testing.assert_allclose(a[:2], [2.75, 2.25])
    np.testing.assert_allclose(b[:3], [2, np.sqrt(3) / 4, 0], atol=1e-15)
    a, b = Moments.of(np.array([0.1, 0.1, 0.1]), 2).recurrence(2)
    np.testing.assert_array_equal(a, [0.1, np.nan, np.nan])
    np.testing.assert_array_equal(b[1:], [0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(bad):
    parts = [Moments.of(np.array(v), 2) for v in ([1.0, 2.0], [3.0, bad], [4.0])]
    for merged in (Moments.merged(parts, 2), Moments.merged([Moments.merged(parts, 2)], 2)):
        a, b = merged.recurrence(2)
        np.testing.assert_array_equal(a, [bad, np.nan, np.nan])
        np.testing.assert_array_equal(b[1:], [np.nan, np.nan])
