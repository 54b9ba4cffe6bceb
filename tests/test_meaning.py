"""Formulas and data that are easily taken for something else."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

N = 120
RNG = np.random.default_rng(0)
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=N),
        "x": RNG.normal(size=N),
        "z": RNG.normal(size=N),
        "k": RNG.integers(1, 120, N).astype("int8"),
        "a": RNG.choice(list("uvw"), N),
        "b": RNG.choice(list("uv"), N),
        "yes": RNG.random(N) < 0.5,
        "g": np.arange(N) % 10,
        "pair": np.arange(N) // 2,
    }
)


def same(formula, other, data=DATA, **columns):
    fit = bl.lmer(formula, data)
    expected = bl.lmer(other, data.assign(**columns))
    assert fit.objective == pytest.approx(expected.objective, rel=1e-12)
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("response", "values"),
    [
        ("y^2", DATA.y**2),
        ("y**2", DATA.y**2),
        ("y - z", DATA.y - DATA.z),
        ("y-5", DATA.y - 5),
        ("2*y", 2 * DATA.y),
        ("y/2", DATA.y / 2),
        ("log(y+9)-1", np.log(DATA.y + 9) - 1),
    ],
)
def test_a_response_is_arithmetic(response, values):
    same(f"{response} ~ x", "r ~ x", r=values)


def test_offsets_and_weights_are_arithmetic():
    same("y ~ x + offset(z^2)", "r ~ x", r=DATA.y - DATA.z**2)
    same("y ~ x + offset(2*z)", "r ~ x", r=DATA.y - 2 * DATA.z)
    fit = bl.lmer("y ~ x", DATA, weights="z^2 + 1")
    expected = bl.lmer("y ~ x", DATA, weights=DATA.z.to_numpy() ** 2 + 1)
    assert fit.objective == expected.objective


def test_integers_do_not_wrap_around_in_expressions():
    k = DATA.k.astype(float)
    same("y ~ I(k^2)", "y ~ s", s=k**2)
    same("y ~ I(k - 100)", "y ~ s", data=DATA.assign(k=DATA.k.astype("uint8")), s=k - 100)
    same("y ~ I(-yes)", "y ~ s", s=-DATA.yes.astype(float))


def test_braces_and_comparisons():
    same("y ~ {x**2}", "y ~ s", s=DATA.x**2)
    same("y ~ C(x > 0)", "y ~ s", s=(DATA.x > 0).astype(float))
    assert len(bl.lmer("y ~ C(k % 3)", DATA).params) == 3


@pytest.mark.parametrize("concat", [lambda t: pa.concat_tables([t[:50], t[50:]]), pl.from_arrow])
def test_large_identifiers_stay_apart(concat):
    ids = 2**60 + np.arange(N) // 4 * 100
    table = concat(pa.table({"y": DATA.y, "id": ids}))
    fit = bl.lmer("y ~ 1 + (1 | id)", table)
    assert fit.ngroups == {"id": 30}
    assert fit.ranef()["id"].index[0] == 2**60


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_nullable_integer_groups(make):
    groups = [None if i < 3 else 2**60 + int(v) for i, v in enumerate(DATA.g)]
    column = pd.array(groups, dtype="Int64") if make is pd.DataFrame else groups
    fit = bl.lmer("y ~ x + (1 | g)", make({"y": DATA.y, "x": DATA.x, "g": column}))
    assert fit.dropped.n_rows == 3
    assert fit.dropped.by_column == {"g": 3}
    assert list(fit.ranef()["g"].index) == [2**60 + k for k in range(10)]


def test_only_the_first_factor_has_all_indicators_without_an_intercept():
    """As R's model.matrix; p and the number of thetas count in AIC and tests."""
    assert list(bl.lmer("y ~ 0 + a + b", DATA).params.index) == [
        "a[u]", "a[v]", "a[w]", "b[T.v]",
    ]  # fmt: skip
    assert list(bl.lmer("y ~ 0 + a*b", DATA).params.index)[3:] == [
        "b[T.v]", "a[T.v]:b[T.v]", "a[T.w]:b[T.v]",
    ]  # fmt: skip
    fit = bl.lmer("y ~ x + (0 + a + b | g)", DATA)
    assert list(fit.ranef()["g"].columns) == ["au", "av", "aw", "bv"]
    assert len(fit.theta) == 10


def test_booleans_are_categories():
    fit = bl.lmer("y ~ yes + (0 + yes | g)", DATA)
    assert list(fit.params.index) == ["Intercept", "yes[T.True]"]
    assert list(fit.ranef()["g"].columns) == ["yesFalse", "yesTrue"]
    assert len(fit.theta) == 3


def test_levels_of_dropped_rows_are_no_levels():
    """The first level has lost all its rows: the second becomes the baseline."""
    data = DATA.assign(a=pd.Categorical(DATA.a), x=DATA.x.where(DATA.a != "u"))
    fit = bl.lmer("y ~ a + x + (1 | g)", data)
    complete = data.dropna().assign(a=lambda d: d.a.cat.remove_unused_categories())
    expected = bl.lmer("y ~ a + x + (1 | g)", complete)
    assert list(fit.params.index) == list(expected.params.index) == ["Intercept", "a[T.w]", "x"]
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-10)
    assert fit.dropped_columns == ()
    np.testing.assert_allclose(fit.predict(complete), expected.fittedvalues, rtol=1e-8)


def test_levels_of_polars_types():
    a = DATA.a.tolist()
    frame = pl.DataFrame(
        {
            "y": DATA.y.to_numpy(),
            "enum": pl.Series(a, dtype=pl.Enum(["w", "v", "u"])),
            "plain": pl.Series(a, dtype=pl.Categorical),
        }
    )
    assert list(bl.lmer("y ~ enum", frame).params.index)[1:] == ["enum[T.v]", "enum[T.u]"]
    assert list(bl.lmer("y ~ plain", frame).params.index)[1:] == ["plain[T.v]", "plain[T.w]"]


def test_dotted_and_odd_names():
    data = DATA.assign(**{"my.z": DATA.z, "dose (mg^2)": DATA.x, "a:b": DATA.g})
    same("y ~ log(my.z + 9)", "y ~ s", data=data, s=np.log(DATA.z + 9))
    fit = bl.lmer("y ~ `dose (mg^2)` + (1 | `a:b`)", data)
    assert fit.params.index[1] == "dose (mg^2)"
    assert fit.ngroups == {"a:b": 10}
    assert bl.lmer("y ~ x + (1 | (g))", data).ngroups == {"g": 10}


def test_independent_slopes_on_pairs():
    """Two rows a group and two independent effects: Z could fit any y, but (x || g) can't.

    The number is that of lme4 1.1-31 on these data.
    """
    fit = bl.lmer("y ~ x + (x || pair)", DATA)
    assert fit.converged
    assert fit.objective == pytest.approx(333.7166904487, abs=1e-8)
    nearby = bl.LinearMixedModel("y ~ x + (x || pair)", DATA)
    for factor in (0.9, 1.1, 2.0):
        assert nearby.objective(fit.theta * factor + 0.01) > fit.objective


def test_a_variance_that_the_criterion_does_not_see():
    with pytest.warns(bl.BlocklmmWarning, match=r"\(1\|g\) are not identified"):
        bl.lmer("y ~ C(g) + (1|g)", DATA)
    with pytest.raises(bl.DataError, match=r"'zero' in .* is zero, or constant"):
        bl.lmer("y ~ x + (0 + zero | g)", DATA.assign(zero=0.0))


def test_flat_directions_are_counted():
    with pytest.warns(bl.BlocklmmWarning, match="not identified in 1 of 2 .* repeat one another"):
        fit = bl.lmer("y ~ x + (1 | g) + (1 | g)", DATA.assign(y=DATA.y + DATA.g))
    assert fit.converged
    assert "not identified in 1 of 2 directions" in fit.certificate.message


@pytest.mark.parametrize("seed", range(6))
def test_a_flat_ridge_is_certified(seed):
    """Fixed effects that take the intercepts' variance away leave a ridge, not a failure."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.normal(size=400), "f": rng.choice(list("abcd"), 400)})
    data["y"] = 0.5 * data.x + (data.f == "a") + rng.normal(size=400)
    with pytest.warns(bl.BlocklmmWarning, match="not all variances .* are identified"):
        fit = bl.lmer("y ~ f + (x | f)", data)
    assert fit.converged
    assert "not identified" in fit.certificate.message


def test_of_two_terms_that_one_text_makes_the_right_one_is_named():
    data = DATA.assign(outer=DATA.g // 4)
    with pytest.warns(bl.BlocklmmWarning, match=r"\(1\|outer/g\) by 'outer' are not identified"):
        bl.lmer("y ~ C(outer) + (1|outer/g)", data)


def test_r_s_in_and_true():
    same("y ~ x %in% a", "y ~ x:a")
    names = list(bl.lmer("y ~ poly(x, 2, raw=TRUE)", DATA).params.index)
    assert len(names) == 3


def test_text_with_a_value_for_each_row_is_no_category():
    text = DATA.assign(x=DATA.x.astype(str))
    with pytest.raises(bl.DataError, match=r"'x' has 120 different values .* \(1 \| x\)"):
        bl.lmer("y ~ x + (1 | g)", text)


def test_numpy_functions_that_work_row_by_row():
    fit = bl.lmer("y ~ np.where(x > 0, x, 0) + np.clip(z, -1, 1) + (1 | g)", DATA)
    np.testing.assert_allclose(fit.predict(DATA.head(9)), fit.predict()[:9], rtol=1e-12)


def test_arrays_of_weights_are_not_made_up_for_new_rows():
    fit = bl.lmer("y ~ x + (1 | g)", DATA, weights=DATA.z.to_numpy() ** 2 + 1)
    with pytest.raises(bl.DataError, match="weights='name'"):
        fit.predict(DATA.head(), interval="prediction")
    fit.predict(DATA.head(), interval="confidence")
    with pytest.raises(bl.DataError, match="weights"):
        bl.anova(fit, bl.lmer("y ~ (1 | g)", DATA))


def test_augmented_rows_keep_their_index():
    data = DATA[DATA.x > 0]
    found = bl.lmer("log(y + 99) ~ x + (1 | g)", data).augment()
    np.testing.assert_array_equal(found.index, data.index)
    np.testing.assert_array_equal(found["log(y + 99)"], np.log(data["y"] + 99))
    np.testing.assert_array_equal(found["x"], data["x"])


def test_an_offset_array_is_not_reused_for_new_rows():
    fit = bl.lmer("y ~ x + (1 | g)", DATA, offset=DATA.z.to_numpy())
    named = bl.lmer("y ~ x + (1 | g)", DATA, offset="z")
    np.testing.assert_array_equal(fit.predict(), named.predict())
    with pytest.raises(bl.DataError, match="offset='name'"):
        fit.predict(DATA.iloc[[100]])
    np.testing.assert_allclose(named.predict(DATA.iloc[[100]]), named.predict()[[100]])


def test_anova_of_other_rows():
    small = bl.lmer("y ~ 1 + (1 | g)", DATA[:50])
    with pytest.raises(bl.DataError, match="different values"):
        bl.anova(small, bl.lmer("y ~ x + (1 | g)", DATA[10:60]))
    bl.anova(small, bl.lmer("y ~ x + (1 | g)", DATA[:50]))
    with pytest.raises(TypeError, match="'int'"):
        bl.anova(small, 5)


def test_values_beyond_the_squares_of_doubles():
    with pytest.raises(bl.DataError, match="'x' is too large"):
        bl.lmer("y ~ x", DATA.assign(x=DATA.x * 1e200))
    with pytest.raises(bl.DataError, match="'y' is too small"):
        bl.lmer("y ~ x", DATA.assign(y=DATA.y * 1e-200))
    with pytest.raises(bl.DataError, match="'x' has infinite values in 1 row"):
        bl.lmer("y ~ poly(x, 2)", DATA.assign(x=DATA.x.where(DATA.index != 3, np.inf)))


def test_whole_column_expressions():
    """np.mean(x) is that of the whole column, not of a chunk, and can't be redone on new data."""
    rng = np.random.default_rng(1)
    n = 150_000
    data = pd.DataFrame({"x": np.arange(n) / n, "y": rng.normal(size=n)})
    fit = bl.lmer("y ~ 0 + I(x - np.mean(x))", data)
    centred = data.x - data.x.mean()
    assert fit.params.iloc[0] == pytest.approx(centred @ data.y / (centred @ centred))
    with pytest.raises(bl.DataError, match="whole column"):
        fit.predict(data.head())
    center = bl.lmer("y ~ 0 + center(x)", data)
    assert center.params.iloc[0] == pytest.approx(fit.params.iloc[0])
    np.testing.assert_allclose(center.predict(data.head()), center.predict()[:5])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: bl.lmer("y ~ C(a, contr.treatment('zz'))", DATA), bl.FormulaError),
        (lambda: bl.lmer("y ~ x", DATA, reml="ML"), TypeError),
        (lambda: bl.lmer("y ~ x", DATA, options={}), TypeError),
        (lambda: bl.lmer(["y ~ x"], DATA), bl.FormulaError),
        (lambda: bl.FitOptions(tolerance="a"), ValueError),
        (lambda: bl.lmer("y ~ x", DATA).refit(["a"] * N), bl.DataError),
        (lambda: bl.lmer("y ~ poly(x, 2)[1]", DATA), bl.FormulaError),
        (lambda: bl.lmer("y ~ nope(x)", DATA), bl.FormulaError),
    ],
)
def test_misuse_is_typed(call, error):
    with pytest.raises(error):
        call()


def test_a_fit_is_immutable():
    fit = bl.lmer("y ~ x + (1 | g)", DATA)
    with pytest.raises(AttributeError):
        fit.varcorr.sigma = 7
    with pytest.raises(ValueError, match="read-only"):
        fit.varcorr.terms[0].cov[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        fit.theta[0] = 1
    params = fit.params
    params["x"] = 99
    assert fit.params["x"] != 99
