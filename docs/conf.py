"""The documentation site: `make docs`, or `sphinx-build -W docs docs/_build/html`."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from pathlib import Path

import blocklmm
import pandas as pd
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ["MATPLOTLIBRC"] = str(HERE)  # the look of pictures
os.environ["MPLBACKEND"] = "agg"
os.environ["COLUMNS"] = "100"  # the width of the command line's help
pd.set_option("display.max_rows", 100)

project = "blocklmm"
author = "The blocklmm developers"
copyright = "the blocklmm developers"  # noqa: A001
version = release = blocklmm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "pages",  # every python block of a page is run
    "mathml",  # formulas without scripts or fonts from elsewhere
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Reference. Types in docstrings are words ("array of shape (n,)") that no page explains.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(?!blocklmm\.).*")]
autosummary_generate = True
autosummary_context = {
    "methods_of": lambda name: methods_of(name),
    "properties_of": lambda name: properties_of(name),
    "adds": lambda name: "__add__" in vars(_class(name)),
}
autodoc_typehints = "none"
autodoc_default_options = {"member-order": "groupwise"}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
suppress_warnings = ["config.cache"]  # of autosummary_context, which holds functions

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "blocklmm"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def methods_of(name: str) -> list[str]:
    """Return the public methods of a class that are not another package's."""
    found = inspect.getmembers(_class(name), inspect.isroutine)
    modules = {key: getattr(value, "__module__", None) or "" for key, value in found}
    return [key for key in modules if modules[key].startswith("blocklmm.") and key[0] != "_"]


def properties_of(name: str) -> list[str]:
    """Return the public properties of a class; plain attributes stand in its docstring."""
    kinds = (property, functools.cached_property)
    found = inspect.getmembers(_class(name), lambda value: isinstance(value, kinds))
    return [key for key, _ in found if not key.startswith("_")]


def _class(name: str) -> type:
    module, _, owner = name.rpartition(".")
    return getattr(importlib.import_module(module), owner)


def require_all(_: Sphinx, env: BuildEnvironment) -> None:
    """Raise if the reference lacks a public name."""
    known = env.domains["py"].objects
    public = [*blocklmm.__all__, *(f"plot.{name}" for name in blocklmm.plot.__all__)]
    missing = {f"blocklmm.{name}" for name in public} - set(known)
    if missing:
        raise ExtensionError(f"not in the reference: {', '.join(sorted(missing))}")


def without_constructor(
    _app: Sphinx, what: str, name: str, _obj: object, _options: object, arguments: str, result: str
) -> tuple[str | None, str | None]:
    """Leave out how a result is made: only these classes are called by name."""
    is_called = name.endswith((".LinearMixedModel", ".FitOptions", ".MixedLMRegressor"))
    return ("", None) if what == "class" and not is_called else (arguments, result)


def from_any_module(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Let docstrings of any module link to the package's classes by their names alone."""
    lines[:] = [re.sub(r"(:\w+:`)(?=[A-Z])", r"\1.", line) for line in lines]


def keep_names(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Let attributes that are described together be one entry, and keep the underscore of a_."""
    for k, line in enumerate(lines):
        if "Attributes" in lines[:k] and (names := re.match(r"\w+(, \w+)*(?= : )", line)):
            kept = names[0].replace(", ", ",").replace("_,", "\\_,")
            lines[k] = re.sub("_$", r"\\_", kept) + line[names.end() :]


def tidy_fields(_: Sphinx, doctree: nodes.document) -> None:
    """Set names that are described together apart, and no dash where nothing is described."""
    for name in doctree.findall(addnodes.literal_strong):
        name.replace(name[0], nodes.Text(name.astext().replace(",", ", ")))
    for body in doctree.findall(nodes.field_body):
        for paragraph in body.findall(nodes.paragraph):
            if paragraph.astext().rstrip().endswith(("--", "\N{EN DASH}")):
                while not paragraph.pop().astext().strip():
                    pass


def setup(app: Sphinx) -> None:
    """Register what is checked and how docstrings are read."""
    app.connect("env-check-consistency", require_all)
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-process-docstring", from_any_module)
    app.connect("autodoc-process-docstring", keep_names, priority=400)  # before napoleon
    app.connect("doctree-read", tidy_fields)
    for field in PyObject.doc_field_types:
        if field.name == "variable":  # numpydoc's word
            field.label = "Attributes"
