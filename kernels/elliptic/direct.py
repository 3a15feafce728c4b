"""Direct solution of sparse symmetric systems."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu


def solve_definite(matrix: sp.spmatrix, right: np.ndarray) -> np.ndarray:
    """Solve A u = f for a symmetric positive definite A, by SuperLU with diagonal pivots."""
    factor = splu(
        sp.csc_matrix(matrix),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.asarray(factor.solve(right))
