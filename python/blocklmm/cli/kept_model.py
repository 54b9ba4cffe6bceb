"""A model that is kept for predictions: a file of its statistics, and by what it was fitted.

The file is that of :meth:`SufficientStatistics.save`, whose reader takes it too, with one key more
in its header: ``"fit": {"reml": true}``.
"""

from __future__ import annotations

from typing import Any

from blocklmm.disclosure import small_cells
from blocklmm.errors import PrivacyWarning, StatisticsFileError, warn
from blocklmm.saved_statistics import restored, saved
from blocklmm.statistics_file import read, write
from blocklmm.sufficient_statistics import SufficientStatistics

from .outputs import real_path

_MIN_CELL = 5


def keep(path: str, statistics: SufficientStatistics, reml: bool) -> None:
    """Write a model.

    Parameters
    ----------
    path : str
    statistics : SufficientStatistics
    reml : bool
        How it was fitted.

    Warns
    -----
    PrivacyWarning
        Of groups with so few rows that these could be told from the file.
    """
    design, rows = statistics._design, statistics._statistics
    for text in small_cells(design, rows, _MIN_CELL):
        warn(f"{path!r}, if it is to be shared: {text}", PrivacyWarning)
    header, arrays = saved(design, rows)
    header |= {"missing": statistics._missing, "keeps_groups": False, "fit": {"reml": reml}}
    write(real_path(path), header, arrays)


def kept(path: str) -> tuple[SufficientStatistics, bool]:
    """Read a model; returns its statistics, and whether it was fitted by REML.

    Raises
    ------
    StatisticsFileError
        If it is no such file, of another version, truncated or altered.
    FileNotFoundError
    """
    try:
        header, arrays = read(path)
    except StatisticsFileError as error:
        if not str(error).endswith("is no file of statistics"):
            raise
        raise StatisticsFileError(
            f"{error} (a model is what 'blocklmm fit --save' has written; to fit data first, give "
            "DATA FORMULA NEWDATA)"
        ) from None
    design, rows = restored(header, arrays, path)
    statistics = SufficientStatistics._of(design, rows, header["missing"], header["keeps_groups"])
    fit: Any = header.get("fit")
    return statistics, not (isinstance(fit, dict) and fit.get("reml") is False)
