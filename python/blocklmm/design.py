"""The plan of all columns of [Z X y], and how to fill them from any frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .factors import CategoryFactor, ExpressionFactor, Factor, NumericFactor
from .formula import Formula, Term, names_in, names_of
from .frames import Frame, Numbers, Source, array_column

Recipe = tuple[Any, ...]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Design:
    """The plan of all columns, and how to redo it on other data.

    Attributes
    ----------
    recipes : list of tuple
        How each column is made; see ``cpp/core/columns.hpp``.
    columns : list of (int, bool)
        U = [Z others y]: recipe, and whether the core may shift the column.
    x_columns : list of int
        Where each column of X stands in U.
    x_recipes : list of int
        The recipe of each column of X as the user means it.
    x_terms : list of Term
        The term that each column of X belongs to.
    inner_shifts : list of (int, int, float)
        Columns j of X, products of indicators and a covariate, that stand in U with the covariate
        less a constant c: x_j - c x_k, with k the column of the indicators alone.
    groups : list of tuple of str
        The grouping factors: columns whose joint levels are the groups.
    blocks : list of int
        Number of columns of each random-effects term.
    term_groups : list of int
        The grouping factor of each term.
    z_columns : list of int
        Where each column of Z, term after term, stands in U.
    z_terms : list of Term
        The term, left of its bar, of each column of Z.
    z_anchor : list of int
        For each column of Z, the constant column of its block, or -1.
    ones : array of shape (p,) or None
        Coefficients with X @ ones = 1, if X spans the constant by a term of its own.
    offsets, weight, response : list of int, int, int
        Their recipes; -1 without weights.
    learnt : list of str
        What a pass over all rows was needed for before any was used.
    """

    formula: Formula
    recipes: list[Recipe] = field(default_factory=list)
    columns: list[tuple[int, bool]] = field(default_factory=list)
    x_columns: list[int] = field(default_factory=list)
    x_recipes: list[int] = field(default_factory=list)
    inner_shifts: list[tuple[int, int, float]] = field(default_factory=list)
    x_names: list[str] = field(default_factory=list)
    x_terms: list[Term] = field(default_factory=list)
    z_names: list[str] = field(default_factory=list)
    z_terms: list[Term] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    term_groups: list[int] = field(default_factory=list)
    z_columns: list[int] = field(default_factory=list)
    z_anchor: list[int] = field(default_factory=list)
    ones: FloatArray | None = None
    offsets: list[int] = field(default_factory=list)
    weight: int = -1
    response: int = -1
    learnt: list[str] = field(default_factory=list)
    sources: list[SourceKey] = field(default_factory=list)
    _factors: dict[str, Factor] = field(default_factory=dict)
    # None: given once, but left behind by a pickle
    _arrays: dict[str, Numbers | None] = field(default_factory=dict)

    @property
    def n_columns(self) -> int:
        """Number of distinct columns of [Z X y]."""
        return len(self.columns)

    @property
    def n_random(self) -> int:
        """Number of columns of Z, those of all terms."""
        return len(self.z_columns)

    @property
    def z_recipes(self) -> list[int]:
        """The recipe of each column of Z as the user means it."""
        return [self.columns[k][0] for k in self.z_columns]

    def formula_as_coded(self) -> Formula:
        """Return the formula with the factors of each term in the order of its columns' coding."""

        def as_coded(terms: Iterable[Term], coded: Iterable[Term]) -> tuple[Term, ...]:
            known = {frozenset(term): term for term in coded}
            return tuple(known[frozenset(term)] for term in terms)

        random, start = [], 0
        for term, width in zip(self.formula.random, self.blocks, strict=True):
            own = self.z_terms[start : start + width]
            random.append(replace(term, terms=as_coded(term.terms, own)))
            start += width
        fixed = as_coded(self.formula.fixed, self.x_terms)
        return replace(self.formula, fixed=fixed, random=tuple(random))

    def members(self, group: int) -> list[int]:
        """Return which columns of Z belong to a grouping factor."""
        ends = np.cumsum(self.blocks, dtype=int)
        return [
            k
            for term, (end, size) in enumerate(zip(ends, self.blocks, strict=True))
            if self.term_groups[term] == group
            for k in range(end - size, end)
        ]

    def are_indicators(self, columns: Sequence[int]) -> bool:
        """Tell whether some columns of Z are indicators of a category's levels, all of them."""
        recipes = [self.recipes[self.columns[self.z_columns[k]][0]] for k in columns]
        if any(kind != "lookup" for kind, *_ in recipes):
            return False
        tables = np.array([table for _, _, table in recipes])
        return bool((tables.sum(axis=0) == 1).all() and np.isin(tables, (0, 1)).all())

    def record_columns(self, group: int) -> list[int]:
        """Return the columns of U that the statistics of a grouping factor need, its Z first."""
        own = [self.z_columns[k] for k in self.members(group)]
        others = dict.fromkeys([*self.x_columns, self.n_columns - 1])
        return own + sorted(k for k in others if k not in own)

    @property
    def names(self) -> frozenset[str]:
        """The names of the columns that the design reads, and perhaps some more."""
        return names_of(self.formula) | self.names_for(range(len(self.recipes)))

    def names_for(self, recipes: Iterable[int]) -> frozenset[str]:
        """Return the names of the columns that some recipes read, and perhaps some more."""
        keys = [self.sources[k] for k in self.needed_sources(recipes)]
        return frozenset().union(*(names_in(key.label) for key in keys if key.array is None))

    @property
    def constant(self) -> FloatArray | None:
        """Coefficients of the columns of U that make a constant one: X's, else Z's; or None."""
        out = np.zeros(self.n_columns)
        if self.ones is not None:
            np.add.at(out, self.x_columns, self.ones)
            return out
        anchor = next((k for k in self.z_anchor if k >= 0), None)
        if anchor is None:
            return None
        out[self.z_columns[anchor]] = 1.0
        return out

    def source_name(self, source: int) -> str:
        """Return the name of a source for messages."""
        return self.sources[source].label

    def level_masks(self) -> dict[str, Mask]:
        """Return a mask of all levels of each category; of those declared none."""
        return {
            text: np.ones(len(factor.levels), dtype=bool)
            for text, factor in self._factors.items()
            if isinstance(factor, CategoryFactor) and not factor.is_declared
        }

    def still_unmet(
        self, unmet: dict[str, Mask], frame: Frame, rows: Mask | None
    ) -> dict[str, Mask]:
        """Return masks of levels less those that some rows of a frame have (None: all rows)."""
        out = {}
        for text, mask in unmet.items():
            left = mask & ~self._category(text).met_levels(frame, rows)
            if left.any():
                out[text] = left
        return out

    def levels_of(self, text: str, mask: Mask) -> list[Any]:
        """Return some levels of a category."""
        return list(self._category(text).levels[mask])

    def _category(self, text: str) -> CategoryFactor:
        factor = self._factors[text]
        assert isinstance(factor, CategoryFactor)
        return factor

    def forget_unmet_levels(self) -> None:
        """Take levels that only dropped rows had for unknown ones, as in rows that are others."""
        for factor in self._factors.values():
            if isinstance(factor, CategoryFactor):
                factor.unmet = frozenset()

    def learnt_from_data(self) -> str:
        """Return the text of an expression that depends on all rows, such as poly; or nothing."""
        for factor in self._factors.values():
            if isinstance(factor, ExpressionFactor) and not factor.expression.is_rowwise:
                return factor.expression.text
        return ""

    def not_a_number(self) -> dict[str, int]:
        """Return how often each expression gave no number though its columns have values."""
        counts = {
            factor.expression.text: sum(factor.expression.not_a_number.values())
            for factor in self._factors.values()
            if isinstance(factor, ExpressionFactor)
        }
        return {text: count for text, count in counts.items() if count}

    def count_not_a_number(self, counts: Mapping[str, int]) -> None:
        """Take over what copies of this design have counted (see :meth:`not_a_number`)."""
        for text, count in counts.items():
            factor = self._factors[text]
            assert isinstance(factor, ExpressionFactor)
            factor.expression.not_a_number[0] = count

    def __getstate__(self) -> dict[str, Any]:
        # Arrays are rows of data, which a pickle leaves behind; that they were given stays known.
        state = {f: getattr(self, f) for f in self.__dataclass_fields__}
        state["_arrays"] = dict.fromkeys(self._arrays)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def with_rows(self, frame: Frame, arguments: Mapping[str, Any]) -> Design:
        """Return the design with what a pickle has left behind, taken from the rows again.

        Parameters
        ----------
        frame : Frame
        arguments : mapping
            Weights and offset, where they were given as arrays.
        """
        arrays: dict[str, Numbers | None] = {
            role: array_column(role, arguments[role]) for role in self._arrays
        }
        factors = {
            text: ExpressionFactor(factor.expression.again(frame))
            if isinstance(factor, ExpressionFactor)
            else factor
            for text, factor in self._factors.items()
        }
        return replace(self, _arrays=arrays, _factors=factors)

    def is_number(self, column: str) -> bool:
        """Tell whether a column of data stands for numbers, and nowhere for levels or groups."""
        factors = self._factors.values()
        levels = {f.column for f in factors if isinstance(f, CategoryFactor)}
        levels |= {name for group in self.groups for name in group}
        numbers = {f.name for f in factors if isinstance(f, NumericFactor)}
        return column in numbers - levels

    def has_array(self, role: str) -> bool:
        """Tell whether the weights or the offset were given as an array."""
        return role in self._arrays

    def with_response(self, values: FloatArray, label: str | None = None) -> Design:
        """Return the same design with other values, and label, in place of the response."""
        source = self.recipes[self.response][1]
        sources = list(self.sources)
        label = sources[source].label if label is None else label
        sources[source] = SourceKey(label, array="response")
        arrays = {**self._arrays, "response": Numbers("response", values)}
        return replace(self, sources=sources, _arrays=arrays)

    def bind(self, frame: Frame, only: Iterable[int] | None = None) -> list[Source | None]:
        """Return the sources as they stand in a frame; those not in ``only`` are None."""
        wanted = set(range(len(self.sources)) if only is None else only)
        return [
            self._bind_one(key, frame) if k in wanted else None
            for k, key in enumerate(self.sources)
        ]

    def needed_sources(self, recipes: Iterable[int]) -> set[int]:
        """Return the sources that some recipes read, through their operands too."""
        found: set[int] = set()
        todo = list(recipes)
        while todo:
            kind, *rest = self.recipes[todo.pop()]
            if kind in ("numeric", "lookup"):
                found.add(rest[0])
            elif kind in ("product", "difference"):
                todo += rest[0]
            elif kind == "centred":
                todo.append(rest[0])
        return found

    def matrix(
        self, frame: Frame, recipes: Sequence[int], start: int = 0, stop: int | None = None
    ) -> FloatArray:
        """Return some columns for some rows as a matrix; NaN where a value is missing."""
        stop = frame.n_rows if stop is None else stop
        sources = self.bind(frame, self.needed_sources(recipes))
        n = stop - start
        arrays = [np.empty(n) if s is None else s.rows(start, stop) for s in sources]
        return _core.fill_matrix(self.recipes, list(recipes), arrays, n)

    def _bind_one(self, key: SourceKey, frame: Frame) -> Source:
        if key.array is not None:
            array = self._arrays[key.array]
            assert array is not None
            return array
        factor = self._factors[key.factor]
        return factor.source(frame, key.part)


@dataclass(frozen=True, slots=True)
class SourceKey:
    """Which column of a frame, value of an expression, or array a source is."""

    label: str
    factor: str = ""
    part: int = 0
    array: str | None = None
