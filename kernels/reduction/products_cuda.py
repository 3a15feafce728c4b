"""Mass products and inner products of rows on CUDA: the scalar term of `products`, tiles in shared memory."""

import numpy as np
from numba import cuda, float64
from scipy import sparse

from kernels.cuda_support import require
from kernels.reduction.products import accumulate

TILE = 16
THREADS = 128

_accumulate = cuda.jit(device=True)(accumulate)

INNER_SIGNATURE = "void(float64[:,::1], float64[:,::1], float64[:,::1])"
"""Types of `inner_products_kernel`, so that it can be compiled to PTX without a device."""

MASS_SIGNATURE = "void(float64[::1], int32[::1], int32[::1], float64[:,::1], float64[:,::1])"
"""Types of `apply_mass_kernel`."""


def inner_products_kernel(left, right, out):
    """One inner product a thread; a block of TILE x TILE reads each row piece once into shared memory."""
    left_tile = cuda.shared.array((16, 17), float64)
    right_tile = cuda.shared.array((16, 17), float64)
    ty, tx = cuda.threadIdx.y, cuda.threadIdx.x
    i = cuda.blockIdx.y * 16 + ty
    j = cuda.blockIdx.x * 16 + tx
    row = cuda.blockIdx.x * 16 + ty
    nodes = left.shape[1]
    total = 0.0
    for start in range(0, nodes, 16):
        node = start + tx
        left_tile[ty, tx] = left[i, node] if i < left.shape[0] and node < nodes else 0.0
        right_tile[ty, tx] = right[row, node] if row < right.shape[0] and node < nodes else 0.0
        cuda.syncthreads()
        for k in range(16):
            total = _accumulate(total, left_tile[ty, k], right_tile[tx, k])
        cuda.syncthreads()
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = total


def apply_mass_kernel(data, columns, starts, rows, out):
    """One entry of M s a thread."""
    node, sample = cuda.grid(2)
    if sample < rows.shape[0] and node < rows.shape[1]:
        total = 0.0
        for entry in range(starts[node], starts[node + 1]):
            total = _accumulate(total, data[entry], rows[sample, columns[entry]])
        out[sample, node] = total


_inner = cuda.jit(inner_products_kernel)
_mass = cuda.jit(apply_mass_kernel)


def inner_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`products.inner_products` on the current CUDA device: host arrays in, host array out.

    Equal to the CPU face to rounding (another order of the sum, fused multiply-add), not bitwise. Raises
    InputError where no kernel can be launched. Not handled: rows that do not fit in device memory; cut the
    blocks smaller.
    """
    require()
    out = cuda.device_array((left.shape[0], right.shape[0]))
    grid = (-(-right.shape[0] // TILE), -(-left.shape[0] // TILE))
    left_device = cuda.to_device(np.ascontiguousarray(left, dtype=np.float64))
    right_device = cuda.to_device(np.ascontiguousarray(right, dtype=np.float64))
    _inner[grid, (TILE, TILE)](left_device, right_device, out)
    return np.asarray(out.copy_to_host())


def apply_mass(mass: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """`products.apply_mass` on the current CUDA device: host arrays in, host array out.

    Equal to the CPU face to rounding. Raises InputError where no kernel can be launched. Not handled: a mass
    matrix of more than 2^31 entries.
    """
    require()
    out = cuda.device_array(rows.shape)
    grid = (-(-rows.shape[1] // THREADS), rows.shape[0])
    _mass[grid, (THREADS, 1)](
        cuda.to_device(mass.data),
        cuda.to_device(mass.indices.astype(np.int32)),
        cuda.to_device(mass.indptr.astype(np.int32)),
        cuda.to_device(np.ascontiguousarray(rows, dtype=np.float64)),
        out,
    )
    return np.asarray(out.copy_to_host())
