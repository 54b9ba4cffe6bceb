"""The hypotheses L beta = 0 about the terms of a model: SAS's types I, II and III.

Type I adjusts a term for those before it. Its rows are those of the unit triangular U in
X'X = U'D U (Goodnight 1979, "A tutorial on the SWEEP operator").

Type II adjusts a term for all that do not contain it: rows of U again, with the term and those that
contain it as the last columns. A term that none contains is adjusted for all others: its
coefficients are zero.

Type III makes what a term tests orthogonal to what the terms that contain it test, which weighs the
cells alike if none is empty (SAS/STAT, "The Four Types of Estimable Functions"). Let X_0 = X_K G be
the columns of all indicators, and X_T = X_K A those independent ones of them that treatment
contrasts would take. Then

    X_0 = X_T M G   with   M = A^-1,   so that   beta_T = M beta = (M G) beta_0:

column j of F = (M G)' is coefficient j as a function of the parameters beta_0, one for each
indicator. From higher to lower terms, with t the term's columns and c those of the terms that
contain it,

    F_t <- F_t - F_c F_c^+ F_t.

In the rows of F that belong to X_T now stands h with F_t = F h, and h' beta_T = h'M beta: L = h'M.

Which hypotheses these are follows lmerTest 3.1 (Kuznetsova, Brockhoff & Christensen 2017).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm import _core
from blocklmm.design import Design
from blocklmm.errors import OptionError
from blocklmm.formula import Term, in_r
from blocklmm.parameters import FittedParameters

from .containment import containing
from .indicators import Indicators
from .span import Span, span_of

FloatArray = npt.NDArray[np.float64]

_DEPENDENT = 1e-13  # what earlier columns leave of a column's sum of squares
_TYPES = {"1": 1, "2": 2, "3": 3, "I": 1, "II": 2, "III": 3}


def hypotheses(fit: FittedParameters, type: int | str) -> dict[str, pd.DataFrame]:  # noqa: A002
    """Return what the tests of a fit's terms test; see the fit's method."""
    design, span = fit._problem.design, span_of(fit._problem)
    names = [design.x_names[k] for k in span.kept]
    return {
        term_name(term): pd.DataFrame(L, columns=names)
        for term, L in hypothesis_matrices(design, span, type).items()
    }


def term_name(term: Term) -> str:
    """Return a term as R writes it, ``a:I(x^2)``."""
    return ":".join(map(in_r, term))


def type_number(type: int | str) -> int:  # noqa: A002
    """Return 1, 2 or 3 for a type of hypotheses, in Roman or Arabic numerals.

    Raises
    ------
    OptionError
    """
    if str(type) not in _TYPES:
        raise OptionError(f"type is 1, 2 or 3, not {type!r}")
    return _TYPES[str(type)]


def hypothesis_matrices(design: Design, span: Span, type: int | str) -> dict[Term, FloatArray]:  # noqa: A002
    """Return L (rows x p) by term, in the formula's order and without the intercept.

    Raises
    ------
    OptionError
    """
    number = type_number(type)
    terms = [term for term in design.formula.fixed if term]
    if number == 1 or len(terms) < 2:
        found = _type1(design, span)
    elif number == 2:
        found = _type2(design, span)
    else:
        found = _type3(design, span)
    return {term: _tidied(found[term], span) for term in terms}


def _columns(design: Design, span: Span) -> dict[Term, list[int]]:
    """Return which kept columns of X each term has."""
    out: dict[Term, list[int]] = {term: [] for term in design.formula.fixed}
    for k, column in enumerate(span.kept):
        out[design.x_terms[column]].append(k)
    return out


def _tidied(L: FloatArray, span: Span) -> FloatArray:
    """Set rounding to zero; an entry counts by the size of its coefficient's estimates."""
    sizes = np.abs(L) / span.norms
    return np.where(sizes > 1e-11 * sizes.max(axis=1, initial=0.0, keepdims=True), L, 0.0)


def _unit_triangular(B: FloatArray) -> FloatArray:
    R = np.linalg.qr(B, mode="r")
    return np.asarray(R / np.diag(R)[:, None])


def _type1(design: Design, span: Span) -> dict[Term, FloatArray]:
    U = _unit_triangular(span.B)
    return {term: U[rows] for term, rows in _columns(design, span).items()}


def _type2(design: Design, span: Span) -> dict[Term, FloatArray]:
    columns, p = _columns(design, span), len(span.kept)
    out = {}
    for term, outer in containing(design).items():
        own = columns[term]
        if not outer:
            out[term] = np.eye(p)[own]
            continue
        last = own + [k for other in outer for k in columns[other]]
        order = [k for k in range(p) if k not in last] + last
        first = p - len(last)
        L = np.zeros((len(own), p))
        L[:, order] = _unit_triangular(span.B[:, order])[first : first + len(own)]
        out[term] = L
    return out


def _type3(design: Design, span: Span) -> dict[Term, FloatArray]:
    indicators = Indicators(design, span)
    blocks, treated, owners = [], [], []
    for k, term in enumerate(design.formula.fixed):
        # as in R, the first factor's levels run fastest
        block = indicators.of(term).reshape(len(span.kept), -1, order="F")
        blocks.append(span.without_rounding(block))
        treated.append(indicators.with_treatment(term).ravel(order="F"))
        owners.append(np.full(block.shape[1], k))
    G, owner = np.hstack(blocks), np.concatenate(owners)
    T = np.flatnonzero(np.concatenate(treated))
    T = T[_independent(span.B @ G[:, T])]
    M, lengths = _inverse(span.B @ G[:, T], span.B)
    F = (M @ G).T
    sizes = np.abs(F) * lengths
    F = np.where(sizes > 1e-10 * sizes.max(axis=1, initial=0.0, keepdims=True), F, 0.0)

    fixed, outer = design.formula.fixed, containing(design)
    own = {term: np.flatnonzero(owner[T] == k) for k, term in enumerate(fixed)}
    for term in sorted(outer, key=len, reverse=True):
        if outer[term]:
            c = np.concatenate([own[other] for other in outer[term]])
            F[:, own[term]] = _residuals(F[:, own[term]], F[:, c])
    out = {}
    for term in outer:
        h = F[np.ix_(T, own[term])]
        out[term] = h[:, np.abs(h).sum(axis=0) > 1e-8].T @ M
    return out


def _independent(columns: FloatArray) -> list[int]:
    return list(_core.independent_columns(columns.T @ columns, _DEPENDENT))


def _inverse(columns: FloatArray, B: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return columns^+ B, and the lengths of the columns."""
    lengths = np.linalg.norm(columns, axis=0)
    if columns.shape == B.shape:
        found = np.linalg.solve(columns / lengths, B)
    else:  # contrasts that leave out part of what the levels span
        found = np.linalg.lstsq(columns / lengths, B, rcond=None)[0]
    return found / lengths[:, None], lengths


def _residuals(y: FloatArray, x: FloatArray) -> FloatArray:
    """Return what a least-squares fit on the columns of x leaves of y."""
    lengths = np.linalg.norm(x, axis=0)
    x = x / np.where(lengths > 0, lengths, 1.0)
    left = y - x @ np.linalg.lstsq(x, y, rcond=1e-9)[0]
    return np.asarray(np.where(np.abs(left) > 1e-12 * np.abs(y).max(initial=0.0), left, 0.0))
