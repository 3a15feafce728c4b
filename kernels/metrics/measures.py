"""Integrals, gradients and boundaries on a tensor grid and on a mesh, with one face for the scores.

`values` are nodal fields (samples, *points), results (samples,), float64. square: |u|^2 of the L2 norm that
errors are relative to; norm_square: the same by quadrature; gradient_square: integral of |grad u|^2 over a
domain of unit extent; mean: mean of u over the domain; boundary: mask of the boundary points, None where
there is none.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from kernels.errors import InputError
from kernels.mesh.mass import mass_matrix
from kernels.mesh.topology import boundary_facets

_EVEN = 1e-6
"""Spacings that differ by less than this share of their mean are equal."""


@dataclass(frozen=True)
class GridMeasure:
    """Tensor grid: `axes` rising coordinates, periodic or not, all of them or each.

    Trapezoidal weights; a periodic axis closes with a spacing equal to the mean of the others. Where all axes
    are evenly spaced, `square` weighs all points alike, which is the relative error that is published for
    such data; else by quadrature. Gradients are differences of neighbours, second order at the middle of
    each edge: unlike central differences they see an error that alternates from point to point. Every axis
    is measured in units of its own extent, so that derivatives along axes of different units may be added; on
    the unit cube that changes nothing.
    """

    axes: tuple[np.ndarray, ...]
    periodic: bool | tuple[bool, ...] = False

    @cached_property
    def wraps(self) -> tuple[bool, ...]:
        """Whether each axis is periodic."""
        if isinstance(self.periodic, tuple):
            return self.periodic
        return (self.periodic,) * len(self.axes)

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @cached_property
    def even(self) -> bool:
        """Whether all axes are evenly spaced."""
        steps = (np.diff(axis) for axis in self.axes)
        return all(s.size == 0 or bool(np.ptp(s) <= _EVEN * s.mean()) for s in steps)

    @cached_property
    def boundary(self) -> np.ndarray | None:
        """Points at the ends of the axes; None where one is periodic: the ends of time are no boundary."""
        if any(self.wraps):
            return None
        mask = np.zeros([len(axis) for axis in self.axes], dtype=bool)
        for j in range(mask.ndim):
            np.moveaxis(mask, j, 0)[[0, -1]] = True
        return mask

    def _steps(self, j: int) -> np.ndarray:
        """Lengths of the edges along an axis, shares of its extent; the closing one last if periodic."""
        steps = np.diff(self.axes[j])
        if self.wraps[j] and steps.size:
            steps = np.append(steps, steps.mean())
        return np.asarray(steps / steps.sum()) if steps.size else np.ones(0)

    @cached_property
    def _weights(self) -> list[np.ndarray]:
        """Quadrature weights of every axis; their sum is one."""
        found = []
        for j, axis in enumerate(self.axes):
            steps = self._steps(j)
            if steps.size == 0:
                found.append(np.ones(len(axis)))
            elif self.wraps[j]:
                found.append(0.5 * (steps + np.roll(steps, 1)))
            else:
                found.append(0.5 * (np.append(steps, 0.0) + np.append(0.0, steps)))
        return found

    def _integral(self, values: np.ndarray, replaced: dict[int, np.ndarray] | None = None) -> np.ndarray:
        for j in reversed(range(self.dimension)):
            values = values @ (replaced or {}).get(j, self._weights[j])
        return values

    def square(self, values: np.ndarray) -> np.ndarray:
        """Mean of u^2 over the points, or by quadrature where the spacing is not even."""
        if not self.even:
            return self.norm_square(values)
        return np.asarray((values**2).mean(axis=tuple(range(1, values.ndim))))

    def norm_square(self, values: np.ndarray) -> np.ndarray:
        """Integral of u^2 over the unit domain."""
        return self._integral(values**2)

    def gradient_square(self, values: np.ndarray) -> np.ndarray:
        """Integral of |grad u|^2 over the unit domain."""
        total = np.zeros(len(values))
        for j in range(self.dimension):
            steps = self._steps(j)
            if steps.size == 0:
                continue
            along = np.moveaxis(values, j + 1, -1)
            end = along[..., :1] if self.wraps[j] else along[..., :0]
            slope = np.diff(np.concatenate([along, end], axis=-1), axis=-1) / steps
            total += self._integral(np.moveaxis(slope**2, -1, j + 1), {j: steps})
        return total

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the domain by quadrature."""
        return self._integral(values)


@dataclass(frozen=True)
class MeshMeasure:
    """Mesh of triangles or tetrahedra with P1 fields: x (nodes, d), cells (m, corners).

    Integrals are exact for piecewise linear fields (consistent mass matrix); gradients are those of P1
    elements, in units of the largest extent of the mesh. Raises InputError for what is not a mesh.
    """

    x: np.ndarray
    cells: np.ndarray

    @cached_property
    def extent(self) -> float:
        """Largest extent along an axis."""
        return float(np.ptp(self.x, axis=0).max())

    @cached_property
    def _mass(self) -> csr_array:
        mass = mass_matrix(self.x, self.cells)
        return csr_array(mass / mass.sum())

    @cached_property
    def _stiffness(self) -> csr_array:
        """P1 stiffness over the measure: sum over cells of V grad phi_i . grad phi_j."""
        corners = self.x[self.cells] / self.extent
        edges = corners[:, 1:] - corners[:, :1]
        gram = edges @ edges.transpose(0, 2, 1)
        volume = np.sqrt(np.linalg.det(gram))
        if not (volume > 0.0).all():
            raise InputError(f"cell {int(np.argmin(volume))} of the mesh has no volume: repair the mesh")
        later = np.linalg.solve(gram, edges)
        slopes = np.concatenate([-later.sum(axis=1, keepdims=True), later], axis=1)
        local = (slopes @ slopes.transpose(0, 2, 1)) * (volume / volume.sum())[:, None, None]
        size = self.cells.shape[1]
        rows, columns = np.repeat(self.cells, size, axis=1).ravel(), np.tile(self.cells, (1, size)).ravel()
        return csr_array((local.ravel(), (rows, columns)), shape=(len(self.x), len(self.x)))

    @cached_property
    def boundary(self) -> np.ndarray | None:
        """Nodes of the facets that belong to one cell alone; None on a closed surface."""
        mask = np.zeros(len(self.x), dtype=bool)
        mask[boundary_facets(self.cells).ravel()] = True
        return mask if mask.any() else None

    def _form(self, matrix: csr_array, values: np.ndarray) -> np.ndarray:
        return np.asarray((values * (matrix @ values.T).T).sum(axis=1))

    def square(self, values: np.ndarray) -> np.ndarray:
        """Integral of u^2 over the measure of the mesh."""
        return self._form(self._mass, values)

    def norm_square(self, values: np.ndarray) -> np.ndarray:
        """As `square`."""
        return self.square(values)

    def gradient_square(self, values: np.ndarray) -> np.ndarray:
        """Integral of |grad u|^2 over the measure of the mesh."""
        return self._form(self._stiffness, values)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the mesh."""
        return np.asarray(values @ self._mass.sum(axis=0))


Measure = GridMeasure | MeshMeasure
"""What the scores of fields are computed with."""
