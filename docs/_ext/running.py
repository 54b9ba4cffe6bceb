"""Pages whose python blocks are run, in the process that builds the site.

A page is plain Markdown, shown and highlighted as such by any editor. Its "```python" blocks are
run in order, in a namespace of the page's own, and below each stands what it printed, what its last
line gives, and the figures that it drew. The code of a block that begins with the comment "# plot:"
or "# table:" is folded. "```console" blocks of "$ blocklmm ..." are run, too. A block that raises,
warns, fails or writes to stderr stops the build. The working folder is an empty one, for each page.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import html
import io
import linecache
import pprint
import re
import shlex
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = re.compile(
    r"^```(?:python\n(?P<python>.*?)|console\n(?P<console>\$ blocklmm .*?))^```$",
    re.MULTILINE | re.DOTALL,
)
_FOLDED = re.compile(r"# (?:plot|table):")


def with_outputs(path: Path, text: str) -> str:
    """Return a page with the outputs of its blocks below them."""
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}

    def run(block: re.Match[str]) -> str:
        if block["console"]:
            lines = block["console"].replace("\\\n", "\\\0").splitlines()
            return "\n".join(["```console", *map(with_answer, lines), "```"]).replace("\0", "\n")
        code = block["python"]
        line = text.count("\n", 0, block.start("python"))
        shown = "\n".join(outputs(code, namespace, path, line))
        if _FOLDED.match(code):
            head = _raw("<details><summary>Show the code</summary>")
            return f"{head}\n{block[0]}\n{_raw('</details>')}\n{shown}"
        return f"{block[0]}\n{shown}"

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        return _BLOCK.sub(run, text)


def with_answer(line: str) -> str:
    """Return a command of the console, "$ blocklmm ...", with what it prints below it."""
    from blocklmm.cli import main

    arguments = shlex.split(line.replace("\\\0", " "))[2:]  # without the prompt and its name
    with _captured() as printed:
        try:
            status = main(arguments)
        except SystemExit as end:  # of --help
            status = end.code
    if status:
        raise RuntimeError(f"{line}: ends with status {status}")
    return f"{line}\n{printed.getvalue().rstrip()}".rstrip()


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Catch what is printed; what is written to stderr is an error."""
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        yield printed
    if complaints.getvalue():
        raise RuntimeError(f"written to stderr: {complaints.getvalue()}")


def outputs(code: str, namespace: dict[str, Any], path: Path, line: int) -> Iterator[str]:
    """Run a block that begins below a line of a file, and yield its outputs as Markdown."""
    tree = ast.parse("\n" * line + code, str(path))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    linecache.checkcache(str(path))  # tracebacks show the page's lines
    value = None
    with _captured() as printed:
        exec(compile(tree, str(path), "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(path), "eval"), namespace)
    if printed.getvalue():
        yield _text(printed.getvalue())
    if value is not None:
        yield _shown(value)
    yield from _figures()


def _shown(value: Any) -> str:
    if hasattr(value, "_repr_markdown_"):
        return f"\n{value._repr_markdown_()}\n"
    if hasattr(value, "_repr_html_"):
        return _raw(f'<div class="output">{value._repr_html_()}</div>')
    if _is_drawn(value):
        return ""
    return _text(pprint.pformat(value, width=90, sort_dicts=False))


def _is_drawn(value: Any) -> bool:
    """Tell whether a value is Axes, or an array of them: the figure stands for them."""
    first = value.flat[0] if isinstance(value, np.ndarray) and value.size else value
    return type(first).__module__.startswith("matplotlib.")


def _figures() -> Iterator[str]:
    import matplotlib.pyplot as plt

    for number in plt.get_fignums():
        figure = plt.figure(number)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        data = base64.b64encode(file.getvalue()).decode()
        width = round(100 * figure.get_figwidth())
        style = f"max-width: max(100%, {0.75 * width:.0f}px)"
        size = f'width="{width}" style="{style}"'
        image = f'<img src="data:image/png;base64,{data}" {size} alt="{_alt(figure)}">'
        yield _raw(f'<div class="output">{image}</div>')
    plt.close("all")


def _alt(figure: Any) -> str:
    """Return what a picture shows, from its first axes' labels."""
    ax = figure.axes[0]
    x = ax.get_xlabel() or figure.get_supxlabel()
    y = ax.get_ylabel() or figure.get_supylabel()
    title = figure.get_suptitle() or ax.get_title(loc="left") or ax.get_title()
    labels = " against ".join(filter(None, (y, x)))
    return html.escape(". ".join(filter(None, (" ".join(title.split()), labels))))


def _text(text: str) -> str:
    return f"\n~~~~~{{code-block}} text\n:class: output\n\n{text.rstrip()}\n~~~~~\n"


def _raw(text: str) -> str:
    return f"\n~~~~~{{raw}} html\n{text}\n~~~~~\n"
