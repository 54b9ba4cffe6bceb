"""All indicators of a term's categories, in terms of the columns of X, whatever their contrasts.

A category of n levels has contrasts C (n x (n - 1)) where the term without it is in the model, and
then I = 1 a' + C B with the rows of [1 C]^-1: a' on top and B below. For a term the indicators are
the products of those of its factors. Writing out the product of these sums, factor by factor,

    I_1 .. I_m = C_1 B_1 .. C_m B_m + sum_i (C_1 B_1 .. C_{i-1} B_{i-1}) 1 a_i' (I_{i+1} .. I_m),

the first part is the term's own columns of X, and part i belongs to the term without factor i, of
which the indicators are known already. So codings change by algebra on levels, without rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocklmm.columns import coded_by_contrasts
from blocklmm.design import Design
from blocklmm.factors import CategoryFactor
from blocklmm.formula import Term

from .span import Span

FloatArray = npt.NDArray[np.float64]


class Indicators:
    """All indicators of the terms of the fixed part, times their covariates.

    Parameters
    ----------
    design : Design
    span : Span
    """

    def __init__(self, design: Design, span: Span) -> None:
        self._design, self._span = design, span
        self._factors = design._factors
        self._reduced = coded_by_contrasts(design.formula.fixed, self._is_category)
        self._known: dict[Term, FloatArray] = {}

    def _is_category(self, text: str) -> bool:
        return isinstance(self._factors[text], CategoryFactor)

    def is_reduced(self, term: Term, factor: str) -> bool:
        """Tell whether a factor of a term is a category coded by contrasts."""
        return (term, factor) in self._reduced and self._is_category(factor)

    def of(self, term: Term) -> FloatArray:
        """Return the indicators of a term in the coordinates of the span.

        Parameters
        ----------
        term : Term
            One of the fixed part; the empty one is the constant.

        Returns
        -------
        array of shape (p, n_1, ..., n_m)
            An axis for each factor: a category's levels, or a covariate's columns.
        """
        if term not in self._known:
            self._known[term] = self._span.constant if term == () else self._compute(term)
        return self._known[term]

    def with_treatment(self, term: Term) -> npt.NDArray[np.bool_]:
        """Return which indicators of a term are columns of X with treatment contrasts.

        Returns
        -------
        array of shape (n_1, ..., n_m)
        """
        out = np.ones(self.of(term).shape[1:], dtype=bool)
        for axis, factor in enumerate(term):
            if self.is_reduced(term, factor):
                np.moveaxis(out, axis, 0)[0] = False
        return out

    def _compute(self, term: Term) -> FloatArray:
        parts: list[tuple[FloatArray, FloatArray, FloatArray] | None] = [
            self._split(factor) if self.is_reduced(term, factor) else None for factor in term
        ]
        own = [k for k, of in enumerate(self._design.x_terms) if of == term]
        # R's order: the first factor's columns run fastest
        widths = [
            self._width(f) if part is None else len(part[1])
            for f, part in zip(term, parts, strict=True)
        ]
        columns = self._span.expressed[:, own]
        out = columns.reshape(len(columns), *reversed(widths))
        out = out.transpose(0, *range(out.ndim - 1, 0, -1))
        for axis, part in enumerate(parts, start=1):
            if part is not None:
                out = _along(out, axis, part[1])
        for i, part in enumerate(parts):
            if part is None:
                continue
            rest = self.of(term[:i] + term[i + 1 :])
            for axis, before in enumerate(parts[:i], start=1):
                if before is not None:
                    rest = _along(rest, axis, before[2])
            out = out + np.expand_dims(rest, i + 1) * part[0].reshape(
                -1, *[1] * (len(term) - i - 1)
            )
        return out

    def _split(self, factor: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return a, B and C B of a category's contrasts C."""
        category = self._factors[factor]
        assert isinstance(category, CategoryFactor)
        C = category.coding(reduced=True)[0]
        inverse = np.linalg.pinv(np.column_stack([np.ones(len(C)), C]))
        return inverse[0], inverse[1:], C @ inverse[1:]

    def _width(self, factor: str) -> int:
        found = self._factors[factor]
        if isinstance(found, CategoryFactor):
            return len(found.levels)
        return found.expression.n_columns if hasattr(found, "expression") else 1


def _along(array: FloatArray, axis: int, matrix: FloatArray) -> FloatArray:
    """Multiply the vectors along an axis by a matrix from the right."""
    return np.moveaxis(np.moveaxis(array, axis, -1) @ matrix, -1, axis)
