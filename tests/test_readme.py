"""The examples of README run, and the summary shown is the one that is printed.

Pages of the site are run by `make docs`.
"""

from __future__ import annotations

import re
from pathlib import Path

import blocklmm as bl

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_examples_run():
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, namespace)
    assert round(namespace["fit"].objective, 3) == 1743.628


def test_the_summary_shown_is_the_one_printed():
    (shown,) = re.findall(r"```\n(Linear mixed model.*?)```", README, re.DOTALL)
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    assert fit.summary().startswith(shown.rstrip())
