"""Files of statistics made up by somebody: they run nothing, and what is wrong is one error."""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import SufficientStatistics, expression_code
from blocklmm.formula import parse
from formulaic.transforms import TRANSFORMS
from hypothesis import given, settings
from hypothesis import strategies as st

from .bad_data import says
from .test_statistics_file import header_of, places_of, with_header

RNG = np.random.default_rng(5)
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=90),
        "x": RNG.uniform(1, 2, 90),
        "my.x": RNG.normal(size=90),
        "f": RNG.choice(["a", "b", "c"], 90),
        "g": RNG.integers(0, 9, 90),
    }
)

# what an attacker would run in place of P, in expressions of x and numbers
ATTACKS = {
    "a call": "I(x + 0 * P)",
    "backticks in texts": "I(x + 0 * ({'`': P} == {'`': 0}))",
    "backticks in texts of two kinds": "I(x + 0 * ('`' == P) + 0 * (\"`\" == 0))",
    "a lambda": "I(x + 0 * (lambda: P)())",
    "a comprehension": "I(x + 0 * [P for x in [1]][0])",
    "a generator": "I(x + 0 * sum(P for x in [1]))",
    "a formatted text": "I(x + 0 * (f'{P}' == 0))",
    "a walrus": "I((x := P) + 1)",
    "a subscript": "I(x[P])",
    "an attribute of a call": "I(x + 0 * P.real)",
    "a method": "I(x.pipe(P))",
    "a dunder": "I(x + 0 * x.__init__.__globals__['__builtins__']['eval']('P'))",
    "a function's globals": "I(x + 0 * np.where.__globals__['__builtins__']['eval']('P'))",
    "another function of numpy": "I(x + 0 * np.apply_over_axes(P, x, 0))",
    "an argument": "scale(x, P)",
    "a keyword": "scale(x, ddof=P)",
    "keywords": "scale(x, **{'ddof': P})",
    "formulaic's own keyword": "scale(x, _state=P)",
    "a choice": "I(x if P else 2 * x)",
    "a conditional": "I(x * (P and 1))",
    "braces": "I(x)} + {I(P)",
}


def expressions_in(value):
    """The JSON objects of a header that hold an expression."""
    if isinstance(value, dict):
        if "suffixes" in value:
            yield value
        for inner in value.values():
            yield from expressions_in(inner)


FORMULAS = {
    "a term": ("y ~ I(x + 1) + (1 | g)", {}),
    "a random term": ("y ~ 1 + (I(x + 1) | g)", {}),
    "the response": ("log(x + 1) ~ f + (1 | g)", {}),
    "an offset": ("y ~ f + offset(log(x)) + (1 | g)", {}),
    "the weights": ("y ~ f + (1 | g)", {"weights": "1 / x"}),
    "a category": ("y ~ C(I(x > 1.5)) + (1 | g)", {}),
}


@pytest.mark.parametrize("place", FORMULAS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_expressions_of_a_file_run_no_code(tmp_path, place, attack):
    ran = tmp_path / "ran"
    payload = f"__import__('os').mkdir({str(ran)!r})"
    eval(payload)  # it does what it should
    ran.rmdir()
    formula, options = FORMULAS[place]
    path = tmp_path / "s"
    SufficientStatistics.from_data(formula, DATA, **options).save(path, min_cell=0)
    header = header_of(path.read_bytes())
    (expression,) = expressions_in(header["design"])
    code = ATTACKS[attack].replace("P", payload)
    expression |= {"text": code, "quoted": code}
    path.write_bytes(with_header(path.read_bytes(), header))
    with pytest.raises((bl.StatisticsFileError, bl.DataError)) as caught:
        SufficientStatistics.load(path).update(DATA)
    assert not ran.exists()
    assert "depends on the whole column" in str(caught.value) or path.name in str(caught.value)
    with suppress(bl.StatisticsFileError, bl.DataError):
        SufficientStatistics.load(path).fit().predict(DATA)
    assert not ran.exists()


@pytest.mark.parametrize(
    "attack",
    [
        "y ~ {P(x)} + (1 | g)",
        'y ~ {P(x)} + {x #"} ~ {x #"} + (1 | g)',
        'y ~ 1 + ({P(x)} + {x #"} ~ {x #"} | g)',
        "P(x) ~ x + (1 | g)",
        "y ~ x + offset(P(x)) + (1 | g)",
        "y ~ C(x, P(x)) + (1 | g)",
        "y ~ x + (1 | `P(x)`)",
    ],
)
def test_formulas_of_a_file_run_no_code(tmp_path, attack):
    ran = tmp_path / "ran"
    formula = attack.replace("P", f"__import__('os').mkdir('{ran}')")
    path = tmp_path / "s"
    SufficientStatistics.from_data("y ~ x + (1 | g)", DATA).save(path, min_cell=0)
    header = header_of(path.read_bytes())
    header["design"]["formula"] = formula
    path.write_bytes(with_header(path.read_bytes(), header))
    with suppress(bl.BlocklmmError):
        SufficientStatistics.load(path).update(DATA).fit().predict(DATA)
    assert not ran.exists()
    with suppress(bl.BlocklmmError):
        parse(formula)
    assert not ran.exists()


def test_functions_of_files_are_those_of_formulas():
    for name in expression_code._ROWWISE | expression_code.STATEFUL:
        assert callable(expression_code.CONTEXT.get(name) or TRANSFORMS[name])


@pytest.mark.parametrize(
    "term",
    [
        "I(f == 'a')",
        'I(x * (f != "it\'s"))',
        "np.where(x > 1.5, x, 0)",
        "np.clip(x, None, 1.5)",
        "np.interp(x, [1, 2], [0, 3])",
        "I(-x**2 / (1 + log(x)))",
        "I((x > 1.2) & (x != 1.8))",
        "scale(my.x)",
        "I(`my.x` + my.x)",
        "cr(x, df=3, constraints='center')",
        "bs(x, knots=[1.3, 1.6], degree=2)",
    ],
)
def test_what_files_may_hold(tmp_path, term):
    formula = f"y ~ {term} + (1 | g)"
    SufficientStatistics.from_data(formula, DATA).save(tmp_path / "s", min_cell=0)
    found = SufficientStatistics.load(tmp_path / "s").fit().predict(DATA)
    np.testing.assert_array_equal(found, bl.lmer(formula, DATA).predict(DATA))


# -- headers -------------------------------------------------------------------------------------

MODELS = {
    "one factor": ("y ~ x * f + (x | g)", {}),
    "two factors": ("y ~ x + (x | g) + (1 | f)", {}),
    "contrasts": ("y ~ C(f) * x + (1 | g)", {"contrasts": {"f": "sum"}}),
    "no intercept": ("y ~ 0 + f + f:x + (0 + x || g)", {}),
    "learnt": ("log(y + 9) ~ bs(x, df=4) + scale(my.x) + (1 | g)", {"weights": "x"}),
    "no groups": ("y ~ x + f", {"offset": "my.x"}),
    "removable": ("y ~ x + (x | g)", {"keep_groups": True}),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of each model, and a folder for others."""
    folder = tmp_path_factory.mktemp("written")
    out = {}
    for name, (formula, options) in MODELS.items():
        SufficientStatistics.from_data(formula, DATA, **options).save(folder / "s", min_cell=0)
        out[name] = (folder / "s").read_bytes()
    return folder, out


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        ("one factor", ("design", "x_columns", 1), 40),
        ("one factor", ("design", "x_columns", 1), -1),
        ("one factor", ("design", "x_columns", 1), 1.0),
        ("one factor", ("design", "x_names"), ["a", "b"]),
        ("one factor", ("design", "x_names", 1), None),
        ("one factor", ("design", "x_names", 1), "Intercept"),
        ("one factor", ("design", "x_terms", 1), ["f"]),
        ("one factor", ("design", "z_anchor"), [7, 7]),
        ("one factor", ("design", "z_anchor"), [1, 1]),
        ("one factor", ("design", "z_names"), 3),
        ("one factor", ("design", "blocks"), [3]),
        ("one factor", ("design", "blocks"), []),
        ("one factor", ("design", "term_groups"), [1]),
        ("one factor", ("design", "groups"), [["f"]]),
        ("one factor", ("design", "formula"), "y ~ x * f + (x | f)"),
        ("one factor", ("design", "formula"), "y ~ f + (x | g)"),
        ("one factor", ("design", "ones"), [1.0]),
        ("one factor", ("design", "sources", 0), ["y", "nothing", 0, None]),
        ("one factor", ("design", "sources", 0, 2), 1),
        ("one factor", ("design", "sources", 0, 3), "weights"),
        ("one factor", ("design", "arrays"), ["weights"]),
        ("one factor", ("design", "weight"), 99),
        ("one factor", ("design", "weight"), 10**12),
        ("one factor", ("design", "response"), -5),
        ("one factor", ("design", "recipes", 0), ["numeric", 9]),
        ("one factor", ("design", "recipes", 0), ["lookup", 0, [1.0, 2.0]]),
        ("one factor", ("design", "inner_shifts", 0, 1), 77),
        ("one factor", ("design", "factors", "f", "levels"), ["a", "b"]),
        ("one factor", ("design", "factors", "f", "levels"), ["a", "b", "b"]),
        ("one factor", ("design", "factors", "f", "levels"), ["a", "b", None]),
        ("one factor", ("design", "factors", "x"), {"kind": "number", "name": 5}),
        ("one factor", ("factors", 0, "columns"), [0, 1]),
        ("one factor", ("factors", 0, "columns", 0), 10**12),
        ("one factor", ("factors", 0, "n_random"), 1),
        ("one factor", ("factors", 0, "labels"), []),
        ("one factor", ("factors", 0, "group"), ["f"]),
        ("one factor", ("factors", 0, "in_order"), 2),
        ("one factor", ("factors",), []),
        ("one factor", ("n_columns",), 10**12),
        ("one factor", ("n_rows_used",), 89),
        ("one factor", ("n_rows_used",), True),
        ("one factor", ("n_rows_seen",), 5),
        ("one factor", ("log_weights",), None),
        ("one factor", ("dropped", "n_rows"), "0"),
        ("one factor", ("dropped", "by_column"), {"x": None}),
        ("one factor", ("keeps_groups",), True),
        ("two factors", ("pairs",), []),
        ("two factors", ("pairs", 0, "minor"), 7),
        ("two factors", ("pairs", 0, "block_size"), 1),
        ("contrasts", ("design", "factors", "C(f)", "contrasts", "matrix"), [[1.0], [0.0], [0.0]]),
        ("contrasts", ("design", "factors", "C(f)", "contrasts", "names"), ["one"]),
        ("no intercept", ("design", "columns", 0), [0, "yes"]),
        ("learnt", ("design", "factors", "bs(x, df=4)", "suffixes"), ["[1]", "[2]"]),
        ("learnt", ("design", "factors", "bs(x, df=4)", "suffixes"), "abcd"),
        ("learnt", ("design", "factors", "bs(x, df=4)", "variables"), ["y"]),
        ("learnt", ("design", "factors", "bs(x, df=4)", "transforms"), None),
        ("learnt", ("design", "factors", "bs(x, df=4)", "transforms"), {"items": [["bs", 3]]}),
        (
            "learnt",
            ("design", "factors", "scale(my.x)", "transforms", "items", 0, 1, "items", 0, 1),
            [[1, 2], [3]],
        ),
        ("no groups", ("design", "offsets"), [-1]),
        ("removable", ("keeps_groups",), False),
    ],
    ids=range(60),
)
def test_headers_that_do_not_hold_together(written, model, path, value):
    folder, files = written
    header = header_of(files[model])
    inner = header
    for key in path[:-1]:
        inner = inner[key]
    assert inner[path[-1]] != value or type(inner[path[-1]]) is not type(value)
    inner[path[-1]] = value
    (folder / "odd").write_bytes(with_header(files[model], header))
    with says(bl.StatisticsFileError, "odd", "holds no statistics"):
        SufficientStatistics.load(folder / "odd")


def test_arrays_that_are_no_sums(written):
    folder, files = written
    for name in ("shift", "sums", "cross", "factor0.records"):
        content = bytearray(files["one factor"])
        (place,) = (found for found in header_of(content)["arrays"] if found[0] == name)
        start = -(-(24 + int.from_bytes(content[16:24], "little")) // 64) * 64
        content[start + place[3] : start + place[3] + 8] = np.array([np.nan]).tobytes()
        (folder / "odd").write_bytes(with_header(content, header_of(content)))
        with says(bl.StatisticsFileError, "odd", name):
            SufficientStatistics.load(folder / "odd")


USES = {
    "fit": lambda found: found.fit(),
    "effects": lambda found: (found.fit().coef(), found.fit().summary()),
    "tests": lambda found: bl.anova(found.fit()),
    "sum": lambda found: (found + found).fit(),
    "predict": lambda found: found.fit().predict(DATA),
    "update": lambda found: found.update(DATA).fit(),
    "submodel": lambda found: found.submodel("y ~ x + (1 | g)").fit(),
    "sizes": lambda found: (repr(found), found.group_sizes()),
}


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_is_loaded_can_be_used(written, data):
    """No accident makes such headers: what is wrong is found, or else no use fails for it."""
    folder, files = written
    name = data.draw(st.sampled_from(sorted(files)))
    header = header_of(files[name])
    places = [path for path in places_of(header) if path[0] != "arrays"]
    *before, last = data.draw(st.sampled_from(places))
    inner = header
    for key in before:
        inner = inner[key]
    beside = list(inner.values() if isinstance(inner, dict) else inner)
    odd = [None, -1, 0, 1, 3, 10**12, 1.5, True, "x", "y", [], {}, [1, 2], ["f", "x"], *beside]
    inner[last] = copy.deepcopy(data.draw(st.sampled_from(odd)))
    (folder / "odd").write_bytes(with_header(files[name], header))
    try:
        SufficientStatistics.load(folder / "odd")
    except bl.StatisticsFileError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bl.BlocklmmWarning)
        for use in USES.values():
            with suppress(bl.BlocklmmError):
                use(SufficientStatistics.load(folder / "odd"))
