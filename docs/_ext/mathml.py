"""Formulas as MathML, which browsers set themselves: no script, nothing from another site.

docutils translates the TeX, and what it can't read stops the build. Some things are mended: the
index of an accented letter stands beside it, and below what is raised; bars are of one height, and
near what they enclose; a comma or a full stop stays on the line of its formula.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator

_NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_ACCENTS = "ˆ~ˉ"  # noqa: RUF001


def mathml(tex: str, as_block: bool) -> str:
    """Translate a formula."""
    text = tex2mathml(tex, as_block=as_block)
    ET.register_namespace("", _NAMESPACE)
    root = ET.fromstring(text.replace("&ApplyFunction;", "\u2061"))
    for element in list(root.iter(f"{{{_NAMESPACE}}}munderover")):
        base, index, accent = element
        if (accent.text or "").strip() in _ACCENTS:
            over = ET.Element(f"{{{_NAMESPACE}}}mover", accent="true")
            over.extend([base, accent])
            for child in (base, index, accent):
                element.remove(child)
            element.tag = f"{{{_NAMESPACE}}}msub"
            element.extend([over, index])
    for element in root.iter(f"{{{_NAMESPACE}}}msup"):
        base, raised = element
        if base.tag == f"{{{_NAMESPACE}}}msub":
            element.remove(base)
            element.remove(raised)
            element.tag = f"{{{_NAMESPACE}}}msubsup"
            element.extend([*base, raised])
    for element in root.iter(f"{{{_NAMESPACE}}}mo"):
        if element.text == "|":
            element.attrib |= {"stretchy": "false", "lspace": "0", "rspace": "0"}
    return ET.tostring(root, encoding="unicode")


def _of(node: nodes.Element, as_block: bool) -> str:
    try:
        return mathml(node.astext(), as_block)
    except MathError as error:
        raise ExtensionError(f"{node.source}: {node.astext()!r}: {error}") from None


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_of(node, as_block=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_of(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


class MarksAfterFormulas(SphinxPostTransform):
    """Put a formula and the mark that follows it into an element that isn't broken."""

    default_priority = 100

    def run(self, **_: Any) -> None:
        """Change the document."""
        for node in list(self.document.findall(nodes.math)):
            after = node.next_node(descend=False, siblings=True)
            if isinstance(after, nodes.Text) and (mark := re.match(r"[^\w\s(]+", after)):
                rest = nodes.Text(after[mark.end() :])
                after.parent.replace(after, rest)
                held = nodes.inline("", "", classes=["formula"])
                node.replace_self(held)
                held += [node, nodes.Text(mark[0])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_post_transform(MarksAfterFormulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
