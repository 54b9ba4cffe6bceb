"""What is said to those who ask by the names of lme4 and statsmodels."""

from __future__ import annotations

import pickle

import blocklmm as bl
import pytest
from blocklmm import other_names

from .bad_data import DATA, says

FIT = bl.lmer("y ~ x + (1 | g)", DATA)


@pytest.mark.parametrize("name", other_names.ON_A_FIT)
def test_names_of_others_are_not_ours(name):
    with says(AttributeError, repr(name), f"; here it is {other_names.ON_A_FIT[name]}"):
        getattr(FIT, name)


@pytest.mark.parametrize(
    "name",
    [
        right.partition("(")[0].partition(" ")[0]
        for right in other_names.ON_A_FIT.values()
        if not right.startswith(("bl.", "pickle"))
    ],
)
def test_what_stands_in_their_place_is_there(name):
    assert hasattr(FIT, name)


def test_the_scale_of_statsmodels_is_a_variance():
    with says(AttributeError, "'scale'; here it is sigma ** 2"):
        FIT.scale  # noqa: B018


@pytest.mark.parametrize("name", other_names.IN_THE_MODULE)
def test_functions_of_others(name):
    with says(AttributeError, repr(name), other_names.IN_THE_MODULE[name]):
        getattr(bl, name)


@pytest.mark.parametrize(
    ("names", "function"),
    [
        (other_names.OF_LMER, lambda **given: bl.lmer("y ~ x + (1 | g)", DATA, **given)),
        (other_names.OF_PREDICT, FIT.predict),
        (other_names.OF_INTERVALS, FIT.conf_int),
        (other_names.OF_INTERVALS, FIT.tidy),
    ],
)
def test_keywords_of_others(names, function):
    for name, right in names.items():
        with says(TypeError, f"takes no {name}=; here it is {right}"):
            function(**{name: 0})
    with says(TypeError, "'nothing'"):
        function(nothing=0)


def test_other_names_stay_unknown():
    with says(AttributeError, "a fit has no attribute 'nothing'") as caught:
        FIT.nothing  # noqa: B018
    assert "here it is" not in str(caught.value)
    assert not hasattr(FIT, "__array__")
    assert pickle.loads(pickle.dumps(FIT)).llf == FIT.llf


def test_a_property_that_fails_says_why():
    class Broken(bl.LinearMixedFit):
        @property
        def wrong(self):
            return None.missing

    fit = object.__new__(Broken)
    with says(AttributeError, "'NoneType' object has no attribute 'missing'"):
        fit.wrong  # noqa: B018
