"""What any installed copy must do, in seconds: ``python smoke.py``, with blocklmm and nothing else.

Wheels are tested with it, where there is neither pytest nor what the extras ask for. Numbers are
lme4's (tests/reference/cases: sleep_rs_reml, penicillin_reml).
"""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import blocklmm as bl

SLEEP = "Reaction ~ Days + (Days | Subject)"
PENICILLIN = "diameter ~ 1 + (1 | plate) + (1 | sample)"


def close(found: float, expected: float, rtol: float = 1e-6) -> None:
    """Raise an error unless two numbers agree."""
    if not math.isclose(found, expected, rel_tol=rtol):
        raise AssertionError(f"{found!r} is not {expected!r}")


def require(holds: bool, what: object) -> None:
    """Raise an error unless something holds, with python -O too."""
    if not holds:
        raise AssertionError(what)


def is_of_sleep(fit: bl.LinearMixedFit) -> None:
    """Hold a fit against lme4's."""
    require(fit.converged, fit.certificate)
    close(fit.objective, 1743.6282719584908, rtol=1e-11)
    close(fit.sigma, 25.591815620967836)
    for found, expected in (
        (fit.params, (251.40510484848406, 10.467285959595955)),
        (fit.bse, (6.824556541657934, 1.5457888993840823)),
        (fit.df, (16.999999937025287, 16.999999885946444)),
        (fit.theta, (0.9667329540230808, 0.015169050873382958, 0.23090959561602037)),
    ):
        for one, other in zip(found, expected, strict=True):
            close(one, other)


def one_factor() -> None:
    """Correlated slopes: estimates, tests, modes, predictions, text, copies."""
    data = bl.datasets.load("sleepstudy")
    fit = bl.lmer(SLEEP, data)
    is_of_sleep(fit)
    close(fit.pvalues["Days"], 3.26378826905357e-06)
    close(fit.ranef()["Subject"].loc["308", "Days"], 9.198971908820292)
    close(fit.predict(data)[9], 430.6599910400593)
    text = fit.summary()
    for line in (
        "REML criterion at convergence: 1743.6283",
        "Number of obs: 180, groups: Subject, 18",
        "Days         10.47      1.546 17.00   6.771 3.26e-06",
    ):
        require(line in text, text)
    is_of_sleep(pickle.loads(pickle.dumps(fit)))
    close(fit.refit(2 * data["Reaction"]).sigma, 2 * fit.sigma)


def crossed_factors() -> None:
    """Two factors, neither within the other: the sparse factor."""
    fit = bl.lmer(PENICILLIN, bl.datasets.load("Penicillin"))
    require(fit.converged, fit.certificate)
    close(fit.objective, 330.86058899108605, rtol=1e-11)
    close(fit.params["Intercept"], 22.97222222222405)
    close(fit.bse["Intercept"], 0.8085733906404932)
    for found, expected in zip(fit.theta, (1.539677573123049, 3.512415221984951), strict=True):
        close(found, expected)
    close(fit.ranef()["plate"].loc["a", "(Intercept)"], 0.804547044430622)


def many_responses() -> None:
    """A response and its double, of one design."""
    data = bl.datasets.load("sleepstudy")
    y = data["Reaction"]
    fits = bl.lmer_many("~ Days + (Days | Subject)", data, {"once": y, "twice": 2 * y})
    for name, factor in (("once", 1), ("twice", 2)):
        close(fits.sigma[name], factor * 25.591815620967836)


def saved_statistics(folder: Path) -> None:
    """Statistics come back from a file, which takes another's place."""
    file = folder / "sleep.blmm"
    for _ in range(2):
        bl.SufficientStatistics.from_data(SLEEP, bl.datasets.load("sleepstudy")).save(file)
    is_of_sleep(bl.SufficientStatistics.load(file).fit())
    require([path.name for path in folder.iterdir()] == [file.name], list(folder.iterdir()))


def command_line(folder: Path) -> None:
    """The program as a process, on a CSV file."""

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "blocklmm", *arguments]
        return subprocess.run(
            command, cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8", timeout=120
        ).stdout

    require("REML criterion at convergence: 1743.6283" in run("demo"), "the demo")
    bl.datasets.load("sleepstudy").to_csv(folder / "sleep.csv", index=False)
    require("1743.6283" in run("fit", "sleep.csv", SLEEP, "--out", "fit.json"), "a fit")
    require((folder / "fit.json").read_text(encoding="utf-8").startswith("{"), "JSON")


def main() -> None:
    """Run all."""
    one_factor()
    crossed_factors()
    many_responses()
    for with_files in (saved_statistics, command_line):
        with tempfile.TemporaryDirectory() as folder:
            with_files(Path(folder))
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"blocklmm {bl.__version__} works on Python {python}: {Path(bl.__file__).parent}")


if __name__ == "__main__":
    main()
