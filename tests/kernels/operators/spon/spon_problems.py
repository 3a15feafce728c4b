"""Meshes and Poisson problems on them whose solutions are known."""

import hashlib
from collections.abc import Sequence

import numpy as np
import skfem
import torch

from kernels.operators.base import Batch, MeshBatch, Signature

SIGNATURE = Signature("mesh", inputs=1, outputs=1, parameters=1, dimension=2)


def square(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit square: x (nodes, 2), triangles (2 cells^2, 3)."""
    line = np.linspace(0.0, 1.0, cells + 1)
    mesh = skfem.MeshTri.init_tensor(line, line)
    return mesh.p.T.copy(), mesh.t.T.astype(np.int64)


def uneven(seed: int = 0, points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Delaunay triangles of points drawn in the unit square and on its edge."""
    from scipy.spatial import Delaunay

    random = np.random.default_rng(seed)
    edge = np.linspace(0.0, 1.0, 7)
    rim = [np.stack([edge, 0 * edge + k], 1) for k in (0, 1)]
    rim += [np.stack([0 * edge + k, edge], 1)[1:-1] for k in (0, 1)]
    x = np.concatenate([*rim, random.uniform(0.05, 0.95, (points, 2))])
    cells = Delaunay(x).simplices
    sides = x[cells[:, 1:]] - x[cells[:, :1]]
    return x, cells[np.abs(np.linalg.det(sides)) > 1e-4].astype(np.int64)


def warped(cells: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """The square's triangles with nodes that move with `shift`."""
    x, connectivity = square(cells)
    bent = x + shift * np.stack([np.sin(np.pi * x[:, 1]), 0.5 * x[:, 0] * x[:, 1]], 1)
    return bent, connectivity


def on_the_box(x: np.ndarray) -> np.ndarray:
    """Nodes (nodes,) bool on the bounding box."""
    low, high = x.min(axis=0), x.max(axis=0)
    return (np.minimum(x - low, high - x) < 1e-9 * (high - low)).any(axis=1)


Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]
"""x, connectivity, input (nodes,), output (nodes,), parameter."""


def joined(samples: Sequence[Sample], prescribed: float | None = 0.0) -> Batch:
    """A batch, whose nodes on the box are prescribed."""
    nodes = [len(s[0]) for s in samples]
    shift = np.concatenate(([0], np.cumsum(nodes)[:-1]))
    x = np.concatenate([s[0] for s in samples])
    fixed = np.concatenate([on_the_box(s[0]) for s in samples])
    mesh = MeshBatch(
        torch.from_numpy(x),
        torch.from_numpy(np.concatenate([s[1] + k for s, k in zip(samples, shift, strict=True)])),
        torch.from_numpy(np.repeat(np.arange(len(samples)), nodes)),
        torch.from_numpy(fixed),
        tuple(hashlib.sha1(s[0].tobytes() + s[1].tobytes()).hexdigest() for s in samples),
        None if prescribed is None else torch.full((sum(nodes), 1), prescribed, dtype=torch.float64),
    )
    a, u = (torch.from_numpy(np.concatenate([s[k] for s in samples]))[:, None] for k in (2, 3))
    return Batch(a, u, torch.tensor([[s[4]] for s in samples], dtype=torch.float64), mesh=mesh)


def some(count: int = 3, seed: int = 0) -> list[Sample]:
    """Samples on different meshes with numbers drawn at random."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(count):
        x, connectivity = uneven(seed + i) if i % 2 else warped(5 + i, 0.1 * i)
        found.append((x, connectivity, *random.standard_normal((2, len(x))), float(random.normal())))
    return found
