"""Partitions of a Dask frame, reduced where they lie, against the same rows in memory."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time

import blocklmm as bl
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from blocklmm.distributed.dask_rows import DaskRows

FORMULAS = [
    "y ~ t + (t | g)",
    "y ~ arm * t + (1 | text) + (0 + t | text)",
    "y ~ poly(t, 2) + arm + (1 | g) + (1 | h)",
    "y ~ t + (1 | g:h)",
    "y ~ t + arm",
]


@pytest.fixture
def local():
    with dask.config.set(scheduler="synchronous"):
        yield


def assert_same(found, expected, rel=1e-10):
    assert found.objective == pytest.approx(expected.objective, rel=rel)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=rel, atol=1e-10)
    np.testing.assert_allclose(found.params, expected.params, rtol=rel)
    np.testing.assert_allclose(found.bse, expected.bse, rtol=rel)
    assert list(found.params.index) == list(expected.params.index)
    assert found.ngroups == expected.ngroups
    assert found.nobs == expected.nobs
    assert found.dropped == expected.dropped


def assert_held(client, n):
    """The client lets go of futures on a thread of its own."""
    for _ in range(100):
        if len(client.futures) == n:
            break
        time.sleep(0.05)
    assert len(client.futures) == n


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("npartitions", [1, 2, 7])
def test_same_numbers_as_in_memory(data, formula, npartitions):
    ddf = dd.from_pandas(data, npartitions=npartitions)
    assert_same(bl.lmer(formula, ddf), bl.lmer(formula, data))


@pytest.mark.usefixtures("local")
def test_states_of_expressions_are_merged_where_the_partitions_lie(data, monkeypatch):
    """Moments come here, not the column."""
    sizes = []
    reduced = DaskRows.reduced

    def weighed(self, *arguments):
        found = reduced(self, *arguments)
        sizes.append(len(pickle.dumps(found)))
        return found

    monkeypatch.setattr(DaskRows, "reduced", weighed)
    formula = "y ~ scale(log(w)) + poly(t, 3) + (center(t) | g)"
    found = bl.lmer(formula, dd.from_pandas(data, npartitions=9))
    assert_same(found, bl.lmer(formula, data))
    assert sizes[0] < 12_000 < 8 * len(data)


@pytest.mark.usefixtures("local")
def test_same_random_effects_and_predictions(data):
    formula = "y ~ t + (t | text)"
    found = bl.lmer(formula, dd.from_pandas(data, npartitions=7))
    expected = bl.lmer(formula, data)
    pd.testing.assert_frame_equal(
        found.ranef()["text"], expected.ranef()["text"], check_index_type=False, rtol=1e-8
    )
    new = data.head(50)
    np.testing.assert_allclose(found.predict(new), expected.predict(new), rtol=1e-9)


@pytest.mark.usefixtures("local")
def test_statistics_with_weights_offset_and_contrasts(data):
    ddf = dd.from_pandas(data, npartitions=3)
    given = {"weights": "w", "offset": "t", "contrasts": {"arm": "sum"}}
    statistics = bl.SufficientStatistics.from_dask("y ~ arm + (1 | g)", ddf, **given)
    assert_same(statistics.fit(reml=False), bl.lmer("y ~ arm + (1 | g)", data, False, **given))


@pytest.mark.usefixtures("local")
def test_statistics_are_updated_by_partitions(data):
    formula = "y ~ t + (t | g)"
    statistics = bl.SufficientStatistics.from_data(formula, data[:1000])
    statistics.update(dd.from_pandas(data[1000:], npartitions=3))
    assert_same(statistics.fit(), bl.lmer(formula, data))


@pytest.mark.usefixtures("local")
def test_partitions_without_rows_or_without_complete_ones(data):
    """The first partitions are empty, or lack every response, or every category."""
    data = data.sort_values("arm", ignore_index=True)
    data.loc[:1500, "y"] = np.nan
    data.loc[2000:2600, "arm"] = None
    ddf = dd.from_pandas(data, npartitions=8)
    ddf = dd.concat([ddf[ddf.t > 1e9], ddf])
    for formula in ("y ~ t + (t | g)", "y ~ t + arm + (1 | g)"):
        assert_same(bl.lmer(formula, ddf), bl.lmer(formula, data))


@pytest.mark.usefixtures("local")
def test_levels_that_only_dropped_rows_have_are_no_levels(data):
    data = data.copy()
    data.loc[data["arm"] == "c", "y"] = np.nan
    formula = "y ~ arm + (1 | g)"
    found = bl.lmer(formula, dd.from_pandas(data, npartitions=4))
    assert list(found.params.index) == ["Intercept", "arm[T.b]"]
    assert_same(found, bl.lmer(formula, data))
    with pytest.raises(bl.DataError, match="'arm' has levels that the model was not fitted with"):
        found.predict(data)


@pytest.mark.usefixtures("local")
def test_categories_keep_their_own_order(data):
    data = data.copy()
    data["arm"] = pd.Categorical(data["arm"], categories=["c", "unused", "a", "b"])
    formula = "y ~ arm + (1 | g)"
    found = bl.lmer(formula, dd.from_pandas(data.sort_values("y"), npartitions=5))
    assert_same(found, bl.lmer(formula, data))


@pytest.mark.usefixtures("local")
def test_a_response_that_the_fixed_effects_explain_is_read_once_more(data):
    data = data.assign(y=data["t"] * 1e6 + data["y"])
    found = bl.lmer("y ~ t + (1 | g)", dd.from_pandas(data, npartitions=3))
    assert_same(found, bl.lmer("y ~ t + (1 | g)", data), rel=1e-9)


@pytest.mark.usefixtures("local")
def test_only_mentioned_columns_are_computed(data):
    ddf = dd.from_pandas(data, npartitions=2)
    ddf = ddf.assign(other=ddf.t.map_partitions(lambda _: 1 / 0, meta=("other", float)))
    assert bl.lmer("y ~ t + (1 | g)", ddf).nobs == data["y"].notna().sum()


@pytest.mark.usefixtures("local")
def test_values_that_can_not_be_used_are_named_with_their_partition(data):
    data = data.copy()
    data.loc[3500, "t"] = np.inf
    ddf = dd.from_pandas(data, npartitions=4)
    with pytest.raises(bl.DataError, match=r"partition 3: column 't' has infinite values.*row 500"):
        bl.lmer("y ~ t + (1 | g)", ddf)
    with pytest.raises(bl.DataError, match=r"partition \d: column 'y' has missing values"):
        bl.lmer("y ~ 1 + (1 | g)", ddf, missing="error")
    with pytest.raises(bl.DataError, match=r"no row is left: all 4000 rows"):
        bl.lmer("y ~ 1 + (1 | g)", dd.from_pandas(data.assign(y=np.nan), npartitions=2))
    with pytest.raises(bl.DataError, match=r"no column 'T' in the data. Did you mean 't'"):
        bl.lmer("y ~ T + (1 | g)", ddf)
    with pytest.raises(bl.DataError, match="empty"):
        bl.lmer("y ~ t + (1 | g)", ddf[ddf.y > 1e9])


def as_text(part, column):
    """Numbers become text, but in the first partition."""
    return part.assign(**{column: part[column].astype(str)}) if part.index[0] > 0 else part


def text_in_places(data, column, npartitions=2):
    with dask.config.set({"dataframe.convert-string": False}):
        ddf = dd.from_pandas(data, npartitions=npartitions)
        return ddf.map_partitions(as_text, column, meta=ddf._meta)


@pytest.mark.usefixtures("local")
def test_columns_that_change_their_kind_are_refused(data):
    numbers = data[["y", "t", "g"]]
    for column in ("t", "g"):
        ddf = text_in_places(numbers, column)
        wanted = rf"'{column}'.* holds numbers .* categories in partition 1"
        with pytest.raises(bl.DataError, match=wanted):
            bl.lmer("y ~ t + (1 | g)", ddf)


@pytest.mark.usefixtures("local")
def test_a_partition_without_a_value_has_columns_of_any_kind(data):
    data = data[["y", "t", "arm", "g"]].astype({"t": object, "arm": object})
    data.loc[:999, "arm"] = None
    data.loc[1000:1999, "t"] = None
    with dask.config.set({"dataframe.convert-string": False}):
        ddf = dd.from_pandas(data, npartitions=4)
    assert_same(bl.lmer("y ~ t + arm + (1 | g)", ddf), bl.lmer("y ~ t + arm + (1 | g)", data))


def test_what_is_no_dask_frame_is_refused(data):
    with pytest.raises(bl.DataError, match="'DataFrame' is no Dask data frame"):
        bl.SufficientStatistics.from_dask("y ~ t + (1 | g)", data)


def test_without_dask_the_extra_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    with pytest.raises(ImportError, match=r"pip install 'blocklmm\[dask\]'"):
        bl.SufficientStatistics.from_dask("y ~ t + (1 | g)", data)


def failing(part, at):
    if part.index[0] >= at:
        raise RuntimeError("the disk is gone")
    return part


@pytest.mark.usefixtures("local")
def test_a_partition_that_raises_ends_in_a_typed_error(data):
    ddf = dd.from_pandas(data, npartitions=4)
    ddf = ddf.map_partitions(failing, 2000, meta=ddf._meta)
    statistics = bl.SufficientStatistics.from_data("y ~ t + (1 | g)", data)
    with pytest.raises(bl.DataError, match="RuntimeError: the disk is gone"):
        statistics.update(ddf)
    assert statistics.nobs == data["y"].notna().sum()


def test_on_a_cluster(data, client):
    for formula in FORMULAS[:3]:
        ddf = dd.from_pandas(data, npartitions=7)
        assert_same(bl.lmer(formula, ddf), bl.lmer(formula, data))
    assert_held(client, 0)


def test_a_partition_that_raises_on_a_cluster_is_named(data, client):
    ddf = dd.from_pandas(data, npartitions=4)
    ddf = ddf.map_partitions(failing, 2000, meta=ddf._meta)
    with pytest.raises(bl.DataError, match=r"in partition [23]: RuntimeError: the disk is gone"):
        bl.lmer("y ~ t + (1 | g)", ddf)
    assert_held(client, 0)


def dies_once(part, marker):
    """Kill the worker that computes the last partition, the first time."""
    if part.index[0] > 2900 and not os.path.exists(marker):
        with open(marker, "w"):
            pass
        time.sleep(0.3)  # the other partitions have been reduced
        os.kill(os.getpid(), signal.SIGKILL)
    return part


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("groups", ["driver", "workers"])
def test_a_worker_killed_during_the_reduction_is_made_up_for(data, tmp_path, groups):
    marker = str(tmp_path / "died")
    ddf = dd.from_pandas(data, npartitions=4)
    ddf = ddf.map_partitions(dies_once, marker, meta=ddf._meta)
    found = bl.SufficientStatistics.from_dask("y ~ t + (t | g)", ddf, groups=groups).fit()
    assert os.path.exists(marker)
    assert_same(found, bl.lmer("y ~ t + (t | g)", data))
