"""What the optimum says of the parameters: fixed effects, variance components, likelihood."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from . import _core
from .errors import InferenceError, did_you_mean
from .inference.between_within import between_within_df
from .inference.fixed_errors import DDF, ROBUST, ConstantDf, FixedErrors
from .inference.kenward_roger import KenwardRoger
from .inference.profiling import profile_intervals
from .inference.robust import cluster_robust
from .inference.satterthwaite import Satterthwaite
from .inference.tails import check_level, t_p_values, t_quantiles
from .inference.variance_derivatives import VarianceDerivatives, variance_derivatives
from .optimize import Certificate, Optimum
from .problem import Problem
from .statistics import Dropped
from .varcorr import TermCovariance, VarCorr

if TYPE_CHECKING:
    from .fit import LinearMixedFit

if TYPE_CHECKING:
    from .effects import FittedEffects

FloatArray = npt.NDArray[np.float64]


class FittedParameters:
    """The parameters of a fit; immutable."""

    _problem: Problem
    _optimum: Optimum
    reml: bool
    objective: float
    sigma: float
    converged: bool
    certificate: Certificate

    def __init__(self, problem: Problem, optimum: Optimum, reml: bool) -> None:
        units, inverse_factor = problem.units, optimum.evaluation.inverse_factor
        self.__dict__.update(
            _problem=problem,
            _optimum=optimum,
            reml=reml,
            objective=float(optimum.evaluation.value),
            sigma=units.sigma(inverse_factor, reml),
            converged=optimum.converged,
            certificate=optimum.certificate,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a fit can't be changed: {name!r} was to be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a fit can't be changed: {name!r} was to be deleted")

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self._problem.formula.text

    @property
    def response_name(self) -> str:
        """The response as written in the formula."""
        return self._problem.formula.response

    def is_of_same_response(self, other: FittedParameters) -> bool:
        """Tell whether another fit is to the same response, less the offset, and weights."""
        mine, others = (f._problem.response_fingerprint for f in (self, other))
        spread = np.sqrt(mine[1] / self.nobs)
        return (
            self.nobs == other.nobs
            and abs(mine[0] - others[0]) <= 1e-9 * (spread + abs(mine[0]))
            and abs(mine[1] - others[1]) <= 1e-6 * mine[1]
            and abs(mine[2] - others[2]) <= 1e-9 * (self.nobs + abs(mine[2]))
        )

    @property
    def criterion_name(self) -> str:
        """The name of ``objective``: "REML criterion" or "deviance"."""
        return "REML criterion" if self.reml else "deviance"

    @property
    def nobs(self) -> int:
        """Rows used."""
        return int(self._problem.statistics.core.n_rows_used)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels by grouping factor."""
        return {f.name: f.n_levels for f in self._problem.statistics.factors}

    @property
    def factorization(self) -> str:
        """How V, the covariance of the observations, is factored, and what fills in."""
        problem = self._problem
        names = [factor.name for factor in problem.statistics.factors]
        if not isinstance(problem.core, _core.SparseObjective):
            return f"V is block diagonal by {names[0]}" if names else "V is diagonal"
        plan = {key: int(value) for key, value in problem.core.plan.items()}
        filled = f"{plan['n_filled']} entries fill in" if plan["n_filled"] else "nothing fills in"
        if plan["block_factor"] >= 0:
            return f"V is block diagonal by {names[plan['block_factor']]}, {filled}"
        text = f"sparse Cholesky factor of {plan['n_stored']} entries, {filled}"
        if plan["n_dense"]:
            text += f", {plan['n_dense']} of {plan['n_effects']} effects in a dense block"
        return text

    @property
    def dropped(self) -> Dropped:
        """Rows left out for missing values."""
        return self._problem.statistics.dropped

    @property
    def dropped_columns(self) -> tuple[str, ...]:
        """Columns of X that depend on earlier ones and are not in the model."""
        return tuple(self._problem.design.x_names[k] for k in self._problem.dropped)

    @property
    def _has_random(self) -> bool:
        return bool(self._problem.structure.blocks)

    @cached_property
    def theta(self) -> FloatArray:
        """Relative covariance factors, in lme4's order."""
        structure = self._problem.structure
        out = self._problem.units.to_user(structure.theta(self._optimum.factor))
        out.setflags(write=False)
        return out

    @cached_property
    def _beta(self) -> FloatArray:
        return self._problem.units.beta(self._optimum.evaluation.inverse_factor)

    @cached_property
    def _cov_beta(self) -> FloatArray:
        factor = self._problem.units.unscaled_covariance_factor(
            self._optimum.evaluation.inverse_factor
        )
        return self.sigma**2 * (factor @ factor.T)

    @property
    def _names(self) -> list[str]:
        return [self._problem.design.x_names[k] for k in self._problem.kept]

    def _series(self, values: FloatArray, name: str) -> pd.Series[float]:
        return pd.Series(values.copy(), index=pd.Index(self._names), name=name)

    @property
    def params(self) -> pd.Series[float]:
        """Fixed effects."""
        return self._series(self._beta, "estimate")

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return self._series(np.sqrt(np.diag(self._cov_beta)), "std_error")

    @property
    def tvalues(self) -> pd.Series[float]:
        """Estimates in units of their standard errors."""
        return (self.params / self.bse).rename("statistic")

    @cached_property
    def _variance_derivatives(self) -> VarianceDerivatives:
        optimum = self._optimum
        return variance_derivatives(
            self._problem, optimum.factor, optimum.evaluation, self.sigma, self.reml
        )

    def _fixed_errors(self, ddf: str | None = None, robust: str | None = None) -> FixedErrors:
        """Return covariance and degrees of freedom of the fixed effects by a method's name."""
        if robust is not None:
            if ddf not in (None, "satterthwaite"):
                raise ValueError(
                    f"robust={robust!r} has Satterthwaite's degrees of freedom of its own: leave "
                    "ddf out"
                )
            if robust not in ROBUST:
                raise ValueError(
                    f"robust is one of {', '.join(map(repr, ROBUST))}, or None, not {robust!r}"
                )
            return cluster_robust(cast("FittedEffects", self), robust)
        if ddf is None or ddf == "satterthwaite":
            return self._satterthwaite
        if ddf == "kenward-roger":
            return self._kenward_roger
        if ddf == "between-within":
            by_coefficient = between_within_df(self._problem)
        elif ddf == "residual":
            by_coefficient = np.full(len(self._beta), float(self.nobs - len(self._beta)))
        elif ddf == "asymptotic":
            by_coefficient = np.full(len(self._beta), np.inf)
        else:
            raise ValueError(f"ddf is one of {', '.join(map(repr, DDF))}, not {ddf!r}")
        return ConstantDf(ddf, self._cov_beta, by_coefficient)

    @cached_property
    def _satterthwaite(self) -> Satterthwaite:
        return Satterthwaite(self._variance_derivatives)

    @cached_property
    def _kenward_roger(self) -> KenwardRoger:
        if not self.reml:
            raise InferenceError(
                "Kenward & Roger's method adjusts REML estimates, and this is a maximum likelihood "
                "fit: use fit.refit_reml(), or ddf='satterthwaite'"
            )
        return KenwardRoger(self._variance_derivatives)

    @property
    def df(self) -> pd.Series[float]:
        """Satterthwaite's degrees of freedom of the fixed effects (Fai & Cornelius 1996)."""
        return self._series(self._satterthwaite.df(np.eye(len(self._beta))), "df")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the fixed effects, by t on Satterthwaite's degrees of freedom."""
        return self._series(t_p_values(np.asarray(self.tvalues), np.asarray(self.df)), "p_value")

    def cov_params(self, ddf: str | None = None, robust: str | None = None) -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", "between-within", "residual", "asymptotic"}
            "kenward-roger" gives the adjusted matrix of Kenward & Roger (1997), all others
            sigma^2 (X'V^-1 X)^-1.
        robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
            Cluster-robust, by the grouping factor in which all others are nested
            (:func:`blocklmm.inference.robust.cluster_robust`).

        Returns
        -------
        DataFrame of shape (p, p)

        Raises
        ------
        InferenceError
            For "kenward-roger" after maximum likelihood; for "CR2" and "CR3" where clusters share
            random effects.
        """
        if ddf is None and robust is None:
            cov = self._cov_beta
        else:
            cov = self._fixed_errors(ddf, robust).cov
        return pd.DataFrame(cov.copy(), index=self._names, columns=self._names)

    def conf_int(
        self,
        level: float = 0.95,
        method: str = "wald",
        ddf: str | None = None,
        criterion: str | None = None,
        robust: str | None = None,
    ) -> pd.DataFrame:
        """Return confidence intervals of the fixed effects, or by profiles of all parameters.

        Parameters
        ----------
        level : float
        method : {"wald", "profile"}
            "wald": the fixed effects' estimates plus or minus a quantile times the standard error.
            "profile": likelihood intervals, all values at which the criterion with everything else
            free is at most chi-square's quantile (one degree of freedom) above its minimum.
        ddf : str, optional
            Wald's quantile is Student's, on these degrees of freedom, and the standard error goes
            with them (:meth:`tidy`); by default it is the normal distribution's, as lme4's.
        criterion : {"ML"}, optional
            Of profiles: by default variance parameters are profiled in the criterion that was
            fitted, fixed effects in the deviance; "ML" profiles all in the deviance, as lme4.
        robust : str, optional
            Wald's standard errors and degrees of freedom are cluster-robust (:meth:`tidy`).

        Returns
        -------
        DataFrame
            Columns lower, upper. Rows of profiles are ``varcorr.labels()``, then fixed effects.

        Raises
        ------
        ValueError

        Notes
        -----
        A profile's limit is the first one outward from the estimate. Where a standard deviation of
        zero is within the interval, its lower limit is zero, and where no correlation is beyond it,
        a correlation's are -1 and 1. The quantile is the same at these boundaries, as lme4's: the
        intervals are rather too wide there. A correlation with an effect whose variance is
        estimated as zero has none (NaN). More of profiles in :meth:`LinearMixedFit.profile`.
        """
        if method == "profile":
            if ddf is not None or robust is not None:
                raise ValueError("ddf and robust belong to method='wald': profiles have none")
            return profile_intervals(cast("LinearMixedFit", self), criterion, level)
        if method != "wald":
            near = did_you_mean(str(method), ("wald", "profile"))
            raise ValueError(f"method is 'wald' or 'profile', not {method!r}.{near}")
        if criterion is not None:
            raise ValueError("criterion belongs to method='profile'")
        is_normal = ddf is None and robust is None
        errors = self._fixed_errors("asymptotic" if is_normal else ddf, robust)
        df = errors.df(np.eye(len(self._beta)))
        half = t_quantiles(1 - check_level(level), df) * np.sqrt(np.diag(errors.cov))
        return pd.DataFrame({"lower": self.params - half, "upper": self.params + half})

    @cached_property
    def varcorr(self) -> VarCorr:
        """Variances and correlations of the random effects, and the residual's."""
        problem = self._problem
        lambda_ = self.sigma * problem.structure.matrix(self.theta)
        terms = []
        used: Counter[int] = Counter()
        for group, s in zip(problem.design.term_groups, problem.structure.slices, strict=True):
            k = used[group]
            used[group] += 1
            name = problem.statistics.factors[group].name + (f".{k}" if k else "")
            names = tuple(problem.design.z_names[s])
            terms.append(TermCovariance(name, names, lambda_[s, s] @ lambda_[s, s].T))
        return VarCorr(tuple(terms), self.sigma)

    @cached_property
    def singular(self) -> bool:
        """Whether a variance is zero or a correlation one."""
        factor = self._optimum.factor
        for s in self._problem.structure.slices:
            sizes = np.linalg.svd(factor[s, s], compute_uv=False)
            if sizes[-1] <= 1e-4 * max(sizes[0], 1e-300) or sizes[-1] <= 1e-5:
                return True
        return False

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and the residual variance."""
        return len(self._beta) + len(self._problem.structure.entries) + 1

    @property
    def llf(self) -> float:
        """Log-likelihood, or restricted log-likelihood after REML."""
        return -0.5 * self.objective

    @property
    def aic(self) -> float:
        """Akaike's criterion, from the likelihood that was maximised."""
        return self.objective + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion with log(nobs), from the likelihood that was maximised."""
        return self.objective + float(np.log(self.nobs)) * self.n_parameters

    @property
    def df_resid(self) -> int:
        """Rows less parameters."""
        return self.nobs - self.n_parameters


def normal_quantile(level: float) -> float:
    """Return the normal quantile of a two-sided interval of this level."""
    return float(ndtri(0.5 + check_level(level) / 2))
