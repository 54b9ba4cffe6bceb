"""Rows that come in chunks: files, data sets, queries, readers, iterators of frames.

Each engine reads its own way (pyarrow, Polars, DuckDB) and hands out batches; here they become
frames, of the columns that are wanted, with one kind for each column from first to last.
"""

from __future__ import annotations

import glob
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import narwhals.stable.v1 as nw

from .distributed.dask_rows import DaskRows
from .errors import BlocklmmError, DataError
from .frames import Frame
from .rows import Rows, first_with_values

_ROWS_A_BATCH = 1 << 17
_HEAD_ROWS = 8 * 512  # what shifts are chosen from, in memory too
_BATCHES_AHEAD = 2  # that wait while another is used


@dataclass(frozen=True, slots=True)
class Engine:
    """How to read some rows.

    Attributes
    ----------
    name : str
        What is read, for messages.
    read : callable
        ``read(columns, n_threads)`` returns an iterator of tables; None of columns: all there are.
    names : list of str or None
        The columns' names, where they are known before a row is read.
    is_rereadable : bool
    total : int or None
        Number of rows, where it is known.
    head : callable or None
        ``head(columns)`` returns a table of the first rows, where all need not be read for them.
    """

    name: str
    read: Callable[[list[str] | None, int], Iterator[Any]]
    names: list[str] | None
    is_rereadable: bool
    total: int | None = None
    head: Callable[[list[str] | None], Any] | None = None


class Stream:
    """Rows of an engine.

    Parameters
    ----------
    engine : Engine
    text : str
        A formula, and the names of other columns: what it does not mention is not read.

    Raises
    ------
    DataError
        If there are no rows, or the engine fails.
    """

    def __init__(self, engine: Engine, text: str) -> None:
        self._engine = engine
        self._text = text
        self.is_rereadable, self.total = engine.is_rereadable, engine.total
        self._columns: list[str] | None = None
        if engine.names is not None:
            self._columns = [name for name in engine.names if mentions(text, name)]
            # a name that is missing is told from all that there are
            self._columns = self._columns or engine.names
        self._rest: Iterator[Frame] | None = None
        self.head = self._found_head()
        self.head.known_names = engine.names or ()
        self._kinds = {n: self.head.kind(n) for n in self.head.names if self._is_wanted(n)}

    def _is_wanted(self, name: str) -> bool:
        return mentions(self._text, name)

    def _found_head(self) -> Frame:
        """Return the first frame that has a value in every column; the first, if none has."""
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
            first = first_with_values(chain(heads, tables), self._is_wanted)
        else:
            first = first_with_values(kept(tables), self._is_wanted)
            self._rest = chain(read, tables)
        if first is None:
            raise DataError(f"the data have no rows: {self._engine.name} is empty")
        return first

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
            yield frame


def mentioned(formula: str, columns: Mapping[str, Any]) -> str:
    """Return a text that mentions all columns that a model reads.

    ``columns`` are its weights, offset, contrasts and levels: names, or mappings from names.
    """
    texts = [formula]
    for given in columns.values():
        if isinstance(given, str):
            texts.append(given)
        elif isinstance(given, Mapping):
            texts += map(str, given)
    return " ".join(texts)


def as_rows(data: Any, text: str, groups: str = "auto") -> Rows:
    """Return data as rows of a model: a frame in memory, a stream, or partitions of Dask's.

    Parameters
    ----------
    data : any data frame, path or glob of Parquet files, pyarrow Dataset, RecordBatchReader or
        Arrow C stream, Polars LazyFrame, DuckDB relation, Dask data frame, iterable of data frames,
        or a function that returns one
    text : str
        A formula, and the names of other columns.
    groups : {"auto", "driver", "workers"}
        Where the statistics of a Dask frame's groups are to be.

    Raises
    ------
    DataError
        If the data are none of these, have no rows, or can't be read.
    """
    if nw.dependencies.is_dask_dataframe(data):
        return DaskRows(data, lambda name: mentions(text, name), groups)
    engine = _engine_of(data)
    return Frame(data) if engine is None else Stream(engine, text)


def _engine_of(data: Any) -> Engine | None:
    if isinstance(data, str | os.PathLike):
        return _parquet(os.fspath(data))
    if nw.dependencies.is_polars_lazyframe(data):
        return _polars(data)
    module = type(data).__module__.partition(".")[0]
    kind = type(data).__name__
    if module in ("duckdb", "_duckdb") and kind.endswith("Relation"):
        return _duckdb(data)
    if module == "pyarrow" and kind.endswith("Dataset") and hasattr(data, "scanner"):
        return _dataset(data, "the data set")
    if isinstance(data, Mapping) or _is_eager(data):
        return None
    if hasattr(data, "__arrow_c_stream__"):
        return _reader(data)
    if callable(data):
        return Engine("the function's frames", lambda *_: iter(data()), None, is_rereadable=True)
    if isinstance(data, list | tuple):
        if not data or not all(isinstance(d, Mapping) or _is_table(d) for d in data):
            return None
        return Engine("the list of frames", lambda *_: iter(data), None, is_rereadable=True)
    if isinstance(data, Iterator):
        return Engine("the iterator", lambda *_: data, None, is_rereadable=False)
    return None


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


def _parquet(path: str) -> Engine:
    try:
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("reading files needs pyarrow: pip install blocklmm[arrow]") from None
    if os.path.isdir(path):
        return _dataset(_opened(path, lambda: ds.dataset(path, format="parquet")), repr(path))
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
        return _ahead(
            (batch for one in paths for batch in batches(one, columns, _ROWS_A_BATCH)), n_threads
        )

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((b for one in paths for b in batches(one, columns, _HEAD_ROWS)), 1)

    first = _opened(paths[0], lambda: pq.read_schema(paths[0]))
    total = sum(_opened(one, lambda one=one: pq.read_metadata(one)).num_rows for one in paths)
    return Engine(repr(path), read, list(first.names), True, total, head)


def _opened(path: str, opener: Callable[..., Any]) -> Any:
    try:
        return opener()
    except (OSError, ValueError) as error:
        raise DataError(f"{path!r} can't be read as Parquet: {error}") from error


def _dataset(dataset: Any, name: str) -> Engine:
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
            scanner = dataset.scanner(columns=columns, batch_size=_ROWS_A_BATCH)
            return iter(scanner.to_batches())
        return _ahead(row_groups(columns, _ROWS_A_BATCH), n_threads)

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice((batch for batch in row_groups(columns, _HEAD_ROWS) if len(batch)), 1)

    try:
        total = dataset.count_rows()
    except Exception as error:
        raise DataError(f"{name} can't be read: {error}") from error
    return Engine(name, read, list(dataset.schema.names), True, total, head)


def _ahead(batches: Iterator[Any], n_threads: int) -> Iterator[Any]:
    """Return batches that a thread reads ahead of us, where there is more than one to be had."""
    return _read_ahead(batches) if n_threads > 1 else batches


def _read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(_BATCHES_AHEAD)
    is_left = threading.Event()

    def hand_over(item: tuple[Any, BaseException | None]) -> None:
        while not is_left.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break

    def work() -> None:
        try:
            for batch in batches:
                hand_over((batch, None))
                if is_left.is_set():
                    return
            hand_over((None, StopIteration()))
        except BaseException as error:
            hand_over((None, error))

    reader = threading.Thread(target=work, daemon=True)
    reader.start()
    try:
        while True:
            batch, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield batch
    finally:
        is_left.set()
        reader.join()


def _reader(data: Any) -> Engine:
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError("Arrow streams need pyarrow: pip install blocklmm[arrow]") from None
    reader = data if hasattr(data, "read_next_batch") else pa.RecordBatchReader.from_stream(data)

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        return (batch if columns is None else batch.select(columns) for batch in reader)

    return Engine("the Arrow stream", read, list(reader.schema.names), is_rereadable=False)


def _polars(data: Any) -> Engine:
    def chosen(columns: list[str] | None) -> Any:
        return data if columns is None else data.select(columns)

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        query = chosen(columns)
        return iter(query.collect_batches(chunk_size=_ROWS_A_BATCH, maintain_order=True))

    def head(columns: list[str] | None) -> Any:
        return chosen(columns).head(_HEAD_ROWS).collect()

    try:
        names = data.collect_schema().names()
    except Exception as error:
        raise DataError(f"the Polars LazyFrame can't be read: {error}") from error
    return Engine("the Polars LazyFrame", read, names, True, None, head)


def _duckdb(data: Any) -> Engine:
    def batches(relation: Any, columns: list[str] | None) -> Iterator[Any]:
        if columns is not None:
            quoted = (name.replace('"', '""') for name in columns)
            relation = relation.project(", ".join(f'"{name}"' for name in quoted))
        names = ("to_arrow_reader", "fetch_record_batch")  # the latter up to DuckDB 1.4
        reader = next(getattr(relation, name) for name in names if hasattr(relation, name))
        return iter(reader(_ROWS_A_BATCH))

    def read(columns: list[str] | None, _: int) -> Iterator[Any]:
        return batches(data, columns)

    def head(columns: list[str] | None) -> Iterator[Any]:
        return islice(batches(data.limit(_HEAD_ROWS), columns), 1)

    return Engine("the DuckDB relation", read, list(data.columns), True, None, head)


def mentions(text: str, name: str) -> bool:
    """Tell whether a text has a column's name in it."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text) is not None
