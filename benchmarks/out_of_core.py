"""Parquet files larger than memory should be: rows per second and peak memory, beside pyarrow's.

    python benchmarks/out_of_core.py                    # 1e7 rows in 1e6 groups
    python benchmarks/out_of_core.py --groups 1e7       # 1e8 rows; writes 2.6 to 3 GB twice

Each file is written by a process of its own, with 10 rows a group, sorted by group or shuffled;
y ~ t + x + (t | g) is fitted in one call by another, and a third lets pyarrow read and sum the same
columns. The processes take turns, on one thread and on two; the best of some rounds counts, since
other work on the machine can only slow them down. Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS_A_GROUP = 10
COLUMNS = ["g", "t", "x", "y"]


def write(path: str, n_groups: int, shuffled: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    n = n_groups * ROWS_A_GROUP
    b = rng.standard_normal((n_groups, 2)).astype(np.float32)
    kinds = [pa.int64(), pa.float64(), pa.float64(), pa.float64()]
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n, 1 << 20):
            size = min(1 << 20, n - start)
            if shuffled:
                g = rng.integers(0, n_groups, size)
            else:
                g = np.arange(start, start + size) // ROWS_A_GROUP
            t, x = rng.standard_normal((2, size))
            noise = rng.standard_normal(size)
            y = 1 + 0.5 * t - 0.2 * x + b[g, 0] + 0.5 * b[g, 1] * t + noise
            writer.write_table(pa.table([g, t, x, y], schema=schema))


def fit(path: str, n_threads: int) -> dict[str, object]:
    import blocklmm as bl

    start, cpu = time.perf_counter(), time.process_time()
    options = bl.FitOptions(n_threads=n_threads)
    found = bl.lmer("y ~ t + x + (t | g)", path, options=options, progress=False)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "rows": found.nobs,
        "seconds": seconds,
        "cpu": cpu,
        "peak": _peak(),
        "groups": found.ngroups["g"],
        "objective": found.objective,
        "converged": found.converged,
        "evaluations": found.certificate.n_evaluations,
    }


def read(path: str, n_threads: int) -> dict[str, object]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    pa.set_cpu_count(n_threads)
    start, cpu = time.perf_counter(), time.process_time()
    rows, sums = 0, dict.fromkeys(COLUMNS, 0.0)
    for batch in ds.dataset(path).scanner(columns=COLUMNS).to_batches():
        rows += batch.num_rows
        for name in COLUMNS:
            sums[name] += pc.sum(batch.column(name)).as_py()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"rows": rows, "seconds": seconds, "cpu": cpu, "peak": _peak()}


def _peak() -> float:
    """Return the process's peak memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def in_process(task: str, *arguments: object) -> dict[str, object]:
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=float, default=1e6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="for the files; a temporary one by default")
    parser.add_argument("--task", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        task, path, number, *more = given.task
        if task == "write":
            write(path, int(number), more[0] == "True")
            print("{}")
        else:
            print(json.dumps({"fit": fit, "read": read}[task](path, int(number))))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print("rows       order     threads  blocklmm s (CPU)  Mrows/s  peak MB  pyarrow s  ratio")
        for shuffled in (False, True):
            path = str(Path(folder) / f"{'shuffled' if shuffled else 'sorted'}.parquet")
            in_process("write", path, int(given.groups), shuffled)
            for n_threads in (1, 2):
                fits, reads = [], []
                for _ in range(given.rounds):
                    reads.append(in_process("read", path, n_threads))
                    fits.append(in_process("fit", path, n_threads))
                ours = min(fits, key=lambda r: r["seconds"])
                theirs = min(reads, key=lambda r: r["seconds"])
                assert ours["converged"]
                assert ours["rows"] == theirs["rows"]
                print(
                    f"{ours['rows']:<10} {'shuffled' if shuffled else 'sorted':<9} {n_threads:<8} "
                    f"{ours['seconds']:>6.2f} ({ours['cpu']:.2f})     "
                    f"{ours['rows'] / ours['seconds'] / 1e6:>8.1f} {ours['peak']:>8.0f} "
                    f"{theirs['seconds']:>9.2f} {theirs['seconds'] / ours['seconds']:>7.2f}",
                    flush=True,
                )
            Path(path).unlink()


if __name__ == "__main__":
    main()
