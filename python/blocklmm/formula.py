"""Formula text to terms; no data here.

The fixed part is parsed by formulaic. Random terms are lme4's (Bates, Mächler, Bolker & Walker
2015, table 2): ``(x | g)``, ``(0 + x | g)``, ``(x || g)``, ``(1 | a/b)``, ``(1 | a:b)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from formulaic.errors import FormulaicError
from formulaic.parser import DefaultFormulaParser
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Token

from .errors import FormulaError

Term = tuple[str, ...]
"""The factors of a term, in the formula's order; ``()`` is the intercept."""

_OPEN, _CLOSE = "([{", ")]}"
_NUMBER = "{} is neither a column nor 0 or 1; numbers go inside I()"
_BACKTICKS = "a name with spaces or signs stands in backticks"
_PARSER = DefaultFormulaParser(include_intercept=True)


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One block of correlated random effects: the terms left of the bar, the columns right of it.

    ``group`` holds the columns whose joint levels are the groups, in lme4's order of naming:
    ``(1 | batch/cask)`` has the groups ``("batch",)`` and ``("cask", "batch")``.
    """

    terms: tuple[Term, ...]
    group: tuple[str, ...]
    text: str

    @property
    def group_name(self) -> str:
        """lme4's name of the grouping factor, such as ``cask:batch``."""
        return ":".join(self.group)


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula."""

    text: str
    response: str
    fixed: tuple[Term, ...]
    random: tuple[RandomTerm, ...]
    offsets: tuple[str, ...]


def parse(text: str) -> Formula:
    """Parse a mixed-model formula.

    Parameters
    ----------
    text : str
        Such as ``"y ~ x + (x | g)"``. R's spellings ``^`` inside ``I()``, ``factor(x)`` and
        ``offset(z)`` mean what they mean in R.

    Raises
    ------
    FormulaError
        With a caret under the place that can't be understood.
    """
    if not isinstance(text, str):
        raise FormulaError(
            f"a formula is a text such as 'y ~ x + (1 | g)', and comes before the data; given was "
            f"{_shown(text)}"
        )
    return _parse(text)


def parse_one_sided(text: str) -> Formula:
    """Parse a formula without a response, such as ``"~ x + (x | g)"``.

    Raises
    ------
    FormulaError
        With a caret under the place that can't be understood, or under a response.
    """
    if not isinstance(text, str):
        raise FormulaError(
            f"a formula is a text such as '~ x + (1 | g)', and comes before the data; given was "
            f"{_shown(text)}"
        )
    return _parse(text, is_one_sided=True)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


@lru_cache(maxsize=256)
def _parse(text: str, is_one_sided: bool = False) -> Formula:
    tildes, groups = _scan(text)
    if len(tildes) != 1:
        at = tildes[1] if tildes else len(text)
        raise _error(text, at, "a formula has one '~' between the response and the terms")
    tilde = tildes[0]
    response = text[:tilde].strip()
    if is_one_sided and response:
        at = len(text) - len(text.lstrip())
        raise _error(text, at, "the responses are the columns of Y: nothing stands left of '~'")
    if not is_one_sided and not response:
        raise _error(text, tilde, "there is no response left of '~'")

    random: list[RandomTerm] = []
    fixed_part = _Part("", [])
    placeholders: dict[str, int] = {}
    at = tilde + 1
    for start, bar, width, end in groups:
        if start < tilde:
            raise _error(text, bar, "a random term stands left of '~'")
        placeholder = f"_random_{len(placeholders)}_"
        placeholders[placeholder] = start
        fixed_part += _translate(text, at, start)
        fixed_part += _Part(placeholder, [start] * len(placeholder))
        at = end
        random += _random_terms(text, start, bar, width, end)
    fixed_part += _translate(text, at, len(text))
    if not fixed_part.text.strip():
        raise _error(text, tilde + 1, "there are no terms right of '~'")

    kept, offsets = [], []
    for term in _terms(fixed_part, text):
        inside = [p for p in placeholders if any(p in factor for factor in term)]
        if inside and term != (inside[0],):
            place = placeholders[inside[0]]
            raise _error(text, place, "a random term can only be added to the others")
        offset = re.fullmatch(r"offset\((.*)\)", term[0]) if len(term) == 1 else None
        if offset:
            offsets.append(offset[1])
        elif not inside:
            kept.append(term)
    value = arithmetic(response) if response else ""
    return Formula(text, value, tuple(kept), tuple(random), tuple(offsets))


def factors_of(formula: Formula) -> list[str]:
    """Return the factors of a formula's terms, those left of bars included."""
    terms = [*formula.fixed, *(term for random in formula.random for term in random.terms)]
    return list(dict.fromkeys(factor for term in terms for factor in term))


def values_of(formula: Formula, *others: object) -> list[str]:
    """Return what a formula reads as values: response, offsets, and others where they are texts."""
    texts = [formula.response, *formula.offsets]
    texts += [arithmetic(value) for value in others if isinstance(value, str)]
    return list(dict.fromkeys(texts))


def names_of(formula: Formula, columns: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Return the names that may be columns among what a model reads.

    Parameters
    ----------
    formula : Formula
    columns : mapping, optional
        Its weights, offset, contrasts and levels: values, or mappings from columns.
    """
    given = (columns or {}).values()
    groups = (name for term in formula.random for name in term.group)
    keys = (str(key) for mapping in given if isinstance(mapping, Mapping) for key in mapping)
    texts = [*factors_of(formula), *values_of(formula, *given)]
    return frozenset(chain(groups, keys, *map(names_in, texts)))


def names_in(text: str) -> set[str]:
    """Return the names that may be columns in a factor of a term or a value.

    Names that are called and those of arguments are none; ``a.b`` may be a column or ``a`` alone.
    """
    names = {text.strip().strip("`")}
    for found in _NAME.finditer(text):
        parts = (found["plain"] or "").split(".")
        parts = parts[:-1] if found["call"] else parts
        names |= {".".join(parts[: k + 1]) for k in range(len(parts))} | {found["quoted"] or ""}
    return names - {""}


_NAME = re.compile(
    r"""`(?P<quoted>[^`]+)` | '[^']*' | "[^"]*" | (?<![\w.])[^\W\d]\w*\s*=(?!=)
    | (?<![\w.])(?P<plain>[^\W\d][\w.]*)(?P<call>\s*\()?""",
    re.VERBOSE,
)


def arithmetic(text: str) -> str:
    """Translate what is no term but a value: a response, an offset, weights."""
    return _translate(text, 0, len(text), is_value=True).text.strip()


def in_r(text: str) -> str:
    """Return a factor of a term with R's sign for powers, ``I(x^2)``."""
    return text.replace(" ** ", "^").replace("**", "^")


@dataclass(frozen=True, slots=True)
class _Part:
    """Text for formulaic, and where in the formula each of its characters comes from."""

    text: str
    places: list[int]

    def __add__(self, other: _Part) -> _Part:
        return _Part(self.text + other.text, self.places + other.places)

    def place(self, at: int) -> int:
        """Return the place in the formula of a character here."""
        if not self.places:
            return 0
        return self.places[at] if at < len(self.places) else self.places[-1] + 1


def _scan(text: str) -> tuple[list[int], list[tuple[int, int, int, int]]]:
    """Find the tildes outside brackets, and (start, bar, width of bar, end) of random terms."""
    tildes: list[int] = []
    groups: list[tuple[int, int, int, int]] = []
    stack: list[tuple[int, list[tuple[int, int]], bool]] = []
    at = 0
    while at < len(text):
        c = text[at]
        if c in "'\"`":
            end = text.find(c, at + 1)
            if end < 0:
                raise _error(text, at, f"this {c} is never closed")
            if c == "`" and end == at + 1:
                raise _error(text, at, "nothing stands between these backticks")
            at = end
        elif c in _OPEN:
            called = at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_.`")
            stack.append((at, [], called))
        elif c in _CLOSE:
            if not stack or text[stack[-1][0]] != _OPEN[_CLOSE.index(c)]:
                raise _error(text, at, f"this '{c}' has no opening bracket")
            start, bars, called = stack.pop()
            if bars and not called:
                if len(bars) > 1:
                    raise _error(text, bars[1][0], "a random term has one bar")
                if stack:
                    raise _error(text, start, "a random term can't stand inside other brackets")
                groups.append((start, *bars[0], at + 1))
        elif c == "|":
            width = 2 if text[at : at + 2] == "||" else 1
            if not stack:
                raise _error(text, at, "a random term is written in parentheses: (1 | g)")
            stack[-1][1].append((at, width))
            at += width - 1
        elif c == "~":
            if stack:
                raise _error(text, at, "'~' stands inside brackets")
            tildes.append(at)
        at += 1
    if stack:
        raise _error(text, stack[-1][0], f"this '{text[stack[-1][0]]}' is never closed")
    return tildes, groups


def _random_terms(text: str, start: int, bar: int, width: int, end: int) -> list[RandomTerm]:
    left = _translate(text, start + 1, bar)
    if not left.text.strip():
        raise _error(text, bar, "nothing stands left of the bar; a random intercept is (1 | g)")
    if not text[bar + width : end - 1].strip():
        raise _error(text, bar, "no grouping factor stands right of the bar")
    terms = tuple(_terms(left, text))
    if not terms:
        raise _error(text, start + 1, "no random effect is left in this term")
    blocks = [terms] if width == 1 else [(term,) for term in terms]
    return [
        RandomTerm(block, group, text[start:end])
        for group in _groups(text, bar + width, end - 1)
        for block in blocks
    ]


_GROUP = re.compile(
    r"\s*\(*\s*(?:(?:factor|as\.factor|C)\(\s*)?(?:`([^`]+)`|([^\W\d][\w.]*))[\s)]*(?:([:/])|$)"
)


def _groups(text: str, start: int, end: int) -> list[tuple[str, ...]]:
    """Expand ``a/b`` to ``a`` and ``b:a``; ``a:b`` stays one factor."""
    levels: list[list[str]] = [[]]
    at = start
    separator = None
    while at < end or separator:
        match = _GROUP.match(text[start:end], at - start)
        if not match:
            while at < end and text[at].isspace():
                at += 1
            raise _error(
                text,
                at,
                "a grouping factor is a column, or columns joined by ':' or '/'; "
                f"{_BACKTICKS}, as in (1 | `my group`)",
            )
        levels[-1].append(match[1] or match[2])
        at, separator = start + match.end(), match[3]
        if separator == "/":
            levels.append([])
    out: list[tuple[str, ...]] = []
    for level in levels:
        out.append(tuple(level) + (out[-1] if out else ()))
    return out


def _terms(part: _Part, text: str) -> list[Term]:
    """Parse one side of a formula or of a bar; terms come by degree, then as written."""
    if dot := re.search(r"(?<![\w.`])\.(?![\w.`])", part.text):
        message = "'.' for all other columns is not supported: name the columns"
        raise _error(text, part.place(dot.start()), message)
    try:
        # a tilde that only formulaic sees, behind a "#": it would evaluate calls left of it
        tokens = list(tokenize(part.text))
        if any(t.kind is Token.Kind.OPERATOR and "~" in t.token for t in tokens):
            raise ValueError("'~' stands among the terms")
        parsed = list(_PARSER.get_terms(part.text))
    except FormulaicError as error:
        message = str(error)
        head, _, marked = message.partition("\n\n")
        plain = re.sub(r"⧛\[[\d;]*m", "⧛", marked).split("⧛")
        at = len(plain[0]) if len(plain) > 1 else len(part.text) - len(part.text.lstrip())
        if head.startswith("Numeric literals"):
            head = _NUMBER.format("a number")
        if head.startswith("Missing operator"):
            head = f"{head.rstrip('.')}; {_BACKTICKS}, as in `my column`"
        if head.startswith("Unknown operator"):
            head = f"{head.rstrip('.')}: comparisons go inside I(), as in I(x > 10)"
        raise _error(text, part.place(at), head.split("\n")[0]) from None
    except (SyntaxError, TypeError, ValueError) as error:
        what = "this" if isinstance(error, SyntaxError) else f"this ({error})"
        raise _error(text, part.place(0), f"{what} can't be read as terms of a formula") from None
    for token in tokens:
        if token.kind is Token.Kind.NAME and token.token == "1":
            message = "formulaic takes a column called '1' for the intercept: rename it"
            raise _error(text, part.place(token.source_start or 0), message)
    order: dict[str, int] = {}
    for term in parsed:
        for factor in term.factors:
            order.setdefault(factor.expr, len(order))
    terms = []
    for term in parsed:
        factors = [f.expr for f in term.factors if f.eval_method.name != "LITERAL"]
        literals = [f.expr for f in term.factors if f.eval_method.name == "LITERAL"]
        if any(value != "1" for value in literals):
            at = part.place(max(part.text.find(literals[0]), 0))
            raise _error(text, at, _NUMBER.format(literals[0]))
        terms.append(tuple(sorted(factors, key=order.__getitem__)))
    return sorted(dict.fromkeys(terms), key=len)


def _translate(text: str, start: int, end: int, is_value: bool = False) -> _Part:
    """Turn R's spelling into Python's: ``^`` in a call is a power, ``factor`` is ``C``."""
    out: list[str] = []
    places: list[int] = []
    calls: list[bool] = []
    at = start
    while at < end:
        c, width = text[at], 1
        new = c
        if c in "'\"`":
            width = text.index(c, at + 1) + 1 - at
            new = text[at : at + width]
        elif match := _R_WORDS.match(text, at):
            new, width = _PYTHON_WORDS[match[0]], match.end() - at
        elif c == "(":
            calls.append(bool(re.search(r"[\w.]\s*$", text[start:at])))
        elif c == ")" and calls:
            calls.pop()
        elif c == "^" and (is_value or any(calls)):
            new = "**"
        elif c == "\n":
            new = " "
        out.append(new)
        places += range(at, at + width) if len(new) == width else [at] * len(new)
        at += width
    return _Part("".join(out), places)


_R_WORDS = re.compile(r"(?<![\w.])(?:(?:as\.)?factor(?=\s*\()|TRUE(?![\w.])|FALSE(?![\w.]))|%in%")
_PYTHON_WORDS = {
    "factor": "C",
    "as.factor": "C",
    "TRUE": "True",
    "FALSE": "False",
    "%in%": ":",
}


def _error(text: str, at: int, message: str) -> FormulaError:
    before = text[:at].rfind("\n") + 1
    after = text.find("\n", at)
    line = text[before : after if after >= 0 else len(text)]
    return FormulaError(f"{message}\n    {line}\n    {' ' * (at - before)}^")
