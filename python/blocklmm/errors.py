"""Errors and warnings of blocklmm."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any


class BlocklmmError(Exception):
    """Base of all errors raised on purpose."""


class FormulaError(BlocklmmError, ValueError):
    """The formula's text can't be understood; the message marks the place with a caret."""


class DataError(BlocklmmError, ValueError):
    """The data can't be used as they are; the message names the column and the rows."""


class RankDeficientError(DataError):
    """Fixed-effects columns depend on each other and the caller asked for an error."""


class ModelSizeError(BlocklmmError, MemoryError):
    """The model needs more memory than there is; the message says how much."""


class ConvergenceError(BlocklmmError, ArithmeticError):
    """No fit can be computed from these statistics."""


class OptionError(BlocklmmError, ValueError):
    """An argument is not one of the values that it can have; the message says which they are."""


class StatisticsFileError(BlocklmmError, OSError):
    """A file of statistics can't be read: it is none, of another version, truncated or altered."""


class IncompatibleError(BlocklmmError, ValueError):
    """Statistics of different models can't be added; the message shows where they differ."""


class InferenceError(BlocklmmError, ValueError):
    """A question that this fit can't answer; the message says why and what to do instead."""


class BlocklmmWarning(UserWarning):
    """Base of all warnings: a result is given, with a reason to look twice."""


class PrivacyWarning(BlocklmmWarning):
    """Statistics to be shared from which rows could be recovered."""


class ConvergenceWarning(BlocklmmWarning):
    """The optimiser stopped before the certificate of optimality held."""


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string.

    A name may differ in case, or be the beginning of a known one, or the text of a label that is
    none.
    """
    labels = {str(k): k for k in known}
    names = list(labels)
    wanted = str(name).lower()
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    near = [k for k in names if k.lower() == wanted][:1] or near
    if not near and len(wanted) > 2:
        near = sorted((k for k in names if k.lower().startswith(wanted)), key=len)[:1]
    return f" Did you mean {labels_phrase([labels[near[0]]])}?" if near else ""


def labels_phrase(labels: Iterable[Any], most: int = 5) -> str:
    """Return the first labels as Python shows them, NumPy's wrapping left off."""
    found = [value.item() if hasattr(value, "item") else value for value in labels]
    return ", ".join(map(repr, found[:most])) + (", …" if len(found) > most else "")


def rows_phrase(count: int, first: Sequence[int]) -> str:
    """Return ``3 rows (rows 0, 7, 9, counting from 0)``."""
    rows = ", ".join(str(r) for r in first)
    more = ", …" if count > len(first) else ""
    word = "row" if count == 1 else "rows"
    return f"{count} {word} ({word} {rows}{more}, counting from 0)"


def warn(message: str, category: type[BlocklmmWarning] = BlocklmmWarning) -> None:
    """Warn at the caller's line, outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("blocklmm"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)
