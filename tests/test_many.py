"""Many responses at once against the single fit of each, and what is made of awkward ones."""

from __future__ import annotations

import copy
import pickle
import warnings

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

COMMON = {"g": np.repeat(np.arange(24), 5), "t": np.tile(np.arange(5.0), 24)}


def one_factor(seed=0, balanced=False, n=120, n_groups=15):
    rng = np.random.default_rng(seed)
    if balanced:
        return pd.DataFrame({**COMMON, "a": np.tile(list("uvvuw"), 24)})
    return pd.DataFrame(
        {
            "g": rng.integers(0, n_groups, n),
            "h": rng.integers(0, 9, n),
            "t": rng.normal(size=n),
            "a": rng.choice(list("uvw"), n),
            "w": rng.uniform(0.2, 3, n),
            "o": rng.normal(scale=4, size=n),
        }
    )


def responses(frame, r, seed=1):
    """Small and large variances of the groups, none at all in some."""
    rng = np.random.default_rng(seed)
    g, t = frame["g"].to_numpy(), frame["t"].to_numpy()[:, None]
    size = rng.choice([0.0, 0.3, 2.0], size=(2, 1, r))
    b = size * rng.normal(size=(2, g.max() + 1, r))
    Y = 1 + t * rng.normal(size=r) + b[0][g] + b[1][g] * t + rng.normal(size=(len(g), r))
    if "h" in frame:
        Y += rng.normal(size=(frame["h"].max() + 1, r))[frame["h"]]
    return Y


def assert_single_fits(fits, formula, frame, Y, tolerance=1e-8, df=True, **arguments):
    """Every number is that of ``bl.lmer``; estimates in parts of their errors."""
    degrees = fits.df if df else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bl.BlocklmmWarning)
        for k, name in enumerate(fits.names):
            one = bl.lmer(f"y {formula}", frame.assign(y=Y[:, k]), **arguments)
            bse = one.bse.to_numpy()
            assert np.abs(fits.params.loc[name] - one.params).to_numpy() / bse == pytest.approx(
                0, abs=tolerance
            )
            assert fits.bse.loc[name].to_numpy() == pytest.approx(bse, rel=tolerance)
            assert fits.theta.loc[name].to_numpy() == pytest.approx(one.theta, abs=1e-7, rel=1e-7)
            assert fits.sigma[name] == pytest.approx(one.sigma, rel=tolerance)
            assert fits.objective[name] == pytest.approx(one.objective, abs=1e-8, rel=1e-12)
            assert fits.singular[name] == one.singular
            assert fits.converged[name] == one.converged
            assert fits.nobs[name] == one.nobs
            if degrees is not None:
                expected = one.df.to_numpy()
                np.testing.assert_allclose(degrees.loc[name], expected, rtol=1e-6)


FORMULAS = {
    "intercept": "~ t + (1 | g)",
    "slope": "~ t + (t | g)",
    "balanced": "~ t + (t | g)",
    "independent": "~ a * t + (t || g)",
    "no intercept": "~ 0 + t + (0 + t | g)",
    "no random terms": "~ a + t",
    "crossed": "~ t + (1 | g) + (1 | h)",
    "crossed slopes": "~ a + (t | g) + (1 | h)",
    "nested": "~ t + (1 | g/h)",
    "rank deficient": "~ t + I(2 * t - 1) + (1 | g)",
    "expressions": "~ poly(t, 2) + (I(t + 1) | g)",
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("reml", [True, False])
def test_each_response_has_its_single_fit(name, reml):
    frame = one_factor(balanced=name == "balanced")
    Y = responses(frame, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bl.BlocklmmWarning)
        fits = bl.lmer_many(FORMULAS[name], frame, Y, reml=reml)
        assert_single_fits(fits, FORMULAS[name], frame, Y, reml=reml)
    if name == "rank deficient":
        assert fits.dropped_columns == ("I(2 * t - 1)",)


def test_weights_and_offsets():
    frame = one_factor()
    Y = responses(frame, 6)
    for formula in ("~ t + (t | g) + offset(o)", "~ t + (1 | g) + (1 | h) + offset(o)"):
        fits = bl.lmer_many(formula, frame, Y, weights="w", offset="2 * t", names=list("ABCDEF"))
        assert_single_fits(fits, formula, frame, Y, weights="w", offset="2 * t")
    arrays = {"weights": frame["w"].to_numpy(), "offset": frame["o"].to_numpy()}
    fits = bl.lmer_many("~ t + (1 | g)", frame, Y, **arrays)
    assert_single_fits(fits, "~ t + (1 | g)", frame, Y, **arrays)


@pytest.mark.parametrize("formula", ["~ t + (t | g)", "~ t + (1 | g) + (1 | h)", "~ a + t"])
def test_shifts_and_scales(formula):
    frame = one_factor()
    Y = responses(frame, 3)
    scaled = np.column_stack([Y + 1e9, 1e12 * Y, 1e-12 * Y, 1e-12 * Y + 1e-3, Y - 3e4])
    fits = bl.lmer_many(formula, frame, scaled)
    # a shift by 1e9 leaves seven digits of y, the same in both
    assert_single_fits(fits, formula, frame, scaled)
    plain = bl.lmer_many(formula, frame, Y)
    np.testing.assert_allclose(fits.params[3:6], 1e12 * plain.params, rtol=1e-9)
    np.testing.assert_allclose(fits.sigma[6:9], 1e-12 * plain.sigma, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 9), st.booleans())
def test_blocks_order_and_precision_change_nothing(seed, r, block_size, is_single):
    frame = one_factor(seed % 100)
    Y = responses(frame, r, seed).astype(np.float32 if is_single else np.float64)
    expected = bl.lmer_many("~ t + (1 | g)", frame, Y.astype(np.float64))
    for values in (
        Y,
        np.asfortranarray(Y),
        np.repeat(Y, 2, axis=1)[:, ::2],
        np.repeat(Y, 3, axis=0)[::3],
    ):
        found = bl.lmer_many("~ t + (1 | g)", frame, values, block_size=block_size)
        pd.testing.assert_frame_equal(found.params, expected.params, rtol=1e-11)
        np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-12)


def test_threads_change_no_bit():
    frame = one_factor()
    Y = responses(frame, 21)
    for formula in ("~ t + (t | g)", "~ t + (1 | g) + (1 | h)"):
        one = bl.lmer_many(formula, frame, Y)
        two = bl.lmer_many(formula, frame, Y, options=bl.FitOptions(n_threads=3))
        pd.testing.assert_frame_equal(one.params, two.params, check_exact=True)
        pd.testing.assert_frame_equal(one.df, two.df, check_exact=True)


def test_any_table_of_responses(tmp_path):
    frame = one_factor()
    Y = responses(frame, 4)
    expected = bl.lmer_many("~ t + (1 | g)", frame, Y, names=list("abcd")).params
    table = pd.DataFrame(Y, columns=list("abcd"))
    np.save(tmp_path / "Y.npy", Y)
    on_disk = np.load(tmp_path / "Y.npy", mmap_mode="r")
    tables = [table, pl.from_pandas(table), pl.from_pandas(table).to_arrow(), table.to_dict("list")]
    for other in tables:
        found = bl.lmer_many("~ t + (1 | g)", frame, other, block_size=3)
        pd.testing.assert_frame_equal(found.params, expected, rtol=1e-11)
    named = bl.lmer_many("~ t + (1 | g)", pl.from_pandas(frame), on_disk, names=list("abcd"))
    pd.testing.assert_frame_equal(named.params, expected, rtol=1e-11)
    for dtype in ("int64", "int8", ">f8", "float16"):
        values = np.round(10 * Y).astype(dtype)
        found = bl.lmer_many("~ t + (1 | g)", frame, values)
        again = bl.lmer_many("~ t + (1 | g)", frame, values.astype(np.float64))
        pd.testing.assert_frame_equal(found.params, again.params, rtol=1e-11)


def test_constant_and_nearly_explained_responses():
    """They need their rows, and neither abort the others nor give a wrong number."""
    frame = one_factor()
    rng = np.random.default_rng(5)
    noise, t = rng.normal(size=len(frame)), frame["t"].to_numpy()
    b = rng.normal(size=15)[frame["g"]]
    Y = np.column_stack(
        [
            np.full(len(t), 3.25),
            np.zeros(len(t)),
            2 + 3 * t,
            2 + 3 * t + 1e-7 * noise,
            1e6 * b + noise,
            b + noise,
            np.where(np.arange(len(t)) == 0, 1e200, noise),
        ]
    )
    with pytest.warns(bl.BlocklmmWarning, match="4 of 7 responses have no fit"):
        fits = bl.lmer_many("~ t + (1 | g)", frame, Y)
    expected = ["constant", "constant", "exact fit"]
    assert fits.status[:3].tolist() == expected
    assert set(fits.status[3:6]) <= {"optimal", "singular"}
    assert fits.status[6] == "failed"
    assert "too large to be squared" in fits.failures[6]
    assert not fits.converged[[0, 1, 2, 6]].any()
    good = [3, 4, 5]
    kept = bl.lmer_many("~ t + (1 | g)", frame, Y[:, good], names=good)
    assert_single_fits(kept, "~ t + (1 | g)", frame, Y[:, good])
    pd.testing.assert_frame_equal(fits.params.loc[good], kept.params)
    with pytest.warns(bl.BlocklmmWarning, match="have no fit"):
        crossed = bl.lmer_many("~ t + (1 | g) + (1 | h)", frame, Y[:, :5])
    assert crossed.status[:3].tolist() == expected


def test_failures_are_the_errors_of_single_fits():
    """Each with the response's name."""
    frame = one_factor()
    rng = np.random.default_rng(5)
    noise, t = rng.normal(size=len(frame)), frame["t"].to_numpy()
    first = np.arange(len(t)) == 0
    Y = {
        "tiny": 1e-200 * noise,
        "tiny about a shift": 1e-200 + 1e-220 * noise,
        "huge": np.where(first, 1e200, noise),
        "still": np.full(len(t), 3.25),
        "nil": np.zeros(len(t)),
        "line": 2 + 3 * t,
        "infinite": np.where(first, np.inf, noise),
        "few": np.where(np.arange(len(t)) < 2, noise, np.nan),
    }
    with pytest.warns(bl.BlocklmmWarning, match="8 of 8 responses have no fit"):
        fits = bl.lmer_many("~ t + (1 | g)", frame, Y, missing="drop")
    for name, values in Y.items():
        with pytest.raises(bl.BlocklmmError) as caught:
            bl.lmer("y ~ t + (1 | g)", frame.assign(y=values))
        assert fits.failures[name] == str(caught.value).replace("'y'", repr(name))
    assert fits.status.tolist() == ["failed"] * 3 + ["constant"] * 2 + ["exact fit"] + 2 * [
        "failed"
    ]


def test_contrasts_are_those_of_single_fits():
    frame = one_factor()
    Y = responses(frame, 4)
    fits = bl.lmer_many("~ a + t + (t | g)", frame, Y, names=list("pqrs"))
    L = ["a[T.v] = a[T.w]", "t - 0.25", "Intercept + 2 * t = 1"]
    for ddf in ("satterthwaite", "residual", "asymptotic"):
        table = fits.contrast(L, ddf=ddf)
        assert table["response"].tolist() == [name for name in "pqrs" for _ in L]
        for k, name in enumerate("pqrs"):
            one = bl.lmer("y ~ a + t + (t | g)", frame.assign(y=Y[:, k]))
            expected = one.contrast(L, ddf=ddf).to_frame()
            own = table[table["response"] == name]
            for column in ("estimate", "std_error", "df", "statistic", "p_value"):
                np.testing.assert_allclose(own[column], expected[column], rtol=1e-7, atol=1e-12)


def test_tables():
    frame = one_factor()
    Y = responses(frame, 3)
    fits = bl.lmer_many("~ t + (t | g)", frame, Y, names=["x", "y", "z"])
    tidy, random, glance = fits.to_frame(), fits.to_frame("random"), fits.glance()
    for k, name in enumerate("xyz"):
        one = bl.lmer("y ~ t + (t | g)", frame.assign(y=Y[:, k]))
        own = tidy[tidy["response"] == name].drop(columns="response").reset_index(drop=True)
        pd.testing.assert_frame_equal(one.tidy(), own, rtol=1e-6, check_dtype=False)
        own = random[random["response"] == name].drop(columns="response").reset_index(drop=True)
        expected = one.tidy("random").drop(columns="std.error")
        pd.testing.assert_frame_equal(expected, own, rtol=1e-6, check_dtype=False)
        for column in ("nobs", "sigma", "logLik", "AIC", "BIC", "REMLcrit", "singular"):
            assert glance.loc[name, column] == pytest.approx(one.glance()[column][0], rel=1e-9)
        pvalues = fits.pvalues.loc[name].to_numpy()
        np.testing.assert_allclose(pvalues, one.pvalues, rtol=1e-6)
        again = fits.fit(name)
        assert again.objective == one.objective
        assert again.response_name == name
    assert list(fits.theta) == ["g.(Intercept)", "g.t.(Intercept)", "g.t"]
    assert len(fits) == 3
    assert "3 responses by REML" in repr(fits)


def test_fits_do_not_change_and_can_be_pickled():
    frame = one_factor()
    fits = bl.lmer_many("~ t + (1 | g)", frame, responses(frame, 3))
    with pytest.raises(AttributeError, match="can't be changed"):
        fits.reml = False
    with pytest.raises(AttributeError, match="can't be changed"):
        del fits.names
    params = fits.params
    params.iloc[0] = 9.0
    assert (fits.params.iloc[0] != 9.0).all()
    for twin in (copy.copy(fits), copy.deepcopy(fits)):  # which have the data still
        assert twin.contrast("t - Intercept").equals(fits.contrast("t - Intercept"))
    known = fits.df
    again = pickle.loads(pickle.dumps(fits))
    assert len(pickle.dumps(fits)) < 10_000
    pd.testing.assert_frame_equal(again.df, known)
    pd.testing.assert_frame_equal(
        again.contrast("t", ddf="residual"), fits.contrast("t", "residual")
    )
    for call in (lambda: again.contrast("t - Intercept"), lambda: again.fit(0)):
        with pytest.raises(bl.DataError, match="without their data"):
            call()


def test_what_is_not_certified_is_said_once():
    frame = one_factor()
    Y = responses(frame, 5)
    with pytest.warns(bl.ConvergenceWarning, match="5 of 5 responses are not certified") as caught:
        fits = bl.lmer_many("~ t + (t | g)", frame, Y, options=bl.FitOptions(max_evaluations=1))
    assert caught[0].filename == __file__
    assert (fits.status == "stopped").all()
    assert len(caught) == 1


def test_a_progress_bar(capsys):
    frame = one_factor()
    bl.lmer_many("~ t + (1 | g)", frame, responses(frame, 5), progress=True)
    assert "/5" in capsys.readouterr().err
    bl.lmer_many("~ t + (1 | g)", frame, responses(frame, 5), progress=False)
    assert capsys.readouterr().err == ""


GOOD = one_factor()
Y_GOOD = responses(GOOD, 3)


@pytest.mark.parametrize(
    ("Y", "texts"),
    [
        (Y_GOOD[:, 0], ["shape (120,)", "bl.lmer fits a single response"]),
        (Y_GOOD[None], ["shape (1, 120, 3)"]),
        (Y_GOOD[:, :0], ["no columns"]),
        (Y_GOOD[1:], ["119 rows", "the design 120"]),
        (Y_GOOD + 1j, ["complex128", "real numbers"]),
        (Y_GOOD.astype(str), ["dtype <U", "real numbers"]),
        (pd.DataFrame(Y_GOOD).assign(u="a"), ["'u'", "real numbers"]),
        (pl.DataFrame({"u": ["a"] * 120}), ["'u'", "real numbers"]),
        (pl.DataFrame(Y_GOOD).lazy(), [".collect()"]),
        (pd.DataFrame(Y_GOOD, columns=["a", "b", "a"]), ["same name: 'a'"]),
        (pd.DataFrame(Y_GOOD).sample(frac=1, random_state=1), ["labels in another order"]),
        ("text", ["'str'", "no matrix of numbers"]),
        (None, ["'NoneType'", "no matrix of numbers"]),
        ([[1.0], [2.0, 3.0]], ["no matrix of numbers"]),
    ],
)
def test_tables_that_are_none(Y, texts):
    with pytest.raises(bl.DataError) as caught:
        bl.lmer_many("~ t + (1 | g)", GOOD, Y)
    for text in texts:
        assert text in str(caught.value)


def test_names_that_do_not_fit():
    several = [("a", 1), ("a", 2), ("b", 1)]
    for names, text in [
        (["a", "b"], "2 names"),
        (["a", "a", "b"], "same name"),
        ("abc", "list"),
        (pd.MultiIndex.from_tuples(several), "2 levels of labels"),
    ]:
        with pytest.raises(bl.DataError, match=text):
            bl.lmer_many("~ t + (1 | g)", GOOD, Y_GOOD, names=names)
    table = pd.DataFrame(Y_GOOD, columns=pd.MultiIndex.from_tuples(several))
    with pytest.raises(bl.DataError, match=r"not 2 levels of labels: give names, such as \["):
        bl.lmer_many("~ t + (1 | g)", GOOD, table)
    names = ["_".join(map(str, labels)) for labels in table.columns]
    fits = bl.lmer_many("~ t + (1 | g)", GOOD, table, names=names)
    assert fits.params.index.tolist() == ["a_1", "a_2", "b_1"]


def test_formulas_with_a_response():
    with pytest.raises(bl.FormulaError, match="columns of Y") as caught:
        bl.lmer_many("  y ~ t + (1 | g)", GOOD, Y_GOOD)
    assert str(caught.value).endswith("\n      y ~ t + (1 | g)\n      ^")
    for formula in ("t + (1 | g)", 5, "~ t + (1 | g) ~ t"):
        with pytest.raises(bl.FormulaError):
            bl.lmer_many(formula, GOOD, Y_GOOD)
    with pytest.raises(bl.DataError, match="no column 'x'"):
        bl.lmer_many("~ x + (1 | g)", GOOD, Y_GOOD)


def test_options_that_are_none():
    for arguments, text in [
        ({"missing": "ignore"}, "missing is one of 'error', 'drop'"),
        ({"reml": 1}, "reml is True or False"),
        ({"block_size": 0}, "block_size is a whole number"),
        ({"progress": "yes"}, "progress is True or False"),
    ]:
        with pytest.raises(bl.OptionError, match=text):
            bl.lmer_many("~ t + (1 | g)", GOOD, Y_GOOD, **arguments)
    with pytest.raises(TypeError, match="FitOptions"):
        bl.lmer_many("~ t + (1 | g)", GOOD, Y_GOOD, options={})
    fits = bl.lmer_many("~ t + (1 | g)", GOOD, Y_GOOD)
    with pytest.raises(bl.OptionError, match="ddf is one of 'satterthwaite'"):
        fits.contrast("t", ddf="kenward-roger")
    with pytest.raises(bl.OptionError, match="effects is one of"):
        fits.to_frame("all")
    with pytest.raises(bl.DataError, match="no response 'z'"):
        fits.fit("z")
    with pytest.raises(bl.DataError, match="no coefficient 'x'"):
        fits.contrast("x")


@pytest.mark.parametrize("seed", range(3))
def test_designs_of_any_generator(seed):
    frame = one_factor()
    noise = np.random.default_rng(seed).standard_normal(len(frame))
    fits = bl.lmer_many("~ z + (1 | g)", frame.assign(z=noise), responses(frame, 2))
    assert fits.converged.all()
