"""CUDA face of the angular stencil, its implicit form and their adjoints: one thread a point, over the scalar
functions of the CPU face.

Torch owns all memory; kernels read and write it where it lies and run on torch's current stream. A thread of
the stencil goes through the modes of its point and holds three rows: all are read once and written once.
"""

from typing import Any

import torch
from numba import cuda
from torch import Tensor

from kernels import cuda_support
from kernels.closures.kinetic import _cuda_solve, _scalar, _scalar_adjoint
from kernels.closures.kinetic.stencil import plain

BLOCK = 128

_BRACKET = cuda_support.device(_scalar.bracket)
_CARRIED = cuda_support.device(_scalar_adjoint.carried)
_TO_STATE = cuda_support.device(_scalar_adjoint.to_state)
_TO_DRIVE = cuda_support.device(_scalar_adjoint.to_drive)
_TO_VELOCITY = cuda_support.device(_scalar_adjoint.to_velocity)

_NUMBER = "float64"
_ROWS, _COMPLEX, _REAL = "complex128[:,::1]", "complex128[::1]", "float64[::1]"
SIGNATURES = {
    "forward": (_ROWS, _COMPLEX, _REAL, _ROWS),
    "transported": (_ROWS, _COMPLEX, _REAL, _REAL, _REAL, _ROWS, _ROWS, _ROWS),
    "adjoint": (_ROWS, _COMPLEX, _REAL, _ROWS, _ROWS, _COMPLEX, _REAL),
    "transport_adjoint": (_REAL, _REAL, _ROWS, _ROWS, _ROWS, _REAL, _REAL, _ROWS, _ROWS),
    "solve": (_ROWS, _COMPLEX, _REAL, _NUMBER, _NUMBER, _ROWS, _ROWS),
    "solve_adjoint": (
        _ROWS,
        _COMPLEX,
        _REAL,
        _ROWS,
        _NUMBER,
        _NUMBER,
        _ROWS,
        _ROWS,
        _COMPLEX,
        _REAL,
    ),
}
"""Types of the arguments of every kernel, so that it can be compiled to PTX without a device."""


def forward_kernel(z, t, omega, out):
    """out (J, P) = bracket of z (J, P), t (P,), omega (P,)."""
    p = cuda.grid(1)
    if p < z.shape[1]:
        modes = z.shape[0]
        low, here = 0j, z[0, p]
        for j in range(modes):
            high = z[j + 1, p] if j + 1 < modes else 0j
            real, imag = _BRACKET(
                2.0 * j, omega[p], t[p].real, t[p].imag,
                low.real, low.imag, here.real, here.imag, high.real, high.imag,
            )  # fmt: skip
            out[j, p] = complex(real, imag)
            low, here = here, high


def transported_kernel(z, t, omega, u, v, x, y, out):
    """out (J, P) = bracket - u x - v y."""
    p = cuda.grid(1)
    if p < z.shape[1]:
        modes = z.shape[0]
        low, here = 0j, z[0, p]
        for j in range(modes):
            high = z[j + 1, p] if j + 1 < modes else 0j
            real, imag = _BRACKET(
                2.0 * j, omega[p], t[p].real, t[p].imag,
                low.real, low.imag, here.real, here.imag, high.real, high.imag,
            )  # fmt: skip
            lost, turned = _CARRIED(u[p], v[p], x[j, p].real, x[j, p].imag, y[j, p].real, y[j, p].imag)
            out[j, p] = complex(real - lost, imag - turned)
            low, here = here, high


def adjoint_kernel(z, t, omega, g, to_z, to_t, to_omega):
    """Gradients to_z (J, P), to_t (P,), to_omega (P,) for g (J, P)."""
    p = cuda.grid(1)
    if p < z.shape[1]:
        modes = z.shape[0]
        low, here, g_low, g_here = 0j, z[0, p], 0j, g[0, p]
        total_re, total_im, total = 0.0, 0.0, 0.0
        for j in range(modes):
            high = z[j + 1, p] if j + 1 < modes else 0j
            g_high = g[j + 1, p] if j + 1 < modes else 0j
            real, imag = _TO_STATE(
                2.0 * j, omega[p], t[p].real, t[p].imag,
                g_low.real, g_low.imag, g_here.real, g_here.imag, g_high.real, g_high.imag,
            )  # fmt: skip
            to_z[j, p] = complex(real, imag)
            real, imag, turn = _TO_DRIVE(
                2.0 * j, g_here.real, g_here.imag,
                low.real, low.imag, here.real, here.imag, high.real, high.imag,
            )  # fmt: skip
            total_re += real
            total_im += imag
            total += turn
            low, here, g_low, g_here = here, high, g_here, g_high
        to_t[p] = complex(total_re, total_im)
        to_omega[p] = total


def transport_adjoint_kernel(u, v, x, y, g, to_u, to_v, to_x, to_y):
    """Gradients to_u, to_v (P,), to_x, to_y (J, P) of Re <g, -u x - v y>."""
    p = cuda.grid(1)
    if p < u.shape[0]:
        total_u, total_v = 0.0, 0.0
        for j in range(g.shape[0]):
            here = g[j, p]
            total_u += _TO_VELOCITY(here.real, here.imag, x[j, p].real, x[j, p].imag)
            total_v += _TO_VELOCITY(here.real, here.imag, y[j, p].real, y[j, p].imag)
            to_x[j, p] = complex(-u[p] * here.real, -u[p] * here.imag)
            to_y[j, p] = complex(-v[p] * here.real, -v[p] * here.imag)
        to_u[p] = total_u
        to_v[p] = total_v


KERNELS = {
    "forward": forward_kernel,
    "transported": transported_kernel,
    "adjoint": adjoint_kernel,
    "transport_adjoint": transport_adjoint_kernel,
    "solve": _cuda_solve.solve_kernel,
    "solve_adjoint": _cuda_solve.solve_adjoint_kernel,
}
_compiled: dict[str, Any] = {}


def launch(
    name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], numbers: tuple[float, ...] = ()
) -> None:
    """Run a kernel of `KERNELS` on flat tensors, see `SIGNATURES`, on the device that they are on.

    Arguments of a kernel are its inputs, numbers and outputs, in this order.

    In the CUDA simulator the tensors are those of the CPU. Raises InputError where no kernel can be launched.
    """
    cuda_support.require()
    points = inputs[0].shape[-1]
    if points == 0:
        return
    if name not in _compiled:
        _compiled[name] = cuda.jit(KERNELS[name])
    grid = -(-points // BLOCK)
    given = [plain(tensor) for tensor in inputs]  # named: a copy must live until the kernel is queued
    if cuda_support.simulated():
        read, written = ([tensor.numpy() for tensor in tensors] for tensors in (given, outputs))
        _compiled[name][grid, BLOCK](*read, *numbers, *written)
        return
    with torch.cuda.device(outputs[0].device):
        read, written = (
            [cuda.as_cuda_array(tensor, sync=False) for tensor in tensors] for tensors in (given, outputs)
        )
        _compiled[name][grid, BLOCK, _stream()](*read, *numbers, *written)


def _stream() -> Any:
    """Torch's current stream for numba; 0 is the default stream of both, which orders itself."""
    pointer = torch.cuda.current_stream().cuda_stream
    return cuda.external_stream(pointer) if pointer else 0
