"""The implicit angular part: dense matrices, the solver's own loop, and its adjoint."""

import numpy as np
import pytest
import torch

from kernels.closures.kinetic import _loops, implicit, stencil, stencil_torch
from kernels.errors import InputError

WEIGHT, ROTARY = 0.3, 0.05


def given(modes=6, shape=(3, 4), seed=0) -> list[torch.Tensor]:
    """r, t, omega, and one more like r."""
    random = torch.Generator().manual_seed(seed)

    def of(kind, *size):
        return torch.randn(size, dtype=kind, generator=random)

    return [
        of(torch.complex128, modes, *shape), of(torch.complex128, *shape), of(torch.float64, *shape),
        of(torch.complex128, modes, *shape),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 4), (300,), ()])
@pytest.mark.parametrize("weight", [0.01, 0.3, 30.0])
def test_numba_equals_dense_matrices(shape, weight):
    """Pivots do not cancel, so the error is a few roundings however stiff the system is."""
    r, t, omega, _ = given(25, shape)
    found = implicit.solve(r, t, omega, weight, ROTARY)
    expected = stencil_torch.solve(r, t, omega, weight, ROTARY)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_solution_solves_the_system():
    r, t, omega, _ = given(25, (40,))
    q = implicit.solve(r, t, omega, WEIGHT, ROTARY)
    damping = 4.0 * ROTARY * stencil_torch.orders(q) ** 2
    back = q - WEIGHT * (stencil.bracket(q, t, omega) - damping * q)
    torch.testing.assert_close(back, r, rtol=0, atol=1e-12)


def test_the_solvers_loop_does_the_same():
    """`_loops.implicit_solve`, which also carries: q of p - w rate - w (u z_x + v z_y), and what it adds."""
    p, t, omega, rate = given(8, (50,))
    x, _, u, y = given(8, (50,), seed=1)
    v = given(8, (50,), seed=2)[2]
    p[0], x[0], y[0], rate[0] = (field[0].real + 0j for field in (p, x, y, rate))
    q = implicit.solve(p - WEIGHT * (rate + u * x + v * y), t, omega, WEIGHT, ROTARY)
    total, change = rate.numpy().copy(), np.empty_like(rate.numpy())
    arrays = (field.numpy() for field in (p, x, y, u, v, omega, t))
    _loops.implicit_solve(*arrays, WEIGHT, ROTARY, total, change)
    np.testing.assert_allclose(change, (q - p).numpy(), atol=1e-12)
    np.testing.assert_allclose(total, (rate + (q - p) / WEIGHT).numpy(), atol=1e-11)


def test_gradcheck():
    leaves = [x.requires_grad_() for x in given(4, (2, 3))[:3]]
    assert torch.autograd.gradcheck(lambda *x: implicit.solve(*x, WEIGHT, ROTARY), leaves)


def test_gradients_are_those_of_autograd_through_dense_matrices():
    grown = []
    for face in (implicit, stencil_torch):
        *leaves, upstream = given(12, (9,))
        leaves = [x.requires_grad_() for x in leaves]
        out = face.solve(*leaves, WEIGHT, ROTARY)
        grown.append(torch.autograd.grad((out.conj() * upstream).real.sum(), leaves))
    for one, other in zip(*grown, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_scalar_products():
    """<M^{-1} r, y> = <r, M^{-*} y>, and a forward and an adjoint solve with real data of one row agree."""
    r, t, omega, y = given(25, (40,))
    image = implicit.solve(r, t, omega, WEIGHT, ROTARY)
    back = implicit._solve_adjoint(image, t, omega, y, WEIGHT, ROTARY)[0]
    difference = (image.conj() * y).real.sum() - (r.conj() * back).real.sum()
    assert abs(float(difference)) < 1e-12 * float(image.abs().max() * y.abs().sum())


def test_opcheck():
    r, t, omega, g = given(4, (5,))
    leaves = [x.clone().requires_grad_() for x in (r, t, omega)]
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(implicit._solve, (*leaves, WEIGHT, ROTARY), test_utils=quick)
    torch.library.opcheck(implicit._solve_adjoint, (r, t, omega, g, WEIGHT, ROTARY), test_utils=quick)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weight": -0.1}, "weight is -0.1, expected a finite number from 0"),
        ({"rotary": float("nan")}, "rotary is nan, expected a finite number from 0"),
        ({"t": torch.zeros(3, 5, dtype=torch.complex128)}, r"t has shape \(3, 5\).*expected \(3, 4\)"),
        ({"r": torch.zeros(6, 3, 4)}, "type torch.float32, expected .* complex128"),
    ],
)
def test_bad_input_is_refused(change, match):
    r, t, omega, _ = given()
    with pytest.raises(InputError, match=match):
        implicit.solve(**({"r": r, "t": t, "omega": omega, "weight": WEIGHT, "rotary": ROTARY} | change))
