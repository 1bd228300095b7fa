"""A triangular factor of a layer's second moments."""

import numpy as np
from scipy.linalg import cho_solve, cholesky


class Factor:
    """The upper triangular U, H + diag(penalty) = U·Uᵀ, the rows and columns of H in an order.

    `hessian` (…, K, K), symmetric, float32 or float64, which is what is computed in; `penalty` (…);
    `order` (…, K): the index in `hessian` of each row of U.

    Raises `ValueError` (`LinAlgError`) where the sum is not positive definite.
    """

    def __init__(self, hessian: np.ndarray, penalty: np.ndarray, order: np.ndarray):
        # LAPACK factors into L·Lᵀ, lower triangular: that is U·Uᵀ with every order reversed.
        self._reversed = order[..., ::-1]
        self._dtype = hessian.dtype
        self._lower = {}
        for index in np.ndindex(hessian.shape[:-2]):
            reverse = self._reversed[index]
            matrix = hessian[index][np.ix_(reverse, reverse)]
            add_to_diagonal(matrix, penalty[index])
            self._lower[index] = cholesky(
                matrix.T, lower=True, overwrite_a=True, check_finite=False
            )

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Return `rows` (…, O, K) times the inverse of H + diag(penalty), both as H is ordered."""
        solved = np.empty(rows.shape, dtype=self._dtype)
        for index, lower in self._lower.items():
            reverse = self._reversed[index]
            columns = np.take(rows[index].astype(self._dtype), reverse, axis=-1).T
            solution = cho_solve((lower, True), columns, overwrite_b=True, check_finite=False)
            solved[index][:, reverse] = solution.T
        return solved

    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        """Return V (…, K, K), upper triangular with a diagonal of ones, and d (…, K), float32:
        U·Uᵀ = V·diag(d)·Vᵀ."""
        count = self._reversed.shape[-1]
        # LAPACK's columns lie side by side; so do those that come of them.
        columns = np.empty((*self._reversed.shape, count), dtype=np.float32)
        squares = np.empty(self._reversed.shape, dtype=np.float32)
        for index, lower in self._lower.items():
            pivots = np.diagonal(lower)[::-1]
            np.divide(lower.T[::-1, ::-1], pivots[:, None], out=columns[index])
            squares[index] = np.square(pivots)
        return np.swapaxes(columns, -1, -2), squares


def add_to_diagonal(matrix: np.ndarray, penalty: np.ndarray) -> None:
    """Add `penalty` (…) to each diagonal element of `matrix` (…, K, K), in place."""
    index = np.arange(matrix.shape[-1])
    matrix[..., index, index] += np.asarray(penalty, dtype=matrix.dtype)[..., None]
