"""What wheels are tested with passes here too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import blocklmm as bl


def test_smoke():
    sources = os.path.dirname(os.path.dirname(bl.__file__))
    ended = subprocess.run(
        [sys.executable, Path(__file__).with_name("smoke.py")],
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"blocklmm {bl.__version__} works" in ended.stdout
