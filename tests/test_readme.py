"""The examples of README and guides run, and the summary shown is the one that is printed."""

from __future__ import annotations

import re
from pathlib import Path

import blocklmm as bl
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
GUIDES = [path for path in PAGES if "```python" in path.read_text()]


def test_examples_run():
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, namespace)
    assert round(namespace["fit"].objective, 3) == 1743.628


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_guides_run(path, monkeypatch):
    """All but their pictures, which need what only the site has; `make docs` draws them."""
    monkeypatch.chdir(path.parent)
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        if not block.startswith("# plot:"):
            exec(block, namespace)


def test_the_summary_shown_is_the_one_printed():
    (shown,) = re.findall(r"```\n(Linear mixed model.*?)```", README, re.DOTALL)
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    assert fit.summary().startswith(shown.rstrip())
