"""Fit a case with blocklmm."""

from __future__ import annotations

import time
from typing import Any

import blocklmm as bl
import pandas as pd
from cases import Case
from measure import Fitter, main


def fit(case: Case, frame: pd.DataFrame) -> Any:
    """Fit by REML and read the standard errors."""
    fitted = bl.lmer(case.formula, frame)
    _ = fitted.bse
    return fitted


def evaluations(case: Case, frame: pd.DataFrame, fitted: Any) -> dict[str, float]:
    """Time the search alone: a second fit of one model does not go over the rows again."""
    model = bl.LinearMixedModel(case.formula, frame)
    model.fit()
    start = time.process_time()
    refitted = model.fit()
    seconds = time.process_time() - start
    return {
        "n_evaluations": fitted.certificate.n_evaluations,
        "evaluation_s": seconds / max(refitted.certificate.n_evaluations, 1),
    }


if __name__ == "__main__":
    main(Fitter("blocklmm", fit, lambda fitted: float(fitted.objective), extra=evaluations))
