"""Data on disk, and a command run as a user would, but in this process."""

from __future__ import annotations

from dataclasses import dataclass

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm.cli import main

SLOPES = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self):
        return self.err.splitlines()


@pytest.fixture
def run(capsys):
    def command(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        ended = Ended(status, *capsys.readouterr())
        assert all(line.startswith("blocklmm: ") for line in ended.lines), ended.err
        return ended

    return command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own, where the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def sleep():
    data = bl.datasets.load("sleepstudy")[["Reaction", "Days", "Subject"]]
    return data.astype({"Subject": str}).astype({"Subject": int, "Days": int})


@pytest.fixture
def sleep_csv(folder, sleep):
    sleep.to_csv(folder / "sleep.csv", index=False)
    return "sleep.csv"


@pytest.fixture(scope="session")
def uneven():
    """Rows with which a fit takes several evaluations."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(8), [3, 4, 5, 6, 2, 8, 7, 5])
    x = rng.normal(size=len(g))
    y = 1 + x + rng.normal(size=8)[g] * 2 + rng.normal(size=8)[g] * x + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{k}" for k in g]})
