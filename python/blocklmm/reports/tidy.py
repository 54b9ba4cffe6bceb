"""A fit as tidy tables, in the manner of broom.mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from blocklmm.parameters import FittedParameters


def tidy(fit: FittedParameters, effects: str, level: float) -> pd.DataFrame:
    """Return one row an estimate."""
    if effects == "random":
        frame = fit.varcorr.to_frame()
        names = [
            "sigma"
            if row.group == "Residual"
            else f"sd_{row.name1!s}|{row.group!s}"
            if row.name2 is None
            else f"cor_{row.name2!s}.{row.name1!s}|{row.group!s}"
            for row in frame.itertuples()
        ]
        return pd.DataFrame({"group": frame["group"], "term": names, "estimate": frame["sdcor"]})
    interval = fit.conf_int(level)
    return pd.DataFrame(
        {
            "term": list(fit.params.index),
            "estimate": fit.params.to_numpy(),
            "std_error": fit.bse.to_numpy(),
            "statistic": fit.tvalues.to_numpy(),
            "df": fit.df.to_numpy(),
            "p_value": fit.pvalues.to_numpy(),
            "conf_low": interval["lower"].to_numpy(),
            "conf_high": interval["upper"].to_numpy(),
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
