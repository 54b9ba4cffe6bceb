"""Simulated power for other numbers of groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri, stdtrit

from blocklmm.errors import DataError, InferenceError, did_you_mean
from blocklmm.fit import LinearMixedFit
from blocklmm.model import LinearMixedModel
from blocklmm.predict import row_groups

from .boundary import p_values
from .ranova import terms_without
from .reduced import ReducedModel
from .replicates import Drawing, replicate

FloatArray = npt.NDArray[np.float64]


def power(
    fit: LinearMixedFit,
    term: str,
    n_groups: int | Sequence[int],
    effect: float | None = None,
    alpha: float = 0.05,
    n_sim: int = 1000,
    seed: int | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Simulate the power of a test for numbers of groups, from a fit to a pilot study.

    Parameters
    ----------
    fit : LinearMixedFit
        What is drawn from: its design, T and sigma.
    term : str
        A fixed coefficient, tested by t on Satterthwaite's degrees of freedom, or a random effect
        as :func:`ranova` names it (``"(1 | g)"``, ``"x in (x | g)"``), tested by its likelihood
        ratio and chi-bar-square.
    n_groups : int or sequence of int
        Numbers of levels of the grouping factor in which all others are nested. The study's own
        groups, with their rows, are repeated in turn; for a smaller number the first are taken.
    effect : float, optional
        The true coefficient; by default the estimate. A random effect has its fitted variance.
    alpha : float
        Level of the two-sided test.
    n_sim, seed, n_threads, progress
        As for :meth:`LinearMixedFit.bootstrap`.

    Returns
    -------
    DataFrame
        Indexed by n_groups: n_rows, power, lower and upper (Wilson's 95 % limits for the simulation
        error), and for a coefficient df, the degrees of freedom of its test.

    Raises
    ------
    InferenceError
        If the factors are crossed, so that no factor's levels can be repeated alone.
    DataError
        For an unknown term, or if the fit was restored without its data.
    ValueError

    Notes
    -----
    Responses are drawn and fitted on the statistics of each design (Green & MacLeod 2016 do so on
    rows).
    """
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"power is about a fit, not a {type(fit).__name__!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is between 0 and 1, not {alpha!r}")
    counts = [n_groups] if isinstance(n_groups, int | np.integer) else list(n_groups)
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 2:
            raise ValueError(f"n_groups are whole numbers from 2, not {count!r}")
    names = list(fit.params.index)
    removals = [label for label, _ in terms_without(fit)] if fit.ngroups else []
    if term not in [*names, *removals]:
        near = did_you_mean(term, [*names, *removals])
        raise DataError(f"there is neither a coefficient nor a random effect {term!r}.{near}")
    if term not in names and effect is not None:
        raise ValueError("effect is of a coefficient: a random effect has its fitted variance")
    drawing = Drawing.of(n_sim, seed, n_threads, progress)
    repeated = _Repeated(fit)
    rows = []
    for count in counts:
        other = repeated.fit(int(count))
        if term in names:
            k = names.index(term)
            true = float(fit.params.iloc[k]) if effect is None else float(effect)
            df = float(other.df.iloc[k])
            hits = _rejected_coefficient(fit, other, k, true, df, alpha, drawing)
        else:
            df = np.nan
            hits = _rejected_variance(fit, other, term, alpha, drawing)
        rows.append((other.nobs, *_share(hits), df))
    columns = ["n_rows", "power", "lower", "upper", "df"]
    index = pd.Index(counts, name="n_groups")
    return pd.DataFrame(rows, columns=columns, index=index)


@dataclass(frozen=True, slots=True)
class _Repeated:
    """Designs with a study's groups repeated."""

    of: LinearMixedFit

    def fit(self, count: int) -> LinearMixedFit:
        """Return a fit to the study's rows with so many levels of the outermost factor."""
        fit, problem = self.of, self.of._problem
        frame, design = fit._frame(), problem.design
        if design.has_array("weights") or design.has_array("offset"):
            raise DataError("weights and offset given as arrays can't be repeated: name columns")
        factors = problem.statistics.factors
        outer = int(np.argmin([factor.n_levels for factor in factors])) if factors else -1
        if outer < 0:
            raise InferenceError("the model has no random terms, hence no groups to repeat")
        groups = row_groups(problem, frame)
        used = np.flatnonzero(fit._used)
        own = groups[used, outer]
        for f in range(len(factors)):
            if len(np.unique(groups[used][:, [f, outer]], axis=0)) > factors[f].n_levels:
                raise InferenceError(
                    f"the levels of {factors[f].name!r} occur with several of "
                    f"{factors[outer].name!r}: groups of crossed factors can't be repeated alone"
                )
        place = np.empty(factors[outer].n_levels, dtype=np.int64)
        place[factors[outer].order] = np.arange(len(place))
        order = np.argsort(place[own], kind="stable")
        starts = np.searchsorted(place[own][order], np.arange(len(place) + 1))
        pieces = [np.arange(starts[k % len(place)], starts[k % len(place) + 1]) for k in range(count)]
        copy = np.repeat(np.arange(count), [len(piece) for piece in pieces])
        rows = used[order][np.concatenate(pieces)]
        taken = frame.taken(rows)
        for name in {column for group in design.groups for column in group}:
            labels = pd.factorize(taken[name])[0] if name in taken else None
            if labels is None:
                continue
            # a level of its own in each copy of the outermost group
            taken[name] = copy * (labels.max(initial=0) + 1) + labels
        settings = fit._problem.settings
        model = LinearMixedModel(problem.formula.text, taken, **settings)
        return model.fit(reml=fit.reml)
