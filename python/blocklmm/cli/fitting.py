"""``blocklmm fit``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from blocklmm.errors import DataError, OptionError
from blocklmm.fit import LinearMixedFit
from blocklmm.formula import factors_of, names_in, names_of, parse, values_of
from blocklmm.model import lmer
from blocklmm.optimize import FitOptions
from blocklmm.sufficient_statistics import SufficientStatistics

from .data import csv_format, opened, require_readable
from .fit_json import fit_values
from .kept_model import keep
from .outputs import as_json, require_writable, write_rows, write_tables, write_text
from .picture import drawing, write_picture

UNCERTIFIED = 3
_LEVELS_AT_A_TIME = 1 << 17


def run(options: argparse.Namespace) -> int:
    """Fit a model, print its summary and write what is asked for.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    int
        The exit status.
    """
    _require_sense(options)
    reads = require_readable(options.data)
    names = ("out", "ranef", "fitted", "plot", "save")
    require_writable({f"--{name}": getattr(options, name) for name in names}, [reads])
    draw = drawing() if options.plot else None
    progress = False if options.quiet else None
    rows = opened(
        options.data, csv_format(options), *columns_of([options.formula], options.weights), progress
    )
    fit = fitted(options.formula, rows, options, progress)
    try:
        if not options.quiet and options.out != "-":
            print(fit.summary(ddf=options.ddf), flush=True)
    finally:  # files are written even if nobody reads the summary
        _write(options, fit, rows, draw, progress)
    return 0 if fit.converged else UNCERTIFIED


def fitted(
    formula: str, rows: Any, options: argparse.Namespace, progress: bool | None = None
) -> LinearMixedFit:
    """Fit a model as a command's options have it.

    Parameters
    ----------
    formula : str
    rows : DataFrame or path
    options : argparse.Namespace
    progress : bool, optional
    """
    return lmer(
        formula,
        rows,
        reml=options.reml is not False,
        weights=options.weights,
        missing=options.missing or "drop",
        progress=progress,
        options=fit_options(options),
    )


def fit_options(options: argparse.Namespace) -> FitOptions:
    """Return how a command's options want a model to be fitted."""
    return FitOptions(n_threads=options.threads, max_evaluations=options.max_evaluations)


def columns_of(
    formulas: Iterable[str], weights: str | None
) -> tuple[frozenset[str], frozenset[str], dict[str, bool]]:
    """Return the names of columns that models may read, and of those that only name groups.

    The last are those that stand outside of groups and ``C()``: nothing says that they are
    categories, and whether they might be, which responses and weights can't.

    Raises
    ------
    FormulaError
    """
    parsed = [parse(formula) for formula in formulas]
    groups = {name for formula in parsed for term in formula.random for name in term.group}
    others: set[str] = set()
    plain: dict[str, bool] = {}
    for formula in parsed:
        terms = tuple(replace(term, group=()) for term in formula.random)
        others |= names_of(replace(formula, random=terms), {"weights": weights})
        factors = [factor for factor in factors_of(formula) if not factor.startswith("C(")]
        plain |= {name: True for factor in factors for name in names_in(factor)}
        plain |= {name: False for value in values_of(formula, weights) for name in names_in(value)}
    return frozenset(groups | others), frozenset(groups - others), plain


def _require_sense(options: argparse.Namespace) -> None:
    """Raise an OptionError for options that the model can't have, or a FormulaError."""
    formula = parse(options.formula)
    if options.ddf == "kenward-roger" and options.reml is False:
        raise OptionError("--ddf kenward-roger adjusts REML estimates: leave --ml out")
    for option in ("ranef", "plot"):
        if getattr(options, option) and not formula.random:
            raise OptionError(f"--{option} shows random effects, and the formula has none")


def _write(
    options: argparse.Namespace,
    fit: LinearMixedFit,
    rows: pd.DataFrame | str,
    draw: Callable[[LinearMixedFit], Any] | None,
    progress: bool | None,
) -> None:
    if options.out:
        values = fit_values(fit, options.data, options.weights, options.ddf, options.level)
        write_text(options.out, as_json(values))
    if options.ranef:
        write_tables(options.ranef, _ranef(fit))
    if options.fitted:
        _write_fitted(options.fitted, fit, rows)
    if options.save:
        statistics = SufficientStatistics.from_data(
            options.formula,
            rows,
            weights=options.weights,
            missing=options.missing or "drop",
            n_threads=options.threads,
            progress=progress,
        )
        keep(options.save, statistics, fit.reml)
    if draw is not None:
        write_picture(options.plot, draw(fit))


def _ranef(fit: LinearMixedFit) -> Iterator[pd.DataFrame]:
    """Return BLUPs with their conditional standard deviations, a row for each, in pieces."""
    modes, errors = fit.ranef(), fit.ranef_sd()
    for group, table in modes.items():
        for start in range(0, len(table), _LEVELS_AT_A_TIME):
            part = slice(start, start + _LEVELS_AT_A_TIME)
            own = table.iloc[part]
            labels = own.index.astype(str).to_numpy(dtype=object)
            yield pd.DataFrame(
                {
                    "group": group,
                    "level": np.repeat(labels, own.shape[1]),
                    "term": np.tile(own.columns.to_numpy(dtype=object), len(own)),
                    "estimate": own.to_numpy().ravel(),
                    "std_error": errors[group].iloc[part].to_numpy().ravel(),
                }
            )


def _write_fitted(path: str, fit: LinearMixedFit, rows: pd.DataFrame | str) -> None:
    if isinstance(rows, str):
        write_rows(path, fit.augment)
        return
    found = fit.augment()
    assert found is not None
    shown = found[[".fitted", ".fixed", ".resid"]].reindex(rows.index)
    write_tables(path, [beside_columns(fit, rows, shown)])


def beside_columns(fit: LinearMixedFit, rows: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that a model reads, and what was found beside them.

    Raises
    ------
    DataError
        If one of the former is called as one of the latter.
    """
    read = [name for name in rows if name in fit._problem.design.names]
    for name in found:
        if name in read:
            raise DataError(f"two columns would be called {name!r}: rename that of the data")
    return rows[read].join(found)
