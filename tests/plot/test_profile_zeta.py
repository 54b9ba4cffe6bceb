"""Profiles: the curve, the cut-offs, and the limits of intervals."""

from __future__ import annotations

import blocklmm as bl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from tests.bad_data import says

from .fits import own_axes, segments, sleep

PROFILE = sleep().profile()


def cut_offs(ax):
    return sorted(float(line.get_ydata()[0]) for line in ax.lines if line.get_linestyle() == ":")


def test_curves_and_limits():
    panels = bl.plot.profile_zeta(PROFILE)
    assert [ax.get_title() for ax in panels][:2] == ["sd_(Intercept)|Subject", "sd_Days|Subject"]
    levels = [0.5, 0.8, 0.95, 0.99]
    heights = norm.ppf([(1 + level) / 2 for level in levels])
    table = PROFILE.to_frame().set_index("parameter")
    limits = [PROFILE.conf_int(level) for level in levels]
    for ax, parameter in zip(panels, PROFILE, strict=True):
        np.testing.assert_array_equal(
            ax.lines[-1].get_xydata(), table.loc[parameter.name, ["value", "zeta"]]
        )
        np.testing.assert_allclose(cut_offs(ax), sorted([*-heights, *heights]), rtol=1e-9)
        (ends,) = segments(ax)
        expected = np.ravel([limit.loc[parameter.name] for limit in limits])
        np.testing.assert_array_equal(ends[:, 0], np.column_stack([expected, np.zeros(8)]))
        np.testing.assert_array_equal(ends[:, 1, 0], expected)
        np.testing.assert_allclose(ends[:, 1, 1], np.ravel([[-h, h] for h in heights]), atol=0.05)
    assert panels[0].figure.get_suptitle() == "limits of 50%, 80%, 95%, 99% intervals"
    assert panels[0].figure.get_supylabel() == "zeta"


def test_chosen_levels_on_given_axes():
    axes = Figure(figsize=(9, 3)).subplots(1, 2)
    profile = sleep().profile(["sigma", "Days"], level=0.9)
    panels = bl.plot.profile_zeta(profile, levels=[0.9, 0.9], axes=axes)
    assert list(panels) == list(axes)
    np.testing.assert_allclose(cut_offs(axes[0]), norm.ppf([0.05, 0.95]), rtol=1e-9)
    assert [ax.get_ylabel() for ax in axes] == ["zeta", "zeta"]
    default = bl.plot.profile_zeta(profile, axes=Figure())
    np.testing.assert_allclose(cut_offs(default[0]), norm.ppf([0.1, 0.25, 0.75, 0.9]), rtol=1e-9)
    assert plt.get_fignums() == []


def test_limits_at_the_end_of_a_range_end_on_the_curve():
    fit = bl.lmer("Yield ~ 1 + (1 | Batch)", bl.datasets.load("Dyestuff"), reml=False)
    profile = fit.profile("theta_")
    assert profile.conf_int(0.99).loc["sd_(Intercept)|Batch", "lower"] == 0
    ax = bl.plot.profile_zeta(profile, levels=[0.99], axes=Figure())[0]
    (ends,) = segments(ax)
    np.testing.assert_array_equal(ends[0], [[0, 0], [0, profile.parameters[0].zeta[0]]])


def test_a_correlation_that_is_not_defined_says_so():
    g, x = np.repeat(np.arange(30), 4), np.tile(np.arange(4.0), 30)
    y = np.random.default_rng(0).normal(size=(30, 4))
    lines = np.vander(np.arange(4.0), 2)
    y -= y @ lines @ np.linalg.pinv(lines)  # less than nothing between groups
    fit = bl.lmer("y ~ x + (x | g)", {"y": y.ravel(), "x": x, "g": g})
    profile = fit.profile("theta_", level=0.8)
    undefined = [k for k, p in enumerate(profile) if np.isnan(p.estimate)]
    panels = bl.plot.profile_zeta(profile, axes=Figure())
    assert undefined
    assert "not defined" in panels[undefined[0]].texts[0].get_text()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"levels": [0.999]}, ["0.99", "0.999"]),
        ({"levels": [5]}, ["between 0 and 1"]),
        ({"levels": []}, ["levels is empty"]),
        ({"axes": 3}, ["axes", "'int'"]),
    ],
)
def test_options(options, parts):
    with says(bl.OptionError, *parts):
        bl.plot.profile_zeta(PROFILE, **options)
    with says(bl.OptionError, "6 panels", "1 axes"):
        bl.plot.profile_zeta(PROFILE, axes=own_axes())
    assert plt.get_fignums() == []


def test_a_fit_is_no_profile():
    with says(TypeError, "fit.profile()"):
        bl.plot.profile_zeta(sleep())
