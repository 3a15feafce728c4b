"""CUDA face of the morphing by radial basis functions: one thread a point."""

import math

import numpy as np
from numba import cuda, types

from kernels.cuda_support import device, require
from kernels.mesh.rbf import RbfModel, wendland_c2_scalar

THREADS = 128

_wendland_c2 = device(wendland_c2_scalar)

SIGNATURE = types.void(
    types.float64[:, ::1], types.float64[:, ::1], types.float64[:, ::1], types.float64, types.float64[:, ::1]
)
"""Of `accumulate_kernel`: points (n, d), controls (m, d), coefficients (m, d), radius, displacement (n,
d)."""


def accumulate_kernel(points, controls, coefficients, radius, out):
    """out_i += sum_j phi(|x_i - c_j| / radius) coefficients_j, for one point a thread; see `rbf.fit`."""
    i = cuda.grid(1)
    if i >= points.shape[0]:
        return
    axes = points.shape[1]
    for j in range(controls.shape[0]):
        total = 0.0
        for d in range(axes):
            step = points[i, d] - controls[j, d]
            total += step * step
        if total < radius * radius:
            value = _wendland_c2(math.sqrt(total) / radius)
            for d in range(axes):
                out[i, d] += value * coefficients[j, d]


def displacement(model: RbfModel, points: np.ndarray) -> np.ndarray:
    """Displacement (n, d) at the points (n, d), as `rbf.displacement` on the GPU, in float64.

    Raises InputError where no CUDA device can be used. Not handled: several devices, models larger than
    its memory.
    """
    require()
    points = np.ascontiguousarray(points, dtype=np.float64)
    out = cuda.to_device(model.affine(points))
    blocks = -(-len(points) // THREADS)
    if blocks:
        cuda.jit(accumulate_kernel)[blocks, THREADS](
            cuda.to_device(points), cuda.to_device(np.ascontiguousarray(model.controls)),
            cuda.to_device(np.ascontiguousarray(model.coefficients)), model.radius, out,
        )  # fmt: skip
    return out.copy_to_host()
