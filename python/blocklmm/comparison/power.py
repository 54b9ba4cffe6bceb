"""Simulated power for other numbers of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq

from blocklmm.arguments import require_count
from blocklmm.errors import (
    DataError,
    InferenceError,
    OptionError,
    did_you_mean,
    labels_phrase,
    warn,
)
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.bootstrap.replicates import Drawing, replicate
from blocklmm.inference.nested.reduced import ReducedModel, likelihood_ratio
from blocklmm.inference.testing.tails import t_quantiles
from blocklmm.labels import group_labels
from blocklmm.model import LinearMixedModel
from blocklmm.predict import row_groups

from .boundary import null_law
from .ranova import terms_without

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
        A fixed coefficient, tested by t on Satterthwaite's degrees of freedom at the truth, or a
        random effect
        as :func:`ranova` names it (``"(1 | g)"``, ``"x in (x | g)"``), tested by its likelihood
        ratio and chi-bar-square.
    n_groups : int or sequence of int
        Numbers of levels of the grouping factor in which all others are nested. The study's own
        groups stand, with their rows, for all: put into the order of their means of the columns of
        X and taken at equal steps, so that each arm has its share of them.
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
        For an unknown term, or if the fit is without its rows.
    OptionError

    Notes
    -----
    Responses are drawn and fitted on the statistics of each design (Green & MacLeod 2016 do so on
    rows).
    """
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"power is about a fit, not a {type(fit).__name__!r}")
    if not isinstance(alpha, Real) or not 0 < float(alpha) < 1:
        raise OptionError(f"alpha is between 0 and 1, not {alpha!r}")
    if effect is not None and not (isinstance(effect, Real) and np.isfinite(float(effect))):
        raise OptionError(f"effect is a finite number, not {effect!r}")
    fit._require_certified()
    counts = [require_count("n_groups", count, least=2) for count in np.atleast_1d(n_groups)]
    if not counts:
        raise OptionError("n_groups names no number of groups")
    names = list(fit.params.index)
    removals = [label for label, _ in terms_without(fit)] if fit.ngroups else []
    if term not in [*names, *removals]:
        near = did_you_mean(term, [*names, *removals])
        raise DataError(
            f"there is neither a coefficient nor a random effect {term!r}.{near} There are "
            f"{labels_phrase([*names, *removals], most=20)}"
        )
    if term not in names and effect is not None:
        raise OptionError("effect is of a coefficient: a random effect has its fitted variance")
    drawing = Drawing.of(n_sim, seed, n_threads, progress)
    repeated = _Repeated(fit)
    rows = []
    for count in counts:
        other = repeated.fit(int(count))
        random = [fit._problem.design.z_names, other._problem.design.z_names]
        if list(other.params.index) != names or random[0] != random[1]:
            raise DataError(f"{count} groups do not estimate all effects of the model: take more")
        if term in names:
            k = names.index(term)
            true = float(fit.params.iloc[k]) if effect is None else float(effect)
            df = float(other.df.iloc[k])
            hits = _rejected_coefficient(fit, other, k, true, alpha, drawing)
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
        frame, factors = fit._frame(), problem.statistics.factors
        if not factors:
            raise InferenceError("the model has no random terms, hence no groups to repeat")
        if text := problem.design.learnt_from_data():
            raise InferenceError(
                f"{text!r} depends on all rows of the data: its coefficients mean another thing in "
                "another design; put it into a column of its own"
            )
        if problem.design.has_array("weights") or problem.design.has_array("offset"):
            raise DataError("weights and offset given as arrays can't be repeated: name columns")
        outer = int(np.argmin([factor.n_levels for factor in factors]))
        used = np.flatnonzero(fit._used)
        groups = row_groups(problem, frame)[used]
        for f, factor in enumerate(factors):
            if len(np.unique(groups[:, [f, outer]], axis=0)) > factor.n_levels:
                raise InferenceError(
                    f"the levels of {factor.name!r} occur with several of "
                    f"{factors[outer].name!r}: groups of crossed factors can't be repeated alone"
                )
        place = np.empty(factors[outer].n_levels, dtype=np.int64)
        place[factors[outer].order] = np.arange(len(place))
        own = place[groups[:, outer]]
        order = np.argsort(own, kind="stable")
        starts = np.searchsorted(own[order], np.arange(len(place) + 1))
        design = problem.design
        recipes = [design.x_recipes[k] for k in problem.kept]
        X = design.matrix(frame, recipes)[used][order]
        means = np.add.reduceat(X, starts[:-1], axis=0) / np.diff(starts)[:, None]
        by_arm = np.lexsort(np.round(means, 12).T[::-1])
        which = by_arm[(np.arange(count) * len(place) + len(place) // 2) // count]
        sizes = np.diff(starts)[which]
        first = np.repeat(starts[which] - np.cumsum(sizes) + sizes, sizes)
        rows = used[order][first + np.arange(sizes.sum())]
        labels = self._labels(np.repeat(np.arange(count), sizes), rows)
        model = LinearMixedModel(
            problem.formula.text, frame.taken(rows, labels), **problem.arguments
        )
        return model.fit(reml=fit.reml)

    def _labels(
        self, copies: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.int64]]:
        """Return labels of the grouping columns, of their own in each copy of a group."""
        formula, frame = self.of._problem.formula, self.of._frame()
        terms = [*formula.fixed, *(t for random in formula.random for t in random.terms)]
        fixed = {factor for term in terms for factor in term}
        out = {}
        for group in self.of._problem.design.groups:
            free = [name for name in group if name not in fixed]
            if not free:
                raise InferenceError(
                    f"the groups {':'.join(group)!r} are of columns with fixed effects: they can't "
                    "be repeated"
                )
            for name in free:
                found = group_labels(frame, (name,))
                codes = np.asarray(found.codes, dtype=np.int64)[rows] - found.base
                out[name] = copies * found.n_slots + codes
        return out


def _truth(fit: LinearMixedFit, other: LinearMixedFit) -> FloatArray:
    """Return the fit's T as a factor in the core's units of the other."""
    lambda_ = fit._problem.structure.matrix(fit.theta)
    return np.asfortranarray(np.linalg.solve(other._problem.units.z_basis, lambda_))


def _rejected_coefficient(
    fit: LinearMixedFit,
    other: LinearMixedFit,
    k: int,
    true: float,
    alpha: float,
    drawing: Drawing,
) -> npt.NDArray[np.bool_]:
    problem = other._problem
    start = problem.structure.matrix(fit.theta)
    (found,), _ = replicate(
        problem,
        _truth(fit, other),
        fit.sigma,
        [(ReducedModel.of_all(problem), fit.reml, start)],
        drawing,
    )
    good = _certified(found.converged)
    t = (true + found.beta[good, k]) / found.bse[good, k]
    df = float(other.df.iloc[k])
    return np.asarray(np.abs(t) > t_quantiles(alpha, np.array(df)))


def _rejected_variance(
    fit: LinearMixedFit, other: LinearMixedFit, label: str, alpha: float, drawing: Drawing
) -> npt.NDArray[np.bool_]:
    problem = other._problem
    model = dict(terms_without(other))[label]
    null = model.fit(fit.reml)
    start = problem.structure.matrix(fit.theta)
    (full, reduced), _ = replicate(
        problem,
        _truth(fit, other),
        fit.sigma,
        [(ReducedModel.of_all(problem), fit.reml, start), (model, fit.reml, null.factor)],
        drawing,
    )

    law, _ = null_law(other, null)
    if law is None:
        raise InferenceError(
            f"the null distribution of a test of {label!r} is not known in this design: the data "
            "do not identify all variances that it tests"
        )
    known = law

    def above(c: float) -> float:
        return known.tail(c) - alpha

    critical = brentq(above, 1e-6, 400.0) if above(1e-6) > 0 else 0.0
    good = _certified(reduced.converged & full.converged)
    return np.asarray(likelihood_ratio(reduced.objective, full.objective)[good] > critical)


def _certified(good: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    if not good.all():
        warn(f"{int((~good).sum())} of {len(good)} simulated fits were not certified, left out")
    return good


def _share(hits: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return a share and its limits by Wilson's score (1927)."""
    n, share, z = len(hits), float(hits.mean()), 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return share, max(middle - half, 0.0), min(middle + half, 1.0)
