"""Small real data sets from the literature on mixed models; ORIGIN.md says where they come from."""

from __future__ import annotations

import difflib
import json
from importlib.resources import files

import pandas as pd

from blocklmm.errors import DataError

__all__ = ["load", "names"]


def load(name: str) -> pd.DataFrame:
    """Return a data set as a new data frame.

    Factors are unordered categorical columns whose levels stand in the order of the R package
    that the data come from, so that the first level is the baseline of treatment contrasts there
    and here.

    Parameters
    ----------
    name : str
        One of :func:`names`, with upper and lower case as given there.

    Returns
    -------
    pandas.DataFrame
        One row for each observation. The frame is not shared: changing it changes no later load.

    Raises
    ------
    DataError
        If there is no data set of this name.

    Examples
    --------
    >>> from blocklmm import datasets
    >>> datasets.load("Dyestuff").shape
    (30, 2)
    """
    levels_by_name = _levels()
    if name not in levels_by_name:
        raise DataError(_unknown(name, tuple(levels_by_name)))
    levels = levels_by_name[name]
    with files(__package__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        # Labels are text, whatever they look like: "308" is a driver, not a number. Numbers go
        # through float(), which rounds correctly, as pandas' own parser does not always.
        text = pd.read_csv(file, dtype=str)
    columns = {
        name: pd.Categorical(text[name], categories=levels[name])
        if name in levels
        else text[name].map(float)
        for name in text.columns
    }
    return pd.DataFrame(columns)


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` knows.

    Returns
    -------
    tuple of str
        In alphabetical order, upper case first.

    Examples
    --------
    >>> from blocklmm import datasets
    >>> "sleepstudy" in datasets.names()
    True
    """
    return tuple(_levels())


def _levels() -> dict[str, dict[str, list[str]]]:
    """Return the levels, in order, of each factor column of each data set."""
    text = files(__package__).joinpath("levels.json").read_text(encoding="utf-8")
    levels: dict[str, dict[str, list[str]]] = json.loads(text)
    return levels


def _unknown(name: str, known: tuple[str, ...]) -> str:
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).casefold(), by_folded, n=1)
    hint = f" Did you mean {by_folded[close[0]]!r}?" if close else ""
    return f"There is no data set {name!r}.{hint} The names are {', '.join(known)}."
