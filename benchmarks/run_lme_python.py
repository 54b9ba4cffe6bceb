"""Fit a case with lme-python."""

from __future__ import annotations

from typing import Any

import lme_python
import pandas as pd
import polars as pl
from cases import Case
from measure import Fitter, main


def native(_: Case, frame: pd.DataFrame) -> pl.DataFrame:
    """Convert to Polars, its own kind of frame, so that a conversion is not charged to it."""
    return pl.DataFrame(
        {
            name: column.to_numpy() if column.dtype.kind in "if" else column.astype(str).to_list()
            for name, column in frame.items()
        }
    )


def fit(case: Case, frame: pl.DataFrame) -> Any:
    """Fit by REML and read the standard errors."""
    fitted = lme_python.lmer(case.formula, data=frame)
    _ = fitted.std_errors
    return fitted


if __name__ == "__main__":
    main(Fitter("lme-python", fit, lambda fitted: float(fitted.reml_criterion), prepare=native))
