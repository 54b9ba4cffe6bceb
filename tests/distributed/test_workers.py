"""Groups that stay on the workers, against the same rows in memory."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import time
from contextlib import suppress

import blocklmm as bl
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from blocklmm.distributed import placement
from blocklmm.distributed.buckets import _hashes
from distributed import Client

from .test_partitions import assert_held, assert_same

FORMULA = "y ~ t + arm + (t | g)"


@pytest.fixture
def on_workers(client, data):
    """A fit whose groups are on the workers, and the same in memory."""
    assert client is not None
    statistics = bl.SufficientStatistics.from_dask(
        FORMULA, dd.from_pandas(data, npartitions=3), groups="workers"
    )
    return statistics.fit(), bl.lmer(FORMULA, data)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("formula", "npartitions", "reml"),
    [
        (FORMULA, 1, True),
        (FORMULA, 2, False),
        (FORMULA, 7, True),
        ("y ~ t + (1 | text) + (0 + t | text)", 7, True),
        ("y ~ arm + (1 | g:h)", 2, True),
    ],
)
def test_same_numbers_as_in_memory(data, formula, npartitions, reml):
    ddf = dd.from_pandas(data, npartitions=npartitions)
    statistics = bl.SufficientStatistics.from_dask(formula, ddf, groups="workers", weights="w")
    assert statistics.nobs == data["y"].notna().sum()
    found = statistics.fit(reml=reml)
    assert_same(found, bl.lmer(formula, data, reml, weights="w"))
    assert found.converged


def test_a_fit_answers_what_needs_no_single_group(on_workers):
    found, expected = on_workers
    np.testing.assert_allclose(found.cov_params(), expected.cov_params(), rtol=1e-9)
    pd.testing.assert_frame_equal(found.varcorr.to_frame(), expected.varcorr.to_frame())
    for effects in ("fixed", "random"):
        pd.testing.assert_frame_equal(found.tidy(effects), expected.tidy(effects), rtol=1e-6)
    kenward = {"ddf": "kenward-roger"}
    pd.testing.assert_frame_equal(found.tidy(**kenward), expected.tidy(**kenward), rtol=1e-6)
    assert str(found.summary()).splitlines()[-1] == str(expected.summary()).splitlines()[-1]
    assert found.bic == pytest.approx(expected.bic)
    assert found.icc().adjusted == pytest.approx(expected.icc().adjusted)
    assert found.r2().conditional == pytest.approx(expected.r2().conditional)
    assert_same(found.refit_ml(), expected.refit_ml())
    pd.testing.assert_frame_equal(bl.anova(found), bl.anova(expected), rtol=1e-6)
    pd.testing.assert_frame_equal(
        found.contrast("t - arm[T.b]").to_frame(), expected.contrast("t - arm[T.b]").to_frame()
    )


def test_random_effects_are_brought_here_when_asked_for(data, on_workers):
    found, expected = on_workers
    for name in ("ranef", "ranef_sd", "coef", "shrinkage"):
        a, b = (getattr(fit, name)()["g"] for fit in on_workers)
        pd.testing.assert_frame_equal(a, b, rtol=1e-8, check_index_type=False)
    new = data.head(20)
    np.testing.assert_allclose(found.predict(new), expected.predict(new), rtol=1e-9)


@pytest.mark.usefixtures("client")
def test_likelihood_ratio_tests(data):
    ddf = dd.from_pandas(data, npartitions=3)
    formulas = ["y ~ t + (1 | g)", "y ~ t + arm + (1 | g)", "y ~ t + arm + (t | g)"]
    read = bl.SufficientStatistics.from_dask
    found = bl.anova(*(read(f, ddf, groups="workers").fit(reml=False) for f in formulas))
    expected = bl.anova(*(bl.lmer(f, data, reml=False) for f in formulas))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)


def test_what_needs_all_groups_is_refused_with_what_to_do(on_workers):
    fit, _ = on_workers
    refused = [
        lambda: fit.bootstrap(10, seed=1),
        lambda: fit.influence(),
        lambda: fit.tidy(robust="CR2"),
        lambda: fit.design_effect(),
        lambda: fit.caic(),
        lambda: bl.ranova(fit),
        lambda: pickle.dumps(fit),
    ]
    for question in refused:
        with pytest.raises(bl.InferenceError, match="groups='driver'"):
            question()
    for question in (lambda: fit.simulate(1), lambda: fit.tidy(ddf="between-within")):
        with pytest.raises(bl.DataError, match=r"without its rows|need the data"):
            question()


@pytest.mark.usefixtures("client")
def test_statistics_on_workers_are_not_changed(data, tmp_path):
    ddf = dd.from_pandas(data, npartitions=2)
    statistics = bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="workers")
    assert "g 300" in repr(statistics)
    refused = [
        lambda: statistics.update(data),
        lambda: statistics + statistics,
        lambda: statistics.save(tmp_path / "statistics"),
        lambda: statistics.group_sizes(),
        lambda: statistics.submodel("y ~ t + (1 | g)"),
    ]
    for change in refused:
        with pytest.raises(bl.InferenceError, match="groups='driver'"):
            change()
    assert copy.copy(statistics).fit().objective == statistics.fit().objective
    with pytest.raises(bl.OptionError, match="keep_groups=True"):
        bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="workers", keep_groups=True)
    with pytest.raises(bl.OptionError, match="groups"):
        bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="here")


@pytest.mark.usefixtures("client")
def test_several_factors_are_brought_here(data):
    ddf = dd.from_pandas(data, npartitions=2)
    with pytest.raises(bl.OptionError, match="one grouping factor, not 2"):
        bl.SufficientStatistics.from_dask("y ~ t + (1 | g) + (1 | h)", ddf, groups="workers")


def test_workers_need_a_client(data):
    ddf = dd.from_pandas(data, npartitions=2)
    with pytest.raises(bl.OptionError, match="Client"):
        bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="workers")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("most", "stays"), [(100, True), (500, False), (5000, False)])
def test_many_groups_stay_on_the_workers_by_themselves(data, monkeypatch, most, stays):
    """300 groups; partitions have some 900 between them."""
    monkeypatch.setattr(placement, "MOST_GROUPS_HERE", most)
    found = bl.lmer(FORMULA, dd.from_pandas(data, npartitions=3))
    assert_same(found, bl.lmer(FORMULA, data))
    if stays:
        with pytest.raises(bl.InferenceError):
            found.design_effect()
    else:
        found.design_effect()


def halved(part):
    return part.assign(g=part["g"] + (0.5 * (part["g"] % 2) if part.index[0] > 0 else 0.0))


@pytest.mark.usefixtures("client")
def test_whole_labels_are_the_same_among_integers_and_reals(data):
    data = data.assign(g=data["g"].astype(float))
    ddf = dd.from_pandas(data, npartitions=2)
    ddf = ddf.map_partitions(halved, meta=data.head(0))
    statistics = bl.SufficientStatistics.from_dask("y ~ t + (1 | g)", ddf, groups="workers")
    with dask.config.set(scheduler="synchronous"):
        pooled = ddf.compute()
    assert statistics.ngroups["g"] == pooled["g"].nunique() > 300
    assert_same(statistics.fit(), bl.lmer("y ~ t + (1 | g)", pooled))


@pytest.mark.usefixtures("client")
def test_labels_of_two_kinds_are_refused(data):
    text = data.assign(g=data["g"].astype(str))
    parts = [dd.from_pandas(rows, npartitions=1) for rows in (data[:2000], text[2000:])]
    delayed = [part.to_delayed()[0] for part in parts]
    ddf = dd.from_delayed(delayed, meta=parts[0]._meta, verify_meta=False)
    with pytest.raises(bl.DataError, match=r"'g'"):
        bl.SufficientStatistics.from_dask("y ~ t + (1 | g)", ddf, groups="workers")


def test_a_partition_that_raises_leaves_nothing_behind(client, data):
    ddf = dd.from_pandas(data.assign(t=np.where(np.arange(len(data)) == 3900, np.inf, 1.0)), 4)
    with pytest.raises(bl.DataError, match="partition 3: column 't' has infinite values"):
        bl.SufficientStatistics.from_dask("y ~ t + (1 | g)", ddf, groups="workers")
    assert_held(client, 0)


def test_what_a_fit_held_is_released_and_persisted_rows_stay(client, data):
    ddf = dd.from_pandas(data, npartitions=3).persist()
    for groups in ("driver", "workers"):
        fit = bl.SufficientStatistics.from_dask(FORMULA, ddf, groups=groups).fit()
        assert fit.converged
    del fit
    with pytest.raises(bl.DataError):
        bl.lmer("y ~ t + (1 | nobody)", ddf)
    gc.collect()
    assert_held(client, 3)
    assert len(ddf) == len(data)


def test_without_its_client_a_fit_says_so(cluster, data):
    with Client(cluster):
        ddf = dd.from_pandas(data, npartitions=2)
        statistics = bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="workers")
        fit = statistics.fit()
    assert fit.converged
    for question in (fit.ranef, statistics.fit):
        with pytest.raises(bl.DataError, match="the workers hold"):
            question()


def test_hashes_do_not_depend_on_how_labels_are_stored():
    values = np.array([-3, 0, 5, 2**31 - 1])
    kinds = [np.int32, np.int64, np.float64]
    a, b, c = (_hashes([pd.Index(values.astype(kind))]) for kind in kinds)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    texts = [pd.Index(["a", "b"], dtype=dtype) for dtype in (object, "string")]
    np.testing.assert_array_equal(*(_hashes([text]) for text in texts))


def pids_of_workers(client):
    """The processes of two workers, of which one may just have been replaced."""
    for _ in range(200):
        with suppress(OSError):  # of a worker that is not known to be dead yet
            found = client.run(os.getpid)
            if len(found) == 2:
                return found
        time.sleep(0.05)
    raise AssertionError("there are no two workers")


def test_a_worker_killed_during_optimisation_is_made_up_for(client, data, monkeypatch):
    """The process is killed at the fifth evaluation; its buckets are computed again."""
    ddf = dd.from_pandas(data, npartitions=4)
    statistics = bl.SufficientStatistics.from_dask(FORMULA, ddf, groups="workers")
    undisturbed = statistics.fit()
    pids = pids_of_workers(client)
    evaluations = 0
    each = type(statistics._statistics._buckets).each

    def counted(buckets, task, **arguments):
        nonlocal evaluations
        evaluations += "lambda_" in arguments
        if evaluations == 5:
            held = client.has_what()
            victim = max(pids, key=lambda worker: len(held.get(worker, ())))
            assert held[victim]
            os.kill(pids[victim], signal.SIGKILL)
        return each(buckets, task, **arguments)

    monkeypatch.setattr(type(statistics._statistics._buckets), "each", counted)
    found = statistics.fit()
    assert evaluations > 5
    assert found.objective == undisturbed.objective
    np.testing.assert_array_equal(found.theta, undisturbed.theta)
    np.testing.assert_array_equal(found.params, undisturbed.params)
    assert_same(found, bl.lmer(FORMULA, data))
    assert set(pids_of_workers(client).values()) != set(pids.values())
