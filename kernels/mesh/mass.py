"""Consistent mass matrix of P1 elements: the L2 inner product of nodal fields."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from kernels.mesh.topology import as_mesh, cell_measures


def mass_matrix(points: ArrayLike, cells: ArrayLike) -> csr_array:
    """M_ij = integral of phi_i phi_j, so that u . M v = integral of u v for nodal fields u, v.

    Exact on a simplex of k corners and measure V: V (1 + delta_ij) / (k (k + 1)), the P1 mass matrix of every
    finite element text (Ern and Guermond, Finite Elements I, 2021, section 6). points (n, d), cells (m, k):
    triangles in the plane or in space, tetrahedra; (n, n) float64 in units of length^2 or length^3,
    symmetric, positive definite where every node has a cell. The orientation of cells does not matter.
    Raises InputError for what is not a mesh.
    """
    xs, corners = as_mesh(points, cells)
    size = corners.shape[1]
    local = (np.ones((size, size)) + np.eye(size)) / (size * (size + 1))
    values = np.abs(cell_measures(xs, corners))[:, None, None] * local
    rows = np.repeat(corners, size, axis=1).ravel()
    columns = np.tile(corners, (1, size)).ravel()
    matrix = csr_array((values.ravel(), (rows, columns)), shape=(len(xs), len(xs)))
    matrix.sum_duplicates()
    return matrix
