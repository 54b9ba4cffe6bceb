"""Solves a symmetric positive definite system of which one diagonal block is block diagonal.

With x = (a, b) and Omega = [K L; L' M], K of many small blocks,

    S = M - L'K^-1 L,   x_b = S^-1 (r_b - L'K^-1 r_a),   x_a = K^-1 r_a - K^-1 L x_b.

S is factored densely where it has few zeros, as for crossed factors, and as a sparse matrix where
it has many, as for nested ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu

from blocklmm.errors import ModelSizeError
from blocklmm.machine import memory_limit, one_blas_thread

FloatArray = npt.NDArray[np.float64]

_DENSE = 0.1  # share of entries of S that makes a dense factor the faster one


class TwoBlockSolver:
    """Omega^-1 times columns.

    Parameters
    ----------
    K : array of shape (blocks, k, k)
        The blocks of the part that is eliminated first.
    L : sparse matrix of shape (blocks * k, m)
    M : sparse matrix of shape (m, m)
    """

    def __init__(self, K: FloatArray, L: sparse.csr_matrix, M: sparse.csr_matrix) -> None:
        n_blocks, k = K.shape[:2]
        blocks = np.linalg.inv(K), np.arange(n_blocks), np.arange(n_blocks + 1)
        self._inverse = sparse.bsr_matrix(blocks, shape=(n_blocks * k, n_blocks * k)).tocsr()
        self._moved = (self._inverse @ L).tocsr()
        S = (M - L.T @ self._moved).tocsc()
        self._is_dense = S.nnz > _DENSE * S.shape[0] ** 2
        if self._is_dense:
            if 16.0 * S.shape[0] ** 2 > memory_limit():
                raise ModelSizeError(
                    f"a dense matrix of {S.shape[0]} effects of crossed factors does not fit into "
                    "memory"
                )
            with one_blas_thread():
                self._factor = cho_factor(S.toarray(), lower=True)
        else:
            self._sparse = splu(
                S,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )

    def solve(self, right: FloatArray) -> FloatArray:
        """Return Omega^-1 times the columns of an array."""
        n = self._inverse.shape[0]
        a, b = right[:n], right[n:] - self._moved.T @ right[:n]
        x_b = cho_solve(self._factor, b) if self._is_dense else self._sparse.solve(b)
        return np.vstack([self._inverse @ a - self._moved @ x_b, x_b])
