"""Several fits side by side: the table of a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from blocklmm.arguments import require_choice, require_count, require_level
from blocklmm.errors import OptionError, labels_phrase
from blocklmm.fit import LinearMixedFit

from .sections import Report, Section
from .tidy import fixed as tidy_fixed
from .tidy import parameter_names

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_SHOWN = ("std.error", "conf.int", "p.value")
# rows that stand below those of all factors, some of which the first fit may not have
_RESIDUAL = ("Residual: sd__Observation",)
_CRITERIA = ("Method", "Log-likelihood", "AIC", "BIC")


def model_table(
    *fits: LinearMixedFit,
    names: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    show: str = "std.error",
    stars: bool = False,
    ddf: str | None = None,
    robust: str | None = None,
    digits: int = 3,
    cluster: str | None = None,
    level: float = 0.95,
) -> Report:
    """Set several fits side by side.

    Parameters
    ----------
    *fits : LinearMixedFit
        To one response or to several.
    names : sequence of str, optional
        Heads of the columns; "(1)", "(2)", … by default.
    labels : mapping of str to str, optional
        What rows of the fixed and random effects are to be called.
    show : {"std.error", "conf.int", "p.value"}
        What stands in parentheses behind an estimate: its standard error, interval or p-value.
    stars : bool
        Whether to mark p-values below 0.05, 0.01 and 0.001.
    ddf, robust, cluster : str, optional
        Degrees of freedom and errors, as for :meth:`LinearMixedFit.tidy`.
    digits : int
        Decimals.
    level : float
        Of intervals.

    Returns
    -------
    Report
        A text with ``as_html()``, ``as_latex()`` and ``as_markdown()``: fixed effects, standard
        deviations and correlations of random effects by broom.mixed's names, number of rows and
        groups, criteria. Where some fits are by REML, the likelihoods of models with other fixed
        effects can't be compared, which a note says.

    Raises
    ------
    OptionError
        For no fits, as many names as there are not fits, labels of what no fit has, and digits that
        are none.
    """
    if not fits or not all(isinstance(fit, LinearMixedFit) for fit in fits):
        found = ", ".join(type(fit).__name__ for fit in fits) or "none"
        raise OptionError(
            f"give fits one by one, model_table(fit0, fit1, names=[...]); given was {found}"
        )
    heads = [f"({k + 1})" for k in range(len(fits))] if names is None else list(map(str, names))
    if len(heads) != len(fits):
        raise OptionError(f"there are {len(fits)} fits and {len(heads)} names")
    require_choice("show", show, _SHOWN)
    digits = require_count("digits", digits, least=0)
    level = require_level(level)
    fixed = [
        _fixed(tidy_fixed(fit, fit._fixed_errors(ddf, robust, cluster), level), show, stars, digits)
        for fit in fits
    ]
    random = [_random(fit, digits) for fit in fits]
    unknown = set(labels or ()).difference(*fixed, *random)
    if unknown:
        raise OptionError(f"labels: no fit has a row {labels_phrase(sorted(unknown))}")
    figures = [_figures(fit, digits) for fit in fits]
    body: list[list[str]] = []
    rules = set()
    for part, last in ((fixed, ()), (random, _RESIDUAL), (figures, _CRITERIA)):
        rows = list(dict.fromkeys(row for cells in part for row in cells))
        rows.sort(key=lambda row: last.index(row) if row in last else -1)
        if body and rows:
            rules.add(len(body))
        called = {} if part is figures else labels or {}
        body += [
            [str(called.get(row, row)), *(cells.get(row, "") for cells in part)] for row in rows
        ]
    notes = _notes(fits, show, stars, ddf, robust, level)
    return Report([Section("", [["", *heads], *body], notes, left=1, rules=frozenset(rules))])


def _fixed(table: pd.DataFrame, show: str, stars: bool, digits: int) -> dict[str, str]:
    number = _decimals(digits)
    out = {}
    for _, row in table.iterrows():
        beside = {
            "std.error": number(row["std.error"]),
            "conf.int": f"{number(row['conf.low'])}, {number(row['conf.high'])}",
            "p.value": "<0.001" if row["p.value"] < 0.001 else f"{row['p.value']:.3f}",
        }[show]
        mark = next((m for limit, m in _STARS if stars and row["p.value"] < limit), "")
        out[str(row["term"])] = f"{number(row['estimate'])}{mark} ({beside})"
    return out


def _random(fit: LinearMixedFit, digits: int) -> dict[str, str]:
    number, frame = _decimals(digits), fit.varcorr.to_frame()
    terms = zip(frame["group"], parameter_names(fit.varcorr), frame["sdcor"], strict=True)
    return {f"{group}: {term}": number(value) for group, term, value in terms}


def _figures(fit: LinearMixedFit, digits: int) -> dict[str, str]:
    number = _decimals(digits)
    return {
        "Observations": f"{fit.nobs}",
        **{f"Groups: {name}": f"{count}" for name, count in fit.ngroups.items()},
        "Method": "REML" if fit.reml else "ML",
        "Log-likelihood": number(fit.llf),
        "AIC": number(fit.aic),
        "BIC": number(fit.bic),
    }


def _decimals(digits: int) -> Callable[[float], str]:
    def number(value: float) -> str:
        if not np.isfinite(value):
            return "NaN" if np.isnan(value) else f"{value}"
        fixed = f"{value:.{digits}f}"
        return f"{value:.{max(digits, 1)}g}" if value != 0 and float(fixed) == 0 else fixed

    return number


def _notes(
    fits: Sequence[LinearMixedFit],
    show: str,
    stars: bool,
    ddf: str | None,
    robust: str | None,
    level: float,
) -> list[str]:
    adjusted = robust or (ddf if ddf == "kenward-roger" else None)
    beside = {
        "std.error": f"{adjusted} standard errors" if adjusted else "standard errors",
        "conf.int": f"{100 * level:g}% intervals",
        "p.value": "p-values",
    }[show]
    by = f"; tests by {ddf or 'satterthwaite'}" if stars or show != "std.error" else ""
    notes = [f"In parentheses: {beside}{by}."]
    if stars:
        notes.append("* p < 0.05, ** p < 0.01, *** p < 0.001")
    effects = {frozenset(fit.params.index) for fit in fits if fit.reml}
    if len(effects) > 1 or len({fit.reml for fit in fits}) > 1:
        notes.append(
            "REML likelihoods of models with other fixed effects, and of REML and ML, can't be "
            "compared."
        )
    if not pd.Series([fit.converged for fit in fits]).all():
        notes.append("Not all fits are certified to be optimal.")
    return notes
