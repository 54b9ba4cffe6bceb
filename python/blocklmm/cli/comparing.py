"""``blocklmm compare``."""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd

from blocklmm.comparison.anova import anova
from blocklmm.comparison.information_criteria import compare
from blocklmm.errors import OptionError

from .data import csv_format, opened, require_readable
from .fitting import UNCERTIFIED, columns_of, fitted
from .outputs import as_json, records, require_writable, write_text

FORMAT, VERSION = "blocklmm.comparison", 1


def run(options: argparse.Namespace) -> int:
    """Fit several models to the same rows, and print their tests and information criteria.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    int
        The exit status.
    """
    if len(options.formulas) < 2:
        raise OptionError("compare needs two formulas or more")
    columns = columns_of(options.formulas, options.weights)
    require_writable({"--out": options.out}, [require_readable(options.data)])
    rows = opened(options.data, csv_format(options), *columns)
    fits = [fitted(formula, rows, options) for formula in options.formulas]
    tests, criteria = anova(*fits), compare(*fits)
    converged = {fit.formula: fit.converged for fit in fits}
    try:
        if options.out != "-":
            print(f"Likelihood-ratio tests:\n\n{tests!r}", flush=True)
            print(f"\nInformation criteria:\n\n{criteria!r}", flush=True)
    finally:
        if options.out:
            write_text(options.out, as_json(_values(options, tests, criteria, converged)))
    return 0 if all(converged.values()) else UNCERTIFIED


def _values(
    options: argparse.Namespace,
    tests: pd.DataFrame,
    criteria: pd.DataFrame,
    converged: dict[str, bool],
) -> dict[str, Any]:
    from blocklmm import __version__

    return {
        "format": FORMAT,
        "version": VERSION,
        "blocklmm": __version__,
        "data": options.data,
        "weights": options.weights,
        "tests": _rows(tests),
        "tests_notes": tests.attrs["notes"],
        "criteria": _rows(criteria),
        "criteria_notes": criteria.attrs["notes"],
        "converged": converged,
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return records(table.rename_axis("formula").reset_index())
