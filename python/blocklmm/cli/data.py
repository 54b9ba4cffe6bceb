"""The rows that a command reads: CSV as a data frame, Parquet as a path, to be streamed."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from blocklmm.errors import DataError, OptionError
from blocklmm.parquet_input import foreign_reader, parquet_files

from .csv_input import CsvFormat, is_csv, read_csv


def csv_format(options: argparse.Namespace) -> CsvFormat:
    """Return how a command's CSV files are written.

    Raises
    ------
    OptionError
        If they would be separated by their decimal mark.
    """
    sep, decimal = options.sep, options.decimal
    if decimal == "," and sep in (None, ","):
        raise OptionError("--decimal , needs another separator: say --sep ';'")
    if sep == ".":
        raise OptionError("--sep . is the decimal mark")
    return CsvFormat(sep, decimal, tuple(options.na), options.encoding)


def opened(
    path: str,
    form: CsvFormat,
    names: Collection[str],
    labels: Collection[str],
    plain: Mapping[str, bool] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame | str:
    """Return a data frame of a CSV file, or a path that the library reads in chunks.

    Parameters
    ----------
    path : str
    form : CsvFormat
    names : collection of str
        Columns that will be used, if they are there.
    labels : collection of str
        Those that name groups and are nothing else.
    plain : mapping of str to bool, optional
        Those that nothing says to be categories; and whether they might be.
    progress : bool, optional
    """
    return read_csv(path, form, names, labels, plain, progress) if is_csv(path) else path


def require_readable(path: str) -> Callable[[str], bool]:
    """Raise an error unless there is something to read, before anything is done.

    Returns
    -------
    callable
        Tells whether a file to be written would be among what is read.

    Raises
    ------
    DataError
        If there is no such Parquet file, or it is none.
    OSError
        If a CSV file can't be opened.
    """
    if path == "-":
        return lambda _: False
    if not is_csv(path):
        if foreign_reader(path) is not None:
            raise DataError(f"{path!r} is neither CSV nor Parquet: export it as CSV")
        would_read: Any = parquet_files([path]).would_read
        return lambda out: bool(would_read(_real(out)))
    if glob.has_magic(path) and not Path(path).exists():
        raise DataError(
            f"{path!r} matches CSV files, of which one is read at a time: join them, or write them "
            "as Parquet"
        )
    os.stat(path)
    return lambda out: _real(out) == _real(path)


def _real(path: str) -> str:
    return str(Path(path).resolve())
