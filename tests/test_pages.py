"""What `make docs` puts below the code of a page, and what stops it."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "_ext"))
import running

mpl.use("agg")
PAGE = Path("page.md")


def page(*blocks):
    text = "".join(f"Words.\n\n```python\n{block}\n```\n\n" for block in blocks)
    return running.with_outputs(PAGE, text)


def test_blocks_share_names_and_show_what_is_printed_and_what_the_last_line_gives():
    shown = page("x = 6\nprint('six')", "x * 7")
    assert shown.count("class: output") == 2
    assert "\n\nsix\n~~~~~" in shown
    assert "\n\n42\n~~~~~" in shown


def test_tables_are_html_and_a_figure_stands_for_its_axes():
    table = page("import pandas as pd\npd.DataFrame({'a': [1]})")
    assert '<table border="1" class="dataframe">' in table
    figure = page(
        "import matplotlib.pyplot as plt\nax = plt.subplots()[1]\nax.set_xlabel('x<y')\nax"
    )
    assert figure.count("<img") == 1
    assert 'alt="x&lt;y"' in figure
    assert "Axes" not in figure


def test_code_of_tables_and_plots_is_folded():
    assert "<details>" in page("# plot: it\n1")
    assert "<details>" not in page("1")


def test_commands_are_answered():
    shown = running.with_outputs(PAGE, "```console\n$ blocklmm \\\n    --version\n```\n")
    assert shown == "```console\n$ blocklmm \\\n    --version\nblocklmm 0.1.0\n```\n"
    untouched = "```console\n$ pip install .\n```\n"
    assert running.with_outputs(PAGE, untouched) == untouched


@pytest.mark.parametrize(
    ("block", "error", "said"),
    [
        ("1 / 0", ZeroDivisionError, "division"),
        ("import warnings\nwarnings.warn('beware')", UserWarning, "beware"),
        ("import sys\nprint('a word', file=sys.stderr)", RuntimeError, "a word"),
    ],
)
def test_what_fails_warns_or_complains_stops_the_page(block, error, said):
    with pytest.raises(error, match=said):
        page(block)


def test_a_command_that_fails_stops_the_page():
    with pytest.raises(RuntimeError, match=r"none\.csv"):
        running.with_outputs(PAGE, "```console\n$ blocklmm fit none.csv 'y ~ 1 + (1 | g)'\n```\n")
