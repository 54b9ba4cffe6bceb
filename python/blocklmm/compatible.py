"""Whether two designs plan the same columns, and how columns about two shifts are related."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .design import Design
from .expressions import Expression
from .factors import CategoryFactor, ExpressionFactor, Factor
from .formula import RandomTerm

FloatArray = npt.NDArray[np.float64]


def differences(a: Design, b: Design) -> list[str]:
    """Return in words where two designs differ; nothing where statistics of both can be added.

    They may differ in the values that covariates are centred about, which is undone.
    """
    found = [
        f"{what}: {_shown(mine)} and {_shown(others)}"
        for what, mine, others in (
            ("the response", a.formula.response, b.formula.response),
            ("the fixed effects", _terms(a.formula.fixed), _terms(b.formula.fixed)),
            ("the random effects", _random(a.formula.random), _random(b.formula.random)),
            ("the offset", _values(a, a.offsets), _values(b, b.offsets)),
            ("the weights", _values(a, [a.weight]), _values(b, [b.weight])),
        )
        if mine != others
    ]
    for text in a._factors.keys() & b._factors.keys():
        found += _factor_differences(text, a._factors[text], b._factors[text])
    if not found and _plan(a) != _plan(b):
        found.append(f"the columns: {', '.join(a.x_names)} and {', '.join(b.x_names)}")
    return found


def change_of_columns(
    of: Design, shift: FloatArray, to: Design, new_shift: FloatArray
) -> tuple[FloatArray, list[FloatArray]]:
    """Return how the columns of one set of statistics become those of another.

    Parameters
    ----------
    of, to : Design
        Without :func:`differences`.
    shift, new_shift : array of shape (columns,)

    Returns
    -------
    (array of shape (columns, columns), list of arrays)
        M with U_new = U M; and by grouping factor the same for the columns of its records.
    """
    delta = shift - new_shift
    M = np.eye(of.n_columns)
    anchors = {
        of.z_columns[k]: of.z_columns[anchor]
        for k, anchor in enumerate(of.z_anchor)
        if anchor >= 0 and k != anchor
    }
    for column in np.flatnonzero(delta).tolist():
        if of.ones is not None:
            M[:, column] += delta[column] * of.constant
        else:
            M[anchors[column], column] += delta[column]
    centres = list(zip(of.inner_shifts, to.inner_shifts, strict=True))
    for (j, partner, centre), (_, _, new_centre) in centres:
        M[of.x_columns[partner], of.x_columns[j]] += centre - new_centre
    by_factor = []
    for f in range(len(of.groups)):
        columns = of.record_columns(f)
        M_f = M[np.ix_(columns, columns)]
        own = of.members(f)
        for place, k in enumerate(own):  # its own Z by Z's own constant
            M_f[:, place] = 0.0
            M_f[place, place] = 1.0
            anchor = of.z_anchor[k]
            if anchor >= 0 and k != anchor:
                M_f[own.index(anchor), place] = delta[of.z_columns[k]]
        by_factor.append(M_f)
    return M, by_factor


def _terms(terms: tuple[tuple[str, ...], ...]) -> list[str]:
    return [":".join(term) or "1" for term in terms]


def _random(terms: tuple[RandomTerm, ...]) -> list[str]:
    return [f"({' + '.join(_terms(term.terms))} | {term.group_name})" for term in terms]


def _values(design: Design, recipes: list[int]) -> list[str]:
    sources = (design.recipes[recipe][1] for recipe in recipes if recipe >= 0)
    return [design.source_name(source) for source in sources]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value)) or "none"
    return repr(value)


def _factor_differences(text: str, mine: Factor, others: Factor) -> list[str]:
    kinds = [type(f).__name__.removesuffix("Factor").lower() for f in (mine, others)]
    if kinds[0] != kinds[1]:
        return [f"{text!r}: {kinds[0]} and {kinds[1]}"]
    if isinstance(mine, ExpressionFactor) and isinstance(others, ExpressionFactor):
        return _state_differences(mine.expression, others.expression)
    if not (isinstance(mine, CategoryFactor) and isinstance(others, CategoryFactor)):
        return []
    levels = [list(f.levels) for f in (mine, others)]
    if levels[0] != levels[1]:
        only = [[x for x in levels[k] if x not in levels[1 - k]] for k in (0, 1)]
        if only[0] or only[1]:
            shown = [", ".join(map(repr, found)) or "none" for found in only]
            return [f"the levels of {text!r}: only in one {shown[0]}, only in the other {shown[1]}"]
        return [f"the order of the levels of {text!r}: {levels[0]} and {levels[1]}"]
    if len(levels[0]) > 1 and not np.array_equal(
        mine.coding(reduced=True)[0], others.coding(reduced=True)[0]
    ):
        return [f"the contrasts of {text!r}"]
    return []


def _state_differences(mine: Expression, others: Expression) -> list[str]:
    if mine.is_of_whole_column and mine is not others:
        return [f"what {mine.text!r} has learnt, which depends on the whole column"]
    states = [_flat(expression.state()["transforms"]) for expression in (mine, others)]
    for key in states[0].keys() | states[1].keys():
        found = [state.get(key) for state in states]
        if not np.array_equal(np.asarray(found[0]), np.asarray(found[1])):
            learnt = f"what {mine.text!r} has learnt, {key}: {found[0]} and {found[1]}"
            return [f"{learnt} (use fixed numbers in the formula, or one design for all data)"]
    return []


def _flat(state: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(state, dict):
        return {name: state}
    out: dict[str, Any] = {}
    for key, value in state.items():
        out |= _flat(value, f"{name} {key}".strip())
    return out


def _plan(design: Design) -> tuple[Any, ...]:
    """Return what makes the columns, the values that covariates are centred about left out."""
    recipes = [
        recipe[:2] if recipe[0] == "centred" else recipe for recipe in map(tuple, design.recipes)
    ]
    shifts = [(j, partner) for j, partner, _ in design.inner_shifts]
    columns = [tuple(c) for c in design.columns]
    return recipes, columns, design.x_columns, design.z_columns, design.x_names, shifts
