"""Parquet files and pyarrow Datasets as engines."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from .engine import HEAD_ROWS, ROWS_A_BATCH, Engine, ahead
from .errors import DataError


def parquet_files(path: str) -> Engine:
    """Return an engine of a file, the files that a glob matches, or those of a folder."""
    try:
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("reading files needs pyarrow: pip install blocklmm[arrow]") from None
    if os.path.isdir(path):
        return dataset_rows(_opened(path, lambda: ds.dataset(path, format="parquet")), repr(path))
    paths = sorted(glob.glob(path)) if glob.has_magic(path) else [path]
    if not paths or not os.path.exists(paths[0]):
        raise DataError(f"there is no file {path!r}")

    def batches(one: str, columns: list[str] | None, size: int) -> Iterator[Any]:
        # mapped into memory and decoded piece by piece: row groups may be of any size
        try:
            with pq.ParquetFile(one, memory_map=True, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=size, columns=columns, use_threads=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{one!r} can't be read as Parquet: {error}") from error

    def read(columns: list[str] | None, n_threads: int) -> Iterator[Any]:
        return ahead(
            (batch for one in paths for batch in batches(one, columns, ROWS_A_BATCH)), n_threads
        )

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((b for one in paths for b in batches(one, columns, HEAD_ROWS)), 1)

    first = _opened(paths[0], lambda: pq.read_schema(paths[0]))
    total = sum(_opened(one, lambda one=one: pq.read_metadata(one)).num_rows for one in paths)
    return Engine(repr(path), read, list(first.names), True, total, head)


def _opened(path: str, opener: Callable[..., Any]) -> Any:
    try:
        return opener()
    except (OSError, ValueError) as error:
        raise DataError(f"{path!r} can't be read as Parquet: {error}") from error


def dataset_rows(dataset: Any, name: str) -> Engine:
    """Return an engine of a pyarrow Dataset."""

    def row_groups(columns: list[str] | None, size: int) -> Iterator[Any]:
        # one after the other: a scan of all would be drained to its end when it is left early
        for fragment in dataset.get_fragments():
            parts = fragment.split_by_row_group() if hasattr(fragment, "row_groups") else [fragment]
            for part in parts:
                yield from part.to_batches(
                    schema=dataset.schema, columns=columns, batch_size=size, use_threads=False
                )

    def read(columns: list[str] | None, n_threads: int) -> Iterator[Any]:
        if getattr(dataset, "_scan_options", None):  # a filter, which fragments don't know
            scanner = dataset.scanner(columns=columns, batch_size=ROWS_A_BATCH)
            return iter(scanner.to_batches())
        return ahead(row_groups(columns, ROWS_A_BATCH), n_threads)

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((batch for batch in row_groups(columns, HEAD_ROWS) if len(batch)), 1)

    try:
        total = dataset.count_rows()
    except Exception as error:
        raise DataError(f"{name} can't be read: {error}") from error
    return Engine(name, read, list(dataset.schema.names), True, total, head)
