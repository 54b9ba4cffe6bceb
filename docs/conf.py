"""The documentation site: `make docs`, or `sphinx-build -W -n docs docs/_build/html`."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from pathlib import Path

import blocklmm
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Kernels inherit where pages find this library and their helpers, and the look of pictures.
os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], str(Path(blocklmm.__file__).parents[1])])
os.environ["MATPLOTLIBRC"] = str(HERE)

project = "blocklmm"
author = "The blocklmm developers"
copyright = "the blocklmm developers"  # noqa: A001
version = release = blocklmm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "guides",  # every python block of a page is run
    "mathml",  # formulas without scripts or fonts from elsewhere
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]

# Pages. A cell that fails, or that writes to stderr, is a warning, and the build takes warnings for
# errors. `-D nb_execution_mode=cache` runs only what has changed.
nb_execution_mode = "force"
nb_execution_timeout = 60
nb_execution_raise_on_error = True
nb_output_stderr = "warn"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Reference. Types in docstrings are words ("array of shape (n,)") that no page explains.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(?!blocklmm\.).*")]
autosummary_generate = True
autosummary_context = {"properties": lambda name: properties_of(name)}
autodoc_typehints = "none"
autodoc_default_options = {"member-order": "groupwise"}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
suppress_warnings = ["config.cache"]  # of autosummary_context, which is a function

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "blocklmm"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def properties_of(name: str) -> list[str]:
    """Return the public properties of a class; plain attributes stand in its docstring."""
    module, _, owner = name.rpartition(".")
    found = inspect.getmembers(getattr(importlib.import_module(module), owner))
    kinds = (property, functools.cached_property)
    return [key for key, value in found if isinstance(value, kinds) and not key.startswith("_")]


def require_all(_: Sphinx, env: BuildEnvironment) -> None:
    """Raise if the reference lacks a public name."""
    known = env.domains["py"].objects
    missing = {f"blocklmm.{name}" for name in blocklmm.__all__} - set(known)
    if missing:
        raise ExtensionError(f"not in the reference: {', '.join(sorted(missing))}")


def without_constructor(
    _app: Sphinx, what: str, name: str, _obj: object, _options: object, arguments: str, result: str
) -> tuple[str | None, str | None]:
    """Leave out how a result is made: only these two classes are called by name."""
    is_called = name in ("blocklmm.LinearMixedModel", "blocklmm.FitOptions")
    return ("", None) if what == "class" and not is_called else (arguments, result)


def keep_names_together(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Let attributes that are described together ("low, high : float") be one entry."""
    for k, line in enumerate(lines):
        if re.match(r"\w+(, \w+)+ : ", line) and "Attributes" in lines[:k]:
            lines[k] = re.sub(r", (?=.* : )", ",", line)


def setup(app: Sphinx) -> None:
    """Register what is checked and how docstrings are read."""
    app.connect("env-check-consistency", require_all)
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-process-docstring", keep_names_together, priority=400)  # before napoleon
