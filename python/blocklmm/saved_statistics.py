"""Statistics as a header of JSON values and arrays, and back: what a file of statistics holds."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import _core, design_json
from .design import Design
from .errors import DataError, StatisticsFileError
from .growing_labels import GrowingLabels
from .labels import LevelNames
from .reading import Dropped
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
        factors, states = [], []
        for f, found in enumerate(header["factors"]):
            records = arrays[f"factor{f}.records"]
            parts = [
                _restored_labels(f"factor{f}.label{k}", kind, arrays)
                for k, kind in enumerate(found["labels"])
            ]
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
        dropped = Dropped(header["dropped"]["n_rows"], dict(header["dropped"]["by_column"]))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise StatisticsFileError(
            f"{os.fspath(path)!r} holds no statistics that this blocklmm knows: {error!r}"
        ) from error
    return design, RowStatistics.of(core, factors, dropped)


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
