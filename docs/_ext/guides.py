"""Markdown pages whose python blocks are run.

A page is plain Markdown, shown and highlighted as such by any editor. Each of its "```python"
blocks becomes a cell of MyST-NB, which runs them in order and shows what the last line gives. Of a
block that begins with the comment "# plot:" or "# table:" the code is folded.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_BLOCK = re.compile(r"^```python\n", re.MULTILINE)
_FOLDED = re.compile(r"^```python\n(?=# (?:plot|table):)", re.MULTILINE)
_HEAD = "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n"


def as_notebook(text: str) -> str:
    """Return a page as MyST-NB's text notebook; one without python blocks as it is."""
    if not _BLOCK.search(text):
        return text
    text = _FOLDED.sub("```{code-cell} python3\n:tags: [hide-input]\n", text)
    return _HEAD + _BLOCK.sub("```{code-cell} python3\n", text)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    if str(app.env.doc2path(docname)).endswith(".md"):
        source[0] = as_notebook(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
