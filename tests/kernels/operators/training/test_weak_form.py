"""The weak residual vanishes for manufactured solutions, also where the logarithm of a is scaled."""

import numpy as np
import pytest
import torch

from kernels.operators.base import Batch, seeded
from kernels.operators.training.losses import Scales
from kernels.operators.training.weak_form import Diffusion, residual


def manufactured(points: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """a = exp(sin 3x cos 2y), u = sin(pi x) y^2, and f = -div(a grad u) by hand."""
    axis = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    a = torch.exp(torch.sin(3.0 * x) * torch.cos(2.0 * y))
    u = torch.sin(np.pi * x) * y**2
    ux, uy = np.pi * torch.cos(np.pi * x) * y**2, 2.0 * torch.sin(np.pi * x) * y
    ax = 3.0 * torch.cos(3.0 * x) * torch.cos(2.0 * y) * a
    ay = -2.0 * torch.sin(3.0 * x) * torch.sin(2.0 * y) * a
    f = -(ax * ux + ay * uy + a * (2.0 * torch.sin(np.pi * x) - np.pi**2 * u))
    return axis, a, u, f


def value(points: int, logarithm: bool, told: bool = True) -> float:
    """Residual of the exact solution, given as normalised values."""
    axis, a, u, f = manufactured(points)
    stored = torch.stack([torch.log(a) if logarithm else a, f])
    mean, scale = stored.mean(dim=(1, 2)), stored.std(dim=(1, 2))
    flags = torch.tensor([logarithm and told, False])
    scales = Scales(mean, scale, torch.tensor([0.3]), torch.tensor([0.2]), flags)
    normalised = ((stored - mean[:, None, None]) / scale[:, None, None])[None]
    batch = Batch(normalised, None, torch.empty(1, 0), (axis, axis), (axis, axis))
    predicted = ((u - 0.3) / 0.2)[None, None]
    # supports of one size on all grids
    equation = Diffusion(0, 0, 1, source_is_channel=True, radius=(points - 1) / 5.0)
    return float(residual(predicted, batch, scales.to(torch.float64, "cpu"), equation, seeded(0)))


@pytest.mark.parametrize("logarithm", [False, True])
def test_the_residual_of_an_exact_solution_falls_with_the_square_of_the_spacing(logarithm):
    coarse, fine = value(33, logarithm), value(65, logarithm)
    assert fine < 2e-3
    assert np.log2(coarse / fine) > 1.75


def test_a_logarithm_that_is_taken_for_the_coefficient_is_no_solution():
    assert value(65, logarithm=True, told=False) > 0.2
