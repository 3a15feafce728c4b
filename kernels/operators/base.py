"""The one face of all operators: what they map (Signature), what they are given (Batch), what they are."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kernels.errors import InputError

Layout = Literal["grid", "mesh"]
Boundary = Literal["dirichlet", "neumann", "periodic"]


@dataclass(frozen=True)
class Signature:
    """What an operator maps: channels, and the grids that it was made for.

    layout: "grid": fields on tensor grids; "mesh": nodal fields on the meshes of the samples. inputs,
    outputs: channels. parameters: numbers a sample that are inputs too. axes, out_axes: names of the axes of
    the input and output grids; grid, out_grid: their coordinates, float64, rising; a mesh has none.
    boundary: condition on the boundary of the grid. nodes: of every sample, where all have the same mesh
    topology, else 0. dimension: of space (mesh: columns of x).
    """

    layout: Layout
    inputs: int
    outputs: int
    parameters: int = 0
    axes: tuple[str, ...] = ()
    out_axes: tuple[str, ...] = ()
    grid: tuple[np.ndarray, ...] = ()
    out_grid: tuple[np.ndarray, ...] = ()
    boundary: Boundary = "dirichlet"
    nodes: int = 0
    dimension: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along every axis of the input grid."""
        return tuple(len(axis) for axis in self.grid)

    @property
    def around(self) -> tuple[bool, ...]:
        """Whether each input axis is periodic."""
        return (self.boundary == "periodic",) * len(self.axes)

    @property
    def out_around(self) -> tuple[bool, ...]:
        """Whether each output axis is periodic: those of the input where it has any of them, so not time."""
        shared = set(self.axes) & set(self.out_axes) or set(self.out_axes)
        return tuple(self.boundary == "periodic" and name in shared for name in self.out_axes)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Points along every axis of the output grid."""
        return tuple(len(axis) for axis in self.out_grid)


@dataclass
class MeshBatch:
    """Meshes of the samples of a batch, joined: node numbers run through the whole batch.

    x (nodes, dimension) float64; connectivity (cells, corners) int64; sample (nodes,) int64: the sample that
    a node belongs to, from 0; dirichlet (nodes,) bool: nodes where the output is given as zero or as stated
    in the training data; digests (samples): a name for each mesh, by which what is made from it is kept;
    prescribed (nodes, outputs) float64: normalised values of the outputs where `dirichlet`; None: not known.
    extent: longest of the batch that these are a share of; None: they are all.
    """

    x: Tensor
    connectivity: Tensor
    sample: Tensor
    dirichlet: Tensor
    digests: tuple[str, ...]
    prescribed: Tensor | None = None
    extent: float | None = None

    def longest(self) -> float:
        """Longest extent along an axis of all meshes together."""
        if self.extent is not None:
            return self.extent
        return float((self.x.max(0).values - self.x.min(0).values).max())


@dataclass
class Batch:
    """Some samples: a (samples, inputs, *grid) or (nodes, inputs); u alike on the output grid, or None.

    parameters (samples, parameters); grid, out_grid: coordinates of the axes as given, float64, which may be
    other than the signature's; mesh: of layout "mesh". All values are normalised already.
    """

    a: Tensor
    u: Tensor | None
    parameters: Tensor
    grid: tuple[Tensor, ...] = ()
    out_grid: tuple[Tensor, ...] = ()
    mesh: MeshBatch | None = None

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return self.parameters.shape[0]  # an int, or a symbol where the operator is exported

    def channels(self) -> Tensor:
        """Inputs with the parameters as further channels, constant in space."""
        if self.parameters.shape[1] == 0:
            return self.a
        if self.mesh is not None:
            return torch.cat([self.a, self.parameters[self.mesh.sample]], dim=1)
        spread = self.parameters.reshape(*self.parameters.shape, *[1] * (self.a.dim() - 2))
        return torch.cat([self.a, spread.expand(-1, -1, *self.a.shape[2:])], dim=1)

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Batch":
        """The same values in another precision, on another device; coordinates keep theirs."""
        u = None if self.u is None else self.u.to(device, dtype)
        return replace(self, a=self.a.to(device, dtype), u=u, parameters=self.parameters.to(device, dtype))


class Operator(nn.Module):
    """Base of all operators: `forward(batch)` gives (samples, outputs, *out_grid), or (nodes, outputs).

    Where `closed_form`, `fit` takes the place of training by gradients.
    """

    family: ClassVar[str]
    layouts: ClassVar[tuple[Layout, ...]] = ("grid",)
    closed_form: ClassVar[bool] = False

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        if signature.layout not in self.layouts:
            raise InputError(
                f"{self.family!r} was given fields on a {signature.layout}, expected "
                f"{' or '.join(self.layouts)}: choose another model"
            )
        self.signature = signature

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on `batch.out_grid` or on the nodes of `batch.mesh`, in normalised values.

        Raises InputError where the batch is of a resolution or dimension that the operator cannot serve.
        """
        raise NotImplementedError

    def fit(self, train: Batch, validation: Batch | None) -> None:
        """Closed-form training; `validation` chooses what is not given. Only where `closed_form`."""
        raise NotImplementedError

    def before_export(self) -> None:
        """Take as plain numbers what steers the computation, since a traced program has no branches."""

    def size(self) -> int:
        """Number of trained parameters; a complex one counts twice."""
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in self.parameters() if p.requires_grad)

    def to_precision(self, dtype: torch.dtype) -> "Operator":
        """Itself with real tensors in a precision, complex ones in the complex one of it, others as they are.

        `Module.to(dtype)` would leave nothing of the imaginary parts.
        """
        wide = torch.complex128 if dtype == torch.float64 else torch.complex64

        def cast(values: Tensor) -> Tensor:
            if values.is_complex():
                return values.to(wide)
            return values.to(dtype) if values.is_floating_point() else values

        self._apply(cast)
        return self


def seeded(seed: int) -> torch.Generator:
    """Generator for whatever is drawn while an operator is built or trained."""
    return torch.Generator().manual_seed(seed)
