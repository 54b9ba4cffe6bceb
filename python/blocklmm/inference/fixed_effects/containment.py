"""Which terms contain which, as SAS's tests of types II and III ask.

A term is contained in another if both have the same covariates and the other has all its factors
and more (SAS/STAT, "The Four Types of Estimable Functions"). Two details are lmerTest's. A factor
that a term codes by all its indicators, as a in ``a + a:b``, is not counted as one of that term, so
that a is not contained in a:b there. And what R keeps as a matrix (``poly``, ``scale``, splines) is
no covariate.
"""

from __future__ import annotations

from blocklmm.columns import coded_by_contrasts
from blocklmm.design import Design
from blocklmm.factors import CategoryFactor, ExpressionFactor, Factor
from blocklmm.formula import Term

_MATRICES = ("poly(", "scale(", "bs(", "cs(", "cr(", "cc(")


def containing(design: Design) -> dict[Term, list[Term]]:
    """Return for each term of the fixed part the terms that contain it; without the intercept."""
    terms = [term for term in design.formula.fixed if term]
    # As in the table "factors" of R's terms, which does not look at the intercept
    counted = coded_by_contrasts([*terms, ()], lambda _: False)
    factors = {term: {f for f in term if (term, f) in counted} for term in terms}
    covariates = {f for term in terms for f in term if _is_covariate(design._factors[f])}
    return {
        inner: [
            outer
            for outer in terms
            if factors[inner] < factors[outer]
            and factors[inner] & covariates == factors[outer] & covariates
        ]
        for inner in terms
    }


def _is_covariate(factor: Factor) -> bool:
    if isinstance(factor, ExpressionFactor):
        text, n_columns = factor.expression.text, factor.expression.n_columns
        return n_columns == 1 and not text.startswith(_MATRICES)
    return not isinstance(factor, CategoryFactor)
