"""Profile likelihood intervals against limits by root finding on lme4's deviance."""

from __future__ import annotations

import numpy as np
import pytest

from . import reader
from .test_cases import fitted

CASES = [
    name for name in reader.names("cases") if "ci_profile_direct" in reader.read("cases", name)
]


@pytest.mark.parametrize("name", CASES)
def test_limits_are_those_of_the_deviance(name):
    fit, expected = fitted(name), reader.read("cases", name)["ci_profile_direct"]
    found = fit.conf_int(expected["level"], method="profile", criterion="ML")
    labels = fit.varcorr.labels()
    assert list(found.index) == [*labels, *fit.params.index]
    # lme4 has larger factors first, and no suffix for a second term on one factor
    ours = [label.removesuffix(".1") for label in labels]
    n = len(labels)
    rows = [ours.index(label) for label in expected["names"][:n]]
    rows += range(n, n + len(fit.params))
    lower, upper = np.array(expected["lower"]), np.array(expected["upper"])
    width = upper - lower
    assert (np.abs(found["lower"].to_numpy()[rows] - lower) <= 1e-6 * width).all()
    assert (np.abs(found["upper"].to_numpy()[rows] - upper) <= 1e-6 * width).all()


def test_the_cases_have_limits_on_the_boundary():
    cases = {name: reader.read("cases", name)["ci_profile_direct"] for name in CASES}
    assert sum(0 in case["lower"] for case in cases.values()) >= 5
    assert any(-1 in case["lower"] for case in cases.values())
