"""Linear functions as texts."""

from __future__ import annotations

import blocklmm as bl
import pytest
from blocklmm.inference.fixed_effects.linear_text import parse_linear
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data import says

NAMES = ["Intercept", "x", "x2", "a[T.b c]", "a[T.b c]:x", "a[T.d-e]", "I(x ** 2)", "poly(x, 2)[1]"]


@pytest.mark.parametrize(
    ("text", "weights", "constant", "value"),
    [
        ("x", {"x": 1}, 0, None),
        ("x2 - x", {"x2": 1, "x": -1}, 0, None),
        (" - x+x2 ", {"x2": 1, "x": -1}, 0, None),
        ("x - 10", {"x": 1}, -10, None),
        ("x = 10", {"x": 1}, 0, 10),
        ("x == 1e1", {"x": 1}, 0, 10),
        ("a[T.b c] = a[T.d-e]", {"a[T.b c]": 1, "a[T.d-e]": -1}, 0, 0),
        ("a[T.d-e] - a[T.b c]:x", {"a[T.d-e]": 1, "a[T.b c]:x": -1}, 0, None),
        ("2 * (x + 3 * x2) / 4", {"x": 0.5, "x2": 1.5}, 0, None),
        ("x * .5 + x", {"x": 1.5}, 0, None),
        ("I(x ** 2)*3", {"I(x ** 2)": 3}, 0, None),
        ("(Intercept) + poly(x, 2)[1]", {"Intercept": 1, "poly(x, 2)[1]": 1}, 0, None),
        ("2*x + 3 = x + 5", {"x": 1}, 3, 5),
    ],
)
def test_functions(text, weights, constant, value):
    found, right = parse_linear(text, NAMES)
    assert dict(zip(NAMES, found.weights, strict=True)) == {n: weights.get(n, 0) for n in NAMES}
    assert found.constant == constant
    assert right == value


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.floats(-1e6, 1e6, allow_subnormal=False)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["{w!r} * {n}", "{n} * {w!r}", "({w!r}) * ({n})", "+{w!r}*{n}"]),
)
def test_sums_of_products(terms, form):
    wanted = [0.0] * len(NAMES)
    for name, weight in terms:
        wanted[NAMES.index(name)] += abs(weight)
    text = " + ".join(form.format(n=n, w=abs(w)).lstrip("+") for n, w in terms)
    if not any(wanted):
        with says(bl.DataError, "no coefficient is left"):
            parse_linear(text, NAMES)
        return
    assert parse_linear(text, NAMES)[0].weights.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("x3 + x", "no coefficient 'x3'. Did you mean 'x'?", 0),
        ("x - a[T.b]", "no coefficient 'a[T.b]'. Did you mean 'a[T.b c]'?", 4),
        ("x:x2", "no coefficient 'x:x2'", 0),
        ("x x2", "an operator is missing after 'x'", 1),
        ("x * x2", "not linear", 2),
        ("x / x2", "divided by numbers", 2),
        ("x / 0", "divided by numbers", 2),
        ("x / (1 - 1)", "divided by numbers", 2),
        ("(x", "not closed", 2),
        ("x +", "is missing", 3),
        ("", "is missing", 0),
        ("x = ", "is missing", 4),
        ("x = 1 = 2", "can't be read", 6),
        ("x)", "can't be read", 1),
        ("1 + 2", "no coefficient is left", 0),
        ("x - x", "no coefficient is left", 0),
        ("gone + x", "'gone' was dropped", 0),
    ],
)
def test_what_is_no_function(text, message, place):
    with says(bl.DataError, message, f"    {text}\n    {' ' * place}^"):
        parse_linear(text, NAMES, dropped=["gone"])
