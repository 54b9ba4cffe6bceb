"""Tables of results in the library of the user's frames: polars, pyarrow, or pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

Library = Literal["pandas", "polars", "pyarrow"]
"""Whose tables results are: of the rows' own library, and of pandas for all other rows."""


def native(table: pd.DataFrame, library: Library) -> Any:
    """Return a table of pandas' as one of a library.

    Row labels, unless they are numbers without a name, become the first column. NaN stays NaN: none
    of our tables misses a value. pyarrow is needed for its own tables alone.
    """
    if library == "pandas":
        return table
    if table.index.name is not None or not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    columns = {str(name): _series(str(name), table[name], library).to_native() for name in table}
    return nw.from_dict(columns, backend=library).to_native()


def _series(name: str, column: pd.Series[Any], library: Library) -> nw.Series[Any]:
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return nw.new_series(name, column.to_numpy(), backend=library)
    values = column.to_list()
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds != {str}:
        return nw.new_series(name, values, backend=library)
    # also labels of several grouping factors that are numbers and texts
    return nw.new_series(name, [str(v) for v in values], nw.String(), backend=library)


def names_of(table: Any) -> list[str]:
    """Return the names of the columns of a table of any library."""
    return list(nw.from_native(table, eager_only=True).columns)


def with_columns(table: Any, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return a table of any library with some columns added, or in place of those so called."""
    if isinstance(table, pd.DataFrame):
        return table.assign(**columns)
    frame = nw.from_native(table, eager_only=True)
    library = nw.get_native_namespace(frame)
    series = [nw.new_series(name, _values(v), backend=library) for name, v in columns.items()]
    return frame.with_columns(*series).to_native()


def _values(column: npt.NDArray[Any]) -> Any:
    """Return an array's values as all libraries take them."""
    dtype = column.dtype
    if dtype.kind in "biuf":
        return column.astype(dtype.newbyteorder("="), copy=False)
    if dtype.kind in "mM":  # nanoseconds would be made integers
        column = column.astype(f"{dtype.kind}8[us]")
    return column.tolist()


def chosen_rows(table: Any, rows: npt.NDArray[np.bool_]) -> Any:
    """Return some rows of a table of any library."""
    if isinstance(table, pd.DataFrame):
        return table[rows]
    frame = nw.from_native(table, eager_only=True)
    mask = nw.new_series("rows", rows, backend=nw.get_native_namespace(frame))
    return frame.filter(mask).to_native()


def joined(tables: Sequence[Any]) -> Any:
    """Return the rows of tables of one library together; where types differ, in a wider one."""
    if isinstance(tables[0], pd.DataFrame):
        return pd.concat(tables, ignore_index=True)
    if len(tables) == 1:
        return tables[0]
    library = nw.get_native_namespace(nw.from_native(tables[0], eager_only=True))
    if library.__name__ == "polars":
        return library.concat(tables, how="diagonal_relaxed")
    return library.concat_tables(tables, promote_options="permissive")
