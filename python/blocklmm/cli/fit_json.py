"""A fit as JSON values: what ``blocklmm fit --out`` writes; ``--help`` lists the keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from blocklmm.fit import LinearMixedFit

from .outputs import records

FORMAT, VERSION = "blocklmm.fit", 1


def fit_values(
    fit: LinearMixedFit, data: str, weights: str | None, ddf: str | None, level: float
) -> dict[str, Any]:
    """Return what is told of a fit.

    Parameters
    ----------
    fit : LinearMixedFit
    data : str
        What was read, as it was given.
    weights : str, optional
    ddf : str, optional
        Degrees of freedom of the tests, and of the intervals of some level.
    level : float
    """
    from blocklmm import __version__

    return {
        "format": FORMAT,
        "version": VERSION,
        "blocklmm": __version__,
        "data": data,
        "formula": fit.formula,
        "method": "REML" if fit.reml else "ML",
        "weights": weights,
        "nobs": fit.nobs,
        "ngroups": fit.ngroups,
        "dropped_rows": {"n_rows": fit.dropped.n_rows, "by_column": fit.dropped.by_column},
        "dropped_columns": fit.dropped_columns,
        "objective": fit.objective,
        "logLik": fit.llf,
        "AIC": fit.aic,
        "BIC": fit.bic,
        "n_parameters": fit.n_parameters,
        "df_resid": fit.df_resid,
        "ddf": ddf or "satterthwaite",
        "level": level,
        "fixed_effects": records(_with_plain_names(fit.tidy(ddf=ddf, level=level))),
        "variance_components": _components(fit),
        "theta": fit.theta,
        "sigma": fit.sigma,
        "converged": fit.converged,
        "singular": fit.singular,
        "certificate": asdict(fit.certificate),
    }


def _with_plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return broom's columns under names that JSON's readers can write as attributes."""
    return table.drop(columns="effect").rename(columns=lambda name: name.replace(".", "_"))


def _components(fit: LinearMixedFit) -> list[dict[str, Any]]:
    rows = records(fit.varcorr.to_frame())
    return [{"label": label, **row} for label, row in zip(fit.varcorr.labels(), rows, strict=True)]
