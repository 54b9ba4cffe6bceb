"""Random effects of a fit: conditional modes, their errors, and what they explain."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from . import _core, explained
from .objective import blas_limit
from .parameters import FittedParameters, FloatArray
from .tables import WideTable


class FittedEffects(FittedParameters):
    """Parameters and random effects of a fit; nothing here needs the rows."""

    def _mode_results(
        self, *wanted: str, in_core_units: bool = False, factor: FloatArray | None = None
    ) -> list[dict[str, FloatArray]]:
        """Return by grouping factor what the core knows of its levels, relative to sigma.

        At the fitted T, or at that of another factor.
        """
        problem, optimum = self._problem, self._optimum
        lambda_ = optimum.factor if factor is None else factor
        members = [problem.design.members(f) for f in range(len(problem.design.groups))]
        bases = [
            np.eye(len(own)) if in_core_units else problem.units.z_basis[np.ix_(own, own)]
            for own in members
        ]
        core, inverse_factor = problem.core, optimum.evaluation.inverse_factor
        if isinstance(core, _core.SparseObjective):
            known = [name for name in wanted if name != "weight"]
            if "weight" in wanted:
                known += ["conditional"] * ("conditional" not in known)
            with blas_limit(core):
                found = core.modes(
                    lambda_=lambda_,
                    inverse_factor=inverse_factor,
                    bases=bases,
                    wanted=known,
                    n_threads=1,
                )
            if "weight" in wanted:
                for own, basis, results in zip(members, bases, found, strict=True):
                    half = basis @ lambda_[np.ix_(own, own)]
                    results["weight"] = _weights(half @ half.T, results["conditional"])
            return found
        return [
            problem.statistics.modes(
                core,
                lambda_=lambda_,
                inverse_factor=inverse_factor,
                basis=basis,
                wanted=list(wanted),
            )
            for basis in bases
        ]

    @cached_property
    def _modes(self) -> list[FloatArray]:
        """BLUPs by grouping factor, in the core's order of levels, in the user's units."""
        return [self._problem.units.y_scale * r["modes"] for r in self._mode_results("modes")]

    def _tables(self, values: list[FloatArray]) -> dict[str, pd.DataFrame]:
        """Return values of each level and effect as tables by grouping factor."""
        design, out = self._problem.design, {}
        for f, factor in enumerate(self._problem.statistics.factors):
            order = factor.order
            out[factor.name] = pd.DataFrame(
                values[f][order],
                index=pd.Index(factor.levels[order], name=factor.name),
                columns=pd.Index([design.z_names[k] for k in design.members(f)]),
            )
        return out

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
        return self._tables(self._modes)

    def _conditional(self, fixed_uncertainty: bool) -> list[FloatArray]:
        name = "prediction" if fixed_uncertainty else "conditional"
        return [self.sigma**2 * found[name] for found in self._mode_results(name)]

    def ranef_cov(self, fixed_uncertainty: bool = False) -> dict[str, FloatArray]:
        """Return the covariance matrices of the random effects given the data.

        Parameters
        ----------
        fixed_uncertainty : bool
            False: the conditional variance given the parameters, lme4's ``condVar``. True: the
            variance of the prediction error b^ - b, the estimation of beta included.

        Returns
        -------
        dict of str to array of shape (levels, q, q)
            In the order of :meth:`ranef`.

        Notes
        -----
        With several grouping factors, the blocks of each level in the inverse of the whole system,
        by the selected inverse (Takahashi, Fagan & Chen 1973).
        """
        found = self._conditional(fixed_uncertainty)
        factors = self._problem.statistics.factors
        return {f.name: values[f.order] for f, values in zip(factors, found, strict=True)}

    def ranef_sd(self, fixed_uncertainty: bool = False) -> dict[str, pd.DataFrame]:
        """Return the standard deviations that go with :meth:`ranef_cov`, laid out as ranef."""
        found = self._conditional(fixed_uncertainty)
        return self._tables([np.sqrt(np.diagonal(v, axis1=1, axis2=2)) for v in found])

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each group: fixed effects plus conditional modes.

        Returns
        -------
        dict of str to DataFrame
            By grouping factor, one row a level; the fixed effects' columns, then those of random
            effects without one. The effects of other factors are not in it.
        """
        design, kept = self._problem.design, self._problem.kept
        fixed = {design.x_recipes[k]: design.x_names[k] for k in kept}
        recipes = design.z_recipes
        tables: dict[str, pd.DataFrame] = {}
        for f, (group, ranef) in enumerate(self.ranef().items()):
            out = pd.DataFrame(
                np.tile(self._beta, (len(ranef), 1)), index=ranef.index, columns=self._names
            )
            for column, k in enumerate(design.members(f)):
                name = fixed.get(recipes[k], design.z_names[k])
                values = ranef.iloc[:, column].to_numpy()
                out[name] = out[name] + values if name in out else values
            tables[group] = WideTable(out)
        return tables

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

        Notes
        -----
        With several grouping factors the weight is the diagonal of I - Var(b_i | y) Var(b_i)^-1,
        the reliability, which is the same thing where there is one; ``own`` takes the effects of
        the other factors as zero.
        """
        found = self._mode_results("own", "weight")
        parts = {
            "weight": [r["weight"] for r in found],
            "own": [self._problem.units.y_scale * r["own"] for r in found],
            "blup": self._modes,
        }
        tables = {key: self._tables(values) for key, values in parts.items()}
        out = {}
        for factor in self._problem.statistics.factors:
            out[factor.name] = pd.concat({key: t[factor.name] for key, t in tables.items()}, axis=1)
            if out[factor.name].shape[1] == len(parts):
                out[factor.name].columns = pd.Index(list(parts))
        return {name: WideTable(table) for name, table in out.items()}

    @cached_property
    def _variance_forms(self) -> tuple[FloatArray, list[FloatArray]]:
        """Return what makes variances over the rows of the core's beta and T / sigma^2.

        beta'C beta is that of X beta, and by grouping factor tr(T W) that of Z b, in the core's
        units, where nothing cancels; X beta and the shifted columns times their coefficients
        differ by a constant.
        """
        problem, core = self._problem, self._problem.statistics.totals
        design, n = problem.design, self.nobs
        cross, sums = np.asarray(core.plain_cross_products()), np.asarray(core.sums)
        x = [design.x_columns[k] for k in problem.kept]
        centred = cross[np.ix_(x, x)] - np.outer(sums[x], sums[x]) / n
        z, scale = design.z_columns, np.asarray(problem.core.z_scale)
        products = cross[np.ix_(z, z)] / np.outer(scale, scale) / n
        by_factor = []
        for f in range(len(design.groups)):
            own = np.isin(np.arange(len(z)), design.members(f))
            by_factor.append(np.where(np.outer(own, own), products, 0.0))
        return centred / (n - 1), by_factor

    @cached_property
    def _variances(self) -> explained.Variances:
        C, by_factor = self._variance_forms
        beta = self._problem.units.shifted_beta(self._optimum.evaluation.inverse_factor)
        T = self._optimum.factor @ self._optimum.factor.T
        random = {
            factor.name: self.sigma**2 * float((T * W).sum())
            for factor, W in zip(self._problem.statistics.factors, by_factor, strict=True)
        }
        return explained.Variances(max(float(beta @ C @ beta), 0.0), random, self.sigma**2)

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


def _weights(prior: FloatArray, conditional: FloatArray) -> FloatArray:
    """Return the diagonals of I - Var(b | y) Var(b)^-1, zero where nothing varies."""
    share = (prior - conditional) @ np.linalg.pinv(prior, hermitian=True)
    return np.asarray(np.diagonal(share, axis1=1, axis2=2))
