"""Columns of X and Z follow R's coding; expressions remember their state; weights and offsets."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import BSpline

N = 60


def make_data():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N) + 5,
            "a": rng.choice(list("pqr"), N),
            "b": rng.choice(list("uv"), N),
            "k": rng.choice([2, 10, 33], N),
            "x": rng.normal(size=N),
            "z": rng.uniform(1, 5, N),
            "g": np.arange(N) % 10,
        }
    )


DATA = make_data()
y, x, z = (DATA[name].to_numpy() for name in ("y", "x", "z"))
one = np.ones(N)
p, q, r = ((DATA["a"] == level).to_numpy(float) for level in "pqr")
u, v = ((DATA["b"] == level).to_numpy(float) for level in "uv")
k2, k10, k33 = ((DATA["k"] == level).to_numpy(float) for level in (2, 10, 33))


def fixed_columns(formula, data=DATA, **options):
    """X with all its columns, dependent ones too, by name."""
    model = bl.LinearMixedModel(formula, data, **options)
    design = model._design
    X = design.matrix(model._rows, [design.columns[k][0] for k in design.x_columns])
    return pd.DataFrame(X, columns=design.x_names)


def random_columns(formula, data=DATA, **options):
    model = bl.LinearMixedModel(formula, data, **options)
    design = model._design
    Z = design.matrix(model._rows, [design.columns[k][0] for k in range(design.n_random)])
    return pd.DataFrame(Z, columns=design.z_names)


def assert_columns(found, expected, rtol=1e-15):
    assert list(found.columns) == list(expected)
    for k, (name, column) in enumerate(expected.items()):
        np.testing.assert_allclose(found.iloc[:, k], column, rtol=rtol, atol=rtol, err_msg=name)


A = {"p": p, "q": q, "r": r}
B = {"u": u, "v": v}

CODINGS = {
    "1": {"Intercept": one},
    "x": {"Intercept": one, "x": x},
    "0 + x": {"x": x},
    "a": {"Intercept": one, "a[T.q]": q, "a[T.r]": r},
    "0 + a": {"a[p]": p, "a[q]": q, "a[r]": r},
    "a - 1": {"a[p]": p, "a[q]": q, "a[r]": r},
    "0 + x + a": {"x": x, "a[p]": p, "a[q]": q, "a[r]": r},
    "a + b": {"Intercept": one, "a[T.q]": q, "a[T.r]": r, "b[T.v]": v},
    "a*b": {
        "Intercept": one,
        "a[T.q]": q,
        "a[T.r]": r,
        "b[T.v]": v,
        "a[T.q]:b[T.v]": q * v,
        "a[T.r]:b[T.v]": r * v,
    },
    "b*a": {
        "Intercept": one,
        "b[T.v]": v,
        "a[T.q]": q,
        "a[T.r]": r,
        "b[T.v]:a[T.q]": v * q,
        "b[T.v]:a[T.r]": v * r,
    },
    # the first factor's columns run fastest
    "a:b": {"Intercept": one} | {f"a[{i}]:b[{j}]": A[i] * B[j] for j in "uv" for i in "pqr"},
    "0 + a:b": {f"a[{i}]:b[{j}]": A[i] * B[j] for j in "uv" for i in "pqr"},
    "a + a:b": {
        "Intercept": one,
        "a[T.q]": q,
        "a[T.r]": r,
        "a[p]:b[T.v]": p * v,
        "a[q]:b[T.v]": q * v,
        "a[r]:b[T.v]": r * v,
    },
    "a/b": {
        "Intercept": one,
        "a[T.q]": q,
        "a[T.r]": r,
        "a[p]:b[T.v]": p * v,
        "a[q]:b[T.v]": q * v,
        "a[r]:b[T.v]": r * v,
    },
    "x:a": {"Intercept": one, "x:a[p]": x * p, "x:a[q]": x * q, "x:a[r]": x * r},
    "a:x": {"Intercept": one, "a[p]:x": x * p, "a[q]:x": x * q, "a[r]:x": x * r},
    "x + x:a": {"Intercept": one, "x": x, "x:a[T.q]": x * q, "x:a[T.r]": x * r},
    "x*a": {
        "Intercept": one,
        "x": x,
        "a[T.q]": q,
        "a[T.r]": r,
        "x:a[T.q]": x * q,
        "x:a[T.r]": x * r,
    },
    "x*a - x": {
        "Intercept": one,
        "a[T.q]": q,
        "a[T.r]": r,
        "a[p]:x": x * p,
        "a[q]:x": x * q,
        "a[r]:x": x * r,
    },
    "0 + a + x:a": {
        "a[p]": p,
        "a[q]": q,
        "a[r]": r,
        "a[p]:x": x * p,
        "a[q]:x": x * q,
        "a[r]:x": x * r,
    },
    "x:z": {"Intercept": one, "x:z": x * z},
    "a:x:z": {"Intercept": one} | {f"a[{i}]:x:z": A[i] * x * z for i in "pqr"},
    "a + b:x": {"Intercept": one, "a[T.q]": q, "a[T.r]": r, "b[u]:x": u * x, "b[v]:x": v * x},
    "C(k)": {"Intercept": one, "C(k)[T.10]": k10, "C(k)[T.33]": k33},
    "factor(k)*x": {
        "Intercept": one,
        "C(k)[T.10]": k10,
        "C(k)[T.33]": k33,
        "x": x,
        "C(k)[T.10]:x": k10 * x,
        "C(k)[T.33]:x": k33 * x,
    },
    "0 + C(k)": {"C(k)[2]": k2, "C(k)[10]": k10, "C(k)[33]": k33},
    "C(a, contr.sum)": {
        "Intercept": one,
        "C(a, contr.sum)[S.p]": p - r,
        "C(a, contr.sum)[S.q]": q - r,
    },
    "C(k, contr.helmert)": {
        "Intercept": one,
        "C(k, contr.helmert)[H.10]": k10 - k2,
        "C(k, contr.helmert)[H.33]": 2 * k33 - k10 - k2,
    },
    "C(a, contr.treatment(base='q'))": {
        "Intercept": one,
        "C(a, contr.treatment(base='q'))[T.p]": p,
        "C(a, contr.treatment(base='q'))[T.r]": r,
    },
    "I(x^2)": {"Intercept": one, "I(x ** 2)": x**2},
    "I(x > 0)": {"Intercept": one, "I(x > 0)": x > 0},
    "log(z) + sqrt(z)": {"Intercept": one, "log(z)": np.log(z), "sqrt(z)": np.sqrt(z)},
    "exp(-x) + abs(x)": {"Intercept": one, "exp(-x)": np.exp(-x), "abs(x)": np.abs(x)},
    "log(z):a": {"Intercept": one} | {f"log(z):a[{i}]": np.log(z) * A[i] for i in "pqr"},
    "np.log(z)": {"Intercept": one, "np.log(z)": np.log(z)},
    "x + offset(z)": {"Intercept": one, "x": x},
}


@pytest.mark.parametrize("right", CODINGS)
def test_fixed_columns(right):
    assert_columns(fixed_columns("y ~ " + right), CODINGS[right])


@pytest.mark.parametrize("right", CODINGS)
def test_a_fit_is_least_squares_on_these_columns(right):
    columns = CODINGS[right]
    X = np.column_stack(list(columns.values())).astype(float)
    offset = z if "offset" in right else 0.0
    fit = bl.lmer("y ~ " + right, DATA)
    kept = [name in fit.params.index for name in columns]
    assert tuple(np.array(list(columns))[np.logical_not(kept)]) == fit.dropped_columns
    assert np.linalg.matrix_rank(X) == len(fit.params)
    X = X[:, kept]
    beta, (left,), *_ = np.linalg.lstsq(X, y - offset, rcond=None)
    np.testing.assert_allclose(fit.params, beta, rtol=1e-9, atol=1e-11)
    assert fit.sigma**2 == pytest.approx(left / (N - X.shape[1]), rel=1e-12)
    errors = fit.sigma * np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
    np.testing.assert_allclose(fit.bse, errors, rtol=1e-9)
    np.testing.assert_allclose(fit.fittedvalues, X @ beta + offset, rtol=1e-11)


CONTRASTS = {
    "treatment": {"a[T.q]": q, "a[T.r]": r},
    "contr.treatment": {"a[T.q]": q, "a[T.r]": r},
    "sum": {"a[S.p]": p - r, "a[S.q]": q - r},
    "contr.sum": {"a[S.p]": p - r, "a[S.q]": q - r},
    "helmert": {"a[H.q]": q - p, "a[H.r]": 2 * r - p - q},
    "sas": {"a[T.p]": p, "a[T.q]": q},
    "SAS": {"a[T.p]": p, "a[T.q]": q},
    "poly": {"a[.L]": (r - p) / np.sqrt(2), "a[.Q]": (p - 2 * q + r) / np.sqrt(6)},
}


@pytest.mark.parametrize("kind", CONTRASTS)
def test_contrasts(kind):
    found = fixed_columns("y ~ a", contrasts={"a": kind})
    assert_columns(found, {"Intercept": one} | CONTRASTS[kind], rtol=1e-14)


def test_contrasts_of_several_factors():
    found = fixed_columns("y ~ a*b", contrasts={"a": "sum", "b": "sum"})
    P, Q, U = p - r, q - r, u - v
    expected = {"Intercept": one, "a[S.p]": P, "a[S.q]": Q, "b[S.u]": U}
    expected |= {"a[S.p]:b[S.u]": P * U, "a[S.q]:b[S.u]": Q * U}
    assert_columns(found, expected)


def test_contrasts_give_a_number_levels():
    assert_columns(
        fixed_columns("y ~ k", contrasts={"k": "sum"}),
        {"Intercept": one, "k[S.2]": k2 - k33, "k[S.10]": k10 - k33},
    )


def test_contrasts_do_not_touch_full_indicators():
    found = fixed_columns("y ~ 0 + a", contrasts={"a": "sum"})
    assert_columns(found, {"a[p]": p, "a[q]": q, "a[r]": r})


def test_sum_to_zero_effects_sum_to_zero():
    treated = bl.lmer("y ~ a", DATA)
    fit = bl.lmer("y ~ a", DATA, contrasts={"a": "sum"})
    means = [y[column > 0].mean() for column in (p, q, r)]
    assert fit.params["Intercept"] == pytest.approx(np.mean(means), rel=1e-12)
    effects = fit.params[["a[S.p]", "a[S.q]"]]
    np.testing.assert_allclose(effects, np.subtract(means[:2], np.mean(means)), rtol=1e-9)
    np.testing.assert_allclose(fit.fittedvalues, treated.fittedvalues, rtol=1e-12)


def test_levels_keep_the_columns_order():
    data = DATA.assign(a=pd.Categorical(DATA["a"], categories=["z", "r", "q", "p"]))
    assert_columns(fixed_columns("y ~ a", data), {"Intercept": one, "a[T.q]": q, "a[T.p]": p})
    assert_columns(random_columns("y ~ (a | g)", data), {"(Intercept)": one, "aq": q, "ap": p})


def test_levels_without_an_order_are_sorted():
    for data in (DATA, DATA[::-1].reset_index(drop=True)):
        assert list(fixed_columns("y ~ a + C(k)", data).columns) == [
            "Intercept",
            "a[T.q]",
            "a[T.r]",
            "C(k)[T.10]",
            "C(k)[T.33]",
        ]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("(1 | g)", {"(Intercept)": one}),
        ("(x | g)", {"(Intercept)": one, "x": x}),
        ("(0 + x | g)", {"x": x}),
        ("(a | g)", {"(Intercept)": one, "aq": q, "ar": r}),
        ("(0 + a | g)", {"ap": p, "aq": q, "ar": r}),
        ("(C(k) | g)", {"(Intercept)": one, "C(k)10": k10, "C(k)33": k33}),
        ("(x:z | g)", {"(Intercept)": one, "x:z": x * z}),
        ("(0 + x:a | g)", {"x:ap": x * p, "x:aq": x * q, "x:ar": x * r}),
        ("(I(x^2) | g)", {"(Intercept)": one, "I(x^2)": x**2}),
        ("(log(z) | g)", {"(Intercept)": one, "log(z)": np.log(z)}),
        ("(b || g)", {"(Intercept)": one, "bu": u, "bv": v}),
    ],
)
def test_random_columns(term, expected):
    assert_columns(random_columns("y ~ x + " + term), expected)
    fit = bl.lmer("y ~ x + " + term, DATA)
    assert fit.ranef()["g"].columns.tolist() == list(expected)


def test_the_contrasts_argument_is_about_fixed_effects():
    """As lme4's; contrasts in the formula count wherever they stand."""
    found = random_columns("y ~ a + (a | g)", contrasts={"a": "sum"})
    assert_columns(found, {"(Intercept)": one, "aq": q, "ar": r})
    found = random_columns("y ~ a + (C(a, contr.sum) | g)")
    assert_columns(
        found, {"(Intercept)": one, "C(a, contr.sum)p": p - r, "C(a, contr.sum)q": q - r}
    )


def test_double_bar_is_its_expansion():
    for short, long in [
        ("(x || g)", "(1 | g) + (0 + x | g)"),
        ("(a || g)", "(1 | g) + (0 + a | g)"),
        ("(b*x || g)", "(1 | g) + (0 + b | g) + (0 + x | g) + (0 + b:x | g)"),
    ]:
        fit, again = (bl.lmer("y ~ x + " + term, DATA, reml=False) for term in (short, long))
        assert fit.objective == again.objective
        np.testing.assert_array_equal(fit.theta, again.theta)


def test_scaling_and_centring():
    found = fixed_columns("y ~ scale(x) + center(z) + standardize(z)")
    centred = z - z.mean()
    np.testing.assert_allclose(found["scale(x)"], (x - x.mean()) / x.std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found["center(z)"], centred, rtol=1e-12, atol=1e-14)
    assert found["standardize(z)"].to_numpy() @ one == pytest.approx(0, abs=1e-12)


def test_poly_is_orthonormal_and_keeps_the_sign_of_the_power():
    found = fixed_columns("y ~ poly(x, 3)")
    assert list(found.columns) == ["Intercept", *(f"poly(x, 3)[{k}]" for k in (1, 2, 3))]
    P = found.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(P.T @ P, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(one @ P, 0, atol=1e-12)
    for k in (1, 2, 3):
        coefficients = np.polynomial.polynomial.polyfit(x, P[:, k - 1], 3)
        np.testing.assert_allclose(coefficients[k + 1 :], 0, atol=1e-10)
        assert coefficients[k] > 0


def test_splines_span_the_cubic_splines_with_knots_at_quantiles():
    found = fixed_columns("y ~ bs(x, df=5)").to_numpy()
    assert found.shape == (N, 6)
    knots = np.r_[[x.min()] * 4, np.quantile(x, [1 / 3, 2 / 3]), [x.max()] * 4]
    basis = BSpline.design_matrix(x, knots, 3).toarray()
    assert np.linalg.matrix_rank(np.hstack([found, basis])) == 6
    np.testing.assert_allclose(found[:, 1:], basis[:, 1:], atol=1e-12)


STATEFUL = [
    "poly(x, 2)",
    "scale(x)",
    "center(x)",
    "standardize(x)",
    "bs(x, df=4)",
    "scale(log(z))",
    "I(scale(x)^2)",
    "poly(x, 2):a",
    "a*scale(z)",
    "C(k)*center(x)",
]


@pytest.mark.parametrize("right", STATEFUL)
def test_states_are_reused_for_new_data(right):
    fit = bl.lmer(f"y ~ {right} + (scale(x) | g)", DATA)
    some = [41, 3, 3, 17]
    new = DATA.iloc[some]
    np.testing.assert_allclose(fit.predict(new), fit.fittedvalues[some], rtol=1e-13)
    alone = [fit.predict(new.iloc[[k]])[0] for k in range(len(some))]
    np.testing.assert_allclose(alone, fit.fittedvalues[some], rtol=1e-13)


def test_new_data_with_fewer_levels_keep_their_codes():
    fit = bl.lmer("y ~ a*b + C(k, contr.sum) + (0 + b | g)", DATA)
    rows = np.flatnonzero(r * v)
    np.testing.assert_allclose(fit.predict(DATA.iloc[rows]), fit.fittedvalues[rows], rtol=1e-13)
    recoded = DATA.assign(a=pd.Categorical(DATA["a"], categories=["r", "new", "p", "q"]))
    np.testing.assert_allclose(fit.predict(recoded), fit.fittedvalues, rtol=1e-13)


def test_whole_column_expressions_fit_and_refuse_new_data():
    fit = bl.lmer("y ~ np.cumsum(x) + (1 | g)", DATA)
    by_column = bl.lmer("y ~ s + (1 | g)", DATA.assign(s=np.cumsum(x)))
    assert fit.objective == pytest.approx(by_column.objective, rel=1e-12)
    np.testing.assert_allclose(fit.predict(), by_column.predict(), rtol=1e-12)
    with pytest.raises(bl.DataError, match=r"np\.cumsum\(x\).*new data.*center\(\)"):
        fit.predict(DATA)


@pytest.mark.parametrize(
    ("response", "values"),
    [("log(y)", np.log(y)), ("I(y^2)", y**2), ("sqrt(y)", np.sqrt(y)), ("`y`", y)],
)
def test_transformed_responses(response, values):
    fit = bl.lmer(f"{response} ~ x + (1 | g)", DATA)
    again = bl.lmer("t ~ x + (1 | g)", DATA.assign(t=values))
    assert fit.objective == pytest.approx(again.objective, rel=1e-13)
    np.testing.assert_allclose(fit.fittedvalues + fit.resid, values, rtol=1e-12)


def test_names_with_spaces():
    data = DATA.rename(columns={"x": "my x", "a": "my a", "g": "my g"})
    fit = bl.lmer("y ~ `my a` + I(`my x`^2) + (`my x` | `my g`)", data)
    again = bl.lmer("y ~ a + I(x^2) + (x | g)", DATA)
    assert fit.objective == again.objective
    assert fit.params.index.tolist()[:3] == ["Intercept", "my a[T.q]", "my a[T.r]"]
    assert list(fit.ngroups) == ["my g"]
    assert fit.ranef()["my g"].columns.tolist() == ["(Intercept)", "my x"]


def test_categories_of_expressions_with_such_names():
    data = DATA.rename(columns={"x": "my x", "z": "my z"})
    found = fixed_columns("y ~ C(`my x` * `my z` > 0) + (1 | g)", data)
    name = "C(`my x` * `my z` > 0)[T.1]"
    assert_columns(found, {"Intercept": one, name: (x * z > 0).astype(float)})


def test_dependent_columns_are_dropped_and_named():
    data = DATA.assign(x2=2 * x - 1, c=3.0, zero=0.0)
    fit = bl.lmer("y ~ x + x2 + z + c + zero + (1 | g)", data)
    assert fit.dropped_columns == ("x2", "c", "zero")
    assert fit.params.index.tolist() == ["Intercept", "x", "z"]
    assert fit.objective == bl.lmer("y ~ x + z + (1 | g)", data).objective
    assert "x2, c, zero" in fit.summary()
    np.testing.assert_allclose(fit.predict(data), fit.fittedvalues, rtol=1e-13)
    empty_cell = data[~((data["a"] == "r") & (data["b"] == "v"))]
    assert bl.lmer("y ~ a*b", empty_cell).dropped_columns == ("a[T.r]:b[T.v]",)


def weighted_least_squares(X, w, response):
    root = np.sqrt(w)
    return np.linalg.lstsq(X * root[:, None], root * response, rcond=None)[0]


@pytest.mark.parametrize("weights", ["z", z, "log(w3)", "I(1/z)"])
def test_weights(weights):
    data = DATA.assign(w3=np.exp(z))
    w = 1 / z if isinstance(weights, str) and weights == "I(1/z)" else z
    X = np.column_stack([one, x])
    fit = bl.lmer("y ~ x", data, weights=weights)
    beta = weighted_least_squares(X, w, y)
    np.testing.assert_allclose(fit.params, beta, rtol=1e-11)
    left = w @ (y - X @ beta) ** 2
    assert fit.sigma**2 == pytest.approx(left / (N - 2), rel=1e-12)
    ml = bl.lmer("y ~ x", data, reml=False, weights=weights)
    deviance = N * (1 + np.log(2 * np.pi * left / N)) - np.log(w).sum()
    assert ml.objective == pytest.approx(deviance, rel=1e-12)


@pytest.mark.parametrize(
    ("formula", "offset"),
    [
        ("y ~ x + offset(z) + (1 | g)", None),
        ("y ~ x + (1 | g)", "z"),
        ("y ~ x + (1 | g)", z),
        ("y ~ x + offset(log(ez)) + (1 | g)", None),
        ("y ~ x + offset(half) + (1 | g)", "half"),
        ("y ~ offset(half) + x + (1 | g) + offset(rest)", None),
    ],
)
def test_offsets(formula, offset):
    data = DATA.assign(ez=np.exp(z), half=z / 2, rest=z - z / 2)
    fit = bl.lmer(formula, data, offset=offset)
    plain = bl.lmer("d ~ x + (1 | g)", data.assign(d=y - z))
    assert fit.objective == pytest.approx(plain.objective, rel=1e-12)
    np.testing.assert_allclose(fit.params, plain.params, rtol=1e-10)
    np.testing.assert_allclose(fit.fittedvalues, plain.fittedvalues + z, rtol=1e-12)
    np.testing.assert_allclose(fit.resid, plain.resid, rtol=1e-9, atol=1e-12)


def test_an_offset_by_name_is_taken_from_new_data():
    new = DATA.iloc[[5, 2]].assign(z=[10.0, 20.0])
    for fit in (
        bl.lmer("y ~ x + offset(z) + (1 | g)", DATA),
        bl.lmer("y ~ x + (1 | g)", DATA, offset="z"),
    ):
        expected = fit.fittedvalues[[5, 2]] - z[[5, 2]] + [10.0, 20.0]
        np.testing.assert_allclose(fit.predict(new), expected, rtol=1e-13)


def test_weights_and_offset_may_have_names_that_are_no_expressions():
    data = DATA.rename(columns={"z": "my z"})
    fit = bl.lmer("y ~ x + (1 | g)", data, weights="my z", offset="my z")
    again = bl.lmer("y ~ x + (1 | g)", DATA, weights="z", offset="z")
    assert fit.objective == again.objective
