"""Linear functions of coefficients as texts: ``"Days - 10"``, ``"A[T.b] = A[T.c]"``.

Names of coefficients may hold anything (``I(x ** 2)``, ``a[T.b c]:x``), so where an operand is due
the longest name that fits is taken before anything else is read.

    equation := sum [("=" | "==") sum]
    sum      := ["+" | "-"] product (("+" | "-") product)*
    product  := operand (("*" | "/") operand)*
    operand  := name | number | "(" sum ")"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm.errors import DataError, did_you_mean

FloatArray = npt.NDArray[np.float64]

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_AFTER_NAME = re.compile(r"\s*([-+*/=)]|$)")
_WORD = re.compile(r"[\w.`]+(\[[^\]]*\]|\([^)]*\))*(:[\w.`]+(\[[^\]]*\]|\([^)]*\))*)*")


@dataclass(frozen=True, slots=True)
class LinearFunction:
    """weights'beta + constant."""

    weights: FloatArray
    constant: float

    def plus(self, other: LinearFunction, sign: float = 1.0) -> LinearFunction:
        """Return the sum of two, or their difference."""
        return LinearFunction(
            self.weights + sign * other.weights, self.constant + sign * other.constant
        )

    def times(self, factor: float) -> LinearFunction:
        """Return a multiple."""
        return LinearFunction(factor * self.weights, factor * self.constant)

    @property
    def is_constant(self) -> bool:
        """Whether no coefficient is in it."""
        return not self.weights.any()


def parse_linear(
    text: str, names: Sequence[str], dropped: Sequence[str] = ()
) -> tuple[LinearFunction, float | None]:
    """Read a linear function of coefficients, or an equation of two.

    Parameters
    ----------
    text : str
    names : sequence of str
        The coefficients.
    dropped : sequence of str
        Coefficients that are not in the model, for messages.

    Returns
    -------
    function : LinearFunction
        What stands left of "=", less the coefficients on its right.
    value : float or None
        The number on the right; None without "=".

    Raises
    ------
    DataError
        With a caret under the place that can't be read.
    """
    return _Reader(text, names, dropped).equation()


class _Reader:
    def __init__(self, text: str, names: Sequence[str], dropped: Sequence[str]) -> None:
        self.text, self.at = text.replace("`", ""), 0  # names are kept without them
        self.names, self.dropped = list(names), list(dropped)
        self.longest_first = sorted([*self.names, *self.dropped], key=len, reverse=True)

    def equation(self) -> tuple[LinearFunction, float | None]:
        function, value = self.sum(), None
        if self.take("==") or self.take("="):
            right = self.sum()
            function = function.plus(LinearFunction(right.weights, 0.0), -1.0)
            value = right.constant
        self.skip()
        if self.at < len(self.text):
            raise self.error("this can't be read as part of a linear function")
        if function.is_constant:
            self.at = 0
            raise self.error("no coefficient is left in this")
        return function, value

    def sum(self) -> LinearFunction:
        sign = -1.0 if self.take("-") else 1.0
        if sign > 0:
            self.take("+")
        out = self.product().times(sign)
        while True:
            if self.take("+"):
                out = out.plus(self.product())
            elif self.take("-"):
                out = out.plus(self.product(), -1.0)
            else:
                return out

    def product(self) -> LinearFunction:
        out = self.operand()
        while True:
            self.skip()
            start = self.at
            if self.take("*"):
                other = self.operand()
                if not (out.is_constant or other.is_constant):
                    self.at = start
                    raise self.error("a product of coefficients is not linear in them")
                factor, rest = (out, other) if out.is_constant else (other, out)
                out = rest.times(factor.constant)
            elif self.take("/"):
                other = self.operand()
                if not other.is_constant or other.constant == 0:
                    self.at = start
                    raise self.error("coefficients can only be divided by numbers other than 0")
                out = out.times(1 / other.constant)
            else:
                return out

    def operand(self) -> LinearFunction:
        self.skip()
        weights = np.zeros(len(self.names))
        for name in self.longest_first:
            if self.text.startswith(name, self.at):
                if not _AFTER_NAME.match(self.text, self.at + len(name)):
                    continue
                if name in self.dropped:
                    raise self.error(
                        f"{name!r} was dropped, because its column depends on those before it, and "
                        "can't be estimated; leave it out"
                    )
                self.at += len(name)
                weights[self.names.index(name)] = 1.0
                return LinearFunction(weights, 0.0)
        if number := _NUMBER.match(self.text, self.at):
            if np.isinf(float(number[0])):
                raise self.error("the number is too large")
            self.at = number.end()
            return LinearFunction(weights, float(number[0]))
        if self.take("("):
            out = self.sum()
            if not self.take(")"):
                raise self.error("a bracket is not closed")
            return out
        if word := _WORD.match(self.text, self.at):
            if word[0] in self.names:
                self.at = word.end()
                raise self.error(f"an operator is missing after {word[0]!r}")
            known = ", ".join(map(repr, self.names[:8])) + (", …" if len(self.names) > 8 else "")
            hint = did_you_mean(word[0], [*self.names, *self.dropped])
            raise self.error(f"there is no coefficient {word[0]!r}.{hint} There are {known}")
        raise self.error("a coefficient or a number is missing")

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, mark: str) -> bool:
        self.skip()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def error(self, message: str) -> DataError:
        return DataError(f"{message}\n    {self.text}\n    {' ' * self.at}^")
