"""Whether a design that comes from elsewhere holds together, so that all that uses it works."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite, prod
from typing import Any

import numpy as np

from .columns import coded_by_contrasts
from .design import Design, SourceKey
from .factors import CategoryFactor, ExpressionFactor, NumericFactor
from .formula import Term, factors_of
from .reading import new_core


def require_design(design: Design) -> None:
    """Raise a ValueError that says what is wrong, or an error of the core, if something is.

    Types, lengths, and whether each number stands for a thing that there is; what columns mean is
    not looked into.
    """
    _require_factors(design)
    _require_recipes(design)
    _require_x(design)
    _require_z(design)
    new_core(design, [1] * len(design.groups))  # which looks into recipes and columns


def require(condition: bool, what: str) -> None:
    """Raise a ValueError unless a condition holds."""
    if not condition:
        raise ValueError(what)


def are_ints(values: Any, low: int, high: int) -> bool:
    """Tell whether all values are integers, ``low <= value < high``."""
    return _is_list(values) and all(type(v) is int and low <= v < high for v in values)


def _require_factors(design: Design) -> None:
    for text, factor in design._factors.items():
        if isinstance(factor, NumericFactor):
            require(isinstance(factor.name, str), f"the name of {text!r}")
        elif isinstance(factor, CategoryFactor):
            _require_category(factor)
    known = design._factors
    lost = [text for text in factors_of(design.formula) if text not in known]
    require(not lost, f"no factor {lost}")
    require(not design._arrays, "arrays, which no file has")
    for key in design.sources:
        require(isinstance(key.label, str) and key.array is None, "a source")
        require(are_ints([key.part], 0, _n_parts(design, key)), f"no source {key.factor!r}")


def _n_parts(design: Design, key: SourceKey) -> int:
    factor = design._factors[key.factor]
    return factor.expression.n_columns if isinstance(factor, ExpressionFactor) else 1


def _require_category(factor: CategoryFactor) -> None:
    levels, what = factor.levels, f"the levels of {factor.text!r}"
    require(len(levels) > 0 and levels.is_unique and not levels.hasnans, what)
    require(all(isinstance(v, str | int | float) for v in levels.tolist()), what)
    require(isinstance(factor.is_declared, bool), what)
    require(isinstance(factor.column, str) or factor.column.n_columns == 1, what)
    if factor.contrasts is not None:
        matrix, names, _ = factor.coding(reduced=True)
        require(matrix.shape == (len(levels), len(names)), f"the contrasts of {factor.text!r}")
        require(bool(np.isfinite(matrix).all()), f"the contrasts of {factor.text!r}")


def _require_recipes(design: Design) -> None:
    n_recipes, n_sources = len(design.recipes), len(design.sources)
    for kind, *rest in design.recipes:
        if kind in ("numeric", "lookup"):
            require(are_ints(rest[:1], 0, n_sources), "a recipe's source")
            factor = design._factors[design.sources[rest[0]].factor]
            is_category = isinstance(factor, CategoryFactor)
            require(is_category == (kind == "lookup"), "a recipe of another kind of factor")
            if isinstance(factor, CategoryFactor):
                require(_are_numbers(rest[1], len(factor.levels)), "a value for each level")
        elif kind == "centred":
            require(_are_numbers(rest[1:], 1), "a centre")
    for column in design.columns:
        require(len(column) == 2 and isinstance(column[1], bool), "a column")
    require(are_ints([recipe for recipe, _ in design.columns], 0, n_recipes), "columns' recipes")
    require(are_ints([design.weight], -1, n_recipes), "the weights")
    require(are_ints(design.offsets, 0, n_recipes), "the offsets")
    require(are_ints([design.response], 0, n_recipes) and design.n_columns > 0, "the response")
    values = [design.response, *design.offsets, *([design.weight] if design.weight >= 0 else [])]
    require(all(design.recipes[k][0] == "numeric" for k in values), "values that are no numbers")


def _require_x(design: Design) -> None:
    p, y = len(design.x_names), design.n_columns - 1
    require(_are_texts(design.x_names) and len(set(design.x_names)) == p, "names of X")
    require(len(design.x_columns) == len(design.x_recipes) == len(design.x_terms) == p, "X")
    require(are_ints(design.x_columns, 0, y), "columns of X")
    require(are_ints(design.x_recipes, 0, len(design.recipes)), "recipes of X")
    require(_are_coded(design, design.x_terms, design.formula.fixed), "terms of X")
    for shift in design.inner_shifts:
        require(len(shift) == 3 and are_ints(shift[:2], 0, p), "products of X")
        require(_are_numbers(shift[2:], 1), "a centre of X")
    require(design.ones is None or _are_numbers(design.ones.tolist(), p), "the constant in X")


def _require_z(design: Design) -> None:
    random, q = design.formula.random, len(design.z_names)
    groups = list(dict.fromkeys(term.group for term in random))
    require(design.groups == groups, "the grouping factors")
    require(design.term_groups == [groups.index(term.group) for term in random], "their terms")
    require(_are_texts(design.z_names), "names of Z")
    lengths = {len(design.z_columns), len(design.z_terms), len(design.z_anchor), q}
    require(len(lengths) == 1, "Z")
    require(are_ints(design.z_columns, 0, design.n_columns - 1), "columns of Z")
    require(are_ints(design.z_anchor, -1, q), "constants of Z")
    require(are_ints(design.blocks, 1, q + 1) and len(design.blocks) == len(random), "blocks of Z")
    ends = [0, *np.cumsum(design.blocks).tolist()]
    require(ends[-1] == q, "blocks of Z")
    for term, (start, end) in zip(random, pairwise(ends), strict=True):
        require(_are_coded(design, design.z_terms[start:end], term.terms), "terms of Z")
        anchors = set(design.z_anchor[start:end])
        require(len(anchors) == 1, "constants of Z")
        anchor = anchors.pop()
        if anchor >= 0:
            require(start <= anchor < end, "constants of Z")
            require(design.recipes[design.z_recipes[anchor]] == ("constant",), "constants of Z")
    for f in range(len(groups)):
        own = [design.z_columns[k] for k in design.members(f)]
        require(len(set(own)) == len(own), "columns of Z that are there twice")


def _is_list(values: Any) -> bool:
    return isinstance(values, list | tuple)


def _are_texts(values: Any) -> bool:
    return _is_list(values) and all(isinstance(v, str) for v in values)


def _are_numbers(values: Any, n: int) -> bool:
    return (
        _is_list(values)
        and len(values) == n
        and all(type(v) in (int, float) and isfinite(v) for v in values)
    )


def _are_coded(design: Design, found: Iterable[Term], terms: Sequence[Term]) -> bool:
    """Tell whether columns' terms are those that some terms are coded by, in their order."""
    factors = design._factors

    def is_category(text: str) -> bool:
        return isinstance(factors[text], CategoryFactor)

    def width(text: str, reduced: bool) -> int:
        factor = factors[text]
        if isinstance(factor, CategoryFactor):
            return int(factor.coding(reduced)[0].shape[1])
        return factor.expression.n_columns if isinstance(factor, ExpressionFactor) else 1

    reduced = coded_by_contrasts(terms, is_category)
    expected: list[Term] = []
    for term in terms:
        n_columns = prod(width(text, (term, text) in reduced) for text in term)
        expected += [term] * n_columns
    return list(found) == expected
