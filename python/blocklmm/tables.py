"""Tables as an interpreter and a notebook show them: digits by their errors, and notes below."""

from __future__ import annotations

import html as _html
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_ON_ONE_SCALE = ("estimate", "emmean", "std_error", "conf_low", "conf_high", "lower", "upper")
_LIKELIHOODS = ("logLik", "deviance", "AIC", "BIC", "cAIC", "delta_AIC", "LRT", "Chisq")


class NotedTable(pd.DataFrame):
    """A DataFrame that prints its ``attrs["notes"]`` below it; what is made of it is plain."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return text(self, self.attrs.get("notes", ()))

    def _repr_html_(self) -> str:
        return html(self, self.attrs.get("notes", ()))


def noted(table: pd.DataFrame, notes: Sequence[str]) -> NotedTable:
    """Return a table with notes."""
    out = NotedTable(table)
    out.attrs["notes"] = list(notes)
    return out


def text(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """Return a table as text; rows without names have none."""
    return "\n".join([_shown(table).to_string(index=not _is_numbered(table)), *notes])


def html(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """Return the same for a notebook."""
    shown = _shown(table).to_html(index=not _is_numbered(table))
    return shown + "".join(f"<p>{_html.escape(note)}</p>" for note in notes)


def _is_numbered(table: pd.DataFrame) -> bool:
    return isinstance(table.index, pd.RangeIndex)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table's texts: estimates and limits to four digits of their standard errors."""
    decimals = _decimals(table)
    out: dict[Any, Any] = {}
    for name in table:
        column = table[name]
        if not pd.api.types.is_float_dtype(column):
            out[name] = column.to_numpy(dtype=object)
        elif name in _ON_ONE_SCALE:
            out[name] = [_fixed(v, d) for v, d in zip(column, decimals, strict=True)]
        elif name in _LIKELIHOODS:
            out[name] = [_fixed(v, 3) for v in column]
        else:
            out[name] = [_fixed(v, np.nan) for v in column]
    return pd.DataFrame(out, index=table.index, columns=table.columns, dtype=object)


def _decimals(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return by row the decimals that show four digits of its standard error, NaN for none."""
    if "std_error" in table:
        size = table["std_error"].to_numpy(dtype=float)
    elif "upper" in table and "lower" in table:
        size = (table["upper"] - table["lower"]).to_numpy(dtype=float) / 4
    else:
        size = np.full(len(table), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((size > 0) & np.isfinite(size), 3 - np.floor(np.log10(size)), np.nan)


def _fixed(value: float, decimals: float) -> str:
    if np.isnan(value) or not np.isfinite(decimals) or decimals > 12 or not abs(value) < 1e15:
        return "NaN" if np.isnan(value) else f"{value:.5g}"
    return f"{value:.{max(int(decimals), 0)}f}"
