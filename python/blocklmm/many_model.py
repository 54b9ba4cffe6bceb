"""One model of many responses: the design's statistics once, then products and fits in the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import build
from .design import Design
from .errors import DataError, labels_phrase, rows_phrase
from .fit import LinearMixedFit, estimate
from .formula import parse_one_sided
from .frames import Frame
from .optimize import FitOptions
from .predict import used_rows
from .problem import Problem
from .response_table import ResponseTable
from .statistics import RowStatistics

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_SEED = 0x5EED_0F_2E5B0_15E5_51A2D_1A5  # of noise: one that no covariate was drawn with
_BYTES_A_BLOCK = 2**26  # of responses and what is made of them
_MOST_A_BLOCK = 4096


class ManyModel:
    """A model without a response.

    Parameters
    ----------
    formula : str
        One-sided.
    data : data frame
    weights, offset : str or array of shape (n,), optional
    missing : {"drop", "error"}
    contrasts : mapping, optional
    n_threads : int

    Attributes
    ----------
    formula : Formula
    frame : Frame
    problem : Problem
        Of a response of noise, which those that come replace.
    used : array of shape (n,) of bool, or None
        The rows that miss nothing the design needs; all, if None.
    rows : DesignRows
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        weights: Any,
        offset: Any,
        missing: str,
        contrasts: Mapping[str, Any] | None,
        n_threads: int,
    ) -> None:
        self.formula = parse_one_sided(formula)
        self.frame = Frame(data)
        self.missing, self._n_threads = missing, n_threads
        self._columns = {"weights": weights, "offset": offset, "contrasts": contrasts}
        for term in self.formula.random:
            for name in term.group:
                self.frame.column(name)
        design = build(self.formula, self.frame, **self._columns)
        self.problem, self.used = self._prepared(design)
        self.rows = self.problem.rows(self.used)

    def _prepared(self, design: Design) -> tuple[Problem, BoolArray | None]:
        noise = np.random.default_rng(_SEED).standard_normal(self.frame.n_rows)
        for offset in design.offsets:
            noise += design.matrix(self.frame, [offset])[:, 0]
        problem = self._problem(design, noise, self.missing)
        if not problem.statistics.dropped.n_rows:
            return problem, None
        return problem, used_rows(problem, self.frame)

    def _problem(
        self,
        design: Design,
        response: FloatArray,
        missing: str,
        name: str | None = None,
        same_columns: bool = False,
    ) -> Problem:
        formula = self.formula
        if name is not None:
            formula = replace(formula, text=f"{name} {formula.text.strip()}", response=name)
        n_threads = self._n_threads

        def read(design: Design) -> tuple[Design, RowStatistics]:
            design = replace(design.with_response(response, name), formula=formula)
            return design, RowStatistics(design, self.frame, missing, n_threads)

        design, statistics = read(design)
        if same_columns:
            self._require_random_levels(statistics.unmet_levels)
        unmet: dict[str, list[object]] = {}
        while statistics.unmet_levels and not same_columns:
            for text, levels in statistics.unmet_levels.items():
                unmet[text] = [*unmet.get(text, []), *levels]
            # which has again what the design was without before, if all its rows were dropped
            design, statistics = read(build(self.formula, self.frame, **self._columns, unmet=unmet))
        library = self.frame.library
        return Problem(
            formula, design, statistics, "drop", n_threads, self._columns, library=library
        )

    def n_rows_with(self, values: FloatArray) -> int:
        """Return how many rows of the design have a response's value."""
        known = np.isfinite(values)
        return int((known if self.used is None else known & self.used).sum())

    # -- one response, from its rows ---------------------------------------------------------

    def fit_rows(
        self,
        values: FloatArray,
        name: str,
        reml: bool,
        options: FitOptions,
        same_columns: bool = False,
    ) -> LinearMixedFit:
        """Fit one response from its rows, as ``bl.lmer`` does; NaN leaves a row out.

        Levels that its rows lack are no levels of the model. With ``same_columns`` they stay, so
        that the columns mean what they mean in other responses: those that depend on others leave.

        Raises
        ------
        DataError
            With ``same_columns`` also if a random term has effects of a level without rows.
        """
        design = self.problem.design
        problem = self._problem(design, values, "drop", name, same_columns)
        if same_columns and not set(problem.kept) <= set(self.problem.kept):
            raise DataError("columns that depend on others in all rows don't in those with values")
        return estimate(problem, reml, options=options)

    def _require_random_levels(self, unmet: Mapping[str, Sequence[object]]) -> None:
        for random in self.formula.random:
            for text in (factor for term in random.terms for factor in term):
                if text in unmet:
                    raise DataError(
                        f"no row with a value has {text!r} at {labels_phrase(unmet[text])}, of "
                        f"which {random.text} has random effects; .fit(name) leaves them out"
                    )

    def require_complete(self, table: ResponseTable, block_size: int) -> None:
        """Raise a DataError that names the responses which miss a value in a row that is used."""
        counts = np.concatenate(
            [
                self.rows.count_not_finite(table.block(start, stop), self._n_threads)
                for start, stop in blocks(table.n_responses, block_size)
            ]
        )
        bad = np.flatnonzero(counts)
        if not len(bad):
            return
        values = table.column(int(bad[0]))
        wrong = ~np.isfinite(values) & (True if self.used is None else self.used)
        first = np.flatnonzero(wrong)
        raise DataError(
            f"{len(bad)} of {table.n_responses} responses have missing or infinite values: "
            f"{labels_phrase(table.names[bad[:6]])}; {table.names[bad[0]]!r} in "
            f"{rows_phrase(len(first), first[:5].tolist())}. missing='drop' fits a response that "
            "misses values to the rows that it has"
        )

    def default_block_size(self, in_place: bool) -> int:
        """Return how many responses a block has."""
        factors = self.problem.statistics.factors
        numbers = 0 if in_place else self.frame.n_rows
        for f, factor in enumerate(factors):
            numbers += factor.n_levels * len(self.problem.design.members(f))
        size = _BYTES_A_BLOCK // (8 * max(numbers, 1))
        return int(np.clip(size // 8 * 8, 8, _MOST_A_BLOCK))


def blocks(n: int, size: int) -> list[tuple[int, int]]:
    """Return where blocks start and stop."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]
