"""Type I error of tests and coverage of intervals by simulation, beside lmerTest's.

    python benchmarks/coverage.py [--sets 2000] [--bootstrap 500] [--no-r]

Each design is drawn so many times from known parameters, the first coefficient's null hypothesis
true. The Monte Carlo standard error of a 5 % rate over 2,000 sets is 0.5 %.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import warnings
from pathlib import Path

import blocklmm as bl
import numpy as np
import pandas as pd
from scipy import stats

HERE = Path(__file__).parent


def unbalanced(rng):
    """12 groups of 2 to 8 rows, a covariate between groups (no effect) and one within."""
    sizes = np.array([2, 8, 3, 7, 4, 6, 5, 5, 2, 8, 3, 7])
    g = np.repeat(np.arange(12), sizes)
    data = pd.DataFrame({"g": g, "z": (g % 2).astype(float), "x": rng.normal(size=len(g))})
    return data, "y ~ z + x + (1 | g)", np.array([[0.8]]), {"z": 0.0, "x": 0.5}


def slopes(rng):
    """15 groups of 6 rows, a random slope of t, whose mean is zero."""
    g = np.repeat(np.arange(15), 6)
    data = pd.DataFrame({"g": g, "z": np.tile(np.arange(6.0), 15), "x": rng.normal(size=90)})
    factor = np.array([[0.9, 0.0], [0.1, 0.3]])
    return data, "y ~ z + x + (z | g)", factor, {"z": 0.0, "x": 0.5}


def near_zero(rng):
    """10 groups of 5 rows whose standard deviation is a tenth of the residual's."""
    g = np.repeat(np.arange(10), 5)
    data = pd.DataFrame({"g": g, "z": (g % 2).astype(float), "x": rng.normal(size=50)})
    return data, "y ~ z + x + (1 | g)", np.array([[0.1]]), {"z": 0.0, "x": 0.5}


DESIGNS = {"unbalanced intercept": unbalanced, "random slope": slopes, "near-zero": near_zero}


def responses(data, factor, beta, n_sets, rng):
    """Draw responses with sigma = 1, shape (rows, sets)."""
    n, m = len(data), int(data["g"].max()) + 1
    Z = np.ones((n, 1)) if len(factor) == 1 else np.column_stack([np.ones(n), data["z"]])
    fixed = sum(beta[name] * data[name].to_numpy() for name in beta)
    b = rng.normal(size=(n_sets, m, len(factor))) @ factor.T
    random = np.einsum("nq,snq->ns", Z, b[:, data["g"].to_numpy()])
    return fixed[:, None] + random + rng.normal(size=(n, n_sets))


def ours(data, formula, Y, truth, beta, n_bootstrap):
    """Return rates over the sets, by method."""
    first = bl.lmer(formula, data.assign(y=Y[:, 0]))
    counts: dict[tuple[str, str], list[bool]] = {}

    def note(what, method, value):
        counts.setdefault((what, method), []).append(bool(value))

    for k, y in enumerate(Y.T):
        fit = first.refit(y)
        for ddf in ("asymptotic", "satterthwaite", "kenward-roger"):
            table = fit.tidy(ddf=ddf).set_index("term")
            note("rejects z = 0", ddf, table.loc["z", "p.value"] < 0.05)
            for name in beta:
                row = table.loc[name]
                note(f"covers {name}", ddf, row["conf.low"] <= beta[name] <= row["conf.high"])
        profile = fit.conf_int(method="profile")
        boot = fit.bootstrap(n_bootstrap, seed=k).conf_int() if n_bootstrap else None
        for name, value in {**beta, **truth}.items():
            low, high = profile.loc[name]
            note(f"covers {name}", "profile", low <= value <= high)
            if boot is not None:
                low, high = boot.loc[name]
                note(f"covers {name}", "bootstrap", low <= value <= high)
    return {key: float(np.mean(values)) for key, values in counts.items()}


def lmertests(data, formula, Y, beta):
    """The same rates from R."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("design.csv", "y.csv", "out.csv")]
        data.to_csv(paths[0], index=False)
        pd.DataFrame(Y).to_csv(paths[1], index=False, header=False)
        script = str(HERE / "coverage.R")
        subprocess.run(["Rscript", script, paths[0], paths[1], formula, paths[2]], check=True)
        table = pd.read_csv(paths[2])
    out = {}
    for ddf, own in table.groupby("ddf"):
        own = own.set_index("term")
        name = f"lmerTest {ddf}"
        out["rejects z = 0", name] = float((own.loc["z", "p"] < 0.05).mean())
        for term, value in beta.items():
            rows = own.loc[term]
            half = stats.t.ppf(0.975, rows["df"]) * rows["std_error"]
            covered = np.abs(rows["estimate"] - value) <= half
            out[f"covers {term}", name] = float(covered.mean())
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--bootstrap", type=int, default=500)
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS))
    parser.add_argument("--no-r", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", bl.BlocklmmWarning)
    for name in options.designs:
        rng = np.random.default_rng(20)
        data, formula, factor, beta = DESIGNS[name](rng)
        Y = responses(data, factor, beta, options.sets, rng)
        sd = np.sqrt(np.diag(factor @ factor.T))
        truth = {"sd_(Intercept)|g": sd[0], "sigma": 1.0}
        if len(sd) > 1:
            truth["sd_z|g"] = sd[1]
        found = ours(data, formula, Y, truth, beta, options.bootstrap)
        if not options.no_r:
            found |= lmertests(data, formula, Y, beta)
        table = pd.Series(found).unstack(1).mul(100).round(1)
        print(
            f"\n{name}: {formula}, {options.sets} sets, per cent\n{table.to_string()}", flush=True
        )


if __name__ == "__main__":
    main()
