"""CUDA kernels of the implicit angular part: one thread a point, over the CPU's scalar functions."""

from numba import cuda

from kernels import cuda_support
from kernels.closures.kinetic import _scalar_adjoint, _scalar_solve

_DOWN = cuda_support.device(_scalar_solve.down)
_UP = cuda_support.device(_scalar_solve.up)
_INVERSE_PIVOT = cuda_support.device(_scalar_solve.inverse_pivot)
_ELIMINATED = cuda_support.device(_scalar_solve.eliminated)
_SUBSTITUTED = cuda_support.device(_scalar_solve.substituted)
_TO_DRIVE = cuda_support.device(_scalar_adjoint.to_drive)


def solve_kernel(r, t, omega, weight, rotary, inverse, q):
    """q (J, P) for r (J, P), t (P,), omega (P,); inverse (J, P) receives one over the pivots."""
    p = cuda.grid(1)
    if p < r.shape[1]:
        modes, t_re, t_im = r.shape[0], t[p].real, t[p].imag
        inv_re, inv_im, re, im = 0.0, 0.0, 0.0, 0.0
        for j in range(modes):
            m = 2.0 * j
            inv_re, inv_im = _INVERSE_PIVOT(m, weight, rotary, omega[p], t_re, t_im, inv_re, inv_im)
            inverse[j, p] = complex(inv_re, inv_im)
            re, im = _ELIMINATED(
                _DOWN(m, weight, False), t_re, t_im, re, im, r[j, p].real, r[j, p].imag, inv_re, inv_im
            )
            q[j, p] = complex(re, im)
        for j in range(modes - 2, -1, -1):
            inv, here = inverse[j, p], q[j, p]
            re, im = _SUBSTITUTED(
                _UP(2.0 * j, weight, False), t_re, t_im, re, im, here.real, here.imag, inv.real, inv.imag
            )
            q[j, p] = complex(re, im)


def solve_adjoint_kernel(q, t, omega, g, weight, rotary, inverse, to_r, to_t, to_omega):
    """Gradients to_r (J, P), to_t (P,), to_omega (P,) for g (J, P), with the solution q."""
    p = cuda.grid(1)
    if p < q.shape[1]:
        modes, t_re, t_im = q.shape[0], t[p].real, t[p].imag
        inv_re, inv_im, re, im = 0.0, 0.0, 0.0, 0.0
        for j in range(modes):
            m = 2.0 * j
            inv_re, inv_im = _INVERSE_PIVOT(m, weight, rotary, -omega[p], t_re, t_im, inv_re, inv_im)
            inverse[j, p] = complex(inv_re, inv_im)
            re, im = _ELIMINATED(
                _DOWN(m, weight, True), t_re, t_im, re, im, g[j, p].real, g[j, p].imag, inv_re, inv_im
            )
            to_r[j, p] = complex(re, im)
        total_re, total_im, total = 0.0, 0.0, 0.0
        high, here = 0j, q[modes - 1, p]
        for j in range(modes - 1, -1, -1):
            if j + 1 < modes:
                inv, back = inverse[j, p], to_r[j, p]
                re, im = _SUBSTITUTED(
                    _UP(2.0 * j, weight, True), t_re, t_im, re, im, back.real, back.imag, inv.real, inv.imag
                )
                to_r[j, p] = complex(re, im)
            if j > 0:
                low = q[j - 1, p]
                dt_re, dt_im, turn = _TO_DRIVE(
                    2.0 * j, re, im, low.real, low.imag, here.real, here.imag, high.real, high.imag
                )
                total_re += dt_re
                total_im += dt_im
                total += turn
                high, here = here, low
        to_t[p] = complex(weight * total_re, weight * total_im)
        to_omega[p] = weight * total
