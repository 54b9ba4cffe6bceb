"""Tables as an interpreter and a notebook show them: digits by their errors, and notes below."""

from __future__ import annotations

import html as _html
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

WIDTH = 90
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


class ModelTable(NotedTable):
    """A table of models that prints short names, and above it the formulas that index it."""

    def __repr__(self) -> str:
        models = self._models()
        lines = ["Models:", *(f"{name}: {formula}" for name, formula in models)] if models else []
        notes = [
            textwrap.fill(n, WIDTH, break_long_words=False) for n in self.attrs.get("notes", ())
        ]
        return "\n".join([*lines, text(self._named(models), notes)])

    def _repr_html_(self) -> str:
        models = self._models()
        above = (f"{_html.escape(name)}: {_html.escape(formula)}" for name, formula in models)
        head = f"<p>{'<br>'.join(above)}</p>" if models else ""
        return head + html(self._named(models), self.attrs.get("notes", ()))

    def _models(self) -> list[tuple[str, str]]:
        """Return names and formulas, or none if the rows are no longer those that were named."""
        models = [(str(name), str(formula)) for name, formula in self.attrs.get("models", ())]
        return models if [formula for _, formula in models] == list(self.index) else []

    def _named(self, models: list[tuple[str, str]]) -> pd.DataFrame:
        return self.set_axis([name for name, _ in models]) if models else self


def of_models(table: pd.DataFrame, names: Sequence[str], notes: Sequence[str]) -> ModelTable:
    """Return a table, indexed by formulas, whose rows are named when it is printed."""
    out = ModelTable(table)
    out.attrs["notes"] = list(notes)
    out.attrs["models"] = list(zip(names, table.index, strict=True))
    return out


class WideTable(pd.DataFrame):
    """A DataFrame that prints all of its columns, in lines as long as they need."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        with pd.option_context("display.max_columns", None, "display.expand_frame_repr", False):
            return super().__repr__()


def wide(table: Any) -> Any:
    """Return a table of pandas as one that prints all of its columns; any other as it is."""
    return WideTable(table) if isinstance(table, pd.DataFrame) else table


def noted(table: pd.DataFrame, notes: Sequence[str]) -> NotedTable:
    """Return a table with notes."""
    out = NotedTable(table)
    out.attrs["notes"] = list(notes)
    return out


class Rounded:
    """A dataclass that prints its numbers with six digits."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (f"{f.name}={_rounded(getattr(self, f.name))}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


def _rounded(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {_rounded(v)}' for k, v in value.items())}}}"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


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
