"""A model is a formula on data, made once and fitted as often as wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from .arguments import require_flag
from .columns import build
from .errors import OptionError
from .fit import LinearMixedFit, estimate
from .formula import names_of, parse
from .frames import Frame
from .gathering import gather
from .optimize import FitOptions
from .other_names import OF_LMER, answers
from .problem import Problem
from .rows import Rows
from .streams import as_rows


class LinearMixedModel:
    """A linear mixed-effects model, y = X beta + Z b + e.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``: the fixed part is formulaic's, random
        terms are lme4's. Without a random term it is the linear model with independent errors.
        Names with spaces or signs stand in backticks: ``"`reaction (ms)` ~ Days + (1 | `my id`)"``.
    data : data frame, or rows that come in chunks
        pandas, polars or pyarrow table, mapping of arrays, or anything narwhals reads. Or rows
        that are read in chunks, of which no more than a few are in memory: a path or glob of
        Parquet files or a list of them, a pyarrow Dataset, RecordBatchReader or any Arrow C
        stream, a Polars LazyFrame, a DuckDB relation, an iterable of data frames or a function
        that returns one. Or a Dask data frame, whose partitions are reduced where they lie
        (:meth:`SufficientStatistics.from_dask`).
    weights : str or array of shape (n,), optional
        Column or values: the residual variance of a row is sigma^2 / weight. Of rows that come in
        chunks a column.
    offset : str or array of shape (n,), optional
        Column or values taken from the response; the same.
    missing : {"drop", "error"}
        What to do with rows that miss a value of a column in the formula.
    contrasts : mapping, optional
        Contrasts by column: "treatment" (default), "sum", "helmert", "diff", "poly", "sas", or an
        object of formulaic's ``contr``.
    levels : mapping from column to sequence, optional
        Levels of categories, in order, of which the data need not have all. Rows that come in
        chunks then need no pass to find them.
    rank_deficient : {"drop", "error"}
        What to do with columns of X that depend on earlier ones: drop and report them as R does,
        or raise.
    keep_data : bool
        Whether a pickle of the model, or of its fits, takes the data with it. By default it takes
        no row, and what needs the rows can't be asked of what is restored.
    progress : bool, optional
        Whether to show how many rows are read; by default where one waits for it, on a terminal
        that has tqdm.

    Raises
    ------
    FormulaError
        If the formula can't be understood.
    DataError
        If the data can't be used as they are.

    Notes
    -----
    The model keeps a reference to the data, not a copy, and reads them in one pass at its first
    fit. Rows that come in chunks are read twice where levels of categories, or states of
    expressions such as ``poly(x, 2)``, must be learnt before (the summary says so), and once more
    where the model explains the response almost exactly; rows that can be read only once are
    refused where something is to be learnt. ``scale``, ``center``, ``standardize`` and ``poly``
    learn from moments, whatever the number of rows; splines (``bs``, ``cs``, ``cr``, ``cc``), and
    transforms of another's values such as ``poly(scale(x), 2)``, from all values of their columns:
    those are in memory then, with what formulaic makes of them. No matrix of all rows is ever made
    else. ``(x || g)`` makes one independent block of each term left of the bar, as lme4's expansion
    of the formula reads: for a categorical x that is ``(1 | g) + (0 + x | g)``, with the levels of
    x correlated among themselves.
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
        keep_data: bool = False,
        progress: bool | None = None,
    ) -> None:
        for name, value in (("missing", missing), ("rank_deficient", rank_deficient)):
            if value not in ("drop", "error"):
                raise OptionError(f"{name} is 'drop' or 'error', not {value!r}")
        require_flag("keep_data", keep_data)
        self.formula = parse(formula)
        self._keep_data = keep_data
        self._missing, self._rank_deficient = missing, rank_deficient
        self._progress = progress
        self._columns = {
            "weights": weights,
            "offset": offset,
            "contrasts": contrasts,
            "levels": levels,
        }
        self._rows: Rows | None = as_rows(data, names_of(self.formula, self._columns))
        if keep_data and not isinstance(self._rows, Frame):
            raise OptionError("keep_data is for data in memory; rows that come in chunks are not")
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

    def __copy__(self) -> LinearMixedModel:
        out = LinearMixedModel.__new__(LinearMixedModel)
        out.__dict__.update(self.__dict__)
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> LinearMixedModel:
        return self.__copy__()  # neither model nor data are changed by what is asked of them

    def __getstate__(self) -> dict[str, Any]:
        # the rows stay behind: what is fitted later comes from their statistics
        state = {**self.__dict__, "_problem": self._prepared(n_threads=1), "_rows": None}
        if not self._keep_data:
            given = {k: self._columns[k] for k in ("weights", "offset")}
            left = {k: None for k, v in given.items() if not isinstance(v, str)}
            state["_columns"] = {**self._columns, **left}
        return state

    def _prepared(self, n_threads: int) -> Problem:
        if self._problem is None:
            assert self._rows is not None
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
                self._keep_data,
                self._rows.library,
            )
        return self._problem


@answers(OF_LMER)
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
    keep_data: bool = False,
    progress: bool | None = None,
    start: npt.ArrayLike | None = None,
    options: FitOptions | None = None,
) -> LinearMixedFit:
    """Fit a linear mixed-effects model; see :class:`LinearMixedModel` for the parameters.

    Parameters
    ----------
    formula : str
        With backticks round names that have spaces or signs, ``"y ~ `age (years)` + (1 | g)"``.
    data : data frame, path, data set, query, or iterable of data frames
    reml : bool
        REML if true, maximum likelihood if false.
    weights, offset : str or array of shape (n,), optional
    missing, rank_deficient : {"drop", "error"}
    contrasts, levels : mapping, optional
    keep_data : bool
    progress : bool, optional
    start : array of shape (number of parameters,), optional
    options : FitOptions, optional

    Returns
    -------
    LinearMixedFit

    Notes
    -----
    ``tidy``, ``glance``, ``augment`` and intervals of ``predict`` are tables of polars where the
    rows came in polars frames (also a LazyFrame, or an iterable of frames), and of pyarrow where
    they came in pyarrow Tables; ``predict(data)`` goes by its own data. So are ``to_frame``,
    ``contrast`` and ``glance`` of :func:`blocklmm.lmer_many`, by the design. From all else (paths,
    DuckDB, Dask, dicts, statistics) they are of pandas. Results whose rows have labels, such as
    ``params``, ``ranef()`` and ``conf_int()``, are always of pandas, and so is what ``to_frame()``
    of tests, means and profiles gives.

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
        keep_data=keep_data,
        progress=progress,
    )
    return model.fit(reml=reml, start=start, options=options)
