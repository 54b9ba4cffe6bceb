"""What every Python runner does: build the data, warm up, time the calls, print one JSON line."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import cases
import memory
import pandas as pd

# A slow fit needs no repetition: its noise is small against it.
BUDGET_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Fitter:
    """How one system fits a case.

    `prepare` is not timed; `fit` is, and must leave the fixed effects' standard errors computed.
    """

    distribution: str
    fit: Callable[[cases.Case, Any], Any]
    objective: Callable[[Any], float] | None = None
    prepare: Callable[[cases.Case, pd.DataFrame], Any] = lambda _, frame: frame
    extra: Callable[[cases.Case, Any, Any], dict[str, float]] | None = None


def main(fitter: Fitter) -> None:
    """Measure the case that the command line names."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {sys.argv[0]} CASE")
    warnings.simplefilter("ignore")
    case = cases.find(sys.argv[1])
    fitter.fit(case, fitter.prepare(case, case.warm_up_rows()))
    data = fitter.prepare(case, case.rows())

    cpu: list[float] = []
    wall: list[float] = []
    before = memory.start()
    peak_mb = 0.0
    fit: Any = None
    while not cpu or (len(cpu) < case.n_calls and sum(wall) < BUDGET_SECONDS):
        fit = None
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        fit = fitter.fit(case, data)
        cpu.append(time.process_time() - cpu_start)
        wall.append(time.perf_counter() - wall_start)
        if len(cpu) == 1:
            peak_mb = memory.peak() - before

    result: dict[str, Any] = {
        "version": version(fitter.distribution),
        "case": case.name,
        "n_rows": case.n_rows,
        "n_calls": len(cpu),
        "cpu_s": _figure(cpu, case.statistic),
        "wall_s": _figure(wall, case.statistic),
        "peak_mb": peak_mb,
        "objective": None if fitter.objective is None else fitter.objective(fit),
    }
    if fitter.extra is not None:
        result |= fitter.extra(case, data, fit)
    print(json.dumps(result))


def _figure(seconds: list[float], statistic: str) -> float:
    return sorted(seconds)[len(seconds) // 2] if statistic == "median" else min(seconds)
