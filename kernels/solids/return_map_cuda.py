"""Radial return of J2 plasticity on CUDA: the scalar rule of `return_map`, one thread a point."""

import numpy as np
from numba import cuda

from kernels.solids.return_map import Material, radial_return

THREADS = 128

_point = cuda.jit(device=True)(radial_return)

SIGNATURE = (
    "void(float64[:,::1], float64[:,::1], float64[::1], float64, float64, float64, float64, float64, "
    "float64, "
    "float64[:,::1], float64[:,::1], float64[::1], float64[:,::1])"
)
"""Types of `update_kernel`, so that it can be compiled to PTX without a device."""


def update_kernel(
    strain, plastic, equivalent, bulk, shear, yield_stress, hardening, saturation, rate,
    stress, plastic_new, equivalent_new, tangent,
):  # fmt: skip
    """One point a thread: the arrays of `return_map.update`, the material constants, the four outputs."""
    i = cuda.grid(1)
    if i < strain.shape[0]:
        out = _point(
            strain[i, 0], strain[i, 1], strain[i, 2],
            plastic[i, 0], plastic[i, 1], plastic[i, 2], plastic[i, 3], equivalent[i],
            bulk, shear, yield_stress, hardening, saturation, rate,
        )  # fmt: skip
        stress[i, 0] = out[0]
        stress[i, 1] = out[1]
        stress[i, 2] = out[2]
        stress[i, 3] = out[3]
        plastic_new[i, 0] = out[4]
        plastic_new[i, 1] = out[5]
        plastic_new[i, 2] = out[6]
        plastic_new[i, 3] = out[7]
        equivalent_new[i] = out[8]
        tangent[i, 0] = out[9]
        tangent[i, 1] = out[10]
        tangent[i, 2] = out[11]
        tangent[i, 3] = out[12]
        tangent[i, 4] = out[13]
        tangent[i, 5] = out[14]


_kernel = cuda.jit(update_kernel)


def update(
    strain: np.ndarray, plastic: np.ndarray, equivalent: np.ndarray, material: Material
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`return_map.update` on the current CUDA device: host arrays in, host arrays out.

    Shapes, units, equations and source as there; results agree to rounding (fused multiply-add), not bitwise.
    Device-resident state between calls is not handled: launch `update_kernel` on own buffers for that.
    """
    points = strain.shape[0]
    outputs = np.empty((points, 4)), np.empty((points, 4)), np.empty(points), np.empty((points, 6))
    if points == 0:
        return outputs
    inputs = [
        cuda.to_device(np.ascontiguousarray(a, dtype=np.float64)) for a in (strain, plastic, equivalent)
    ]
    buffers = [cuda.to_device(a) for a in outputs]
    blocks = (points + THREADS - 1) // THREADS
    _kernel[blocks, THREADS](*inputs, *material.constants(), *buffers)
    stress, plastic_new, equivalent_new, tangent = (b.copy_to_host() for b in buffers)
    return stress, plastic_new, equivalent_new, tangent
