"""The adjoint of the angular stencil: finite differences, scalar products, torch's checks of operations."""

import pytest
import torch

from kernels.closures.kinetic import stencil, stencil_torch

ARGUMENTS = {"bracket": 3, "rate": 7}


def given(modes=4, shape=(2, 3), seed=0) -> list[torch.Tensor]:
    """z, t, omega, u, v, z_x, z_y."""
    random = torch.Generator().manual_seed(seed)

    def of(kind, *size):
        return torch.randn(*size, dtype=kind, generator=random).requires_grad_()

    z, x, y = (of(torch.complex128, modes, *shape) for _ in range(3))
    omega, u, v = (of(torch.float64, *shape) for _ in range(3))
    return [z, of(torch.complex128, *shape), omega, u, v, x, y]


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """Re <a, b>: complex numbers as planes of two reals, as torch's gradients take them."""
    return float((a.conj() * b).real.sum())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_gradcheck(name):
    assert torch.autograd.gradcheck(getattr(stencil, name), given()[: ARGUMENTS[name]])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_gradients_are_those_of_autograd_through_the_reference(name):
    """Also where a gradient comes as a view with a pending conjugation."""
    grown = []
    for face in (stencil, stencil_torch):
        leaves = given(modes=9, shape=(5, 4))[: ARGUMENTS[name]]
        out = getattr(face, name)(*leaves)
        weight = given(modes=9, shape=(5, 4), seed=1)[0].detach()
        (out.conj() * weight).real.sum().backward()
        grown.append([leaf.grad for leaf in leaves])
    for one, other in zip(*grown, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_scalar_products(argument):
    """<A x, y> = <x, A* y>; the bracket is linear over the reals in z, in t and in omega by itself (without
    the terms of the others)."""
    z, t, omega = (x.detach() for x in given(modes=12, shape=(17,))[:3])
    direction = given(modes=12, shape=(17,), seed=2)[argument].detach()
    y = given(modes=12, shape=(17,), seed=3)[0].detach()
    still = torch.zeros_like(omega)
    place = [z, t, omega if argument == 0 else still]
    back = stencil._bracket_adjoint(*place, y)[argument]
    if argument == 2:
        place[1] = torch.zeros_like(t)
    place[argument] = direction
    image = stencil.bracket(*place)
    assert abs(inner(image, y) - inner(direction, back)) < 1e-12 * float(image.abs().max() * y.abs().sum())


def test_opcheck():
    z, t, omega, u, v, x, y = given(shape=(5,))
    gradient = torch.ones_like(z).detach()
    plain = [a.detach() for a in (z, t, omega, u, v, x, y)]
    torch.library.opcheck(stencil._bracket, (z, t, omega))
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(stencil._rate, (z, t, omega, u, v, x, y), test_utils=quick)
    torch.library.opcheck(stencil._bracket_adjoint, (*plain[:3], gradient), test_utils=quick)
    torch.library.opcheck(stencil._transport_adjoint, (*plain[3:], gradient), test_utils=quick)


def test_second_derivatives_are_refused_not_wrong():
    leaves = given()[:3]
    first = torch.autograd.grad(stencil.bracket(*leaves).abs().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match=r"(?i)autograd|does not require grad|not implement"):
        torch.autograd.grad(first[1].abs().sum(), leaves[0])


def test_two_runs_give_the_same_bits():
    leaves = given(modes=25, shape=(40, 40))
    one, other = (torch.autograd.grad(stencil.rate(*leaves).abs().sum(), leaves) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
