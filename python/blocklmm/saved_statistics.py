"""Statistics as a header of JSON values and arrays, and back: what a file of statistics holds."""

from __future__ import annotations

import os
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core, design_json
from .design import Design
from .design_checks import are_ints, require, require_design
from .errors import DataError, StatisticsFileError
from .growing_labels import GrowingLabels
from .labels import LevelNames
from .reading import Dropped
from .removable_groups import require_removable
from .statistics import GroupingFactor, RowStatistics

Arrays = dict[str, npt.NDArray[Any]]


def saved(design: Design, statistics: RowStatistics) -> tuple[dict[str, Any], Arrays]:
    """Return what is to be written of statistics.

    Labels of groups and of categories are numbers, booleans or text; a DataError says so of others.
    The header has the design, counts, and of each grouping factor its columns; the arrays are

        shift, sums              of the columns of U = [Z others y]
        cross, plain             U'U with weights and without, in tiles of 4 x 4 of the lower
                                 triangle (``plain`` of zeros without weights)
        factor<f>.records        levels x record: n_i and the upper trapezoid of Z_i'[Z_i others]
        factor<f>.label<k>…      the levels' labels in the factor's k-th column: values, or for
                                 texts their numbers, UTF-8 bytes and ends
        pairs<k>.start, .level, .values
                                 by levels of the major factor: the levels of the minor one that
                                 meet it, and the blocks Z_i'Z_j, by columns
    """
    n_columns, n_used, n_seen, log_weights, shift, sums, cross, plain, factors, pairs = (
        statistics.core.state()
    )
    arrays: Arrays = {"shift": shift, "sums": sums, "cross": cross, "plain": plain}
    header: dict[str, Any] = {
        "kind": "SufficientStatistics",
        "design": design_json.to_json(design),
        "n_columns": n_columns,
        "n_rows_used": n_used,
        "n_rows_seen": n_seen,
        "log_weights": log_weights,
        "dropped": {"n_rows": statistics.dropped.n_rows, **_counts(statistics.dropped)},
        "factors": [],
        "pairs": [],
    }
    for f, (factor, state) in enumerate(zip(statistics.factors, factors, strict=True)):
        columns, n_random, n_levels, records, _ = state
        arrays[f"factor{f}.records"] = np.asarray(records).reshape(n_levels, -1)
        parts = factor.names.parts(factor.slots)
        kinds = [_save_labels(f"factor{f}.label{k}", part, arrays) for k, part in enumerate(parts)]
        in_order = factor.names.in_order and len(parts) == 1
        header["factors"].append(
            {
                "group": list(factor.group),
                "columns": list(columns),
                "n_random": n_random,
                "labels": kinds,
                "in_order": in_order,
            }
        )
    for k, (major, minor, size, start, level, values) in enumerate(pairs):
        header["pairs"].append({"major": major, "minor": minor, "block_size": size})
        arrays |= {f"pairs{k}.start": start, f"pairs{k}.level": level, f"pairs{k}.values": values}
    return header, arrays


def restored(
    header: dict[str, Any], arrays: Arrays, path: str | os.PathLike[str]
) -> tuple[Design, RowStatistics]:
    """Return what :func:`saved` has taken apart.

    Raises
    ------
    StatisticsFileError
        If it is something else.
    """
    try:
        if header["kind"] != "SufficientStatistics":
            raise ValueError(f"a {header['kind']!r}")
        if header["missing"] not in ("drop", "error") or not isinstance(
            header["keeps_groups"], bool
        ):
            raise ValueError("options that are none")
        design = design_json.from_json(header["design"])
        require_design(design)
        _require_header(header, design)
        _require_numbers(header, arrays, design)
        factors, states = [], []
        for f, found in enumerate(header["factors"]):
            records = arrays[f"factor{f}.records"]
            parts = [
                _restored_labels(f"factor{f}.label{k}", kind, arrays)
                for k, kind in enumerate(found["labels"])
            ]
            require(all(len(part) == len(records) for part in parts), "a label for each level")
            factors.append(_factor(tuple(found["group"]), parts, found["in_order"]))
            columns, n_random = found["columns"], found["n_random"]
            state = (columns, n_random, len(records), records.reshape(-1), np.zeros((0, 0)))
            states.append(state)
        pairs = [
            (
                *(two[name] for name in ("major", "minor", "block_size")),
                *(arrays[f"pairs{k}.{name}"] for name in ("start", "level", "values")),
            )
            for k, two in enumerate(header["pairs"])
        ]
        counts = (header[n] for n in ("n_columns", "n_rows_used", "n_rows_seen", "log_weights"))
        vectors = (arrays[name] for name in ("shift", "sums", "cross", "plain"))
        core = _core.Statistics.restored((*counts, *vectors, states, pairs))
        for f in range(len(factors)):
            n_rows = core.level_rows(f)
            require(bool((n_rows > 0).all()), "levels without rows")
            require(int(n_rows.sum()) == core.n_rows_used, "rows of levels")
        dropped = Dropped(header["dropped"]["n_rows"], dict(header["dropped"]["by_column"]))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        raise StatisticsFileError(
            f"{os.fspath(path)!r} holds no statistics that this blocklmm knows: {error!r}"
        ) from error
    return design, RowStatistics.of(core, factors, dropped)


def _require_header(header: dict[str, Any], design: Design) -> None:
    """Raise a ValueError unless counts are some, and factors and pairs are the design's."""
    most = 1 << 62
    n_used, n_seen, keeps = (header[n] for n in ("n_rows_used", "n_rows_seen", "keeps_groups"))
    require(are_ints([n_used, n_seen], 1, most) and n_used <= n_seen, "numbers of rows")
    require(isinstance(header["log_weights"], float), "the sum of the weights' logarithms")
    require(are_ints([header["n_columns"]], design.n_columns, design.n_columns + 1), "columns")
    dropped = header["dropped"]
    require(are_ints([dropped["n_rows"], *dropped["by_column"].values()], 0, most), "rows dropped")
    if keeps:
        require_removable(design)
    widths = []
    for f, (group, found) in enumerate(zip(design.groups, header["factors"], strict=True)):
        columns, own = design.record_columns(f), len(design.members(f))
        widths.append(own)
        expected = [list(group), columns, len(columns) if keeps else own]
        require([found[n] for n in ("group", "columns", "n_random")] == expected, "a factor")
        require(len(found["labels"]) == len(group), "labels of each column of a factor")
        require(isinstance(found["in_order"], bool), "an order of levels")
    pairs = [tuple(two[n] for n in ("major", "minor", "block_size")) for two in header["pairs"]]
    for major, minor, size in pairs:
        require(are_ints([major, minor], 0, len(widths)) and major != minor, "pairs of factors")
        require(size == widths[major] * widths[minor], "pairs of factors")
    expected_pairs = {frozenset(two) for two in combinations(range(len(widths)), 2)}
    require(len(pairs) == len(expected_pairs), "pairs of factors")
    require({frozenset(pair[:2]) for pair in pairs} == expected_pairs, "pairs of factors")


def _require_numbers(header: dict[str, Any], arrays: Arrays, design: Design) -> None:
    """Raise a ValueError unless sums are numbers, about a shift that can be undone."""
    names = ["shift", "sums", "cross", "plain"]
    names += [f"factor{f}.records" for f in range(len(header["factors"]))]
    names += [f"pairs{k}.values" for k in range(len(header["pairs"]))]
    for name in names:
        array = arrays[name]
        require(array.dtype == np.float64 and bool(np.isfinite(array).all()), name)
    u = design.n_columns
    require(arrays["shift"].shape == arrays["sums"].shape == (u,), "a shift and a sum for each")
    require(all(arrays[name].ndim == 2 for name in names if name.startswith("factor")), "records")
    if design.ones is None:
        anchored = {c for c, a in zip(design.z_columns, design.z_anchor, strict=True) if a >= 0}
        anchored -= {design.z_columns[a] for a in design.z_anchor if a >= 0}
        shifted = np.flatnonzero(arrays["shift"]).tolist()
        require(set(shifted) <= anchored, "a shift of columns without a constant")


def _counts(dropped: Dropped) -> dict[str, Any]:
    return {"by_column": {name: int(count) for name, count in dropped.by_column.items()}}


def _save_labels(name: str, labels: pd.Index[Any], arrays: Arrays) -> str:
    values = labels.to_numpy()
    if values.dtype.kind in "biuf":
        arrays[name] = values
        return "values"
    texts = _core.TextLabels()
    numbers = arrays[f"{name}.numbers"] = texts.code_objects(list(labels))
    if (numbers < 0).any():
        raise DataError(
            f"a group is called {labels[int(np.argmin(numbers))]!r}: only numbers, booleans and "
            "text can be saved as labels"
        )
    data, ends = texts.state()
    arrays[f"{name}.bytes"] = np.frombuffer(data, dtype=np.uint8)
    arrays[f"{name}.ends"] = ends
    return "texts"


def _restored_labels(name: str, kind: str, arrays: Arrays) -> pd.Index[Any]:
    if kind == "values":
        return pd.Index(arrays[name])
    texts = _core.TextLabels.restored((arrays[f"{name}.bytes"].tobytes(), arrays[f"{name}.ends"]))
    return pd.Index(texts.texts(arrays[f"{name}.numbers"].astype(np.int64)))


def _factor(group: tuple[str, ...], parts: list[pd.Index[Any]], in_order: bool) -> GroupingFactor:
    levels = np.arange(len(parts[0]))
    if len(parts) == 1:
        return GroupingFactor(group, LevelNames(parts[0], in_order=in_order), levels)
    table = GrowingLabels(group)
    if not np.array_equal(table.add(parts), levels):
        raise ValueError("levels that are there twice")
    return GroupingFactor(group, table.names, levels)
