"""Rows that come in chunks: files, data sets, queries, readers, iterators of frames.

Each engine reads its own way (pyarrow, Polars, DuckDB) and hands out batches; here they become
frames, of the columns that are wanted, with one kind for each column from first to last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np

from .distributed.dask_rows import DaskRows
from .engine import HEAD_ROWS, ROWS_A_BATCH, Engine
from .errors import BlocklmmError, DataError, OptionError
from .frames import Frame
from .native_tables import Library
from .parquet_input import dataset_rows, parquet_files
from .rows import Rows, first_with_values

_MOST_KEPT = 1 << 20  # rows in which values of all columns are looked for, where they come once


class Stream:
    """Rows of an engine.

    Parameters
    ----------
    engine : Engine
    names : collection of str
        The columns that are wanted, if they are there: others are not read.
    needed : collection of str
        Those of them that are to be of one kind, with values among the first rows.

    Raises
    ------
    DataError
        If there are no rows, or the engine fails.
    """

    def __init__(self, engine: Engine, names: Collection[str], needed: Collection[str]) -> None:
        self._engine = engine
        self._needed = needed
        self.is_rereadable, self.total = engine.is_rereadable, engine.total
        self._columns: list[str] | None = None
        if engine.names is not None:
            self._columns = [name for name in engine.names if name in names]
            # a name that is missing is told from all that there are
            self._columns = self._columns or engine.names
        self._rest: Iterator[Frame] | None = None
        self.head = self._found_head()
        self.head.known_names = engine.names or ()
        self.library: Library = self.head.library if engine.gives_frames else "pandas"
        self._kinds: dict[str, str] = {}
        self._learn_kinds(self.head)

    def _found_head(self) -> Frame:
        """Return the first frame with a value in every column needed; the first, if none has."""
        read: list[Frame] = []

        def kept(tables: Iterator[Frame]) -> Iterator[Frame]:
            for frame in tables:
                read.append(frame)
                yield frame

        tables = self._tables()
        if self.is_rereadable:
            heads: Iterator[Frame] = iter(())
            if self._engine.head is not None:
                heads = self._frames(self._engine.head, self._columns)
            first = first_with_values(chain(heads, tables), self._needed)
        else:
            first = first_with_values(kept(tables), self._needed, _MOST_KEPT)
            self._rest = chain(read, tables)
        if first is None:
            raise DataError(f"the data have no rows: {self._engine.name} is empty")
        return first

    def require_apart(self, out: str | os.PathLike[str]) -> None:
        """Raise an OptionError if a file to be written would be among what is read.

        The next to read the same path would take what was written for data.
        """
        would_read = self._engine.would_read
        if would_read is not None and would_read(os.path.realpath(os.path.expanduser(out))):
            raise OptionError(
                f"out={os.fspath(out)!r} may be among the files of {self._engine.name}, of which "
                "the rows are read: write to another folder, or to a file that is not there yet"
            )

    def frames(self, n_threads: int = 1) -> Iterator[Frame]:
        """Return the frames in order.

        Raises
        ------
        DataError
            If the rows can't be read again, the engine fails, or a column changes its kind.
        """
        if self.is_rereadable:
            yield from self._checked(self._tables(n_threads))
            return
        rest, self._rest = self._rest, None
        if rest is None:
            raise DataError(f"the rows of {self._engine.name} were read, and can't be read again")
        yield from self._checked(rest)

    def _tables(self, n_threads: int = 1) -> Iterator[Frame]:
        """Return the frames as the engine gives them, those without rows left out."""
        return self._frames(self._engine.read, self._columns, n_threads)

    def _frames(self, read: Callable[..., Any], *arguments: Any) -> Iterator[Frame]:
        first_row = 0
        try:
            tables = read(*arguments)
            for table in tables if isinstance(tables, Iterator) else [tables]:
                native = table if isinstance(table, Mapping) else _eager(table)
                if len(native) == 0:
                    continue
                frame = Frame(native, first_row)
                frame.is_chunk = True
                yield frame
                first_row += frame.n_rows
        except BlocklmmError:
            raise
        except Exception as error:
            at = f" after {first_row} rows" if first_row else ""
            raise DataError(f"reading {self._engine.name} failed{at}: {error}") from error

    def _checked(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            where = f"from row {frame.first_row} on"
            frame.require_kinds(self._kinds, self._engine.name, where)
            self._learn_kinds(frame)
            yield frame

    def _learn_kinds(self, frame: Frame) -> None:
        """Note the kinds of columns that had no value before."""
        for name in frame.names:
            if name in self._needed and name not in self._kinds and not frame.is_missing(name):
                self._kinds[name] = frame.kind(name)


def as_rows(
    data: Any, names: Collection[str], needed: Collection[str] | None = None, groups: str = "auto"
) -> Rows:
    """Return data as rows of a model: a frame in memory, a stream, or partitions of Dask's.

    Parameters
    ----------
    data : any data frame, paths or globs of Parquet files, pyarrow Dataset, RecordBatchReader or
        Arrow C stream, Polars LazyFrame, DuckDB relation, Dask data frame, iterable of data frames,
        or a function that returns one
    names : collection of str
        The columns that are wanted.
    needed : collection of str, optional
        Those without whose values nothing can be done; all by default.
    groups : {"auto", "driver", "workers"}
        Where the statistics of a Dask frame's groups are to be.

    Raises
    ------
    DataError
        If the data are none of these, have no rows, or can't be read.
    """
    needed = names if needed is None else needed
    if nw.dependencies.is_dask_dataframe(data):
        return DaskRows(data, names, needed, groups)
    engine = _engine_of(data)
    return Frame(data) if engine is None else Stream(engine, names, needed)


def _engine_of(data: Any) -> Engine | None:
    if _is_path(data):
        return parquet_files([data])
    if isinstance(data, list | tuple) and data and all(map(_is_path, data)):
        return parquet_files(data)
    if nw.dependencies.is_polars_lazyframe(data):
        return _polars(data)
    module = type(data).__module__.partition(".")[0]
    kind = type(data).__name__
    if module in ("duckdb", "_duckdb") and kind.endswith("Relation"):
        return _duckdb(data)
    if module == "pyarrow" and kind.endswith("Dataset") and hasattr(data, "scanner"):
        return dataset_rows(data, "the data set")
    if isinstance(data, Mapping) or _is_eager(data):
        return None
    if hasattr(data, "__arrow_c_stream__"):
        return _reader(data)
    if callable(data):
        read = _anew(data, "the function")
        return Engine("the function's frames", read, None, is_rereadable=True, gives_frames=True)
    if isinstance(data, Iterator):
        return Engine("the iterator", lambda *_: data, None, False, gives_frames=True)
    if not isinstance(data, Iterable) or isinstance(data, np.ndarray):
        return None
    if isinstance(data, Collection):
        kind, tables = type(data).__name__, [isinstance(d, Mapping) or _is_table(d) for d in data]
        if tables and not any(tables):
            return None
        if not all(tables):
            wrong = next(islice(data, tables.index(False), None))
            raise DataError(
                f"element {tables.index(False)} of the {kind!r} is of type "
                f"{type(wrong).__name__!r}, which is no table: give data frames, one chunk of rows "
                "each"
            )
        return Engine(f"the {kind} of frames", lambda *_: iter(data), None, True, gives_frames=True)
    name = f"the {type(data).__name__!r}"
    return Engine(name, _anew(data.__iter__, name), None, True, gives_frames=True)


def _is_path(data: Any) -> bool:
    return isinstance(data, str | os.PathLike)


def _anew(function: Callable[[], Iterable[Any]], name: str) -> Callable[..., Iterator[Any]]:
    """Return a function that iterates over what another gives, from the first rows each time."""
    last: Any = None

    def read(*_: Any) -> Iterator[Any]:
        nonlocal last
        given = function()
        found = iter([given] if isinstance(given, Mapping) or _is_table(given) else given)
        if found is last:
            raise DataError(
                f"{name} gives the same iterator again, of which the first rows are gone: let it "
                "make a new one each time, or give the iterator itself"
            )
        last = found if found is given else None
        return found

    return read


def _is_eager(data: Any) -> bool:
    """Tell whether data are held in memory: a frame, or a series, which is none."""
    try:
        found = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    except nw.exceptions.NarwhalsError:
        return True
    return found is not data


def _is_table(data: Any) -> bool:
    return type(data).__name__ == "RecordBatch" or _is_eager(data)


def _eager(table: Any) -> Any:
    """Return a batch as a table that a frame takes."""
    if type(table).__name__ == "RecordBatch":
        import pyarrow as pa

        return pa.Table.from_batches([table])
    if not _is_eager(table):
        raise DataError(
            f"an object of type {type(table).__name__!r} is no table: the iterator gives data "
            "frames, one chunk of rows each"
        )
    return table


def _reader(data: Any) -> Engine:
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError("Arrow streams need pyarrow: pip install 'blocklmm[arrow]'") from None
    reader = data if hasattr(data, "read_next_batch") else pa.RecordBatchReader.from_stream(data)

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        return (batch if columns is None else batch.select(columns) for batch in reader)

    return Engine("the Arrow stream", read, list(reader.schema.names), is_rereadable=False)


def _polars(data: Any) -> Engine:
    def chosen(columns: list[str] | None) -> Any:
        return data if columns is None else data.select(columns)

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        query = chosen(columns)
        return iter(query.collect_batches(chunk_size=ROWS_A_BATCH, maintain_order=True))

    def head(columns: list[str] | None) -> Any:
        return chosen(columns).head(HEAD_ROWS).collect()

    try:
        names = data.collect_schema().names()
    except Exception as error:
        raise DataError(f"the Polars LazyFrame can't be read: {error}") from error
    return Engine("the Polars LazyFrame", read, names, True, None, head, os.path.exists, True)


def _duckdb(data: Any) -> Engine:
    def batches(relation: Any, columns: list[str] | None) -> Iterator[Any]:
        if columns is not None:
            quoted = (name.replace('"', '""') for name in columns)
            relation = relation.project(", ".join(f'"{name}"' for name in quoted))
        names = ("to_arrow_reader", "fetch_record_batch")  # the latter up to DuckDB 1.4
        reader = next(getattr(relation, name) for name in names if hasattr(relation, name))
        return iter(reader(ROWS_A_BATCH))

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        return batches(data, columns)

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice(batches(data.limit(HEAD_ROWS), columns), 1)

    names = list(data.columns)
    return Engine("the DuckDB relation", read, names, True, None, head, os.path.exists)
