"""Fit a case with mixedlm-rs, which takes statsmodels' MixedLM arguments."""

from __future__ import annotations

from typing import Any

import mixedlm_rs
import pandas as pd
from cases import Case
from measure import Fitter, main


def fit(case: Case, frame: pd.DataFrame) -> Any:
    """Fit by REML and read the fixed effects' standard errors, which it computes when asked."""
    ((effects, group),) = case.terms
    re_formula = None if effects == "1" else f"~{effects}"
    model = mixedlm_rs.mixedlm(case.fixed, frame, groups=group, re_formula=re_formula)
    fitted = model.fit()
    _ = fitted.bse_fe
    return fitted


if __name__ == "__main__":
    main(Fitter("mixedlm-rs", fit, lambda fitted: -2.0 * float(fitted.llf)))
