"""Dask: how the driver's memory and time grow with the number of groups.

    python benchmarks/dask_growth.py                      # 1e5, 1e6 and 1e7 groups
    python benchmarks/dask_growth.py --groups 1e6 --where workers

y ~ t + x + (t | g) with six rows a group, three in each of two partitions, that the workers of a
LocalCluster make when they are asked for them. Each line is a process of its own: the statistics
of the groups are brought to it (driver) or stay where they are (workers). Memory is the most that
it, and each worker, took over what they had before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import memory
import numpy as np
import pandas as pd
from scipy.special import ndtri

ROWS_A_GROUP = 6
ROWS_A_PARTITION = 500_000
FORMULA = "y ~ t + x + (t | g)"


def partition(k: int, n_partitions: int, n_groups: int) -> pd.DataFrame:
    """Half of the rows of the groups of two stretches, in no order."""
    rng = np.random.default_rng([n_groups, k])
    width = n_groups // n_partitions
    own = (k * width + np.arange(2 * width)) % n_groups
    g = rng.permutation(np.repeat(own, ROWS_A_GROUP // 2))
    t, x, noise = rng.standard_normal((3, len(g)))
    b = [ndtri((g * step + 0.5) % 1) for step in (0.6180339887498949, 0.7548776662466927)]
    return pd.DataFrame({"g": g, "t": t, "x": x, "y": 1 + t - x + b[0] + 0.5 * b[1] * t + noise})


def run(n_groups: int, where: str, n_workers: int) -> dict[str, object]:
    import blocklmm as bl
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    n_partitions = max(2 * n_workers, n_groups * ROWS_A_GROUP // ROWS_A_PARTITION)
    cluster = LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with cluster, Client(cluster) as client:
        ddf = dd.from_map(
            partition,
            range(n_partitions),
            n_partitions=n_partitions,
            n_groups=n_groups,
            meta=partition(0, n_partitions, n_groups).head(0),
        )
        bl.lmer("y ~ t + (1 | g)", ddf.partitions[:1])  # imports are not what is measured
        used = client.run(memory.start)
        before, begun = memory.start(), time.perf_counter()
        statistics = bl.SufficientStatistics.from_dask(FORMULA, ddf, groups=where)
        read = time.perf_counter()
        fit = statistics.fit()
        fitted = time.perf_counter()
        peaks = client.run(memory.peak)
        return {
            "groups": statistics.ngroups["g"],
            "rows": statistics.nobs,
            "partitions": n_partitions,
            "where": where,
            "read": read - begun,
            "fit": fitted - read,
            "evaluations": fit.certificate.n_evaluations,
            "driver": memory.peak() - before,
            "worker": max(peaks[worker] - used[worker] for worker in used),
            "objective": fit.objective,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--where", nargs="+", default=["driver", "workers"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(int(given.groups[0]), given.where[0], given.workers)))
        return
    head = ["groups", "rows", "statistics on", "read, s", "fit, s", "evaluations"]
    head += ["driver, MB", "a worker, MB"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    objectives: dict[int, list[float]] = {}
    for n_groups in given.groups:
        for where in given.where:
            line = ["--one", f"--groups={n_groups}", f"--where={where}"]
            line += [f"--workers={given.workers}"]
            out = subprocess.run(
                [sys.executable, __file__, *line], check=True, capture_output=True, text=True
            )
            found = json.loads(out.stdout.splitlines()[-1])
            objectives.setdefault(found["groups"], []).append(found["objective"])
            print(
                f"| {found['groups']:.0e} | {found['rows']:.0e} | {where} | {found['read']:.1f} | "
                f"{found['fit']:.2f} | {found['evaluations']} | {found['driver']:.0f} | "
                f"{found['worker']:.0f} |",
                flush=True,
            )
    for n_groups, values in objectives.items():
        spread = max(values) / min(values) - 1
        print(f"{n_groups} groups: objectives differ by {spread:.1e} of their size")


if __name__ == "__main__":
    main()
