"""A tensor grid as a mesh of simplices, so that what works on meshes works on grids."""

import hashlib
from functools import lru_cache

import numpy as np
import skfem
import torch

from kernels.errors import InputError
from kernels.operators.base import Batch, MeshBatch

_MESHES = {2: skfem.MeshTri1, 3: skfem.MeshTet1}


def on_mesh(batch: Batch) -> Batch:
    """The same batch on the points of the grid as nodes, numbered as the arrays are (row-major).

    a (samples, inputs, *grid) -> (nodes, inputs). Raises InputError where the output grid is another or an
    axis has fewer than two points.
    """
    axes = [np.asarray(axis.cpu()) for axis in batch.out_grid]
    if batch.a.shape[1] and not _same(batch.grid, batch.out_grid):
        raise InputError(
            "'spon' maps between functions on one mesh, got an output grid of "
            f"{[len(a) for a in batch.out_grid]} points and an input grid of {[len(a) for a in batch.grid]}: "
            "bring the inputs to the output grid"
        )
    if len(axes) not in (1, 2, 3) or min(map(len, axes)) < 2:
        raise InputError(f"'spon' takes 1 to 3 axes of 2 points or more, got {[len(a) for a in axes]} points")
    x, connectivity, digest = _mesh(tuple(axis.tobytes() for axis in axes))
    samples, nodes = batch.samples, len(x)
    shift = torch.arange(samples)[:, None, None] * nodes
    mesh = MeshBatch(
        x.repeat(samples, 1), (connectivity + shift).reshape(-1, connectivity.shape[1]),
        torch.arange(samples).repeat_interleave(nodes),
        torch.zeros(samples * nodes, dtype=torch.bool), (digest,) * samples,
    )  # fmt: skip
    a = batch.a.reshape(samples, batch.a.shape[1], nodes).movedim(1, 2).reshape(samples * nodes, -1)
    return Batch(a, None, batch.parameters, mesh=mesh)


def _same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


def _line(values: np.ndarray) -> skfem.MeshLine1:
    first = np.arange(len(values) - 1)
    return skfem.MeshLine1(values[None], np.stack([first, first + 1]))


@lru_cache(maxsize=8)
def _mesh(axes: tuple[bytes, ...]) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Nodes (nodes, dimension), cells, and the name of the mesh on these axes."""
    values = [np.frombuffer(axis) for axis in axes]
    mesh = _line(values[0]) if len(axes) == 1 else _MESHES[len(axes)].init_tensor(*values)
    at = [np.searchsorted(axis, mesh.p[k]) for k, axis in enumerate(values)]
    number = np.ravel_multi_index(at, [len(axis) for axis in values])
    x = np.stack([g.ravel() for g in np.meshgrid(*values, indexing="ij")], axis=1)
    digest = hashlib.blake2b(b"grid" + b"|".join(axes), digest_size=16).hexdigest()
    return torch.from_numpy(x), torch.from_numpy(number[mesh.t.T].astype(np.int64)), digest
