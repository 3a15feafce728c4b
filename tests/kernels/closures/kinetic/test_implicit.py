"""The implicit angular part: dense matrices, the solver's own loop, and its adjoint."""

import numpy as np
import pytest
import torch

from kernels.closures.kinetic import implicit, stencil, stencil_torch
from kernels.closures.kinetic._tridiagonal import implicit_solve
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


@pytest.mark.parametrize("points", [50, 64, 150])
def test_the_solvers_loop_does_the_same(points):
    """`_tridiagonal.implicit_solve`: parts apart, lines padded, and rate += q / weight."""
    r, t, omega, rate = given(8, (points,))
    expected = implicit.solve(r, t, omega, WEIGHT, ROTARY).numpy()
    right, total = np.zeros((8, 2, points + 3)), np.zeros((8, 2, points + 3))
    for field, parts in ((r, right), (rate, total)):
        parts[:, 0, :points], parts[:, 1, :points] = field.numpy().real, field.numpy().imag
    zero = np.zeros(points)
    carried = np.stack([zero, zero, omega.numpy(), t.numpy().real, t.numpy().imag])
    implicit_solve(right, carried, WEIGHT, ROTARY, total)
    found = right[:, 0, :points] + 1j * right[:, 1, :points]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    grown = total[:, 0, :points] + 1j * total[:, 1, :points]
    np.testing.assert_allclose(grown, rate.numpy() + expected / WEIGHT, atol=1e-11)


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
