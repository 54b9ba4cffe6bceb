"""Models side by side by information criteria; they need not be nested."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from blocklmm.errors import DataError, OptionError
from blocklmm.fit import LinearMixedFit
from blocklmm.tables import of_models

RESTRICTED = "REML fits are compared on restricted likelihoods, as their fixed effects are the same"


def compare(*fits: LinearMixedFit) -> pd.DataFrame:
    """Compare models by AIC, BIC and conditional AIC.

    Parameters
    ----------
    *fits : LinearMixedFit
        Two or more fits to the same response. REML fits that differ in their fixed effects, and
        REML fits among ML fits, are refitted by ML.

    Returns
    -------
    DataFrame
        One row a model, smallest AIC first, indexed by formula: npar, logLik, AIC, delta_AIC
        (above the smallest), akaike_weight (exp(-delta_AIC / 2), scaled to sum to one), BIC, cAIC.
        It prints formulas above the table, where rows are m0, m1, … in the order of the fits given.
        ``attrs["notes"]`` says what was refitted, which n BIC counts, and what to make of it.

    Raises
    ------
    DataError
        If the fits are not to the same response and number of rows.
    OptionError, TypeError
        If fewer than two fits, or other things, are given.

    Notes
    -----
    The AIC is the marginal one, from the likelihood with the random effects integrated out. Where a
    variance of zero lies on the boundary it is biased towards the model without (Greven & Kneib
    2010). cAIC is the conditional one (:meth:`LinearMixedFit.caic`), which is not, and which asks
    how well the groups at hand are predicted. Weights: Burnham & Anderson (2002), sec. 2.9.
    """
    require_same_response(fits, "compare")
    fits, notes = by_one_likelihood(fits)
    aic = np.array([fit.aic for fit in fits])
    delta = aic - aic.min()
    weight = np.exp(-delta / 2)
    table = pd.DataFrame(
        {
            "npar": [fit.n_parameters for fit in fits],
            "logLik": [fit.llf for fit in fits],
            "AIC": aic,
            "delta_AIC": delta,
            "akaike_weight": weight / weight.sum(),
            "BIC": [fit.bic for fit in fits],
            "cAIC": [fit.caic().caic for fit in fits],
        },
        index=pd.Index([fit.formula for fit in fits], name="formula"),
    )
    notes.append(
        "as a rule of thumb, models within two units of AIC have about the same support "
        "(Burnham & Anderson 2002)"
    )
    notes.append(f"BIC counts n = {fits[0].nobs} rows")
    notes.append(
        "AIC is about prediction in new groups, cAIC about the groups in the data (Vaida & "
        "Blanchard 2005; Greven & Kneib 2010)"
    )
    if all(fit.reml for fit in fits):
        notes.append(RESTRICTED)
    if any(fit.singular for fit in fits) or len({_n_variances(fit) for fit in fits}) > 1:
        notes.append(
            "AIC leans to the model with fewer variances: a variance of zero lies on the boundary "
            "(Greven & Kneib 2010)"
        )
    order = np.argsort(aic, kind="stable")
    return of_models(table.iloc[order], [f"m{k}" for k in order], notes)


def require_same_response(fits: Sequence[LinearMixedFit], who: str) -> None:
    """Raise unless these are two or more fits to the same response.

    Raises
    ------
    OptionError, TypeError, DataError
    """
    for fit in fits:
        if not isinstance(fit, LinearMixedFit):
            raise TypeError(f"{who} compares fits, not {type(fit).__name__!r}")
    if len(fits) < 2:
        raise OptionError(f"{who} compares two or more fits")
    first = fits[0]
    for other in fits[1:]:
        if not first.is_of_same_response(other):
            raise DataError(
                "the fits are not to the same data: "
                f"{first.response_name!r} in {first.nobs} rows and {other.response_name!r} in "
                f"{other.nobs} rows have different values or weights{_missed(fits)}"
            )


def _missed(fits: Sequence[LinearMixedFit]) -> str:
    """Return which columns some of the fits read and miss values of, and what to do about it."""
    counts = [fit.dropped.by_column for fit in fits]
    if len({fit.response_name for fit in fits}) > 1:
        return ""
    if len({fit.nobs + fit.dropped.n_rows for fit in fits}) > 1:  # other data altogether
        return " (other rows dropped for missing values?)"
    missed = {name: n for count in counts for name, n in count.items() if n}
    partly = [name for name in missed if not all(count.get(name) for count in counts)]
    if not partly:
        return ""
    told = ", ".join(
        f"{name!r} in {missed[name]} row{'s' if missed[name] > 1 else ''}" for name in partly
    )
    are_columns = not any(re.search(r"[()+*/-]", name) for name in partly)  # not expressions
    rows = f"data.dropna(subset={partly!r})" if are_columns else "rows that have them"
    return f". Not all of the models read what misses values, {told}: fit all to {rows}"


def by_one_likelihood(
    fits: Sequence[LinearMixedFit],
) -> tuple[tuple[LinearMixedFit, ...], list[str]]:
    """Return fits whose likelihoods can be compared, and a note if some were refitted by ML.

    Restricted likelihoods can be if the fixed effects are the same.
    """
    first = fits[0]
    same_fixed = all(set(fit.params.index) == set(first.params.index) for fit in fits)
    if not any(fit.reml for fit in fits) or (same_fixed and all(fit.reml for fit in fits)):
        return tuple(fits), []
    refitted = tuple(fit.refit_ml() if fit.reml else fit for fit in fits)
    return refitted, ["REML fits were refitted by ML"]


def _n_variances(fit: LinearMixedFit) -> int:
    return sum(len(term.names) for term in fit.varcorr)
