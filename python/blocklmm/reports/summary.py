"""A fit's summary, in the layout of lme4's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.parameters import FittedParameters, FloatArray

from . import tidy
from .sections import Report, Section

_MOST_CORRELATED_EFFECTS = 12


def summary(
    fit: FittedParameters, scaled_residuals: FloatArray | str, errors: FixedErrors
) -> Report:
    """Return the summary of a fit.

    Parameters
    ----------
    fit : FittedParameters
    scaled_residuals : array of shape (nobs,), or str
        Residuals in units of their standard deviation, or why there are none.
    errors : FixedErrors
        Covariance and degrees of freedom of the fixed effects.
    """
    kind = "Linear mixed model" if fit.ngroups else "Linear model"
    how = "REML" if fit.reml else "maximum likelihood"
    parts = [
        Section(lines=[f"{kind} fit by {how}", f"Formula: {fit.formula}"]),
        _criterion(fit),
        _residuals(scaled_residuals),
        _random_effects(fit),
        _fixed_effects(fit, errors),
        _correlations(fit, errors),
        Section(lines=_notes(fit, errors)),
    ]
    return Report([part for part in parts if part is not None])


def _criterion(fit: FittedParameters) -> Section:
    if fit.reml:
        return Section(lines=[f"REML criterion at convergence: {fit.objective:.4f}"])
    names = ["AIC", "BIC", "logLik", "-2*log(L)", "df.resid"]
    values = [fit.aic, fit.bic, fit.llf, fit.objective]
    cells = [f"{v:.1f}" for v in values] + [str(fit.df_resid)]
    return Section(rows=[names, cells])


def _residuals(scaled: FloatArray | str) -> Section:
    if isinstance(scaled, str):
        return Section(lines=[f"Scaled residuals: {scaled}"])
    quantiles = np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1])
    cells = [f"{q:.4f}" for q in quantiles]
    return Section("Scaled residuals:", [["Min", "1Q", "Median", "3Q", "Max"], cells])


def _random_effects(fit: FittedParameters) -> Section:
    if not fit.ngroups:
        sigma = f"Residual standard deviation: {fit.sigma:.5g}"
        return Section(lines=[sigma, f"Number of obs: {fit.nobs}"])
    rows = [["Groups", "Name", "Variance", "Std.Dev.", "Corr"]]
    variances = [v for term in fit.varcorr for v in np.diag(term.cov)] + [fit.sigma**2]
    sds = [float(np.sqrt(v)) for v in variances]
    shown = list(zip(aligned(variances), aligned(sds), strict=True))
    at = 0
    widest = max(len(term.names) for term in fit.varcorr)
    for term in fit.varcorr:
        corr = term.corr
        for i, name in enumerate(term.names):
            cells = [f"{corr[i, j]:.2f}" for j in range(i)]
            rows.append([term.group if i == 0 else "", name, *shown[at], " ".join(cells)])
            at += 1
    rows.append(["Residual", "", *shown[at], ""])
    if widest == 1:
        rows = [row[:4] for row in rows]
    groups = "; ".join(f"{name}, {count}" for name, count in fit.ngroups.items())
    count = f"Number of obs: {fit.nobs}, groups: {groups}"
    return Section("Random effects:", rows, [count], left=2, last_left=True, indent=1)


def _fixed_effects(fit: FittedParameters, errors: FixedErrors) -> Section:
    if not len(fit.params):
        return Section(lines=["No fixed effects"])
    table = tidy.fixed(fit, errors, level=0.95)
    rows = [["", "Estimate", "Std. Error", "df", "t value", "Pr(>|t|)"]]
    if np.isinf(table["df"]).all():
        rows = [["", "Estimate", "Std. Error", "", "z value", "Pr(>|z|)"]]
    estimates, std_errors = aligned(table["estimate"]), aligned(table["std.error"])
    columns = ("df", "statistic", "p.value")
    for k, (df, t, p) in enumerate(zip(*(table[c].to_numpy() for c in columns), strict=True)):
        p_text = "<2e-16" if p < 2e-16 else f"{p:.3g}"
        df_text = "" if np.isinf(df) else f"{df:.2f}"
        cells = [estimates[k], std_errors[k], df_text, f"{t:.3f}", p_text]
        rows.append([str(fit.params.index[k]), *cells])
    if not any(row[3] for row in rows):
        rows = [row[:3] + row[4:] for row in rows]
    return Section("Fixed effects:", rows, left=1)


def _correlations(fit: FittedParameters, errors: FixedErrors) -> Section | None:
    p = len(fit.params)
    if p < 2 or p > _MOST_CORRELATED_EFFECTS:
        return None
    cov = errors.cov
    sd = np.sqrt(np.diag(cov))
    corr = cov / np.outer(sd, sd)
    names = [str(name) for name in fit.params.index]
    heads = [name[:9] for name in names[:-1]]
    if len(set(heads)) < len(heads):
        heads = [f"({k + 1})" for k in range(p - 1)]
        names = [f"({k + 1}) {name}" for k, name in enumerate(names)]
    rows = [["", *heads]]
    for i in range(1, p):
        cells = [f"{corr[i, j]:.3f}" if j < i else "" for j in range(p - 1)]
        rows.append([names[i], *cells])
    return Section("Correlation of fixed effects:", rows, left=1)


def _notes(fit: FittedParameters, errors: FixedErrors) -> list[str]:
    c = fit.certificate
    notes = [f"Tests of fixed effects: {errors.name}"] if len(fit.params) else []
    if fit.ngroups:
        notes.append(f"Certificate: {c.message}, {c.n_evaluations} evaluations")
        least = f"smallest eigenvalue of Gamma {c.min_eigenvalue:.1e}"
        notes.append(f"Largest gradient {c.gradient:.1e}, {least}")
        notes.append(f"Covariance: {fit.factorization}")
    if fit.passes:
        times = "once" if len(fit.passes) == 1 else f"{len(fit.passes)} times"
        notes.append(f"Rows came in chunks, read {times}: {'; '.join(fit.passes)}")
    if fit.dropped.n_rows:
        columns = ", ".join(f"{name}: {count}" for name, count in fit.dropped.by_column.items())
        rows = "row" if fit.dropped.n_rows == 1 else "rows"
        notes.append(f"{fit.dropped.n_rows} {rows} dropped for missing values ({columns})")
    if fit.dropped_columns:
        names = ", ".join(fit.dropped_columns)
        notes.append(f"Fixed-effects columns dropped for linear dependence: {names}")
    return notes


def aligned(values: Sequence[float] | object, digits: int = 4) -> list[str]:
    """Format numbers with one number of decimals, such that the smallest has its digits."""
    array = np.asarray(values, dtype=np.float64)
    sizes = np.abs(array[(array != 0) & np.isfinite(array)])
    if len(sizes) == 0:
        return [f"{v:g}" for v in array]
    decimals = digits - 1 - int(np.floor(np.log10(sizes.min())))
    if decimals > 7 or sizes.max() >= 1e9:
        return [f"{v:.{digits}g}" for v in array]
    return [f"{v:.{max(decimals, 0)}f}" for v in array]
