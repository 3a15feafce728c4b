"""Parts of batches and batches of parts, on grids and on meshes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kernels.operators.base import Batch, MeshBatch


def select(batch: Batch, index: np.ndarray) -> Batch:
    """The samples of a batch at these positions, in that order."""
    picked = torch.from_numpy(np.ascontiguousarray(index, dtype=np.int64))
    parameters = batch.parameters[picked]
    if batch.mesh is None:
        u = None if batch.u is None else batch.u[picked]
        return replace(batch, a=batch.a[picked], u=u, parameters=parameters)
    mesh, count = batch.mesh, batch.samples
    nodes = torch.bincount(mesh.sample, minlength=count)
    cells = torch.bincount(mesh.sample[mesh.connectivity[:, 0]], minlength=count)
    rows, starts = _ragged(nodes, picked)
    cell_rows, _ = _ragged(cells, picked)
    new_starts = torch.cumsum(nodes[picked], 0) - nodes[picked]
    shift = torch.repeat_interleave(new_starts - starts[picked], cells[picked])
    part = MeshBatch(
        mesh.x[rows], mesh.connectivity[cell_rows] + shift[:, None],
        torch.repeat_interleave(torch.arange(len(picked)), nodes[picked]), mesh.dirichlet[rows],
        tuple(mesh.digests[i] for i in picked.tolist()),
        None if mesh.prescribed is None else mesh.prescribed[rows],
    )  # fmt: skip
    u = None if batch.u is None else batch.u[rows]
    return replace(batch, a=batch.a[rows], u=u, parameters=parameters, mesh=part)


def _ragged(counts: Tensor, picked: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the picked samples, one after the other, and the first row of every sample."""
    starts = torch.cumsum(counts, 0) - counts
    wanted = counts[picked]
    within = torch.arange(int(wanted.sum())) - torch.repeat_interleave(
        torch.cumsum(wanted, 0) - wanted, wanted
    )
    return torch.repeat_interleave(starts[picked], wanted) + within, starts


def join(parts: Sequence[Batch]) -> Batch:
    """Batches of one grid, or of meshes, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    u = None if first.u is None else torch.cat([part.u for part in parts if part.u is not None])
    joined = replace(
        first, a=torch.cat([p.a for p in parts]), u=u, parameters=torch.cat([p.parameters for p in parts])
    )
    meshes = [part.mesh for part in parts if part.mesh is not None]
    if meshes:
        joined.mesh = _joined(meshes, [part.samples for part in parts])
    return joined


def _joined(meshes: Sequence[MeshBatch], samples: Sequence[int]) -> MeshBatch:
    nodes = np.cumsum([0, *(len(mesh.x) for mesh in meshes)])
    before = np.cumsum([0, *samples])
    prescribed = [mesh.prescribed for mesh in meshes if mesh.prescribed is not None]
    return MeshBatch(
        torch.cat([mesh.x for mesh in meshes]),
        torch.cat([m.connectivity + int(nodes[i]) for i, m in enumerate(meshes)]),
        torch.cat([m.sample + int(before[i]) for i, m in enumerate(meshes)]),
        torch.cat([mesh.dirichlet for mesh in meshes]),
        tuple(digest for mesh in meshes for digest in mesh.digests),
        torch.cat(prescribed) if len(prescribed) == len(meshes) else None,
    )


def to_device(batch: Batch, dtype: torch.dtype, device: torch.device | str) -> Batch:
    """A batch with everything that it holds, coordinates and meshes too, on a device."""
    moved = batch.to(dtype, device)
    moved.grid = tuple(axis.to(device) for axis in batch.grid)
    moved.out_grid = tuple(axis.to(device) for axis in batch.out_grid)
    if batch.mesh is not None:
        mesh = batch.mesh
        moved.mesh = MeshBatch(
            mesh.x.to(device), mesh.connectivity.to(device), mesh.sample.to(device),
            mesh.dirichlet.to(device), mesh.digests,
            None if mesh.prescribed is None else mesh.prescribed.to(device), mesh.extent,
        )  # fmt: skip
    return moved


def size_of(batch: Batch) -> int:
    """Bytes of a batch as float32."""
    count = batch.a.numel() + (0 if batch.u is None else batch.u.numel()) + batch.parameters.numel()
    mesh = 0 if batch.mesh is None else batch.mesh.x.numel() * 8 + batch.mesh.connectivity.numel() * 8
    return 4 * count + mesh
