"""What one evaluation with several grouping factors costs, part by part.

``python benchmarks/evaluation.py InstEval F`` prints milliseconds of the value, of value and
derivatives together and of their parts, and what the dense parts reach of the machine's rate of
matrix products.
"""

from __future__ import annotations

import sys
import time

import blocklmm as bl
import cases
import numpy as np
from blocklmm.machine import one_blas_thread
from scipy.linalg.blas import dgemm

PARTS = {
    "assembly": "leaves eliminated, what is left put together",
    "sparse": "middle levels eliminated",
    "dense": "Cholesky factor of the dense end",
    "right-hand sides": "solutions for X, y and the average information",
    "dense inverse": "inverse of the dense end",
    "selected inverse": "the inverse at all other levels",
}


def gemm_rate() -> float:
    """Return the machine's rate of matrix products of side 1,024, in flops a second."""
    a = np.asfortranarray(np.random.default_rng(0).normal(size=(1024, 1024)))
    seconds = []
    for _ in range(7):
        with one_blas_thread():
            start = time.perf_counter()
            dgemm(1.0, a, a)
            seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(seconds)


def main(names: list[str]) -> None:
    """Print the parts for some cases."""
    rate = gemm_rate()
    print(f"dgemm: {rate / 1e9:.1f} GF/s\n")
    for name in names:
        case = cases.find(name)
        model = bl.LinearMixedModel(case.formula, case.rows())
        fit = model.fit()
        problem = model._prepared(1)
        objective = problem.objective(reml=True, n_threads=1)
        factor = fit._optimum.factor
        repeats = 3 if case.n_rows > 500_000 else 20
        parts = {}
        for derivatives in (False, True):
            problem.core.take_seconds()
            start = time.perf_counter()
            for _ in range(repeats):
                objective(factor, derivatives)
            total = (time.perf_counter() - start) / repeats
            parts[derivatives] = problem.core.take_seconds(), total
        plan = {key: int(value) for key, value in problem.core.plan.items()}
        print(f"{name}: {fit.factorization}")
        value, both = parts[False][1], parts[True][1]
        print(f"  value {1e3 * value:.1f} ms; with derivatives {1e3 * both:.1f} ms", end="")
        print(f" = {both / value:.2f} values")
        for part, what in PARTS.items():
            seconds = parts[True][0].get(part, 0.0) / repeats
            line = f"  {part:17s} {1e3 * seconds:8.1f} ms  {what}"
            flops = {"dense": 1 / 3, "dense inverse": 2 / 3}.get(part, 0.0) * plan["n_dense"] ** 3
            if flops and seconds:
                line += f": {flops / seconds / rate:.0%} of dgemm's rate"
            print(line)


if __name__ == "__main__":
    main(sys.argv[1:] or ["InstEval", "F"])
