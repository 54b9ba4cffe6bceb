"""A fit's matrices of all rows, by brute force, in rows times the square root of w."""

from __future__ import annotations

import blocklmm as bl
import numpy as np
import pandas as pd


def made(seed, n=70, nested=False, weighted=False):
    """Rows of two factors, crossed or the second nested in the first, sorted by neither."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 8, n)
    b = a * 10 + rng.integers(0, 3, n) if nested else rng.integers(0, 6, n)
    x, t = rng.normal(size=n), rng.normal(size=n)
    y = 1 + x + rng.normal(size=8)[a] + t * rng.normal(size=8)[a] + rng.normal(size=100)[b]
    w = rng.uniform(0.3, 3, n) if weighted else np.ones(n)
    return pd.DataFrame(
        {"y": y + rng.normal(size=n) / np.sqrt(w), "x": x, "t": t, "a": a, "b": b, "w": w}
    )


class Dense:
    """V relative to sigma^2, at the fit's theta, of some of the rows.

    Parameters
    ----------
    data : DataFrame
    fit : LinearMixedFit
    fixed : list of str
        Columns of X, "1" the intercept.
    terms : list of (str, list of str)
        Group and columns of each random-effects term, in the formula's order.
    """

    def __init__(self, data, fit, fixed, terms, response="y"):
        self.fit, self.reml = fit, fit.reml
        root = np.sqrt(data["w"].to_numpy())
        columns = {"1": np.ones(len(data)), **{c: data[c].to_numpy() for c in data}}
        self.X = np.column_stack([root * columns[c] for c in fixed])
        self.y = root * data[response].to_numpy()
        self.V = np.eye(len(data))
        for (group, names), term in zip(terms, fit.varcorr, strict=True):
            same = data[group].to_numpy()[:, None] == data[group].to_numpy()
            Z = np.column_stack([root * columns[c] for c in names])
            self.V += same * (Z @ (term.cov / fit.sigma**2) @ Z.T)
        self.all = np.arange(len(data))
        self.beta, self.cov, self.sigma = self.without([])

    def without(self, rows):
        """beta, its covariance and sigma at the same theta without some rows."""
        keep = np.setdiff1d(self.all, rows)
        X, y, V = self.X[keep], self.y[keep], self.V[np.ix_(keep, keep)]
        S = X.T @ np.linalg.solve(V, X)
        beta = np.linalg.solve(S, X.T @ np.linalg.solve(V, y))
        e = y - X @ beta
        nu = len(keep) - X.shape[1] if self.reml else len(keep)
        sigma = np.sqrt(e @ np.linalg.solve(V, e) / nu)
        return beta, sigma**2 * np.linalg.inv(S), sigma

    @property
    def M(self):
        """(X'V^-1X)^-1."""
        return self.cov / self.sigma**2

    @property
    def e(self):
        """Residuals of the fixed part."""
        return self.y - self.X @ self.beta

    @property
    def P(self):
        """V^-1 less what the fixed effects take."""
        inverse = np.linalg.inv(self.V)
        return inverse - inverse @ self.X @ self.M @ self.X.T @ inverse


def nearly_exact_fits(spread):
    """Fits to noise, and to the same noise under fixed effects 10^8 times as large.

    Group means are ``spread`` times as large as the noise in both.
    """
    data = made(36)
    rng = np.random.default_rng(36)
    own = rng.normal(size=len(data)) + spread * rng.normal(size=8)[data["a"]]
    formula = "y ~ x + t + (1 | a)"
    alone = bl.lmer(formula, data.assign(y=own))
    fit = bl.lmer(formula, data.assign(y=own + 1e8 * (data["x"] - data["t"])))
    return alone, fit
