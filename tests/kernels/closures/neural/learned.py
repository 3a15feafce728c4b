"""Random learned closures and random states, for the tests of all families."""

import torch
from torch import Tensor

from kernels.closures.base import Closure, Moments
from kernels.closures.families import build
from kernels.closures.neural.settings import CnnSettings, FnoSettings, GradientSettings
from kernels.closures.physics import Physics
from kernels.fields.periodic import PeriodicSquare

POINTWISE = ("local", "strain")
NONLOCAL = ("gradient", "cnn", "fno")
REALIZABLE = POINTWISE + NONLOCAL
ALL = (*REALIZABLE, "paper")
PHYSICS = Physics(alpha=-3.0, zeta=1.3)
SMALL = {
    "gradient": GradientSettings(width=8), "cnn": CnnSettings(width=6, points=5),
    "fno": FnoSettings(modes=4, width=4, layers=1),
}  # fmt: skip


def complex_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.complex(*torch.randn(2, *shape, generator=generator, dtype=torch.float64))


def fields(points: int = 8, seed: int = 0, most: float = 1.0, batch: tuple[int, ...] = (2,)) -> Moments:
    """Random moments on a grid, |z_2| < most c, and strain rates of size one."""
    noise = complex_noise((*batch, points, points), seed)
    q = most * noise / torch.sqrt(1.0 + noise.abs() ** 2)
    generator = torch.Generator().manual_seed(seed + 99)
    c = 0.5 + torch.rand(*batch, points, points, generator=generator, dtype=torch.float64)
    strain = complex_noise((*batch, points, points), seed + 1)
    return Moments(c, c * q, strain, PeriodicSquare(points, 10.0, "torch"))


def drawn(family: str, scale: float = 1.0, seed: int = 3, base: str = "bingham") -> Closure:
    """A closure whose weights are all random and of size `scale` times what they begin with."""
    settings = SMALL.get(family)
    closure = build(family, settings, seed)
    if base == "none":
        closure = build(family, type(closure.settings)(**{**vars(closure.settings), "base": "none"}), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in closure.parameters():
            noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
            values.copy_(scale * noise / max(1, values[0].numel() if values.dim() > 1 else 1) ** 0.5)
    if family != "fno" or scale <= 1.0:
        closure.calibrate(fields(seed=7), PHYSICS)
    return closure


def with_and_without_gradients(
    closure: Closure, moments: Moments, physics: Physics = PHYSICS
) -> list[Tensor]:
    """z_4 by the graph and by the fused pass."""
    with torch.no_grad():
        quick = closure(moments, physics)
    return [closure(moments, physics).detach(), quick]
