"""Columns of data frames as the arrays that hold them in Arrow's memory."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]


def as_arrow(series: pd.Series[Any]) -> nw.Series[Any]:
    """Return a column of pandas' that Arrow's memory holds as pyarrow has it."""
    import pyarrow as pa

    return nw.from_native(pa.chunked_array(series.array.__arrow_array__()), series_only=True)


def one_array(series: nw.Series[Any]) -> Array | None:
    """Return the column as one array without a copy, or None where that can't be."""
    native = series.to_native()
    if hasattr(native, "n_chunks"):
        return np.asarray(native.to_numpy()) if native.n_chunks() == 1 else None
    if hasattr(native, "num_chunks"):
        if native.num_chunks != 1 or str(native.type) == "bool":
            return None
        return np.asarray(native.chunk(0).to_numpy(zero_copy_only=True))
    return np.asarray(series.to_numpy())


def arrow_texts(series: Any) -> tuple[Array, Array, Array | None] | None:
    """Return a column of text as bytes, offsets and the rows that miss one; None without pyarrow.

    The text of row r is ``bytes[offsets[r] : offsets[r + 1]]``; None of missing: no row.
    """
    try:
        import pyarrow as pa
    except ImportError:
        return None
    if isinstance(series, pd.Series):
        arrow = pa.array(series)
    else:
        native = series.to_native()
        arrow = native if isinstance(native, pa.ChunkedArray) else native.to_arrow()
    if isinstance(arrow, pa.ChunkedArray):
        arrow = arrow.combine_chunks()
    if isinstance(arrow, pa.ChunkedArray):
        arrow = arrow.chunk(0)
    if not (pa.types.is_string(arrow.type) or pa.types.is_large_string(arrow.type)):
        arrow = arrow.cast(pa.large_string())
    dtype = np.int64 if pa.types.is_large_string(arrow.type) else np.int32
    _, offsets, data = arrow.buffers()
    places = np.frombuffer(offsets, dtype=dtype)[arrow.offset : arrow.offset + len(arrow) + 1]
    missing = arrow.is_null().to_numpy(zero_copy_only=False) if arrow.null_count else None
    found = np.zeros(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    return found, places, missing


def factorize(series: nw.Series[Any]) -> tuple[Array, pd.Index[Any]]:
    """Code text by first appearance; pyarrow does it on Arrow memory where it is installed."""
    native = series.to_native()
    try:
        import pyarrow as pa
    except ImportError:
        codes, levels = pd.factorize(np.asarray(series.to_numpy(), dtype=object))
        return codes, pd.Index(levels)
    arrow = native if isinstance(native, pa.ChunkedArray) else pa.chunked_array([native.to_arrow()])
    if pa.types.is_dictionary(arrow.type):
        arrow = arrow.cast(arrow.type.value_type)
    encoded = arrow.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, pd.Index(encoded.dictionary.to_pandas())
