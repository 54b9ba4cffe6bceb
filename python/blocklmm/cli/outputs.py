"""The files that a command writes: looked at before the work, written as a whole or not at all."""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from blocklmm.errors import OptionError
from blocklmm.parquet_output import write_parquet
from blocklmm.replacing import replacing

TABLES = (".parquet", ".csv")
PICTURES = (".png", ".pdf", ".svg")

_DEVICES = ("/dev/std", "/dev/fd/", "/proc/")


def require_writable(
    outputs: Mapping[str, str | None], would_read: Iterable[Callable[[str], bool]]
) -> None:
    """Raise an error for files that can't be written, before the work is done in vain.

    Parameters
    ----------
    outputs : mapping of option to path
        ``-`` and None are no files.
    would_read : iterable of callable
        Tell whether a path is among what the command reads.

    Raises
    ------
    OptionError
        If a file is named twice, or is read.
    OSError
        If it can't be written.
    ImportError
        If it is Parquet, and there is no pyarrow.
    """
    readers = list(would_read)
    seen: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None or path == "-":
            continue
        _require_place(path)
        target = real_path(path)
        if target in seen:
            raise OptionError(f"{option} and {seen[target]} are the same file, {path!r}")
        seen[target] = option
        if any(reads(path) for reads in readers):
            raise OptionError(f"{option} {path!r} is among the files that are read")
        if is_parquet(path) and importlib.util.find_spec("pyarrow") is None:
            raise ImportError("writing Parquet needs pyarrow: pip install 'blocklmm[arrow]'")


def real_path(path: str) -> str:
    """Return what a path leads to, so that a link stays one."""
    return os.path.realpath(path)


def is_parquet(path: str) -> bool:
    """Tell whether a table is to be written as Parquet, and not as CSV."""
    return path.lower().endswith(".parquet")


def write_text(path: str, text: str) -> None:
    """Write a text in UTF-8; ``-`` prints it."""
    if path == "-":
        print(text)
        return
    with replacing(real_path(path)) as file:
        file.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_tables(path: str, tables: Iterable[pd.DataFrame]) -> None:
    """Write tables of the same columns below each other, as the path's suffix says; ``-`` is CSV.

    Parameters
    ----------
    path : str
    tables : iterable of DataFrame
    """
    if path == "-":
        _write_csv(sys.stdout, tables)
    elif is_parquet(path):
        import pyarrow as pa

        arrow = (pa.Table.from_pandas(table, preserve_index=False) for table in tables)
        write_parquet(real_path(path), (table.replace_schema_metadata() for table in arrow))
    else:
        with (
            replacing(real_path(path)) as file,
            file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
        ):
            _write_csv(stream, tables)


def write_rows(path: str, write: Callable[[Path], Any]) -> None:
    """Write a table of which the library writes Parquet, as the path's suffix says.

    Parameters
    ----------
    path : str
    write : callable
        ``write(file)`` writes Parquet.
    """
    if is_parquet(path):
        write(Path(real_path(path)))
        return
    # beside its place, where there is room for large files, and of no name that a glob would find
    folder = Path(tempfile.gettempdir()) if path == "-" else Path(real_path(path)).parent
    rows = folder / f".{Path(path).name}.{os.urandom(4).hex()}.rows"
    try:
        write(rows)
        write_tables(path, _batches(rows))
    finally:
        rows.unlink(missing_ok=True)


def as_json(value: Any) -> str:
    """Return JSON, with null for numbers that are not finite."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as mappings."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _require_place(path: str) -> None:
    """Raise an OSError unless a file can be put at a path."""
    target, parent = Path(path), Path(real_path(path)).parent

    def failing(code: int, place: Path) -> OSError:
        return OSError(code, os.strerror(code), str(place))

    if not parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    is_device = os.path.abspath(path).startswith(_DEVICES)
    if is_device or target.exists():
        mode = 0 if is_device else target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise failing(errno.EISDIR, target)
        if not stat.S_ISREG(mode):  # a file would take its place
            raise FileExistsError(errno.EEXIST, "this is no plain file", path)
        if not os.access(target, os.W_OK):
            raise failing(errno.EACCES, target)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise failing(errno.EACCES, target.parent)


def _write_csv(stream: Any, tables: Iterable[pd.DataFrame]) -> None:
    for k, table in enumerate(tables):
        table.to_csv(stream, index=False, header=k == 0, lineterminator="\n")


def _batches(file: Path) -> Iterable[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as rows:
        for batch in rows.iter_batches(batch_size=1 << 16):
            yield batch.to_pandas(integer_object_nulls=True)
