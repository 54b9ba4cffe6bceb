"""Formula text to terms, and where malformed text is marked."""

from __future__ import annotations

import blocklmm as bl
import pytest
from blocklmm.formula import parse

ONE = ()  # the intercept's term


def random_of(text):
    return [(term.terms, term.group) for term in parse(text).random]


@pytest.mark.parametrize(
    ("right", "terms"),
    [
        ("1", [ONE]),
        ("x", [ONE, ("x",)]),
        ("1 + x", [ONE, ("x",)]),
        ("0 + x", [("x",)]),
        ("x - 1", [("x",)]),
        ("-1 + x", [("x",)]),
        ("x + 1 - 1", [("x",)]),
        ("0", []),
        ("x + x", [ONE, ("x",)]),
        ("x - x", [ONE]),
        ("a:b", [ONE, ("a", "b")]),
        ("a*b", [ONE, ("a",), ("b",), ("a", "b")]),
        ("b*a", [ONE, ("b",), ("a",), ("b", "a")]),
        ("a/b", [ONE, ("a",), ("a", "b")]),
        ("a*b - b", [ONE, ("a",), ("a", "b")]),
        ("a:b + a", [ONE, ("a",), ("a", "b")]),
        ("a:x + x:a", [ONE, ("a", "x")]),
        ("(a + b)^2", [ONE, ("a",), ("b",), ("a", "b")]),
        ("(a + b)**2", [ONE, ("a",), ("b",), ("a", "b")]),
        ("(a + b)^2 - a:b", [ONE, ("a",), ("b",)]),
        ("a:b:c + a", [ONE, ("a",), ("a", "b", "c")]),
        ("x^2", [ONE, ("x",)]),
        ("I(x^2)", [ONE, ("I(x ** 2)",)]),
        ("I((x - 1)^2)", [ONE, ("I((x - 1) ** 2)",)]),
        ("log(x) + sqrt(z)", [ONE, ("log(x)",), ("sqrt(z)",)]),
        ("poly(x, 2)", [ONE, ("poly(x, 2)",)]),
        ("poly(x,  degree = 2)", [ONE, ("poly(x, degree=2)",)]),
        ("factor(k)", [ONE, ("C(k)",)]),
        ("as.factor(k)", [ONE, ("C(k)",)]),
        ("C(a, contr.sum)", [ONE, ("C(a, contr.sum)",)]),
        ("`my x` + x.1", [ONE, ("my x",), ("x.1",)]),
        ("`a|b` + `c~d`", [ONE, ("a|b",), ("c~d",)]),
        ("é + _x2", [ONE, ("é",), ("_x2",)]),
        ("\n x\n + z\t", [ONE, ("x",), ("z",)]),
    ],
)
def test_fixed_terms(right, terms):
    formula = parse("y ~ " + right)
    assert formula.response == "y"
    assert formula.fixed == tuple(terms)
    assert formula.random == ()
    assert formula.offsets == ()


def test_interactions_of_three_factors_come_by_degree():
    singles, pairs = [("a",), ("b",), ("c",)], [("a", "b"), ("a", "c"), ("b", "c")]
    assert parse("y ~ (a + b + c)^2").fixed == (ONE, *singles, *pairs)
    assert parse("y ~ a*b*c").fixed == (ONE, *singles, *pairs, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("term", "blocks"),
    [
        ("(1|g)", [((ONE,), ("g",))]),
        ("(x|g)", [((ONE, ("x",)), ("g",))]),
        ("( 1 + x | g )", [((ONE, ("x",)), ("g",))]),
        ("(0+x|g)", [((("x",),), ("g",))]),
        ("(x - 1|g)", [((("x",),), ("g",))]),
        ("(-1 + x|g)", [((("x",),), ("g",))]),
        ("(x + z|g)", [((ONE, ("x",), ("z",)), ("g",))]),
        ("(a*b|g)", [((ONE, ("a",), ("b",), ("a", "b")), ("g",))]),
        ("(1||g)", [((ONE,), ("g",))]),
        ("(x||g)", [((ONE,), ("g",)), ((("x",),), ("g",))]),
        ("(0 + x + z||g)", [((("x",),), ("g",)), ((("z",),), ("g",))]),
        ("(a*b||g)", [((t,), ("g",)) for t in (ONE, ("a",), ("b",), ("a", "b"))]),
        ("(1|a:b)", [((ONE,), ("a", "b"))]),
        ("(1|a/b)", [((ONE,), ("a",)), ((ONE,), ("b", "a"))]),
        ("(x|a/b)", [((ONE, ("x",)), ("a",)), ((ONE, ("x",)), ("b", "a"))]),
        ("(1|a/b/c)", [((ONE,), g) for g in (("a",), ("b", "a"), ("c", "b", "a"))]),
        ("(1|a/b:c)", [((ONE,), ("a",)), ((ONE,), ("b", "c", "a"))]),
        ("(1|factor(g))", [((ONE,), ("g",))]),
        ("(1|C(a):b)", [((ONE,), ("a", "b"))]),
        ("(`my x`|`my g`)", [((ONE, ("my x",)), ("my g",))]),
        ("(x.1|g.2)", [((ONE, ("x.1",)), ("g.2",))]),
        ("(I(x^2)|g)", [((ONE, ("I(x ** 2)",)), ("g",))]),
        ("(poly(x, 2)|g)", [((ONE, ("poly(x, 2)",)), ("g",))]),
        ("(factor(k)|g)", [((ONE, ("C(k)",)), ("g",))]),
        ("(1|g) + (0+x|g)", [((ONE,), ("g",)), ((("x",),), ("g",))]),
        ("(1|g) + z + (x||h)", [((ONE,), ("g",)), ((ONE,), ("h",)), ((("x",),), ("h",))]),
    ],
)
def test_random_terms(term, blocks):
    assert random_of("y ~ w + " + term) == blocks
    assert random_of(f"y~{term}+w") == blocks


def test_random_terms_leave_the_fixed_part_alone():
    for text in ("y ~ (x|g) + w*x", "y ~ w*x + (x|g)", "y ~ w + (x|g) + x + w:x"):
        assert parse(text).fixed == (ONE, ("w",), ("x",), ("w", "x"))
    assert parse("y ~ (1|g)").fixed == (ONE,)
    assert parse("y ~ 0 + (1|g)").fixed == ()
    assert parse("y ~ (1|g) + x - 1").fixed == (("x",),)
    assert parse("y ~ x + (0 + z|g)").fixed == (ONE, ("x",))


@pytest.mark.parametrize(
    ("right", "name"), [("cask", "cask"), ("a:b", "a:b"), ("`my a`:b", "my a:b")]
)
def test_group_names_are_those_of_lme4(right, name):
    assert parse(f"y ~ (1|{right})").random[0].group_name == name


def test_nested_group_names_are_those_of_lme4():
    names = [term.group_name for term in parse("y ~ (1 | batch/cask)").random]
    assert names == ["batch", "cask:batch"]


@pytest.mark.parametrize(
    ("left", "response"),
    [
        ("y", "y"),
        (" y ", "y"),
        ("log(y)", "log(y)"),
        ("`my y`", "`my y`"),
        ("I(y^2)", "I(y**2)"),
        ("log(y^2 + 1)", "log(y**2 + 1)"),
    ],
)
def test_responses(left, response):
    assert parse(left + "~ x").response == response


@pytest.mark.parametrize(
    ("right", "offsets"),
    [
        ("offset(o) + x", ("o",)),
        ("x + offset(log(o)) + (1|g)", ("log(o)",)),
        ("offset(a) + x + offset(b)", ("a", "b")),
    ],
)
def test_offsets_are_no_terms(right, offsets):
    formula = parse("y ~ " + right)
    assert formula.offsets == offsets
    assert formula.fixed == (ONE, ("x",))


def test_bars_inside_calls_and_quotes_are_no_random_terms():
    assert parse("y ~ `a|b` + I((x > 0) | (z > 0))").random == ()


# § stands before the character that the caret marks
@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("y§", "one '~'"),
        ("§", "one '~'"),
        ("y = x§", "one '~'"),
        ("y ~ x §~ z", "one '~'"),
        ("y ~ (x §~ z)", "inside brackets"),
        ("§~ x", "no response"),
        ("  §~ x + (1|g)", "no response"),
        ("y ~§", "no terms"),
        ("y ~§ ", "no terms"),
        ("y ~ x + (1 §|)", "no grouping factor"),
        ("y ~ (x §||  )", "no grouping factor"),
        ("y ~ (§| g)", "left of the bar"),
        ("y ~ ( §|| g)", "left of the bar"),
        ("y ~ (1 | g §| h)", "one bar"),
        ("y ~ (1 ||§| g)", "one bar"),
        ("y ~ 1 §| g", "in parentheses"),
        ("y ~ x + z §|| g", "in parentheses"),
        ("y ~ (§0 | g)", "no random effect"),
        ("y ~ (1 | §2)", "grouping factor is a column"),
        ("y ~ (1 | §g + h)", "grouping factor is a column"),
        ("y ~ (1 | §a*b)", "grouping factor is a column"),
        ("y ~ (1 | §log(g))", "grouping factor is a column"),
        ("y ~ (1 | g/§)", "grouping factor is a column"),
        ("y ~ (1 | a:b/§2)", "grouping factor is a column"),
        ("y ~ x + §(1 | g", "never closed"),
        ("y ~ (1|g) + log§(x", "never closed"),
        ("y ~ §`my x + z", "never closed"),
        ("y ~ §'a", "never closed"),
        ("y ~ (1 | g)§)", "no opening bracket"),
        ("y ~ (x§]", "no opening bracket"),
        ("y ~ x + §(1|g)*z", "only be added"),
        ("y ~ x:§(1|g)", "only be added"),
        ("(1 §| g) ~ x", "left of '~'"),
        ("y ~ z + §.", "name the columns"),
        ("y ~ (§. | g)", "name the columns"),
        ("y ~ x §$ z", "Unknown operator"),
        ("y ~ x§, z", "Unknown operator"),
        ("y ~ §x z", "Missing operator"),
        ("y ~ (§x z | g)", "Missing operator"),
        ("y ~ §x (z)", "stands in backticks, as in `my column`"),
        ("y ~ x + (1 | §my group)", "stands in backticks, as in (1 | `my group`)"),
        ("y ~ x + (1 | §Q('my group'))", "stands in backticks, as in (1 | `my group`)"),
        ("y ~ w + (z §$ x | g)", "Unknown operator"),
        ("y ~ x §+", "misplaced"),
        ("y ~ x §+ *z", "incorrectly used"),
        ("y ~ (a + b)^§b", "positive integer"),
        ("y ~ x + §`1`", "for the intercept"),
        ("y ~ x + (0 + §`1` | g)", "for the intercept"),
        ("y ~ x + §``", "between these backticks"),
        ("§`` ~ x", "between these backticks"),
        ("y ~ x + §2", ""),
        ("y ~ x*§2", ""),
        ("y ~ §2:x", "neither a column"),
        ("y ~ (x + §2 | g)", ""),
        ("y ~ é + (§0 | ü)", "no random effect"),
    ],
)
def test_malformed_text_is_marked(marked, message):
    text, at = marked.replace("§", ""), marked.index("§")
    with pytest.raises(bl.FormulaError) as caught:
        parse(text)
    what, shown, caret = str(caught.value).rsplit("\n", 2)
    assert shown == "    " + text
    assert caret == " " * (4 + at) + "^"
    assert message in what
    assert what.strip()


@pytest.mark.parametrize("text", [None, 5, b"y ~ x"])
def test_a_formula_is_a_text(text):
    with pytest.raises(bl.FormulaError, match="a formula is a text such as"):
        bl.lmer(text, {"y": [1.0, 2.0], "x": [1.0, 3.0]})


def test_parsing_fails_the_same_way_through_lmer():
    with pytest.raises(bl.FormulaError) as caught:
        bl.lmer("Reaction ~ Days + (1 | )", bl.datasets.load("sleepstudy"))
    assert str(caught.value).endswith("\n    Reaction ~ Days + (1 | )\n" + " " * 25 + "^")
