"""Structure-preserving operator network: between finite element spaces on the mesh of each sample."""

import numpy as np
import torch
from torch import Tensor, nn

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.settings import SponSettings
from kernels.operators.spon_grid import on_mesh
from kernels.operators.spon_mesh import Geometries, Geometry, moved
from kernels.operators.spon_process import (
    Activation,
    Cycle,
    MessagePassing,
    Sparse,
    embedding,
    gather,
    operators,
)
from kernels.operators.spon_spaces import nodal_space

COARSEST = 4
"""Cells along each axis on the coarsest space."""

_MOST_CELLS = 26
"""Logarithm to base 2 of the most cells that the finest of the coarse spaces may have, of one sample."""


class Round(nn.Module):
    """x + W act(exchange between neighbours + cycle over coarse spaces): (nodes, width) alike."""

    def __init__(self, dimension: int, levels: int, s: SponSettings) -> None:
        super().__init__()
        width = s.width
        kinds = 1 + dimension + dimension * (dimension + 1) // 2
        self.exchange = MessagePassing(width, kinds)
        self.cycle = Cycle(width, dimension, levels, s.linear) if levels else None
        self.act, self.last = Activation(s.linear), nn.Linear(width, width)

    def forward(self, x: Tensor, forms: list[Sparse], hierarchy: "Hierarchy | None") -> Tensor:
        """One round."""
        z = self.exchange(x, forms)
        if self.cycle is not None and hierarchy is not None:
            z = z + hierarchy.lift(self.cycle(hierarchy.lower(x), hierarchy.masses))
        found: Tensor = x + self.last(self.act(z))
        return found


class Hierarchy:
    """Coarse spaces of a batch: masses (samples, 1, *points) of each, finest first."""

    def __init__(self, geometry: Geometry, dimension: int, levels: int, dtype: torch.dtype) -> None:
        self.down = embedding(geometry, dtype)
        points = COARSEST * 2 ** (levels - 1) + 1
        self.shape = (len(geometry.extent), *[points] * dimension)
        self.node_mass = geometry.mass.to(dtype)[:, None]
        self.masses = [geometry.coarse_mass.to(dtype).reshape(self.shape)[:, None]]
        for _ in range(levels - 1):
            self.masses.append(gather(self.masses[-1]))

    def lower(self, x: Tensor) -> Tensor:
        """(nodes, width) -> (samples, width, *points of the finest coarse space)."""
        held = (self.down.transposed @ (x * self.node_mass)).reshape(*self.shape, x.shape[1])
        return held.movedim(-1, 1) / self.masses[0].clamp(min=1e-12)

    def lift(self, x: Tensor) -> Tensor:
        """Back to the nodes: the coarse function's values there."""
        return self.down @ x.movedim(1, -1).reshape(-1, x.shape[1])


class Spon(Operator):
    """Input fields on the mesh of a sample -> output fields in the finite element space on it.

    Encode: nodal values are the degrees of freedom. Process: rounds of x + W act(E x + C x), act gelu on half
    of the channels (`spon_process.Activation`), E the exchange of channels by the bilinear forms of the
    elements, C a V-cycle over coarse spaces (multigrid only; see `spon_mesh` for what is nested). Decode:
    `spon_spaces.nodal_space(...).evaluate`. Prescribed degrees of freedom are set in float64, not predicted.
    (Bouziani & Boulle, "Structure-preserving operator learning",
    2024, sections 3 and 4; the forms as messages and the coarse spaces on the bounding box are ours.)
    """

    family = "spon"
    layouts = ("mesh", "grid")
    reference: Tensor

    def __init__(self, signature: Signature, settings: SponSettings) -> None:
        super().__init__(signature)
        _check(signature, settings)
        self.settings, width, dimension = settings, settings.width, signature.dimension
        self.levels = settings.levels if settings.processor == "multigrid" else 0
        given = signature.inputs + signature.parameters + signature.outputs + 1
        self.first = nn.Sequential(
            nn.Linear(given + 2 * dimension + 3, width), Activation(settings.linear), nn.Linear(width, width)
        )
        self.rounds = nn.ModuleList(Round(dimension, self.levels, settings) for _ in range(settings.rounds))
        self.last = nn.Sequential(
            nn.Linear(width, width), Activation(settings.linear), nn.Linear(width, signature.outputs)
        )
        # log of the size of the first mesh that was trained on, which sizes are relative to
        self.register_buffer("reference", torch.tensor(float("nan")))
        self._geometries = Geometries(COARSEST * 2 ** max(self.levels - 1, 0))

    def forward(self, batch: Batch) -> Tensor:
        """(nodes, outputs), or (samples, outputs, *grid) on a grid; float64, prescribed values to the bit.

        Raises InputError where the mesh has another dimension, or cells that are degenerate or no simplices.
        """
        if batch.mesh is None and self.signature.layout == "grid":
            u = self._on_mesh(on_mesh(batch)).reshape(batch.samples, -1, self.signature.outputs)
            return u.movedim(2, 1).reshape(batch.samples, -1, *map(len, batch.out_grid))
        return self._on_mesh(batch)

    def _on_mesh(self, batch: Batch) -> Tensor:
        mesh, device = batch.mesh, batch.a.device
        if mesh is None or mesh.x.shape[1] != self.signature.dimension:
            got = "no mesh" if mesh is None else f"a mesh in {mesh.x.shape[1]} dimensions"
            raise InputError(
                f"'spon' was made for meshes in {self.signature.dimension} dimensions, got {got}: predict on "
                "data like those of training"
            )
        geometry = moved(self._geometries(mesh), device)
        dtype, sample = next(self.parameters()).dtype, mesh.sample.to(device)
        forms = operators(geometry, dtype)
        hierarchy = Hierarchy(geometry, mesh.x.shape[1], self.levels, dtype) if self.levels else None
        fixed = mesh.dirichlet.to(device)[:, None]
        prescribed = torch.zeros(1, self.signature.outputs, dtype=torch.float64, device=device)
        if mesh.prescribed is not None:
            prescribed = torch.where(fixed, mesh.prescribed.to(device), 0.0)
        given = (
            batch.a if self.signature.parameters == 0 else torch.cat([batch.a, batch.parameters[sample]], 1)
        )
        boundary = torch.cat([fixed, prescribed.expand(len(fixed), -1)], dim=1)
        features = self._features(geometry, sample, dtype)
        x = self.first(torch.cat([given.to(dtype), features, boundary.to(dtype)], dim=1))
        for each in self.rounds:
            x = each(x, forms, hierarchy)
        u = self.last(x).to(torch.float64)
        return u if mesh.prescribed is None else torch.where(fixed, prescribed, u)

    def _features(self, geometry: Geometry, sample: Tensor, dtype: torch.dtype) -> Tensor:
        """Where a node lies and in what a mesh, free of origin and units: (nodes, 2 dimension + 3)."""
        extent = geometry.extent.to(dtype)
        size = extent.mean(dim=1, keepdim=True)
        if self.training and bool(self.reference.isnan()):
            self.reference.copy_(size[0, 0])
        relative = torch.where(self.reference.isnan(), 0.0, size - self.reference).to(dtype)
        nodes = torch.bincount(sample, minlength=len(extent))
        grading = (geometry.mass.to(dtype) * nodes[sample]).log()[:, None]
        shape = torch.cat([extent - size, relative], dim=1)[sample]
        edge = geometry.boundary.to(dtype)[:, None]
        return torch.cat([geometry.position.to(dtype), shape, grading, edge], dim=1)

    def evaluate(
        self, u: np.ndarray, x: np.ndarray, connectivity: np.ndarray, points: np.ndarray
    ) -> np.ndarray:
        """Decode: the function with nodal values u (nodes, outputs) at points (points, dimension).

        x (nodes, dimension), connectivity (cells, corners) of one sample; u normalised or physical, as the
        result then is: (points, outputs) float64. Raises InputError where a point lies outside the mesh, or
        where degree 2 was set and the mesh is not one of triangles split in four.
        """
        return nodal_space(x, connectivity, self.settings.degree).evaluate(u, points)


def _check(signature: Signature, settings: SponSettings) -> None:
    if signature.dimension not in (1, 2, 3):
        raise InputError(f"'spon' was given fields in {signature.dimension} dimensions, expected 1, 2 or 3")
    least = {"degree": 1, "width": 1, "rounds": 1, "levels": 1}
    wrong = {name: getattr(settings, name) for name, low in least.items() if getattr(settings, name) < low}
    if wrong or settings.degree > 2 or settings.processor not in ("multigrid", "message_passing"):
        raise InputError(
            f"'spon' was given {settings}; expected degree 1 or 2, width, rounds and levels of 1 or more, "
            "processor 'multigrid' or 'message_passing'"
        )
    most = _MOST_CELLS // signature.dimension - 1
    if settings.processor == "multigrid" and settings.levels > most:
        raise InputError(
            f"'spon' was asked for levels = {settings.levels}, expected at most {most} in "
            f"{signature.dimension} dimensions: every level halves the cells of the coarse spaces, and the "
            "finest would have too many; 3 to 5 levels reach across any mesh"
        )
