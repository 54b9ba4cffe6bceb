"""Several grouping factors: all that fits offer, against dense formulas in the user's units."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import blocklmm as bl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from threadpoolctl import threadpool_info

from .bad_data import says

N = 240
FORMULAS = {
    "crossed": "y ~ x + (1 | a) + (1 | b)",
    "slopes": "y ~ x + (x | a) + (1 | b)",
    "nested": "y ~ x + (1 | b/c)",
    "three": "y ~ x + (1 | a) + (x || b) + (1 | b:c)",
}


def make_data(seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, N), rng.integers(0, 6, N)
    c = rng.integers(0, 3, N)
    x = rng.normal(size=N) + 2
    y = 1 + 0.5 * x + rng.normal(size=12)[a] + 0.6 * rng.normal(size=12)[a] * x
    y += rng.normal(size=6)[b] + 0.8 * rng.normal(size=18)[3 * b + c] + rng.normal(size=N)
    labels = np.array([f"a{k}" for k in range(12)])[a]
    weights = rng.uniform(0.5, 2, N)
    return pd.DataFrame({"y": y, "x": x, "a": labels, "b": b + 10, "c": c, "w": weights})


DATA = make_data()


class Dense:
    """V, P and the prediction equations of a fit, written out in the user's columns."""

    def __init__(self, fit, data):
        n = len(data)
        self.W_inverse = np.eye(n)
        self.X = np.column_stack([np.ones(n), data["x"]])
        self.Z, self.Sigma, self.names = [], [], []
        for term in fit.varcorr:
            factor = term.group.split(".")[0]
            keys = [data[name].astype(str) for name in factor.split(":")]
            label = keys[0].str.cat(keys[1:], sep=":") if keys[1:] else keys[0]
            columns = [np.ones(n) if name == "(Intercept)" else data["x"] for name in term.names]
            levels = sorted(label.unique())
            for level in levels:
                for k, column in enumerate(columns):
                    self.Z.append(np.where(label == level, column, 0.0))
                    self.names.append((factor, level, term.names[k]))
            self.Sigma.append(np.kron(np.eye(len(levels)), term.cov))
        self.Z = np.column_stack(self.Z)
        q = self.Z.shape[1]
        G = np.zeros((q, q))
        at = 0
        for block in self.Sigma:
            G[at : at + len(block), at : at + len(block)] = block
            at += len(block)
        self.G = G
        self.R = fit.sigma**2 * np.eye(n)

    def solve(self, y):
        V = self.Z @ self.G @ self.Z.T + self.R
        inverse = np.linalg.inv(V)
        cov_beta = np.linalg.inv(self.X.T @ inverse @ self.X)
        beta = cov_beta @ self.X.T @ inverse @ y
        C = self.G @ self.Z.T @ inverse
        b = C @ (y - self.X @ beta)
        # of the errors (beta^ - beta, b^ - b)
        spread = C @ self.X @ cov_beta
        cov_b = self.G - C @ self.Z @ self.G + C @ self.X @ spread.T
        joint = np.block([[cov_beta, -spread.T], [-spread, cov_b]])
        return beta, b, cov_beta, self.G - C @ self.Z @ self.G, joint


@pytest.fixture(scope="module", params=FORMULAS)
def fit(request):
    return bl.lmer(FORMULAS[request.param], DATA)


def test_estimates_are_those_of_the_dense_equations(fit):
    dense = Dense(fit, DATA)
    beta, b, cov_beta, conditional, joint = dense.solve(DATA["y"].to_numpy())
    np.testing.assert_allclose(fit.params, beta, rtol=1e-9)
    np.testing.assert_allclose(fit.cov_params(), cov_beta, rtol=1e-8)
    ranef, sd, wide = fit.ranef(), fit.ranef_sd(), fit.ranef_sd(fixed_uncertainty=True)
    errors = np.diag(joint)[2:]
    for k, (factor, level, name) in enumerate(dense.names):
        table = ranef[factor]
        row = table.index.astype(str).get_loc(level)
        column = list(table.columns).index(name)
        assert table.iloc[row, column] == pytest.approx(b[k], rel=1e-7, abs=1e-9)
        found = sd[factor].iloc[row, column], wide[factor].iloc[row, column]
        assert found[0] ** 2 == pytest.approx(conditional[k, k], rel=1e-7)
        assert found[1] ** 2 == pytest.approx(errors[k], rel=1e-7)
    fitted = dense.X @ beta + dense.Z @ b
    np.testing.assert_allclose(fit.fittedvalues, fitted, rtol=1e-8)
    np.testing.assert_allclose(fit.resid, DATA["y"] - fitted, atol=1e-7)


def test_prediction_intervals_are_those_of_the_dense_equations(fit):
    """Known levels in combinations that no row has, and unknown ones, factor by factor."""
    dense = Dense(fit, DATA)
    beta, b, _, _, joint = dense.solve(DATA["y"].to_numpy())
    new = pd.DataFrame(
        {
            "x": [0.0, 1.5, 3.0, -2.0, 1.0],
            "a": ["a1", "a7", "unknown", "a3", "unknown"],
            "b": [10, 99, 12, 15, 99],
            "c": [0, 1, 2, 7, 1],
        }
    )
    found = fit.predict(new, new_levels="population", interval="confidence")
    for row in range(len(new)):
        x = np.array([1.0, new["x"][row]])
        z = np.zeros(len(dense.names))
        extra = 0.0
        for term in fit.varcorr:
            factor = term.group.split(".")[0]
            level = ":".join(str(new[name][row]) for name in factor.split(":"))
            effects = np.array([1.0 if n == "(Intercept)" else x[1] for n in term.names])
            at = [
                k
                for k, (f, lv, n) in enumerate(dense.names)
                if f == factor and lv == level and n in term.names
            ]
            if at:
                z[at] = effects
            else:
                extra += effects @ term.cov @ effects
        mean = x @ beta + z @ b
        both = np.concatenate([x, z])
        half = 1.959963984540054 * np.sqrt(both @ joint @ both + extra)
        assert found["mean"][row] == pytest.approx(mean, rel=1e-8)
        assert found["upper"][row] - found["mean"][row] == pytest.approx(half, rel=1e-7)
    with says(bl.DataError, "levels that the model was not fitted with", "new_levels"):
        fit.predict(new)


def test_marginal_covariance_of_a_level(fit):
    dense = Dense(fit, DATA)
    V = dense.Z @ dense.G @ dense.Z.T + dense.R
    factor = "b"
    rows = np.flatnonzero(DATA["b"] == 12)
    found = fit.marginal_cov(12, group=factor)
    np.testing.assert_allclose(found, V[np.ix_(rows, rows)], rtol=1e-8, atol=1e-10)
    assert np.allclose(np.diag(fit.marginal_corr(12, group=factor)), 1)
    with says(bl.DataError, "several grouping factors", "group="):
        fit.marginal_cov(12)
    with says(bl.DataError, "no grouping factor 'bb'", "Did you mean 'b'"):
        fit.marginal_cov(12, group="bb")
    with says(bl.DataError, "'b' has no level 77"):
        fit.marginal_cov(77, group="b")


def test_icc_by_factor(fit):
    dense = Dense(fit, DATA)
    total = np.einsum("ni,ij,nj->n", dense.Z, dense.G, dense.Z).mean()
    icc = fit.icc()
    assert icc.adjusted == pytest.approx(total / (total + fit.sigma**2), rel=1e-9)
    assert sum(icc.by_group.values()) == pytest.approx(icc.adjusted)
    assert set(icc.by_group) == set(fit.ngroups)


def test_shrinkage_weights_are_reliabilities(fit):
    sd, shrinkage = fit.ranef_sd(), fit.shrinkage()
    for factor, table in fit.ranef().items():
        own = [t for t in fit.varcorr if t.group.split(".")[0] == factor]
        if sum(len(t.names) for t in own) > 1:
            continue
        weight = 1 - sd[factor].iloc[:, 0] ** 2 / own[0].cov[0, 0]
        np.testing.assert_allclose(shrinkage[factor]["weight"], weight, rtol=1e-7)
        np.testing.assert_array_equal(shrinkage[factor]["blup"], table.iloc[:, 0])


def test_coefficients_by_factor(fit):
    for factor, table in fit.coef().items():
        ranef = fit.ranef()[factor]
        expected = fit.params["Intercept"] + ranef["(Intercept)"]
        np.testing.assert_allclose(table["Intercept"], expected)
        slope = ranef.get("x", 0.0)
        np.testing.assert_allclose(table["x"], fit.params["x"] + slope)


def test_pickles_and_copies_give_the_same(fit):
    for other in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        assert other.objective == fit.objective
        for factor, table in fit.ranef().items():
            pd.testing.assert_frame_equal(other.ranef()[factor], table)
        new = DATA.head(7)
        np.testing.assert_array_equal(other.predict(new), fit.predict(new))
        assert other.refit_ml().objective == fit.refit_ml().objective


def test_any_frame_gives_the_same(fit):
    for data in (pl.from_pandas(DATA), DATA.to_dict("list"), pl.from_pandas(DATA).to_arrow()):
        assert bl.lmer(fit.formula, data).objective == fit.objective
    shuffled = DATA.sample(frac=1, random_state=1)
    assert bl.lmer(fit.formula, shuffled).objective == pytest.approx(fit.objective, rel=1e-12)


def test_threads_change_no_bit(fit):
    other = bl.lmer(fit.formula, DATA, options=bl.FitOptions(n_threads=2))
    assert other.objective == fit.objective
    assert other.theta.tobytes() == fit.theta.tobytes()


def test_refits_and_simulations(fit):
    again = fit.refit(DATA["y"])
    assert again.objective == pytest.approx(fit.objective, abs=1e-9)
    draws = fit.simulate(400, seed=3)
    centred = draws - draws.mean(axis=1, keepdims=True)
    dense = Dense(fit, DATA)
    V = dense.Z @ dense.G @ dense.Z.T + dense.R
    assert (centred**2).mean() == pytest.approx(np.diag(V).mean(), rel=0.1)
    rows = np.flatnonzero(DATA["b"] == 12)[:12]
    sample = np.cov(draws[rows])
    off = ~np.eye(len(rows), dtype=bool)
    assert sample[off].mean() == pytest.approx(V[np.ix_(rows, rows)][off].mean(), abs=0.6)


def test_weights_and_offset():
    """With integer weights V is that of repeated rows' means: compare with the dense criterion."""
    formula = "y ~ x + (1 | a) + (1 | b) + offset(w)"
    fit = bl.lmer(formula, DATA, weights="w", reml=False)
    dense = Dense(fit, DATA)
    dense.R = fit.sigma**2 * np.diag(1 / DATA["w"])
    y = (DATA["y"] - DATA["w"]).to_numpy()
    beta, *_ = dense.solve(y)
    np.testing.assert_allclose(fit.params, beta, rtol=1e-8)
    V = dense.Z @ dense.G @ dense.Z.T + dense.R
    e = y - dense.X @ beta
    expected = np.linalg.slogdet(V)[1] + e @ np.linalg.solve(V, e) + N * np.log(2 * np.pi)
    assert fit.objective == pytest.approx(expected, rel=1e-10)


def test_rows_that_miss_a_level_are_dropped():
    data = DATA.assign(b=DATA["b"].astype("Int64"))
    data.loc[[3, 8], "a"] = None
    data.loc[[8, 9], "b"] = pd.NA
    fit = bl.lmer("y ~ x + (1 | a) + (1 | b)", data)
    kept = DATA.drop(index=[3, 8, 9])
    assert fit.nobs == len(kept)
    assert fit.dropped.by_column == {"a": 2, "b": 2}
    other = bl.lmer("y ~ x + (1 | a) + (1 | b)", kept)
    assert fit.objective == pytest.approx(other.objective, rel=1e-12)
    assert len(fit.fittedvalues) == len(kept)
    with says(bl.DataError, "'a'", "'b'", "missing"):
        bl.lmer("y ~ x + (1 | a) + (1 | b)", data, missing="error")


@pytest.mark.parametrize("seed", range(6))
def test_singular_fits_are_certified(seed):
    """Balanced data whose variance between the levels of b is below what noise gives."""
    rng = np.random.default_rng(seed)
    a, b = np.repeat(np.arange(8), 12), np.tile(np.repeat(np.arange(4), 3), 8)
    noise = rng.normal(size=96)
    noise -= np.array([noise[b == k].mean() for k in range(4)])[b]
    data = {"y": rng.normal(size=8)[a] + noise, "a": a, "b": b}
    fit = bl.lmer("y ~ 1 + (1 | a) + (1 | b)", data)
    assert fit.varcorr["b"].cov[0, 0] == 0
    assert fit.singular
    assert fit.converged
    assert "singular" in fit.certificate.message
    alone = bl.lmer("y ~ 1 + (1 | a)", data)
    assert fit.objective == pytest.approx(alone.objective, abs=1e-9)


def test_a_factor_with_all_levels_in_one_other():
    """A term on a:b beside one on b:a is the same factor under another name."""
    with says(bl.DataError, "'a:b'", "'b:a'", "same way"):
        bl.lmer("y ~ x + (1 | a:b) + (1 | b:a)", DATA)


def test_factors_that_split_the_rows_alike_are_named():
    data = DATA.assign(other=DATA["a"].str.upper())
    with says(bl.DataError, "'a'", "'other'", "same way", "(1 | other)"):
        bl.lmer("y ~ x + (1 | a) + (1 | other)", data)
    with says(bl.DataError, "'a'", "'other:a'", "same way"):
        bl.lmer("y ~ x + (1 | a/other)", data)
    # different columns on one partition are two terms on one factor
    two = bl.lmer("y ~ x + (1 | a) + (0 + x | other)", data)
    one = bl.lmer("y ~ x + (x || a)", data)
    assert two.objective == pytest.approx(one.objective, abs=1e-8)


def test_too_many_levels_are_named():
    data = DATA.assign(row=np.arange(N), half=np.arange(N) // 2)
    with says(bl.DataError, "'row'", f"as many levels as there are rows ({N})"):
        bl.lmer("y ~ x + (1 | a) + (1 | row)", data)
    with says(bl.DataError, "(x | half)", "random effects"):
        bl.lmer("y ~ x + (1 | a) + (x | half)", data)
    with says(bl.DataError, "'one'", "one level only"):
        bl.lmer("y ~ x + (1 | a) + (1 | one)", data.assign(one="same"))


def test_a_model_that_cannot_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("blocklmm.problem.memory_limit", lambda: 1e5)
    rng = np.random.default_rng(0)
    n = 4000
    data = {"y": rng.normal(size=n), "a": rng.integers(0, 900, n), "b": rng.integers(0, 800, n)}
    with says(bl.ModelSizeError, "'a' (", "'b' (", "GB"):
        bl.lmer("y ~ 1 + (1 | a) + (1 | b)", data)
    assert issubclass(bl.ModelSizeError, MemoryError)


def test_an_exact_fit_is_an_error():
    data = DATA.assign(y=DATA["x"] + DATA["b"] + DATA["a"].str[1:].astype(int))
    with says(bl.ConvergenceError, "exactly", "'a'", "'b'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bl.lmer("y ~ x + (1 | a) + (1 | b)", data)


def test_the_summary_says_how_V_is_factored():
    nested = bl.lmer(FORMULAS["nested"], DATA)
    assert "V is block diagonal by b, nothing fills in" in nested.summary()
    assert "groups: b, 6; c:b, 18" in nested.summary()
    crossed = bl.lmer(FORMULAS["crossed"], DATA)
    assert "sparse Cholesky factor of" in crossed.summary()
    assert "fill in" in crossed.summary()
    single = bl.lmer("y ~ x + (1 | a)", DATA)
    assert "V is block diagonal by a" in single.summary()


def test_likelihood_ratio_tests_across_structures():
    one = bl.lmer("y ~ x + (1 | a)", DATA)
    two = bl.lmer("y ~ x + (1 | a) + (1 | b)", DATA)
    three = bl.lmer("y ~ x + (x | a) + (1 | b)", DATA)
    table = bl.anova(three, one, two)
    np.testing.assert_array_equal(table["npar"], [4, 5, 7])
    assert table["Chisq"].iloc[1] == pytest.approx(one.objective - two.objective)
    assert table["p_boundary"].iloc[1] == pytest.approx(table["p_chisq"].iloc[1] / 2)


def test_a_keyword_can_name_the_response():
    data = DATA.assign(**{"yield": np.exp(DATA["y"])})
    fit = bl.lmer("log(yield) ~ x + (1 | a)", data)
    assert fit.objective == pytest.approx(bl.lmer("y ~ x + (1 | a)", DATA).objective, rel=1e-12)
    assert pickle.loads(pickle.dumps(fit)).predict(data)[3] == fit.fittedvalues[3]


def test_joined_labels_that_look_alike_stay_apart():
    data = DATA.assign(
        p=np.where(DATA["c"] == 1, "u:v", "u"), q=np.where(DATA["b"] > 12, "w", "v:w")
    )
    fit = bl.lmer("y ~ x + (1 | a) + (1 | p:q)", data)
    assert fit.ngroups["p:q"] == 4
    np.testing.assert_allclose(fit.predict(data), fit.fittedvalues, rtol=1e-12)
    part = (data["p"] == "u").to_numpy()
    np.testing.assert_allclose(fit.predict(data[part]), fit.fittedvalues[part], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_variance_of_zero_with_many_levels(seed):
    """The levels of b go as a dense block, whose variance is zero."""
    rng = np.random.default_rng(seed)
    a, b = np.repeat(np.arange(150), 20), rng.integers(0, 100, 3000)
    noise = rng.normal(size=3000)
    noise -= (np.bincount(b, noise) / np.bincount(b))[b]
    data = {"y": rng.normal(size=150)[a] + noise, "a": a, "b": b}
    fit = bl.lmer("y ~ 1 + (1 | a) + (1 | b)", data)
    assert fit.converged
    assert fit.varcorr["b"].cov[0, 0] == 0
    alone = bl.lmer("y ~ 1 + (1 | a)", data)
    assert fit.objective == pytest.approx(alone.objective, abs=1e-7)


def test_groups_that_the_fixed_effects_span():
    with pytest.warns(bl.BlocklmmWarning, match="not identified"):
        fit = bl.lmer("y ~ C(b) + (1 | a) + (1 | b)", DATA)
    alone = bl.lmer("y ~ C(b) + (1 | a)", DATA)
    assert fit.objective == pytest.approx(alone.objective, abs=1e-6)


def test_gaps_between_labels_hide_no_nesting():
    data = DATA.assign(school=150 * DATA["b"], room=3 * DATA["b"] + DATA["c"])
    fit = bl.lmer("y ~ x + (1 | school) + (1 | room)", data)
    assert "block diagonal by school, nothing fills in" in fit.factorization
    other = bl.lmer("y ~ x + (1 | b/c)", data)
    assert fit.objective == pytest.approx(other.objective, rel=1e-12)


def test_fits_in_several_python_threads():
    """They give what one thread gives, and the BLAS has its threads back afterwards."""
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 150, 2500), rng.integers(0, 120, 2500)
    y = rng.normal(size=150)[a] + rng.normal(size=120)[b] + rng.normal(size=2500)
    crossed = ("y ~ 1 + (1 | a) + (1 | b)", {"y": y, "a": a, "b": b})
    jobs = [(formula, DATA) for formula in FORMULAS.values()] + [crossed] * 4
    expected = [bl.lmer(*job).objective for job in jobs]
    assert "in a dense block" in bl.lmer(*crossed).factorization
    before = [library["num_threads"] for library in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(lambda job: bl.lmer(*job).objective, jobs))
            assert found == expected
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_labels_of_three_columns_are_those_of_lme4():
    data = DATA.assign(b=[f"s {k}" for k in DATA["b"]], c=[f"c{k}" for k in DATA["c"]])
    data["d"] = [f"p{k}" for k in np.arange(N) % 4]
    fit = bl.lmer("y ~ x + (1 | b/c/d)", data)
    assert list(fit.ngroups) == ["b", "c:b", "d:c:b"]
    expected = {f"{d}:{c}:{b}" for b, c, d in zip(data["b"], data["c"], data["d"], strict=True)}
    for table in (fit.ranef(), fit.coef(), fit.shrinkage()):
        assert set(table["d:c:b"].index) == expected
    np.testing.assert_allclose(fit.predict(data), fit.fittedvalues, rtol=1e-12)
    one = bl.lmer("y ~ x + (1 | b:c:d)", data)
    assert "s 10:c0:p0" in one.ranef()["b:c:d"].index
    assert one.marginal_cov("s 10:c0:p0").shape[0] > 0
