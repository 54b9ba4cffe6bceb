"""Cluster-robust covariances, degrees of freedom and joint tests against clubSandwich."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from blocklmm.fit import LinearMixedFit
from blocklmm.inference.clusters.robust import cluster_robust

from . import reader
from .test_cases import fitted, to_our_order

STORED = json.loads((reader.ROOT / "cluster_robust.json").read_text())
CASES = list(STORED["cases"])
KINDS = ("CR0", "CR1", "CR1S", "CR2", "CR3")


def at_the_stored_theta(name):
    """A fit at the very theta that R's figures were made at, which differs from ours by 1e-8."""
    case, fit = reader.read("cases", name), fitted(name)
    theta = np.atleast_1d(STORED["cases"][name]["theta"])
    factor = fit._problem.factor(to_our_order(case, theta))
    there = fit._problem.objective(fit.reml, 1)(factor)
    return LinearMixedFit(
        fit._problem, replace(fit._optimum, factor=factor, evaluation=there), fit.reml
    )


@pytest.fixture(params=[(name, kind) for name in CASES for kind in KINDS], ids="-".join)
def pair(request):
    name, kind = request.param
    return STORED["cases"][name], kind, at_the_stored_theta(name)


def test_covariance_and_tests(pair):
    case, kind, fit = pair
    expected = case["kinds"][kind]
    found = cluster_robust(fit, kind)
    assert found.n_clusters == case["n_clusters"]
    if "vcov" in expected:
        vcov = np.array(expected["vcov"])
        size = np.sqrt(np.diag(vcov))
        np.testing.assert_allclose(
            found.cov / np.outer(size, size), vcov / np.outer(size, size), atol=1e-10
        )
    else:
        np.testing.assert_allclose(np.diag(found.cov), expected["variances"], rtol=1e-10)
    p = len(found.cov)
    if "df" in expected:
        np.testing.assert_allclose(found.df(np.eye(p)), expected["df"], rtol=1e-9)
    if "contrast" in expected:
        L = np.resize([1.0, -2.0], (1, p))
        test = found.f_test(L, L @ fit.params)
        assert test.statistic == pytest.approx(expected["contrast"]["Fstat"], rel=1e-9)
        assert test.den_df == pytest.approx(expected["contrast"]["df_denom"], rel=1e-9)
        assert test.den_df == pytest.approx(found.df(L)[0], rel=1e-9)
    if "HTZ" in expected:
        test = found.f_test(np.eye(p)[1:], fit.params.to_numpy()[1:])
        assert test.num_df == p - 1
        assert test.den_df == pytest.approx(expected["HTZ"]["df_denom"], rel=1e-9)
        if expected["HTZ"]["p_val"] is not None:
            assert test.statistic == pytest.approx(expected["HTZ"]["Fstat"], rel=1e-8)
            assert test.p_value == pytest.approx(expected["HTZ"]["p_val"], rel=1e-7)


@pytest.mark.parametrize("kind", ["CR0", "CR1S", "CR3"])
def test_weights_against_lme(kind):
    """With weights CR2 depends on the factor of V_i, and ours is that of rows times sqrt(w)."""
    stored = STORED["weighted"]
    cov = cluster_robust(fitted(stored["case"]), kind).cov
    np.testing.assert_allclose(cov[[0, 0, 1], [0, 1, 1]], stored[kind], rtol=1e-6)
