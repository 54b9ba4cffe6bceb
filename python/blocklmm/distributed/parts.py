"""Statistics of one partition, and those of several as one."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm.design import Design
from blocklmm.errors import DataError, IncompatibleError
from blocklmm.frames import Frame
from blocklmm.merging import merge
from blocklmm.statistics import RowStatistics

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """Statistics of some of the rows, none of which need be left.

    Attributes
    ----------
    statistics : RowStatistics
    not_a_number : dict of str to int
        By expression, values that are missing though all they need is there.
    """

    statistics: RowStatistics
    not_a_number: dict[str, int]


def of_part(
    design: Design, missing: str, shift: FloatArray, whole: int | None, frame: Frame
) -> PartStatistics:
    """Return the statistics of a partition, about a shift that all have in common."""
    statistics = RowStatistics(
        design, frame, missing, 1, progress=False, shift=shift, whole=whole, is_part=True
    )
    return PartStatistics(statistics.without_rows(), design.not_a_number())


def merged(design: Design, parts: list[PartStatistics]) -> PartStatistics:
    """Return the statistics of all parts; the parts stay as they are.

    Raises
    ------
    DataError
        If labels of groups are of different kinds in some of them.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0].statistics
    out = RowStatistics.of(copy.copy(first.core), first.factors, first.dropped)
    unmet, not_a_number = first.unmet_levels, dict(parts[0].not_a_number)
    for part in parts[1:]:
        other = part.statistics
        try:
            out = merge(design, out, design, other)
        except IncompatibleError as error:
            raise DataError(str(error)) from None
        unmet = {
            text: [level for level in levels if level in other.unmet_levels[text]]
            for text, levels in unmet.items()
            if text in other.unmet_levels
        }
        for text, count in part.not_a_number.items():
            not_a_number[text] = not_a_number.get(text, 0) + count
    out.unmet_levels = {text: levels for text, levels in unmet.items() if levels}
    return PartStatistics(out, not_a_number)
