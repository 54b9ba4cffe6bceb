"""What statistics that are shared would give away of single rows.

Rows are counted by group, by pair of groups of two factors, and by level of categories or joint
level of several, where columns of X or Z are made of their indicators or contrasts. With T the
values of those columns in each level and n the rows of each, T'n are the columns' sums; so n is
known where T, with a column of ones, has full rank, reference levels too. Of any column that is not
zero in m rows, m >= (sum x)^2 / sum x^2 (Cauchy & Schwarz).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
import numpy.typing as npt

from .design import Design
from .errors import labels_phrase
from .factors import CategoryFactor
from .statistics import RowStatistics

FloatArray = npt.NDArray[np.float64]
Sources = tuple[int, ...]

_MOST_CELLS = 1_000  # joint levels that T is solved for, at most


def small_cells(
    design: Design, statistics: RowStatistics, min_cell: int, keeps_groups: bool = False
) -> list[str]:
    """Return in words where rows are fewer than allowed, or where that can't be told.

    Parameters
    ----------
    design : Design
    statistics : RowStatistics
    min_cell : int
    keeps_groups : bool
        Whether all cross products of each group are kept.
    """
    if min_cell == 0:
        return []
    out = _small_groups(design, statistics, min_cell, keeps_groups)
    out += _small_pairs(design, statistics, min_cell)
    cells = _Cells(design, statistics)
    for sources in cells.columns:
        out += cells.small(sources, min_cell)
    return out + cells.small_indicators(min_cell)


def _small_groups(
    design: Design, statistics: RowStatistics, min_cell: int, keeps_groups: bool
) -> list[str]:
    out = []
    for f, factor in enumerate(statistics.factors):
        sizes = np.asarray(statistics.core.level_rows(f))
        n_small = int((sizes < min_cell).sum())
        if n_small:
            q = len(design.record_columns(f) if keeps_groups else design.members(f))
            n_open = int((sizes <= q).sum())
            columns = "columns" if keeps_groups else "random effects"
            text = f"{n_small} of {factor.n_levels} groups of {factor.name!r} have fewer than "
            text += f"{min_cell} rows, from whose sums they could be recovered"
            if n_open:
                text += f"; {n_open} of them not more than its {q} {columns}, which gives their "
                text += "rows away"
            out.append(text)
    return out


def _small_pairs(design: Design, statistics: RowStatistics, min_cell: int) -> list[str]:
    """Where groups of two factors meet there are products of their columns of Z: Z_i'Z_j."""
    out = []
    for major, minor, size, start, _, values in statistics.core.pairs():
        if size == 1 and _constant(design, major) == _constant(design, minor) == 0:
            continue  # which are counts, of no column's values
        names = " and ".join(repr(statistics.factors[f].name) for f in (major, minor))
        n_pairs, at = len(values) // size, (_constant(design, minor), _constant(design, major))
        if n_pairs == len(start) - 1:  # nested
            sizes = np.asarray(statistics.core.level_rows(major)).astype(np.float64)
        elif None not in at and design.weight < 0:
            blocks = np.reshape(values, (n_pairs, -1, len(design.members(major))))
            sizes = blocks[:, at[0], at[1]]
        else:
            out.append(
                f"how often groups of {names} meet can't be told from the statistics: where it is "
                f"less than {min_cell} times, products of their columns could give rows away"
            )
            continue
        n_small = int((sizes < min_cell - 0.5).sum())
        if n_small:
            out.append(
                f"{n_small} of {n_pairs} pairs of groups of {names} meet in fewer than {min_cell} "
                "rows, which the products of their columns could give away"
            )
    return out


def _constant(design: Design, group: int) -> int | None:
    """Return which of a factor's columns of Z is a constant, if one is."""
    anchors = [design.z_anchor[k] for k in design.members(group)]
    places = [design.members(group).index(k) for k in anchors if k >= 0]
    return places[0] if places else None


class _Cells:
    """Rows by level of the categories that columns of X and Z are made of."""

    def __init__(self, design: Design, statistics: RowStatistics) -> None:
        self._design = design
        core = statistics.totals
        n, shift, sums = core.n_rows_used, np.asarray(core.shift), np.asarray(core.sums)
        squares = np.diag(np.asarray(core.plain_cross_products()))
        self._n = n
        self._sums = sums + n * shift
        self._squares = squares + 2 * shift * sums + n * shift**2
        self.columns: dict[Sources, list[tuple[int, dict[int, FloatArray], bool]]] = {}
        """By sources of the categories in them: columns of U, with whether there is more."""
        self._numbers: list[int] = []
        for column in sorted({*design.x_columns, *design.z_columns}):
            tables: dict[int, FloatArray] = {}
            kinds = [self._take(recipe, tables) for recipe in self._leaves(column)]
            if tables:
                sources = tuple(sorted(tables))
                others = any(kind != "lookup" for kind in kinds)
                self.columns.setdefault(sources, []).append((column, tables, others))
            elif kinds == ["numeric"]:
                self._numbers.append(column)

    def small(self, sources: Sources, min_cell: int) -> list[str]:
        """Return in words which joint levels of some categories have few rows."""
        factors = [self._factor(source) for source in sources]
        name = ":".join(factor.text for factor in factors)
        counts = self._counts(sources)
        if counts is None:
            shown = [column for column, _, _ in self.columns[sources]]
            least = self._sums[shown] ** 2 / np.maximum(self._squares[shown], 1e-300)
            if (least > min_cell - 0.5).all():
                return []
            text = f"how many rows have each level of {name!r} can't be told from the statistics: "
            text += f"with fewer than {min_cell}, products of all columns could give them away"
            return [text]
        few = np.flatnonzero((counts > 0.5) & (counts < min_cell - 0.5))
        if len(few) == 0:
            return []
        places = zip(*np.unravel_index(few, [len(f.levels) for f in factors]), strict=True)
        labels = [
            ":".join(str(f.levels[k]) for f, k in zip(factors, place, strict=True))
            for place in places
        ]
        text = f"{len(few)} of {len(counts)} levels of {name!r} have fewer than {min_cell} rows, "
        text += f"which products of all columns could give away: {labels_phrase(labels)}"
        return [text]

    def small_indicators(self, min_cell: int) -> list[str]:
        """Return in words which numbers that are 0 or 1 are one of them in few rows."""
        out = []
        for column in self._numbers:
            ones, square = self._sums[column], self._squares[column]
            if abs(square - ones) > 1e-9 * max(square, 1.0) or abs(ones - round(ones)) > 1e-6:
                continue
            label = self._label(column)
            for value, count in ((1, round(ones)), (0, self._n - round(ones))):
                if 0 < count < min_cell:
                    out.append(
                        f"{label!r} is {value} in fewer than {min_cell} rows, {count}, which "
                        "products of all columns could give away"
                    )
        return out

    def _counts(self, sources: Sources) -> FloatArray | None:
        """Return the rows of each joint level, or None where sums don't tell."""
        shape = [len(self._factor(source).levels) for source in sources]
        if np.prod(shape, dtype=float) > _MOST_CELLS:
            return None
        T, totals = [np.ones(shape).ravel()], [float(self._n)]
        for own, found in self.columns.items():
            if not set(own) <= set(sources):
                continue
            for column, tables, others in found:
                if not others:
                    ones = [np.ones(k) for k in shape]
                    parts = [tables.get(s, one) for s, one in zip(sources, ones, strict=True)]
                    T.append(reduce(np.multiply.outer, parts).ravel())
                    totals.append(self._sums[column])
        matrix = np.column_stack(T)
        if matrix.shape[1] < matrix.shape[0]:
            return None
        found_counts, _, rank, _ = np.linalg.lstsq(matrix.T, np.array(totals), rcond=1e-9)
        return np.asarray(found_counts) if rank == len(matrix) else None

    def _leaves(self, column: int) -> Iterator[tuple[object, ...]]:
        todo = [self._design.columns[column][0]]
        while todo:
            kind, *rest = self._design.recipes[todo.pop()]
            if kind == "product":
                todo += rest[0]
            else:
                yield (kind, *rest)

    def _take(self, recipe: tuple[object, ...], tables: dict[int, FloatArray]) -> object:
        kind, *rest = recipe
        if kind == "lookup":
            source, table = rest
            assert isinstance(source, int)
            values = np.asarray(table, dtype=np.float64)
            tables[source] = tables[source] * values if source in tables else values
        return kind

    def _factor(self, source: int) -> CategoryFactor:
        factor = self._design._factors[self._design.sources[source].factor]
        assert isinstance(factor, CategoryFactor)
        return factor

    def _label(self, column: int) -> str:
        source = self._design.recipes[self._design.columns[column][0]][1]
        return self._design.source_name(source)
