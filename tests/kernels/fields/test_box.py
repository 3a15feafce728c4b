import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.fields.box import PeriodicBox
from kernels.fields.periodic import PeriodicSquare

LENGTH = 3.0
UNIT = 2.0 * np.pi / LENGTH


def places(points, dims):
    return np.meshgrid(*[np.arange(points) * LENGTH / points] * dims, indexing="ij")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("points", [12, 15])
def test_derivatives_of_waves_are_exact(dims, points):
    box, x = PeriodicBox(points, LENGTH, dims), places(points, dims)
    field = np.sin(2 * UNIT * x[0] + 0.3) * np.cos(3 * UNIT * x[-1])
    found = [box.backward(box.derivative(box.forward(field), axis)) for axis in range(dims)]
    first = 2 * UNIT * np.cos(2 * UNIT * x[0] + 0.3) * np.cos(3 * UNIT * x[-1])
    last = -3 * UNIT * np.sin(2 * UNIT * x[0] + 0.3) * np.sin(3 * UNIT * x[-1])
    np.testing.assert_allclose(found[0], first, atol=1e-12)
    np.testing.assert_allclose(found[-1], last, atol=1e-12)
    if dims == 3:
        np.testing.assert_allclose(found[1], 0.0, atol=1e-12)
    lap = box.backward(box.laplacian(box.forward(field)))
    np.testing.assert_allclose(lap, -13 * UNIT**2 * field, atol=1e-11)


@pytest.mark.parametrize("dims", [2, 3])
def test_products_of_filtered_fields_do_not_alias(dims):
    """Waves that the filter keeps have in a product what three times as many points find."""
    coarse, fine = PeriodicBox(9, LENGTH, dims), PeriodicBox(27, LENGTH, dims)
    waves = np.random.default_rng(0).standard_normal((2, *(9,) * dims))
    kept = [coarse.filtered(coarse.forward(w)) for w in waves]
    place = np.rint(np.fft.fftfreq(9) * 9).astype(int)
    same = np.ix_(*[place] * (dims - 1), np.arange(5))
    embedded = [np.zeros((*(27,) * (dims - 1), 14), complex) for _ in kept]
    for whole, part in zip(embedded, kept, strict=True):
        whole[same] = part * 3.0**dims
    a = coarse.filtered(coarse.forward(coarse.backward(kept[0]) * coarse.backward(kept[1])))
    b = fine.forward(fine.backward(embedded[0]) * fine.backward(embedded[1]))[same] / 3.0**dims
    np.testing.assert_allclose(a, coarse.filtered(b), atol=1e-12 * np.abs(b).max())


def manufactured(points, dims):
    """Sigma = -2 E + q I of a divergence-free u drives that u: -Lap u + grad q = div Sigma + 0."""
    x = [UNIT * axis for axis in places(points, dims)]
    if dims == 2:
        u = np.stack([np.sin(x[0]) * np.cos(2 * x[1]), -0.5 * np.cos(x[0]) * np.sin(2 * x[1])])
    else:
        u = np.stack([np.sin(2 * x[1]) + np.cos(x[2]), np.sin(x[0] + x[2]), np.cos(x[0]) * np.sin(x[1])])
    box = PeriodicBox(points, LENGTH, dims)
    grad = np.stack(
        [
            np.stack([box.backward(box.derivative(box.forward(u[i]), j)) for j in range(dims)])
            for i in range(dims)
        ]
    )
    pressure = np.cos(x[0]) * np.sin(x[1])
    identity = np.eye(dims).reshape(dims, dims, *[1] * dims)
    return box, u, grad, -(grad + np.swapaxes(grad, 0, 1)) + pressure * identity


@pytest.mark.parametrize("dims", [2, 3])
def test_stokes_flow_is_the_manufactured_one(dims):
    box, u, grad, stress = manufactured(12, dims)
    found, gradient = box.stokes_flow(stress)
    np.testing.assert_allclose(found, u, atol=1e-13)
    np.testing.assert_allclose(gradient, grad, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("points", [8, 9])
def test_stokes_flow_of_any_stress_has_no_divergence_no_mean_and_balanced_power(dims, points):
    box = PeriodicBox(points, LENGTH, dims)
    stress = np.random.default_rng(3).standard_normal((2, dims, dims, *(points,) * dims))
    stress = stress + np.swapaxes(stress, 1, 2)
    for mask in (None, box.kept):
        u, grad = box.stokes_flow(stress, mask)
        size = np.abs(grad).max()
        assert np.abs(np.einsum("bii...->b...", grad)).max() < 1e-13 * size
        assert np.abs(u.mean(axis=box._axes)).max() < 1e-15
        strain = 0.5 * (grad + np.swapaxes(grad, 1, 2))
        power = 2.0 * (strain**2).sum() + (stress * strain).sum()
        assert abs(power) < 1e-13 * (strain**2).sum()


def test_the_square_and_the_box_drive_the_same_flow():
    stress = np.random.default_rng(4).standard_normal((2, 2, 16, 16))
    stress = stress + np.swapaxes(stress, 0, 1)
    u, grad = PeriodicBox(16, LENGTH).stokes_flow(stress)
    flow = PeriodicSquare(16, LENGTH).stokes(0.5 * (stress[0, 0] - stress[1, 1]) + 1j * stress[0, 1])
    np.testing.assert_allclose([flow.u, flow.v], u, atol=1e-14)
    np.testing.assert_allclose(flow.vorticity, grad[1, 0] - grad[0, 1], atol=1e-13)
    strain = grad[0, 0] + 0.5j * (grad[0, 1] + grad[1, 0])
    np.testing.assert_allclose(flow.strain, strain, atol=1e-13)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("points", [8, 9])
def test_parseval(dims, points):
    a, b = np.random.default_rng(5).standard_normal((2, 3, *(points,) * dims))
    box = PeriodicBox(points, LENGTH, dims)
    expected = (a * b).mean(axis=box._axes)
    np.testing.assert_allclose(box.integral(box.forward(a), box.forward(b)), expected, atol=1e-15)


@pytest.mark.parametrize("dims", [2, 3])
def test_torch_and_numpy_agree(dims):
    stress = np.random.default_rng(6).standard_normal((dims, dims, *(8,) * dims))
    one, other = PeriodicBox(8, LENGTH, dims), PeriodicBox(8, LENGTH, dims, "torch")
    for a, b in zip(one.stokes_flow(stress), other.stokes_flow(torch.from_numpy(stress)), strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-14 * max(1.0, np.abs(a).max()))
    f = one.forward(stress[0, 0])
    g = other.forward(torch.from_numpy(stress[0, 0]))
    np.testing.assert_allclose(one.integral(f, f), other.integral(g, g).numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    ("given", "message"),
    [((3, 1.0), "3 points"), ((8, 0.0), "side of the box is 0.0"), ((8, 1.0, 1), "dims is 1")],
)
def test_refusals(given, message):
    with pytest.raises(InputError, match=message):
        PeriodicBox(*given)
