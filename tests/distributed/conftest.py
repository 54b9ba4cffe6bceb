"""A real cluster of two worker processes, started once."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="package")
def cluster():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "10s"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as found,
    ):
        yield found


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=True) as found:
        found.wait_for_workers(2)
        yield found


@pytest.fixture(scope="package")
def data():
    """Rows of 300 groups in no order, so that each group is in all partitions; some are missing."""
    rng = np.random.default_rng(1)
    n, n_groups = 4000, 300
    g, h = rng.integers(0, n_groups, n), rng.integers(0, 15, n)
    t = rng.normal(5, 1, n)
    arm = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    b = rng.normal(size=(n_groups, 2)) * [1.0, 0.3]
    y = 100 + 2 * t + b[g, 0] + b[g, 1] * t + (arm == "b") + rng.normal(size=15)[h]
    y += rng.normal(size=n)
    y[rng.random(n) < 0.02] = np.nan
    text = np.array([f"subject {k}" for k in range(n_groups)])[g]
    weight = rng.uniform(0.5, 2, n)
    return pd.DataFrame({"y": y, "t": t, "arm": arm, "g": g, "h": h, "text": text, "w": weight})
