"""Many responses as the user holds them: names, and columns in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import DataError, labels_phrase
from .frames import Array, Frame

FloatArray = npt.NDArray[np.float64]


class ResponseTable:
    """The columns of Y, converted a block at a time.

    Parameters
    ----------
    Y : array of shape (n, r), memory-mapped or not, or data frame
        One column for each response. Arrays of float64 and float32 are read where they are,
        whatever their order.
    frame : Frame
        The design, whose rows Y has.
    names : sequence, optional
        The responses' names; a frame's columns by default, or numbers.

    Attributes
    ----------
    names : pandas.Index
    n_rows, n_responses : int
    in_place : bool
        Whether blocks are views.

    Raises
    ------
    DataError
        If Y is no matrix of numbers with the frame's rows and at least one column, or names are not
        unique or have several levels.
    """

    def __init__(self, Y: Any, frame: Frame, names: Sequence[Any] | None = None) -> None:
        self._table, own_names = _table_of(Y)
        self.n_rows, self.n_responses = self._table.shape
        if self.n_rows != frame.n_rows:
            raise DataError(
                f"Y has {self.n_rows} rows and the design {frame.n_rows}: give one row of Y for "
                "each of the design, also for those that miss a value"
            )
        if self.n_responses == 0:
            raise DataError("Y has no columns: there is no response")
        if isinstance(self._table, pd.DataFrame):
            frame.require_same_index("Y", self._table.iloc[:, 0])
        self.names = own_names if names is None else self._named(names)
        if self.names.nlevels > 1:
            raise DataError(
                f"responses have one label each, not {self.names.nlevels} levels of labels: give "
                "names, such as ['_'.join(map(str, labels)) for labels in Y.columns]"
            )
        if not self.names.is_unique:
            twice = self.names[self.names.duplicated()].unique()
            raise DataError(f"responses have the same name: {labels_phrase(twice)}")
        self.in_place = isinstance(self._table, np.ndarray) and _is_read_in_place(self._table)

    def block(self, start: int, stop: int) -> Array:
        """Return responses ``start … stop - 1`` as columns of float64 or float32.

        Raises
        ------
        DataError
            If a column of a frame holds what is no number.
        """
        if isinstance(self._table, np.ndarray):
            part = self._table[:, start:stop]
            if isinstance(part, np.ma.MaskedArray):
                return np.asarray(np.ma.filled(part.astype(np.float64), np.nan))
            return part if self.in_place else np.asarray(part, dtype=np.float64)
        if isinstance(self._table, pd.DataFrame):
            values = self._table.iloc[:, start:stop].to_numpy(dtype=np.float64, na_value=np.nan)
            return np.asarray(values)
        return np.asarray(self._table[:, start:stop].to_numpy(), dtype=np.float64)

    def column(self, k: int) -> FloatArray:
        """Return one response."""
        return np.asarray(self.block(k, k + 1)[:, 0], dtype=np.float64)

    def number(self, response: Any) -> int:
        """Return a response's number, given that or its name.

        Raises
        ------
        DataError
            If there is no such response.
        """
        found = self.names.get_indexer(pd.Index([response]))[0]
        if found < 0:
            raise DataError(f"there is no response {response!r}")
        return int(found)

    def _named(self, names: Sequence[Any]) -> pd.Index[Any]:
        if isinstance(names, str) or np.ndim(names) != 1:
            raise DataError("names are a list, one for each response")
        out: pd.Index[Any] = names if isinstance(names, pd.Index) else pd.Index(names)
        if len(out) != self.n_responses:
            raise DataError(f"{len(out)} names are given for {self.n_responses} responses")
        return out


def _is_read_in_place(Y: Array) -> bool:
    return (
        Y.dtype.isnative
        and Y.dtype in (np.float64, np.float32)
        and not isinstance(Y, np.ma.MaskedArray)
    )


def _table_of(Y: Any) -> tuple[Any, pd.Index[Any]]:
    """Return Y as an array or a frame with columns of numbers, and its columns' names."""
    if isinstance(Y, Mapping):
        Y = pd.DataFrame(Y)
    if isinstance(Y, pd.DataFrame):
        for k, dtype in enumerate(Y.dtypes):
            _require_real(str(Y.columns[k]), dtype, pd.api.types.is_numeric_dtype(dtype))
        return Y, Y.columns
    if not isinstance(Y, np.ndarray):
        try:
            table = nw.from_native(Y, eager_only=True)
        except TypeError:
            Y = _array_of(Y)
        else:
            for name, dtype in table.schema.items():
                _require_real(name, dtype, dtype.is_numeric() or dtype == nw.Boolean)
            return table, pd.Index(table.columns)
    if Y.ndim != 2:
        hint = "; bl.lmer fits a single response" if Y.ndim == 1 else ""
        raise DataError(f"Y has shape {Y.shape}: give a matrix, one column a response{hint}")
    if Y.dtype.kind not in "biuf":
        raise DataError(f"Y has dtype {Y.dtype}: responses are real numbers")
    return Y, pd.RangeIndex(Y.shape[1])


def _array_of(Y: Any) -> Array:
    if hasattr(Y, "collect"):
        raise DataError(f"Y of type {type(Y).__name__!r} has no rows yet: call .collect() first")
    try:
        out = np.asarray(Y)
    except ValueError:  # of unequal lengths
        out = np.empty(0, dtype=object)
    if out.ndim == 0 or out.dtype == object:
        raise DataError(
            f"Y of type {type(Y).__name__!r} is no matrix of numbers: give a NumPy array or a data "
            "frame, one column a response"
        )
    return out


def _require_real(name: str, dtype: Any, is_numeric: bool) -> None:
    if not is_numeric or pd.api.types.is_complex_dtype(dtype):
        raise DataError(f"the response {name!r} has type {dtype}: responses are real numbers")
