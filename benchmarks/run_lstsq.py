"""Solve the fixed part of a case by NumPy's lstsq on the ready matrix: no formula, no frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from cases import Case
from measure import Fitter, main
from numpy.typing import NDArray


def matrix(case: Case, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return X, with a column of ones, and y."""
    response, _, terms = case.fixed.partition(" ~ ")
    columns = [frame[name].to_numpy(dtype=float) for name in terms.split(" + ")]
    return np.column_stack([np.ones(len(frame)), *columns]), frame[response].to_numpy()


def fit(_: Case, data: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Any:
    """Solve; there are no standard errors."""
    return np.linalg.lstsq(*data, rcond=None)


if __name__ == "__main__":
    main(Fitter("numpy", fit, prepare=matrix))
