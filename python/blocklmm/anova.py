"""Likelihood-ratio tests between nested fits, on the boundary where a variance is tested."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from .fit import LinearMixedFit
from .inference.comparison import by_one_likelihood, require_same_response


def anova(*fits: LinearMixedFit) -> pd.DataFrame:
    """Compare nested models by likelihood-ratio tests, as R's ``anova(fit0, fit1)``.

    Parameters
    ----------
    *fits : LinearMixedFit
        Two or more fits to the same response. REML fits that differ in their fixed effects, and
        REML fits among ML fits, are refitted by ML; the index is then named "refitted by ML".

    Returns
    -------
    DataFrame
        One row a model, fewest parameters first, indexed by formula: npar, AIC, BIC, logLik,
        deviance (the criterion that was compared), and against the row above Chisq, Df, p_chisq
        and p_boundary. ``attrs["notes"]`` says what was refitted, and where ``p_boundary`` is only
        an upper bound.

    Raises
    ------
    DataError
        If the fits are not to the same response and number of rows.
    ValueError, TypeError
        If fewer than two fits, or other things, are given.

    Notes
    -----
    A variance of zero lies on the boundary, and the statistic's null distribution is a mixture
    (Self & Liang 1987; Stram & Lee 1994): for m added parameters, one of them a variance,
    half chi^2(m-1) + half chi^2(m); a first random intercept has half chi^2(0) + half chi^2(1), a
    random slope with its covariance to a random intercept half chi^2(1) + half chi^2(2). With
    several added variances that mixture bounds the p-value from above (the cone of admissible
    parameters lies in a half-space), and ``notes`` says so. Without an added variance
    ``p_boundary`` is ``p_chisq``.
    """
    require_same_response(fits, "anova")
    fits, notes = by_one_likelihood(fits)
    ordered = sorted(fits, key=lambda fit: fit.n_parameters)

    rows = []
    for k, fit in enumerate(ordered):
        row: dict[str, float] = {
            "npar": fit.n_parameters,
            "AIC": fit.aic,
            "BIC": fit.bic,
            "logLik": fit.llf,
            "deviance": fit.objective,
        }
        row.update(dict.fromkeys(("Chisq", "Df", "p_chisq", "p_boundary"), np.nan))
        if k:
            smaller = ordered[k - 1]
            df = fit.n_parameters - smaller.n_parameters
            statistic = max(smaller.objective - fit.objective, 0.0)
            row.update(Chisq=statistic, Df=df)
            if df > 0:
                variances = _added_variances(smaller, fit)
                naive = float(chdtrc(df, statistic))
                row.update(p_chisq=naive, p_boundary=naive)
                if variances:
                    below = float(chdtrc(df - 1, statistic)) if df > 1 else float(statistic <= 0)
                    row["p_boundary"] = 0.5 * (below + naive)
                if variances > 1:
                    notes.append(
                        f"p_boundary of {fit.formula!r} is an upper bound: {variances} variances "
                        "are tested at once"
                    )
        rows.append(row)
    refitted = "refitted by ML" if notes and notes[0].startswith("REML") else None
    index = pd.Index([fit.formula for fit in ordered], name=refitted)
    table = pd.DataFrame(rows, index=index)
    table["npar"] = table["npar"].astype(int)
    table.attrs["notes"] = notes
    return table


def _added_variances(smaller: LinearMixedFit, larger: LinearMixedFit) -> int:
    """Count the random effects that only the larger model has."""
    before, after = (sum(len(term.names) for term in fit.varcorr) for fit in (smaller, larger))
    return max(after - before, 0)
