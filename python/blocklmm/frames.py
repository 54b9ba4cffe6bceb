"""Any data frame to named columns of numbers or of category codes, without copies where possible.

A column is a :class:`Numbers` or a :class:`Categories`; both hand out ``rows(start, stop)`` as
arrays that the core reads in place. Arrow and polars columns whose memory NumPy can't see as one
array are converted slice by slice, so that no converted copy of a whole column is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from .arrow_arrays import arrow_texts, as_arrow, factorize, one_array
from .errors import DataError, did_you_mean, labels_phrase
from .native_tables import Library, native, with_columns

Array = npt.NDArray[Any]


class Source(Protocol):
    """A column's rows in slices."""

    name: str

    def rows(self, start: int, stop: int) -> Array:
        """Return rows ``start … stop - 1``."""
        ...


@dataclass(slots=True)
class Numbers:
    """A numeric column held as one array."""

    name: str
    array: Array
    is_boolean: bool = False

    def rows(self, start: int, stop: int) -> Array:
        """Return a view of rows ``start … stop - 1``."""
        return self.array[start:stop]


@dataclass(slots=True)
class SlicedNumbers:
    """A numeric column whose slices are converted on demand; missing values become NaN."""

    name: str
    series: nw.Series[Any]
    is_boolean: bool = False

    def rows(self, start: int, stop: int) -> Array:
        """Return a float64 copy of rows ``start … stop - 1``."""
        values = self.series[start:stop].to_numpy()
        return np.asarray(values, dtype=np.float64)

    def categories(self) -> Categories:
        """Return the distinct values as categories: exact for integers, missing ones as -1."""
        missing = np.asarray(self.series.is_null().to_numpy(), dtype=bool)
        codes, levels = pd.factorize(self.series.fill_null(0).to_numpy())
        codes = np.where(missing, -1, codes)
        return Categories(self.name, codes, pd.Index(levels), ordered_levels=False)


@dataclass(slots=True)
class Categories:
    """Category codes (-1 is missing) and what they stand for.

    ``ordered_levels`` tells whether the levels' order is the column's own (a pandas or polars
    categorical) or just that of first appearance.
    """

    name: str
    codes: Array
    levels: pd.Index[Any]
    ordered_levels: bool

    def rows(self, start: int, stop: int) -> Array:
        """Return a view of the codes of rows ``start … stop - 1``."""
        return self.codes[start:stop]


_MOST_LISTED = 12  # names of columns in a message

Column = Numbers | SlicedNumbers | Categories


class Frame:
    """A data frame of any make, seen as named columns.

    Parameters
    ----------
    data : pandas, polars or pyarrow table, mapping of arrays, or anything narwhals reads
    first_row : int
        The number of its first row, where it is a chunk of other rows.

    Attributes
    ----------
    known_names : sequence of str
        All columns that there are, where the frame has some of them only: for hints.
    is_training : bool
        Whether its rows are read for statistics, not for predictions.
    is_chunk : bool
        Whether other rows may follow.

    Raises
    ------
    DataError
        If the data are no table, have two columns of one name, or columns of unequal length.
    """

    def __init__(self, data: Any, first_row: int = 0) -> None:
        self._columns: dict[str, Column] = {}
        self._emptied: set[str] = set()
        self.first_row = first_row
        self.known_names: Sequence[str] = ()
        self.is_training = self.is_chunk = False
        if isinstance(data, Mapping):
            data = _from_mapping(data)
        if isinstance(data, pd.DataFrame):
            self.names = [str(c) for c in data.columns]
            self._native: Any = data
            self.n_rows = len(data)
        else:
            try:
                self._native = nw.from_native(data, eager_only=True)
            except TypeError:
                hint = "; call .collect() first" if hasattr(data, "collect") else ""
                raise DataError(
                    f"data of type {type(data).__name__!r} is no table: give a data frame (pandas, "
                    "polars, pyarrow, Dask), a dict of arrays, paths of Parquet files, a query "
                    f"(Polars, DuckDB), a pyarrow Dataset or reader, or chunks of rows{hint}"
                ) from None
            except nw.exceptions.DuplicateError as error:
                raise DataError(f"two columns have the same name: {error}") from None
            self.names = list(self._native.columns)
            self.n_rows = len(self._native)
        if len(set(self.names)) < len(self.names):
            twice = sorted({c for c in self.names if self.names.count(c) > 1})
            raise DataError(f"two columns have the same name: {', '.join(map(repr, twice))}")
        if self.n_rows == 0:
            raise DataError("the data have no rows")

    def hint(self, name: str) -> str:
        """Return the nearest column's name as a question; if none is near, a few columns' names."""
        names = self.known_names or self.names
        if near := did_you_mean(name, names):
            return near
        return f" Columns are {', '.join(map(repr, names))}." if len(names) <= _MOST_LISTED else ""

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def native(self) -> Any:
        """The data as they were given, or as pandas has them."""
        is_pandas = isinstance(self._native, pd.DataFrame)
        return self._native if is_pandas else self._native.to_native()

    @property
    def library(self) -> Library:
        """The library of tables about these rows: theirs, or pandas."""
        if isinstance(self._native, pd.DataFrame):
            return "pandas"
        made_by = self._native.implementation
        return "polars" if made_by.is_polars() else "pyarrow" if made_by.is_pyarrow() else "pandas"

    @property
    def head(self) -> Frame:
        """The frame itself: as rows of a model, a frame is all there are."""
        return self

    @property
    def is_rereadable(self) -> bool:
        """Whether it can be read more than once: always."""
        return True

    @property
    def total(self) -> int:
        """The number of rows."""
        return self.n_rows

    def frames(self, n_threads: int = 1) -> Iterator[Frame]:  # noqa: ARG002
        """Return the frame itself, as the only one."""
        yield self

    @property
    def index(self) -> pd.Index[Any]:
        """The rows' labels: a pandas frame's own, or their numbers."""
        if isinstance(self._native, pd.DataFrame):
            return self._native.index
        return pd.RangeIndex(self.n_rows)

    def taken(self, rows: Array, columns: Mapping[str, Array]) -> Any:
        """Return a table of the same make of some rows, with other values in some columns."""
        if isinstance(self._native, pd.DataFrame):
            return self._native.iloc[rows].reset_index(drop=True).assign(**columns)
        return with_columns(self._native[np.asarray(rows)].to_native(), columns)

    def require_same_index(self, name: str, values: Any) -> None:
        """Raise a DataError if values come as a Series with the rows' labels in another order."""
        if not isinstance(values, pd.Series) or len(values) != self.n_rows:
            return
        rows = self.index
        if not values.index.equals(rows) and values.index.sort_values().equals(rows.sort_values()):
            raise DataError(
                f"{name}: the Series has the rows' labels in another order; bring it into theirs, "
                "or give .to_numpy() if it is in that order already"
            )

    def column(self, name: str) -> Column:
        """Return a column by name.

        Raises
        ------
        DataError
            If there is no such column, or it holds neither numbers nor categories.
        """
        if name not in self._columns:
            if name not in self.names:
                raise DataError(f"there is no column {name!r} in the data.{self.hint(name)}")
            if isinstance(self._native, pd.DataFrame):
                self._columns[name] = _from_pandas(
                    name, self._native.iloc[:, self.names.index(name)]
                )
            else:
                self._columns[name] = _from_narwhals(name, self._native[name])
        return self._columns[name]

    def slice(self, names: Sequence[str], start: int, stop: int) -> pd.DataFrame:
        """Return some rows of some columns as a pandas frame, for formulaic."""
        out: dict[str, Any] = {}
        for name in names:
            column = self.column(name)
            values = column.rows(start, stop)
            if isinstance(column, Categories):
                out[name] = pd.Categorical.from_codes(values, column.levels)
            else:
                # as floats: integers would wrap around, and booleans have their own arithmetic
                out[name] = np.asarray(values, dtype=np.float64)
        return pd.DataFrame(out, copy=False)

    def arrow(self, names: Sequence[str]) -> Any:
        """Return some columns as a pyarrow table."""
        import pyarrow as pa

        if isinstance(self._native, pd.DataFrame):
            places = [self.names.index(name) for name in names]
            chosen = self._native.iloc[:, places].set_axis(list(names), axis=1)
            return pa.Table.from_pandas(chosen, preserve_index=False).replace_schema_metadata()
        return self._native.select(*names).to_arrow()

    def pandas(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns as a pandas table."""
        if isinstance(self._native, pd.DataFrame):
            places = [self.names.index(name) for name in names]
            return self._native.iloc[:, places].set_axis(list(names), axis=1)
        return pd.DataFrame(self._native.select(*names).to_pandas())

    def table(self, names: Sequence[str], library: Library) -> Any:
        """Return some columns as a table of a library: of the frame's own as they are."""
        if library == "pandas":
            return self.pandas(names)
        if library == self.library:
            return self._native.select(*names).to_native()
        return native(self.pandas(names).reset_index(drop=True), library)

    def is_missing(self, name: str) -> bool:
        """Tell whether a column has no value in any row."""
        column = self.column(name)
        if isinstance(column, Categories):
            return bool((np.asarray(column.codes) < 0).all())
        values = column.rows(0, self.n_rows)
        return values.dtype.kind == "f" and bool(np.isnan(values).all())

    def kind(self, name: str) -> str:
        """Return in words what a column holds, which is the same in all rows of a model."""
        column = self.column(name)
        if isinstance(column, Categories):
            return "text or categories"
        return "booleans" if column.is_boolean else "numbers"

    def require_kinds(self, kinds: Mapping[str, str], source: str, where: str) -> None:
        """Raise a DataError where a column is gone or has another kind than in the first rows.

        A column without values is taken to be of the kind wanted.

        Parameters
        ----------
        kinds : mapping of column to str
            As from :meth:`kind`.
        source, where : str
            What is read, and which part of it this is: for messages.
        """
        for name, kind in kinds.items():
            if name not in self:
                raise DataError(f"{source} has no column {name!r} {where}")
            found = self.kind(name)
            if found == kind:
                continue
            if not self.is_missing(name):
                raise DataError(
                    f"column {name!r} of {source} holds {kind} in its first rows, but {found} "
                    f"{where}: make it the same everywhere"
                )
            if kind == "text or categories":
                self._columns[name] = _empty_categories(name, self.n_rows)
            else:
                values = np.full(self.n_rows, np.nan)
                self._columns[name] = Numbers(name, values, is_boolean=kind == "booleans")
            self._emptied.add(name)

    def texts(self, name: str) -> tuple[Array, Array, Array | None] | None:
        """Return a column of text as Arrow holds it, or None for any other.

        Returns
        -------
        (bytes, offsets, missing)
            The text of row r is ``bytes[offsets[r] : offsets[r + 1]]``; None of missing: no row.
        """
        if name not in self.names or name in self._emptied:
            return None
        if isinstance(self._native, pd.DataFrame):
            series = self._native.iloc[:, self.names.index(name)]
            is_text = isinstance(series.dtype, pd.StringDtype)
        else:
            series = self._native[name]
            is_text = series.dtype == nw.String
        return arrow_texts(series) if is_text else None

    def has_fixed_levels(self, name: str) -> bool:
        """Tell whether the type of a column says what its levels are, in all chunks alike."""
        if isinstance(self._native, pd.DataFrame):
            return False
        dtype = self._native[name].dtype
        return isinstance(dtype, nw.Enum) or dtype == nw.Enum

    def grouping_column(self, name: str) -> Column:
        """Return a column as labels: integers that may be missing stay exact, as categories.

        Booleans are booleans whatever they are held as, so that all chunks of them are alike.
        """
        if name in self._emptied:
            return _empty_categories(name, self.n_rows)
        column = self.column(name)
        if not isinstance(column, Categories) and column.is_boolean:
            values = column.rows(0, self.n_rows)
            if not np.isnan(values).any():
                return Numbers(name, values.astype(bool, copy=False), is_boolean=True)
            places = np.where(np.isnan(values), -1, values).astype(np.int8)
            return Categories(name, places, pd.Index([False, True]), ordered_levels=True)
        if isinstance(column, SlicedNumbers) and column.series.dtype.is_integer():
            if column.series.null_count() == 0:
                return Numbers(name, column.series.to_numpy())
            return column.categories()
        if isinstance(column, Numbers) and isinstance(self._native, pd.DataFrame):
            series = self._native.iloc[:, self.names.index(name)]
            if not isinstance(series.dtype, np.dtype) or series.dtype.kind == "O":
                is_float = pd.api.types.is_float_dtype(series.dtype)
                if not is_float and series.isna().any():
                    codes, found = pd.factorize(series)
                    levels = pd.Index(found).infer_objects()
                    return Categories(name, codes, levels, ordered_levels=False)
        return column


def _empty_categories(name: str, n_rows: int) -> Categories:
    """Return a column without values."""
    codes = np.full(n_rows, -1, dtype=np.int8)
    return Categories(name, codes, pd.Index([], dtype=object), ordered_levels=False)


def array_column(name: str, values: Any) -> Numbers:
    """Return an array that is no column of the frame (weights, an offset) as numbers.

    Raises
    ------
    DataError
        If it is not a vector of numbers.
    """
    if np.ndim(values) != 1:
        raise DataError(f"{name}: give a vector, not an array of shape {np.shape(values)}")
    column = _from_pandas(name, pd.Series(values, copy=False))
    if not isinstance(column, Numbers):
        raise DataError(f"{name}: the values are not numbers")
    return column


def _from_mapping(data: Mapping[Any, Any]) -> pd.DataFrame:
    lengths = {str(k): np.shape(v)[0] if np.ndim(v) else -1 for k, v in data.items()}
    if -1 in lengths.values():
        scalar = next(k for k, n in lengths.items() if n < 0)
        raise DataError(
            f"column {scalar!r} of the data is one value: give a list or an array of them"
        )
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns have unequal lengths: {lengths}")
    series = {}
    for key, values in data.items():
        if np.ndim(values) != 1:
            raise DataError(f"column {str(key)!r} is an array of {np.ndim(values)} dimensions")
        fresh = not isinstance(values, pd.Series)
        series[str(key)] = pd.Series(values, copy=False) if fresh else values.reset_index(drop=True)
    return pd.DataFrame(series, copy=False)


def _from_pandas(name: str, series: pd.Series[Any]) -> Column:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return Categories(
            name, np.asarray(series.array.codes), pd.Index(dtype.categories), ordered_levels=True
        )
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        array = series.to_numpy()
        if dtype.itemsize > 8 or dtype == np.float16 or not dtype.isnative:
            array = array.astype(np.float64)
        return Numbers(name, array, is_boolean=dtype.kind == "b")
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        if pd.api.types.is_complex_dtype(dtype):
            raise DataError(f"column {name!r} holds complex numbers")
        is_boolean = pd.api.types.is_bool_dtype(dtype)
        if pd.api.types.is_integer_dtype(dtype) and not series.isna().any():
            is_unsigned = pd.api.types.is_unsigned_integer_dtype(dtype)
            return Numbers(name, series.to_numpy(dtype=np.uint64 if is_unsigned else np.int64))
        return Numbers(name, series.to_numpy(dtype=np.float64, na_value=np.nan), is_boolean)
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(series, skipna=True)
        if kind in ("integer", "floating", "mixed-integer-float", "decimal", "boolean"):
            values = pd.to_numeric(series.astype(float) if kind == "boolean" else series)
            array = values.to_numpy(dtype=np.float64, na_value=np.nan)
            return Numbers(name, array, is_boolean=kind == "boolean")
        if kind not in ("string", "empty", "categorical"):
            raise DataError(
                f"column {name!r} mixes types ({kind}): make it numbers or text, for instance "
                f"with astype(str)"
            )
    elif str(dtype).startswith("dictionary<"):  # categories as Arrow has them
        return _from_narwhals(name, as_arrow(series))
    elif not pd.api.types.is_string_dtype(dtype):
        raise DataError(
            f"column {name!r} has dtype {dtype}: only numbers, booleans, text and categories can "
            "be used; convert it first"
        )
    codes, levels = pd.factorize(series)
    return Categories(name, codes, pd.Index(levels), ordered_levels=False)


def _from_narwhals(name: str, series: nw.Series[Any]) -> Column:
    dtype = series.dtype
    is_boolean = dtype == nw.Boolean
    if dtype == nw.Unknown and series.null_count() == len(series):
        return _empty_categories(name, len(series))
    if dtype in (nw.Int128, nw.UInt128):
        raise DataError(f"column {name!r} has type {dtype}: convert it to 64 bits first")
    if dtype.is_numeric() or is_boolean:
        if series.null_count() == 0 and not str(dtype).startswith("Decimal"):
            array = one_array(series)
            if array is not None and array.dtype.kind in "biuf" and array.dtype != np.float16:
                return Numbers(name, array, is_boolean)
        return SlicedNumbers(name, series, is_boolean)
    is_enum = isinstance(dtype, nw.Enum) or dtype == nw.Enum
    if is_enum or dtype in (nw.String, nw.Categorical):
        codes, found = factorize(series)
        # polars orders the levels of an Enum, not those of a Categorical
        own = is_enum or (dtype == nw.Categorical and not hasattr(series.to_native(), "n_chunks"))
        if own:
            levels = pd.Index(series.cat.get_categories().to_list())
            place = np.append(levels.get_indexer(found), -1)
            return Categories(name, place[codes], levels, ordered_levels=True)
        return Categories(name, codes, found, ordered_levels=False)
    raise DataError(
        f"column {name!r} has type {dtype}: only numbers, booleans, text and categories can be "
        "used; convert it first"
    )


def require_numbers(column: Column, role: str) -> None:
    """Raise a DataError unless the column holds numbers."""
    if isinstance(column, Categories):
        parsed = pd.to_numeric(pd.Series(column.levels, dtype=object), errors="coerce")
        levels = column.levels[parsed.isna()]
        held = labels_phrase(levels if len(levels) else column.levels, 3)
        raise DataError(
            f"{role} {column.name!r} is not numeric: it holds {held}. Convert it to numbers first"
        )
