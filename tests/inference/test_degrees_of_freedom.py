"""Degrees of freedom by brute force from n x n matrices, closed forms, and what is refused."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

SLEEP = bl.datasets.load("sleepstudy")


def made(seed, n=60, weighted=False):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 8, n), rng.integers(0, 6, n)
    x, t = rng.normal(size=n), rng.normal(size=n)
    y = 1 + x + rng.normal(size=8)[a] + t * rng.normal(size=8)[a] + rng.normal(size=6)[b]
    w = rng.uniform(0.3, 3, n) if weighted else np.ones(n)
    return pd.DataFrame(
        {"y": y + rng.normal(size=n) / np.sqrt(w), "x": x, "t": t, "a": a, "b": b, "w": w}
    )


FORMULAS = {
    "y ~ x + t + (t | a)": [("a", ["1", "t"], True)],
    "y ~ x + t + (t | a) + (1 | b)": [("a", ["1", "t"], True), ("b", ["1"], True)],
    "y ~ x + (1 | a) + (0 + t | a) + (1 | b)": [
        ("a", ["1"], True),
        ("a", ["t"], True),
        ("b", ["1"], True),
    ],
}


def covariance_matrices(data, terms):
    """dV in each variance and covariance of the random effects, and in sigma^2."""
    one = np.ones(len(data))
    out = []
    for group, names, _ in terms:
        same = (data[group].to_numpy()[:, None] == data[group].to_numpy()).astype(float)
        z = [one if name == "1" else data[name].to_numpy() for name in names]
        for j in range(len(z)):
            for i in range(j, len(z)):
                outer = np.outer(z[i], z[j])
                out.append(same * (outer if i == j else outer + outer.T))
    out.append(np.diag(1 / data["w"].to_numpy()))
    return out


def parameters(fit):
    out = []
    for term in fit.varcorr:
        for j in range(len(term.names)):
            out += [term.cov[i, j] for i in range(j, len(term.names))]
    return [*out, fit.sigma**2]


def design(data, fit):
    columns = {"Intercept": np.ones(len(data)), "x": data["x"], "t": data["t"]}
    return np.column_stack([columns[name] for name in fit.params.index])


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("weighted", [False, True])
def test_kenward_roger_by_dense_matrices(formula, weighted):
    """Kenward & Roger (1997), word by word, with n x n matrices."""
    data = made(3, weighted=weighted)
    fit = bl.lmer(formula, data, weights="w" if weighted else None)
    G = covariance_matrices(data, FORMULAS[formula])
    V = sum(tau * G_k for tau, G_k in zip(parameters(fit), G, strict=True))
    X = design(data, fit)
    inverse = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ inverse @ X)
    P = [-X.T @ inverse @ G_k @ inverse @ X for G_k in G]
    Q = [[X.T @ inverse @ G_k @ inverse @ G_l @ inverse @ X for G_l in G] for G_k in G]
    k = len(G)
    info = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            info[i, j] = 0.5 * (
                np.trace(inverse @ G[i] @ inverse @ G[j])
                - 2 * np.trace(phi @ Q[i][j])
                + np.trace(phi @ P[i] @ phi @ P[j])
            )
    W = np.linalg.inv(info)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ phi @ P[j]) for i in range(k) for j in range(k))
    adjusted = phi + 2 * phi @ U @ phi
    errors = fit._fixed_errors("kenward-roger")
    np.testing.assert_allclose(errors.cov, adjusted, rtol=1e-7)
    L = np.eye(len(phi))[1:]
    for rows in (L[:1], L):
        theta = rows.T @ np.linalg.inv(rows @ phi @ rows.T) @ rows
        q = len(rows)
        M = [theta @ phi @ P_i @ phi for P_i in P]
        A1 = sum(W[i, j] * np.trace(M[i]) * np.trace(M[j]) for i in range(k) for j in range(k))
        A2 = sum(W[i, j] * np.trace(M[i] @ M[j]) for i in range(k) for j in range(k))
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        d = 3 * q + 2 * (1 - g)
        E = 1 / (1 - A2 / q)
        variance = (
            2 / q * (1 + g / d * B) / ((1 - (q - g) / d * B) ** 2 * (1 - (q + 2 - g) / d * B))
        )
        rho = variance / (2 * E**2)
        df = 4 + (q + 2) / (q * rho - 1)
        scale = df / (E * (df - 2))
        beta = rows @ fit.params.to_numpy()
        F = scale / q * beta @ np.linalg.solve(rows @ adjusted @ rows.T, beta)
        found = errors.f_test(rows, beta)
        assert found.den_df == pytest.approx(df, rel=1e-6)
        assert found.statistic == pytest.approx(F, rel=1e-6)
        assert found.p_value == pytest.approx(stats.f.sf(F, q, df), rel=1e-6)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reml", [True, False])
def test_satterthwaite_by_differences(formula, reml):
    """2 v^2 / Var(v) from finite differences of the criterion with all parameters free."""
    data = made(11, n=90)
    fit = bl.lmer(formula, data, reml=reml)
    assert not fit.singular
    G, X, y = covariance_matrices(data, FORMULAS[formula]), design(data, fit), data["y"].to_numpy()

    def parts(tau):
        V = sum(t * G_k for t, G_k in zip(tau, G, strict=True))
        inverse = np.linalg.inv(V)
        S = X.T @ inverse @ X
        r = y - X @ np.linalg.solve(S, X.T @ inverse @ y)
        f = np.linalg.slogdet(V)[1] + r @ inverse @ r
        return f + (np.linalg.slogdet(S)[1] if reml else 0), np.diag(np.linalg.inv(S))

    tau = np.array(parameters(fit))
    h = 1e-3 * np.abs(tau) + 1e-4
    k = len(tau)
    H, J = np.zeros((k, k)), np.zeros((k, len(fit.params)))
    for i in range(k):
        e = np.zeros(k)
        e[i] = h[i]
        J[i] = (parts(tau + e)[1] - parts(tau - e)[1]) / (2 * h[i])
        for j in range(k):
            d = np.zeros(k)
            d[j] = h[j]
            corners = [parts(tau + a * e + b * d)[0] * a * b for a in (1, -1) for b in (1, -1)]
            H[i, j] = sum(corners) / (4 * h[i] * h[j])
    v = np.diag(fit.cov_params())
    expected = 2 * v**2 / np.einsum("ip,ij,jp->p", J, 2 * np.linalg.inv(H), J)
    np.testing.assert_allclose(fit.df, expected, rtol=2e-3)


def test_a_contrast_has_the_df_of_its_variance():
    fit = bl.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    L = np.array([[1.0, 4.5], [0.0, 2.0]])
    df = fit._fixed_errors().df(L)
    assert df[1] == pytest.approx(fit.df["Days"])
    assert df[0] == pytest.approx(17, rel=1e-6)  # the grand mean of a balanced design
    kr = fit._fixed_errors("kenward-roger")
    assert kr.df(L)[0] == pytest.approx(17, rel=1e-6)


def test_without_random_terms_all_are_the_residuals():
    fit = bl.lmer("Reaction ~ Days", SLEEP)
    for ddf in (None, "residual", "kenward-roger", "between-within"):
        np.testing.assert_allclose(fit.tidy(ddf=ddf)["df"], 178, rtol=1e-9)
    ml = fit.refit_ml()
    np.testing.assert_allclose(ml.df, 180)


def test_between_within():
    pastes = bl.lmer("strength ~ 1 + (1 | batch/cask)", bl.datasets.load("Pastes"))
    np.testing.assert_allclose(pastes.tidy(ddf="between-within")["df"], [9])
    data = SLEEP.copy()
    data["old"] = (data["Subject"].astype(int) % 3 == 0) * 1.0
    fit = bl.lmer("Reaction ~ Days + old + Days:old + (Days | Subject)", data)
    # 18 - 2 between subjects, 180 - 18 - 2 within
    np.testing.assert_allclose(fit.tidy(ddf="between-within")["df"], [16, 160, 16, 160])
    crossed = bl.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", bl.datasets.load("Penicillin"))
    with pytest.raises(bl.InferenceError, match="'sample' and 'plate' are crossed"):
        crossed.tidy(ddf="between-within")


def test_between_within_whatever_the_coding():
    """R: nlme 3.1-162, lme without an intercept has the same degrees of freedom of x."""
    data = made(6)
    data["h"] = np.array(list("uvw"))[np.arange(len(data)) % 3]
    coded = [bl.lmer(f"y ~ {start}h + x + (1 | a)", data) for start in ("", "0 + ")]
    df = [fit.tidy(ddf="between-within").set_index("term").loc["x", "df"] for fit in coded]
    assert df[0] == df[1] == len(data) - data["a"].nunique() - 3


def test_what_is_said_of_uncertified_fits():
    data = bl.datasets.load("sleepstudy")
    model = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", data)
    with pytest.warns(bl.ConvergenceWarning):
        fit = model.fit(start=[1, 0, 1], options=bl.FitOptions(max_evaluations=1))
    for ask in (
        lambda: fit.tidy(ddf="kenward-roger"),
        lambda: fit.tidy("random"),
        lambda: fit.influence(),
    ):
        with pytest.warns(bl.ConvergenceWarning, match="not certified"):
            ask()
    with pytest.warns(bl.BlocklmmWarning, match="no conditional AIC"):
        assert np.isnan(fit.caic().caic)


def test_nothing_is_known_of_variances_that_the_fixed_effects_take():
    """Fixed effects for the groups themselves: their variance has no information."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 5), "x": rng.normal(size=40)})
    data["y"] = rng.normal(size=40) + data["x"]
    with pytest.warns(bl.BlocklmmWarning, match="not identified"):
        fit = bl.lmer("y ~ x + C(g) + (1 | g)", data)
    with pytest.warns(bl.BlocklmmWarning, match="no Kenward-Roger degrees of freedom"):
        table = fit.tidy(ddf="Kenward-Roger").set_index("term")
    assert table["df"].isna().sum() == 8
    # x varies within the groups: as in the model of fixed groups
    assert table.loc["x", "df"] == pytest.approx(31)
    independent = bl.lmer("y ~ x + C(g)", data)
    assert table.loc["x", "std.error"] == pytest.approx(independent.bse["x"], rel=1e-6)
    with pytest.warns(bl.BlocklmmWarning, match="no between-within degrees of freedom"):
        table = fit.tidy(ddf="between-within")
    assert table["df"].isna().sum() == 8


def test_what_is_refused():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP, reml=False)
    with pytest.raises(bl.InferenceError, match="refit_reml"):
        fit.tidy(ddf="kenward-roger")
    assert fit.refit_reml().tidy(ddf="kenward-roger")["df"].iloc[1] == pytest.approx(17)
    with pytest.raises(bl.OptionError, match="ddf is one of 'satterthwaite'"):
        fit.tidy(ddf="kenward")
    for level in (0.0, 0.05, 1.0, 95, "x"):
        with pytest.raises(bl.OptionError, match="between 0 and 1"):
            fit.tidy(level=level)


def test_no_df_where_a_variance_that_matters_is_unknown():
    """The criterion does not depend on the groups' variance, but the intercept's error does."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(5), 6)
    data = pd.DataFrame({"g": g.astype(str), "h": g, "y": rng.normal(size=30)})
    with pytest.warns(bl.BlocklmmWarning, match="not identified"):
        fit = bl.lmer("y ~ C(g) + (1 | h)", data)
    with pytest.warns(bl.BlocklmmWarning, match="no Satterthwaite"):
        df = fit.df
    assert df.isna().any()


def test_intervals_and_tables_go_with_them():
    fit = bl.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    table, interval = fit.tidy(level=0.9), fit.conf_int(0.9, ddf="satterthwaite")
    half = stats.t.ppf(0.95, fit.df) * fit.bse
    np.testing.assert_allclose(table["conf.high"], fit.params + half)
    np.testing.assert_allclose(interval["lower"], fit.params - half)
    assert "kenward-roger" in fit.summary(ddf="kenward-roger")
    assert "z value" in fit.summary(ddf="asymptotic")
