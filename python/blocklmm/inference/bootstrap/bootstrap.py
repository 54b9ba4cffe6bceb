"""Parametric bootstrap of a fit: intervals for everything that it estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from blocklmm import tables
from blocklmm.arguments import require_choice, require_level
from blocklmm.errors import warn
from blocklmm.fitted_rows import FittedRows
from blocklmm.inference.influence.influence import group_influence
from blocklmm.inference.nested.reduced import ReducedModel

from .replicates import Drawing, Replicates, replicate

FloatArray = npt.NDArray[np.float64]

KINDS = ("percentile", "basic", "bca")


@dataclass(frozen=True)
class Bootstrap:
    """Fits to responses drawn from a fitted model.

    Attributes
    ----------
    fit : FittedRows
        The fit that they were drawn from.
    estimates : Series
        Its fixed effects, standard deviations and correlations of random effects, sigma, ICC and
        R squared.
    n_failed : int
        Replicates whose optimum has no certificate; they are left out.
    seed : int
        Gives the same replicates again, for any number of threads.
    seconds : (float, float)
        Seconds spent drawing and fitting, summed over the threads.
    """

    fit: FittedRows
    replicates: Replicates
    n_failed: int
    seed: int
    seconds: tuple[float, float]

    @cached_property
    def estimates(self) -> pd.Series[float]:
        """The fit's own values, in the order of :meth:`to_frame`."""
        fit, optimum = self.fit, self.fit._optimum
        values = _values(
            fit,
            fit._beta[None],
            fit._problem.units.shifted_beta(optimum.evaluation.inverse_factor)[None],
            np.array([fit.sigma]),
            fit._problem.structure.matrix(fit.theta)[None],
            optimum.factor[None],
        )
        return pd.Series(values[0], index=pd.Index(_labels(fit), dtype=object))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a replicate.

        Returns
        -------
        DataFrame
            Columns: the fixed effects, ``sd_x|g``, ``cor_y.x|g`` (NaN where a variance is zero),
            ``sigma``, ``icc`` (adjusted), ``r2_marginal``, ``r2_conditional``.
        """
        fit, found = self.fit, self.replicates
        inverse_factor = fit._optimum.evaluation.inverse_factor
        values = _values(
            fit,
            fit._beta + found.beta,
            fit._problem.units.shifted_beta(inverse_factor) + found.core_beta,
            found.sigma,
            found.factor,
            found.core_factor,
        )
        return pd.DataFrame(values, columns=_labels(self.fit))

    def conf_int(self, kind: str = "percentile", level: float = 0.95) -> pd.DataFrame:
        """Return bootstrap intervals (Davison & Hinkley 1997, chapter 5).

        Parameters
        ----------
        kind : {"percentile", "basic", "bca"}
            Quantiles of the replicates; the same mirrored at the estimate; or bias-corrected and
            accelerated (Efron 1987), with the acceleration of leaving out one group after the
            other, which takes another pass over the rows and factors that are not crossed.
        level : float

        Returns
        -------
        DataFrame
            Columns lower, upper; NaN for correlations where a variance is zero. Limits of standard
            deviations, correlations and shares are cut at the ends of what they can be.

        Raises
        ------
        OptionError
        """
        kind = kind.lower() if isinstance(kind, str) else kind
        require_choice("kind", kind, KINDS)
        tail = 0.5 * (1 - require_level(level))
        frame, estimates = self.to_frame(), self.estimates
        if tail * len(frame) < 1:
            warn(
                f"of {len(frame)} replicates less than one lies beyond a limit of level {level:g}: "
                "draw more"
            )
        accelerations = self._accelerations() if kind == "bca" else np.zeros(len(estimates))
        rows = []
        for k, acceleration in enumerate(accelerations):
            values, estimate = frame.iloc[:, k].dropna().to_numpy(), float(estimates.iloc[k])
            if not len(values) or np.isnan(estimate):
                rows.append((np.nan, np.nan))
                continue
            if kind == "bca":
                below = (values < estimate).mean() + 0.5 * (values == estimate).mean()
                if not 0 < below < 1:
                    rows.append((np.nan, np.nan))
                    continue
                z0 = ndtri(below)
                z = z0 + ndtri([tail, 1 - tail])
                lower, upper = np.quantile(values, ndtr(z0 + z / (1 - acceleration * z)))
            else:
                lower, upper = np.quantile(values, [tail, 1 - tail])
            if kind == "basic":
                lower, upper = 2 * estimate - upper, 2 * estimate - lower
            rows.append((float(lower), float(upper)))
        out = pd.DataFrame(rows, columns=["lower", "upper"], index=estimates.index)
        for k in range(len(self.fit.params), len(out)):
            name = str(out.index[k])
            least = -1.0 if name.startswith("cor_") else 0.0
            most = np.inf if name.startswith("sd_") or name == "sigma" else 1.0
            out.iloc[k] = out.iloc[k].clip(least, most)
        return tables.noted(out, [f"{kind} limits of level {level:g}, {len(frame)} replicates"])

    def _accelerations(self) -> FloatArray:
        """Return sum d^3 / (6 (sum d^2)^1.5) of the jackknife's distances from their mean.

        By groups left out: exact fixed effects at the fitted theta, one Newton step of the variance
        parameters (:meth:`LinearMixedFit.influence`). Shares have none of their own; theirs is 0.
        """
        fit = self.fit
        left_out = group_influence(fit)
        out = []
        for k, name in enumerate(self.estimates.index):
            column = f"params_{name}" if k < len(fit.params) else str(name)
            values = left_out[column].dropna() if column in left_out else pd.Series(dtype=float)
            d = float(values.mean()) - values.to_numpy() if len(values) else np.zeros(1)
            size = float((d**2).sum()) ** 1.5
            out.append(float((d**3).sum()) / (6 * size) if size > 0 else 0.0)
        return np.array(out)

    def __repr__(self) -> str:
        return tables.text(*self._shown())

    def _repr_html_(self) -> str:
        return tables.html(*self._shown())

    def _shown(self) -> tuple[pd.DataFrame, list[str]]:
        """Return what is printed, and the notes below it."""
        failed = f", {self.n_failed} left out" if self.n_failed else ""
        head = f"{len(self.replicates.sigma)} replicates (seed {self.seed}{failed})"
        table = pd.concat([self.estimates.rename("estimate"), self.conf_int()], axis=1)
        return table, [head, "percentile limits of level 0.95"]


def bootstrap(
    fit: FittedRows,
    n: int,
    seed: int | None,
    n_threads: int | None,
    progress: bool | None,
) -> Bootstrap:
    """Draw from a fit and fit again; see the fit's method."""
    fit._require_certified()
    if fit._optimum.n_flat:
        warn(
            "the data do not identify all (co)variances of the model "
            f"({fit.certificate.message}): replicates of these are the optimiser's choice"
        )
    drawing = Drawing.of(n, seed, n_threads, progress, called="n")
    problem = fit._problem
    whole = ReducedModel.of_all(problem)
    start = problem.structure.matrix(fit.theta)
    (found,), seconds = replicate(
        problem, fit._optimum.factor, fit.sigma, [(whole, fit.reml, start)], drawing
    )
    good = found.converged
    if not good.all():
        warn(f"{int((~good).sum())} of {n} replicates were not certified and are left out")
        found = Replicates(*(getattr(found, name)[good] for name in Replicates.__slots__))
    return Bootstrap(fit, found, int((~good).sum()), drawing.seed, seconds)


def _labels(fit: FittedRows) -> list[str]:
    shares = ["icc", "r2_marginal", "r2_conditional"]
    return [*map(str, fit.params.index), *fit.varcorr.labels(), *shares]


def _values(
    fit: FittedRows,
    beta: FloatArray,
    core_beta: FloatArray,
    sigma: FloatArray,
    factor: FloatArray,
    core_factor: FloatArray,
) -> FloatArray:
    """Return what :func:`_labels` names, a row for each beta, sigma and factor of T."""
    T = np.einsum("nac,nbc->nab", factor, factor)
    sd = np.sqrt(np.diagonal(T, axis1=1, axis2=2))
    with np.errstate(invalid="ignore", divide="ignore"):
        corr = T / (sd[:, :, None] * sd[:, None, :])
    columns = list(beta.T)
    for s in fit._problem.structure.slices:
        columns += [sigma * sd[:, k] for k in range(s.start, s.stop)]
        columns += [corr[:, i, j] for j in range(s.start, s.stop) for i in range(j + 1, s.stop)]
    C, by_factor = fit._variance_forms
    fixed = np.einsum("na,ab,nb->n", core_beta, C, core_beta)
    T = np.einsum("nac,nbc->nab", core_factor, core_factor)
    residual = sigma**2
    random = residual * np.einsum("nab,ab->n", T, sum(by_factor, np.zeros_like(T[0])))
    total = fixed + random + residual
    columns += [sigma, random / (random + residual), fixed / total, (fixed + random) / total]
    return np.column_stack(columns)
