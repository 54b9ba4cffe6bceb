"""Responses drawn on the statistics against the covariance matrix that they must have."""

from __future__ import annotations

import copy

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import _core
from scipy import stats

from . import dense, several


def designs():
    for weighted in (False, True):
        one = dense.random_design(1, 2, 3, n_groups=5, n=24, weighted=weighted)
        one.groups[:2] = 5  # a group with as many rows as effects,
        one.groups[2] = 6  # and one with fewer
        yield f"one factor {weighted}", one, dense.statistics(one)
    for kind in several.KINDS:
        design = several.random_design(3, kind, (2, 1, 1), p=3, n=40)
        yield kind, design, several.statistics(design)
    design = several.random_design(3, "dense", (2, 1, 1), p=3, n=700)
    yield "dense", design, several.statistics(design)


DESIGNS = {name: rest for name, *rest in designs()}


def rows(design):
    """Z of all effects, columns of each level together, and X; times the root of the weights."""
    root = np.sqrt(design.weights)[:, None]
    terms = getattr(design, "factors", None) or [several.Term(design.Z, design.groups)]
    blocks, widths = [], []
    for term in terms:
        indicator = term.groups[:, None] == np.arange(term.n_groups)
        Z = np.einsum("nl,nq->nlq", indicator, root * term.Z)
        blocks.append(Z.reshape(len(root), -1))
        widths.append(term.Z.shape[1])
    return blocks, widths, root * design.X


def lambdas_of(widths, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    return [size * np.tril(rng.normal(size=(q, q))) for q in widths]


def flat(response):
    return np.concatenate([*(Zy.T.ravel() for Zy in response.Zy), response.Xy])


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("size", [0.0, 0.8])
def test_covariance_and_distribution(name, size):
    design, core = DESIGNS[name]
    blocks, widths, X = rows(design)
    q, p = sum(widths), X.shape[1]
    simulator = _core.ResponseDraws(
        statistics=core, x_columns=list(range(q, q + p)), memory_limit=1e9
    )
    lambdas, sigma = lambdas_of(widths, size=size), 1.7
    W = np.hstack([*blocks, X])
    n, rank = len(W), np.linalg.matrix_rank(W)
    assert simulator.rank_of_z == np.linalg.matrix_rank(np.hstack(blocks))
    assert simulator.df_residual == n - rank
    V = np.eye(n)
    for Z, lambda_ in zip(blocks, lambdas, strict=True):
        T = np.kron(np.eye(Z.shape[1] // len(lambda_)), lambda_ @ lambda_.T)
        V += Z @ T @ Z.T
    n_draws = 3000
    drawn = [
        simulator.draw(lambdas=lambdas, sigma=sigma, seed=5, replicate=k) for k in range(n_draws)
    ]
    values = np.array([flat(response) for response in drawn])
    # in a basis in which they are independent standard normals
    left, sizes, right = np.linalg.svd(W, full_matrices=False)
    inside = left[:, :rank]
    scores = values @ (right[:rank] / sizes[:rank, None]).T / sigma
    np.testing.assert_allclose(  # nothing outside the span of Z and X
        values,
        sigma * scores @ (sizes[:rank, None] * right[:rank]),
        atol=1e-6 * np.abs(values).max(),
    )
    L = np.linalg.cholesky(inside.T @ V @ inside)
    z = np.linalg.solve(L, scores.T)
    share = z @ z.T / n_draws
    off = share[~np.eye(rank, dtype=bool)] * np.sqrt(n_draws)
    assert stats.kstest(z.ravel()[:200_000], stats.norm.cdf).pvalue > 1e-4
    assert np.abs(off).max(initial=0) < 6
    assert np.abs(np.diag(share) - 1).max() < 6 * np.sqrt(2 / n_draws)
    # y'y is the part inside and a chi-square
    yy = np.array([response.yy for response in drawn]) / sigma**2
    rest = yy - (scores**2).sum(axis=1)
    if n > rank:
        assert stats.kstest(rest, stats.chi2(n - rank).cdf).pvalue > 1e-4
        assert abs(np.corrcoef(rest, (scores**2).sum(axis=1))[0, 1]) < 0.1
    else:
        np.testing.assert_allclose(rest, 0, atol=1e-8 * yy.max())


def test_the_same_seed_gives_the_same_response():
    design, core = DESIGNS["crossed"]
    _, widths, X = rows(design)
    q = sum(widths)
    simulator = _core.ResponseDraws(
        statistics=core, x_columns=list(range(q, q + X.shape[1])), memory_limit=1e9
    )
    lambdas = lambdas_of(widths)
    draw = [
        simulator.draw(lambdas=lambdas, sigma=1.0, seed=seed, replicate=k)
        for seed, k in [(1, 1), (1, 1), (1, 2), (2, 1)]
    ]
    assert draw[0].yy == draw[1].yy
    np.testing.assert_array_equal(draw[0].Xy, draw[1].Xy)
    assert len({response.yy for response in draw}) == 3


@pytest.mark.parametrize("name", ["one factor True", "nested", "crossed"])
def test_a_replaced_response_is_that_of_other_rows(name):
    """The statistics of a drawn response are those of a pass over any rows that have it."""
    design, core = DESIGNS[name]
    blocks, widths, X = rows(design)
    q, p = sum(widths), X.shape[1]
    simulator = _core.ResponseDraws(
        statistics=core, x_columns=list(range(q, q + p)), memory_limit=1e9
    )
    response = simulator.draw(lambdas=lambdas_of(widths), sigma=1.0, seed=1, replicate=1)
    W = np.hstack([*blocks, X])
    y = np.linalg.lstsq(W.T, flat(response), rcond=1e-10)[0]
    outside = np.linalg.svd(W, full_matrices=True)[0][:, np.linalg.matrix_rank(W) :]
    y += outside[:, 0] * np.sqrt(max(response.yy - y @ y, 0.0))
    other = copy.deepcopy(design)
    other.y = y / np.sqrt(design.weights)
    kind = dense if name.startswith("one") else several
    replaced = copy.copy(core)
    replaced.replace_response(response)
    expected = kind.statistics(other)
    scale = np.abs(expected.cross_products()).max()
    np.testing.assert_allclose(
        replaced.cross_products(), expected.cross_products(), atol=1e-9 * scale
    )
    for f in range(len(widths)):
        np.testing.assert_allclose(
            replaced.level_products(f), expected.level_products(f), atol=1e-9 * scale
        )


@pytest.mark.parametrize("kind", ["crossed", "nested twice", "sparse"])
def test_other_effects_are_those_of_another_design(kind):
    """Z K in place of Z, for a K of each factor, is what a pass over the rows gives."""
    design = several.random_design(3, kind, (3, 2, 1), p=3, n=60)
    rng = np.random.default_rng(2)
    K = [rng.normal(size=(t.Z.shape[1], max(1, t.Z.shape[1] - 1))) for t in design.factors]
    other = copy.deepcopy(design)
    for term, k in zip(other.factors, K, strict=True):
        term.Z = term.Z @ k
    effects = list(enumerate(K))
    p = design.X.shape[1]
    found = _core.SparseObjective(
        statistics=several.statistics(design).with_effects(effects),
        x_columns=list(range(design.q, design.q + p)),
        members=[list(range(s.start, s.stop)) for s in several.slices(other)],
        blocks=several.blocks(other),
        memory_limit=1e9,
    )
    factor = several.random_factor(3, other)
    values = [
        core.evaluate(
            lambda_=factor,
            criterion=True,
            derivatives=True,
            exact_hessian=_core.ExactHessian.always,
            n_threads=1,
        )
        for core in (several.objective(other), found)
    ]
    assert values[0].value == pytest.approx(values[1].value, rel=1e-11)
    np.testing.assert_allclose(values[0].hessian, values[1].hessian, rtol=1e-7, atol=1e-7)


def test_effects_of_one_factor_or_none():
    design, core = DESIGNS["crossed"]
    place = next(k for k, term in enumerate(design.factors) if term.Z.shape[1] == 2)
    alone = core.with_effects([(place, np.eye(2))])
    q, p = design.q, design.X.shape[1]
    columns = list(range(q, q + p))
    entries = [(i, j) for j in range(2) for i in range(2)]
    found = _core.BlockObjective(alone, columns, entries)
    term = design.factors[place]
    one = dense.Design(design.y, design.X, term.Z, term.groups, design.weights)
    factor = np.array([[0.7, 0.0], [0.2, 0.4]])
    value, gamma = dense.criterion(one, found, factor, True)
    evaluation = found.evaluate(lambda_=factor, criterion=True, derivatives=True, n_threads=1)
    assert evaluation.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(evaluation.gamma, gamma, atol=1e-8)
    none = _core.BlockObjective(core.with_effects([]), columns, [])
    nothing = np.zeros((0, 0))
    evaluation = none.evaluate(lambda_=nothing, criterion=True, derivatives=False, n_threads=1)
    value, _ = dense.criterion(one, found, np.zeros((2, 2)), True)
    assert evaluation.value == pytest.approx(value, rel=1e-11)


def test_effects_put_back_what_the_second_pass_took():
    """Groups explain all but a millionth of y: the pass that takes them out is undone."""
    rng = np.random.default_rng(4)
    g, x = np.repeat(np.arange(8), 10), rng.normal(size=80)
    y = 1e4 * rng.normal(size=8)[g] + x + 1e-2 * rng.normal(size=80)
    frame = pd.DataFrame({"y": y, "x": x, "g": g})
    problem = bl.LinearMixedModel("y ~ x + (x | g)", frame)._prepared(1)
    smaller = bl.LinearMixedModel("y ~ x + (1 | g)", frame)
    value = smaller.objective([3.0])
    core = problem.statistics.core.with_effects([(0, np.array([[1.0], [0.0]]))])
    objective = _core.BlockObjective(core, problem.x_columns, [(0, 0)])
    found = objective.evaluate(
        lambda_=np.array([[3.0]]), criterion=True, derivatives=False, n_threads=1
    )
    constant = 2 * 78 * np.log(objective.m_scale[-1])
    constant += 2 * np.log(objective.m_scale[:-1]).sum() + problem.units.log_det
    assert found.value + constant == pytest.approx(value, rel=1e-8)
