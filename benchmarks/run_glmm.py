"""Fit a case with glmm."""

from __future__ import annotations

from typing import Any

import glmm
import pandas as pd
from cases import Case
from measure import Fitter, main


def fit(case: Case, frame: pd.DataFrame) -> Any:
    """Fit by REML, without the degrees of freedom that no other system here computes."""
    return glmm.fit(frame, case.formula, satterthwaite=False)


if __name__ == "__main__":
    # `deviance` leaves out a constant; `loglik` does not.
    main(Fitter("glmm", fit, lambda fitted: -2.0 * float(fitted.loglik)))
