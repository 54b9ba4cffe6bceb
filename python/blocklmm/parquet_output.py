"""Tables written to a Parquet file chunk by chunk: all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from .errors import DataError
from .replacing import replacing


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
    FileNotFoundError
        If there is no such folder.
    ImportError
        Without pyarrow.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("writing Parquet needs pyarrow: pip install blocklmm[arrow]") from None
    with replacing(path) as file:
        writer: Any = None
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(file, table.schema)
                if table.schema != writer.schema:
                    raise DataError(
                        "columns change their type among the rows, which one file can't hold: "
                        f"{writer.schema} and {table.schema}"
                    )
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
