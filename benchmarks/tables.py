"""The report's plain-text tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import cases
from systems import Failure, Outcome

# For each case, for each system, its repeated runs.
Runs = dict[str, dict[str, list[Outcome]]]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align the first column left and the others right."""
    widths = [max(len(row[j]) for row in [header, *rows]) for j in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def case_table(case: cases.Case, runs: dict[str, list[Outcome]]) -> str:
    """Compare the systems on one case; below it, who failed and who used several threads."""
    figures = {system: figure for system, r in runs.items() if (figure := medians(r)) is not None}
    ours = figures.get("blocklmm")
    rows = [
        [
            system,
            figure["version"],
            f"{figure['cpu_s']:.4g}",
            f"{figure['wall_s']:.4g}",
            _fixed(figure["peak_mb"], 1),
            _fixed(figure["objective"], 4),
            f"{figure['cpu_s'] / ours['cpu_s']:.2f}" if ours else "-",
            str(len(runs[system])),
        ]
        for system, figure in figures.items()
    ]
    header = ["system", "version", "cpu s", "wall s", "peak MB", "objective", "cpu ratio", "runs"]
    notes = [
        f"{system}: {outcome.reason}"
        for system, outcomes in runs.items()
        for outcome in outcomes
        if isinstance(outcome, Failure)
    ] + [
        f"{system}: cpu above wall time, so it used several threads"
        for system, figure in figures.items()
        if figure["cpu_s"] > 1.1 * figure["wall_s"] + 0.01
    ]
    title = f"{case.name}: {case.formula}, {case.n_rows} rows"
    if case.n_calls > 1:
        title += f"; a run is the {case.statistic} of up to {case.n_calls} calls"
    return "\n".join([title, "", table(header, rows), *notes])


def growth_table(runs: Runs) -> str:
    """Show how blocklmm's time grows with the rows, and what string labels add."""
    figures = {
        name: figure
        for name, by_system in runs.items()
        if (figure := medians(by_system.get("blocklmm", []))) is not None
    }
    rows = []
    for name, figure in figures.items():
        with_integers = next(
            (f for n, f in figures.items() if n[0] == "A" and f["n_rows"] == figure["n_rows"]),
            None,
        )
        ratio = (
            f"{figure['cpu_s'] / with_integers['cpu_s']:.2f}"
            if name.startswith("strings") and with_integers
            else "-"
        )
        rows.append(
            [
                name,
                str(int(figure["n_rows"])),
                f"{1e9 * figure['cpu_s'] / figure['n_rows']:.1f}",
                str(int(figure["n_evaluations"])),
                f"{figure['evaluation_s']:.3g}",
                ratio,
            ]
        )
    header = ["case", "rows", "ns / row", "evaluations", "s / evaluation", "strings / integers"]
    return "\n".join(["blocklmm: growth", "", table(header, rows)])


def medians(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Return the median of each number over the runs that succeeded, None without any."""
    results = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    if not results:
        return None
    return {
        key: median(result[key] for result in results)
        if all(isinstance(result[key], int | float) for result in results)
        else results[0][key]
        for key in results[0]
    }


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
