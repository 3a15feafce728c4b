import pytest
import torch

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.grids import interpolate, same_grid
from kernels.operators.resolutions import at_resolution


def _axes(*axes):
    return tuple(torch.as_tensor(axis, dtype=torch.float64) for axis in axes)


def _walled(grid) -> Signature:
    """Of one axis that is not periodic."""
    return Signature("grid", 1, 1, axes=("x",), out_axes=("x",), grid=grid, out_grid=grid, dimension=1)


SOURCE = _axes([0.0, 0.1, 0.35, 0.5, 0.8, 1.0], [0.05, 0.15, 0.25, 0.35, 0.45])
TARGET = _axes([-0.05, 0.1, 0.2, 0.9, 1.0], [0.0, 0.1, 0.35, 0.5])


def _polynomial(axes, degree):
    y, x = torch.meshgrid(*axes, indexing="ij")
    return (1.0 - 2.0 * y**degree) * (0.5 + 3.0 * x**degree) + y


@pytest.mark.parametrize(("order", "degree"), [("linear", 1), ("cubic", 3)])
def test_polynomials_of_the_degree_are_exact_beyond_the_ends_too(order, degree):
    given = _polynomial(SOURCE, degree).expand(2, 3, -1, -1)
    found = interpolate(given, SOURCE, TARGET, order)
    torch.testing.assert_close(
        found, _polynomial(TARGET, degree).expand(2, 3, -1, -1), rtol=1e-12, atol=1e-12
    )


def test_points_that_coincide_keep_their_values_exactly():
    values = torch.randn(4, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = interpolate(values, SOURCE, (SOURCE[0][[1, 4]], SOURCE[1][[0, 2]]), "cubic")
    assert torch.equal(found, values[:, [1, 4]][:, :, [0, 2]])


@pytest.mark.parametrize(("order", "expected"), [("linear", 2), ("cubic", 4)])
def test_the_error_falls_at_the_order(order, expected):
    errors = []
    for count in (20, 40, 80):
        x, y = _axes(torch.linspace(0, 1, count), torch.linspace(0, 1, 333))
        errors.append(
            float((interpolate(torch.sin(5 * x), (x,), (y,), order) - torch.sin(5 * y)).abs().max())
        )
    rate = torch.tensor(errors).log2().diff().neg().min()
    assert rate > expected - 0.25


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_a_periodic_axis_has_no_ends(order):
    x = torch.arange(12, dtype=torch.float64) / 12
    y = torch.tensor([-0.03, 0.0, 0.5, 0.96, 1.25], dtype=torch.float64)
    values = torch.sin(2 * torch.pi * x)
    found = interpolate(values, (x,), (y,), order, periodic=True)
    shifted = interpolate(values.roll(-5), (x,), (y - 5 / 12,), order, periodic=True)
    torch.testing.assert_close(found, shifted)
    error = (found - torch.sin(2 * torch.pi * y)).abs().max()
    assert error < (0.04 if order == "linear" else 0.004)


def test_values_that_are_not_on_their_grid_are_refused():
    with pytest.raises(InputError, match=r"values have the grid \(5, 6\), their coordinates \(6, 5\)"):
        interpolate(torch.zeros(5, 6), SOURCE, TARGET)


@pytest.mark.parametrize(
    ("axis", "finer"),
    [
        (torch.arange(8) / 8, torch.arange(16) / 16),
        ((torch.arange(8) + 0.5) / 8, (torch.arange(16) + 0.5) / 16),
        (torch.linspace(0, 1, 9), torch.linspace(0, 1, 17)),
    ],
)
def test_a_finer_grid_is_of_the_same_kind_and_its_common_points_keep_the_data(axis, finer):
    grid = _axes(axis)
    u = torch.randn(3, 1, len(axis), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = at_resolution(Batch(u.sign(), u, torch.empty(3, 0), grid, grid), 2, _walled(grid))
    assert same_grid(batch.grid, _axes(finer))
    assert batch.a.shape == batch.u.shape == (3, 1, len(finer))
    assert set(batch.a.unique().tolist()) == {-1.0, 1.0}
    common = [i for i, value in enumerate(finer) if torch.isclose(value, axis.to(finer)).any()]
    assert torch.equal(batch.u[..., common], interpolate(u, grid, _axes(finer[common]), "cubic"))


def test_an_input_of_many_values_is_not_cut_in_two():
    grid = _axes(torch.arange(8) / 8)
    a = torch.linspace(0, 1, 8, dtype=torch.float64).reshape(1, 1, 8)
    found = at_resolution(Batch(a, None, torch.empty(1, 0), grid, grid), 3, _walled(grid)).a
    torch.testing.assert_close(found[0, 0, :22], torch.linspace(0, 1, 22, dtype=torch.float64))


def test_a_factor_below_one_is_refused():
    grid = _axes(torch.arange(4) / 4)
    with pytest.raises(InputError, match="resolution factor 0 on a grid: expected a factor"):
        at_resolution(Batch(torch.zeros(1, 1, 4), None, torch.empty(1, 0), grid, grid), 0, _walled(grid))
