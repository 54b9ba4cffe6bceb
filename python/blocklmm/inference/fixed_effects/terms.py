"""The table of F tests of a model's terms, as lmerTest's ``anova``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.inference.testing.wald import wald
from blocklmm.parameters import FittedParameters
from blocklmm.tables import noted

from .hypotheses import hypothesis_matrices, term_name, type_number
from .indicators import Indicators
from .span import span_of

FloatArray = npt.NDArray[np.float64]


def anova_table(
    fit: FittedParameters,
    errors: FixedErrors,
    type: int | str = 3,  # noqa: A002
) -> pd.DataFrame:
    """Test each term of the fixed part.

    Parameters
    ----------
    fit : FittedParameters
    errors : FixedErrors
        Of its fixed effects.
    type : {1, 2, 3}
        SAS's type of hypothesis, or "I", "II", "III": a term adjusted for those before it, for all
        that do not contain it, or such that cells weigh alike.

    Returns
    -------
    DataFrame
        One row a term: sum_sq, mean_sq, num_df, den_df, F, p_value. mean_sq is sigma^2 times the
        Wald statistic for each degree of freedom, which is F save where the method scales it
        (Kenward-Roger). ``attrs["notes"]`` says what was tested how, and names terms of which no
        row of the data has some cell. num_df is 0, and the rest NaN, where nothing of a term is
        left to test.

    Raises
    ------
    OptionError
    """
    design, span = fit._problem.design, span_of(fit._problem)
    rows = []
    found = hypothesis_matrices(design, span, type)
    for L in found.values():
        if len(L) == 0:
            rows.append((np.nan, np.nan, 0, np.nan, np.nan, np.nan))
            continue
        estimate = L @ fit._beta
        test = errors.f_test(L, estimate)
        mean_sq = fit.sigma**2 * wald(estimate, L @ errors.cov @ L.T) / test.num_df
        sum_sq = mean_sq * test.num_df
        rows.append((sum_sq, mean_sq, test.num_df, test.den_df, test.statistic, test.p_value))
    table = pd.DataFrame(
        rows,
        columns=["sum_sq", "mean_sq", "num_df", "den_df", "F", "p_value"],
        index=pd.Index([term_name(term) for term in found], name="term", dtype=object),
    ).astype({"num_df": int})
    notes = [f"type {'I' * type_number(type)} hypotheses, {errors.name} degrees of freedom"]
    indicators = Indicators(design, span)
    empty = [term_name(term) for term in found if _has_empty_cell(indicators.of(term))]
    if empty:
        notes.append(
            f"no row has some of the cells of {', '.join(empty)}: mind what their tests, and those "
            "of the terms within them, compare"
        )
    return noted(table, notes)


def _has_empty_cell(indicators: FloatArray) -> bool:
    """Tell whether some indicator is zero in all rows."""
    columns = np.abs(indicators.reshape(len(indicators), -1)).max(axis=0, initial=0.0)
    return bool((columns < 1e-9 * columns.max(initial=0.0)).any())
