"""Results as an interpreter and a notebook show them: their table, and notes below it."""

from __future__ import annotations

import html as _html
from collections.abc import Sequence

import pandas as pd


def text(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """Return a table with numbers of five digits; rows without names have none."""
    shown = table.to_string(index=not _is_numbered(table), float_format=_number)
    return "\n".join([shown, *notes])


def html(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """Return the same for a notebook."""
    shown = table.to_html(index=not _is_numbered(table), float_format=_number)
    return shown + "".join(f"<p>{_html.escape(note)}</p>" for note in notes)


def _is_numbered(table: pd.DataFrame) -> bool:
    return isinstance(table.index, pd.RangeIndex)


def _number(value: float) -> str:
    return f"{value:.5g}"
