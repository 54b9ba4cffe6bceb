"""A design as JSON and back: the plan of columns, levels and contrasts, states of expressions.

Nothing is pickled. Numbers keep all their digits; whatever is not a JSON value is written as an
object with one key that names its kind (``{"array": …}``, ``{"items": …}`` for a dict).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms.contrasts import CustomContrasts

from .design import Design, SourceKey
from .errors import DataError
from .expressions import Expression
from .factors import CategoryFactor, ExpressionFactor, Factor, NumericFactor
from .formula import parse

_PLAIN = (
    "x_columns",
    "x_recipes",
    "x_names",
    "z_names",
    "blocks",
    "term_groups",
    "z_columns",
    "z_anchor",
    "offsets",
    "weight",
    "response",
)
_LISTS_OF_TUPLES = ("recipes", "columns", "inner_shifts", "x_terms", "z_terms", "groups")


def to_json(design: Design) -> dict[str, Any]:
    """Return a design as JSON values.

    Parameters
    ----------
    design : Design
        Without arrays for weights or an offset, which are no part of it.
    """
    out: dict[str, Any] = {"formula": design.formula.text}
    for name in (*_PLAIN, *_LISTS_OF_TUPLES):
        out[name] = _encoded(getattr(design, name))
    out["ones"] = None if design.ones is None else design.ones.tolist()
    out["sources"] = [_encoded([getattr(s, f.name) for f in fields(s)]) for s in design.sources]
    out["factors"] = {text: _factor_to_json(f) for text, f in design._factors.items()}
    out["arrays"] = sorted(design._arrays)
    return out


def from_json(saved: dict[str, Any]) -> Design:
    """Return the design of JSON values.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they are not those of a design.
    """
    design = Design(parse(saved["formula"]))
    for name in _PLAIN:
        setattr(design, name, _decoded(saved[name]))
    for name in _LISTS_OF_TUPLES:
        setattr(design, name, [tuple(item) for item in _decoded(saved[name])])
    design.recipes = [(kind, *rest) for kind, *rest in design.recipes]
    design.ones = None if saved["ones"] is None else np.array(saved["ones"], dtype=np.float64)
    design.sources = [SourceKey(*_decoded(source)) for source in saved["sources"]]
    design._factors = {t: _factor_from_json(t, f) for t, f in saved["factors"].items()}
    design._arrays = dict.fromkeys(saved["arrays"])
    design.formula = design.formula_as_coded()
    return design


def _factor_to_json(factor: Factor) -> dict[str, Any]:
    if isinstance(factor, NumericFactor):
        return {"kind": "number", "name": factor.name}
    if isinstance(factor, ExpressionFactor):
        return {"kind": "expression", **_expression_to_json(factor.expression)}
    out: dict[str, Any] = {"kind": "category", "is_declared": factor.is_declared}
    out["levels"] = _encoded(factor.levels.tolist())
    column = factor.column
    out["column"] = column if isinstance(column, str) else _expression_to_json(column)
    out["contrasts"] = None
    if factor.contrasts is not None:
        matrix, _, names = factor.coding(reduced=True)
        fields_of = [name.removeprefix(factor.text) for name in names]
        out["contrasts"] = {"matrix": matrix.tolist(), "names": fields_of}
    return out


def _factor_from_json(text: str, saved: dict[str, Any]) -> Factor:
    if saved["kind"] == "number":
        return NumericFactor(saved["name"])
    if saved["kind"] == "expression":
        return ExpressionFactor(_expression_from_json(saved))
    contrasts = saved["contrasts"]
    if contrasts is not None:
        matrix = np.array(contrasts["matrix"], dtype=np.float64)
        contrasts = CustomContrasts(matrix, names=contrasts["names"])
    column = saved["column"]
    return CategoryFactor(
        text,
        column if isinstance(column, str) else _expression_from_json(column),
        pd.Index(_decoded(saved["levels"])),
        contrasts,
        saved["is_declared"],
    )


def _expression_to_json(expression: Expression) -> dict[str, Any]:
    return {key: _encoded(value) for key, value in expression.state().items()}


def _expression_from_json(saved: dict[str, Any]) -> Expression:
    names = ("text", "variables", "suffixes", "transforms")
    return Expression.restored(**{name: _decoded(saved[name]) for name in names})


def _encoded(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return {"array": _encoded(value.tolist())}
    if isinstance(value, list | tuple):
        return [_encoded(v) for v in value]
    if isinstance(value, dict):
        return {"items": [[_encoded(k), _encoded(v)] for k, v in value.items()]}
    raise DataError(f"{value!r} can't be saved: only numbers, booleans and text can")


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    if isinstance(value, dict):
        if "array" in value:
            return np.array(_decoded(value["array"]))
        return {_decoded(k): _decoded(v) for k, v in value["items"]}
    return value
