"""What all pictures share: whose axes they draw on, what they import, and texts that fit."""

from __future__ import annotations

import subprocess
import sys

import blocklmm as bl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from blocklmm.plot.colours import ink
from blocklmm.plot.labels import names, shortened
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from tests.bad_data import says

from .fits import five, own_axes, quoted, sleep

SINGLE = {
    "caterpillar": bl.plot.caterpillar,
    "fixed_effects": bl.plot.fixed_effects,
    "icc": bl.plot.icc,
    "implied_correlation": lambda fit, ax=None: bl.plot.implied_correlation(
        fit, fit.ranef()[next(iter(fit.ngroups))].index[0], ax=ax
    ),
    "influence": bl.plot.influence,
    "qq_ranef": bl.plot.qq_ranef,
    "qq_residuals": bl.plot.qq_residuals,
    "residuals": bl.plot.residuals,
    "shrinkage": bl.plot.shrinkage,
}
PANELS = {
    "growth_curves": lambda fit, axes=None: bl.plot.growth_curves(fit, "t", axes=axes),
    "profile_zeta": lambda fit, axes=None: bl.plot.profile_zeta(fit.profile(level=0.8), axes=axes),
}


def test_every_picture_is_here():
    assert set(SINGLE) | set(PANELS) == set(bl.plot.__all__)


@pytest.mark.parametrize("name", SINGLE)
def test_given_axes_are_drawn_on(name):
    ax = own_axes()
    other = ax.figure.add_axes((0.9, 0.9, 0.1, 0.1))
    assert SINGLE[name](sleep(), ax=ax) is ax
    assert ax.has_data()
    assert not other.has_data()
    assert len(ax.figure.axes) == 2
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", SINGLE)
def test_a_new_figure_by_default(name):
    before = own_axes()
    ax = SINGLE[name](sleep())
    assert isinstance(ax, Axes)
    assert plt.get_fignums() == [ax.figure.number]
    assert not before.has_data()


@pytest.mark.parametrize("name", SINGLE)
def test_what_are_no_axes(name):
    with says(bl.OptionError, "ax is a matplotlib Axes", "'ndarray'"):
        SINGLE[name](sleep(), ax=np.zeros(2))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", [*SINGLE, "growth_curves"])
def test_what_is_no_fit(name):
    plot = getattr(bl.plot, name)
    extra = {"implied_correlation": ["308"], "growth_curves": ["Days"]}.get(name, [])
    with says(TypeError, "'int'"):
        plot(5, *extra)


@pytest.mark.parametrize("name", [*SINGLE, *PANELS])
def test_no_text_is_clipped_or_collides(name):
    """With names of 90 letters: titles, labels of axes and ticks stay within the figure."""
    found = (SINGLE | PANELS)[name](five())
    figure = np.ravel(found)[0].figure
    figure.canvas.draw()
    for ax in np.ravel(found):
        parts = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        shown = [part for part in parts if part.get_text()]
        ticks = [t for t in ax.get_yticklabels() if t.get_text() and t.get_visible()]
        for part in shown + ticks:
            box = part.get_window_extent()
            assert min(box.x0, box.y0) >= -1, part
            assert max(box.x1 - figure.bbox.width, box.y1 - figure.bbox.height) <= 1, part
        boxes = [part.get_window_extent().shrunk(0.98, 0.9) for part in shown]
        boxes += [tick.get_window_extent().shrunk(0.98, 0.9) for tick in ticks]
        for k, box in enumerate(boxes):
            assert box.count_overlaps(boxes[k + 1 :]) == 0


@pytest.mark.parametrize("name", [*SINGLE, *PANELS])
def test_no_text_has_the_backticks_of_the_formula(name):
    found = (SINGLE | PANELS)[name](quoted())
    figure = np.ravel(found)[0].figure
    shown = [text.get_text() for text in figure.findobj(Text)]
    assert any(shown)
    assert not any("`" in text for text in shown)


@pytest.mark.parametrize("name", [*SINGLE, *PANELS])
def test_pictures_can_be_saved(name, tmp_path):
    figure = np.ravel((SINGLE | PANELS)[name](five()))[0].figure
    for kind in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"a.{kind}")
        assert (tmp_path / f"a.{kind}").stat().st_size > 1000


@pytest.mark.parametrize("name", [*SINGLE, *PANELS])
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_all_is_seen_on_any_background(name, style):
    """Lines, points and their faces, and texts on boxes, are not of the background's colour."""
    with plt.style.context(style):
        found = np.ravel((SINGLE | PANELS)[name](five()))
        for ax in found:
            behind = np.array(to_rgb(ax.get_facecolor()))
            for line in ax.lines:
                assert np.abs(to_rgb(line.get_color()) - behind).max() > 0.3, line
            for text in ax.texts:
                box = text.get_bbox_patch()
                if box is not None:
                    shown = to_rgb(text.get_color()), to_rgb(box.get_facecolor())
                    assert np.abs(np.subtract(*shown)).max() > 0.5
            hollow = [line for line in ax.lines if "covers 0" in str(line.get_label())]
            for line in hollow:
                np.testing.assert_array_equal(to_rgb(line.get_markerfacecolor()), behind)


def test_the_background_of_clear_axes_is_the_figure_s():
    ax = own_axes()
    ax.set_facecolor("none")
    assert ink(ax) == "#000000"
    ax.figure.set_facecolor("black")
    assert ink(ax) == "#FFFFFF"
    ax.figure.set_facecolor("none")
    assert ink(ax) == "#000000"


def test_matplotlib_is_imported_when_a_picture_is_drawn():
    code = (
        "import sys, blocklmm as bl\n"
        "assert 'matplotlib' not in sys.modules\n"
        "fit = bl.lmer('Yield ~ 1 + (1 | Batch)', bl.datasets.load('Dyestuff'))\n"
        "sys.modules['matplotlib'] = None\n"
        "for draw in (lambda: bl.plot.icc(fit), lambda: bl.plot.profile_zeta(fit.profile())):\n"
        "    try:\n"
        "        draw()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 2 * "pictures need matplotlib: pip install 'blocklmm[plot]'\n"


# -- names -----------------------------------------------------------------------------------


def test_a_long_text_loses_its_middle():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abcdefghij", 6) == "abc…ij"
    assert shortened("two\nlines  of it", 20) == "two lines of it"


def test_short_names_differ_where_long_ones_do():
    alike = [f"{'a' * 20}{k:03d}{'z' * 60}" for k in range(3)]
    found = names(alike)
    assert len(set(found)) == 3
    assert max(map(len, found)) <= 48
    hidden = [f"{'a' * 50}{k}{'z' * 50}" for k in range(3)]
    assert [name[:4] for name in names(hidden)] == ["(1) ", "(2) ", "(3) "]
    assert names([1, 2.5, "x"]) == ["1", "2.5", "x"]
