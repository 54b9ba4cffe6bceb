"""Statistics of several factors against NumPy: records, pairs of levels, chunks, saving."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from blocklmm import _core

from . import several


def dense_pairs(design, f, g):
    """Z_f'W Z_g of each two levels that meet, as a dict."""
    a, b = design.factors[f], design.factors[g]
    out = {}
    for row in range(len(design.y)):
        key = int(a.groups[row]), int(b.groups[row])
        block = design.weights[row] * np.outer(a.Z[row], b.Z[row])
        out[key] = out.get(key, 0) + block
    return out


def found_pairs(core):
    out = {}
    for major, minor, size, start, level, values in core.pairs():
        blocks = values.reshape(-1, size)
        pairs = {}
        for i in range(len(start) - 1):
            assert np.all(np.diff(level[start[i] : start[i + 1]]) > 0)
            for at in range(start[i], start[i + 1]):
                pairs[i, int(level[at])] = blocks[at]
        out[major, minor] = pairs
    return out


@pytest.mark.parametrize("kind", several.KINDS)
@pytest.mark.parametrize("step", [None, 700, 64])
def test_pairs_against_numpy(kind, step):
    design = several.random_design(5, kind, (2, 1, 3), n=3000, weighted=True)
    core = several.statistics(design, step=step)
    found = found_pairs(core)
    assert len(found) == len(design.factors) * (len(design.factors) - 1) // 2
    for (f, g), pairs in found.items():
        expected = dense_pairs(design, f, g)
        assert pairs.keys() == expected.keys()
        for key, block in expected.items():
            np.testing.assert_allclose(pairs[key], block.ravel(order="F"), rtol=1e-11, atol=1e-11)
    counts = {(f, g): count for f, g, count in core.pair_counts()}
    assert counts == {key: len(pairs) for key, pairs in found.items()}
    for f, factor in enumerate(design.factors):
        M = np.column_stack([factor.Z, design.X, design.y])
        products = core.level_products(f)
        for level in range(factor.n_groups):
            rows = factor.groups == level
            weighted = design.weights[rows, None] * M[rows]
            np.testing.assert_allclose(products[level], factor.Z[rows].T @ weighted, atol=1e-9)
            assert core.level_rows(f)[level] == rows.sum()


def test_many_pairs():
    """More pairs than the first tables hold, in all stripes of levels."""
    rng = np.random.default_rng(1)
    n = 200_000
    a, b = rng.integers(0, 50_000, n), rng.integers(0, 3_000, n)
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    one = np.ones((n, 1))
    factors = [several.Term(one, a), several.Term(one, b)]
    design = several.Design(rng.normal(size=n), one, factors, np.ones(n))
    results = []
    for n_threads in (1, 2, 3):
        ((major, minor, _, start, level, values),) = several.statistics(design, n_threads).pairs()
        assert (major, minor) == (0, 1)
        results.append((start.tobytes(), level.tobytes(), values.tobytes()))
    assert results[0] == results[1] == results[2]
    keys, counts = np.unique(a * (b.max() + 1) + b, return_counts=True)
    np.testing.assert_array_equal(
        np.repeat(np.arange(len(start) - 1), np.diff(start)), keys // 3000
    )
    np.testing.assert_array_equal(level, keys % 3000)
    np.testing.assert_array_equal(values, counts)


def test_pickled_statistics_are_the_same():
    design = several.random_design(4, "nested twice", (2, 1, 1), weighted=True)
    core = several.statistics(design)
    other = pickle.loads(pickle.dumps(core))
    for mine, others in zip(core.pairs(), other.pairs(), strict=True):
        for a, b in zip(mine, others, strict=True):
            np.testing.assert_array_equal(a, b)
    for f in range(len(design.factors)):
        np.testing.assert_array_equal(core.level_products(f), other.level_products(f))


@pytest.mark.parametrize(
    ("place", "wrong"), [(3, 1), (3, -1), (3, 10**6), (4, -(2**31)), (4, 10**6)]
)
def test_saved_pairs_are_checked(place, wrong):
    """Of what is restored nothing is read beyond its end."""
    design = several.random_design(3, "crossed", (1, 1), n=200)
    state = list(several.statistics(design).state())
    pairs = [list(two) for two in state[-1]]
    for at in (0, len(pairs[0][place]) // 2, -1):
        changed = pairs[0][place].copy()
        changed[at] = wrong if changed[at] != wrong else 0
        broken = [(*pairs[0][:place], changed, *pairs[0][place + 1 :])]
        with pytest.raises(ValueError, match="sizes disagree"):
            _core.Statistics.restored((*state[:-1], broken))
    _core.Statistics.restored(tuple(state))


def test_plans_are_checked():
    design = several.random_design(4, "crossed")
    core = several.statistics(design)
    with pytest.raises(ValueError, match="factor's number"):
        core.level_products(9)
