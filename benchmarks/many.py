"""Many responses of one design beside loops of single fits, ours and lme4's.

    python benchmarks/many.py                  # visits common times, 20,000 responses
    python benchmarks/many.py common own --responses 2000

5,000 rows of 500 subjects, ``~ t + (t | g)``; every subject is seen at the same ten times
(``common``), or at times of its own (``own``). Y is memory-mapped. CPU seconds of one thread, all
in this run: ``lmer_many`` over all responses; ``bl.lmer``, ``fit.refit`` and lme4's ``refit``
(needs R with lme4) over some, and scaled. Then every response is fitted alone by ``bl.lmer``, and
the largest differences are printed; the df of every fiftieth.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import blocklmm as bl
import numpy as np
import pandas as pd

N_GROUPS, N_VISITS = 500, 10
LME4 = """
suppressMessages(library(lme4))
data <- read.csv("%s"); Y <- as.matrix(read.csv("%s")); data$g <- factor(data$g)
data$y <- Y[, 2]; fit <- lmer(y ~ t + (t | g), data); before <- proc.time()
found <- suppressMessages(suppressWarnings(
  apply(Y, 2, function(y) { f <- refit(fit, y); c(fixef(f), sqrt(diag(vcov(f)))) })))
used <- proc.time() - before; cat(used[["user.self"]] + used[["sys.self"]], "\\n")
"""


def design(kind):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(N_GROUPS), N_VISITS)
    common = np.tile(np.arange(N_VISITS) / 3, N_GROUPS)
    t = common if kind == "common" else rng.uniform(0, 3, len(g))
    return pd.DataFrame({"t": t, "g": g})


def write_responses(path, frame, n):
    """Random intercepts and slopes, of a tenth of the responses very small ones."""
    rng = np.random.default_rng(1)
    shape = (len(frame), n)
    Y = np.lib.format.open_memmap(path, "w+", np.float64, shape, fortran_order=True)
    g, t = frame["g"].to_numpy(), frame["t"].to_numpy()[:, None]
    for start in range(0, n, 250):
        k = min(250, n - start)
        size = np.where(np.arange(start, start + k) % 10 == 0, 0.02, 0.6)
        b = size * rng.normal(size=(2, N_GROUPS, k))
        part = 5 + rng.normal(scale=0.05, size=k) * t + b[0][g] + 0.5 * b[1][g] * t
        Y[:, start : start + k] = part + rng.normal(size=part.shape)
    Y.flush()
    del Y
    return np.load(path, mmap_mode="r")


def resident(kind):
    """Megabytes of this process: RssAnon is without the mapped file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1e3


def cpu(call):
    start = time.process_time()
    out = call()
    return time.process_time() - start, out


def peak_over(call):
    """Megabytes that a call takes at most, besides mapped files."""
    before, most, stop = resident("RssAnon"), 0.0, threading.Event()

    def watch():
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, resident("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    call()
    stop.set()
    thread.join()
    return most - before


def lme4(frame, Y, folder):
    data, responses = Path(folder) / "data.csv", Path(folder) / "responses.csv"
    frame.to_csv(data, index=False)
    pd.DataFrame(Y).to_csv(responses, index=False)
    code = Path(folder) / "loop.R"
    code.write_text(LME4 % (data, responses))
    found = subprocess.run(["Rscript", code], capture_output=True, text=True, check=True)
    return float(found.stdout)


def differences(fits, frame, Y):
    """The largest differences from a single fit of each response, in parts of their errors."""
    most = dict.fromkeys(("params", "bse", "theta", "sigma", "objective", "df"), 0.0)
    params, bse, theta = fits.params.to_numpy(), fits.bse.to_numpy(), fits.theta.to_numpy()
    sigma, objective, df = fits.sigma.to_numpy(), fits.objective.to_numpy(), fits.df.to_numpy()
    for k in range(Y.shape[1]):
        one = bl.lmer("y ~ t + (t | g)", frame.assign(y=Y[:, k]))
        found = {
            "params": params[k] - one.params.to_numpy(),
            "bse": bse[k] - one.bse.to_numpy(),
            "theta": theta[k] - one.theta,
            "sigma": sigma[k] - one.sigma,
            "objective": objective[k] - one.objective,
        }
        if k % 50 == 0:
            found["df"] = df[k] / one.df.to_numpy() - 1
        for name, off in found.items():
            most[name] = max(most[name], float(np.abs(off).max()))
    return most


def run(kind, n, n_loop, check):
    frame = design(kind)
    with tempfile.TemporaryDirectory() as folder:
        Y = write_responses(Path(folder) / "Y.npy", frame, n)
        formula = "t + (t | g)"
        bl.lmer_many(f"~ {formula}", frame, np.array(Y[:, :8]))
        many, fits = cpu(lambda: bl.lmer_many(f"~ {formula}", frame, Y))
        print(f"-- {kind} times: {fits!r}")
        print(f"lmer_many: {many:.2f} s, {1e6 * many / n:.0f} us a response", flush=True)
        frames = [frame.assign(y=Y[:, k]) for k in range(n_loop)]
        alone = cpu(lambda: [bl.lmer(f"y ~ {formula}", one) for one in frames])[0] / n_loop
        fit = bl.lmer(f"y ~ {formula}", frames[0])
        fit.refit(Y[:, 1])
        refit = cpu(lambda: [fit.refit(Y[:, k]) for k in range(n_loop)])[0] / n_loop
        for name, seconds in (("bl.lmer", alone), ("fit.refit", refit)):
            print(f"{name}: {1e3 * seconds:.2f} ms a response = {seconds * n / many:.0f} times")
        try:
            seconds = lme4(frame, Y[:, :100], folder) / 100
            print(
                f"lme4's refit: {1e3 * seconds:.1f} ms a response = {seconds * n / many:.0f} times"
            )
        except (OSError, subprocess.CalledProcessError):
            print("no lme4")
        again, df = cpu(lambda: fits.df)
        print(f"Satterthwaite's df of all: {again:.2f} s; {int(df.isna().sum().sum())} unknown")
        peak = peak_over(lambda: bl.lmer_many(f"~ {formula}", frame, Y))
        print(f"peak memory over the data: {peak:.0f} MB, of responses {Y.nbytes / 1e6:.0f} MB")
        if check:
            most = differences(fits, frame, Y)
            texts = ", ".join(f"{name} {value:.1e}" for name, value in most.items())
            print(f"largest difference from bl.lmer of each: {texts}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["common"])
    parser.add_argument("--responses", type=int, default=20_000)
    parser.add_argument("--loop", type=int, default=200)
    parser.add_argument("--no-check", action="store_true")
    given = parser.parse_args()
    for kind in given.kinds:
        run(kind, given.responses, given.loop, not given.no_check)
