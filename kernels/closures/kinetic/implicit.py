"""The implicit angular part as a differentiable torch operation: compiled in both directions."""

from typing import Any

import torch
from torch import Tensor

from kernels.closures.kinetic import _solve_cpu
from kernels.closures.kinetic.stencil import check, flat, run
from kernels.errors import InputError


def solve(r: Tensor, t: Tensor, omega: Tensor, weight: float, rotary: float) -> Tensor:
    """q of (1 - weight A) q = r, A q_m = i m (omega / 2) q_m + (m / 2) [t q_{m-2} - conj(t) q_{m+2}]
    - d_R m^2 q_m, at every point: a tridiagonal system over the modes (Thomas' elimination).

    r (J, ...) complex128, r[j] for m = 2 j; t (...) complex128; omega (...) float64; weight (of a time step)
    and rotary d_R numbers from 0, with respect to which no gradient is given. Returns (J, ...). Raises
    InputError where shapes or types do not fit, or a number is negative, which could stop the elimination.
    """
    check(r, {"t": t, "omega": omega}, {})
    for name, value in (("weight", weight), ("rotary", rotary)):
        if not 0.0 <= value < float("inf"):
            raise InputError(f"{name} is {value!r}, expected a finite number from 0: an elimination may fail")
    out: Tensor = _solve(*flat(r, (t, omega)), float(weight), float(rotary))
    return out.reshape(r.shape)


@torch.library.custom_op("pushforward::kinetic_solve", mutates_args=())
def _solve(r: Tensor, t: Tensor, omega: Tensor, weight: float, rotary: float) -> Tensor:
    inverse, q = r.new_empty(r.shape), r.new_empty(r.shape)
    run(_solve_cpu.solve, (r, t, omega), (inverse, q), (weight, rotary))
    return q


@torch.library.custom_op("pushforward::kinetic_solve_adjoint", mutates_args=())
def _solve_adjoint(
    q: Tensor, t: Tensor, omega: Tensor, gradient: Tensor, weight: float, rotary: float
) -> tuple[Tensor, Tensor, Tensor]:
    inverse = q.new_empty(q.shape)
    out = q.new_empty(q.shape), t.new_empty(t.shape), omega.new_empty(omega.shape)
    run(_solve_cpu.solve_adjoint, (q, t, omega, gradient), (inverse, *out), (weight, rotary))
    return out


@_solve.register_fake
def _(r: Tensor, t: Tensor, omega: Tensor, weight: float, rotary: float) -> Tensor:
    return r.new_empty(r.shape)


@_solve_adjoint.register_fake
def _(
    q: Tensor, t: Tensor, omega: Tensor, gradient: Tensor, weight: float, rotary: float
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), t.new_empty(t.shape), omega.new_empty(omega.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, t, omega, *ctx.numbers = inputs
    ctx.save_for_backward(output, t, omega)


def _backward(ctx, gradient):
    return *_solve_adjoint(*ctx.saved_tensors, gradient, *ctx.numbers), None, None


_solve.register_autograd(_backward, setup_context=_keep)
