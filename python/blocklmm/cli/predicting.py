"""``blocklmm predict``."""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd

from blocklmm.errors import OptionError
from blocklmm.fit import LinearMixedFit

from .csv_input import CsvFormat
from .data import csv_format, opened, require_readable
from .fitting import UNCERTIFIED, beside_columns, columns_of, fit_options, fitted
from .kept_model import kept
from .outputs import require_writable, write_rows, write_tables


def run(options: argparse.Namespace) -> int:
    """Predict the response of new rows.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    int
        The exit status.
    """
    _require_sense(options)
    *model, new = options.inputs
    form = csv_format(options)
    reads = [require_readable(new)]
    reads += [require_readable(model[0])] if len(model) == 2 else []
    require_writable({"--out": options.out}, reads)
    fit = _fitted(model, form, options)
    _write(options, fit, opened(new, form, fit._problem.design.names, _labels(fit)))
    return 0 if fit.converged else UNCERTIFIED


def _require_sense(options: argparse.Namespace) -> None:
    inputs = options.inputs
    if len(inputs) not in (2, 3):
        raise OptionError(
            f"predict takes MODEL NEWDATA or DATA FORMULA NEWDATA, not {len(inputs)} names"
        )
    if len(inputs) == 2 and (options.weights or options.missing):
        raise OptionError("--weights and --missing are of data, and a kept model has its own")
    if inputs[0] == inputs[-1] == "-":
        raise OptionError("standard input can't be both data and new rows")


def _fitted(model: list[str], form: CsvFormat, options: argparse.Namespace) -> LinearMixedFit:
    if len(model) == 2:
        data, formula = model
        rows = opened(data, form, *columns_of([formula], options.weights))
        return fitted(formula, rows, options)
    statistics, reml = kept(model[0])
    reml = reml if options.reml is None else options.reml
    return statistics.fit(reml=reml, options=fit_options(options))


def _labels(fit: LinearMixedFit) -> frozenset[str]:
    """Return the names of columns that only name groups."""
    design = fit._problem.design
    others = design.names_for([*design.x_recipes, *design.z_recipes, *design.offsets])
    return frozenset(name for group in design.groups for name in group) - others


def _write(options: argparse.Namespace, fit: LinearMixedFit, new: pd.DataFrame | str) -> None:
    how: dict[str, Any] = {
        "random": "population" if options.population else "conditional",
        "new_levels": options.new_levels,
        "interval": options.interval,
        "level": options.level,
    }
    if isinstance(new, str):
        write_rows(options.out, lambda file: fit.predict(new, out=file, **how))
        return
    found = fit.predict(new, **how)
    if not isinstance(found, pd.DataFrame):
        found = pd.DataFrame({"mean": found})
    write_tables(options.out, [beside_columns(fit, new, found.add_prefix("."))])
