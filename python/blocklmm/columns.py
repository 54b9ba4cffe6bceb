"""Terms and a frame to columns of [Z X y]: a plan for the core, never a matrix of all rows.

Factors of terms are coded as R codes them (Chambers & Hastie 1992, sec. 2.4): a category takes
its contrasts where the term without it is in the model, and one indicator per level elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic.transforms.contrasts import Contrasts

from .design import Design, SourceKey
from .errors import DataError, FormulaError, labels_phrase
from .expressions import Expression
from .factors import (
    CategoryFactor,
    ExpressionFactor,
    Factor,
    NumericFactor,
    categories_of,
    contrasts_by_column,
    kind_of,
)
from .formula import Formula, Term, arithmetic, factors_of, in_r, values_of
from .frames import Categories, Frame, array_column, require_numbers
from .learning import Learnt, learn
from .levels import declared_levels, met_levels, require_category, without_levels
from .rows import Rows

Recipe = tuple[Any, ...]
FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class Coded:
    """One column that a factor contributes: its recipe and its names."""

    recipe: int
    fixed_name: str
    random_name: str
    is_numeric: bool
    parts: tuple[Coded, ...] = ()


def build(
    formula: Formula,
    rows: Rows,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    levels: Mapping[str, Sequence[Any]] | None = None,
    unmet: Mapping[str, Sequence[Any]] | None = None,
    progress: bool | None = None,
) -> Design:
    """Plan the columns of a formula on rows.

    Parameters
    ----------
    formula : Formula
    rows : Rows
        The training data; levels and states are learnt from them, of rows that come in chunks by
        a pass of its own where there are any to learn.
    weights, offset : str, array of shape (n,) or None
        A column's name, or the values; the name, where rows come in chunks.
    contrasts : mapping from column to contrasts, optional
        ``"treatment"``, ``"sum"``, ``"helmert"``, ``"diff"``, ``"poly"``, or an object of
        formulaic's ``contr``.
    levels : mapping from column to sequence, optional
        Levels in order, of categories of which the data need not have all.
    unmet : mapping from category to sequence, optional
        Levels that are in the data, but in no row without missing values: they are left out.
    progress : bool, optional

    Raises
    ------
    DataError, FormulaError
    """
    head = rows.head
    given = {} if contrasts is None else contrasts
    declared = declared_levels(levels, head.names)
    known = contrasts_by_column(given, head)
    learnt = None
    if not isinstance(rows, Frame):
        values = values_of(formula, weights, offset)
        learnt = learn(factors_of(formula), values, rows, known, declared, progress)
    design = _Builder(formula, head, known, declared, learnt, unmet or {}).build(weights, offset)
    for name in declared:
        if design.is_number(name):
            raise DataError(
                f"levels are given for {name!r}, whose values are numbers in the formula, not a "
                f"category: write C({name}) there, or leave them out"
            )
    return design


def coded_by_contrasts(
    terms: Sequence[Term], is_category: Callable[[str], bool]
) -> set[tuple[Term, str]]:
    """Return the factors of terms that take contrasts, not all their indicators.

    Those without which the term is in the model. Without an intercept the first category met takes
    all its indicators, and the others are coded as if there were one (R's ``model.matrix``).
    """
    known: set[frozenset[str]] = {frozenset(term) for term in terms} | {frozenset()}
    out = {(term, f) for term in terms for f in term if frozenset(term) - {f} in known}
    if () not in terms:
        first = next(((term, f) for term in terms for f in term if is_category(f)), None)
        out -= {first} if first else set()
    return out


class _Builder:
    def __init__(
        self,
        formula: Formula,
        frame: Frame,
        contrasts: Mapping[str, Contrasts | None],
        declared: Mapping[str, pd.Index[Any]],
        learnt: Learnt | None,
        unmet: Mapping[str, Sequence[Any]],
    ) -> None:
        self.design = Design(formula, learnt=[] if learnt is None else learnt.what)
        self.frame = frame
        self.contrasts, self.declared, self.learnt = contrasts, declared, learnt
        self.unmet = unmet
        self._recipe_of: dict[Any, int] = {}
        self._columns_of: dict[tuple[int, bool], list[int]] = {}

    def build(self, weights: Any, offset: Any) -> Design:
        design, formula = self.design, self.design.formula
        response = design.response = self._response()
        for extra in [*formula.offsets, *([] if offset is None else [offset])]:
            other = self._single(extra, "offset")
            response = self._recipe("difference", (response, other), [response, other])
            design.offsets.append(other)
        if weights is not None:
            design.weight = self._single(weights, "weights")

        x = self._code_terms(formula.fixed)
        design.x_names = names = [c.fixed_name for _, c in x]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DataError(
                f"several fixed effects would be called {labels_phrase(twice)}: rename the columns "
                "of the data that are called so"
            )
        design.x_terms = [term for term, _ in x]
        design.ones = self._ones(formula.fixed, x)
        design.groups = list(dict.fromkeys(random.group for random in formula.random))
        for random in formula.random:
            group = design.groups.index(random.group)
            own = {design.z_columns[k] for k in design.members(group)}
            z = self._code_terms(random.terms, is_random=True)
            start = len(design.z_names)
            anchor = start if () in random.terms else -1
            for term, coded in z:
                key = (coded.recipe, anchor >= 0 and coded.is_numeric)
                # a column is shared by factors, but within one each stands for itself
                column = self._column(key, taken=own)
                own.add(column)
                design.z_columns.append(column)
                design.z_names.append(coded.random_name)
                design.z_terms.append(term)
                design.z_anchor.append(anchor)
            design.blocks.append(len(z))
            design.term_groups.append(group)
        design.x_recipes = [coded.recipe for _, coded in x]
        for j, (_, coded) in enumerate(x):
            key = (coded.recipe, design.ones is not None and coded.is_numeric)
            if (centred := self._centred(j, coded)) is not None:
                key = (centred, False)
            design.x_columns.append(self._column(key))
        design.columns.append((response, design.ones is not None))
        return design

    def _column(self, key: tuple[int, bool], taken: Set[int] = frozenset()) -> int:
        """Return where a column stands in U, adding it where there is none that is not taken."""
        known = self._columns_of.setdefault(key, [])
        for column in known:
            if column not in taken:
                return column
        known.append(len(self.design.columns))
        self.design.columns.append(key)
        return known[-1]

    def _response(self) -> int:
        if not self.design.formula.response:  # arrays take its place: Design.with_response
            return self._source_recipe(SourceKey("response", array="response"), "numeric")
        return self._value(self.design.formula.response, "the response")

    def _single(self, given: Any, role: str) -> int:
        """Return the recipe of a column's name, an expression, or an array of values."""
        if isinstance(given, str):
            return self._value(arithmetic(given), role)
        if self.learnt is not None:
            raise DataError(
                f"{role} of rows that come in chunks can't be an array: make it a column of the "
                "data and give its name"
            )
        self.frame.require_same_index(role, given)
        column = array_column(role, given)
        if len(column.array) != self.frame.n_rows:
            raise DataError(
                f"{role}: {len(column.array)} values are given for {self.frame.n_rows} rows of data"
            )
        self.design._arrays[role] = column
        return self._source_recipe(SourceKey(role, array=role), "numeric")

    def _centred(self, j: int, coded: Coded) -> int | None:
        """Return column j of X with its covariate centred, if the indicators alone are in X too."""
        numeric = [part for part in coded.parts if part.is_numeric]
        others = tuple(part for part in coded.parts if not part.is_numeric)
        if len(numeric) != 1 or not others:
            return None
        partner = self._multiply(others).recipe
        if partner not in self.design.x_recipes:
            return None
        centre = self._typical_value(numeric[0])
        self.design.inner_shifts.append((j, self.design.x_recipes.index(partner), centre))
        centred = self._recipe("centred", (numeric[0].recipe, centre), numeric[0].recipe, centre)
        operands = [part.recipe for part in others] + [centred]
        return self._recipe("product", tuple(operands), operands)

    def _typical_value(self, coded: Coded) -> float:
        """Return a value near the first ones, a multiple of a power of two near their spread."""
        key = self.design.sources[self.design.recipes[coded.recipe][1]]
        source = self.design._bind_one(key, self.frame)
        step = 4096
        for start in range(0, self.frame.n_rows, step):
            rows = source.rows(start, min(start + step, self.frame.n_rows))
            values = np.asarray(rows, dtype=np.float64)
            values = values[np.isfinite(values)]
            if len(values):
                spread = float(values.std())
                grain = 2.0 ** np.floor(np.log2(spread)) if spread > 1e-300 else 0.0
                mean = float(values.mean())
                return float(np.round(mean / grain) * grain) if grain else mean
        return 0.0

    def _value(self, text: str, role: str) -> int:
        """Return the recipe of one number for each row: a column, or arithmetic on columns."""
        name = text.strip("`")
        factors = self.design._factors
        if name in self.frame:
            column = self.frame.column(name)
            require_numbers(column, role)
            # a source of its own, so that other values of the response can take its place
            own = f"{role}={name}"
            factors[own] = NumericFactor(name)
            return self._numeric(own, 0, name)
        if text not in factors:
            factors[text] = self._make_factor(text)
        factor = factors[text]
        if not isinstance(factor, ExpressionFactor) or factor.expression.n_columns != 1:
            raise FormulaError(f"{role} {text!r} does not give one column of numbers")
        return self._numeric(text, 0, text)

    def _code_terms(
        self, terms: Sequence[Term], is_random: bool = False
    ) -> list[tuple[Term, Coded]]:
        reduced = coded_by_contrasts(terms, self._is_category)
        out: list[tuple[Term, Coded]] = []
        for term in terms:
            parts = [self._code_factor(f, (term, f) in reduced, is_random) for f in term]
            # R's order: the first factor's columns run fastest
            out += [(term, self._multiply(chosen[::-1])) for chosen in product(*reversed(parts))]
        return out

    def _is_category(self, text: str) -> bool:
        return isinstance(self._factor(text), CategoryFactor)

    def _multiply(self, parts: tuple[Coded, ...]) -> Coded:
        if not parts:
            recipe = self._recipe("constant", (), None)
            return Coded(recipe, "Intercept", "(Intercept)", is_numeric=False)
        if len(parts) == 1:
            return parts[0]
        operands = [part.recipe for part in parts]
        return Coded(
            self._recipe("product", tuple(operands), operands),
            ":".join(part.fixed_name for part in parts),
            ":".join(part.random_name for part in parts),
            all(part.is_numeric for part in parts),
            parts,
        )

    def _code_factor(self, text: str, reduced: bool, is_random: bool) -> list[Coded]:
        factor = self._factor(text)
        if isinstance(factor, CategoryFactor):
            if reduced and len(factor.levels) < 2:
                raise DataError(
                    f"category {text!r} has only one level, {labels_phrase(factor.levels)}: "
                    "it can't be told from the intercept; remove it from the formula"
                )
            # as in lme4, the argument `contrasts` is about the fixed effects
            treatment = is_random and text.strip("`") in self.contrasts
            table, fixed_names, random_names = factor.coding(reduced, treatment)
            out = []
            for k, (fixed_name, random_name) in enumerate(
                zip(fixed_names, random_names, strict=True)
            ):
                key = SourceKey(text, factor=text)
                recipe = self._source_recipe(key, "lookup", tuple(table[:, k]))
                out.append(Coded(recipe, fixed_name, random_name, is_numeric=False))
            return out
        suffixes = factor.expression.suffixes if isinstance(factor, ExpressionFactor) else [""]
        label = in_r(text)
        return [
            Coded(
                self._numeric(text, part, text),
                f"{text}{suffix}",
                label + suffix.strip("[]"),
                is_numeric=True,
            )
            for part, suffix in enumerate(suffixes)
        ]

    def _numeric(self, factor: str, part: int, label: str) -> int:
        return self._source_recipe(SourceKey(label, factor=factor, part=part), "numeric")

    def _source_recipe(self, key: SourceKey, kind: str, *rest: Any) -> int:
        if key not in self.design.sources:
            self.design.sources.append(key)
        source = self.design.sources.index(key)
        return self._recipe(kind, (source, *rest), source, *(list(r) for r in rest))

    def _recipe(self, kind: str, key: tuple[Any, ...], *spec: Any) -> int:
        full_key = (kind, *key)
        if full_key not in self._recipe_of:
            self._recipe_of[full_key] = len(self.design.recipes)
            self.design.recipes.append((kind, *(s for s in spec if s is not None)))
        return self._recipe_of[full_key]

    def _factor(self, text: str) -> Factor:
        factors = self.design._factors
        if text not in factors:
            factors[text] = self._make_factor(text)
        return factors[text]

    def _make_factor(self, text: str) -> Factor:
        kind, column, contrasts = kind_of(text, self.frame, self.contrasts)
        if kind == "number":
            assert isinstance(column, str)
            return NumericFactor(column)
        if kind == "expression":
            assert isinstance(column, str)
            return ExpressionFactor(self._expression(column))
        name = column if column in self.frame else ""
        return self._category(text, column if name else self._expression(column), contrasts, name)

    def _expression(self, text: str) -> Expression:
        known = None if self.learnt is None else self.learnt.expressions.get(text)
        return Expression(text, self.frame) if known is None else known

    def _category(
        self, text: str, column: str | Expression, contrasts: Contrasts | None, name: str
    ) -> CategoryFactor:
        if name in self.declared:
            return CategoryFactor(text, column, self.declared[name], contrasts, is_declared=True)
        if self.learnt is not None:
            unmet = self.unmet.get(text, ())
            levels = without_levels(self.learnt.levels[text], unmet)
            return CategoryFactor(text, column, levels, contrasts, unmet=frozenset(unmet))
        found = categories_of(text, column, self.frame)
        levels = without_levels(met_levels(found), self.unmet.get(text, ()))
        require_category(text, levels, self.frame.n_rows)
        place = np.append(levels.get_indexer(found.levels), -1)
        codes = found.codes
        if not np.array_equal(place[:-1], np.arange(len(found.levels))):
            codes = place.astype(np.int32)[codes]
        training = Categories(text, codes, levels, ordered_levels=True)
        return CategoryFactor(text, column, levels, contrasts, _training=(self.frame, training))

    def _ones(self, terms: Sequence[Term], x: list[tuple[Term, Coded]]) -> FloatArray | None:
        """Coefficients that make X a column of ones: the intercept, or a full set of indicators."""
        wanted: Term | None = () if () in terms else None
        if wanted is None:
            with_category = (t for t in terms if any(self._is_category(f) for f in t))
            first = next(with_category, ())
            wanted = first if len(first) == 1 else None
        if wanted is None:
            return None
        return np.array([1.0 if term == wanted else 0.0 for term, _ in x])
