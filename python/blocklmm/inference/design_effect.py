"""What clustering costs: variances against those of as many independent observations.

The mean of n observations has variance (sum_ij Cov(y_i, y_j)) / n^2. With a random intercept of
variance tau_f^2 in each factor f, whose levels have n_fi rows,

    n sigma^2 + sum_f tau_f^2 sum_i n_fi^2

is the sum of covariances; n independent ones of variance sigma^2 + sum_f tau_f^2 have n times that.
The ratio is Kish's (1965, sec. 5.4) design effect

    1 + sum_f (m_f - 1) rho_f,     m_f = sum_i n_fi^2 / n,

rho_f the intraclass correlation. m_f is the size of the group of a row drawn at random: the mean
size, if they are equal.

A coefficient's variance, sigma^2 (X'V^-1X)^-1, is compared with s^2 (X'X)^-1 for s^2 the mean
variance of a row given its fixed effects (Scott & Holt 1982). Of the intercept in balanced groups
that is Kish's again; a covariate that varies within groups can have less than one, because groups
take variance out of its comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.effects import FittedEffects
from blocklmm.tables import html, text

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class DesignEffect:
    """Design effects, and how many independent observations would tell as much.

    Attributes
    ----------
    n : int
        Rows.
    design_effect : float
        Of the mean of the rows. NaN where a factor has random slopes, with which pairs of rows
        of one group correlate differently, or with no random effect other than slopes.
    by_group : DataFrame
        A row for each grouping factor: size, m_f; icc, rho_f; design_effect, 1 + (m_f - 1) rho_f;
        effective_n. The last three are NaN for a factor with random slopes.
    by_coefficient : DataFrame
        A row for each fixed effect: design_effect, and effective_n = n / design_effect.
    """

    n: int
    design_effect: float
    by_group: pd.DataFrame
    by_coefficient: pd.DataFrame

    @property
    def effective_n(self) -> float:
        """Independent observations whose mean has the variance of this one, n / design_effect."""
        return self.n / self.design_effect

    def _notes(self) -> list[str]:
        of_mean = f"{self.design_effect:.5g}, effective n {self.effective_n:.5g}"
        notes = [f"n = {self.n}, design effect of the mean {of_mean}"]
        if np.isnan(self.design_effect):
            notes.append(
                "NaN: with random slopes the correlation of two rows of a group depends on which "
                "they are, and Kish's design effect is not defined; coefficients have theirs"
            )
        return notes

    def __repr__(self) -> str:
        return "\n\n".join([text(self.by_group, self._notes()), text(self.by_coefficient, [])])

    def _repr_html_(self) -> str:
        return html(self.by_group, self._notes()) + html(self.by_coefficient, [])


def design_effect(fit: FittedEffects) -> DesignEffect:
    """Compute design effects from the statistics; no row is read.

    Parameters
    ----------
    fit : FittedEffects

    Returns
    -------
    DesignEffect
    """
    n, variances, problem = fit.nobs, fit._variances, fit._problem
    total = variances.total_random + variances.residual
    rows = []
    for f, group in enumerate(problem.statistics.factors):
        sizes = np.asarray(problem.statistics.core.level_rows(f), dtype=float)
        size = float((sizes**2).sum()) / n
        effects = [problem.design.z_names[k] for k in problem.design.members(f)]
        is_constant = effects == ["(Intercept)"] * len(effects)
        icc = variances.random[group.name] / total if is_constant else np.nan
        rows.append((size, icc, 1 + (size - 1) * icc))
    names = [group.name for group in problem.statistics.factors]
    by_group = pd.DataFrame(
        rows,
        index=pd.Index(names, name="group", dtype=object),
        columns=["size", "icc", "design_effect"],
        dtype=float,
    )
    by_group["effective_n"] = n / by_group["design_effect"]
    effect = np.diag(fit._cov_beta) / (total * _inverse_diagonal(fit))
    by_coefficient = pd.DataFrame(
        {"design_effect": effect, "effective_n": n / effect},
        index=pd.Index(fit._names, name="term", dtype=object),
    )
    of_mean = 1 + sum(row[2] - 1 for row in rows)
    return DesignEffect(n, float(of_mean), by_group, by_coefficient)


def _inverse_diagonal(fit: FittedEffects) -> FloatArray:
    """Return the diagonal of (X'X)^-1, by way of the columns about their shift."""
    problem = fit._problem
    columns = [problem.design.x_columns[k] for k in problem.kept]
    cross = np.asarray(problem.statistics.totals.cross_products())[np.ix_(columns, columns)]
    scale = np.sqrt(np.diag(cross))
    L = np.linalg.cholesky(cross / np.outer(scale, scale))
    half = np.linalg.solve(L, (problem.units.unshift / scale).T)
    return np.asarray((half**2).sum(axis=0))
