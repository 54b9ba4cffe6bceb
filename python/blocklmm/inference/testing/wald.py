"""Variances of linear functions, and Wald's statistic where some may depend on others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_DEPENDENT = 1e-8  # of the largest eigenvalue of the functions' correlations


def variances(L: FloatArray, cov: FloatArray) -> FloatArray:
    """Return the variances of L beta, shape (k,), for L (k x p) and the covariance of beta."""
    return np.asarray(((L @ cov) * L).sum(axis=1))


def uncorrelated(values: FloatArray, cov: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return squares of uncorrelated standardised parts of some estimates.

    Parameters
    ----------
    values : array of shape (k,)
    cov : array of shape (k, k)
        Their covariance, of any rank.

    Returns
    -------
    t2 : array of shape (q,)
        q is the rank; the sum is Wald's statistic.
    weights : array of shape (q, k)
        weights @ values are uncorrelated.
    """
    # in units of standard errors, so that the rank does not depend on the units
    scale = np.sqrt(np.where(np.diag(cov) > 0, np.diag(cov), 1.0))
    sizes, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    is_new = sizes > _DEPENDENT * sizes.max(initial=0.0)
    weights = vectors[:, is_new].T / scale
    return (weights @ values) ** 2 / sizes[is_new], weights


def wald(values: FloatArray, cov: FloatArray) -> float:
    """Return v' C^- v for values v (k) of functions with covariance C (k x k)."""
    return float(uncorrelated(values, cov)[0].sum())
