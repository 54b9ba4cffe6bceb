"""Compare blocklmm with its rivals: `python benchmarks/report.py --help`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import cases
import tables
from systems import MODULES, Failure, Launcher, Outcome


def main() -> None:
    """Run the systems one after another on every case and print the tables."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory:
        launcher = Launcher(
            options.rivals_python, options.time_limit, options.memory_limit, Path(directory)
        )
        print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        present = _present(launcher, options.systems or list(MODULES))
        runs: tables.Runs = {}
        for case in options.cases:
            systems = [s for s in present if options.systems or not _is_left_out(s, case)]
            runs[case.name] = _measure(launcher, case, systems, options.repeat)
            print(f"\n{tables.case_table(case, runs[case.name])}", flush=True)
    if any(tables.medians(by_system.get("blocklmm", [])) for by_system in runs.values()):
        print(f"\n{tables.growth_table(runs)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases",
        type=lambda text: [cases.find(name) for name in text.split(",")],
        default=",".join(cases.DEFAULT),
        help="comma-separated; A, B, E, W and strings take a number of rows: A1e4 (%(default)s)",
    )
    parser.add_argument(
        "--systems",
        type=lambda text: text.split(","),
        help=f"comma-separated (all of {','.join(MODULES)}; lme4 at 1e7 rows only if named)",
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each system (%(default)s)")
    parser.add_argument(
        "--time-limit", type=float, default=300, help="seconds for one run (%(default)s)"
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=round(0.8e-9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 1),
        help="gigabytes of address space for one run, on Linux (%(default)s)",
    )
    parser.add_argument(
        "--rivals-python",
        default=os.environ.get("BLOCKLMM_RIVALS_PYTHON", sys.executable),
        help="interpreter that has the rivals (BLOCKLMM_RIVALS_PYTHON, else this one)",
    )
    options = parser.parse_args()
    unknown = set(options.systems or ()) - set(MODULES)
    if unknown:
        parser.error(f"unknown systems {', '.join(sorted(unknown))}; known: {', '.join(MODULES)}")
    return options


def _present(launcher: Launcher, systems: list[str]) -> list[str]:
    present = []
    for system in systems:
        missing = launcher.missing(system)
        if missing is None:
            present.append(system)
        else:
            print(f"left out: {system} ({missing})")
    return present


def _is_left_out(system: str, case: cases.Case) -> bool:
    if case.name.startswith("W"):  # our own growth; the rivals' times are those of A
        return system != "blocklmm"
    if not case.has_one_factor:
        return system in ("mixedlm_rs", "lme_python", "statsmodels_ols", "lstsq")
    return system == "lme4" and case.n_rows >= 10_000_000


def _measure(
    launcher: Launcher, case: cases.Case, systems: list[str], repeat: int
) -> dict[str, list[Outcome]]:
    """Interleave the repeated runs (A B A B), so that a busy minute does not hit one system."""
    runs: dict[str, list[Outcome]] = {system: [] for system in systems}
    for _ in range(repeat):
        for system in systems:
            if not any(isinstance(outcome, Failure) for outcome in runs[system]):
                runs[system].append(launcher.run(system, case))
    return runs


if __name__ == "__main__":
    main()
