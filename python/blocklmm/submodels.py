"""The statistics of a model with some of another's terms: a choice of their columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .columns import coded_by_contrasts
from .compatible import change_of_columns
from .design import Design
from .errors import IncompatibleError
from .factors import CategoryFactor
from .formula import Formula, RandomTerm, Term
from .statistics import RowStatistics


def submodel(
    design: Design, statistics: RowStatistics, formula: Formula
) -> tuple[Design, RowStatistics]:
    """Return the design and statistics of a formula from those of a larger model.

    Parameters
    ----------
    design : Design
    statistics : RowStatistics
    formula : Formula

    Raises
    ------
    IncompatibleError
        If a term is not in the larger model, or would be coded in another way without the others.
    """
    larger = design.formula
    if (formula.response, formula.offsets) != (larger.response, larger.offsets):
        raise IncompatibleError(
            f"{formula.text!r} has another response or offset than {larger.text!r}"
        )
    x = _chosen(design, formula.fixed, larger.fixed, list(design.x_terms), "the fixed effects")
    design, statistics = _uncentred(design, statistics, x)
    z: list[int] = []
    blocks, term_groups, anchors, groups = [], [], [], []
    for random in formula.random:
        block = _block(design, random)
        anchor = next((z_at for z_at in block if design.z_terms[z_at] == ()), None)
        start = len(z)
        place = start + block.index(anchor) if anchor is not None else -1
        anchors += [place] * len(block)
        z += block
        blocks.append(len(block))
        if random.group not in groups:
            groups.append(random.group)
        term_groups.append(groups.index(random.group))
    place_of = {k: at for at, k in enumerate(x)}
    small = replace(
        design,
        formula=formula,
        x_columns=[design.x_columns[k] for k in x],
        x_recipes=[design.x_recipes[k] for k in x],
        x_names=[design.x_names[k] for k in x],
        x_terms=[design.x_terms[k] for k in x],
        inner_shifts=[
            (place_of[j], place_of[partner], centre)
            for j, partner, centre in design.inner_shifts
            if j in place_of
        ],
        ones=None if design.ones is None else design.ones[x],
        groups=groups,
        blocks=blocks,
        term_groups=term_groups,
        z_columns=[design.z_columns[k] for k in z],
        z_names=[design.z_names[k] for k in z],
        z_terms=[design.z_terms[k] for k in z],
        z_anchor=anchors,
    )
    small.formula = small.formula_as_coded()  # x:f may be f:x in the larger model
    if small.ones is not None and not small.ones.any():
        small.ones = None
    statistics = _unshifted(design, statistics, small)
    selections, factors = [], []
    for f, group in enumerate(groups):
        old = design.groups.index(group)
        places = {column: at for at, column in enumerate(design.record_columns(old))}
        wanted = small.record_columns(f)
        own = len(small.members(f))
        selection = [places[column] for column in wanted]
        selections.append((old, selection[:own], selection[own:]))
        factors.append(statistics.factors[old])
    core = statistics.core.restricted(selections)
    return small, RowStatistics.of(core, factors, statistics.dropped)


def _chosen(
    design: Design,
    wanted: tuple[Term, ...],
    known: tuple[Term, ...],
    terms: list[Term],
    what: str,
) -> list[int]:
    """Return which columns belong to some terms; terms are sets of factors."""

    def is_category(text: str) -> bool:
        return isinstance(design._factors.get(text), CategoryFactor)

    names = {frozenset(term): term for term in known}
    unknown = [":".join(term) or "1" for term in wanted if frozenset(term) not in names]
    if unknown:
        raise IncompatibleError(f"{', '.join(unknown)} in {what} is no term of the larger model")
    mine = tuple(names[frozenset(term)] for term in wanted)
    before, after = coded_by_contrasts(known, is_category), coded_by_contrasts(mine, is_category)
    for term in mine:
        for factor in term:
            if is_category(factor) and ((term, factor) in before) != ((term, factor) in after):
                raise IncompatibleError(
                    f"{':'.join(term)} in {what} would be coded in another way without the other "
                    "terms: make statistics of this model from the data"
                )
    return [k for term in mine for k, own in enumerate(terms) if own == term]


def _block(design: Design, random: RandomTerm) -> list[int]:
    """Return the columns of Z of a random term, from the larger model's term that has them."""
    problem: IncompatibleError | None = None
    start = 0
    for large, width in zip(design.formula.random, design.blocks, strict=True):
        columns = range(start, start + width)
        start += width
        if large.group != random.group:
            continue
        what = f"the random term {random.text}"
        try:
            own: list[Term] = [design.z_terms[k] for k in columns]
            chosen = _chosen(design, random.terms, large.terms, own, what)
        except IncompatibleError as error:
            problem = error
            continue
        return [columns[k] for k in chosen]
    raise problem or IncompatibleError(
        f"the larger model has no random effects of {random.group_name!r}"
    )


def _uncentred(
    design: Design, statistics: RowStatistics, x: list[int]
) -> tuple[Design, RowStatistics]:
    """Undo the centres of products whose indicators are not among some columns of X."""
    lost = {j for j, partner, _ in design.inner_shifts if j in x and partner not in x}
    if not lost:
        return design, statistics
    columns = list(design.columns)
    for j in lost:
        columns[design.x_columns[j]] = (design.x_recipes[j], False)
    shifts = [(j, partner, 0.0 if j in lost else c) for j, partner, c in design.inner_shifts]
    plain = replace(design, columns=columns, inner_shifts=shifts)
    shift = np.asarray(statistics.core.shift)
    core = statistics.core.in_columns(*change_of_columns(design, shift, plain, shift), shift)
    plain.inner_shifts = [found for found in shifts if found[0] not in lost]
    return plain, RowStatistics.of(core, statistics.factors, statistics.dropped)


def _unshifted(design: Design, statistics: RowStatistics, small: Design) -> RowStatistics:
    """Return statistics whose columns are about zero where the smaller model lacks the constant."""
    shift = np.asarray(statistics.core.shift)
    new_shift = shift.copy()
    if small.ones is None:
        new_shift[:] = 0.0
    for k, column in enumerate(small.z_columns):
        if small.z_anchor[k] < 0:
            new_shift[column] = 0.0
    if np.array_equal(new_shift, shift):
        return statistics
    M, by_factor = change_of_columns(design, shift, design, new_shift)
    core = statistics.core.in_columns(M, by_factor, new_shift)
    return RowStatistics.of(core, statistics.factors, statistics.dropped)
