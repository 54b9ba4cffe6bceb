"""Files of statistics made up by somebody: they run nothing, and what is wrong is one error."""

from __future__ import annotations

from contextlib import suppress

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import SufficientStatistics, expression_code
from blocklmm.formula import parse
from formulaic.transforms import TRANSFORMS

from .test_statistics_file import header_of, with_header

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
    for name in expression_code._ROWWISE | expression_code._STATEFUL:
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
