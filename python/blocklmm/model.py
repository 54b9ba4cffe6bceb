"""A model is a formula on data, made once and fitted as often as wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from .columns import build
from .errors import OptionError
from .fit import LinearMixedFit, estimate
from .formula import parse
from .gathering import gather
from .optimize import FitOptions
from .problem import Problem
from .streams import as_rows, mentioned


class LinearMixedModel:
    """A linear mixed-effects model, y = X beta + Z b + e.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``: the fixed part is formulaic's, random
        terms are lme4's. Without a random term it is the linear model with independent errors.
    data : data frame
        pandas, polars or pyarrow table, mapping of arrays, or anything narwhals reads.
    weights : str or array of shape (n,), optional
        Column or values: the residual variance of a row is sigma^2 / weight.
    offset : str or array of shape (n,), optional
        Column or values taken from the response.
    missing : {"drop", "error"}
        What to do with rows that miss a value of a column in the formula.
    contrasts : mapping, optional
        Contrasts by column: "treatment" (default), "sum", "helmert", "diff", "poly", "sas", or an
        object of formulaic's ``contr``.
    rank_deficient : {"drop", "error"}
        What to do with columns of X that depend on earlier ones: drop and report them as R does,
        or raise.

    Raises
    ------
    FormulaError
        If the formula can't be understood.
    DataError
        If the data can't be used as they are.

    Notes
    -----
    The model keeps a reference to the data, not a copy, and reads them in one pass at its first
    fit. No matrix of all rows is ever made. ``(x || g)`` makes one independent block of each term
    left of the bar, as lme4's expansion of the formula reads: for a categorical x that is
    ``(1 | g) + (0 + x | g)``, with the levels of x correlated among themselves.
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        *,
        weights: Any = None,
        offset: Any = None,
        missing: str = "drop",
        contrasts: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        rank_deficient: str = "drop",
        progress: bool | None = None,
    ) -> None:
        for name, value in (("missing", missing), ("rank_deficient", rank_deficient)):
            if value not in ("drop", "error"):
                raise OptionError(f"{name} is 'drop' or 'error', not {value!r}")
        self.formula = parse(formula)
        self._missing, self._rank_deficient = missing, rank_deficient
        self._progress = progress
        self._columns = {
            "weights": weights,
            "offset": offset,
            "contrasts": contrasts,
            "levels": levels,
        }
        self._rows = as_rows(data, mentioned(formula, self._columns))
        for term in self.formula.random:
            for name in term.group:
                self._rows.head.column(name)
        self._design = build(self.formula, self._rows, **self._columns, progress=progress)
        self._problem: Problem | None = None

    def fit(
        self,
        reml: bool = True,
        start: npt.ArrayLike | None = None,
        options: FitOptions | None = None,
    ) -> LinearMixedFit:
        """Fit by REML or maximum likelihood.

        Parameters
        ----------
        reml : bool
            REML if true, maximum likelihood if false.
        start : array of shape (number of parameters,), optional
            First theta, in lme4's order.
        options : FitOptions, optional

        Returns
        -------
        LinearMixedFit

        Raises
        ------
        DataError
            If rows can't be used, or are too few for the model.
        ConvergenceError
            If the model fits the data exactly.

        Warns
        -----
        ConvergenceWarning
            If the certificate of optimality does not hold.
        """
        n_threads = options.n_threads if isinstance(options, FitOptions) else 1
        return estimate(self._prepared(n_threads), reml, start, options)

    def objective(self, theta: npt.ArrayLike, reml: bool = True) -> float:
        """Return the REML criterion, or minus twice the log-likelihood, profiled at a theta.

        Parameters
        ----------
        theta : array of shape (number of parameters,)
            Relative covariance factors, in lme4's order.
        reml : bool

        Raises
        ------
        OptionError
            If theta has the wrong length.
        """
        problem = self._prepared(n_threads=1)
        return problem.objective(reml, 1)(problem.factor(theta), derivatives=False).value

    def _prepared(self, n_threads: int) -> Problem:
        if self._problem is None:
            self._design, statistics = gather(
                self._design, self._rows, self._columns, self._missing, n_threads, self._progress
            )
            self._problem = Problem(
                self.formula,
                self._design,
                statistics,
                self._rank_deficient,
                n_threads,
                self._columns,
            )
        return self._problem


def lmer(
    formula: str,
    data: Any,
    reml: bool = True,
    *,
    weights: Any = None,
    offset: Any = None,
    missing: str = "drop",
    contrasts: Mapping[str, Any] | None = None,
    levels: Mapping[str, Sequence[Any]] | None = None,
    rank_deficient: str = "drop",
    progress: bool | None = None,
    start: npt.ArrayLike | None = None,
    options: FitOptions | None = None,
) -> LinearMixedFit:
    """Fit a linear mixed-effects model; see :class:`LinearMixedModel` for the parameters.

    Parameters
    ----------
    formula : str
    data : data frame
    reml : bool
        REML if true, maximum likelihood if false.
    weights, offset : str or array of shape (n,), optional
    missing, rank_deficient : {"drop", "error"}
    contrasts : mapping, optional
    start : array of shape (number of parameters,), optional
    options : FitOptions, optional

    Returns
    -------
    LinearMixedFit

    Examples
    --------
    >>> import blocklmm as bl
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> round(fit.objective, 3)
    1743.628
    """
    model = LinearMixedModel(
        formula,
        data,
        weights=weights,
        offset=offset,
        missing=missing,
        contrasts=contrasts,
        levels=levels,
        rank_deficient=rank_deficient,
        progress=progress,
    )
    return model.fit(reml=reml, start=start, options=options)
