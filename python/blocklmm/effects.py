"""Random effects of a fit: conditional modes, their errors, and what they explain."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from . import explained
from .parameters import FittedParameters, FloatArray


class FittedEffects(FittedParameters):
    """Parameters and random effects of a fit; nothing here needs the rows."""

    def _mode_results(self, *wanted: str, basis: FloatArray | None = None) -> dict[str, FloatArray]:
        problem = self._problem
        found: dict[str, FloatArray] = problem.core.modes(
            statistics=problem.statistics.core,
            lambda_=self._optimum.factor,
            inverse_factor=self._optimum.evaluation.inverse_factor,
            basis=problem.units.z_basis if basis is None else basis,
            groups=np.arange(problem.statistics.core.n_groups),
            wanted=list(wanted),
        )
        return found

    @cached_property
    def _modes(self) -> FloatArray:
        """BLUPs in the core's order of groups, in the user's units."""
        return self._problem.units.y_scale * self._mode_results("modes")["modes"]

    def _by_group(self, values: FloatArray) -> dict[str, pd.DataFrame]:
        statistics, names = self._problem.statistics, self._problem.design.z_names
        order = statistics.order
        index = pd.Index(statistics.levels[order], name=statistics.group_name)
        frame = pd.DataFrame(values[order], index=index, columns=pd.Index(names))
        return {statistics.group_name: frame}

    def ranef(self) -> dict[str, pd.DataFrame]:
        """Return the conditional modes (BLUPs) of the random effects.

        Returns
        -------
        dict of str to DataFrame
            By grouping factor: one row a level, one column a random effect. Terms on the same
            factor stand side by side.

        Notes
        -----
        Robinson (1991), Statistical Science 6, 15-32.
        """
        return self._by_group(self._modes) if self._has_random else {}

    def _conditional(self, fixed_uncertainty: bool) -> FloatArray:
        name = "prediction" if fixed_uncertainty else "conditional"
        return self.sigma**2 * self._mode_results(name)[name]

    def ranef_cov(self, fixed_uncertainty: bool = False) -> dict[str, FloatArray]:
        """Return the covariance matrices of the random effects given the data.

        Parameters
        ----------
        fixed_uncertainty : bool
            False: the conditional variance given the parameters, lme4's ``condVar``. True: the
            variance of the prediction error b^ - b, the estimation of beta included.

        Returns
        -------
        dict of str to array of shape (groups, q, q)
            In the order of :meth:`ranef`.
        """
        if not self._has_random:
            return {}
        statistics = self._problem.statistics
        return {statistics.group_name: self._conditional(fixed_uncertainty)[statistics.order]}

    def ranef_sd(self, fixed_uncertainty: bool = False) -> dict[str, pd.DataFrame]:
        """Return the standard deviations that go with :meth:`ranef_cov`, laid out as ranef."""
        if not self._has_random:
            return {}
        variances = np.diagonal(self._conditional(fixed_uncertainty), axis1=1, axis2=2)
        return self._by_group(np.sqrt(variances))

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each group: fixed effects plus conditional modes.

        Returns
        -------
        dict of str to DataFrame
            One row a level; the fixed effects' columns, then those of random effects without one.
        """
        if not self._has_random:
            return {}
        design, kept = self._problem.design, self._problem.kept
        fixed = {design.x_recipes[k]: design.x_names[k] for k in kept}
        group, ranef = next(iter(self.ranef().items()))
        out = pd.DataFrame(
            np.tile(self._beta, (len(ranef), 1)), index=ranef.index, columns=self._names
        )
        for k, (recipe, _) in enumerate(design.columns[: design.n_random]):
            name = fixed.get(recipe, design.z_names[k])
            values = ranef.iloc[:, k].to_numpy()
            out[name] = out[name] + values if name in out else values
        return {group: out}

    def shrinkage(self) -> dict[str, pd.DataFrame]:
        """Return how each group's own data and the population share in its random effects.

        Returns
        -------
        dict of str to DataFrame
            One row a level. ``weight`` is the weight on the group's own data, the diagonal of
            I - (I + T A_i)^-1; for a random intercept n_i rho / (1 + (n_i - 1) rho), the
            reliability of the group's mean. ``own`` is the least-squares estimate of the random
            effect from the group alone (NaN where its rows are too few), ``blup`` the conditional
            mode. With more than one random effect the columns have two levels, (weight, effect).
        """
        if not self._has_random:
            return {}
        found = self._mode_results("own", "weight")
        parts = {
            "weight": found["weight"],
            "own": self._problem.units.y_scale * found["own"],
            "blup": self._modes,
        }
        tables = {key: next(iter(self._by_group(v).values())) for key, v in parts.items()}
        out = pd.concat(tables, axis=1)
        if self._problem.structure.q == 1:
            out.columns = pd.Index(list(parts))
        return {self._problem.statistics.group_name: out}

    @cached_property
    def _variances(self) -> explained.Variances:
        problem, core = self._problem, self._problem.statistics.core
        design, n = problem.design, self.nobs
        cross, sums = np.asarray(core.plain_cross_products()), np.asarray(core.sums)
        x = [design.x_columns[k] for k in problem.kept]
        # X beta and the shifted columns times their coefficients differ by a constant
        centred = cross[np.ix_(x, x)] - np.outer(sums[x], sums[x]) / n
        beta = problem.units.shifted_beta(self._optimum.evaluation.inverse_factor)
        fixed = float(beta @ centred @ beta) / (n - 1)
        q, factor = design.n_random, self._optimum.factor
        # diag(Z Sigma Z') = sigma^2 diag(Z~ T~ Z~') in the core's units, where nothing cancels
        scale = np.asarray(problem.core.z_scale)
        moments = cross[:q, :q] / np.outer(scale, scale) / n
        total = self.sigma**2 * float((factor @ factor.T * moments).sum())
        random = {problem.statistics.group_name: total} if q else {}
        return explained.Variances(max(fixed, 0.0), random, self.sigma**2)

    def icc(self) -> explained.ICC:
        """Return the intraclass correlation, adjusted and unadjusted, and its verbal scale.

        Returns
        -------
        ICC
        """
        return explained.icc(self._variances)

    def r2(self) -> explained.RSquared:
        """Return Nakagawa's marginal and conditional R squared.

        Returns
        -------
        RSquared
        """
        return explained.r2(self._variances)
