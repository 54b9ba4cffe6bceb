"""Variances of linear functions, and Wald's statistic where some may depend on others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_DEPENDENT = 1e-8  # of the largest eigenvalue of the functions' correlations


def variances(L: FloatArray, cov: FloatArray) -> FloatArray:
    """Return the variances of L beta, shape (k,), for L (k x p) and the covariance of beta."""
    return np.asarray(((L @ cov) * L).sum(axis=1))


def wald(values: FloatArray, cov: FloatArray) -> float:
    """Return v' C^- v for values v (k) of functions with covariance C (k x k)."""
    scale = np.sqrt(np.where(np.diag(cov) > 0, np.diag(cov), 1.0))
    sizes, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    is_new = sizes > _DEPENDENT * sizes.max(initial=0.0)
    z = vectors[:, is_new].T @ (values / scale)
    return float((z**2 / sizes[is_new]).sum())
