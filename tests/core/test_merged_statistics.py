"""Statistics that grow, are added, and change their columns, against products in NumPy."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_level_pairs import found_pairs


@dataclass
class Sample:
    """Rows [Z others y] of several factors, whose Z are columns of U one after the other."""

    U: np.ndarray
    widths: tuple[int, ...]
    groups: list[np.ndarray]
    weights: np.ndarray | None = None
    whole: bool = False  # whether records hold all cross products

    def rows(self, chosen):
        weights = None if self.weights is None else self.weights[chosen]
        groups = [of_rows[chosen] for of_rows in self.groups]
        return replace(self, U=self.U[chosen], groups=groups, weights=weights)

    def record_columns(self, f):
        """The columns of factor f's records, its Z first."""
        start, q = sum(self.widths[:f]), self.widths[f]
        own = list(range(start, start + q))
        return own + list(range(sum(self.widths), self.U.shape[1]))

    def own(self, f):
        return self.record_columns(f)[: self.widths[f]]


def random_sample(seed, widths=(2,), n_others=3, n=90, sizes=(7, 4, 3), weighted=False):
    rng = np.random.default_rng(seed)
    U = rng.normal(size=(n, sum(widths) + n_others))
    groups = [rng.integers(0, size, n) for size in sizes[: len(widths)]]
    return Sample(U, tuple(widths), groups, rng.uniform(0.3, 2, n) if weighted else None)


def empty(sample, n_slots):
    u = sample.U.shape[1]
    factors = []
    for f, n in enumerate(n_slots):
        columns = sample.record_columns(f)
        factors.append((columns, len(columns) if sample.whole else sample.widths[f], n))
    return _core.Statistics(
        recipes=[("numeric", k) for k in range(u + 1)],
        columns=list(range(u)),
        shifted=[False] * u,
        factors=factors,
        n_sources=u + 1,
        weight=-1 if sample.weights is None else u,
    )


def add_rows(core, sample):
    n = len(sample.U)
    weights = np.ones(n) if sample.weights is None else sample.weights
    sources = [np.ascontiguousarray(c) for c in [*sample.U.T, weights]]
    core.update(sources, sample.groups, [0] * len(sample.groups), n, 1)


def statistics(sample, n_slots=None):
    """The statistics, and which levels of each factor have rows."""
    slots = n_slots or [int(groups.max()) + 1 for groups in sample.groups]
    core = empty(sample, slots)
    add_rows(core, sample)
    return core, core.finish()


def close(found, expected):
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)


def check(core, sample, numbers, new_U=None):
    """Compare with the products of rows; ``numbers[f][level]`` is a level's number in the core."""
    U = sample.U if new_U is None else new_U
    weights = np.ones(len(U)) if sample.weights is None else sample.weights
    WU = weights[:, None] * U
    assert core.n_rows_used == core.n_rows_seen == len(U)
    close(core.cross_products(), U.T @ WU)
    close(core.plain_cross_products(), U.T @ U)
    close(core.sums, U.sum(axis=0))
    assert core.log_weights == pytest.approx(np.log(weights).sum(), abs=1e-10)
    for f, groups in enumerate(sample.groups):
        columns = sample.record_columns(f)
        own = columns if sample.whole else sample.own(f)
        products, sizes = core.level_products(f), core.level_rows(f)
        levels = np.unique(groups)
        assert len(sizes) == len(products) == len(levels)
        for level in levels:
            rows, at = groups == level, numbers[f][level]
            assert sizes[at] == rows.sum()
            close(products[at], U[np.ix_(rows, own)].T @ WU[np.ix_(rows, columns)])
    pairs = found_pairs(core)
    n_factors = len(sample.groups)
    assert len(pairs) == n_factors * (n_factors - 1) // 2
    for (f, g), found in pairs.items():
        met = set(zip(sample.groups[f].tolist(), sample.groups[g].tolist(), strict=True))
        assert found.keys() == {(numbers[f][i], numbers[g][j]) for i, j in met}
        for i, j in met:
            rows = (sample.groups[f] == i) & (sample.groups[g] == j)
            expected = U[np.ix_(rows, sample.own(f))].T @ WU[np.ix_(rows, sample.own(g))]
            close(found[numbers[f][i], numbers[g][j]], expected.ravel(order="F"))


def as_numbers(kept):
    return [{int(slot): k for k, slot in enumerate(slots)} for slots in kept]


FACTORS = pytest.mark.parametrize("widths", [(2,), (1,), (2, 1), (1, 3, 2)], ids=str)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])


# -- growing while rows come in --------------------------------------------------------------


@FACTORS
@WEIGHTED
def test_levels_that_come_later(widths, weighted):
    sample = random_sample(1, widths, n=400, sizes=(90, 30, 8), weighted=weighted)
    for groups in sample.groups:
        groups.sort()  # each chunk has levels that those before had not
    order = np.random.default_rng(0).permutation(400)
    sample.groups[-1] = sample.groups[-1][order] if len(widths) > 1 else sample.groups[-1]
    core = empty(sample, [0] * len(widths))
    seen = [0] * len(widths)
    for start in range(0, 400, 50):
        part = sample.rows(slice(start, start + 50))
        for f, groups in enumerate(part.groups):
            seen[f] = max(seen[f], int(groups.max()) + 1)
            core.grow(f, seen[f])
        add_rows(core, part)
    kept = core.finish()
    check(core, sample, as_numbers(kept))
    for f, groups in enumerate(sample.groups):
        assert kept[f].tolist() == np.unique(groups).tolist()


def test_growth_is_checked():
    sample = random_sample(1)
    core, _ = statistics(sample, [7])
    with pytest.raises(ValueError, match="open statistics"):
        core.grow(0, 9)
    core = empty(sample, [7])
    with pytest.raises(ValueError, match="a factor"):
        core.grow(1, 9)
    with pytest.raises(ValueError, match="not taken away"):
        core.grow(0, 3)


# -- sums of statistics ----------------------------------------------------------------------


@FACTORS
@WEIGHTED
@pytest.mark.parametrize("share", [0.5, 0.03])
def test_sums_of_two_sets(widths, weighted, share):
    sample = random_sample(2, widths, n=300, sizes=(40, 25, 9), weighted=weighted)
    in_first = np.random.default_rng(3).random(300) < share
    first, kept = statistics(sample.rows(in_first))
    second, others = statistics(sample.rows(~in_first))
    numbers, levels = as_numbers(kept), []
    for f, slots in enumerate(others):
        known = numbers[f]
        levels.append(np.array([known.setdefault(int(slot), len(known)) for slot in slots]))
    first.merge(second, levels)
    check(first, sample, numbers)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_sums_of_many_sets_of_any_factors(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    n_factors = data.draw(st.integers(0, 3))
    rng = np.random.default_rng(seed)
    widths = tuple(rng.integers(1, 4, n_factors).tolist())
    sizes = rng.integers(1, 30, 3).tolist()
    sample = random_sample(seed, widths, n=60, sizes=sizes, weighted=bool(rng.integers(2)))
    owner = rng.integers(0, data.draw(st.integers(1, 6)), 60)
    total, numbers = None, []
    for part in rng.permutation(np.unique(owner)):
        core, kept = statistics(sample.rows(owner == part))
        if total is None:
            total, numbers = core, as_numbers(kept)
            continue
        levels = [
            np.array([numbers[f].setdefault(int(s), len(numbers[f])) for s in slots], dtype=int)
            for f, slots in enumerate(kept)
        ]
        total.merge(core, levels)
    check(total, sample, numbers)


@pytest.mark.parametrize("turned", [False, True])
def test_pairs_that_were_counted_from_either_side(turned):
    """The factor with more levels is the major one, in each set of rows by itself."""
    sample = random_sample(4, (2, 1), n=200, sizes=(12, 12))
    a, b = sample.groups
    few_first = a < 3
    few_second = (b < 3) & ~few_first
    masks = (few_first, few_second)[:: -1 if turned else 1]
    sample = sample.rows(few_first | few_second)
    masks = [mask[few_first | few_second] for mask in masks]
    first, kept = statistics(sample.rows(masks[0]))
    second, others = statistics(sample.rows(masks[1]))
    majors = [core.pairs()[0][0] for core in (first, second)]
    assert sorted(majors) == [0, 1]
    numbers, levels = as_numbers(kept), []
    for f, slots in enumerate(others):
        known = numbers[f]
        levels.append(np.array([known.setdefault(int(slot), len(known)) for slot in slots]))
    first.merge(second, levels)
    check(first, sample, numbers)


def test_sums_are_checked():
    plain, _ = statistics(random_sample(1))
    same = [np.arange(7)]
    with pytest.raises(ValueError, match="same columns"):
        copy.copy(plain).merge(statistics(random_sample(1, weighted=True))[0], same)
    with pytest.raises(ValueError, match="same columns"):
        copy.copy(plain).merge(statistics(random_sample(1, n_others=2))[0], same)
    with pytest.raises(ValueError, match="same columns"):
        copy.copy(plain).merge(statistics(random_sample(1, (2, 1)))[0], same)
    with pytest.raises(ValueError, match="levels of each factor"):
        copy.copy(plain).merge(plain, [])
    with pytest.raises(ValueError, match="no level without rows"):
        copy.copy(plain).merge(plain, [np.arange(7) + 8])
    with pytest.raises(ValueError, match="closed"):
        plain.merge(empty(random_sample(1), [7]), same)
    other_shift = plain.in_columns(np.eye(5), [np.eye(5)], np.ones(5))
    with pytest.raises(ValueError, match="same shift"):
        copy.copy(plain).merge(other_shift, same)


# -- other columns of the same rows ----------------------------------------------------------


@FACTORS
@WEIGHTED
def test_products_of_transformed_columns(widths, weighted):
    sample = random_sample(5, widths, weighted=weighted)
    rng = np.random.default_rng(6)
    q, u = sum(widths), sample.U.shape[1]
    M = np.eye(u)
    for f in range(len(widths)):  # Z of a factor from itself, the others from all there are
        own = sample.own(f)
        M[np.ix_(own, own)] = rng.normal(size=(len(own), len(own)))
    if len(widths) == 1:
        M[:q, q:] = rng.normal(size=(q, u - q))
    M[q:, q:] = rng.normal(size=(u - q, u - q))
    by_factor = [
        M[np.ix_(sample.record_columns(f), sample.record_columns(f))] for f in range(len(widths))
    ]
    core, kept = statistics(sample)
    before = core.cross_products()
    changed = core.in_columns(M, by_factor, np.arange(float(u)))
    check(changed, sample, as_numbers(kept), new_U=sample.U @ M)
    np.testing.assert_array_equal(changed.shift, np.arange(float(u)))
    np.testing.assert_array_equal(core.cross_products(), before)


def test_new_columns_are_checked():
    core, _ = statistics(random_sample(1))
    eye, shift = np.eye(5), np.zeros(5)
    for wrong in ([], [np.eye(4)], [eye, eye]):
        with pytest.raises(ValueError, match="new columns"):
            core.in_columns(eye, wrong, shift)
    with pytest.raises(ValueError, match="new columns"):
        core.in_columns(np.eye(4), [eye], shift)
    with pytest.raises(ValueError, match="new columns"):
        core.in_columns(eye, [eye], np.zeros(4))
    others_into_z = eye.copy()
    others_into_z[3, 0] = 1.0
    with pytest.raises(ValueError, match="among themselves"):
        core.in_columns(eye, [others_into_z], shift)


def test_a_choice_of_factors_and_columns():
    sample = random_sample(7, (3, 2, 2), n_others=4, weighted=True)
    core, kept = statistics(sample)
    numbers = as_numbers(kept)
    found = core.restricted([(2, [1], [2, 4]), (0, [2, 0], [3])])
    np.testing.assert_array_equal(found.cross_products(), core.cross_products())
    own = [(2, [sample.own(2)[1]]), (0, [sample.own(0)[2], sample.own(0)[0]])]
    others = [[sample.record_columns(2)[k] for k in (2, 4)], [sample.record_columns(0)[3]]]
    weighted = sample.weights[:, None] * sample.U
    for f, (old, columns) in enumerate(own):
        record = columns + others[f]
        for level, at in numbers[old].items():
            rows = sample.groups[old] == level
            expected = sample.U[np.ix_(rows, columns)].T @ weighted[np.ix_(rows, record)]
            close(found.level_products(f)[at], expected)
        np.testing.assert_array_equal(found.level_rows(f), core.level_rows(old))
    ((major, minor),) = found_pairs(found)
    blocks = found_pairs(found)[major, minor]
    a, b = own[major], own[minor]
    for (i, j), block in blocks.items():
        rows = (sample.groups[a[0]] == kept[a[0]][i]) & (sample.groups[b[0]] == kept[b[0]][j])
        close(block, (sample.U[np.ix_(rows, a[1])].T @ weighted[np.ix_(rows, b[1])]).ravel("F"))
    met = set(zip(*(sample.groups[old].tolist() for old, _ in (a, b)), strict=True))
    assert len(blocks) == len(met)


def test_choices_are_checked():
    core, _ = statistics(random_sample(1))
    for wrong in ([(1, [0], [2])], [(-1, [0], [2])], [(0, [0], [2]), (0, [1], [2])]):
        with pytest.raises(ValueError, match="a factor"):
            core.restricted(wrong)
    for wrong in ([(0, [2], [3])], [(0, [0], [5])], [(0, [-1], [3])]):
        with pytest.raises(ValueError, match="a place"):
            core.restricted(wrong)


# -- without a level -------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_levels_are_taken_away(seed):
    sample = replace(random_sample(seed, n=40), whole=True)
    sample.U[:, 0] = 1.0
    ones = np.zeros(5)
    ones[0] = 1.0
    core, kept = statistics(sample)
    order = [int(slot) for slot in kept[0]]
    for gone in np.random.default_rng(seed).permutation(order)[:-1].tolist():
        core = core.removed(order.index(gone), ones)
        order.remove(gone)
        sample = sample.rows(sample.groups[0] != gone)
        check(core, sample, [{slot: k for k, slot in enumerate(order)}])


def test_what_can_be_taken_away():
    ones = np.array([1.0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="all cross products"):
        statistics(random_sample(1))[0].removed(0, ones)
    whole = replace(random_sample(1), whole=True)
    core, _ = statistics(whole)
    for level in (-1, 7):
        with pytest.raises(ValueError, match="a level"):
            core.removed(level, ones)
    with pytest.raises(ValueError, match="weights"):
        core.removed(0, ones[:3])
    weighted = replace(random_sample(1, weighted=True), whole=True)
    with pytest.raises(ValueError, match="weights"):
        statistics(weighted)[0].removed(0, ones)
