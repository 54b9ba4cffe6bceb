"""The systems compared, which of them this machine has, and how one of them is run on a case."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import pandas as pd

HERE = Path(__file__).parent
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
# Systems by name, with the modules that their runners import.
MODULES = {
    "blocklmm": ("blocklmm",),
    "lme4": (),
    "glmm": ("glmm", "pandas"),
    "mixedlm_rs": ("mixedlm_rs", "pandas"),
    "mixedlm": ("mixedlm", "pandas"),
    "lme_python": ("lme_python", "polars", "pandas"),
    "statsmodels_ols": ("statsmodels", "pandas"),
    "lstsq": ("numpy", "pandas"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run gave no figures."""

    reason: str


Outcome = dict[str, Any] | Failure


@dataclass(frozen=True, slots=True)
class Launcher:
    """How runs are started: by which interpreters, within which limits, with data files where."""

    rivals_python: str
    seconds: float
    gigabytes: float
    directory: Path

    def missing(self, system: str) -> str | None:
        """Return what the system lacks here, or None."""
        if system == "lme4":
            return _missing_lme4()
        found = _output(
            [self._python(system), "-c", _FIND_MODULES, *MODULES[system]], self._environment()
        )
        if found is None:
            return f"{self._python(system)} does not run"
        absent = [module for module in MODULES[system] if module not in found.split()]
        return f"{', '.join(absent)} not installed in {self._python(system)}" if absent else None

    def run(self, system: str, case: cases.Case) -> Outcome:
        """Run the system on the case in a process of its own."""
        try:
            process = subprocess.run(
                self._command(system, case),
                env=self._environment(),
                timeout=self.seconds,
                preexec_fn=self._limit_memory,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Failure(f"stopped after {self.seconds:g} s")
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or [""]
            return Failure(f"exit status {process.returncode}: {lines[-1][:160]}")
        result: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
        return result

    def _python(self, system: str) -> str:
        return sys.executable if system == "blocklmm" else self.rivals_python

    def _command(self, system: str, case: cases.Case) -> list[str]:
        if system != "lme4":
            return [self._python(system), str(HERE / f"run_{system}.py"), case.name]
        data = self.directory / f"{case.name}.csv"
        warm_up = self.directory / f"{case.name}.warm_up.csv"
        if not data.exists():
            case.rows().to_csv(data, index=False)
            case.warm_up_rows().to_csv(warm_up, index=False)
        return [
            "Rscript",
            str(HERE / "run_lme4.R"),
            str(data),
            str(warm_up),
            ",".join(_r_class(case.warm_up_rows()[name]) for name in case.warm_up_rows()),
            case.formula,
            str(case.n_calls),
            case.statistic,
        ]

    def _environment(self) -> dict[str, str]:
        return os.environ | dict.fromkeys(THREAD_VARIABLES, "1")

    def _limit_memory(self) -> None:
        # A rival that asks for more than there is shall fail itself, not its neighbours.
        if sys.platform == "linux":
            size = int(self.gigabytes * 1e9)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))


_FIND_MODULES = (
    "import sys, importlib.util as u; print(*[m for m in sys.argv[1:] if u.find_spec(m)])"
)


def _missing_lme4() -> str | None:
    if shutil.which("Rscript") is None:
        return "no Rscript on the path"
    version = _output(["Rscript", "-e", 'cat(as.character(packageVersion("lme4")))'], None)
    return "R has no package lme4" if version is None else None


def _output(command: list[str], environment: dict[str, str] | None) -> str | None:
    try:
        process = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return process.stdout if process.returncode == 0 else None


def _r_class(column: pd.Series) -> str:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "factor"
    return {"f": "numeric", "i": "integer"}.get(column.dtype.kind, "character")
