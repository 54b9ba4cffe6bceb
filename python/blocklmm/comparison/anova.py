"""F tests of a fit's terms; likelihood-ratio tests between nested fits, on the boundary too."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from blocklmm.errors import OptionError
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.fixed_effects.terms import anova_table
from blocklmm.inference.nested.reduced import likelihood_ratio
from blocklmm.tables import of_models

from .boundary import boundary_test, nested_in
from .information_criteria import RESTRICTED, by_one_likelihood, require_same_response


def anova(
    *fits: LinearMixedFit,
    type: int | str | None = None,  # noqa: A002
    ddf: str | None = None,
    robust: str | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Test the terms of one model, or compare nested models, as R's ``anova``.

    Parameters
    ----------
    *fits : LinearMixedFit
        One fit, for F tests of its fixed terms; or two or more to the same response, for
        likelihood-ratio tests. REML fits that differ in their fixed effects, and REML fits among
        ML fits, are refitted by ML; the index is then named "refitted by ML".
    type : {3, 2, 1}, optional
        Of one fit: SAS's type of hypotheses, 3 by default, as lmerTest defines them.
    ddf : str, optional
        Of one fit: the method for the denominator's degrees of freedom.
    robust : {"CR0", "CR1", "CR1S", "CR2", "CR3"}, optional
        Of one fit: cluster-robust errors, and HTZ tests (Pustejovsky & Tipton 2018).
    cluster : str, optional
        The grouping factor of robust errors, if not that in which all others are nested.

    Returns
    -------
    DataFrame
        Of one fit, one row a term: sum_sq, mean_sq, num_df, den_df, F, p_value. num_df is 0 where
        nothing of a term is left to test.

        Of several, one row a model, fewest parameters first, indexed by formula: npar, AIC, BIC,
        logLik, deviance (the criterion that was compared), and against the row above Chisq, Df,
        p_chisq and p_boundary. It prints formulas above the table, where rows are m0, m1, … in the
        order that the fits were given.

        ``attrs["notes"]`` says how terms were tested; what was refitted, and which models are not
        seen to be nested.

    Raises
    ------
    DataError
        If the fits are not to the same response and number of rows.
    OptionError, TypeError
        If no fits, or other things, are given; for an unknown type or ddf, or one beside several
        fits.

    Notes
    -----
    Type I adjusts a term for those before it, type II for all that do not contain it, type III
    weighs cells alike (:meth:`LinearMixedFit.hypotheses`).

    A variance of zero lies on the boundary, and the statistic's null distribution is a mixture of
    chi-squares, chi-bar-square (Self & Liang 1987; Stram & Lee 1994): half chi^2(0) + half chi^2(1)
    for a first random intercept, half chi^2(1) + half chi^2(2) for a random slope with its
    covariance to a random intercept. Where several variances are tested at once the weights come
    from the information at the smaller model (Baey, Cournède & Kuhn 2019). Without an added
    variance ``p_boundary`` is ``p_chisq``; it is NaN, and ``notes`` says so, where the smaller
    model's effects are not all among the larger's.
    """
    if len(fits) == 1 and isinstance(fits[0], LinearMixedFit):
        errors = fits[0]._fixed_errors(ddf, robust, cluster)
        return anova_table(fits[0], errors, 3 if type is None else type)
    if not fits:
        raise OptionError("anova tests the terms of a fit, or compares several: give one or more")
    require_same_response(fits, "anova")
    if any(option is not None for option in (type, ddf, robust, cluster)):
        raise OptionError(
            "type, ddf, robust and cluster are about the terms of one fit; anova was given several"
        )
    fits, refits = by_one_likelihood(fits)
    notes = [RESTRICTED if fits[0].reml else "fits are compared on maximum likelihoods", *refits]
    notes += [
        f"{fit.formula!r} is not certified to be optimal: its likelihood may be too low"
        for fit in fits
        if not fit.converged
    ]
    order = sorted(range(len(fits)), key=lambda k: fits[k].n_parameters)
    ordered = [fits[k] for k in order]

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
            statistic = float(likelihood_ratio(smaller.objective, fit.objective))
            row.update(Chisq=statistic, Df=df)
            model = nested_in(fit, smaller) if df > 0 else None
            if model is not None:
                test = boundary_test(fit, model.at(smaller))
                row.update(p_chisq=test.p_chisq, p_boundary=test.p_boundary)
                notes += [f"{fit.formula}: {note}" for note in test.notes]
            elif df == 0 and fit.formula != smaller.formula:
                notes.append(
                    f"{smaller.formula!r} and {fit.formula!r} have as many parameters: neither is "
                    "nested in the other, and there is no test; compare them by AIC"
                )
            elif df > 0:
                row["p_chisq"] = float(chdtrc(df, statistic))
                notes.append(
                    f"{smaller.formula!r} is not seen to be nested in {fit.formula!r}: its "
                    "terms are not among the other's, and the test may mean nothing"
                )
        rows.append(row)
    refitted = "refitted by ML" if refits else None
    index = pd.Index([fit.formula for fit in ordered], name=refitted)
    table = pd.DataFrame(rows, index=index)
    table["npar"] = table["npar"].astype(int)
    return of_models(table, [f"m{k}" for k in order], notes)
