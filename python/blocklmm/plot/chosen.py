"""Which grouping factor, random effects and groups a picture is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.arguments import require_count, require_name, require_seed
from blocklmm.errors import DataError, OptionError, did_you_mean, labels_phrase
from blocklmm.fit import LinearMixedFit
from blocklmm.predict import row_groups

IntArray = npt.NDArray[np.int64]


def require_fit(fit: Any) -> None:
    """Raise a TypeError for what is no fit."""
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"the picture is of a fit, not of {type(fit).__name__!r}")


def chosen_factor(fit: LinearMixedFit, factor: str | None) -> str:
    """Return the grouping factor named, or the only one.

    Raises
    ------
    TypeError
        For what is no fit.
    DataError
        If there is none of that name, or several and none is named.
    """
    require_fit(fit)
    known = list(fit.ngroups)
    if not known:
        raise DataError("the model has no random terms, hence no groups")
    if factor is None:
        if len(known) > 1:
            raise DataError(
                f"the model has several grouping factors: give factor=, one of {', '.join(known)}"
            )
        return known[0]
    if factor not in known:
        effects = {str(name) for table in fit.ranef().values() for name in table.columns}
        is_effect = isinstance(factor, str) and factor in effects
        hint = f" {factor!r} is a random effect: it is no factor, but a term" if is_effect else ""
        raise DataError(
            f"there is no grouping factor {factor!r}.{did_you_mean(factor, known)} Factors are "
            f"{labels_phrase(known)}.{hint}"
        )
    return factor


def chosen_effect(fit: LinearMixedFit, factor: str, term: str | None) -> int:
    """Return the place of a random effect among its factor's, the first by default.

    Raises
    ------
    OptionError
        For what is no name.
    DataError
        If there is none of that name, or more than one.
    """
    known = [str(name) for name in fit.ranef()[factor].columns]
    if term is None:
        return 0
    term = require_name("term", term)
    if known.count(term) != 1:
        raise DataError(
            f"{factor!r} has {'no' if term not in known else 'more than one'} random effect "
            f"{term!r}.{did_you_mean(term, set(known) - {term})} Its effects are "
            f"{labels_phrase(known, most=20)}"
        )
    return known.index(term)


def drawn_groups(n: int, most: int, seed: int | None) -> tuple[IntArray, str]:
    """Return which of n groups are drawn, in order, and a note if they are a sample.

    Raises
    ------
    OptionError
        For a number or a seed that is none.
    """
    most, seed = require_count("most", most), require_seed(seed)
    if n <= most:
        return np.arange(n), ""
    by = "" if seed is None else f" (seed {seed})"
    places = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    return places, f"{most:,} of {n:,} groups, drawn at random{by}"


def named_groups(fit: LinearMixedFit, factor: str, groups: Iterable[Any]) -> IntArray:
    """Return the places of groups among their factor's levels, as ``ranef`` orders them.

    Raises
    ------
    DataError
        For a level that there is not.
    OptionError
        If no group is named.
    """
    labels = [groups] if isinstance(groups, str) or not np.iterable(groups) else list(groups)
    if not labels:
        raise OptionError("groups is empty: name some, or leave it out for a sample")
    known = fit.ranef()[factor].index
    places = known.get_indexer(pd.Index(labels))
    for label, place in zip(labels, places, strict=True):
        if place < 0:
            near = did_you_mean(label, known[:10_000])
            raise DataError(f"{factor!r} has no level {label!r}.{near}")
    return np.asarray(places, dtype=np.int64)


def rows_by_group(fit: LinearMixedFit, factor: str, places: IntArray) -> list[IntArray]:
    """Return for some groups their rows, counted among all rows of the data.

    Parameters
    ----------
    fit : LinearMixedFit
    factor : str
    places : array of shape (m,)
        Of the groups, as ``ranef`` orders them.

    Raises
    ------
    DataError
        If the fit is without its rows.
    """
    problem, number = fit._problem, list(fit.ngroups).index(factor)
    level = row_groups(problem, fit._frame())[:, number]
    rows = np.flatnonzero(fit._used)
    in_order = rows[np.argsort(level[rows], kind="stable")]
    wanted = problem.statistics.factors[number].order[places]
    starts, stops = (np.searchsorted(level[in_order], wanted, side) for side in ("left", "right"))
    return [in_order[i:j] for i, j in zip(starts, stops, strict=True)]
