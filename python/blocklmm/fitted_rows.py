"""What a fit says of the rows: fitted values, predictions, their covariance, drawn responses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from . import _core
from .arguments import require_choice, require_count, require_level, require_seed
from .effects import FittedEffects
from .errors import DataError, did_you_mean
from .frames import Frame
from .native_tables import chosen_rows, joined, native
from .objective import blas_limit
from .other_names import OF_PREDICT, answers
from .parameters import FloatArray
from .parquet_output import write_parquet
from .predict import (
    Errors,
    Estimates,
    FittedLevels,
    IntArray,
    RowPredictions,
    predict_rows,
    require_groups,
    require_known,
    row_groups,
    used_rows,
)
from .rows import Rows
from .streams import Stream, as_rows

_SAME = 1e-7  # of a response's sum of squares: what rounding may change
_OF_ROWS = ("_training", "_used", "_robust_errors", "_levels")


class FittedRows(FittedEffects):
    """The rows of a fit that still has its data; and new ones."""

    def __getstate__(self) -> dict[str, Any]:
        # Nothing of a row's goes into a pickle, computed before or not.
        return {k: v for k, v in self.__dict__.items() if k not in _OF_ROWS}

    def _rows(self) -> Rows:
        rows = self._problem.statistics.rows
        if rows is None:
            raise DataError(
                "this fit is without its rows (statistics, pickles, and data that can be read only "
                "once leave them behind): predict(data) takes new ones; for what needs its own, "
                "fit it again, with keep_data=True where it is to be pickled"
            )
        return rows

    def _frames(self) -> Iterator[Frame]:
        """Return the fit's own rows: those dropped may have levels that are none of the model's.

        Raises
        ------
        DataError
            If they are not as many as were fitted, or have another response.
        """
        rows = self._rows()
        may_change = not isinstance(rows, Frame)  # what is in memory is taken to stay as it is
        n_rows, off = 0, np.zeros(2)
        for frame in rows.frames():
            frame.is_training = True
            n_rows += frame.n_rows
            if may_change:
                off += self._off_the_mean(frame)
            yield frame
        n_fitted = self._problem.statistics.totals.n_rows_seen
        if n_rows != n_fitted:
            changed = f"{n_rows} rows where {n_fitted} were read"
        elif may_change and not self._is_response(off):
            changed = f"the response {self._problem.formula.response!r} differs"
        else:
            return
        raise DataError(f"the data have changed since the fit: {changed}; fit them again")

    def _off_the_mean(self, frame: Frame) -> FloatArray:
        """Return sums, and of squares, of what the response of rows used is off the fitted mean."""
        design = self._problem.design
        y = design.matrix(frame, [design.columns[-1][0]])[:, 0]
        off = y[self._used_of(frame)] - self._problem.response_fingerprint[0]
        return np.array([off.sum(), off @ off])

    def _is_response(self, off: FloatArray) -> bool:
        """Tell whether such sums over all rows are those of the fitted response."""
        squares = self._problem.response_fingerprint[1]
        most = _SAME * np.array([np.sqrt(self.nobs * squares), squares])
        return bool((np.abs(off - [0, squares]) <= most).all())

    def _frame(self) -> Frame:
        rows = self._rows()
        if not isinstance(rows, Frame):
            raise DataError(
                "this needs all rows in memory, and the fit's come in chunks: fit the data as one "
                "frame, or ask a sample of them"
            )
        return rows

    def _estimates(self, with_errors: bool) -> Estimates:
        return Estimates(self._beta, self._modes, self._errors() if with_errors else None)

    def _errors(self) -> Errors:
        problem, optimum = self._problem, self._optimum
        units, p = problem.units, len(self._beta)
        sigma2 = self.sigma**2
        factor = optimum.evaluation.inverse_factor[:p, :p]
        found = self._mode_results("prediction", "cross", in_core_units=True)

        def between(f: int, g: int, i: IntArray, j: IntArray) -> FloatArray:
            # Q_ij + (T D~_X R^-1)_i (T D~_X R^-1)_j'
            assert isinstance(problem.core, _core.SparseObjective)
            with blas_limit(problem.core):
                given = problem.core.covariances(
                    lambda_=optimum.factor, f=f, g=g, i=i, j=j, n_threads=1
                )
            added = np.einsum("nap,nbp->nab", found[f]["cross"][i], found[g]["cross"][j])
            return np.asarray(sigma2 * (given + added))

        return Errors(
            units.x_basis,
            units.z_basis,
            sigma2 * factor @ factor.T,
            sigma2 * optimum.factor @ optimum.factor.T,
            [sigma2 * results["prediction"] for results in found],
            # Cov(b^ - b, beta^) = -sigma^2 (T D~_X R^-1) R^-T
            [-sigma2 * (results["cross"] @ factor.T) for results in found],
            between,
        )

    @cached_property
    def _levels(self) -> FittedLevels:
        return FittedLevels(self._problem)

    def _groups(self, frame: Frame, is_chunk: bool) -> IntArray:
        """Return the fitted levels of a frame's rows."""
        return self._levels.of(frame) if is_chunk else row_groups(self._problem, frame)

    def _used_of(self, frame: Frame) -> npt.NDArray[np.bool_]:
        if self.dropped.n_rows == 0:
            return np.ones(frame.n_rows, dtype=bool)
        return used_rows(self._problem, frame)

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        """Which rows of the data were used."""
        return np.concatenate([self._used_of(frame) for frame in self._frames()])

    def _predictions(self, frame: Frame, is_chunk: bool) -> RowPredictions:
        groups = self._groups(frame, is_chunk) if self._has_random else None
        return predict_rows(self._problem, frame, self._estimates(False), groups)

    @cached_property
    def _training(self) -> RowPredictions:
        is_chunk = not isinstance(self._rows(), Frame)
        found = [self._predictions(frame, is_chunk) for frame in self._frames()]
        mean, fixed = (np.concatenate([getattr(p, k) for p in found]) for k in ("mean", "fixed"))
        return RowPredictions(mean[self._used], fixed[self._used], None)

    @property
    def fittedvalues(self) -> FloatArray:
        """X beta + Z b and the offset, shape (nobs,), in the rows' order."""
        return self._training.mean.copy()

    @property
    def has_data(self) -> bool:
        """Whether the fit still has its rows; one of statistics or from a pickle has not."""
        return self._problem.statistics.rows is not None

    @property
    def pearson_resid(self) -> FloatArray:
        """Residuals times the square root of the weights, shape (nobs,)."""
        weights = [self._row_weights(frame, is_training=True) for frame in self._frames()]
        return self.resid * np.sqrt(np.concatenate(weights)[self._used])

    @property
    def resid(self) -> FloatArray:
        """Response less fitted values, shape (nobs,), in the rows' order."""
        return np.asarray(self._response() - self._training.mean)

    def _response(self) -> FloatArray:
        return np.concatenate([self._response_of(f) for f in self._frames()])[self._used]

    def _response_of(self, frame: Frame) -> FloatArray:
        design = self._problem.design
        return design.matrix(frame, [design.response])[:, 0]

    @answers(OF_PREDICT)
    def predict(
        self,
        data: Any = None,
        random: str = "conditional",
        new_levels: str = "error",
        interval: str | None = None,
        level: float = 0.95,
        out: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Predict the response.

        Parameters
        ----------
        data : data frame, path, data set, query, or iterable of data frames, optional
            New rows; the rows used in the fit by default. An offset that is a column of the
            training data must be in them.
        random : {"conditional", "population"}
            With the groups' conditional modes, or with random effects of zero.
        new_levels : {"error", "population"}
            What to do with groups that were not in the fit: raise, or predict by the fixed
            effects.
        interval : {None, "prediction", "confidence"}
            Also an interval: for a new observation, or for its mean. An unseen group carries its
            whole variance; a prediction interval for the population is that of an unseen group.
        level : float
        out : str or path, optional
            A Parquet file to write to, chunk by chunk: the columns that the model reads, and
            ``.mean``, ``.lower``, ``.upper``. It is there once all rows are written, and is none
            of the files that are read.

        Returns
        -------
        array of shape (n,), or DataFrame with columns mean, lower, upper
            The latter with an interval, in the library of the rows that are predicted
            (:func:`blocklmm.lmer`). NaN for new rows that miss a value. With ``out`` nothing.

        Raises
        ------
        DataError
            For unseen levels with ``new_levels="error"``, and for missing columns.
        OptionError
            If an option is none of these, or ``out`` would be among the files that are read.

        Notes
        -----
        The variance of the error of x'beta + z'b (Henderson 1975; Robinson 1991, sec. 3) includes
        the estimation of beta and its covariance with the conditional modes, but not the
        estimation of the variance parameters.
        """
        require_choice("random", random, ("conditional", "population"))
        require_choice("new_levels", new_levels, ("error", "population"))
        require_choice("interval", interval, (None, "prediction", "confidence"))
        level = require_level(level)
        problem = self._problem
        if data is not None and problem.design.has_array("offset"):
            raise DataError(
                "the offset was given as an array, of which new data have no values: fit with a "
                "column's name, offset='name', to predict for new data"
            )
        if interval == "prediction" and data is not None and problem.design.has_array("weights"):
            raise DataError(
                "the weights were given as an array, of which new data have no values: fit with a "
                "column's name, weights='name', for intervals of new observations"
            )
        rows = self._rows() if data is None else self._new_rows(data, random, interval)
        frames = self._frames() if data is None else rows.frames()
        is_chunk = not isinstance(rows, Frame)
        estimates = self._estimates(interval is not None)

        def predicted(frame: Frame) -> pd.DataFrame:
            groups: IntArray | None = None
            if random == "conditional" and self._has_random:
                if data is not None:
                    require_groups(problem, frame)
                groups = self._groups(frame, is_chunk)
                if data is not None:
                    require_known(problem, frame, groups, may_be_new=new_levels == "population")
            elif random == "population" and interval == "prediction" and self._has_random:
                groups = np.full((frame.n_rows, len(self.ngroups)), -1, dtype=np.int64)
            found = predict_rows(problem, frame, estimates, groups)
            if found.variance is None:
                return pd.DataFrame({"mean": found.mean}, copy=False)
            variance = found.variance
            if interval == "prediction":
                variance = variance + self.sigma**2 / self._row_weights(frame, data is None)
            half = ndtri(0.5 + 0.5 * level) * np.sqrt(variance)
            columns = {"mean": found.mean, "lower": found.mean - half, "upper": found.mean + half}
            return pd.DataFrame(columns, copy=False)

        if out is not None:
            self._require_apart(out, rows)
            write_parquet(out, (self._with_columns(f, predicted(f)) for f in frames))
            return None
        parts = [predicted(frame) for frame in frames]
        table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        if data is None and not self._used.all():
            table = table[self._used].reset_index(drop=True)
        return native(table, rows.library) if interval else table["mean"].to_numpy()

    def _new_rows(self, data: Any, random: str, interval: str | None) -> Rows:
        """Return rows to predict for, of which the response need not be known."""
        problem, design = self._problem, self._problem.design
        recipes = [*(design.x_recipes[k] for k in problem.kept), *design.offsets]
        groups: set[str] = set()
        if random == "conditional":
            recipes += design.z_recipes
            groups = {name for group in design.groups for name in group}
        if interval == "prediction" and design.weight >= 0:
            recipes.append(design.weight)
        return as_rows(data, design.names, design.names_for(recipes) | groups)

    def _require_apart(self, out: str | os.PathLike[str], rows: Rows) -> None:
        """Raise an OptionError if a file would be among what the rows, or the fit's, come from."""
        for source in (rows, self._problem.statistics.rows):
            if isinstance(source, Stream):
                source.require_apart(out)

    def _write_fitted(self, out: str | os.PathLike[str]) -> None:
        """Write what is fitted of the rows to a Parquet file."""
        rows = self._rows()
        self._require_apart(out, rows)
        is_chunk = not isinstance(rows, Frame)

        def fitted(frame: Frame) -> pd.DataFrame:
            found = self._predictions(frame, is_chunk)
            resid = self._response_of(frame) - found.mean
            columns = {"fitted": found.mean, "fixed": found.fixed, "resid": resid}
            table = pd.DataFrame(columns, copy=False)
            table.loc[~self._used_of(frame)] = np.nan
            return table

        write_parquet(out, (self._with_columns(f, fitted(f)) for f in self._frames()))

    def _columns_read(self) -> Any:
        """Return the columns that the model reads, of the rows that were used, in their library."""
        read, library = self._problem.design.names, self._problem.library
        tables = [
            frame.table([name for name in frame.names if name in read], library)
            for frame in self._frames()
        ]
        return chosen_rows(joined(tables), self._used)

    def _with_columns(self, frame: Frame, found: pd.DataFrame) -> Any:
        """Return the columns of a frame that the model reads, and what was found beside them."""
        read = self._problem.design.names
        table = frame.arrow([name for name in frame.names if name in read])
        for name in found:
            table = table.append_column(f".{name}", [found[name].to_numpy()])
        return table

    def _row_weights(self, frame: Frame, is_training: bool) -> FloatArray:
        """Weights of rows; one for new rows where the weights were given as an array."""
        design = self._problem.design
        if design.weight < 0 or (design.has_array("weights") and not is_training):
            return np.ones(frame.n_rows)
        try:
            return design.matrix(frame, [design.weight])[:, 0]
        except DataError as error:
            raise DataError(f"a row's weight is needed for its variance: {error}") from None

    def marginal_cov(self, level: Any, group: str | None = None) -> FloatArray:
        """Return V_i, the covariance of one group's observations given the parameters.

        Parameters
        ----------
        level : label of a group
        group : str, optional
            The grouping factor, where the model has several.

        Returns
        -------
        array of shape (n_i, n_i)
            Z_i Sigma Z_i' + sigma^2 W_i^-1, rows in the data's order; the random effects of all
            factors are in it.

        Raises
        ------
        DataError
            If there is no such group.
        """
        problem, frame = self._problem, self._frame()
        if not self._has_random:
            raise DataError("the model has no random terms, hence no groups")
        chosen = self._chosen_factor(group)
        factor = problem.statistics.factors[chosen]
        place = factor.levels.get_indexer(pd.Index([level]))[0]
        if place < 0:
            raise DataError(
                f"{factor.name!r} has no level {level!r}."
                f"{did_you_mean(level, factor.levels[:10_000])}"
            )
        groups = row_groups(problem, frame)
        rows = np.flatnonzero((groups[:, chosen] == place) & self._used)
        Z = problem.design.matrix(frame, problem.design.z_recipes)[rows]
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        out = np.diag(self.sigma**2 / self._row_weights(frame, is_training=True)[rows])
        for f in range(len(problem.statistics.factors)):
            own = problem.design.members(f)
            half = Z[:, own] @ lambda_[np.ix_(own, own)]
            same = groups[rows, f][:, None] == groups[rows, f]
            out += np.where(same, half @ half.T, 0.0)
        return np.asarray(out, dtype=np.float64)

    def _chosen_factor(self, group: str | None) -> int:
        names = list(self.ngroups)
        if group is None:
            if len(names) == 1:
                return 0
            raise DataError(
                f"the model has several grouping factors: give group=, one of {', '.join(names)}"
            )
        if group not in names:
            raise DataError(f"there is no grouping factor {group!r}.{did_you_mean(group, names)}")
        return names.index(group)

    def marginal_corr(self, level: Any, group: str | None = None) -> FloatArray:
        """Return the correlations that go with :meth:`marginal_cov`."""
        cov = self.marginal_cov(level, group)
        sd = np.sqrt(np.diag(cov))
        return np.asarray(cov / np.outer(sd, sd))

    def simulate(self, n: int = 1, seed: int | None = None) -> FloatArray:
        """Draw responses from the fitted model, with new random effects.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int, optional

        Returns
        -------
        array of shape (nobs, n)
            On the scale of the formula's response.

        Raises
        ------
        OptionError
        """
        n = require_count("n", n)
        rng = np.random.default_rng(require_seed(seed))
        problem, frame = self._problem, self._frame()
        used = self._used
        offsets = problem.design.offsets
        mean = self._training.fixed
        if offsets:
            mean = mean + problem.design.matrix(frame, offsets).sum(axis=1)[used]
        noise = self.sigma / np.sqrt(self._row_weights(frame, is_training=True)[used])
        out = mean[:, None] + noise[:, None] * rng.standard_normal((self.nobs, n))
        if not self._has_random:
            return out
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        groups = row_groups(problem, frame)[used]
        Z = problem.design.matrix(frame, problem.design.z_recipes)[used]
        for k in range(n):
            for f, factor in enumerate(problem.statistics.factors):
                own = problem.design.members(f)
                b = rng.standard_normal((factor.n_levels, len(own))) @ lambda_[np.ix_(own, own)].T
                out[:, k] += np.einsum("nq,nq->n", Z[:, own], b[groups[:, f]])
        return out
