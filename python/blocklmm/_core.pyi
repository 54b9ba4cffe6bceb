"""The compiled core; see cpp/core for the mathematics."""

import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Rows = tuple[int, list[int]]
"""How many rows, and the numbers of the first few."""

class NotPositiveDefinite(ArithmeticError): ...

class TooLarge(MemoryError):
    """The argument is the number of bytes that would be needed."""

class IntegerLabels:
    def __init__(self) -> None: ...
    def code(
        self, labels: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int32]: ...
    def __len__(self) -> int: ...
    @property
    def labels(self) -> npt.NDArray[np.int64]: ...

class TextLabels:
    def __init__(self) -> None: ...
    def code(
        self,
        data: npt.NDArray[np.uint8],
        offsets: npt.NDArray[Any],
        missing: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.int32]: ...
    def code_objects(self, texts: Sequence[object]) -> npt.NDArray[np.int32]: ...
    def state(self) -> tuple[bytes, npt.NDArray[np.int64]]: ...
    @staticmethod
    def restored(state: tuple[bytes, npt.NDArray[np.int64]]) -> TextLabels: ...
    def texts(self, numbers: npt.NDArray[np.int64]) -> list[str]: ...
    def __len__(self) -> int: ...

class Statistics:
    def __init__(
        self,
        *,
        recipes: Sequence[tuple[Any, ...]],
        columns: Sequence[int],
        shifted: Sequence[bool],
        factors: Sequence[tuple[Sequence[int], int, int]],
        n_sources: int,
        weight: int,
        pairs: bool = True,
    ) -> None: ...
    def adopt(
        self, shift: FloatArray, response_fit: FloatArray, group_fits: Sequence[FloatArray]
    ) -> None: ...
    def update(
        self,
        sources: Sequence[npt.NDArray[Any]],
        labels: Sequence[npt.NDArray[Any]],
        bases: Sequence[int],
        n_rows: int,
        n_threads: int,
    ) -> None: ...
    def restricted(
        self, selections: Sequence[tuple[int, Sequence[int], Sequence[int]]]
    ) -> Statistics: ...
    def removed(self, level: int, ones: FloatArray) -> Statistics: ...
    def state(self) -> tuple[Any, ...]: ...
    @staticmethod
    def restored(state: tuple[Any, ...]) -> Statistics: ...
    def of_levels(self, levels: npt.NDArray[np.int64]) -> Statistics: ...
    def pooled(self) -> Statistics: ...
    @property
    def n_bytes(self) -> int: ...
    def grow(self, factor: int, n_slots: int) -> None: ...
    def finish(self) -> list[npt.NDArray[np.int64]]: ...
    def in_columns(
        self, columns: FloatArray, by_factor: Sequence[FloatArray], shift: FloatArray
    ) -> Statistics: ...
    def merge(self, other: Statistics, levels: Sequence[npt.NDArray[np.int64]]) -> None: ...
    def without(self, level: int, n_random: int) -> Statistics: ...
    def cross_products(self) -> FloatArray: ...
    def plain_cross_products(self) -> FloatArray: ...
    def level_products(self, factor: int) -> FloatArray: ...
    def level_column(self, factor: int, column: int) -> FloatArray: ...
    def level_rows(self, factor: int) -> npt.NDArray[np.int64]: ...
    def pairs(self) -> list[tuple[int, int, int, IntArray, npt.NDArray[np.int32], FloatArray]]: ...
    def pair_counts(self) -> list[tuple[int, int, int]]: ...
    def with_effects(self, effects: Sequence[tuple[int, FloatArray]]) -> Statistics: ...
    def replace_response(self, response: Response) -> None: ...
    def __copy__(self) -> Statistics: ...
    @property
    def sums(self) -> FloatArray: ...
    @property
    def shift(self) -> FloatArray: ...
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

class Criterion:
    def __init__(
        self, reml: bool, *, sigma: float = ..., contrast: FloatArray = ..., at: float = ...
    ) -> None: ...

class Evaluation:
    value: float
    inverse_factor: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    gamma: FloatArray
    rss_gradient: FloatArray

class CovarianceDerivatives:
    directions: list[tuple[int, int]]
    S: FloatArray
    Q: FloatArray
    traces: FloatArray
    trace_pairs: FloatArray

class BlockObjective:
    def __init__(
        self,
        statistics: Statistics,
        x_columns: Sequence[int],
        free_entries: Sequence[tuple[int, int]],
        n_threads: int = 1,
    ) -> None: ...
    def evaluate(
        self,
        *,
        lambda_: FloatArray,
        criterion: Criterion | bool,
        derivatives: bool,
        n_threads: int,
        every: int = 1,
    ) -> Evaluation: ...
    def samples(self) -> list[int]: ...
    def covariance_derivatives(
        self, *, lambda_: FloatArray, n_threads: int
    ) -> CovarianceDerivatives: ...
    def moment_start(self, statistics: Statistics, blocks: list[int]) -> FloatArray: ...
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

class ExactHessian(enum.Enum):
    never = ...
    always = ...

class SparseObjective:
    def __init__(
        self,
        *,
        statistics: Statistics,
        x_columns: Sequence[int],
        members: Sequence[Sequence[int]],
        blocks: Sequence[int],
        memory_limit: float,
    ) -> None: ...
    def evaluate(
        self,
        *,
        lambda_: FloatArray,
        criterion: Criterion | bool,
        derivatives: bool,
        exact_hessian: ExactHessian,
        n_threads: int,
    ) -> Evaluation: ...
    def covariance_derivatives(
        self, *, lambda_: FloatArray, n_threads: int
    ) -> CovarianceDerivatives: ...
    def modes(
        self,
        *,
        lambda_: FloatArray,
        inverse_factor: FloatArray,
        bases: Sequence[FloatArray],
        wanted: Sequence[str],
        n_threads: int,
    ) -> list[dict[str, FloatArray]]: ...
    def covariances(
        self,
        *,
        lambda_: FloatArray,
        f: int,
        g: int,
        i: IntArray,
        j: IntArray,
        n_threads: int,
    ) -> FloatArray: ...
    def moment_start(self) -> FloatArray: ...
    def moment_equations(
        self,
    ) -> tuple[list[tuple[int, int]], FloatArray, FloatArray]: ...
    def take_seconds(self) -> dict[str, float]: ...
    @property
    def plan(self) -> dict[str, float]: ...
    @property
    def z_scale(self) -> FloatArray: ...
    @property
    def m_scale(self) -> FloatArray: ...

class Standardization:
    def __init__(self, statistics: Statistics, x_columns: Sequence[int]) -> None: ...
    @property
    def z_scale(self) -> FloatArray: ...
    @property
    def m_scale(self) -> FloatArray: ...

class PartialSums:
    def __init__(self, part: Statistics, units: Standardization) -> None: ...
    def sums(
        self, *, lambda_: FloatArray, N: FloatArray, derivatives: bool, n_threads: int
    ) -> FloatArray: ...
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
    def explained(self) -> FloatArray: ...
    @property
    def rank_of_z(self) -> int: ...

class SpreadObjective:
    def __init__(
        self,
        *,
        units: Standardization,
        explained: FloatArray,
        rank_of_z: int,
        free_entries: Sequence[tuple[int, int]],
        gather: Callable[[FloatArray, FloatArray, bool], FloatArray],
    ) -> None: ...
    def evaluate(
        self, *, lambda_: FloatArray, criterion: Criterion | bool, derivatives: bool, n_threads: int
    ) -> Evaluation: ...
    def covariance_derivatives(
        self, *, lambda_: FloatArray, n_threads: int
    ) -> CovarianceDerivatives: ...
    @property
    def rank_of_z(self) -> int: ...
    @property
    def within(self) -> FloatArray: ...
    @property
    def z_scale(self) -> FloatArray: ...
    @property
    def m_scale(self) -> FloatArray: ...

class Response:
    Zy: list[FloatArray]
    x_columns: list[int]
    Xy: FloatArray
    yy: float

class ResponseDraws:
    def __init__(
        self, *, statistics: Statistics, x_columns: Sequence[int], memory_limit: float
    ) -> None: ...
    def draw(
        self, *, lambdas: Sequence[FloatArray], sigma: float, seed: int, replicate: int
    ) -> Response: ...
    @property
    def rank_of_z(self) -> int: ...
    @property
    def df_residual(self) -> int: ...

class Responses:
    shift: FloatArray
    sum: FloatArray
    yy: FloatArray
    plain_yy: FloatArray
    Xy: FloatArray
    Zy: list[FloatArray]
    def __len__(self) -> int: ...
    def replace_response(self, k: int, statistics: Statistics) -> None: ...

class ProductsPlan:
    def __init__(
        self,
        *,
        recipes: Sequence[tuple[Any, ...]],
        columns: Sequence[int],
        shift: FloatArray,
        offsets: Sequence[int],
        weight: int,
        shifted: bool,
        factors: Sequence[tuple[Sequence[int], int]],
    ) -> None: ...

def response_products(
    plan: ProductsPlan,
    *,
    sources: Sequence[npt.NDArray[Any] | None],
    levels: Sequence[npt.NDArray[np.int32]],
    used: npt.NDArray[np.bool_] | None,
    Y: npt.NDArray[Any],
    n_threads: int,
) -> Responses: ...
def count_not_finite(
    *, used: npt.NDArray[np.bool_] | None, Y: npt.NDArray[Any], n_threads: int
) -> npt.NDArray[np.int64]: ...

class ResponseFits:
    def __init__(
        self,
        *,
        statistics: Statistics,
        x_columns: Sequence[int],
        members: Sequence[Sequence[int]],
        blocks: Sequence[int],
        criterion: Criterion | bool,
        constant: float,
        inflation: FloatArray,
        z_basis: FloatArray,
        nearly_exact: float,
        rounding_left: float,
        far_apart: float,
        max_evaluations: int,
        tolerance: float,
        memory_limit: float,
    ) -> None: ...
    def run(
        self, *, responses: Responses, first: int, n: int, n_threads: int
    ) -> dict[str, npt.NDArray[Any]]: ...
    def derivatives(
        self,
        *,
        responses: Responses,
        numbers: Sequence[int],
        factors: Sequence[FloatArray],
        n_threads: int,
    ) -> dict[str, FloatArray]: ...

class Status(enum.Enum):
    closed_form = ...
    optimal = ...
    singular = ...
    uncertified = ...
    stopped = ...
    exact_fit = ...

class Optimum:
    status: Status
    factor: FloatArray
    evaluation: Evaluation
    n_evaluations: int
    gradient: float
    min_eigenvalue: float
    n_flat: int
    unidentified: list[int]
    @property
    def converged(self) -> bool: ...

def minimize(
    objective: BlockObjective | SparseObjective | SpreadObjective,
    *,
    blocks: Sequence[int],
    always: Sequence[FloatArray],
    if_flat: Sequence[FloatArray],
    criterion: Criterion | bool,
    constant: float,
    n_threads: int,
    max_evaluations: int,
    tolerance: float,
    with_samples: bool = False,
) -> Optimum: ...
def chart(*, blocks: Sequence[int], factor: FloatArray) -> tuple[FloatArray, FloatArray]: ...
def trust_region_step(
    *, values: FloatArray, slopes: FloatArray, radius: float
) -> tuple[FloatArray, float]: ...
def canonical_factor(*, blocks: Sequence[int], factor: FloatArray) -> FloatArray: ...

class BootstrapModel:
    def __init__(
        self,
        *,
        effects: Sequence[tuple[int, FloatArray]],
        x_columns: Sequence[int],
        members: Sequence[Sequence[int]],
        blocks: Sequence[int],
        criterion: Criterion | bool,
        always: Sequence[FloatArray],
        if_flat: Sequence[FloatArray],
    ) -> None: ...

class Bootstrap:
    def __init__(
        self,
        *,
        statistics: Statistics,
        x_columns: Sequence[int],
        lambdas: Sequence[FloatArray],
        sigma: float,
        models: Sequence[BootstrapModel],
        max_evaluations: int,
        tolerance: float,
        certified_tolerance: float,
        memory_limit: float,
        seed: int,
    ) -> None: ...
    def run(self, *, first: int, n: int, n_threads: int) -> list[dict[str, FloatArray]]: ...
    @property
    def seconds(self) -> tuple[float, float]: ...

class Adjustment(enum.Enum):
    none = ...
    symmetric = ...
    jackknife = ...

class ClusterSpans:
    def __init__(
        self,
        *,
        rows: Statistics,
        pairs: Statistics,
        cluster: int,
        x_columns: Sequence[int],
        z_columns: Sequence[int],
        members: Sequence[Sequence[int]],
        lambda_: FloatArray,
        N: FloatArray,
    ) -> None: ...
    def sums(
        self,
        *,
        first: int,
        n: int,
        z_factor: int,
        adjustment: Adjustment,
        contrasts: FloatArray,
        wanted: Sequence[str],
        n_threads: int,
    ) -> dict[str, FloatArray]: ...
    @property
    def n_clusters(self) -> int: ...
    @property
    def largest_side(self) -> int: ...

def fill_matrix(
    recipes: Sequence[tuple[Any, ...]],
    columns: Sequence[int],
    sources: Sequence[npt.NDArray[Any]],
    n_rows: int,
) -> FloatArray: ...
def independent_columns(cross_products: FloatArray, tolerance: float) -> list[int]: ...
