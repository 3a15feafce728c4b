"""Products with a sparse mass matrix and inner products of rows: the hot loops of every reduced basis."""

import numba
import numpy as np
from scipy import sparse


def accumulate(total, left, right):
    """One term of an inner product, total + left * right: the scalar that the CPU and CUDA faces share."""
    return total + left * right


_accumulate = numba.njit(inline="always")(accumulate)


@numba.njit(cache=True, nogil=True)
def _apply_mass(data, columns, starts, rows, out):
    for sample in range(rows.shape[0]):
        for node in range(rows.shape[1]):
            total = 0.0
            for entry in range(starts[node], starts[node + 1]):
                total = _accumulate(total, data[entry], rows[sample, columns[entry]])
            out[sample, node] = total


def apply_mass(mass: sparse.csr_array, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Rows times a symmetric mass matrix, out_i = M s_i.

    mass: (N, N), symmetric; rows: (s, N) float64; returns (s, N), in `out` where given. No copy of `rows` is
    made, which a transposed sparse product would need. Not handled: a matrix that is not symmetric.
    """
    result = np.empty_like(rows) if out is None else out
    _apply_mass(mass.data, mass.indices, mass.indptr, np.ascontiguousarray(rows), result)
    return result


def inner_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """All inner products of two sets of rows, C_ij = sum_r left_ir right_jr, by BLAS on the CPU.

    left: (a, N); right: (b, N); returns (a, b). Weighted products take M s in place of one of the two.
    """
    return left @ right.T
