"""What ``scale``, ``center``, ``standardize`` and ``poly`` learn, from moments of their argument.

Where rows come in chunks, functions of these names take the place of formulaic's and note the
moments of each chunk. From those of all chunks, merged, follows the state that formulaic's own
would have learnt from all rows at once.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from formulaic.transforms import TRANSFORMS, stateful_transform

from .moments import Moments


@dataclass(frozen=True, slots=True)
class ScaleNotes:
    """The arguments of a call of ``scale``, and the moments of what it scales."""

    center: Any
    scale: Any
    ddof: float
    moments: Moments

    def state(self) -> dict[str, Any]:
        """Return what formulaic's ``scale`` would have learnt."""
        (mean, _), (root_n, deviation) = self.moments.recurrence(1)
        center = mean if self.center is True else _given(self.center)
        scale = _given(self.scale)
        if self.scale is True:
            about = mean if center is None else mean - center
            squares = root_n**2 * (deviation**2 + about**2)
            scale = np.sqrt(squares / (root_n**2 - self.ddof))
        return {"ddof": self.ddof, "center": center, "scale": scale}


@dataclass(frozen=True, slots=True)
class PolyNotes:
    """The degree of a call of ``poly``, and the moments of its argument."""

    degree: int
    moments: Moments

    def state(self) -> dict[str, Any]:
        """Return what formulaic's ``poly`` would have learnt."""
        a, b = self.moments.recurrence(self.degree)
        norms2 = np.cumprod(b**2)
        norms2[norms2 == 0] = np.nan  # not as many different numbers: no such polynomial
        return {"alpha": dict(enumerate(a[:-1])), "norms2": dict(enumerate(norms2))}


TransformNotes = ScaleNotes | PolyNotes


def _given(argument: Any) -> Any:
    return None if isinstance(argument, bool) else np.array(argument)


def _scale(
    data: Any,
    center: Any = True,
    scale: Any = True,
    ddof: float = 1,
    _state: dict[str, Any] | None = None,
) -> Any:
    values = TRANSFORMS["scale"](data, center, scale, ddof)
    if _state is not None:
        moments = Moments.of(np.asarray(data, dtype=np.float64), 1)
        _state["notes"] = ScaleNotes(center, scale, ddof, moments)
    return values


def _center(data: Any, _state: dict[str, Any] | None = None) -> Any:
    return _scale(data, scale=False, _state=_state)


def _standardize(
    x: Any,
    center: Any = True,
    rescale: Any = True,
    ddof: float = 0,
    _state: dict[str, Any] | None = None,
) -> Any:
    return _scale(x, center, rescale, ddof, _state)


def _poly(x: Any, degree: int = 1, raw: bool = False, _state: dict[str, Any] | None = None) -> Any:
    values = TRANSFORMS["poly"](x, degree, raw)
    known = np.asarray(x, dtype=np.float64)
    known = known[~np.isnan(known)]
    if _state is not None and not raw and len(known):
        _state["notes"] = PolyNotes(degree, Moments.of(known, degree))
    return values


NOTING = {
    name: stateful_transform(function)
    for name, function in [
        ("scale", _scale),
        ("center", _center),
        ("standardize", _standardize),
        ("poly", _poly),
    ]
}
"""What takes the place of formulaic's; the values are those of the chunk on its own."""


def is_learnt_from_moments(tree: ast.AST, stateful: Collection[str]) -> bool:
    """Tell whether all that an expression learns follows from moments.

    Parameters
    ----------
    tree : ast.AST
        Of the expression.
    stateful : collection of str
        The transforms that learn anything. One within another would have to wait for its state.
    """
    calls = [node for node in ast.walk(tree) if _name_of(node) in stateful]
    for call in calls:
        assert isinstance(call, ast.Call)
        inner = [_name_of(node) for node in ast.walk(call) if node is not call]
        options = [*call.args[1:], *(word.value for word in call.keywords)]
        names = [node for option in options for node in ast.walk(option)]
        if (
            _name_of(call) not in NOTING
            or not set(inner).isdisjoint(stateful)
            or any(isinstance(node, ast.Name) for node in names)  # a column, as center=z
        ):
            return False
    return True


def noted(states: Mapping[str, Mapping[str, Any]]) -> dict[str, TransformNotes]:
    """Return the notes in formulaic's states, by the text of the call."""
    return {call: state["notes"] for call, state in states.items() if "notes" in state}


def merged(notes: Sequence[TransformNotes]) -> TransformNotes:
    """Return the notes of all chunks, given those of each."""
    first = notes[0]
    order = first.degree if isinstance(first, PolyNotes) else 1
    return replace(first, moments=Moments.merged([n.moments for n in notes], order))


def _name_of(node: ast.AST) -> str:
    """Return the name of what is called; nothing, where no name is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""
