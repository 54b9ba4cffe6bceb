"""Sphinx reads pages with the outputs of their python blocks."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import running
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".md":
        start = time.process_time()
        try:
            source[0] = running.with_outputs(path, source[0])
        except Exception:
            raise ExtensionError(f"{docname}\n{traceback.format_exc()}") from None
        _LOGGER.info("%s: run in %.2f s of CPU", docname, time.process_time() - start)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
