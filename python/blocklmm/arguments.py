"""Checks of arguments that many questions have: choices, levels, counts, seeds."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import OptionError


def require_choice(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Raise an OptionError unless a value is one of those known."""
    if value not in known:
        raise OptionError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")


def require_level(level: Any) -> float:
    """Return a coverage from 0.5, or raise an OptionError that says what it is."""
    if isinstance(level, bool) or not isinstance(level, Real) or not 0.5 <= float(level) < 1:
        raise OptionError(
            f"level is between 0 and 1, and a coverage of 0.5 or more: 0.95, not 0.05; given was "
            f"{level!r}"
        )
    return float(level)


def require_flag(name: str, value: Any) -> None:
    """Raise an OptionError unless a value is True or False."""
    if not isinstance(value, bool):
        raise OptionError(f"{name} is True or False, not {value!r}")


def require_count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number, or raise an OptionError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise OptionError(f"{name} is a whole number from {least}, not {value!r}")
    return int(value)


def require_name(name: str, value: Any) -> str:
    """Return a name, or raise an OptionError."""
    if not isinstance(value, str):
        raise OptionError(f"{name} is a name, not {value!r}")
    return value


def require_names(name: str, value: Any) -> list[str]:
    """Return one name or several as a list, or raise an OptionError."""
    if isinstance(value, str):
        return [value]
    found = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(one, str) for one in found):
        raise OptionError(f"{name} is a name, or a list of names, not {value!r}")
    return found


def as_floats(values: Any) -> npt.NDArray[np.float64]:
    """Return values as an array of numbers.

    Raises
    ------
    TypeError, ValueError
        For what is no number, and for complex ones.
    """
    if np.iscomplexobj(values):
        raise TypeError("complex numbers")
    return np.asarray(values, dtype=np.float64)


def require_seed(seed: Any) -> int | None:
    """Return a seed or None, or raise an OptionError."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise OptionError(f"seed is a whole number from 0, or None, not {seed!r}")
    return int(seed)
