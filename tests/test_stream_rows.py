"""Rows in chunks that leave the fit, are read once more, or changed since: what is told of them."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import polars as pl
import pytest

from .bad_data import DATA, FORMULA, N, says, with_values
from .test_stream_errors import SOURCES, chunks


@pytest.mark.parametrize("make", [chunks, lambda data: iter(chunks(data))])
def test_rows_are_counted_over_all_chunks(make):
    with says(bl.DataError, "'x'", "infinite", "2 rows (rows 30, 41, counting from 0)"):
        bl.lmer(FORMULA, make(with_values("x", [30, 41], np.inf)))
    with says(bl.DataError, "weights", "zero or negative", "1 row (row 59, counting from 0)"):
        bl.lmer(FORMULA, make(with_values("z", [59], 0.0)), weights="z")
    with says(bl.DataError, "weights are missing", "1 row (row 59, counting from 0)"):
        bl.lmer(FORMULA, make(with_values("z", [59], np.nan)), weights="z")
    with says(bl.DataError, "'g'", "infinite", "1 row (row 58, counting from 0)"):
        bl.lmer(FORMULA, make(with_values("g", [58], np.inf)))
    with says(bl.DataError, "'x'", "missing values", "1 row (row 40, counting from 0)"):
        bl.lmer(FORMULA, make(with_values("x", [40], np.nan)), missing="error")


def test_rows_of_expressions_are_counted_over_all_chunks():
    with says(bl.DataError, "'C(x)'", "infinite", "1 row (row 57, counting from 0)"):
        bl.lmer("y ~ C(x)", chunks(with_values("x", [57], np.inf).round({"x": 0})))
    with says(bl.DataError, "'x'", "infinite", "1 row (row 57, counting from 0)", "poly(x, 2)"):
        bl.lmer("y ~ poly(x, 2) + (1 | g)", chunks(with_values("x", [57], np.inf)))


def test_all_rows_are_missing():
    frame = DATA.assign(x=np.nan)
    for data in (chunks(frame), iter(chunks(frame))):
        with says(bl.DataError, "no row is left", "60 rows", "'x': 60"):
            bl.lmer(FORMULA, data)


@pytest.mark.parametrize("source", ["glob", "list", "relation"])
def test_levels_of_dropped_rows_are_none_of_the_models(tmp_path, source):
    data = with_values("x", [9, 30, 59], np.nan)
    data.loc[[30, 59], "a"] = ["only", "here"]
    data.loc[[30, 59], "g"] = [77, 78]
    fit = bl.lmer("y ~ a + x + (1 | g)", SOURCES[source](data, tmp_path))
    whole = bl.lmer("y ~ a + x + (1 | g)", data)
    assert fit.params.index.tolist() == whole.params.index.tolist()
    assert fit.params.index.tolist() == ["Intercept", "a[T.q]", "a[T.r]", "x"]
    assert fit.ngroups == {"g": 10}
    assert fit.dropped == whole.dropped
    assert fit.dropped.n_rows == 3
    assert fit.objective == pytest.approx(whole.objective, rel=1e-12)


def test_rows_that_come_once_are_not_fitted_again_after_an_error():
    model = bl.LinearMixedModel(FORMULA, iter(chunks(with_values("x", [40], np.inf))))
    with says(bl.DataError, "infinite"):
        model.fit()
    with pytest.raises(bl.DataError):
        model.fit()


def explained(left, by_groups):
    rng = np.random.default_rng(3)
    most = 1e3 * (rng.normal(size=10)[DATA["g"]] if by_groups else DATA["x"])
    return DATA.assign(y=most + left * (DATA["x"] + rng.normal(size=N)))


@pytest.mark.parametrize("by_groups", [False, True])
@pytest.mark.parametrize("left", [1e-2, 1e-4])
def test_a_second_pass_where_almost_nothing_is_left(left, by_groups):
    """The residual's variance has digits that sums of squares of the response don't hold."""
    data = explained(left, by_groups)
    whole = bl.lmer(FORMULA, data)
    for again in (chunks(data), pl.DataFrame(data).lazy(), lambda: iter(chunks(data))):
        fit = bl.lmer(FORMULA, again)
        assert fit.sigma == pytest.approx(whole.sigma, rel=1e-7)
        assert fit.objective == pytest.approx(whole.objective, rel=1e-10)


@pytest.mark.parametrize("by_groups", [False, True])
def test_rows_that_come_once_have_no_second_pass(by_groups):
    data = explained(1e-2, by_groups)
    with pytest.warns(bl.BlocklmmWarning, match=r"all but .* few digits") as caught:
        fit = bl.lmer(FORMULA, iter(chunks(data)))
    assert caught[0].filename == __file__
    assert fit.sigma == pytest.approx(bl.lmer(FORMULA, data).sigma, rel=1e-4)
    for left in (1e-6, 0.0):
        with says(bl.ConvergenceError, "'y' but for rounding", "can be read again") as caught:
            bl.lmer(FORMULA, iter(chunks(explained(left, by_groups))))
        assert "exactly" not in str(caught.value)
    assert bl.lmer(FORMULA, chunks(explained(1e-6, by_groups))).sigma > 0  # it was not explained


@pytest.mark.parametrize("by_groups", [False, True])
def test_nothing_is_left(by_groups):
    with says(bl.ConvergenceError, "explain the response 'y' exactly"):
        bl.lmer(FORMULA, chunks(explained(0.0, by_groups)))


def test_rows_that_are_not_those_that_were_fitted(tmp_path):
    path = tmp_path / "rows.parquet"
    DATA.to_parquet(path)
    fit = bl.lmer(FORMULA, path)
    DATA[:-3].to_parquet(path)
    for ask in (lambda f: f.fittedvalues, lambda f: f.augment(out=tmp_path / "out.parquet")):
        with says(bl.DataError, "changed since the fit", f"{N - 3} rows where {N}"):
            ask(fit)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("missing", ["drop", "error"])
def test_counts_of_an_error_are_those_of_the_rows_read(missing):
    data = with_values("x", 3, np.inf if missing == "drop" else np.nan)
    first = chunks(data)[0]
    known = f"1 row (row 3, counting from 0) of the first {len(first)}"
    with says(bl.DataError, "'x'", known):
        bl.lmer(FORMULA, chunks(data), missing=missing)
    with pytest.raises(bl.DataError) as error:
        bl.lmer(FORMULA, data, missing=missing)
    assert "of the first" not in str(error.value)
