"""What the optimum says of the parameters: fixed effects, variance components, likelihood."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core
from .errors import ConvergenceWarning, InferenceError, warn
from .optimize import Certificate, Optimum
from .problem import Problem
from .reading import Dropped
from .varcorr import TermCovariance, VarCorr

if TYPE_CHECKING:
    from typing_extensions import Self

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

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing of a fit can change

    def _warn_uncertified(self, what: str) -> None:
        if not self.converged:
            warn(
                f"{what} of a fit that is not certified to be optimal ({self.certificate.message})",
                ConvergenceWarning,
            )

    def _require_certified(self) -> None:
        """Raise an InferenceError unless the fit is certified to be at its optimum."""
        if not self.converged:
            raise InferenceError(
                f"the fit is not certified to be optimal ({self.certificate.message}): tests and "
                "simulations would be of a model that was not fitted; fit again with more "
                "evaluations"
            )

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
        """The name of ``objective``, "REML criterion" or "deviance"."""
        return "REML criterion" if self.reml else "deviance"

    @property
    def nobs(self) -> int:
        """Rows used."""
        return int(self._problem.statistics.totals.n_rows_used)

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
    def passes(self) -> list[str]:
        """What rows that came in chunks were read for, each time; empty of rows in memory."""
        return list(self._problem.statistics.passes)

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
        return self._problem.structure.is_singular(self._optimum.factor)

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
