"""CSV files as data frames, strictly: what is not plainly a table is refused in words."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import re
import shlex
import sys
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from blocklmm.errors import DataError, labels_phrase, warn
from blocklmm.progress import progress_bar

_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_PIPES = ("/dev/stdin", "/dev/fd/")  # the latter of the shell's <(command)
_NO_VALUE = ["", "NA", "NaN", "nan", "N/A", "n/a", "NULL", "null", "<NA>", "#N/A"]
# by decimal mark; None where it was not told
_NUMBER = {
    mark: re.compile(rf"\s*[+-]?(\d+({found}\d*)?|{found}\d+)([eE][+-]?\d+)?\s*")
    for mark, found in ((None, "[.,]"), (".", r"\."), (",", ","))
}
_PADDED = re.compile(r"[+-]?0\d[\d.]*")
_MOST_STRAYS = 3
# pandas rounds numbers correctly from 3.1 on, and wants not to be asked to
_ROUNDED = {"float_precision": "round_trip"} if pd.__version__.startswith(("2.", "3.0")) else {}


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a CSV file is written; None where it is to be told from its name.

    Attributes
    ----------
    sep, decimal : str or None
    na : sequence of str
        Texts that stand for no value, beside the usual ones.
    encoding : str
    """

    sep: str | None = None
    decimal: str | None = None
    na: Collection[str] = ()
    encoding: str = "utf-8"


def is_csv(path: str) -> bool:
    """Tell whether a path is read as CSV."""
    return path == "-" or path.startswith(_PIPES) or _unpacked(path).endswith(_SUFFIXES)


def read_csv(
    path: str,
    form: CsvFormat,
    names: Collection[str],
    labels: Collection[str] = (),
    plain: Mapping[str, bool] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Read a CSV file as a whole.

    Parameters
    ----------
    path : str
        Or ``-`` for standard input.
    form : CsvFormat
    names : collection of str
        Columns that will be used, if they are there.
    labels : collection of str
        Those that name groups and are nothing else: texts where one has a leading zero, as 007.
    plain : mapping of str to bool, optional
        Those that would be categories only because one of their values is no number; and whether
        they might be.
    progress : bool, optional

    Raises
    ------
    DataError
        If it is not a table with a line of names, or numbers would be taken for categories.
    OSError
    """
    name = "standard input" if path == "-" else repr(path)
    sep = form.sep or ("\t" if _unpacked(path).endswith((".tsv", ".tab")) else ",")
    open_again = _opener(path, progress)
    shared: dict[str, Any] = {"sep": sep, "encoding": form.encoding, "skipinitialspace": True}
    if path != "-" and path.lower().endswith(_PACKED):
        shared["compression"] = "infer"
    values: dict[str, Any] = {
        "decimal": form.decimal or ".",
        "keep_default_na": False,
        "na_values": [*_NO_VALUE, *form.na],
        "dtype_backend": "numpy_nullable",  # integers that may be missing stay exact
        "low_memory": False,  # one type for all rows of a column
        **_ROUNDED,
    }
    try:
        _require_header(open_again, shared, name)
        with open_again() as source:
            kinds: Any = dict.fromkeys(labels, "string")
            table = pd.read_csv(source, dtype=kinds, **shared, **values)
    except pd.errors.EmptyDataError:
        raise DataError(f"{name} is empty") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{name} can't be read as CSV: {_reason(error)}") from None
    except UnicodeError:
        raise DataError(
            f"{name} is not text in {form.encoding}: give its --encoding, latin-1 for instance"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(f"{name} can't be unpacked: {error}") from None
    columns = {
        name: _labels(table[name], values) if name in labels else table[name] for name in table
    }
    out = pd.DataFrame({name: _plain(column) for name, column in columns.items()}, copy=False)
    for column in out:
        if column in names and isinstance(out[column].dtype, pd.StringDtype):
            _require_texts(out[column], (plain or {}).get(str(column)), form.decimal, name)
    return out


def _unpacked(path: str) -> str:
    path = path.lower()
    return next((path.removesuffix(end) for end in _PACKED if path.endswith(end)), path)


def _opener(path: str, progress: bool | None) -> Callable[[], AbstractContextManager[Any]]:
    """Return what gives the source from its first byte each time."""
    if path == "-":
        if sys.stdin is None:
            raise DataError("there is no standard input to read")
        content = sys.stdin.buffer.read()
        return lambda: io.BytesIO(content)
    with Path(path).open("rb") as file:  # whether it can be: pandas would take a URL for a file
        if not Path(path).is_file():  # a pipe, of which the first bytes come once
            content = file.read()
            return lambda: io.BytesIO(content)
    if path.lower().endswith(_PACKED):
        return lambda: nullcontext(path)
    return lambda: _counted(path, progress)


class _Counting(io.FileIO):
    """A file that tells how many bytes of it were read."""

    def __init__(self, path: str, advance: Callable[[int], object]) -> None:
        super().__init__(path)
        self._advance = advance

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer."""
        count = super().readinto(buffer)
        self._advance(count or 0)
        return count


@contextmanager
def _counted(path: str, progress: bool | None) -> Iterator[io.BufferedIOBase]:
    """Open a file that is read with a progress bar."""
    with (
        progress_bar(Path(path).stat().st_size, "B", progress) as advance,
        io.BufferedReader(_Counting(path, advance), 1 << 18) as file,
    ):
        yield file


def _require_header(
    open_again: Callable[[], AbstractContextManager[Any]], shared: dict[str, Any], name: str
) -> None:
    """Raise a DataError unless the first line holds the names of columns.

    The second is looked at as well: where it has more fields than there are names, pandas would
    take the first of them for labels of rows, and shift all others.
    """

    def first(n_rows: int) -> list[list[str]]:
        with open_again() as source:
            options = {**shared, "header": None, "dtype": str, "na_filter": False}
            return [list(row) for row in pd.read_csv(source, nrows=n_rows, **options).to_numpy()]

    (names,) = first(1)
    others = [c for c in ",;\t|" if c in names[0]]
    if len(names) == 1 and others:
        shown = "tab" if others[0] == "\t" else f"'{others[0]}'"
        raise DataError(
            f"{name} has a single column {names[0]!r}: if its fields are separated otherwise, say "
            f"--sep {shown}"
        )
    twice = sorted({column for column in names if column and names.count(column) > 1})
    if twice:
        raise DataError(f"two columns of {name} have the same name: {labels_phrase(twice)}")
    first(2)


def _reason(error: Exception) -> str:
    text = str(error).removeprefix("Error tokenizing data. C error: ").strip()
    found = re.fullmatch(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
    if found is None:
        return text
    return f"line {found[2]} has {found[3]} fields, and there are {found[1]} columns"


def _labels(column: pd.Series[Any], values: Mapping[str, Any]) -> pd.Series[Any]:
    """Return labels, which came as texts, as what other columns of such texts are.

    As numbers 007 and 7 would be one group, and the results would name it as the file does not.
    """
    codes, texts = pd.factorize(column)
    if any(map(_PADDED.fullmatch, texts)):
        return column
    written = pd.Series(texts).to_csv(index=False, header=["label"], quoting=csv.QUOTE_ALL)
    found = pd.read_csv(io.StringIO(written), **values)["label"]
    return pd.Series(found.array.take(codes, allow_fill=True))


def _plain(column: pd.Series[Any]) -> Any:
    """Return a column as NumPy holds it, where that loses nothing."""
    dtype = column.dtype
    if isinstance(dtype, pd.StringDtype) or not hasattr(dtype, "numpy_dtype"):
        return column
    if dtype.kind == "f":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column if column.isna().any() else column.to_numpy(dtype=dtype.numpy_dtype)


def _require_texts(
    column: pd.Series[str], may_be_text: bool | None, decimal: str | None, name: str
) -> None:
    """Raise a DataError where numbers would be taken for categories, or warn of a level."""
    values = column.dropna().unique()
    strays = [value for value in values if not _NUMBER[decimal].fullmatch(value)]
    n_numbers = len(values) - len(strays)
    written = next((v for v in values if "," in v and v not in strays), None)
    if decimal is not None:
        written = None
    if not strays and written is not None:
        raise DataError(
            f"column {column.name!r} of {name} holds numbers with commas, {written!r}: say "
            "--decimal , if these are decimal commas, or --decimal . if they are labels"
        )
    if not 0 < len(strays) <= max(_MOST_STRAYS, n_numbers // 4) or n_numbers <= len(strays):
        return
    told = f"column {column.name!r} of {name} is numbers but for {labels_phrase(strays, 3)}: "
    marks = [v for v in strays if not any(map(str.isalnum, v))]
    given = strays if len(strays) <= _MOST_STRAYS else marks[:_MOST_STRAYS]
    cures = [" ".join(map(_as_option, given)) + " if that means no value"] if given else []
    if may_be_text is not None:
        cures += ["--decimal , if these are decimal commas"] if written is not None else []
        ways = [f"say {', '.join(cures)}"] if cures else []
        if may_be_text:
            shown = column.name if str(column.name).isidentifier() else f"`{column.name}`"
            ways.append(f"write C({shown}) for categories")
        raise DataError(
            f"{told}{', '.join([*ways, 'or mend the file' if ways else 'mend the file'])}"
        )
    if marks:
        warn(f"{told}say {cures[0]}; as it is, all are texts")


def _as_option(value: str) -> str:
    quoted = shlex.quote(value)
    return f"--na={quoted}" if value.startswith("-") and value != "-" else f"--na {quoted}"
