"""Tables that set calls of another package beside blocklmm's, which are run."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd


class Table(str):
    """A table that a notebook shows as such."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def calls(package: str, *rows: tuple[str, str]) -> Table:
    """Run the second of each pair where the caller stands, and say what kind of thing it gives."""
    names = sys._getframe(1).f_globals
    lines = [f"| {package} | blocklmm | gives |", "| --- | --- | --- |"]
    for theirs, ours in rows:
        given = eval(ours, names)
        cells = (f"`{theirs}`" if theirs else "", f"`{ours}`", _kind(given))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return Table("\n".join(lines))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"dict by {', '.join(map(str, value))}"
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.6g}"
    if isinstance(value, pd.DataFrame | pd.Series | np.ndarray):
        name = {pd.DataFrame: "table", pd.Series: "series", np.ndarray: "array"}
        kind = next(text for cls, text in name.items() if isinstance(value, cls))
        return f"{kind}, {' × '.join(map(str, value.shape))}"  # noqa: RUF001
    return "text" if isinstance(value, str) else type(value).__name__
