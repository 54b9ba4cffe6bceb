"""Fit the fixed part of a case by least squares with statsmodels: what a formula alone costs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import statsmodels.formula.api as smf
from cases import Case
from measure import Fitter, main


def fit(case: Case, frame: pd.DataFrame) -> Any:
    """Fit and read the standard errors."""
    fitted = smf.ols(case.fixed, frame).fit()
    _ = fitted.bse
    return fitted


if __name__ == "__main__":
    main(Fitter("statsmodels", fit))
