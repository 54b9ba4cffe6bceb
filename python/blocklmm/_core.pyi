"""The compiled core; see cpp/core for the mathematics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Rows = tuple[int, list[int]]
"""How many rows, and the numbers of the first few."""

class NotPositiveDefinite(ArithmeticError): ...

class Statistics:
    def __init__(
        self,
        *,
        recipes: Sequence[tuple[Any, ...]],
        columns: Sequence[int],
        shifted: Sequence[bool],
        n_random: int,
        n_sources: int,
        weight: int,
        n_slots: int,
    ) -> None: ...
    def adopt(
        self, shift: FloatArray, response_fit: FloatArray, group_fits: FloatArray
    ) -> None: ...
    def update(
        self,
        sources: Sequence[npt.NDArray[Any]],
        labels: npt.NDArray[Any],
        base: int,
        n_threads: int,
    ) -> None: ...
    def finish(self) -> list[int]: ...
    def cross_products(self) -> FloatArray: ...
    def plain_cross_products(self) -> FloatArray: ...
    def group_products(self) -> FloatArray: ...
    def group_rows(self) -> npt.NDArray[np.int64]: ...
    @property
    def sums(self) -> FloatArray: ...
    @property
    def shift(self) -> FloatArray: ...
    @property
    def n_groups(self) -> int: ...
    @property
    def n_rows_used(self) -> int: ...
    @property
    def n_rows_seen(self) -> int: ...
    @property
    def log_weights(self) -> float: ...
    @property
    def missing(self) -> list[Rows]: ...
    @property
    def infinite(self) -> list[Rows]: ...
    @property
    def bad_weights(self) -> Rows: ...

class BlockEvaluation:
    value: float
    inverse_factor: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    gamma: FloatArray

class BlockObjective:
    def __init__(
        self,
        statistics: Statistics,
        x_columns: Sequence[int],
        free_entries: Sequence[tuple[int, int]],
    ) -> None: ...
    def evaluate(
        self, *, lambda_: FloatArray, reml: bool, derivatives: bool, n_threads: int
    ) -> BlockEvaluation: ...
    def own_fits(self, statistics: Statistics) -> FloatArray: ...
    def modes(
        self,
        *,
        statistics: Statistics,
        lambda_: FloatArray,
        inverse_factor: FloatArray,
        basis: FloatArray,
        groups: npt.NDArray[np.int64],
        wanted: Sequence[str],
    ) -> dict[str, FloatArray]: ...
    @property
    def rank_of_z(self) -> int: ...
    @property
    def n_patterns(self) -> int: ...
    @property
    def within(self) -> FloatArray: ...
    @property
    def z_scale(self) -> FloatArray: ...
    @property
    def m_scale(self) -> FloatArray: ...

def fill_matrix(
    recipes: Sequence[tuple[Any, ...]],
    columns: Sequence[int],
    sources: Sequence[npt.NDArray[Any]],
    n_rows: int,
) -> FloatArray: ...
def independent_columns(cross_products: FloatArray, tolerance: float) -> list[int]: ...
