"""The criterion of several grouping factors against a dense V and finite differences."""

from __future__ import annotations

import blocklmm as bl
import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from blocklmm import _core
from hypothesis import given, settings
from hypothesis import strategies as st

from . import several

NEVER, ALWAYS = _core.ExactHessian.never, _core.ExactHessian.always

designs = st.builds(
    several.random_design,
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(several.KINDS),
    widths=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    p=st.integers(1, 4),
    n=st.integers(40, 90),
    weighted=st.booleans(),
)


def evaluate(core, factor, reml, derivatives=True, exact=NEVER, n_threads=1):
    return core.evaluate(
        lambda_=factor,
        criterion=reml,
        derivatives=derivatives,
        exact_hessian=exact,
        n_threads=n_threads,
    )


def check_against_dense(design, core, factor, reml):
    found = evaluate(core, factor, reml)
    value, gamma = several.criterion(design, core, factor, reml)
    assert found.value == pytest.approx(value, rel=1e-10)
    scale = np.abs(gamma).max() + len(design.y)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-10 * scale)
    gradient = dense_gradient(design, core, factor, reml)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-7, atol=1e-9 * scale)
    information = several.average_information(design, core, factor, reml)
    size = np.abs(information).max()
    np.testing.assert_allclose(found.hessian, information, atol=1e-8 * size)
    assert evaluate(core, factor, reml, derivatives=False).value == found.value
    p = design.X.shape[1]
    _, _, S, _, _, _ = several.projections(design, core, factor)
    R_inverse = found.inverse_factor[:p, :p]
    np.testing.assert_allclose(np.linalg.inv(R_inverse @ R_inverse.T), S, rtol=1e-7, atol=1e-9)


def dense_gradient(design, core, factor, reml):
    gamma = several.criterion(design, core, factor, reml)[1]
    return np.array([2 * (gamma @ factor)[i, j] for i, j in several.entries(design)])


def own_gradient(_, core, factor, reml):
    return evaluate(core, factor, reml).gradient


def check_exact_hessian(design, core, factor, reml, gradient=own_gradient):
    exact = evaluate(core, factor, reml, exact=ALWAYS).hessian
    h, columns = 1e-5, []
    for i, j in several.entries(design):
        step = np.zeros_like(factor)
        step[i, j] = h
        up, down = (gradient(design, core, factor + s, reml) for s in (step, -step))
        columns.append((up - down) / (2 * h))
    numeric = np.column_stack(columns)
    np.testing.assert_allclose(exact, numeric, atol=2e-6 * (1 + np.abs(numeric).max()))


@settings(max_examples=200, deadline=None)
@given(designs, st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_against_dense(design, seed, n_zero, reml):
    core = several.objective(design)
    check_against_dense(design, core, several.random_factor(seed, design, n_zero), reml)


@settings(max_examples=60, deadline=None)
@given(designs, st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_exact_hessian_against_differences(design, seed, n_zero, reml):
    core = several.objective(design)
    factor = several.random_factor(seed, design, n_zero)
    # where variances differ by 1e5 our gradient has digits enough, but not to be divided by h
    check_exact_hessian(design, core, factor, reml, dense_gradient)


@pytest.mark.parametrize("kind", several.ENDS)
@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 3, 1)])
@pytest.mark.parametrize("zeros", ["none", "some", "all"])
@pytest.mark.parametrize("reml", [True, False])
def test_dense_end_against_dense(kind, widths, zeros, reml):
    """Many levels: the last ones go as a dense block, with more than one tile."""
    seed = sum(widths) + len(kind)
    design = several.random_design(seed, kind, widths, p=3, n=700, weighted=True)
    core = several.objective(design)
    plan = core.plan
    assert plan["n_dense"] > 30
    if kind == "both" and widths[0] == 1:
        assert plan["n_middle"] > 0
    n_zero = {"none": 0, "some": 1, "all": design.q}[zeros]
    factor = several.random_factor(seed, design, n_zero)
    check_against_dense(design, core, factor, reml)


@pytest.mark.parametrize("kind", several.ENDS)
@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 1, 2)])
@pytest.mark.parametrize("reml", [True, False])
def test_exact_hessian_with_a_dense_end(kind, widths, reml):
    design = several.random_design(3, kind, widths, n=600)
    core = several.objective(design)
    assert core.plan["n_dense"] > 30
    check_exact_hessian(design, core, several.random_factor(5, design), reml)


@pytest.mark.parametrize("kind", several.ENDS)
@pytest.mark.parametrize("n_zero", [1, 2, 7])
def test_exact_hessian_with_singular_variances_at_the_dense_end(kind, n_zero):
    design = several.random_design(3, kind, (2, 1, 2), n=600)
    core = several.objective(design)
    check_exact_hessian(design, core, several.random_factor(5, design, n_zero), True)


@pytest.mark.parametrize("kind", several.KINDS)
@pytest.mark.parametrize("widths", [(4, 1, 1), (1, 4, 2), (5, 2, 1), (2, 6, 1)])
@pytest.mark.parametrize("n_zero", [0, 2])
def test_wide_terms_against_dense(kind, widths, n_zero):
    """Sums of four effects a level are compiled for four, of more for any number."""
    design = several.random_design(11, kind, widths, p=2, n=160)
    core = several.objective(design)
    factor = several.random_factor(7, design, n_zero)
    for reml in (True, False):
        check_against_dense(design, core, factor, reml)
    check_exact_hessian(design, core, factor, True, dense_gradient)


@pytest.mark.parametrize("kind", ["nested", "crossed", "sparse"])
@pytest.mark.parametrize("reml", [True, False])
def test_small_and_large_variances_against_mpmath(kind, reml):
    """Variances from a millionth of the residual's to a million times it."""
    design = several.random_design(17, kind, (2, 1, 1), n=40)
    core = several.objective(design)
    X, y, Zs = several.scaled(design, core)
    n, p = X.shape
    for size in (1e-3, 1e-1, 1e1, 1e3):
        factor = several.random_factor(2, design) * size
        with mp.workdps(50):
            V = mp.eye(n)
            for term, Z, s in zip(design.factors, Zs, several.slices(design), strict=True):
                ZF = mp.matrix(Z.tolist()) * mp.matrix(factor[s, s].tolist())
                product = ZF * ZF.T
                for i in range(n):
                    for j in range(n):
                        if term.groups[i] == term.groups[j]:
                            V[i, j] += product[i, j]
            inverse = V**-1
            Xm, ym = mp.matrix(X.tolist()), mp.matrix(y.tolist())
            S = Xm.T * inverse * Xm
            P = inverse - inverse * Xm * S**-1 * Xm.T * inverse
            Py = P * ym
            r2 = (ym.T * Py)[0]
            nu = n - p if reml else n
            f = mp.log(mp.det(V)) + nu * (1 + mp.log(2 * mp.pi * r2 / nu))
            if reml:
                f += mp.log(mp.det(S))
            kept = np.array((P if reml else inverse).tolist(), dtype=object)
            z_y = np.array(list(Py), dtype=object)
            slopes = {}
            for term, Z, s in zip(design.factors, Zs, several.slices(design), strict=True):
                gamma = 0
                for level in range(term.n_groups):
                    rows = term.groups == level
                    z = Z[rows].T @ z_y[rows]
                    inner = Z[rows].T @ kept[np.ix_(rows, rows)] @ Z[rows]
                    gamma = gamma + inner - nu / r2 * np.outer(z, z)
                slopes[s.start] = (gamma @ factor[s, s]).astype(float) * 2
        found = evaluate(core, factor, reml)
        assert found.value == pytest.approx(float(f), rel=1e-10)
        for s in several.slices(design):
            gradient = 2 * found.gamma[s, s] @ factor[s, s]
            largest = np.abs(slopes[s.start]).max()
            np.testing.assert_allclose(gradient, slopes[s.start], atol=1e-7 * largest)


def test_more_effects_of_a_level_than_there_are_kernels_for():
    for kind in ("crossed", "nested", "both"):
        design = several.random_design(8, kind, (5, 6, 2), n=900 if kind == "both" else 200)
        core = several.objective(design)
        factor = several.random_factor(2, design, 2)
        check_against_dense(design, core, factor, True)


def test_nested_factors_fill_in_nothing():
    for kind in ("nested", "nested twice"):
        plan = several.objective(several.random_design(1, kind, n=90)).plan
        assert plan["n_filled"] == 0
        assert plan["n_dense"] == 0
        assert plan["block_factor"] >= 0
    crossed = several.objective(several.random_design(1, "crossed", n=90)).plan
    assert crossed["block_factor"] == -1
    inside = several.objective(several.random_design(1, "crossed in nested", n=90)).plan
    assert inside["block_factor"] >= 0


def test_nested_levels_go_first_though_the_outer_factor_has_more_effects():
    design = several.random_design(4, "nested", n=90)
    coarse = int(np.argmin([factor.n_groups for factor in design.factors]))
    n = len(design.y)
    design.factors[coarse].Z = np.random.default_rng(0).normal(size=(n, 6))
    core = several.objective(design)
    assert core.plan["leaf"] == 1 - coarse
    assert core.plan["n_filled"] == 0
    check_against_dense(design, core, several.random_factor(1, design), True)


@pytest.mark.parametrize("kind", ["both", "nested twice"])
def test_threads_change_no_bit(kind):
    design = several.random_design(9, kind, (2, 1, 1), n=4000)
    factor = several.random_factor(1, design)
    results = []
    for n_threads in (1, 2, 3):
        core = several.objective(design, several.statistics(design, n_threads))
        found = evaluate(core, factor, True, n_threads=n_threads)
        results.append((found.value, found.gradient.tobytes(), found.hessian.tobytes()))
    assert results[0] == results[1] == results[2]


def test_too_large_a_factor_is_refused_with_its_size():
    design = several.random_design(1, "dense", n=700)
    with pytest.raises(_core.TooLarge) as caught:
        several.objective(design, memory_limit=1e4)
    assert 1e4 < caught.value.args[0] < 1e7


def test_shapes_are_checked():
    design = several.random_design(2, "crossed")
    core = several.objective(design)
    with pytest.raises(ValueError, match="q x q"):
        evaluate(core, np.eye(design.q + 1), True)
    with pytest.raises(ValueError, match=r"rows|blocks|columns"):
        _core.SparseObjective(
            statistics=several.statistics(design),
            x_columns=[design.q],
            members=[[0], [0], [1]][: len(design.factors)],
            blocks=[1],
            memory_limit=1e9,
        )


def test_dependent_columns_are_refused():
    design = several.random_design(2, "crossed", p=3)
    design.X[:, 2] = 0  # of others rounding may leave a pivot of either sign
    core = several.objective(design)
    with pytest.raises(_core.NotPositiveDefinite):
        evaluate(core, np.zeros((design.q, design.q)), True)


@pytest.mark.parametrize("sizes", [(2, 1, 1), (3, 2, 4)])
def test_moment_equations_against_dense(sizes):
    """Rao's equations (1972) with M = I - X (X'X)^-1 X' and Z dT Z' written out."""
    design = several.random_design(12, "partly crossed", sizes, p=3, weighted=True)
    core = several.objective(design)
    pairs, expected, observed = core.moment_equations()
    X, y, Zs = several.scaled(design, core)
    M = np.eye(len(y)) - X @ np.linalg.solve(X.T @ X, X.T)
    V, dense_pairs, start = [np.eye(len(y))], [], 0
    for term, Z in zip(design.factors, Zs, strict=True):
        same, q = term.groups[:, None] == term.groups, Z.shape[1]
        for b in range(q):
            for a in range(b, q if q <= 3 else b + 1):
                dense_pairs.append((start + a, start + b))
                both = np.outer(Z[:, a], Z[:, b])
                V.append(same * (both if a == b else both + both.T))
        start += q
    assert pairs == dense_pairs
    dense = [[np.trace(M @ a @ M @ b) for b in V] for a in V]
    np.testing.assert_allclose(expected, dense, rtol=1e-9)
    np.testing.assert_allclose(observed, [y @ M @ a @ M @ y for a in V], rtol=1e-9)


def without_negative_variances(pairs, expected, observed):
    """Solutions of the equations, again and again without what can't be a covariance matrix."""
    variance = {pair[0]: k + 1 for k, pair in enumerate(pairs) if pair[0] == pair[1]}
    rows = [(-1, -1), *pairs]
    left = list(range(len(rows)))
    while True:
        out = np.zeros(len(rows))
        out[left] = np.linalg.solve(expected[np.ix_(left, left)], observed[left])
        bad = {row for row, k in ((-1, 0), *variance.items()) if k in left and out[k] <= 0}
        if not bad:
            return out
        left = [k for k in left if bad.isdisjoint(rows[k])]


@pytest.mark.parametrize("seed", range(12))
def test_starts_from_moments_solve_their_equations(seed):
    rng = np.random.default_rng(seed)
    n = 200
    frame = pd.DataFrame(
        {"x": rng.normal(3, 1, n), "g": rng.integers(0, 25, n), "h": rng.integers(0, 8, n)}
    )
    b = rng.normal(size=(3, 25)) * rng.choice([0.0, 0.3, 2.0], size=(3, 1))
    effects = b[0][frame["g"]] + b[1][frame["g"]] * frame["x"] + b[2][frame["h"]]
    frame["y"] = frame["x"] + effects + rng.normal(size=n)
    model = bl.LinearMixedModel("y ~ x + (x | g) + (1 | h)", frame)
    core = model._prepared(1).core
    pairs, expected, observed = core.moment_equations()
    assert pairs == [(0, 0), (1, 0), (1, 1), (2, 2)]
    found = without_negative_variances(pairs, expected, observed)
    T = np.zeros((3, 3))
    for (i, j), value in zip(pairs, found[1:], strict=True):
        T[i, j] = T[j, i] = value / max(found[0], 1e-3 * observed[0] / n)
    values, vectors = np.linalg.eigh(T)
    nearest = vectors @ np.diag(np.clip(values, 0.05**2, 1e6)) @ vectors.T
    factor = np.asarray(core.moment_start())
    np.testing.assert_allclose(factor, factor.T, atol=1e-12 * abs(factor).max())
    np.testing.assert_allclose(factor @ factor.T, nearest, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reml", [True, False])
def test_balanced_growth_curves_start_at_their_minimum(reml):
    """Where all are seen at the same times, moments are the estimates by REML."""
    data = bl.datasets.load("sleepstudy")
    model = bl.LinearMixedModel("Reaction ~ Days + (Days | Subject)", data)
    fit, problem = model.fit(reml), model._prepared(1)
    start = problem.core.moment_start(problem.statistics.core, problem.design.blocks)
    found = problem.units.to_user(problem.structure.theta(problem.structure.canonical(start)))
    if reml:
        np.testing.assert_allclose(found, fit.theta, rtol=1e-9)
    else:
        assert abs(found / fit.theta - 1).max() > 1e-2


def test_starts_where_moments_say_nothing():
    """X spans a column of Z: nothing is known of its variance."""
    data = bl.datasets.load("sleepstudy")
    model = bl.LinearMixedModel("Reaction ~ Days + C(Subject) + (Days | Subject)", data)
    problem = model._prepared(1)
    start = problem.core.moment_start(problem.statistics.core, problem.design.blocks)
    T = start @ start.T
    assert T[0, 0] == pytest.approx(0.25)
    assert T[1, 0] == pytest.approx(0, abs=1e-12)
    assert T[1, 1] > 0.05**2
    with pytest.raises(ValueError, match="blocks along lambda"):
        problem.core.moment_start(problem.statistics.core, [1])
