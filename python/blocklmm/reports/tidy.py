"""A fit as tidy tables, with the columns of broom.mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from blocklmm.arguments import require_level
from blocklmm.errors import DataError
from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.inference.testing.tails import t_p_values, t_quantiles
from blocklmm.native_tables import names_of, with_columns
from blocklmm.parameters import FittedParameters
from blocklmm.predict import RowPredictions
from blocklmm.varcorr import VarCorr

FloatArray = npt.NDArray[np.float64]

RANDOM = ("ran_pars", "ran_vals", "ran_coefs")
"""What broom.mixed calls tables of random effects."""


def fixed(fit: FittedParameters, errors: FixedErrors, level: float) -> pd.DataFrame:
    """Return one row a fixed effect."""
    estimate = np.asarray(fit.params, dtype=np.float64)
    std_error = np.asarray(np.sqrt(np.diag(errors.cov)), dtype=np.float64)
    df = errors.df(np.eye(len(estimate)))
    return pd.DataFrame(
        {
            "effect": "fixed",
            "term": list(fit.params.index),
            **tested(estimate, std_error, df, level),
        }
    )


def tested(
    estimate: FloatArray, std_error: FloatArray, df: FloatArray, level: float
) -> dict[str, FloatArray]:
    """Return the columns of estimates with their t tests against zero and their intervals."""
    half = t_quantiles(1 - require_level(level), df) * std_error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / std_error
    return {
        "estimate": estimate,
        "std.error": std_error,
        "statistic": statistic,
        "df": df,
        "p.value": t_p_values(statistic, df),
        "conf.low": estimate - half,
        "conf.high": estimate + half,
    }


def ran_pars(varcorr: VarCorr, std_error: FloatArray) -> pd.DataFrame:
    """Return one row a standard deviation or correlation, in the order of the VarCorr."""
    frame = varcorr.to_frame()
    return pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": frame["group"],
            "term": parameter_names(varcorr),
            "estimate": frame["sdcor"],
            "std.error": std_error,
        }
    )


def parameter_names(varcorr: VarCorr) -> list[str]:
    """Return broom.mixed's names of standard deviations and correlations."""
    return [
        "sd__Observation"
        if row.group == "Residual"
        else f"sd__{row.name1!s}"
        if row.name2 is None
        else f"cor__{row.name1!s}.{row.name2!s}"
        for row in varcorr.to_frame().itertuples()
    ]


def ran_vals(
    ranef: Mapping[str, pd.DataFrame], sd: Mapping[str, pd.DataFrame], level: float
) -> pd.DataFrame:
    """Return one row a random effect of a level: all effects of a level side by side."""
    found = _by_level("ran_vals", ranef)
    error = np.concatenate([sd[name].to_numpy().ravel() for name in ranef] or [np.zeros(0)])
    half = ndtri(0.5 + require_level(level) / 2) * error
    found["std.error"] = error
    found["conf.low"], found["conf.high"] = found["estimate"] - half, found["estimate"] + half
    return found


def ran_coefs(coef: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a coefficient of a level."""
    return _by_level("ran_coefs", coef)


def _by_level(effect: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts: Iterable[pd.DataFrame] = (
        pd.DataFrame(
            {
                "effect": effect,
                "group": name,
                "level": table.index.repeat(table.shape[1]),
                "term": np.tile(table.columns.astype(object), len(table)),
                "estimate": table.to_numpy().ravel(),
            }
        )
        for name, table in tables.items()
    )
    if tables:
        return pd.concat(parts, ignore_index=True)
    none = pd.Series(dtype=object)
    return pd.DataFrame(
        {"effect": none, "group": none, "level": none, "term": none, "estimate": []}
    )


def glance(fit: FittedParameters) -> pd.DataFrame:
    """Return one row about the fit."""
    row: dict[str, object] = {
        "nobs": fit.nobs,
        "sigma": fit.sigma,
        "logLik": fit.llf,
        "AIC": fit.aic,
        "BIC": fit.bic,
        "REMLcrit" if fit.reml else "deviance": fit.objective,
        "df.residual": fit.df_resid,
        "singular": fit.singular,
        "converged": fit.converged,
    }
    row.update({f"ngroups.{name}": count for name, count in fit.ngroups.items()})
    return pd.DataFrame([row])


def augment(
    columns: Any, name: str, response: FloatArray, fitted: RowPredictions, is_of_rows: bool
) -> Any:
    """Return a table of any library with the response under its name, and what is fitted of rows.

    A response that is one of the columns stays as it is there, if it is of the rows: a refit's is
    not.
    """
    known = names_of(columns)
    added = {
        name: response,
        ".fitted": fitted.mean,
        ".fixed": fitted.fixed,
        ".resid": response - fitted.mean,
    }
    for found in (".fitted", ".fixed", ".resid"):
        if found in known or name == found:
            raise DataError(f"two columns would be called {found!r}: rename that of the data")
    if is_of_rows and name in known:
        del added[name]
    return with_columns(columns, added)
