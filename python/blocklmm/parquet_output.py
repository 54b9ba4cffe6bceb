"""Tables written to a Parquet file chunk by chunk: all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import DataError
from .replacing import replacing


def write_parquet(path: str | os.PathLike[str], tables: Iterable[Any]) -> None:
    """Write pyarrow tables of the same columns; the file is there once the last one is written.

    Where a later table needs a wider type, integers that become real numbers for instance, what
    was written is written again.

    Parameters
    ----------
    path : str or path
    tables : iterable of pyarrow.Table

    Raises
    ------
    DataError
        If a table has other columns than the first, or of types that have none in common.
    FileNotFoundError
        If there is no such folder.
    ImportError
        Without pyarrow.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("writing Parquet needs pyarrow: pip install 'blocklmm[arrow]'") from None
    with replacing(path) as file:
        writer: Any = None
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(file, table.schema)
                if table.schema != writer.schema:
                    schema = _common(writer.schema, table.schema)
                    if schema != writer.schema:
                        writer.close()
                        writer = _rewritten(file, schema)
                    table = _as(schema, table)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def _common(one: Any, other: Any) -> Any:
    """Return a schema that holds the columns of two; categories are text where they differ."""
    import pyarrow as pa

    def widened(field: Any) -> Any:
        types = field.type, other.field(field.name).type
        if types[0] == types[1]:
            return field
        plain = [t.value_type if pa.types.is_dictionary(t) else t for t in types]
        schemas = [pa.schema([(field.name, dtype)]) for dtype in plain]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)

    if set(one.names) == set(other.names):
        with suppress(pa.ArrowException):
            return pa.schema(map(widened, one))
    raise DataError(f"columns change among the rows, which one file can't hold: {one} and {other}")


def _as(schema: Any, table: Any) -> Any:
    import pyarrow as pa

    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise DataError(
            f"columns change their type among the rows, and one file can't hold both: {error}"
        ) from error


def _rewritten(file: Path, schema: Any) -> Any:
    """Return a writer of a file that holds what it did, in another schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    with replacing(file) as wide:
        try:
            writer = pq.ParquetWriter(wide, schema)
            with pq.ParquetFile(file) as narrow:
                for batch in narrow.iter_batches():
                    writer.write_table(_as(schema, pa.Table.from_batches([batch])))
        except BaseException:
            if writer is not None:
                writer.close()
            raise
    return writer
