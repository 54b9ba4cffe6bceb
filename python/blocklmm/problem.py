"""Statistics that were looked over: what is fitted, in which columns, and whether it can be.

Between the pass over the rows and the optimiser: dependent columns of X leave, data that can't
identify the model are refused, and a response that the model explains almost exactly gets a
second pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import as_floats
from .design import Design
from .design_rows import DesignRows
from .errors import (
    ConvergenceError,
    DataError,
    ModelSizeError,
    OptionError,
    RankDeficientError,
    warn,
)
from .formula import Formula
from .frames import Frame
from .groups import check_groups
from .machine import memory_limit
from .native_tables import Library
from .objective import Objective, Structure, Units
from .optimize import FitOptions, Starts
from .statistics import Core, RowStatistics
from .unfit_columns import check_response, check_sizes

FloatArray = npt.NDArray[np.float64]

_DEPENDENT = 1e-13  # what earlier columns leave of a column's sum of squares
_NEARLY_EXACT = 1e-3  # what the model may leave of the response's before a second pass is worth it
_ROUNDING_LEFT = 1e-14  # the same where there is no second pass
_FEW_DIGITS = 1e-9  # of it where the rows are gone
_FAR_APART = 2.0  # a ratio of standard deviations from which moments tell too little
_NO_RESIDUAL = 1e-24  # what rounding leaves of it


class Problem:
    """A model's statistics, checked, and the way to its criterion.

    Parameters
    ----------
    formula : Formula
    design : Design
    statistics : RowStatistics
    rank_deficient : {"drop", "error"}
    n_threads : int
    arguments : mapping, optional
        The model's other arguments, for models of the same kind on other data.
    keep_data : bool
        Whether a pickle takes rows that are in memory with it.
    library : Library
        Of tables about the rows.

    Attributes
    ----------
    statistics : RowStatistics
    kept, dropped : list of int
        Columns of X in the model, and those that depend on the columns before them.
    x_columns : list of int
        The former's place among the columns of the statistics.
    core : Core
        A SparseObjective with several grouping factors.
    units : Units
    groups_leave : float
        What the groups leave of the response's sum of squares where a second pass took their fits
        from it; 1 elsewhere.

    Raises
    ------
    DataError, RankDeficientError, ConvergenceError
    """

    statistics: RowStatistics
    response_fit: FloatArray
    _rows: DesignRows | None = None

    def __init__(
        self,
        formula: Formula,
        design: Design,
        statistics: RowStatistics,
        rank_deficient: str,
        n_threads: int,
        arguments: Mapping[str, Any] | None = None,
        keep_data: bool = False,
        library: Library = "pandas",
    ) -> None:
        self.formula, self.design, self.keep_data = formula, design, keep_data
        self.library = library
        self.arguments = dict(arguments or {})
        self._rank_deficient = rank_deficient
        self.structure = Structure(tuple(design.blocks))
        check_groups(statistics, formula, design)
        cross = np.asarray(statistics.totals.cross_products())
        check_sizes(design, formula, cross)
        columns, y = np.array(design.x_columns, dtype=np.intp), design.n_columns - 1
        n = statistics.totals.n_rows_used  # no more columns than rows are independent
        self.kept = list(_core.independent_columns(cross[np.ix_(columns, columns)], _DEPENDENT))[:n]
        self.dropped = sorted(set(range(len(columns))) - set(self.kept))
        if self.dropped and rank_deficient == "error":
            names = ", ".join(repr(design.x_names[k]) for k in self.dropped)
            raise RankDeficientError(f"columns of X depend on the columns before them: {names}")
        if n <= len(self.kept):
            raise DataError(
                f"{n} rows are too few for {len(self.kept)} fixed-effects coefficients and a "
                "residual variance"
            )
        columns = columns[self.kept]
        self.x_columns = [int(k) for k in columns]
        total = float(cross[y, y])
        check_response(formula, statistics, total)
        self.response_fingerprint = _fingerprint(statistics.totals)
        self._cross = cross

        # Cross products of y lose the digits of a residual where the fixed effects, or they and
        # the groups, leave almost nothing of it. A second pass takes these from y row by row.
        self.groups_leave = 1.0
        self._connect(statistics, np.zeros(y), n_threads)
        coefficients, left = _least_squares(cross, columns)
        can_read = statistics.rows is not None
        fixed_explain = can_read and left <= _NEARLY_EXACT * total
        response_fit, group_fits = np.zeros(y), None
        if fixed_explain:
            response_fit[columns] = coefficients
        if not isinstance(self.core, _core.SparseObjective):
            within, df_within = self._within(self.core)
            between = max(left - within, 0.0)
            saturated = df_within <= 0  # Z could fit any response: nothing is left by design
            groups_explain = can_read and within <= _NEARLY_EXACT * total and not saturated
            if groups_explain and not fixed_explain:
                assert isinstance(self.core, _core.BlockObjective)
                group_fits = [np.asarray(self.core.own_fits(statistics.core))]
            if not can_read:
                self._require_digits(within / total)
            elif fixed_explain or groups_explain:
                self._connect(
                    statistics.refined(response_fit, group_fits, n_threads), response_fit, n_threads
                )
                assert not isinstance(self.core, _core.SparseObjective)
                within, _ = self._within(self.core)
            self._spread = _spread(between, within, df_within, n)
            self.groups_leave = within / total if group_fits is not None else 1.0
            if (left if saturated else within) <= _NO_RESIDUAL * total:
                raise self._explained()
        elif fixed_explain:
            self._connect(statistics.refined(response_fit, None, n_threads), response_fit)
            if self._total <= _NO_RESIDUAL * total:
                raise self._explained(by_groups=False)
        elif not can_read:
            self._require_digits(left / total)

    @property
    def frame(self) -> Frame | None:
        """The rows, where they are in memory and were not left behind by a pickle."""
        rows = self.statistics.rows
        return rows if isinstance(rows, Frame) else None

    @property
    def _total(self) -> float:
        """The sum of squares of the response in the statistics."""
        return float(self.statistics.totals.cross_products()[-1, -1])

    def _require_digits(self, left: float) -> None:
        """Warn where statistics whose rows are gone hold little of what the model leaves.

        Raises
        ------
        ConvergenceError
            If they hold nothing of it.
        """
        if left <= _ROUNDING_LEFT:
            raise ConvergenceError(
                f"the model explains the response {self.formula.response!r} but for rounding, "
                f"{_ROUNDING_LEFT} of its sum of squares: what is left, if anything is, can't be "
                "told from statistics alone; fit rows that can be read again"
            )
        if left <= _FEW_DIGITS:
            warn(
                f"the model explains all but {left:.1e} of the response's sum of squares, which "
                "statistics hold to some 1e-16: variances have few digits; rows that can be read "
                "again would be read once more"
            )

    def require_residual(self, sigma: float) -> None:
        """Raise a ConvergenceError if a fit with several factors left rounding alone.

        Without a second pass cross products hold what groups leave to some 1e-15 of all.
        """
        if self._is_sparse and self.units.n * sigma**2 <= _ROUNDING_LEFT * self._total:
            raise self._explained()

    def _explained(self, by_groups: bool = True) -> ConvergenceError:
        factors = self.statistics.factors if by_groups else []
        by = "".join(f" and the groups of {f.name!r}" for f in factors)
        return ConvergenceError(
            f"the fixed effects{by} explain the response {self.formula.response!r} exactly: no "
            "residual variance is left to estimate"
        )

    @property
    def _is_sparse(self) -> bool:
        return len(self.design.groups) > 1

    def objective(self, reml: bool, n_threads: int) -> Objective:
        """Return the criterion as a function of a factor of T."""
        return Objective(self.core, self.units, reml, n_threads)

    def factor(self, theta: npt.ArrayLike) -> FloatArray:
        """Return lambda in the core's units for a theta of the user.

        Raises
        ------
        OptionError
            If theta has the wrong length or is not finite.
        """
        n_theta = len(self.structure.entries)
        try:
            values = np.atleast_1d(as_floats(theta))
        except (TypeError, ValueError):
            values = np.array([np.nan])
        if values.shape != (n_theta,) or not np.isfinite(values).all():
            raise OptionError(f"theta is a vector of {n_theta} finite numbers, not {theta!r}")
        return self.structure.matrix(self.units.to_core(values))

    def starts(self, theta: npt.ArrayLike | None) -> Starts:
        """Return the optimiser's first factors: the user's, or by moments of T.

        Where the groups differ by far more than their rows it is the ratio of the two, from the
        sums of squares between and within the groups; where samples of very many groups tell more,
        at least half the identity.

        Terms that may not correlate but whose columns nearly agree (an intercept and a covariate
        far from zero) can need variances far larger than the identity's, and have a second
        minimum there; for them the diagonal of the inverse of Z'Z is a second start.
        """
        if theta is not None:
            return Starts([self.factor(theta)], [])
        core = self.core
        if isinstance(core, _core.SparseObjective):
            first = np.asarray(core.moment_start())
        elif (
            isinstance(core, _core.BlockObjective)
            and self._spread <= _FAR_APART
            and not core.samples()
        ):
            first = np.asarray(core.moment_start(self.statistics.core, self.design.blocks))
        else:
            first = max(0.5, self._spread) * np.eye(self.structure.q)
        always = [first]
        inflation = self._inflation()
        if inflation.max(initial=0.0) > 3:
            sizes = np.linalg.norm(first, axis=1)
            always.append(np.diag(np.where(inflation > 0, inflation, sizes)))
        return Starts(always, [0.1 * first, 4.0 * first], with_samples=True)

    def _inflation(self) -> FloatArray:
        """Return for each column of Z the inverse square root of what others leave of it.

        The others are those of the same factor, where it has several terms; 0 elsewhere.
        """
        design = self.design
        out = np.zeros(self.structure.q)
        cross = np.asarray(self.statistics.totals.cross_products())
        for f in range(len(design.groups)):
            if design.term_groups.count(f) < 2:
                continue
            own = design.members(f)
            columns = [design.z_columns[k] for k in own]
            scale = np.sqrt(np.diag(cross)[columns])
            correlation = cross[np.ix_(columns, columns)] / np.outer(scale, scale)
            values, vectors = np.linalg.eigh(correlation)
            out[own] = np.sqrt((vectors**2 / np.maximum(values, 1e-12)).sum(axis=1))
        return out

    def with_response(self, frame: Frame, response: FloatArray) -> Problem:
        """Return the same problem for other values of the response; NaN leaves a row out."""
        design = self.design.with_response(response)
        statistics = RowStatistics(design, frame, "drop", n_threads=1)
        return Problem(
            self.formula,
            design,
            statistics,
            self._rank_deficient,
            1,
            self.arguments,
            library=self.library,
        )

    def rows(self, used: npt.NDArray[np.bool_] | None) -> DesignRows:
        """Return the rows of X and Z, to be multiplied with responses; made once.

        Parameters
        ----------
        used : array of shape (n,) of bool, or None
            The rows that the statistics are of; all, if None.
        """
        if self._rows is None:
            assert self.frame is not None
            self._rows = DesignRows(self.design, self.statistics, self.frame, used)
        return self._rows

    def with_products(self, design: Design, core: _core.Statistics) -> Problem | None:
        """Return the same problem for another response, whose products with X and Z are known.

        Parameters
        ----------
        design : Design
            With the response.
        core : _core.Statistics
            With its products.

        Returns
        -------
        Problem or None
            None where the model leaves so little of the response that its rows are needed.

        Raises
        ------
        DataError
            If the response is constant, or too large or small to be squared.
        """
        statistics, y = self.statistics.with_response(design, core), design.n_columns - 1
        cross, n = np.asarray(core.cross_products()), core.n_rows_used
        check_sizes(design, self.formula, cross)
        total = float(cross[y, y])
        check_response(self.formula, statistics, total)
        left = _least_squares(cross, np.array(self.x_columns, dtype=np.intp))[1]
        if left <= _NEARLY_EXACT * total:
            return None
        out = self.with_statistics(statistics, np.zeros(y))
        if isinstance(out.core, _core.BlockObjective):
            within, df_within = out._within(out.core)
            if within <= _NEARLY_EXACT * total and df_within > 0:
                return None
            out._spread = _spread(max(left - within, 0.0), within, df_within, n)
        out.response_fingerprint = _fingerprint(core)
        out.design, out._cross, out.groups_leave = design, cross, 1.0
        return out

    def response_fits(self, reml: bool, options: FitOptions) -> _core.ResponseFits:
        """Return the core's fits of many responses to these statistics' X and Z."""
        units, inflation = self.units, self._inflation()
        constant = -units.log_weights
        if reml:
            constant += 2 * float(np.log(units.x_scale).sum()) + units.log_det
        return _core.ResponseFits(
            statistics=self.statistics.core,
            x_columns=self.x_columns,
            members=[self.design.members(f) for f in range(len(self.design.groups))],
            blocks=self.design.blocks,
            criterion=reml,
            constant=constant,
            inflation=inflation if inflation.max(initial=0.0) > 3 else np.zeros(0),
            z_basis=units.z_basis,
            nearly_exact=_NEARLY_EXACT,
            rounding_left=_ROUNDING_LEFT,
            far_apart=_FAR_APART,
            max_evaluations=options.max_evaluations,
            tolerance=options.tolerance,
            memory_limit=memory_limit(),
        )

    def with_statistics(self, statistics: RowStatistics, response_fit: FloatArray) -> Problem:
        """Return the same problem for statistics of some of the rows.

        Parameters
        ----------
        statistics : RowStatistics
        response_fit : array of shape (columns before y,)
            What was taken from the response, on shifted columns.
        """
        out = Problem.__new__(Problem)
        out.__dict__.update(self.__dict__)
        out._connect(statistics, response_fit)
        return out

    def __getstate__(self) -> dict[str, Any]:
        # arguments may be arrays of the rows, which a pickle leaves behind with the data
        left = ("core", "units", "arguments", "_rows")
        state = {k: v for k, v in self.__dict__.items() if k not in left}
        if self.keep_data and self.frame is not None:
            state["data"] = self.frame.native, self.arguments
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        data, arguments = state.pop("data", (None, {}))
        self.__dict__.update(state, arguments=arguments)
        if data is not None:
            frame = Frame(data)
            self.design = self.design.with_rows(frame, arguments)
            self.statistics = self.statistics.with_rows(self.design, frame)
        self._connect(self.statistics, self.response_fit)

    def _connect(
        self, statistics: RowStatistics, response_fit: FloatArray, n_threads: int = 1
    ) -> None:
        self.statistics, self.response_fit = statistics, response_fit
        design = self.design
        self.core: Core
        if self._is_sparse:
            try:
                self.core = _core.SparseObjective(
                    statistics=statistics.core,
                    x_columns=self.x_columns,
                    members=[design.members(f) for f in range(len(design.groups))],
                    blocks=design.blocks,
                    memory_limit=memory_limit(),
                )
            except _core.TooLarge as error:
                raise _too_large(statistics, error.args[0]) from None
        else:
            self.core = statistics.block_objective(
                self.x_columns, self.structure.block_entries, n_threads
            )
        self.units = Units(self.design, statistics, self.core, self.kept, self._cross, response_fit)

    def _within(self, core: _core.BlockObjective | _core.SpreadObjective) -> tuple[float, int]:
        """Return what X and Z leave of the response's sum of squares, and how many dimensions."""
        within = np.asarray(core.within)
        varying = np.flatnonzero(np.diag(within)[:-1] > 1e-10 * self.units.n)
        found = _core.independent_columns(within[np.ix_(varying, varying)], _DEPENDENT)
        left = _least_squares(within, varying[found])[1] * self.units.y_scale**2
        return left, self.units.n - core.rank_of_z - len(found)


def _fingerprint(totals: _core.Statistics) -> tuple[float, float, float]:
    """Return the response's mean, sum of squares about it, and the weights: what tells it."""
    mean = float(totals.sums[-1]) / totals.n_rows_used
    squares = float(totals.plain_cross_products()[-1, -1]) - totals.n_rows_used * mean**2
    return float(totals.shift[-1]) + mean, squares, totals.log_weights


def _spread(between: float, within: float, df_within: int, n: int) -> float:
    """Return lambda by the sums of squares between groups and within them, to start from."""
    return float(np.sqrt(between / max(within, 1e-300) * max(df_within, 0) / n))


def _least_squares(cross: FloatArray, columns: npt.NDArray[np.intp]) -> tuple[FloatArray, float]:
    """Coefficients of the last column on others, and what they leave of its sum of squares."""
    scale = np.sqrt(np.diag(cross)[columns])
    factor = np.linalg.cholesky(cross[np.ix_(columns, columns)] / np.outer(scale, scale))
    half = np.linalg.solve(factor, cross[columns, -1] / scale)
    coefficients = np.linalg.solve(factor.T, half) / scale
    return coefficients, max(float(cross[-1, -1] - half @ half), 0.0)


def _too_large(statistics: RowStatistics, n_bytes: float) -> ModelSizeError:
    counts = ", ".join(f"{f.name!r} ({f.n_levels} levels)" for f in statistics.factors)
    return ModelSizeError(
        f"the random effects of {counts} are so interwoven that the factor of their covariance "
        f"needs at least {n_bytes / 1e9:.3g} GB, and {memory_limit() / 1e9:.3g} may be used: "
        "leave out a factor, or take one with fewer levels"
    )
