"""Formula text to terms; no data here.

The fixed part is parsed by formulaic. Random terms are lme4's (Bates, Mächler, Bolker & Walker
2015, table 2): ``(x | g)``, ``(0 + x | g)``, ``(x || g)``, ``(1 | a/b)``, ``(1 | a:b)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from formulaic.errors import FormulaicError
from formulaic.parser import DefaultFormulaParser

from .errors import FormulaError

Term = tuple[str, ...]
"""The factors of a term, in the formula's order; ``()`` is the intercept."""

_OPEN, _CLOSE = "([{", ")]}"
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


@lru_cache(maxsize=256)
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
        raise FormulaError(f"a formula is a text such as 'y ~ x + (1 | g)', not {text!r}")
    tildes, groups = _scan(text)
    if len(tildes) != 1:
        at = tildes[1] if tildes else len(text)
        raise _error(text, at, "a formula has one '~' between the response and the terms")
    tilde = tildes[0]
    response = text[:tilde].strip()
    if not response:
        raise _error(text, tilde, "there is no response left of '~'")

    random: list[RandomTerm] = []
    pieces: list[str] = []
    placeholders: dict[str, int] = {}
    at = tilde + 1
    for start, bar, width, end in groups:
        if start < tilde:
            raise _error(text, bar, "a random term stands left of '~'")
        placeholder = f"__random_{len(placeholders)}__"
        placeholders[placeholder] = start
        pieces += [text[at:start], placeholder]
        at = end
        random += _random_terms(text, start, bar, width, end)
    pieces.append(text[at:])
    fixed = _terms("".join(pieces), text, tilde + 1, bare=not placeholders)

    kept = []
    for term in fixed:
        inside = [f for f in term if f in placeholders]
        if not inside:
            kept.append(term)
        elif len(term) > 1:
            raise _error(
                text, placeholders[inside[0]], "a random term can only be added to the others"
            )
    offsets = tuple(
        match[1] for t in kept if len(t) == 1 and (match := re.fullmatch(r"offset\((.*)\)", t[0]))
    )
    kept = [t for t in kept if not (len(t) == 1 and t[0].startswith("offset("))]
    return Formula(text, _python(response), tuple(kept), tuple(random), offsets)


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
    left, right = text[start + 1 : bar], text[bar + width : end - 1]
    if not left.strip():
        raise _error(text, bar, "nothing stands left of the bar; a random intercept is (1 | g)")
    if not right.strip():
        raise _error(text, bar, "no grouping factor stands right of the bar")
    terms = tuple(_terms(left, text, start + 1))
    if not terms:
        raise _error(text, start + 1, "no random effect is left in this term")
    blocks = [terms] if width == 1 else [(term,) for term in terms]
    return [
        RandomTerm(block, group, text[start:end])
        for group in _groups(right, text, bar + width)
        for block in blocks
    ]


def _groups(right: str, text: str, offset: int) -> list[tuple[str, ...]]:
    """Expand ``a/b`` to ``a`` and ``b:a``; ``a:b`` stays one factor."""
    parts: list[tuple[str, ...]] = []
    at = 0
    for piece in re.split(r"(/)", right):
        if piece != "/":
            names = []
            for name in piece.split(":"):
                match = re.fullmatch(
                    r"\s*(?:(?:factor|as\.factor|C)\(\s*)?(`[^`]+`|[\w.]+)\s*\)?\s*", name
                )
                if not match or not match[1] or match[1].isdigit():
                    raise _error(
                        text,
                        offset + at + len(piece) - len(piece.lstrip()),
                        "a grouping factor is a column, or columns joined by ':' or '/'",
                    )
                names.append(match[1].strip("`"))
            parts.append(tuple(names))
        at += len(piece)
    out: list[tuple[str, ...]] = []
    for part in parts:
        out.append(part + (out[-1] if out else ()))
    return out


def _terms(part: str, text: str, offset: int, bare: bool = True) -> list[Term]:
    """Parse one side of a formula or of a bar; terms come by degree, then as written."""
    if not part.strip() and bare:
        raise _error(text, offset, "there are no terms right of '~'")
    if dot := re.search(r"(?<![\w.])\.(?![\w.])", part):
        raise _error(
            text,
            offset + dot.start(),
            "'.' for all other columns is not supported: name the columns",
        )
    try:
        parsed = list(_PARSER.get_terms(_python(part)))
    except FormulaicError as error:
        message = str(error)
        if "⧛" in message:
            head, _, marked = message.partition("\n\n")
            place = len(re.sub(r"⧛\[[\d;]*m", "⧛", marked).split("⧛")[0])
            raise _error(text, offset + place, head) from None
        raise _error(text, offset, message.split("\n")[0]) from None
    except (SyntaxError, TypeError, ValueError) as error:
        raise _error(text, offset, str(error)) from None
    order: dict[str, int] = {}
    for term in parsed:
        for factor in term.factors:
            order.setdefault(factor.expr, len(order))
    terms = []
    for term in parsed:
        factors = [f.expr for f in term.factors if f.eval_method.name != "LITERAL"]
        literals = [f.expr for f in term.factors if f.eval_method.name == "LITERAL"]
        if any(value != "1" for value in literals):
            raise _error(
                text,
                max(text.find(literals[0], offset), offset),
                f"{literals[0]} is neither a column nor 0 or 1; numbers go inside I()",
            )
        terms.append(tuple(sorted(factors, key=order.__getitem__)))
    return sorted(dict.fromkeys(terms), key=len)


def _python(part: str) -> str:
    """R's spelling to Python's: ``^`` inside a call is a power, ``factor`` is ``C``."""
    part = re.sub(r"\b(?:as\.)?factor\s*\(", "C(", part)
    out, depth, calls = [], 0, []
    for at, c in enumerate(part):
        if c == "(":
            calls.append(bool(re.search(r"[\w.]\s*$", part[:at])))
            depth += calls[-1]
        elif c == ")" and calls:
            depth -= calls.pop()
        out.append("**" if c == "^" and depth else c)
    return "".join(out)


def _error(text: str, at: int, message: str) -> FormulaError:
    return FormulaError(f"{message}\n    {text}\n    {' ' * at}^")
