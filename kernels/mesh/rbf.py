"""Morphing by radial basis functions: control displacements carried to all nodes by Wendland's C2
function."""

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.spatial import cKDTree

from kernels.errors import InputError
from kernels.mesh.sparse_solve import solve_dominant

DENSE_LIMIT = 2_000
"""Up to this many controls a dense Cholesky factorisation is faster than a sparse one."""
_PAIR_LIMIT = 40_000_000
"""About 2 GB of sparse matrix."""
_BIN_LIMIT = 100


def wendland_c2_scalar(q: float) -> float:
    """Wendland's function (1 - q)^4 (4 q + 1) for 0 <= q < 1, else 0; positive definite in up to 3
    dimensions.

    Wendland, Adv. Comput. Math. 4 (1995), table 1. Shared by the CPU and the CUDA face.
    """
    if q >= 1.0:
        return 0.0
    left = 1.0 - q
    left *= left
    return left * left * (4.0 * q + 1.0)


wendland_c2 = numba.njit(cache=True, nogil=True, inline="always")(wendland_c2_scalar)


@dataclass(frozen=True)
class AffineFit:
    """Displacement (x - centre) @ linear + offset."""

    centre: np.ndarray
    linear: np.ndarray
    offset: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Displacement (n, d) at the points (n, d)."""
        return (points - self.centre) @ self.linear + self.offset


@dataclass(frozen=True)
class RbfModel:
    """d(x) = affine(x) + sum_j phi(|x - c_j| / radius) coefficients_j."""

    controls: np.ndarray
    coefficients: np.ndarray
    radius: float
    affine: AffineFit
    control_error: float


def affine_fit(controls: np.ndarray, displacements: np.ndarray) -> AffineFit:
    """Least-squares affine displacement through the controls (m, d); the minimum-norm one where they
    are degenerate.

    Taking it out first makes the methods that follow reproduce every affine map.
    """
    centre, offset = controls.mean(axis=0), displacements.mean(axis=0)
    linear = np.linalg.lstsq(controls - centre, displacements - offset, rcond=1e-10)[0]
    return AffineFit(centre, linear, offset)


def check_controls(controls: np.ndarray, displacements: np.ndarray, name: str) -> None:
    """Raise InputError where controls are missing, not finite, or coincide."""
    if controls.shape != displacements.shape or controls.ndim != 2 or len(controls) == 0:
        raise InputError(
            f"{name}: controls of shape {controls.shape} with displacements of shape "
            f"{displacements.shape} were given: "
            "give one displacement for each of at least one control, both of shape (controls, axes)"
        )
    if not (np.all(np.isfinite(controls)) and np.all(np.isfinite(displacements))):
        raise InputError(f"{name}: control points or displacements are not finite: remove or repair them")
    if len(controls) > 1:
        nearest = cKDTree(controls).query(controls, k=2)[0][:, 1]
        if nearest.min() == 0.0:
            raise InputError(
                f"{name}: control point {int(nearest.argmin())} is given twice: remove one of the two"
            )


def fit(controls: np.ndarray, displacements: np.ndarray, radius: float, name: str = "mesh") -> RbfModel:
    """Interpolate control displacements: A lambda = d - affine, A_jk = phi(|c_j - c_k| / radius).

    controls, displacements (m, d) and radius in one length unit; phi: Wendland C2; d = 2 or 3. Hold a
    far boundary by giving its nodes as controls with zero displacement. Dense up to 2,000 controls,
    sparse above (memory grows with the pairs nearer than the radius). control_error: largest |d(c_j) -
    d_j|, measured. Source: de Boer, van der Schoot, Bijl, Comput. Struct. 85 (2007), eqs. 1-6, with the
    polynomial fitted by least squares. Raises InputError naming the sample for repeated controls, a
    radius that is not positive, or one too large for memory.
    """
    controls = np.ascontiguousarray(controls, dtype=float)
    displacements = np.ascontiguousarray(displacements, dtype=float)
    check_controls(controls, displacements, name)
    if not (radius > 0.0 and math.isfinite(radius)):
        raise InputError(f"{name}: radius {radius} of the radial basis functions: give a positive length")
    affine = affine_fit(controls, displacements)
    residual = displacements - affine(controls)
    if len(controls) <= DENSE_LIMIT:
        coefficients = _solve_dense(controls, residual, radius, name)
    else:
        coefficients = _solve_sparse(controls, residual, radius, name)
    model = RbfModel(controls, coefficients, radius, affine, 0.0)
    error = float(np.abs(displacement(model, controls) - displacements).max())
    return RbfModel(controls, coefficients, radius, affine, error)


def displacement(model: RbfModel, points: np.ndarray) -> np.ndarray:
    """Displacement (n, d) at the points (n, d), on the CPU: no matrix is formed, only controls in reach
    are visited."""
    points = np.ascontiguousarray(points, dtype=float)
    low, counts, order, starts = _bins(model.controls, model.radius)
    out = model.affine(points)
    _accumulate(
        points, model.controls[order], model.coefficients[order], model.radius, low, counts, starts, out
    )
    return out


def rbf_morph(
    points: np.ndarray, controls: np.ndarray, displacements: np.ndarray, radius: float, name: str = "mesh"
) -> tuple[np.ndarray, float]:
    """Moved points x + d(x) (n, d) and the control error; see `fit`."""
    model = fit(controls, displacements, radius, name)
    return points + displacement(model, points), model.control_error


def _solve_dense(controls: np.ndarray, residual: np.ndarray, radius: float, name: str) -> np.ndarray:
    matrix = _dense_matrix(controls, radius)
    try:
        factor = scipy.linalg.cho_factor(matrix, lower=True)
    except np.linalg.LinAlgError:
        raise InputError(
            f"{name}: {len(controls)} control points are too close together for the radius {radius:g}: "
            "thin them out, "
            "or take a smaller radius"
        ) from None
    solution = scipy.linalg.cho_solve(factor, residual)
    # One refinement step takes the control error to round-off where controls crowd.
    return solution + scipy.linalg.cho_solve(factor, residual - matrix @ solution)


def _solve_sparse(controls: np.ndarray, residual: np.ndarray, radius: float, name: str) -> np.ndarray:
    tree = cKDTree(controls)
    pairs = int(tree.count_neighbors(tree, radius))
    if pairs > _PAIR_LIMIT:
        raise InputError(
            f"{name}: {len(controls)} controls have {pairs} pairs nearer than the radius {radius:g}, at most "
            f"{_PAIR_LIMIT} fit in memory: take a smaller radius or fewer controls"
        )
    near = tree.query_pairs(radius, output_type="ndarray")
    distance = np.linalg.norm(controls[near[:, 0]] - controls[near[:, 1]], axis=1) / radius
    values = np.maximum(1.0 - distance, 0.0) ** 4 * (4.0 * distance + 1.0)
    here = np.arange(len(controls))
    rows = np.concatenate([near[:, 0], near[:, 1], here])
    columns = np.concatenate([near[:, 1], near[:, 0], here])
    data = np.concatenate([values, values, np.ones(len(controls))])
    matrix = sp.coo_matrix((data, (rows, columns)), shape=(len(controls), len(controls))).tocsc()
    solution = solve_dominant(matrix, residual, name)
    return solution + solve_dominant(matrix, residual - matrix @ solution, name)


@numba.njit(cache=True, nogil=True)
def _dense_matrix(controls, radius):
    count = controls.shape[0]
    matrix = np.empty((count, count))
    for i in range(count):
        for j in range(i + 1):
            total = 0.0
            for d in range(controls.shape[1]):
                step = controls[i, d] - controls[j, d]
                total += step * step
            matrix[i, j] = matrix[j, i] = wendland_c2(math.sqrt(total) / radius)
    return matrix


def _bins(controls: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Controls sorted into boxes no smaller than the radius: lower corner, boxes per axis, order, start
    of each box."""
    low, extent = controls.min(axis=0), np.ptp(controls, axis=0)
    counts = np.clip((extent / radius).astype(np.int64), 1, _BIN_LIMIT)
    size = np.where(extent > 0.0, extent, 1.0) / counts
    cell = np.clip(((controls - low) / size).astype(np.int64), 0, counts - 1)
    flat = np.ravel_multi_index(tuple(cell.T), tuple(counts))
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(np.prod(counts) + 1))
    return np.stack([low, size]), counts, order, starts.astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _accumulate(points, controls, coefficients, radius, box, counts, starts, out):
    """out += sum of coefficients * phi over the controls in the boxes within reach of each point."""
    axes = points.shape[1]
    first = np.zeros(3, np.int64)
    last = np.zeros(3, np.int64)
    deep = counts[2] if axes == 3 else 1
    square = radius * radius
    for i in range(points.shape[0]):
        for d in range(axes):
            here = (points[i, d] - box[0, d]) / box[1, d]
            reach = radius / box[1, d]
            first[d] = int(max(0.0, min(math.floor(here - reach), float(counts[d]))))
            last[d] = int(max(-1.0, min(math.floor(here + reach), counts[d] - 1.0)))
        for a in range(first[0], last[0] + 1):
            for b in range(first[1], last[1] + 1):
                # Boxes along the last axis lie one after the other.
                row = (a * counts[1] + b) * deep
                begin, end = row, row
                if axes == 3:
                    begin, end = row + first[2], row + last[2]
                if end < begin:
                    continue
                for j in range(starts[begin], starts[end + 1]):
                    total = 0.0
                    for d in range(axes):
                        step = points[i, d] - controls[j, d]
                        total += step * step
                    if total < square:
                        value = wendland_c2(math.sqrt(total) / radius)
                        for d in range(axes):
                            out[i, d] += value * coefficients[j, d]
