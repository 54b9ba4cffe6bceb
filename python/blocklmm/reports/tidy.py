"""A fit as tidy tables, in the manner of broom.mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.arguments import require_level
from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.inference.testing.tails import t_p_values, t_quantiles
from blocklmm.parameters import FittedParameters


def random(fit: FittedParameters, std_error: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return one row a variance component, named as lme4 names them."""
    frame = fit.varcorr.to_frame()
    return pd.DataFrame(
        {
            "group": frame["group"],
            "term": fit.varcorr.labels(),
            "estimate": frame["sdcor"],
            "std_error": std_error,
        }
    )


def fixed(fit: FittedParameters, errors: FixedErrors, level: float) -> pd.DataFrame:
    """Return one row a fixed effect."""
    estimate, std_error = fit.params.to_numpy(), np.sqrt(np.diag(errors.cov))
    df = errors.df(np.eye(len(estimate)))
    half = t_quantiles(1 - require_level(level), df) * std_error
    return pd.DataFrame(
        {
            "term": list(fit.params.index),
            "estimate": estimate,
            "std_error": std_error,
            "statistic": estimate / std_error,
            "df": df,
            "p_value": t_p_values(estimate / std_error, df),
            "conf_low": estimate - half,
            "conf_high": estimate + half,
        }
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
        "df_resid": fit.df_resid,
        "singular": fit.singular,
        "converged": fit.converged,
    }
    row.update({f"ngroups_{name}": count for name, count in fit.ngroups.items()})
    return pd.DataFrame([row])


def augment(
    response: npt.NDArray[np.float64],
    fitted: npt.NDArray[np.float64],
    fixed: npt.NDArray[np.float64],
    index: pd.Index[Any],
) -> pd.DataFrame:
    """Return one row for each row used, indexed as the data are."""
    return pd.DataFrame(
        {"response": response, "fitted": fitted, "fixed": fixed, "resid": response - fitted},
        index=index,
    )
