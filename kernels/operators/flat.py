"""Samples as rows of a matrix: what the baselines regress on, and back to fields on any grid."""

import torch
from torch import Tensor, nn

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.grids import coordinates, interpolate, same_grid


class Flat(nn.Module):
    """Inputs of a sample as one row, outputs as another, both on the grid or nodes of the training data.

    A row of inputs holds the input fields, on meshes also the node coordinates, then the parameters. Each of
    these blocks is centred and divided by its total standard deviation over the training samples, so that one
    parameter weighs as much as a field of a thousand points. A block that does not vary becomes zero.
    """

    centre: Tensor
    scale: Tensor
    connectivity: Tensor

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        if signature.layout == "mesh" and signature.nodes == 0:
            raise InputError(
                "the meshes of the samples differ in their numbers of nodes; expected one topology for all: "
                "morph them onto a common mesh first, or choose 'spon'"
            )
        self.signature = signature
        for name in ("centre", "scale", "connectivity"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def fit(self, batch: Batch) -> Tensor:
        """Learn centre and scales of the blocks; inputs of `batch` as rows (samples, features), float64."""
        if batch.mesh is not None:
            self.connectivity = self._within_sample(batch)[0].double()
        blocks = self._blocks(batch)
        centres, scales = [], []
        for block in blocks:
            centre = block.mean(dim=0)
            spread = float((block - centre).square().sum(dim=1).mean().sqrt())
            size = float(block.square().sum(dim=1).mean().sqrt())
            # what round-off leaves of a constant is no information
            factor = 1.0 / spread if spread > 1e-10 * size and spread > 0.0 else 0.0
            centres.append(centre)
            scales.append(torch.full_like(centre, factor))
        self.centre, self.scale = torch.cat(centres), torch.cat(scales)
        return (torch.cat(blocks, dim=1) - self.centre) * self.scale

    def inputs(self, batch: Batch) -> Tensor:
        """Inputs as rows (samples, features), float64, on the training grid.

        Raises InputError where the batch has other axes, numbers of nodes or another topology.
        """
        if len(self.centre) == 0:
            raise InputError("the model was not trained: fit it, or load its weights")
        if batch.mesh is not None and not torch.equal(
            self._within_sample(batch), self.connectivity.long().expand(batch.samples, -1, -1)
        ):
            raise InputError("the cells of the meshes differ from those of the training meshes: use 'spon'")
        return (torch.cat(self._blocks(batch), dim=1) - self.centre) * self.scale

    def outputs(self, batch: Batch) -> Tensor:
        """Outputs as rows (samples, values), float64, on the training grid."""
        if batch.u is None:
            raise InputError("the batch has no outputs: training needs them")
        u = batch.u.double()
        if batch.mesh is not None:
            return u.reshape(batch.samples, -1)
        grid = self._grid(self.signature.out_grid)
        if not same_grid(batch.out_grid, grid):
            u = interpolate(u, batch.out_grid, grid, "cubic", self.signature.out_around)
        return u.reshape(batch.samples, -1)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """Rows of outputs as (samples, outputs, *out_grid), on the grid that is asked for, or on nodes."""
        signature = self.signature
        if batch.mesh is not None:
            return rows.reshape(-1, signature.outputs)
        fields = rows.reshape(batch.samples, signature.outputs, *signature.out_shape)
        grid = self._grid(signature.out_grid)
        if same_grid(batch.out_grid, grid):
            return fields
        if len(batch.out_grid) != len(grid):
            raise InputError(
                f"outputs on {len(batch.out_grid)} axes were asked for, the model gives {len(grid)}: "
                "ask for the axes it was trained on"
            )
        return interpolate(fields, grid, batch.out_grid, "cubic", signature.out_around)

    def _blocks(self, batch: Batch) -> list[Tensor]:
        if self.signature.layout == "mesh":
            blocks = self._nodal(batch)
        else:
            blocks = [self._gridded(batch)] if self.signature.inputs else []
        if self.signature.parameters:
            blocks.append(batch.parameters.double())
        return blocks

    def _gridded(self, batch: Batch) -> Tensor:
        a, grid = batch.a.double(), self._grid(self.signature.grid)
        if len(batch.grid) != len(grid):
            raise InputError(
                f"inputs have {len(batch.grid)} axes, the model was trained on {len(grid)}: "
                "it cannot serve them"
            )
        if not same_grid(batch.grid, grid):
            a = interpolate(a, batch.grid, grid, "linear", self.signature.around)
        return a.reshape(batch.samples, -1)

    def _nodal(self, batch: Batch) -> list[Tensor]:
        mesh = batch.mesh
        if mesh is None:
            raise InputError("fields on a grid were given to a model of meshes: give it meshes")
        counts = torch.bincount(mesh.sample, minlength=batch.samples)
        if bool((counts != self.signature.nodes).any()):
            wrong = int(counts[counts != self.signature.nodes][0])
            raise InputError(
                f"a mesh has {wrong} nodes, the model was trained on meshes of {self.signature.nodes}: "
                "use 'spon' where meshes differ"
            )
        blocks = [mesh.x.to(self.centre).reshape(batch.samples, -1)]
        if self.signature.inputs:
            blocks.insert(0, batch.a.double().reshape(batch.samples, -1))
        return blocks

    def _within_sample(self, batch: Batch) -> Tensor:
        """Connectivity (samples, cells, corners), numbered within each sample."""
        mesh = batch.mesh
        assert mesh is not None
        cells = len(mesh.connectivity)
        if cells % batch.samples:
            raise InputError("the meshes differ in their numbers of cells: use 'spon' where meshes differ")
        joined = mesh.connectivity.reshape(batch.samples, cells // batch.samples, -1)
        found = joined - self.signature.nodes * torch.arange(batch.samples)[:, None, None]
        if not bool((found == found[0]).all()):
            raise InputError("the meshes differ in their cells: use 'spon' where meshes differ")
        return found

    @staticmethod
    def _grid(axes: tuple) -> tuple[Tensor, ...]:
        return coordinates(axes)


def rotated(rows: Tensor, most: int | None = None) -> Tensor:
    """Rows (samples, at most samples) in their principal axes, the leading `most` of them.

    Distances and inner products of centred rows are kept, so whatever is chosen by them is chosen in less
    time where there are fewer samples than columns.
    """
    samples, columns = rows.shape
    if columns <= min(samples, columns if most is None else most):
        return rows
    u, s, _ = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False)
    return (u * s)[:, :most]


def folds(samples: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """(kept, left out) positions of `count` folds, or of as many as there are samples; always the same."""
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    parts = [order[i :: min(count, samples)] for i in range(min(count, samples))]
    return [(torch.cat([p for p in parts if p is not part]), part) for part in parts]
