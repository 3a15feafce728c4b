"""Direct solution of the sparse, diagonally dominant systems of the morphing methods."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from kernels.errors import InputError


def solve_dominant(matrix: sp.csc_matrix, right: np.ndarray, name: str = "mesh") -> np.ndarray:
    """Solve A u = f, (n, k), for a diagonally dominant A of symmetric pattern by a direct method.

    Needs no pivoting, so the minimum-degree ordering of the symmetric pattern keeps the factors sparse.
    Raises InputError naming the sample where A is singular.
    """
    try:
        factor = splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            panel_size=4,
            options={"SymmetricMode": True},
        )
        solution = factor.solve(right)
    except RuntimeError:
        solution = np.full_like(right, np.nan)
    if not np.all(np.isfinite(solution)):
        raise InputError(
            f"{name}: the morphing system is singular: the mesh has cells without area or separate parts"
        )
    return solution
