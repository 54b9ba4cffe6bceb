"""R squared of each term of the fixed part, from its F test.

In a linear model with normal errors the F of a hypothesis of q rows on nu degrees of freedom and
the partial R squared of what it tests are the same thing, R^2 = q F / (q F + nu). With the Wald F
of a mixed model and its approximate degrees of freedom this is the R^2_beta of Edwards, Muller,
Wolfinger, Qaqish & Schabenberger (2008); for one term the semi-partial of Jaeger, Edwards, Das &
Sen (2017). It measures the fixed effects alone: two models with the same means and other random
effects have other values.

If F is noncentral F(q, nu; q F), R^2 is noncentral beta; its quantiles are the limits that r2glmm
gives.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ncfdtri

from blocklmm.arguments import require_level
from blocklmm.errors import InferenceError
from blocklmm.inference.degrees_of_freedom.fixed_errors import FixedErrors
from blocklmm.parameters import FittedParameters
from blocklmm.tables import noted

from .hypotheses import hypothesis_matrices, term_name, type_number
from .span import Span, span_of

FloatArray = npt.NDArray[np.float64]


def r2_by_term(
    fit: FittedParameters,
    errors: FixedErrors,
    type: int | str = 3,  # noqa: A002
    level: float = 0.95,
) -> pd.DataFrame:
    """Return R squared of all fixed effects together, and of each term; see the fit's method."""
    tail = 0.5 * (1 - require_level(level))
    if errors.name == "asymptotic":
        raise InferenceError(
            "R squared compares F with its denominator's degrees of freedom: choose a ddf that "
            "has any, such as 'satterthwaite' or 'kenward-roger'"
        )
    design, span = fit._problem.design, span_of(fit._problem)
    found = [("Model", _all_but_the_mean(span, has_mean=design.ones is not None))]
    found += [(term_name(term), L) for term, L in hypothesis_matrices(design, span, type).items()]
    rows = []
    for _, L in found:
        if len(L) == 0:
            rows.append((0, np.nan, np.nan, np.nan, np.nan, np.nan))
            continue
        test = errors.f_test(L, L @ fit._beta)
        q, nu, F = test.num_df, test.den_df, test.statistic
        lower, upper = (float(ncfdtri(q, nu, q * F, at)) for at in (tail, 1 - tail))
        r2, lower, upper = (q * value / (q * value + nu) for value in (F, lower, upper))
        rows.append((q, nu, F, r2, lower, upper))
    table = pd.DataFrame(
        rows,
        columns=["num_df", "den_df", "F", "r2", "lower", "upper"],
        index=pd.Index([name for name, _ in found], name="term", dtype=object),
    ).astype({"num_df": int})
    roman = "I" * type_number(type)
    return noted(
        table,
        [
            f"type {roman} hypotheses, {errors.name} degrees of freedom",
            "R^2_beta of F tests: not the marginal R^2; terms do not add up to the model",
        ],
    )


def _all_but_the_mean(span: Span, has_mean: bool) -> FloatArray:
    """Return L (rows x p) with L beta = 0 where X beta is constant; zero, if X has no constant."""
    p = len(span.kept)
    if not has_mean:
        return np.eye(p)
    touched = np.flatnonzero(span.constant)
    if len(touched) == 1:
        return np.delete(np.eye(p), touched[0], axis=0)
    sized = span.norms * span.constant
    return np.asarray(np.linalg.svd(sized[None])[2][1:] * span.norms)
