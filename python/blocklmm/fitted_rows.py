"""What a fit says of the rows: fitted values, predictions, their covariance, drawn responses."""

from __future__ import annotations

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
from .objective import blas_limit
from .parameters import FloatArray
from .predict import (
    Errors,
    Estimates,
    IntArray,
    RowPredictions,
    predict_rows,
    require_known,
    row_groups,
    used_rows,
)

_OF_ROWS = ("_training", "_used", "_robust_errors")


class FittedRows(FittedEffects):
    """The rows of a fit that still has its data; and new ones."""

    def __getstate__(self) -> dict[str, Any]:
        # Nothing of a row's goes into a pickle, computed before or not.
        return {k: v for k, v in self.__dict__.items() if k not in _OF_ROWS}

    def _frame(self) -> Frame:
        if self._problem.frame is None:
            raise DataError(
                "this fit is without its rows (statistics, pickles, and data that can be read only "
                "once leave them behind): predict(data) takes new ones; for what needs its own, "
                "fit it again"
            )
        return self._problem.frame

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
    def _used(self) -> npt.NDArray[np.bool_]:
        """Which rows of the data were used."""
        frame = self._frame()
        if self.dropped.n_rows == 0:
            return np.ones(frame.n_rows, dtype=bool)
        return used_rows(self._problem, frame)

    @cached_property
    def _training(self) -> RowPredictions:
        problem, frame = self._problem, self._frame()
        groups = row_groups(problem, frame) if self._has_random else None
        found = predict_rows(problem, frame, self._estimates(False), groups)
        return RowPredictions(found.mean[self._used], found.fixed[self._used], None)

    @property
    def fittedvalues(self) -> FloatArray:
        """X beta + Z b and the offset, shape (nobs,), in the rows' order."""
        return self._training.mean.copy()

    @property
    def has_data(self) -> bool:
        """Whether the fit still has its data; one restored from a pickle has not."""
        return self._problem.frame is not None

    @property
    def pearson_resid(self) -> FloatArray:
        """Residuals times the square root of the weights, shape (nobs,)."""
        weights = self._row_weights(self._frame(), is_training=True)[self._used]
        return self.resid * np.sqrt(weights)

    @property
    def resid(self) -> FloatArray:
        """Response less fitted values, shape (nobs,), in the rows' order."""
        return np.asarray(self._response() - self._training.mean)

    def _response(self) -> FloatArray:
        design = self._problem.design
        recipe = design.response
        return np.asarray(design.matrix(self._frame(), [recipe])[self._used, 0])

    def predict(
        self,
        data: Any = None,
        random: str = "conditional",
        new_levels: str = "error",
        interval: str | None = None,
        level: float = 0.95,
    ) -> FloatArray | pd.DataFrame:
        """Predict the response.

        Parameters
        ----------
        data : data frame, optional
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

        Returns
        -------
        array of shape (n,), or DataFrame with columns mean, lower, upper
            NaN for new rows that miss a value.

        Raises
        ------
        DataError
            For unseen levels with ``new_levels="error"``, and for missing columns.

        Notes
        -----
        The variance of the error of x'beta + z'b (Henderson 1975; Robinson 1991, sec. 3) includes
        the estimation of beta and its covariance with the conditional modes, but not the
        estimation of the variance parameters.
        """
        require_choice("random", random, ("conditional", "population"))
        require_choice("new_levels", new_levels, ("error", "population"))
        require_choice("interval", interval, (None, "prediction", "confidence"))
        problem = self._problem
        frame = self._frame() if data is None else Frame(data)
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
        conditional = random == "conditional" and self._has_random
        groups = row_groups(problem, frame) if conditional else None
        if groups is not None and new_levels == "error" and data is not None:
            require_known(problem, frame, groups)
        if random == "population" and interval == "prediction" and self._has_random:
            groups = np.full((frame.n_rows, len(self.ngroups)), -1, dtype=np.int64)
        found = predict_rows(problem, frame, self._estimates(interval is not None), groups)
        rows = self._used if data is None else slice(None)
        mean = found.mean[rows]
        if found.variance is None:
            return mean
        variance = found.variance[rows]
        if interval == "prediction":
            variance = variance + self.sigma**2 / self._row_weights(frame, data is None)[rows]
        half = ndtri(0.5 + 0.5 * require_level(level)) * np.sqrt(variance)
        return pd.DataFrame({"mean": mean, "lower": mean - half, "upper": mean + half})

    def _row_weights(self, frame: Frame, is_training: bool) -> FloatArray:
        """Weights of rows; one for new rows where the weights were given as an array."""
        design = self._problem.design
        if design.weight >= 0 and (is_training or not design.has_array("weights")):
            return design.matrix(frame, [design.weight])[:, 0]
        return np.ones(frame.n_rows)

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
                f"{did_you_mean(str(level), map(str, factor.levels[:10_000]))}"
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
