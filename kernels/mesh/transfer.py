"""Sparse P1 transfer of nodal fields from a mesh to points, with outside points counted, never silent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from kernels.errors import InputError
from kernels.mesh.locate import Locator

OUTSIDE = ("refuse", "clamp", "nan")
"""What to do with targets outside the mesh: an error, the value at the closest point of the mesh, or NaN."""


@dataclass(frozen=True)
class Transfer:
    """P1 transfer from n nodes to q targets: u(target) = matrix @ u(nodes).

    matrix (q, n): rows of k barycentric weights in [0, 1] that sum to one, of the closest point of the mesh;
    outside (q,) bool and distance (q,): which targets lie outside, how far; mode: one of OUTSIDE.
    """

    matrix: csr_array
    outside: NDArray[np.bool_]
    distance: NDArray[np.float64]
    mode: str

    def apply(self, field: ArrayLike) -> np.ndarray:
        """Field (n, ...) at the targets (q, ...), in its units; NaN at outside targets in the mode "nan".

        Raises InputError where the field does not have one row a node.
        """
        values = np.asarray(field)
        nodes = self.matrix.shape[1]
        if values.ndim == 0 or len(values) != nodes:
            raise InputError(
                f"field has shape {values.shape}; expected ({nodes}, ...): one value a node of the source "
                "mesh"
            )
        result = self.matrix @ values.reshape(nodes, -1)
        if self.mode == "nan":
            result[self.outside] = np.nan
        return np.asarray(result.reshape(len(self.outside), *values.shape[1:]))


def interpolation_operator(
    locator: Locator, targets: ArrayLike, outside: str = "refuse", tolerance: float | None = None
) -> Transfer:
    """P1 interpolation u(x) = sum_j b_j(x) u_j from the locator's mesh to targets (q, d).

    b are the barycentrics of the containing cell, or of the closest point where x lies outside. outside and
    tolerance: see OUTSIDE and `Locator.locate`. Linear fields are reproduced to rounding at inside targets.
    Raises InputError for an unknown mode, and with "refuse" where a target lies outside.
    """
    if outside not in OUTSIDE:
        raise InputError(f"outside is {outside!r}; expected one of {', '.join(map(repr, OUTSIDE))}")
    found = locator.locate(targets, tolerance)
    if outside == "refuse" and found.outside.any():
        _refuse(found.outside, found.distance)
    count, corners = found.barycentric.shape
    columns = locator.cells[found.cell].ravel()
    starts = np.arange(0, count * corners + 1, corners)
    matrix = csr_array((found.barycentric.ravel(), columns, starts), shape=(count, len(locator.points)))
    return Transfer(matrix, found.outside, found.distance, outside)


def _refuse(outside: NDArray[np.bool_], distance: NDArray[np.float64]) -> None:
    worst = int(np.argmax(distance))
    raise InputError(
        f"{int(outside.sum())} of {len(outside)} targets lie outside the mesh, the farthest is number "
        f"{worst} at a distance of {distance[worst]:.3g}; expected all inside: pass outside='clamp' for "
        "the value at the closest point of the mesh, outside='nan' to mark them, or a larger tolerance"
    )
