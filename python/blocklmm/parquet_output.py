"""Tables written to a Parquet file chunk by chunk: all of it or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import DataError


def write_parquet(path: str | os.PathLike[str], tables: Iterable[Any]) -> None:
    """Write pyarrow tables of one schema; the file is there once the last one is written.

    Parameters
    ----------
    path : str or path
    tables : iterable of pyarrow.Table

    Raises
    ------
    DataError
        If a table has another schema than the first.
    ImportError
        Without pyarrow.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("writing Parquet needs pyarrow: pip install blocklmm[arrow]") from None
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    writer: Any = None
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(name, table.schema)
            if table.schema != writer.schema:
                raise DataError(
                    "columns change their type among the rows, which one file can't hold: "
                    f"{writer.schema} and {table.schema}"
                )
            writer.write_table(table)
        if writer is not None:
            writer.close()
        os.replace(name, target)
    except BaseException:
        if writer is not None:
            writer.close()
        Path(name).unlink(missing_ok=True)
        raise
