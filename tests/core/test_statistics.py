"""The pass over the rows against NumPy, and its bookkeeping of rows that can't be used."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from blocklmm import _core

from . import dense


@pytest.mark.parametrize("q", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_products_against_numpy(q, weighted):
    design = dense.random_design(7, q, p=4, n_groups=30, n=3000, weighted=weighted)
    core = dense.statistics(design)
    U = np.column_stack([design.Z, design.X, design.y])
    w = design.weights[:, None]
    np.testing.assert_allclose(core.cross_products(), U.T @ (w * U), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(core.plain_cross_products(), U.T @ U, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(core.sums, U.sum(axis=0), rtol=1e-12, atol=1e-10)
    found = core.level_products(0)
    for i in range(design.n_groups):
        rows = design.groups == i
        expected = design.Z[rows].T @ (w * U)[rows]
        np.testing.assert_allclose(found[i], expected, rtol=1e-11, atol=1e-10)
        assert core.level_rows(0)[i] == rows.sum()
    assert core.log_weights == pytest.approx(np.log(design.weights).sum(), abs=1e-9)


def make(recipes, columns, n_sources, n_random=1, n_slots=1, shifted=None, weight=-1):
    return _core.Statistics(
        recipes=recipes,
        columns=columns,
        shifted=shifted or [False] * len(columns),
        factors=[(list(range(len(columns))), n_random, n_slots)] if n_random else [],
        n_sources=n_sources,
        weight=weight,
    )


def test_recipes():
    codes = np.array([0, 1, 2, 1], dtype=np.int8)
    x = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    recipes = [
        ("constant",),
        ("numeric", 0),
        ("lookup", 1, [0.5, -1.0, 7.0]),
        ("product", [1, 2]),
        ("difference", [1, 0]),
    ]
    found = _core.fill_matrix(recipes, [0, 1, 2, 3, 4], [x, codes], 4)
    table = np.array([0.5, -1.0, 7.0])[codes]
    np.testing.assert_array_equal(found, np.column_stack([np.ones(4), x, table, x * table, x - 1]))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_any_dtype_and_stride(dtype):
    wide = np.arange(40).reshape(10, 4).astype(dtype)
    for column in (wide[:, 1], wide[::-1, 2], np.ascontiguousarray(wide[:, 3])):
        found = _core.fill_matrix([("numeric", 0)], [0], [column], 10)
        np.testing.assert_array_equal(found[:, 0], column.astype(float))


def test_unusable_rows_are_left_out_and_counted():
    n = 2000
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=n)
    groups = rng.integers(0, 5, n)
    x[[3, 700, 701, 1999]] = np.nan
    y[[3, 10]] = np.nan
    y[1500] = np.inf
    groups[[20, 3]] = -1
    core = make([("constant",), ("numeric", 0), ("numeric", 1)], [0, 1, 2], 2, n_slots=5)
    core.update([x, y], [groups], [0], n, 1)
    core.finish()
    assert core.missing == [(4, [3, 700, 701, 1999]), (2, [3, 10]), (2, [3, 20])]
    assert core.infinite == [(0, []), (1, [1500]), (0, [])]
    good = np.isfinite(x) & np.isfinite(y) & (groups >= 0)
    assert core.n_rows_used == good.sum()
    assert core.n_rows_seen == n
    U = np.column_stack([np.ones(n), x, y])[good]
    np.testing.assert_allclose(core.cross_products(), U.T @ U, rtol=1e-12, atol=1e-10)


def test_products_that_overflow_are_reported():
    x = np.array([1.0, 1e200, 2.0])
    core = make([("numeric", 0), ("product", [0, 0])], [0, 1], 1, n_random=0)
    core.update([x], [], [], 3, 1)
    assert core.infinite[-1] == (1, [1])


def test_chunks_of_any_size_give_the_same_statistics():
    design = dense.random_design(5, 2, n_groups=40, n=9000)
    columns = [np.ascontiguousarray(c) for c in (*design.Z.T, *design.X.T, design.y)]
    recipes = [("numeric", k) for k in range(len(columns))]
    results = []
    for step in (9000, 4096, 1000):
        core = make(recipes, list(range(5)), 5, n_random=2, n_slots=40)
        for start in range(0, 9000, step):
            rows = slice(start, start + step)
            labels = design.groups[rows]
            core.update([c[rows] for c in columns], [labels], [0], len(labels), 1)
        core.finish()
        results.append(core)
    np.testing.assert_array_equal(results[0].level_products(0), results[1].level_products(0))
    for other in results[1:]:
        np.testing.assert_allclose(
            other.cross_products(), results[0].cross_products(), rtol=1e-13, atol=1e-10
        )


def test_empty_groups_leave():
    y = np.arange(6.0)
    core = make([("constant",), ("numeric", 0)], [0, 1], 1, n_slots=10)
    core.update([y], [np.array([107, 103, 107, 103, 109, 103])], [100], 6, 1)
    assert [kept.tolist() for kept in core.finish()] == [[3, 7, 9]]
    np.testing.assert_array_equal(core.level_rows(0), [3, 2, 1])


def test_pickled_statistics_are_the_same():
    core = dense.statistics(dense.random_design(4, 2, weighted=True))
    other = pickle.loads(pickle.dumps(core))
    for name in ("cross_products", "plain_cross_products"):
        np.testing.assert_array_equal(getattr(core, name)(), getattr(other, name)())
    for name in ("level_products", "level_rows"):
        np.testing.assert_array_equal(getattr(core, name)(0), getattr(other, name)(0))
    assert other.n_rows_used == core.n_rows_used
    assert other.log_weights == core.log_weights


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make([("numeric", 3)], [0], 1, n_random=0), "source"),
        (lambda: make([("product", [0])], [0], 1, n_random=0), "operands"),
        (lambda: make([("unheard of",)], [0], 0, n_random=0), "unknown kind"),
        (lambda: make([("constant",)], [4], 0, n_random=0), "recipe"),
        (lambda: make([("constant",)], [0], 0, n_random=2), "sizes"),
    ],
)
def test_plans_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_are_checked():
    core = make([("constant",), ("lookup", 0, [1.0, 2.0])], [0, 1], 1, n_slots=2)
    zeros = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="beyond its table"):
        core.update([np.array([0, 1, 2])], [zeros], [0], 3, 1)
    with pytest.raises(ValueError, match="out of range"):
        core.update([zeros], [np.array([0, 1, 2])], [0], 3, 1)
    with pytest.raises(ValueError, match="equal length"):
        core.update([np.zeros(4, dtype=np.int64)], [zeros], [0], 3, 1)
    with pytest.raises(ValueError, match="native"):
        core.update([np.zeros(3, dtype=complex)], [zeros], [0], 3, 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_records_of_all_cross_products_lose_a_level(weighted):
    q, n_columns = 2, 5
    design = dense.random_design(5, q, p=2, n_groups=7, n=60, weighted=weighted)
    columns = [*design.Z.T, *design.X.T, design.y]
    sources = [np.ascontiguousarray(c) for c in [*columns, design.weights]]

    def passed(rows, n_random, level):
        core = _core.Statistics(
            recipes=[("numeric", k) for k in range(6)],
            columns=list(range(n_columns)),
            shifted=[False] * n_columns,
            factors=[(list(range(n_columns)), n_random, 7)],
            n_sources=6,
            weight=5,
        )
        if level is not None:  # effects that the pass takes from y
            fits = np.random.default_rng(1).normal(size=(q, 7))
            padded = np.vstack([fits, np.zeros((n_random - q, 7))])
            core.adopt(np.zeros(n_columns), np.zeros(n_columns - 1), [padded])
        core.update([s[rows] for s in sources], [design.groups[rows]], [0], rows.sum(), 1)
        core.finish()
        return core

    everything = np.ones(60, dtype=bool)
    for level, taken in ((3, None), (0, 0), (6, 6)):
        left = passed(everything, n_columns, taken).without(level, q)
        direct = passed(design.groups != level, q, taken)
        assert left.n_rows_used == direct.n_rows_used
        np.testing.assert_allclose(left.cross_products(), direct.cross_products(), atol=1e-11)
        np.testing.assert_array_equal(left.level_products(0), direct.level_products(0))
        np.testing.assert_array_equal(left.level_rows(0), direct.level_rows(0))
        last = direct.level_products(0)[:, :, -1]
        np.testing.assert_array_equal(left.level_column(0, n_columns - 1), last)
        objectives = [
            _core.BlockObjective(s, [2, 3], [(0, 0), (1, 0), (1, 1)]) for s in (left, direct)
        ]
        values = [
            o.evaluate(lambda_=np.eye(2), criterion=True, derivatives=False, n_threads=1).value
            for o in objectives
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-12)
    with pytest.raises(ValueError, match="all cross products"):
        dense.statistics(design).without(0, q)
    with pytest.raises(ValueError, match="a level"):
        passed(everything, n_columns, None).without(7, q)


def test_pairs_may_be_left_out():
    y = np.arange(4.0)
    labels = [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])]
    core = _core.Statistics(
        recipes=[("constant",), ("numeric", 0)],
        columns=[0, 1],
        shifted=[False, False],
        factors=[([0, 1], 1, 2), ([0, 1], 1, 2)],
        n_sources=1,
        weight=-1,
        pairs=False,
    )
    core.update([y], labels, [0, 0], 4, 1)
    core.finish()
    assert core.pairs() == []
