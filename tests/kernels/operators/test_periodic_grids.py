"""A periodic grid has no ends, and an axis that the outputs alone have is not periodic, for every family."""

import numpy as np
import pytest
import torch

from kernels.operators.base import Batch, Signature
from kernels.operators.families import build
from kernels.operators.grids import coordinates, interpolate
from kernels.operators.resolutions import at_resolution
from kernels.operators.settings import (
    DeepOnetSettings,
    FnoSettings,
    KernelRidgeSettings,
    LinearSettings,
    MgnoSettings,
    MultiOnetSettings,
)  # fmt: skip

SMALL = {
    "mgno": MgnoSettings(channels=3, layers=2),
    "fno": FnoSettings(modes=9, width=4, layers=1),
    "deeponet": DeepOnetSettings(width=5, depth=2, products=3),
    "multionet": MultiOnetSettings(width=5, depth=2, averaged=1),
    "kernel_ridge": KernelRidgeSettings("rbf", 1.0, 1e-8, 0.0, linear=True),
    "linear": LinearSettings(0.0),
}
TIMES = np.array([0.0, 1.0, 3.0])


def around(points: int, inputs: int = 1, times: np.ndarray | None = TIMES) -> Signature:
    x = np.arange(points) / points
    out_axes, out_grid = (("x",), (x,)) if times is None else (("time", "x"), (times, x))
    return Signature("grid", inputs, 1, 0, ("x",), out_axes, (x,), out_grid, boundary="periodic", dimension=1)


def batch_of(signature: Signature, samples: int = 12) -> Batch:
    """Waves of period 1, and what becomes of them in time."""
    x, count = torch.as_tensor(signature.grid[0]), (samples, 3, 1)
    weights = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = torch.arange(1, 4)[:, None]
    waves = weights * torch.sin(2 * torch.pi * k * (x + 0.1))
    a, u = waves.sum(1, keepdim=True), waves.sum(1, keepdim=True)
    if "time" in signature.out_axes:
        u = u[:, :, None] * (1.0 + torch.as_tensor(signature.out_grid[0])[:, None])
    empty = torch.empty(samples, 0, dtype=torch.float64)
    return Batch(a, u, empty, coordinates(signature.grid), coordinates(signature.out_grid))


def built(name: str, signature: Signature):
    operator = build(name, signature, SMALL[name]).eval()
    if name != "fno":  # the library's has complex weights in single precision alone
        operator.double()
    if operator.closed_form:
        operator.fit(batch_of(signature), None)
    return operator


def predicted(operator, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return operator(batch.to(torch.float32 if operator.family == "fno" else torch.float64)).double()


@pytest.mark.parametrize("name", SMALL)
def test_a_grid_between_the_points_of_training_is_reached_across_the_ends(name):
    """Half as many points, the first of them inside the last interval of the training grid."""
    own = around(12)
    operator, coarse = built(name, own), batch_of(around(6))
    grid = (coarse.grid[0] + 11.5 / 12 - 5 / 6,)
    coarse.grid, coarse.out_grid = grid, (coarse.out_grid[0], *grid)
    lifted = interpolate(coarse.a, grid, coordinates(own.grid), "linear", periodic=True)
    there = predicted(
        operator, Batch(lifted, None, coarse.parameters, coordinates(own.grid), coordinates(own.out_grid))
    )
    if name in ("deeponet", "multionet"):  # their trunk takes any place: compared where it is the same
        on_own = Batch(coarse.a, None, coarse.parameters, grid, coordinates(own.out_grid))
        torch.testing.assert_close(predicted(operator, on_own), there)
        return
    expected = interpolate(there, coordinates(own.out_grid), coarse.out_grid, "cubic", (False, True))
    torch.testing.assert_close(predicted(operator, coarse), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mgno", "fno", "kernel_ridge", "linear"])
def test_other_times_lie_between_those_of_training(name):
    own = around(12)
    operator, batch = built(name, own), batch_of(own)
    at_own = predicted(operator, batch)
    for times in ([0.5, 2.0, 2.5], [0.0, 0.5, 1.0, 2.0, 3.0]):
        batch.out_grid = (torch.tensor(times, dtype=torch.float64), batch.grid[0])
        expected = interpolate(at_own, coordinates(own.out_grid), batch.out_grid, "cubic", (False, True))
        torch.testing.assert_close(predicted(operator, batch), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("points", [7, 8])
@pytest.mark.parametrize("times", [None, TIMES])
def test_a_refined_periodic_grid_keeps_its_period_and_its_times(points, times):
    own = around(points, times=times)
    fine = at_resolution(batch_of(own), 3, own)
    exact = batch_of(around(3 * points, times=times))
    torch.testing.assert_close(fine.grid, exact.grid)
    torch.testing.assert_close(fine.out_grid, exact.out_grid)
    middle = slice(6, -6)
    for found, wanted in ((fine.a, exact.a), (fine.u, exact.u)):
        error = (found - wanted).abs().amax(dim=tuple(range(found.dim() - 1)))
        assert error.max() <= 2.0 * error[middle].max()
