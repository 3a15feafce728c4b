"""Small batches with known answers, for the tests of operators."""

import numpy as np
import torch

from kernels.operators.base import Batch, MeshBatch, Signature


def grids(*points: int) -> tuple[np.ndarray, ...]:
    return tuple(np.linspace(0.0, 1.0, n) for n in points)


def tensors(axes) -> tuple[torch.Tensor, ...]:
    return tuple(torch.as_tensor(axis) for axis in axes)


def on_grid(a, u, grid, out_grid, parameters=None) -> Batch:
    empty = torch.zeros(len(a), 0, dtype=torch.float64)
    return Batch(
        torch.as_tensor(a), None if u is None else torch.as_tensor(u),
        empty if parameters is None else torch.as_tensor(parameters), tensors(grid), tensors(out_grid),
    )  # fmt: skip


def signature(grid, out_grid, inputs=1, outputs=1, parameters=0) -> Signature:
    axes, out_axes = ("y", "x")[2 - len(grid) :], ("t", "y", "x")[3 - len(out_grid) :]
    return Signature(
        "grid", inputs, outputs, parameters, axes, out_axes, tuple(grid), tuple(out_grid), dimension=len(grid)
    )


def waves(samples: int, points: int, seed: int = 0, nonlinear: float = 0.0):
    """Inputs of six sines on `points`, and u = integral of a (+ nonlinear u^3) on the same points."""
    random = np.random.default_rng(seed)
    x = np.linspace(0.0, 1.0, points)
    modes = np.arange(1, 7)[:, None]
    weights = random.normal(size=(samples, 6)) / np.arange(1, 7)
    a = weights @ np.sin(np.pi * modes * x)
    u = weights @ ((1.0 - np.cos(np.pi * modes * x)) / (np.pi * modes))
    return a[:, None], (u + nonlinear * u**3)[:, None], x


def on_meshes(samples: int = 12, seed: int = 0, broken: bool = False) -> tuple[Signature, Batch]:
    """Squares of 9 nodes and 8 triangles that move with a parameter; u = 1 + 2 p + x_0."""
    random = np.random.default_rng(seed)
    y, x = (g.ravel() for g in np.meshgrid(*grids(3, 3), indexing="ij"))
    p = random.uniform(-0.3, 0.3, samples)
    moved = np.stack([np.stack([x + s * y, y], axis=1) for s in p])
    cells = np.array([[c, c + 1, c + 4] for c in (0, 1, 3, 4)] + [[c, c + 4, c + 3] for c in (0, 1, 3, 4)])
    joined = (cells + 9 * np.arange(samples)[:, None, None]).reshape(-1, 3)
    if broken:
        joined[-1] = joined[-1][[1, 2, 0]]
    u = 1.0 + 2.0 * np.repeat(p, 9) + moved[..., 0].ravel()
    mesh = MeshBatch(
        torch.as_tensor(moved.reshape(-1, 2)), torch.as_tensor(joined),
        torch.arange(samples).repeat_interleave(9), torch.zeros(9 * samples, dtype=torch.bool),
        tuple(map(str, range(samples))),
    )  # fmt: skip
    batch = Batch(
        torch.zeros(9 * samples, 0, dtype=torch.float64), torch.as_tensor(u)[:, None],
        torch.as_tensor(p)[:, None], mesh=mesh,
    )  # fmt: skip
    return Signature("mesh", 0, 1, 1, nodes=9, dimension=2), batch
