"""Parquet files and pyarrow Datasets as engines."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import chain, islice
from typing import Any
from urllib.parse import unquote

from .engine import HEAD_ROWS, ROWS_A_BATCH, Engine, ahead
from .errors import BlocklmmError, DataError

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
_FOREIGN = {
    tuple(f".{kind}{packed}" for kind in ("csv", "tsv", "tab", "txt") for packed in _PACKED): (
        "read_csv"
    ),
    (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"): "read_excel",
    (".sav", ".zsav", ".por"): "read_spss",
    (".dta",): "read_stata",
    (".sas7bdat", ".xpt"): "read_sas",
    (".feather", ".arrow"): "read_feather",
    (".json", ".jsonl"): "read_json",
}
"""Endings of names of files that are no Parquet, and what reads them in pandas."""


@dataclass(frozen=True, slots=True)
class _File:
    """A Parquet file, and the columns that its folders' names make."""

    path: str
    partition: dict[str, Any]


def parquet_files(given: Sequence[str | os.PathLike[str]]) -> Engine:
    """Return an engine of files, the files that globs match, and all files below folders.

    They are read in the order given. Folders called ``site=3`` make a column, as Hive writes it,
    where their names are found, not given.
    """
    paths = [os.path.expanduser(os.fsdecode(path)) for path in given]
    files = [file for path in paths for file in _files(path)]
    for file in files:
        _require_parquet(file.path)
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("reading files needs pyarrow: pip install 'blocklmm[arrow]'") from None
    counts = Counter(os.path.realpath(file.path) for file in files)
    twice = next((file.path for file in files if counts[os.path.realpath(file.path)] > 1), None)
    if twice is not None:
        raise DataError(f"{twice!r} is found twice: its rows would count twice")
    files = _typed(files)

    def batches(file: _File, columns: list[str] | None, size: int) -> Iterator[Any]:
        # mapped into memory and decoded piece by piece: row groups may be of any size
        try:
            with pq.ParquetFile(file.path, memory_map=True, pre_buffer=False) as rows:
                held = {*rows.schema_arrow.names, *file.partition}
                _require_columns(columns, held, repr(file.path))
                for batch in rows.iter_batches(batch_size=size, columns=columns, use_threads=False):
                    yield _with_partition(batch, file, columns)
        except BlocklmmError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"{file.path!r} can't be read as Parquet: {error}") from error

    def read(columns: list[str] | None, n_threads: int) -> Iterator[Any]:
        return ahead(
            (batch for file in files for batch in batches(file, columns, ROWS_A_BATCH)), n_threads
        )

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((b for file in files for b in batches(file, columns, HEAD_ROWS)), 1)

    found = [_opened(file.path, lambda file=file: pq.read_metadata(file.path)) for file in files]
    held = [one.schema.to_arrow_schema().names for one in found]
    names = dict.fromkeys(chain(*held, *(file.partition for file in files)))
    total = sum(one.num_rows for one in found)
    known = {os.path.realpath(file.path) for file in files}

    def would_read(other: str) -> bool:
        return other in known or any(_is_found(path, other) for path in paths)

    name = repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return Engine(name, read, list(names), True, total, head, would_read)


def foreign_reader(path: str) -> str | None:
    """Return pandas' function for a file that its name says to be no Parquet, and is none."""
    name = path.lower()
    found = next((reader for ends, reader in _FOREIGN.items() if name.endswith(ends)), None)
    if found is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return None if file.read(4) == b"PAR1" else found


def _require_parquet(path: str) -> None:
    reader = foreign_reader(path)
    if reader is not None:
        raise DataError(
            f"{path!r} is no Parquet file: give it as a data frame, pd.{reader}({path!r})"
        )


def _files(path: str) -> list[_File]:
    if os.path.isfile(path):  # also one that is called as a glob is
        return [_File(path, {})]
    is_folder = os.path.isdir(path)
    pattern = os.path.join(glob.escape(path), "**") if is_folder else path
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    folders = {name for name in found if os.path.isdir(name)}
    if folders and "**" not in pattern:
        raise DataError(
            f"{path!r} matches the folder {min(folders)!r}: let it match files, '**/*.parquet'"
        )
    files = [name for name in found if name not in folders]
    root = path if is_folder else _root(path)
    if is_folder:  # what is no data, as _SUCCESS, is called so
        files = [f for f in files if f"{os.sep}_" not in f[len(root.rstrip(os.sep)) :]]
    if not files:
        raise DataError(f"there is no file {'in ' * is_folder}{path!r}")
    return [_File(name, _folders(name, root)) for name in files]


def _root(pattern: str) -> str:
    """Return the folder in which a glob begins to search."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _is_found(path: str, other: str) -> bool:
    """Tell whether a file would be found where a path is a folder or a glob."""
    if os.path.isfile(path):
        return False
    is_folder = os.path.isdir(path)
    root = (path if is_folder else _root(path)) or "."
    pattern = "**" if is_folder else os.path.relpath(path, root)
    below = os.path.relpath(other, os.path.realpath(root))
    return _matches(below.split(os.sep), pattern.split(os.sep))


def _matches(names: list[str], patterns: list[str]) -> bool:
    if os.pardir in names[:1]:
        return False
    if patterns[:1] == ["**"]:
        rest = patterns[1:]
        return not rest or any(_matches(names[k:], rest) for k in range(len(names)))
    if not names or not patterns:
        return not names and not patterns
    return fnmatch(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _folders(path: str, root: str) -> dict[str, str | None]:
    """Return what the folders between a root and a file are called, as texts."""
    folders = os.path.relpath(path, root or ".").split(os.sep)[:-1]
    named = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {k: None if v == _HIVE_NULL else unquote(v) for k, v in named}


def _typed(files: list[_File]) -> list[_File]:
    """Return the same files, with columns of integers where all texts of a column are some."""
    import pyarrow as pa

    types = {}
    for name in {name for file in files for name in file.partition}:
        values = [v for file in files if (v := file.partition.get(name)) is not None]
        whole = all(re.fullmatch(r"0|-?[1-9]\d{0,17}", value) for value in values)
        types[name] = pa.int64() if whole else pa.string()
    return [
        _File(file.path, {k: pa.scalar(v).cast(types[k]) for k, v in file.partition.items()})
        for file in files
    ]


def _with_partition(batch: Any, file: _File, columns: list[str] | None) -> Any:
    import pyarrow as pa

    for name, value in file.partition.items():
        if name not in batch.schema.names and (columns is None or name in columns):
            batch = batch.append_column(name, pa.repeat(value, len(batch)))
    return batch


def _opened(path: str, opener: Callable[..., Any]) -> Any:
    try:
        return opener()
    except (OSError, ValueError) as error:
        raise DataError(f"{path!r} can't be read as Parquet: {error}") from error


def _require_columns(columns: list[str] | None, held: Container[str], where: str) -> None:
    for name in columns or ():
        if name not in held:
            raise DataError(
                f"{where} has no column {name!r}, which others of the same data have: read it "
                "apart from them, or write the column into it"
            )


def dataset_rows(dataset: Any, name: str) -> Engine:
    """Return an engine of a pyarrow Dataset."""

    def row_groups(columns: list[str] | None, size: int) -> Iterator[Any]:
        # one after the other: a scan of all would be drained to its end when it is left early
        for fragment in dataset.get_fragments():
            schema = _schema(dataset, fragment, columns, name)
            parts = fragment.split_by_row_group() if hasattr(fragment, "row_groups") else [fragment]
            for part in parts:
                yield from part.to_batches(
                    schema=schema, columns=columns, batch_size=size, use_threads=False
                )

    def filtered(columns: list[str] | None, size: int) -> Iterator[Any]:
        for path in getattr(dataset, "files", ()):
            own = _opened(path, lambda path=path: dataset.format.inspect(path, dataset.filesystem))
            partition = dataset.partitioning.schema.names if dataset.partitioning else []
            _require_columns(columns, {*own.names, *partition}, repr(path))
        scanner = dataset.scanner(columns=columns, batch_size=size, use_threads=False)
        yield from scanner.to_batches()

    # a filter, of which fragments know nothing, and for which rows would be read to be counted
    is_filtered = bool(getattr(dataset, "_scan_options", None))
    batches = filtered if is_filtered else row_groups

    def read(columns: list[str] | None, n_threads: int) -> Iterator[Any]:
        return ahead(batches(columns, ROWS_A_BATCH), n_threads)

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((batch for batch in batches(columns, HEAD_ROWS) if len(batch)), 1)

    try:
        total = None if is_filtered else dataset.count_rows()
    except Exception as error:
        raise DataError(f"{name} can't be read: {error}") from error
    names = list(dataset.schema.names)
    return Engine(name, read, names, True, total, head, _would_be_in(dataset))


def _would_be_in(dataset: Any) -> Callable[[str], bool] | None:
    """Return what tells whether a file would be in a data set, which may be of a whole folder."""
    files = getattr(dataset, "files", None)
    if not files or type(dataset.filesystem).__name__ != "LocalFileSystem":
        return None
    folder = os.path.commonpath([os.path.dirname(os.path.realpath(file)) for file in files])
    return lambda path: os.path.commonpath([folder, path]) == folder


def _schema(dataset: Any, fragment: Any, columns: list[str] | None, name: str) -> Any:
    """Return a data set's schema, with numbers as a fragment holds them.

    That of the whole says integers where the first file has them, and null where it has no value.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    whole, own = dataset.schema, fragment.physical_schema
    partition = ds.get_partition_keys(fragment.partition_expression)
    where = repr(fragment.path) if hasattr(fragment, "path") else f"a part of {name}"
    _require_columns(columns, {*own.names, *partition}, where)

    def held(field: Any) -> Any:
        if field.name not in own.names:
            return field
        types = field.type, own.field(field.name).type
        is_own = types[0] == pa.null() or all(map(_is_number, types))
        return field.with_type(types[1]) if is_own else field

    return pa.schema(map(held, whole))


def _is_number(dtype: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype))
