"""The angular stencil as differentiable torch operations: compiled forwards, adjoints written by hand.

The forward is a numba loop on the CPU and a numba-CUDA kernel on a GPU (`kernels.closures.kinetic.cuda`), the
backward the adjoint stencil in the same two faces. It gathers, so every run sums in the same order. Second
derivatives are not provided: torch says so when they are asked for.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kernels.closures.kinetic import _stencil_cpu
from kernels.errors import InputError


def bracket(z: Tensor, t: Tensor, omega: Tensor) -> Tensor:
    """Rotation of every even mode, i m (omega / 2) z_m + (m / 2) [t z_{m-2} - conj(t) z_{m+2}].

    z (J, ...) complex128, z[j] = z_{2j}, z_{2J} = 0; t (...) complex128, the deviator of T = E + 2 zeta D;
    omega (...) float64, the vorticity. Returns (J, ...). Raises InputError where shapes, types or devices do
    not fit. Source: the hierarchy in `kernels.closures.harmonics`.
    """
    check(z, {"t": t, "omega": omega}, {})
    out: Tensor = _bracket(*flat(z, (t, omega)))
    return out.reshape(z.shape)


def rate(z: Tensor, t: Tensor, omega: Tensor, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor) -> Tensor:
    """`bracket` - u.grad z_m: the whole explicit rate of every mode.

    u, v (...) float64; z_x, z_y (J, ...) complex128, the derivatives of z. Otherwise as `bracket`.
    """
    check(z, {"t": t, "omega": omega, "u": u, "v": v}, {"z_x": z_x, "z_y": z_y})
    z_flat, t, omega, u, v = flat(z, (t, omega, u, v))
    out: Tensor = _rate(z_flat, t, omega, u, v, z_x.reshape(z_flat.shape), z_y.reshape(z_flat.shape))
    return out.reshape(z.shape)


def flat(z: Tensor, fields: tuple[Tensor, ...]) -> list[Tensor]:
    """z as (J, points), fields as (points,)."""
    return [z.reshape(z.shape[0], -1), *(field.reshape(-1) for field in fields)]


def check(z: Tensor, fields: dict[str, Tensor], modes: dict[str, Tensor]) -> None:
    """Raise InputError unless z is (J, ...), `fields` (...) and `modes` (J, ...), of the right types."""
    if z.ndim < 1 or z.shape[0] < 2 or z.dtype != torch.complex128:
        raise InputError(
            f"z has shape {tuple(z.shape)} and type {z.dtype}, expected (J, ...) with at least 2 even modes "
            "and complex128: stack z_0, z_2, .. along the first axis"
        )
    expected = {name: (z.shape[1:], torch.complex128 if name == "t" else torch.float64) for name in fields}
    expected |= dict.fromkeys(modes, (z.shape, torch.complex128))
    for name, given in (fields | modes).items():
        shape, kind = expected[name]
        if given.shape != shape or given.dtype != kind:
            raise InputError(
                f"{name} has shape {tuple(given.shape)} and type {given.dtype}, expected {tuple(shape)} and "
                f"{kind} as z has shape {tuple(z.shape)}: use one grid for all"
            )
        if given.device != z.device:
            raise InputError(f"{name} is on {given.device}, z on {z.device}: move them to one device")


def plain(tensor: Tensor) -> Tensor:
    """The tensor as memory that a compiled loop may read: no graph, no pending conjugation, contiguous."""
    return tensor.detach().resolve_conj().resolve_neg().contiguous()


def run(
    loop: Callable[..., None],
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    numbers: tuple[float, ...] = (),
) -> None:
    """Call a loop of the CPU, or the CUDA kernel of its name where the tensors are on a GPU."""
    if outputs[0].is_cuda:
        from kernels.closures.kinetic import cuda

        cuda.launch(loop.__name__, inputs, outputs, numbers)
    else:
        loop(*(plain(x).numpy() for x in inputs), *numbers, *(x.numpy() for x in outputs))


@torch.library.custom_op("pushforward::kinetic_bracket", mutates_args=())
def _bracket(z: Tensor, t: Tensor, omega: Tensor) -> Tensor:
    out = z.new_empty(z.shape)
    run(_stencil_cpu.forward, (z, t, omega), (out,))
    return out


@torch.library.custom_op("pushforward::kinetic_bracket_adjoint", mutates_args=())
def _bracket_adjoint(z: Tensor, t: Tensor, omega: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = z.new_empty(z.shape), t.new_empty(t.shape), omega.new_empty(omega.shape)
    run(_stencil_cpu.adjoint, (z, t, omega, gradient), out)
    return out


@torch.library.custom_op("pushforward::kinetic_rate", mutates_args=())
def _rate(z: Tensor, t: Tensor, omega: Tensor, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor) -> Tensor:
    out = z.new_empty(z.shape)
    run(_stencil_cpu.transported, (z, t, omega, u, v, z_x, z_y), (out,))
    return out


@torch.library.custom_op("pushforward::kinetic_transport_adjoint", mutates_args=())
def _transport_adjoint(
    u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out = u.new_empty(u.shape), v.new_empty(v.shape), z_x.new_empty(z_x.shape), z_y.new_empty(z_y.shape)
    run(_stencil_cpu.transport_adjoint, (u, v, z_x, z_y, gradient), out)
    return out


@_bracket.register_fake
def _(z: Tensor, t: Tensor, omega: Tensor) -> Tensor:
    return z.new_empty(z.shape)


@_bracket_adjoint.register_fake
def _(z: Tensor, t: Tensor, omega: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return z.new_empty(z.shape), t.new_empty(t.shape), omega.new_empty(omega.shape)


@_rate.register_fake
def _(z: Tensor, t: Tensor, omega: Tensor, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor) -> Tensor:
    return z.new_empty(z.shape)


@_transport_adjoint.register_fake
def _(
    u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return u.new_empty(u.shape), v.new_empty(v.shape), z_x.new_empty(z_x.shape), z_y.new_empty(z_y.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _bracket_backward(ctx, gradient):
    return _bracket_adjoint(*ctx.saved_tensors, gradient)


def _rate_backward(ctx, gradient):
    z, t, omega, u, v, z_x, z_y = ctx.saved_tensors
    return *_bracket_adjoint(z, t, omega, gradient), *_transport_adjoint(u, v, z_x, z_y, gradient)


_bracket.register_autograd(_bracket_backward, setup_context=_keep)
_rate.register_autograd(_rate_backward, setup_context=_keep)
