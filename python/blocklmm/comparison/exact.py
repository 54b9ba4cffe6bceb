"""Likelihood-ratio tests whose null distribution is simulated: exact for one variance component."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from blocklmm.errors import DataError, InferenceError, did_you_mean, warn
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.bootstrap.replicates import Drawing, Replicates, replicate
from blocklmm.inference.nested.reduced import ReducedModel, likelihood_ratio
from blocklmm.problem import Problem

from .boundary import nested_in
from .information_criteria import by_one_likelihood, require_same_response

FloatArray = npt.NDArray[np.float64]


_FAILED = 0.01  # share of draws without a certificate that is worth a warning


@dataclass(frozen=True, slots=True)
class SimulatedTest:
    """A test by a simulated null distribution.

    Attributes
    ----------
    statistic : float
    p_value : float
        Share of the null distribution that reaches the statistic, the data among the draws:
        (k + 1) / (n + 1), which is never zero (Davison & Hinkley 1997, sec. 4.2.2; Phipson & Smyth
        2010).
    null : array of shape (n,)
        The simulated statistics.
    n_failed : int
        Draws whose optima have no certificate; they are left out.
    seed : int
    method : str
    """

    statistic: float
    p_value: float
    null: FloatArray
    n_failed: int
    seed: int
    method: str

    @property
    def standard_error(self) -> float:
        """The Monte Carlo standard error of the p-value."""
        return float(np.sqrt(self.p_value * (1 - self.p_value) / len(self.null)))

    def __repr__(self) -> str:
        failed = f", {self.n_failed} left out" if self.n_failed else ""
        return (
            f"{self.method}: statistic {self.statistic:.6g}, p-value {self.p_value:.4g} "
            f"({len(self.null)} draws{failed}, Monte Carlo standard error "
            f"{self.standard_error:.2g})"
        )


def exact_rlrt(
    fit: LinearMixedFit,
    n_sim: int = 10_000,
    seed: int | None = None,
    term: str | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> SimulatedTest:
    """Test a variance component by the restricted likelihood ratio, its null simulated.

    Parameters
    ----------
    fit : LinearMixedFit
        A REML fit. Of a single uncorrelated random effect the test is exact.
    n_sim : int
    seed : int, optional
    term : str, optional
        The random term to test, as it stands in the formula (``"(1 | g)"``), where the model has
        several; it must have one effect.
    n_threads : int, optional
    progress : bool, optional

    Returns
    -------
    SimulatedTest

    Raises
    ------
    InferenceError
        After maximum likelihood; for a term of several effects.
    DataError
        For an unknown term.

    Notes
    -----
    Under the null hypothesis the distribution of the statistic does not depend on any parameter, so
    that it can be simulated exactly (Crainiceanu & Ruppert 2004); here from responses drawn on the
    statistics instead of by a spectral decomposition, which takes as long at 10^5 groups as at ten.
    With other random terms it is that of the model in which the tested term is the only one
    (Greven, Crainiceanu, Küchenhoff & Peters 2008), as in RLRsim.
    """
    _require_fit(fit)
    fit._require_certified()
    if not fit.reml:
        raise InferenceError(
            "a restricted likelihood-ratio test needs a REML fit: use fit.refit_reml(), or "
            "exact_lrt(smaller, larger) for maximum likelihood"
        )
    problem = fit._problem
    tested = _tested_term(fit, term)
    without = fit._problem.structure.slices[tested]
    others = [k for k in range(problem.structure.q) if k != without.start]
    blocks = tuple(b for k, b in enumerate(problem.structure.blocks) if k != tested)
    smaller = _selected(problem, others, blocks)
    statistic = float(likelihood_ratio(smaller.fit(reml=True).objective, fit.objective))
    alone, none = _selected(problem, [without.start], (1,)), _selected(problem, [], ())
    drawing = Drawing.of(n_sim, seed, n_threads, progress)
    one = np.ones((1, 1)) / alone.column_sizes()
    zero = np.zeros((problem.structure.q,) * 2)
    (full, null), _ = replicate(
        problem, zero, 1.0, [(alone, True, 0.5 * one), (none, True, np.zeros((0, 0)))], drawing
    )
    draws = _ratios(null, full)
    name = _term_names(fit)[tested]
    method = f"exact RLRT of {name}"
    if others:
        method = f"RLRT of {name}, other random terms set aside"
    return _result(statistic, draws, drawing, method)


def exact_lrt(
    smaller: LinearMixedFit,
    larger: LinearMixedFit,
    n_sim: int = 10_000,
    seed: int | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> SimulatedTest:
    """Test fixed effects and a variance component together, the null distribution simulated.

    Parameters
    ----------
    smaller : LinearMixedFit
        A model without random terms.
    larger : LinearMixedFit
        One with a single random effect, and perhaps more fixed effects.
    n_sim, seed, n_threads, progress
        As for :func:`exact_rlrt`.

    Returns
    -------
    SimulatedTest
        By maximum likelihood; REML fits are refitted.

    Raises
    ------
    InferenceError
        If the smaller model has random terms, or the larger more than one effect: use
        :func:`bootstrap_lrt`.

    Notes
    -----
    Exact in finite samples: the null distribution is free of parameters (Crainiceanu & Ruppert
    2004).
    """
    for fit in (smaller, larger):
        _require_fit(fit)
    if smaller.ngroups or larger._problem.structure.q != 1:
        raise InferenceError(
            "the exact test is of a model with one random effect against one with none: "
            "use bootstrap_lrt for others"
        )
    found = bootstrap_lrt(smaller.refit_ml(), larger.refit_ml(), n_sim, seed, n_threads, progress)
    return replace(found, method="exact LRT")


def bootstrap_lrt(
    smaller: LinearMixedFit,
    larger: LinearMixedFit,
    n_sim: int = 1_000,
    seed: int | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> SimulatedTest:
    """Test any nested model by the parametric bootstrap of its likelihood ratio.

    Parameters
    ----------
    smaller, larger : LinearMixedFit
        Nested models of the same response. REML fits of different fixed effects are refitted by
        ML.
    n_sim, seed, n_threads, progress
        As for :func:`exact_rlrt`.

    Returns
    -------
    SimulatedTest

    Raises
    ------
    InferenceError
        If the models are not seen to be nested, by the names of their effects.
    """
    require_same_response((smaller, larger), "bootstrap_lrt")
    (smaller, larger), _ = by_one_likelihood((smaller, larger))
    for fit in (smaller, larger):
        fit._require_certified()
    model = nested_in(larger, smaller)
    if model is None or model.n_parameters >= larger.n_parameters:
        raise InferenceError(
            f"{smaller.formula!r} is not seen to be nested in {larger.formula!r}: all its effects "
            "must be among the other's, and fewer"
        )
    if not model.has_own_columns:
        raise InferenceError(
            f"{smaller.formula!r} has no intercept, and the columns of the other's statistics are "
            "about another origin: its fits can't be simulated from them"
        )
    problem, null = larger._problem, model.at(smaller)
    drawing = Drawing.of(n_sim, seed, n_threads, progress)
    whole = ReducedModel.of_all(problem)
    start = problem.structure.matrix(larger.theta)
    (full, reduced), _ = replicate(
        problem,
        null.embedded(),
        null.sigma,
        [(whole, larger.reml, start), (model, larger.reml, null.factor)],
        drawing,
    )
    statistic = float(likelihood_ratio(smaller.objective, larger.objective))
    draws = _ratios(reduced, full)
    return _result(statistic, draws, drawing, "parametric bootstrap LRT")


def _ratios(null: Replicates, full: Replicates) -> FloatArray:
    """Return the draws' likelihood ratios, those of certified optima."""
    good = null.converged & full.converged
    if good.mean() < 1 - _FAILED:
        warn(f"{int((~good).sum())} of {len(good)} draws were not certified and are left out")
    return likelihood_ratio(null.objective[good], full.objective[good])


def _result(statistic: float, draws: FloatArray, drawing: Drawing, method: str) -> SimulatedTest:
    n = len(draws)
    p_value = (1 + int((draws >= statistic).sum())) / (n + 1) if statistic > 0 else 1.0
    return SimulatedTest(float(statistic), p_value, draws, drawing.n - n, drawing.seed, method)


def _selected(problem: Problem, effects: list[int], blocks: tuple[int, ...]) -> ReducedModel:
    E = np.eye(problem.structure.q)[:, effects]
    return ReducedModel(problem, E, blocks, np.arange(len(problem.kept)))


def _require_fit(fit: LinearMixedFit) -> None:
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"the test is of a fit, not of {type(fit).__name__!r}")


def _term_names(fit: LinearMixedFit) -> list[str]:
    return [
        f"({' + '.join(':'.join(t) or '1' for t in random.terms)} | {random.group_name})"
        for random in fit._problem.formula.random
    ]


def _tested_term(fit: LinearMixedFit, term: str | None) -> int:
    """Return the number of the term to test."""
    problem, texts = fit._problem, _term_names(fit)
    written = [random.text for random in problem.formula.random]
    if not texts:
        raise InferenceError("the model has no random terms to test")
    if term is None:
        if len(texts) > 1:
            raise InferenceError(
                f"the model has several random terms: give term=, one of {', '.join(texts)}"
            )
        found = 0
    else:
        plain = "".join(str(term).split()).replace("(0+", "(")
        matches = [
            k
            for k in range(len(texts))
            if plain in ("".join(texts[k].split()), "".join(written[k].split()).replace("(0+", "("))
        ]
        if not matches:
            raise DataError(
                f"there is no random term {term!r}.{did_you_mean(term, texts)} There are "
                f"{', '.join(texts)}"
            )
        if len(matches) > 1:
            raise InferenceError(
                f"{term!r} stands for several terms: give one of "
                f"{', '.join(texts[k] for k in matches)}"
            )
        found = matches[0]
    if problem.structure.blocks[found] != 1:
        raise InferenceError(
            f"the term {texts[found]} has {problem.structure.blocks[found]} effects: an exact test "
            "is of one variance; use ranova or bootstrap_lrt"
        )
    return found
