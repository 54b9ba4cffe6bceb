"""What an expression's text says: which columns it names, which functions it calls.

A text is read once, to a tree of Python. What is told of the expression is told of that tree, and
what formulaic evaluates is the same tree as text, which can be read in one way only: columns have
plain names there, not backticks, and literal texts stand outside, as names too.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import FormulaError

CONTEXT: dict[str, Any] = {
    name: getattr(np, name)
    for name in ("sqrt", "abs", "sin", "cos", "tan", "log1p", "expm1", "floor", "ceil")
}
"""Functions that formulas may call and formulaic does not know."""

_ROWWISE = {"I", "log", "log2", "log10", "exp", "exp2", "exp10", *CONTEXT}
_ROWWISE_NUMPY = {"where", "clip", "interp", "digitize", "round", "nan_to_num", "select"}
_MOST_BITS = 1 << 16  # of a whole number: what Python computes in no time
STATEFUL = {"poly", "scale", "center", "standardize", "bs", "cs", "cr", "cc"}
"""Functions that learn a state from the data."""

# What answers True or False of a missing value too, where R has NA, and what asks for such.
_TESTS = {
    *(
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "equal",
        "not_equal",
        "digitize",
        "signbit",
    ),
    *("logical_and", "logical_or", "logical_xor", "logical_not"),
    *("gt", "ge", "lt", "le", "eq", "ne", "between"),
}
_TESTS_FIRST = {"where", "select"}
_SETTLES_MISSING = {
    *("isnan", "isfinite", "isinf", "nan_to_num"),
    *("isna", "isnull", "notna", "notnull", "fillna"),
}

# Columns, constants and arithmetic. Whatever else Python has, from attributes to comprehensions,
# counts as the call of a function that nobody knows.
_KNOWN_NODES = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
    *(ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop),
)
_TOKEN = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?P<quoted>[^`]+)`|(?P<word>[\w.]+)(?![\w.(])"""
)


@dataclass(frozen=True, slots=True)
class Code:
    """An expression as it is evaluated.

    Attributes
    ----------
    text : str
        Python.
    columns : dict of str to str
        Names in it that stand for columns that are called otherwise.
    texts : dict of str to str
        Names in it that stand for texts.
    names : list of str
        Columns and other names, those of functions left out.
    calls : set of str
        Functions that it calls.
    tested : list of str
        Columns that are compared, as in ``I(x > 3)`` or ``np.where(x > 3, 1, 0)``. Where they have
        no value, it has none, unless it asks for that (``np.where(np.isnan(x), 0, x > 3)``).
    """

    text: str
    columns: dict[str, str]
    texts: dict[str, str]
    names: list[str]
    calls: set[str]
    tested: list[str]

    @property
    def is_rowwise(self) -> bool:
        """Whether a row's value depends on nothing but the row."""
        return self.calls <= _ROWWISE

    @property
    def tree(self) -> ast.Expression:
        """The text as Python reads it."""
        return ast.parse(self.text, mode="eval")

    @property
    def has_state(self) -> bool:
        """Whether it learns a state from the data."""
        return bool(self.calls & STATEFUL)

    @property
    def is_of_whole_column(self) -> bool:
        """Whether values may depend on all rows in a way that is not known."""
        return not self.calls <= _ROWWISE | STATEFUL


def read_code(text: str, names: Iterable[str]) -> Code:
    """Read an expression.

    Parameters
    ----------
    text : str
        Python, with backticks round columns that Python reads as something else; ``my.x`` and
        ``yield`` need none.
    names : iterable of str
        The columns that there are.

    Raises
    ------
    FormulaError
        If it is no expression.
    """
    odd = {name for name in names if "." in name or keyword.iskeyword(name)}
    taken = set(re.findall(r"\w+", text))
    plain_names: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        name = match["quoted"] or match["word"]
        if name is None or (match["word"] and name not in odd):
            return match[0]
        if name not in plain_names:
            plain_names[name] = _identifier(name, taken)
        return f" {plain_names[name]} "

    try:
        tree = ast.parse(_TOKEN.sub(plain, text).strip(), mode="eval")
        calls = _calls(tree)
        lifted = _TextsLifted(taken)
        code = ast.unparse(lifted.visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(f"{text!r} is not a valid expression") from None
    if any((_bits(node) or 0) > _MOST_BITS for node in ast.walk(tree)):
        raise FormulaError(f"a whole number in {text!r} is too large: write 9.0**9 for 9**9")
    columns = {plain: name for name, plain in plain_names.items()}
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [
        columns.get(node.id, node.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and id(node) not in functions
    ]
    used = [name for name in dict.fromkeys(found) if name not in lifted.texts and name != "np"]
    told = {columns.get(name, name) for name in _tested(tree)}
    tested = [name for name in used if name in told]
    return Code(code, columns, lifted.texts, used, calls, tested)


class _TextsLifted(ast.NodeTransformer):
    """Puts names in the place of literal texts.

    formulaic writes calls into code of its own, where a quotation mark would end a text.
    """

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self.texts: dict[str, str] = {}

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        name = _identifier("a text", self._taken)
        self.texts[name] = node.value
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        return node


def _bits(node: ast.AST) -> float | None:
    """Return how many bits a whole number may have that an expression makes of constants alone.

    None of anything else. A number is not computed: ``9**9**9`` would keep Python busy for hours.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value.bit_length()
    if isinstance(node, ast.UnaryOp):
        return _bits(node.operand)
    if isinstance(node, ast.Compare):
        return 1
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _bits(node.left), _bits(node.right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Pow | ast.LShift):
        times = float(2.0 ** min(right, 64))
        return left * times if isinstance(node.op, ast.Pow) else left + times
    return left + right if isinstance(node.op, ast.Mult) else max(left, right) + 1


def _identifier(name: str, taken: set[str]) -> str:
    """Return a name that Python reads as one, and that is not taken; it is then."""
    if name.isidentifier() and not keyword.iskeyword(name):
        return name
    out = re.sub(r"\W", "_", name)
    out = f"_{out}" if out[0].isdigit() else out
    while out in taken or keyword.iskeyword(out):
        out += "_"
    taken.add(out)
    return out


def _calls(tree: ast.AST) -> set[str]:
    """Return the names of the functions that are called.

    ``np.`` functions that work row by row count as ``I``; methods, subscripts and the like as a
    name that is nobody's.
    """
    found: set[str] = set()
    known = set()
    for node in ast.walk(tree):  # a call comes before its function
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
        elif isinstance(node, ast.Call) and _is_numpys(node.func):
            found.add("I")
            known.add(id(node.func))
        elif isinstance(node, ast.keyword):
            if node.arg is None or node.arg.startswith("_"):
                found.add("<other>")
        elif not isinstance(node, _KNOWN_NODES) and id(node) not in known:
            found.add("<other>")
    return found


def _tested(tree: ast.AST) -> set[str]:
    """Return the names that are compared, but for those that are asked for missing values."""
    tested: set[str] = set()
    settled: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            tested |= _names(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = node.func.attr
            if called in _SETTLES_MISSING:
                settled |= _names(node)
            elif called in _TESTS:
                tested |= _names(node)
            elif called in _TESTS_FIRST and node.args:
                tested |= _names(node.args[0])
    return tested - settled


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _is_numpys(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id == "np"
        and (called.attr in _ROWWISE_NUMPY or isinstance(getattr(np, called.attr, None), np.ufunc))
    )
