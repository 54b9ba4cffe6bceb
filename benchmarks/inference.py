"""What inference costs beside R: Kenward-Roger, the bootstrap, and what the bootstrap draws.

    python benchmarks/inference.py kenward-roger bootstrap distribution

``kenward-roger``: CPU seconds and memory beside pbkrtest's (needs R with pbkrtest), and beside the
fit at a million rows. ``bootstrap``: replicates a second beside lme4's bootMer, and at a million
rows the split between drawing and fitting. ``distribution``: replicates on statistics against
refits to simulated rows, two-sample tests.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import blocklmm as bl
import data as datasets
import numpy as np
import pandas as pd
from scipy import stats

KENWARD_ROGER = """
suppressMessages({library(lme4); library(pbkrtest)})
data <- read.csv("%s")
for (k in intersect(c("g", "h"), names(data))) data[[k]] <- factor(data[[k]])
fit <- lmer(%s, data); before <- proc.time()
adjusted <- vcovAdj(fit); df <- sapply(seq_along(fixef(fit)), function(k) {
  L <- rep(0, length(fixef(fit))); L[k] <- 1; Lb_ddf(L, vcov(fit), adjusted) })
used <- proc.time() - before; cat(used[["user.self"]] + used[["sys.self"]], df, "\\n")
"""
BOOTMER = """
suppressMessages(library(lme4))
fit <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy)
take <- function(f) c(fixef(f), as.data.frame(VarCorr(f))$sdcor); before <- proc.time()
b <- suppressMessages(suppressWarnings(bootMer(fit, take, nsim = %d, seed = 1)))
used <- proc.time() - before; cat(used[["user.self"]] + used[["sys.self"]], "\\n")
"""


def run_r(code):
    with tempfile.NamedTemporaryFile("w", suffix=".R") as script:
        script.write(code)
        script.flush()
        found = subprocess.run(["Rscript", script.name], capture_output=True, text=True, check=True)
    return [float(word) for word in found.stdout.split()]


def cpu(call):
    start = time.process_time()
    out = call()
    return time.process_time() - start, out


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def twenty_groups():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(20), 400)
    x = rng.normal(size=8000)
    y = x + rng.normal(size=20)[g] + x * rng.normal(size=20)[g] + rng.normal(size=8000)
    return pd.DataFrame({"y": y, "x": x, "g": g}), "y ~ x + (x | g)"


def crossed():
    rng = np.random.default_rng(1)
    g, h, x = rng.integers(0, 100, 3000), rng.integers(0, 50, 3000), rng.normal(size=3000)
    y = x + rng.normal(size=100)[g] + rng.normal(size=50)[h] + rng.normal(size=3000)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h}), "y ~ x + (1 | g) + (1 | h)"


def kenward_roger():
    def adjusted(fit):
        return fit.tidy(ddf="kenward-roger")

    adjusted(bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy")))
    for name, make in (("20 groups x 400 rows", twenty_groups), ("crossed, 3,000", crossed)):
        data, formula = make()
        fit, before = bl.lmer(formula, data), peak_mb()
        seconds, table = cpu(lambda fit=fit: adjusted(fit))
        line = f"{name}: {1e3 * seconds:.1f} ms, {peak_mb() - before:.1f} MB more"
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
                data.to_csv(file.name, index=False)
                theirs, *df = run_r(KENWARD_ROGER % (file.name, formula))
            off = float(np.abs(table["df"] / np.array(df) - 1).max())
            line += f"; pbkrtest {theirs:.1f} s = {theirs / seconds:.0f} times, df off by {off:.0e}"
        except (OSError, subprocess.CalledProcessError):
            line += "; no pbkrtest"
        print(line, flush=True)
    data = datasets.slopes(1_000_000)
    formula = "y ~ t + x + (t | g)"
    fits = [cpu(lambda: bl.lmer(formula, data)) for _ in range(3)]
    seconds, fit = min(fits, key=lambda pair: pair[0])
    ours, _ = cpu(lambda: adjusted(fit))
    print(f"A 1e6: {ours:.3f} s after a fit of {seconds:.3f} s: {ours / seconds:.2f} of it")


def bootstrap():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    fit.bootstrap(10, seed=1)
    seconds = min(cpu(lambda: fit.bootstrap(1000, seed=1))[0] for _ in range(3))
    line = f"sleepstudy, 1,000 replicates: {seconds:.3f} s of CPU time"
    try:
        theirs = run_r(BOOTMER % 1000)[0]
        line += f"; bootMer {theirs:.1f} s = {theirs / seconds:.0f} times"
    except (OSError, subprocess.CalledProcessError):
        line += "; no lme4"
    print(line, flush=True)
    fit = bl.lmer("y ~ t + x + (t | g)", datasets.slopes(1_000_000))
    start = time.perf_counter()
    found = fit.bootstrap(1000, seed=1, n_threads=2)
    spent = time.perf_counter() - start
    drawing, fitting = found.seconds
    print(
        f"A 1e6, 1,000 replicates on two threads: {spent:.1f} s elapsed; threads' seconds "
        f"{drawing:.1f} drawing, {fitting:.1f} fitting; {found.n_failed} not certified"
    )


def distribution(n=2000):
    rng = np.random.default_rng(3)
    g, h = rng.integers(0, 12, 120), rng.integers(0, 6, 120)
    x, w = rng.normal(size=120), rng.uniform(0.3, 3, 120)
    y = x + rng.normal(size=12)[g] * (1 + x) + rng.normal(size=6)[h]
    y += rng.normal(size=120) / np.sqrt(w)
    own = pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "w": w})
    load = bl.datasets.load
    models = [
        ("Reaction ~ Days + (Days | Subject)", load("sleepstudy"), True, None),
        ("Reaction ~ Days + (Days | Subject)", load("sleepstudy"), False, None),
        ("Yield ~ 1 + (1 | Batch)", load("Dyestuff"), True, None),
        ("strength ~ 1 + (1 | batch/cask)", load("Pastes"), False, None),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", load("Penicillin"), True, None),
        ("y ~ x + (x | g)", own, True, "w"),
        ("y ~ x + (1 | g) + (1 | h)", own, False, "w"),
    ]
    for formula, frame, reml, weights in models:
        fit = bl.lmer(formula, frame, reml=reml, weights=weights)
        on_statistics = fit.bootstrap(n, seed=1).to_frame()
        rows = []
        for drawn in fit.simulate(n, seed=2).T:
            other = fit.refit(drawn)
            rows.append([*other.params, *other.varcorr.to_frame()["sdcor"], other.icc().adjusted])
        by_rows = np.array(rows)
        p = [
            stats.ks_2samp(on_statistics.iloc[:, k].dropna(), values[np.isfinite(values)]).pvalue
            for k, values in enumerate(by_rows.T)
        ]
        kind = ("REML" if reml else "ML") + (", weights" if weights else "")
        print(f"{formula} ({kind}): {len(p)} parameters, smallest p {min(p):.3f}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", bl.BlocklmmWarning)
    parts = {"kenward-roger": kenward_roger, "bootstrap": bootstrap, "distribution": distribution}
    for name in sys.argv[1:] or parts:
        print(f"-- {Path(__file__).name} {name}")
        parts[name]()
