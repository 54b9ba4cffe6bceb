"""Fit a case with mixedlm."""

from __future__ import annotations

from typing import Any

import mixedlm
import numpy as np
import pandas as pd
from cases import Case
from measure import Fitter, main


def fit(case: Case, frame: pd.DataFrame) -> Any:
    """Fit by REML and compute the standard errors, which it does on request only."""
    fitted = mixedlm.lmer(case.formula, frame)
    np.sqrt(np.diag(fitted.vcov()))
    return fitted


if __name__ == "__main__":
    main(Fitter("mixedlm", fit, lambda fitted: float(fitted.REMLcrit())))
