"""Tables that number labels as they are met, against a dictionary."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

INT64 = np.iinfo(np.int64)
LEAST, LARGEST = int(INT64.min), int(INT64.max)
SHORT_RANGE = 1 << 20  # labels so far apart are a range however few there are


class Numbering:
    """The same by a dictionary."""

    def __init__(self):
        self.numbers = {}

    def code(self, labels, missing=None):
        missing = [False] * len(labels) if missing is None else missing
        return [
            -1 if gone else self.numbers.setdefault(label, len(self.numbers))
            for label, gone in zip(labels, missing, strict=True)
        ]


def check_integers(chunks, dtype=np.int64):
    table, expected = _core.IntegerLabels(), Numbering()
    for labels, missing in chunks:
        mask = None if missing is None else np.array(missing, dtype=bool)
        found = table.code(np.array(labels, dtype=dtype), mask)
        assert found.dtype == np.int32
        assert found.tolist() == expected.code(labels, missing)
        assert len(table) == len(expected.numbers)
        assert table.labels.tolist() == list(expected.numbers)


KINDS_OF_INTEGERS = [
    st.integers(0, 30),
    st.integers(-40, -10),
    st.integers(-3 * SHORT_RANGE, 3 * SHORT_RANGE),
    st.integers(LEAST, LARGEST),
    st.sampled_from([LEAST, LEAST + 1, -1, 0, 1, LARGEST - 1, LARGEST]),
    st.integers(LARGEST - 20, LARGEST),
    st.integers(LEAST, LEAST + 20),
]


def masked(labels):
    """Labels and whether they are missing; the labels of missing rows can be anything."""
    row = st.tuples(labels, st.booleans())
    rows = st.lists(row, max_size=30).map(lambda found: list(zip(*found, strict=True)) or [(), ()])
    return rows.flatmap(lambda pair: st.sampled_from([tuple(pair), (pair[0], None)]))


@given(st.lists(st.one_of(KINDS_OF_INTEGERS).flatmap(lambda n: masked(st.just(n))), max_size=3))
def test_one_label_a_chunk(chunks):
    check_integers(chunks)


@given(st.lists(st.sampled_from(KINDS_OF_INTEGERS).flatmap(masked), max_size=5))
@settings(max_examples=200)
def test_integers_against_a_dictionary(chunks):
    check_integers(chunks)


@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"], ids=lambda d: f"dtype {d}"
)
def test_integers_of_all_widths(dtype):
    kind = np.dtype(dtype)
    low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    high = min(int(high), LARGEST)
    labels = [high, int(low), high, int(low), 0, 1]
    check_integers([(labels, None), (labels[::-1], [True, False, True, False, True, False])], kind)
    wide = np.array([[n, 0] for n in labels], dtype=kind)
    table = _core.IntegerLabels()
    assert table.code(wide[::-1, 0]).tolist() == Numbering().code(labels[::-1])


@pytest.mark.parametrize("first", [0, -(10**6), 10**15, LEAST, LARGEST - SHORT_RANGE])
@pytest.mark.parametrize("backwards", [False, True])
def test_dense_ranges_that_grow(first, backwards):
    rng = np.random.default_rng(1)
    blocks = [first + rng.integers(200 * k, 200 * (k + 2), 500) for k in range(40)]
    blocks = [block.tolist() for block in (blocks[::-1] if backwards else blocks)]
    check_integers([(block, None) for block in blocks])


@pytest.mark.parametrize("far", [LEAST, LARGEST, 10 * SHORT_RANGE, -(10**12)])
def test_numbers_stay_where_a_range_becomes_a_hash(far):
    rng = np.random.default_rng(2)
    near = rng.integers(-3_000, 3_000, 5_000).tolist()
    check_integers([(near, None), ([far, near[0], far], None), (near[::-1], None), ([far], None)])


@pytest.mark.parametrize("far", [None, LEAST, 10**12])
def test_shuffled_labels_turn_out_to_lie_close(far):
    """A few labels seem far apart; with all of them there is one in each place, or almost."""
    rng = np.random.default_rng(5)
    labels = 7 + 5 * rng.permutation(600_000)  # three times the short range
    chunks = [(block.tolist(), None) for block in np.array_split(labels, 7)]
    middle = [] if far is None else [([far], None)]
    check_integers([*chunks[:5], *middle, *chunks[5:], chunks[0]])


def test_many_integers_in_a_hash():
    """More than its first tables hold, all far apart."""
    rng = np.random.default_rng(3)
    labels = rng.integers(LEAST, LARGEST, 20_000).tolist()
    check_integers([(labels, None), (labels[::-1], None)])
    # labels that differ in their high bits alone, as pairs of levels do
    pairs = [(k << 32) | (k % 3) for k in range(5_000)]
    check_integers([(pairs, None), (pairs[::2], None)])


def test_a_chunk_that_is_all_missing():
    check_integers([([5, 6], [True, True]), ([7, 5], None), ([LEAST, LARGEST], [True, True])])
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 50, 3_000).tolist()  # several blocks of rows, whole ones missing
    check_integers([(labels, [k < 2_000 for k in range(3_000)])])


def test_what_integers_take():
    table = _core.IntegerLabels()
    with pytest.raises(ValueError, match="integers"):
        table.code(np.ones(3))
    with pytest.raises(ValueError, match="as long as"):
        table.code(np.arange(3), np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match="vectors"):
        table.code(np.ones((3, 3), dtype=np.int64))
    assert len(table) == 0


# -- texts -----------------------------------------------------------------------------------


def as_arrow(texts, dtype, start=0):
    """Bytes and offsets as Arrow holds them, from the middle of a buffer if start is given."""
    encoded = [text.encode() for text in texts]
    ends = start + np.cumsum([0, *map(len, encoded)])
    data = b"x" * start + b"".join(encoded) + b"tail"
    return np.frombuffer(data, dtype=np.uint8), ends.astype(dtype)


TEXT = st.text("ab\x00äж日😀", max_size=4)


@given(st.lists(masked(TEXT), max_size=4), st.sampled_from([np.int32, np.int64]), st.integers(0, 3))
def test_texts_against_a_dictionary(chunks, dtype, start):
    table, expected = _core.TextLabels(), Numbering()
    for texts, missing in chunks:
        mask = None if missing is None else np.array(missing, dtype=bool)
        found = table.code(*as_arrow(texts, dtype, start), mask)
        assert found.dtype == np.int32
        assert found.tolist() == expected.code(texts, missing)
    known = list(expected.numbers)
    assert len(table) == len(known)
    assert table.texts(np.arange(len(known))) == known
    for other in (pickle.loads(pickle.dumps(table)), _core.TextLabels.restored(table.state())):
        assert other.texts(np.arange(len(known))) == known
        assert other.code_objects([*known, "new label"]).tolist() == list(range(len(known) + 1))


def test_many_texts():
    labels = [f"subject {k}" for k in range(20_000)]
    table = _core.TextLabels()
    assert table.code(*as_arrow(labels, np.int64)).tolist() == list(range(20_000))
    assert table.code(*as_arrow(labels[::-1], np.int32)).tolist() == list(range(19_999, -1, -1))
    assert table.texts(np.array([19_999, 3])) == ["subject 19999", "subject 3"]


def test_objects_that_are_no_text_have_no_number():
    table = _core.TextLabels()
    found = table.code_objects(["b", None, "a", 3, np.nan, "b", b"b", ""])
    assert found.tolist() == [0, -1, 1, -1, -1, 0, -1, 2]
    assert table.code_objects(["\ud800"]).tolist() == [-1]  # no UTF-8 for half a character


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2, 1], "in order"),
        ([0, 1, 9], "within"),
        ([-1, 1, 2], "within"),
        ([], "offsets"),
    ],
)
def test_offsets_are_checked(offsets, message):
    data = np.frombuffer(b"abcd", dtype=np.uint8)
    for dtype in (np.int32, np.int64):
        with pytest.raises(ValueError, match=message):
            _core.TextLabels().code(data, np.array(offsets, dtype=dtype))
    table = _core.TextLabels()
    with pytest.raises(ValueError, match="as long as"):
        table.code(data, np.array([0, 1, 2]), np.zeros(3, dtype=bool))


def test_numbers_and_states_are_checked():
    table = _core.TextLabels()
    table.code_objects(["a", "bc"])
    for number in (-1, 2):
        with pytest.raises(ValueError, match="number"):
            table.texts(np.array([number]))
    data, ends = table.state()
    assert (data, ends.tolist()) == (b"abc", [1, 3])
    for wrong in ([3, 1], [1, 4], [-1, 3]):
        with pytest.raises(ValueError, match="one after the other"):
            _core.TextLabels.restored((data, np.array(wrong)))
