"""Tests of the random effects, each removed in turn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from blocklmm.arguments import require_flag
from blocklmm.design import Design
from blocklmm.errors import InferenceError
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.nested.reduced import ReducedModel
from blocklmm.problem import Problem
from blocklmm.tables import noted

from .boundary import boundary_test


def ranova(fit: LinearMixedFit, reduce_terms: bool = True) -> pd.DataFrame:
    """Test each random effect by the likelihood ratio of the model without it, as lmerTest.

    Parameters
    ----------
    fit : LinearMixedFit
        Restricted likelihoods are compared after REML.
    reduce_terms : bool
        ``(x | g)`` loses x and becomes ``(1 | g)``; a term of an intercept alone is removed. If
        false every term is removed whole. Effects that are part of others (x of ``x:z``) stay, and
        of a term without an intercept the last effect goes with the term, but for indicators of
        all levels of a category, of which the intercept stays unless another term has it.

    Returns
    -------
    DataFrame
        One row a model, indexed by what was removed, the whole model first (``<none>``): npar,
        logLik, AIC, LRT, Df, p_chisq and p_boundary.

    Raises
    ------
    InferenceError
        If the model has no random terms.

    Notes
    -----
    The reduced models are fitted to the statistics of the whole one: no row is read. ``p_chisq`` is
    lmerTest's, from chi-square on Df; it is conservative, since a variance of zero lies on the
    boundary. ``p_boundary`` is from the chi-bar-square distribution (Self & Liang 1987; Stram & Lee
    1994; Baey, Cournède & Kuhn 2019); for a single variance component :func:`exact_rlrt` simulates
    the null distribution in finite samples.
    """
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"ranova tests the terms of a fit, not of {type(fit).__name__!r}")
    require_flag("reduce_terms", reduce_terms)
    if not fit.ngroups:
        raise InferenceError("the model has no random terms to test")
    fit._require_certified()
    rows = [(fit.n_parameters, fit.llf, fit.aic, np.nan, np.nan, np.nan, np.nan)]
    labels = ["<none>"]
    notes = [f"{'restricted' if fit.reml else 'maximum'} likelihoods"]
    for label, model in terms_without(fit, reduce_terms):
        null = model.fit(fit.reml)
        test = boundary_test(fit, null)
        aic = null.objective + 2 * model.n_parameters
        rows.append(
            (
                model.n_parameters,
                -0.5 * null.objective,
                aic,
                test.statistic,
                test.df,
                test.p_chisq,
                test.p_boundary,
            )
        )
        labels.append(label)
        notes += [f"{label}: {note}" for note in test.notes]
    columns = ["npar", "logLik", "AIC", "LRT", "Df", "p_chisq", "p_boundary"]
    table = pd.DataFrame(rows, columns=columns, index=pd.Index(labels, dtype=object))
    table["npar"] = table["npar"].astype(int)
    return noted(table, notes)


def terms_without(
    fit: LinearMixedFit, reduce_terms: bool = True
) -> Iterator[tuple[str, ReducedModel]]:
    """Yield what is removed, and the model without it, for each effect of each random term."""
    problem, design = fit._problem, fit._problem.design
    for term, s in zip(problem.formula.random, problem.structure.slices, strict=True):
        written = f"({_written(term.terms)} | {term.group_name})"
        effects = [t for t in dict.fromkeys(design.z_terms[s]) if t]
        removable = [t for t in effects if not any(set(t) < set(other) for other in effects)]
        if not reduce_terms or not removable:
            yield written, _without(problem, s, range(s.start, s.stop), None)
            continue
        for effect in removable:
            gone = [k for k in range(s.start, s.stop) if design.z_terms[k] == effect]
            left = s.stop - s.start - len(gone)
            intercept = None
            if not left and len(gone) > 1 and design.are_indicators(gone):
                intercept = None if _has_intercept(design, s) else gone
            label = ":".join(effect).replace(" ** ", "^")
            yield f"{label} in {written}", _without(problem, s, gone, intercept)


def _has_intercept(design: Design, term: slice) -> bool:
    """Tell whether another term has a random intercept of the same groups."""
    ends = np.cumsum([0, *design.blocks])
    group = design.term_groups[int(np.searchsorted(ends, term.start))]
    return any(
        design.term_groups[k] == group and () in design.z_terms[ends[k] : ends[k + 1]]
        for k in range(len(design.blocks))
        if ends[k] != term.start
    )


def _written(terms: tuple[tuple[str, ...], ...]) -> str:
    texts = [":".join(term).replace(" ** ", "^") for term in terms if term]
    if () not in terms:
        return " + ".join(["0", *texts])
    return " + ".join(texts) or "1"


def _without(
    problem: Problem, term: slice, gone: range | list[int], intercept: list[int] | None
) -> ReducedModel:
    q = problem.structure.q
    columns, blocks = [], []
    for s in problem.structure.slices:
        kept = [k for k in range(s.start, s.stop) if k not in gone]
        columns += [np.eye(q)[k] for k in kept]
        if s == term and intercept:
            columns.append(np.isin(np.arange(q), intercept).astype(float))
            blocks.append(len(kept) + 1)
        elif kept:
            blocks.append(len(kept))
    E = np.array(columns).T if columns else np.zeros((q, 0))
    return ReducedModel(problem, E, tuple(blocks), np.arange(len(problem.kept)))
