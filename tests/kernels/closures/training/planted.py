"""Moments whose z_4 is known: a closure that nobody has, on smooth random fields."""

from dataclasses import replace

import torch

from kernels.closures.families import build
from kernels.closures.neural.settings import StrainSettings
from kernels.closures.physics import Physics
from kernels.closures.training.data import Runs
from kernels.fields.periodic import PeriodicSquare
from tests.kernels.closures.neural.learned import complex_noise

LENGTH = 10.0


def truth():
    """Bingham with a correction that depends on the strain rate."""
    closure = build("strain", StrainSettings(width=4, parameters=("zeta",)), 5)
    with torch.no_grad():
        closure.network.weights[-1].fill_(0.2)
        closure.network.biases[-1].copy_(torch.tensor([0.3, 0.8, -0.4], dtype=torch.float64))
    return closure


def planted(runs: int = 2, times: int = 3, points: int = 16, seed: int = 0) -> Runs:
    """Runs at other alpha and zeta whose flow follows from the stress alpha z_2 / 2, and z_4 from `truth`."""
    grid = PeriodicSquare(points, LENGTH, "torch")
    noise = complex_noise((runs, times, points, points), seed)
    low = grid.square < (3.0 * 2.0 * torch.pi / LENGTH) ** 2
    parts = [grid.backward(grid.forward(one) * low) for one in (noise.real, noise.imag)]
    q = torch.complex(*parts)
    q = 4.0 * q / q.abs().std()
    q = q / torch.sqrt(1.0 + q.abs() ** 2)
    alpha = torch.linspace(-5.0, -1.0, runs, dtype=torch.float64)
    zeta = torch.linspace(1.0, 2.0, runs, dtype=torch.float64)
    flow = grid.stokes(alpha[:, None, None, None] * q / 2.0)
    like = torch.ones(runs, dtype=torch.float64)
    numbers = {
        "alpha": alpha,
        "zeta": zeta,
        "beta": 0.8 * like,
        "rotary": 0.05 * like,
        "translational": 0.05 * like,
    }
    made = Runs(
        torch.ones_like(q.real), q, q * q, flow.strain, numbers, 0.25 * torch.arange(times), LENGTH,
        tuple(f"run_{i}" for i in range(runs)),
    )  # fmt: skip
    z4 = []
    with torch.no_grad():
        for run in range(runs):
            moments, _, physics = made.at_frames(torch.arange(times) + run * times)
            z4.append(truth()(moments, physics))
    return replace(made, z4=torch.stack(z4))


def numbers_of(runs: Runs) -> Physics:
    return runs.physics(torch.arange(runs.c.shape[0]), 3)
