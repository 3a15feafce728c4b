"""Assembly of forces and tangent stiffness of quadratic triangles on a sparsity pattern that is laid once."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numba import njit

from kernels.errors import InputError
from kernels.solids.triangles import QuadraticMesh


@njit(cache=True, error_model="numpy")
def _strains(cells, gradients, u, strain):
    for c in range(cells.shape[0]):
        for q in range(gradients.shape[1]):
            e11, e22, g12 = 0.0, 0.0, 0.0
            for a in range(6):
                node = cells[c, a]
                gx, gy = gradients[c, q, a, 0], gradients[c, q, a, 1]
                e11 += gx * u[node, 0]
                e22 += gy * u[node, 1]
                g12 += gy * u[node, 0] + gx * u[node, 1]
            strain[c, q, 0], strain[c, q, 1], strain[c, q, 2] = e11, e22, g12


@njit(cache=True, error_model="numpy")
def _forces(cells, gradients, weights, stress, force):
    for c in range(cells.shape[0]):
        for q in range(gradients.shape[1]):
            w = weights[c, q]
            s11, s22, s12 = stress[c, q, 0] * w, stress[c, q, 1] * w, stress[c, q, 3] * w
            for a in range(6):
                node = cells[c, a]
                gx, gy = gradients[c, q, a, 0], gradients[c, q, a, 1]
                force[node, 0] += gx * s11 + gy * s12
                force[node, 1] += gy * s22 + gx * s12


@njit(cache=True, error_model="numpy")
def _stiffness(gradients, weights, tangent, slots, data):
    element = np.empty((12, 12))
    for c in range(gradients.shape[0]):
        element[:] = 0.0
        for q in range(gradients.shape[1]):
            w = weights[c, q]
            d11, d22, d33 = tangent[c, q, 0] * w, tangent[c, q, 1] * w, tangent[c, q, 2] * w
            d12, d13, d23 = tangent[c, q, 3] * w, tangent[c, q, 4] * w, tangent[c, q, 5] * w
            for a in range(6):
                ax, ay = gradients[c, q, a, 0], gradients[c, q, a, 1]
                p11, p12, p13 = ax * d11 + ay * d13, ax * d12 + ay * d23, ax * d13 + ay * d33
                p21, p22, p23 = ay * d12 + ax * d13, ay * d22 + ax * d23, ay * d23 + ax * d33
                for b in range(a, 6):
                    bx, by = gradients[c, q, b, 0], gradients[c, q, b, 1]
                    element[2 * a, 2 * b] += p11 * bx + p13 * by
                    element[2 * a, 2 * b + 1] += p12 * by + p13 * bx
                    element[2 * a + 1, 2 * b] += p21 * bx + p23 * by
                    element[2 * a + 1, 2 * b + 1] += p22 * by + p23 * bx
        for i in range(12):
            for j in range(12):
                slot = slots[c, i, j]
                if slot >= 0:
                    if i // 2 <= j // 2:
                        data[slot] += element[i, j]
                    else:
                        data[slot] += element[j, i]


@njit(cache=True)
def _find_slots(numbers, indptr, indices, slots):
    for c in range(numbers.shape[0]):
        for i in range(12):
            for j in range(12):
                row, column = numbers[c, i], numbers[c, j]
                slots[c, i, j] = -1
                if row >= 0 and column >= 0:
                    low, high = indptr[column], indptr[column + 1]
                    while high - low > 1:
                        middle = (low + high) // 2
                        if indices[middle] <= row:
                            low = middle
                        else:
                            high = middle
                    slots[c, i, j] = low


class Stiffness:
    """Forces and tangent of one mesh with some displacement components held at zero.

    held (nodes, 2) bool. The unknowns are the free components in the order of `free`: flat numbers 2 node +
    axis. Raises InputError where the held components cannot stop a rigid motion of the plane (fewer than
    three).
    """

    def __init__(self, mesh: QuadraticMesh, held: np.ndarray) -> None:
        if int(held.sum()) < 3:
            raise InputError(
                f"{int(held.sum())} displacement components are held, expected at least 3 to stop rigid "
                f"motion: hold more"
            )
        self.mesh = mesh
        self.free = np.flatnonzero(~held.ravel())
        self._lay(self.free)
        self._natural = False

    def _lay(self, free: np.ndarray) -> None:
        cells = self.mesh.cells
        number = np.full(2 * len(self.mesh.x), -1, dtype=np.int32)
        number[free] = np.arange(len(free), dtype=np.int32)
        numbers = number[np.stack([2 * cells, 2 * cells + 1], axis=2).reshape(len(cells), 12)]
        rows = np.repeat(numbers, 12, axis=1).ravel()
        columns = np.tile(numbers, (1, 12)).ravel()
        keep = (rows >= 0) & (columns >= 0)
        ones = np.ones(int(keep.sum()), dtype=np.int8)
        pattern = sp.coo_matrix((ones, (rows[keep], columns[keep])), shape=(len(free),) * 2).tocsc()
        pattern.sort_indices()
        self.indptr, self.indices = pattern.indptr, pattern.indices
        self._slots = np.empty((len(cells), 12, 12), dtype=np.int32)
        _find_slots(numbers, self.indptr, self.indices, self._slots)

    def strain(self, u: np.ndarray) -> np.ndarray:
        """Strain (cells, 3, 3): 11, 22, engineering 12 at the quadrature points of displacement u (nodes, 2)
        in m."""
        out = np.empty((*self.mesh.weights.shape, 3))
        _strains(self.mesh.cells, self.mesh.gradients, u, out)
        return out

    def force(self, stress: np.ndarray) -> np.ndarray:
        """Internal force (nodes, 2) in N/m, `int B^T sigma dV`, of stress (cells, 3, 4) in Pa."""
        out = np.zeros_like(self.mesh.x)
        _forces(self.mesh.cells, self.mesh.gradients, self.mesh.weights, stress, out)
        return out

    def matrix(self, tangent: np.ndarray) -> sp.csc_matrix:
        """Tangent stiffness `int B^T D B dV` on the free components, D from tangent (cells, 3, 6) in Pa."""
        data = np.zeros(len(self.indices))
        _stiffness(self.mesh.gradients, self.mesh.weights, tangent, self._slots, data)
        return sp.csc_matrix((data, self.indices, self.indptr), shape=(len(self.free),) * 2)

    def factor(self, tangent: np.ndarray) -> Any:
        """Sparse LU of the tangent in symmetric mode (minimum degree on A^T + A); has `.solve(rhs)`.

        Raises RuntimeError where the matrix is singular.
        """
        return spla.splu(
            self.matrix(tangent),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
