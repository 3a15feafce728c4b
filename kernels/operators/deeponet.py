"""DeepONet and MultiONet: a branch sees the input on fixed sensors, a trunk the place of the output."""

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.grids import coordinates, interpolate, same_grid
from kernels.operators.settings import DeepOnetSettings, MultiOnetSettings

_ACTIVATIONS = {"gelu": nn.GELU, "tanh": nn.Tanh}


class BranchTrunk(Operator):
    """Base: u_o(x) = sum_p b_op(a) t_p(x) + c_o, b of the branch, t of the trunk, for output channel o.

    Sensors are the points of the training grid, or the nodes of meshes of one topology; an input on another
    grid is interpolated to them. The trunk takes any places: the points of the grid that is asked for, of
    all output axes, or the nodes of the meshes. Places are scaled to [-1, 1] over the training domain, on
    meshes over that of the first batch trained on, and joined by sin and cos of k pi x, k up to `features`.
    """

    layouts = ("grid", "mesh")
    low: Tensor
    high: Tensor

    def __init__(self, signature: Signature, settings: DeepOnetSettings | MultiOnetSettings) -> None:
        super().__init__(signature)
        numbers = {k: v for k, v in vars(settings).items() if isinstance(v, int)}
        wrong = [name for name, value in numbers.items() if value < (0 if name == "features" else 1)]
        if wrong:
            raise InputError(f"{self.family} was given {settings}, expected {wrong} to be positive")
        self.features = settings.features
        axes = signature.dimension if signature.layout == "mesh" else len(signature.out_grid)
        self.places = axes * (1 + 2 * settings.features)
        self.sensors = _sensors(self.family, signature) + signature.parameters
        bounds = np.full((axes, 2), np.nan)
        for i, axis in enumerate(signature.out_grid):
            bounds[i] = axis[0], axis[-1] if len(axis) > 1 else axis[0] + 1.0
        self.register_buffer("low", torch.from_numpy(bounds[:, 0].copy()))
        self.register_buffer("high", torch.from_numpy(bounds[:, 1].copy()))
        self.constant = nn.Parameter(torch.zeros(signature.outputs))

    def branch(self, sensed: Tensor) -> Tensor:
        """b (samples, outputs, products) of inputs on the sensors (samples, sensors)."""
        raise NotImplementedError

    def trunk(self, places: Tensor) -> Tensor:
        """t (points, products) of places (points, axes and their features)."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """Prediction at the points of `batch.out_grid` or at the nodes of `batch.mesh`.

        Raises InputError where the batch has other axes, or meshes of other numbers of nodes.
        """
        b = self.branch(self._sensed(batch))
        if batch.mesh is not None:
            t = self.trunk(self._scaled(batch.mesh.x))
            parts = t.split(torch.bincount(batch.mesh.sample, minlength=batch.samples).tolist())
            return torch.cat([t_i @ b_i.T for t_i, b_i in zip(parts, b, strict=True)]) + self.constant
        if len(batch.out_grid) != len(self.low):
            raise InputError(
                f"outputs on {len(batch.out_grid)} axes were asked for, the model was trained on "
                f"{len(self.low)}: ask for the axes it was trained on"
            )
        places = torch.stack(torch.meshgrid(*batch.out_grid, indexing="ij"), dim=-1)
        t = self.trunk(self._scaled(places.reshape(-1, places.shape[-1])))
        u = b @ t.T + self.constant[:, None]
        return u.reshape(batch.samples, self.signature.outputs, *places.shape[:-1])

    def _sensed(self, batch: Batch) -> Tensor:
        signature = self.signature
        if signature.inputs == 0:
            return batch.parameters
        if batch.mesh is not None:
            counts = torch.bincount(batch.mesh.sample, minlength=batch.samples)
            if bool((counts != signature.nodes).any()):
                wrong = int(counts[counts != signature.nodes][0])
                raise InputError(
                    f"a mesh has {wrong} nodes, the sensors of {self.family} are {signature.nodes} nodes: "
                    "use 'spon' where meshes differ"
                )
            return torch.cat([batch.a.reshape(batch.samples, -1), batch.parameters], dim=1)
        own = coordinates(signature.grid)
        if len(batch.grid) != len(own):
            raise InputError(
                f"inputs have {len(batch.grid)} axes, the sensors of {self.family} have {len(own)}: "
                "it cannot serve them"
            )
        fields = batch.a
        if not same_grid(batch.grid, own):
            fields = interpolate(fields, batch.grid, own, "linear", signature.around)
        return torch.cat([fields.reshape(batch.samples, -1), batch.parameters], dim=1)

    def _scaled(self, x: Tensor) -> Tensor:
        """Places (points, axes and features) from coordinates (points, axes)."""
        low, high = self.low, self.high
        if self.signature.layout == "mesh" and bool(low.isnan().any()):
            low, high = x.amin(dim=0), x.amax(dim=0)
            high = torch.where(high > low, high, low + 1.0)
            if self.training:
                self.low, self.high = low.to(self.low), high.to(self.high)
        scaled = 2.0 * (x.to(low) - low) / (high - low) - 1.0
        waves = [
            f(k * torch.pi * scaled) for k in range(1, self.features + 1) for f in (torch.sin, torch.cos)
        ]
        return torch.cat([scaled, *waves], dim=1).to(self.constant)


class DeepOnet(BranchTrunk):
    """DeepONet: b and t are the last layers of two networks (Lu et al., Nat. Mach. Intell. 3, 2021, eq. 2).

    Several output channels share the trunk and have their own part of the branch.
    """

    family = "deeponet"

    def __init__(self, signature: Signature, settings: DeepOnetSettings) -> None:
        super().__init__(signature, settings)
        hidden = [settings.width] * settings.depth
        products = settings.products
        self.branch_layers = _layers([self.sensors, *hidden, signature.outputs * products])
        self.trunk_layers = _layers([self.places, *hidden, products])
        self.activation = _activation(settings.activation)

    def branch(self, sensed: Tensor) -> Tensor:
        """Last layer of the branch."""
        last = _outputs(self.branch_layers, self.activation, sensed)[-1]
        return last.reshape(sensed.shape[0], self.signature.outputs, -1)

    def trunk(self, places: Tensor) -> Tensor:
        """Last layer of the trunk."""
        return _outputs(self.trunk_layers, self.activation, places)[-1]


class MultiOnet(BranchTrunk):
    """MultiONet: u = (1/l) sum over the last l layers k of w_k <t_k(x), b_k(a)> + c.

    Zang & Koutsourelakis, J. Comput. Phys. 2025, section on MultiONet. Branch and trunk have the same number
    of layers. w_k is a number in the paper; here a vector for each output channel, so that channels share
    the layers.
    """

    family = "multionet"

    def __init__(self, signature: Signature, settings: MultiOnetSettings) -> None:
        super().__init__(signature, settings)
        if settings.averaged > settings.depth:
            raise InputError(
                f"multionet was asked to sum {settings.averaged} of {settings.depth} layers, expected at "
                "most as many as there are: lower 'averaged' or raise 'depth'"
            )
        sizes = [settings.width] * settings.depth
        self.averaged = settings.averaged
        self.branch_layers = _layers([self.sensors, *sizes])
        self.trunk_layers = _layers([self.places, *sizes])
        self.activation = _activation(settings.activation)
        self.weight = nn.Parameter(torch.ones(settings.averaged, signature.outputs, settings.width))
        if signature.outputs > 1:
            nn.init.normal_(self.weight)

    def branch(self, sensed: Tensor) -> Tensor:
        """The last layers of the branch with their weights, one after the other."""
        last = _outputs(self.branch_layers, self.activation, sensed)[-self.averaged :]
        weighted = [w * b[:, None] for w, b in zip(self.weight, last, strict=True)]
        return torch.cat(weighted, dim=2) / self.averaged

    def trunk(self, places: Tensor) -> Tensor:
        """The last layers of the trunk, one after the other."""
        return torch.cat(_outputs(self.trunk_layers, self.activation, places)[-self.averaged :], dim=1)


def _layers(sizes: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))


def _activation(name: Literal["gelu", "tanh"]) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise InputError(f"activation is {name!r}, expected one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()


def _outputs(layers: nn.ModuleList, activation: nn.Module, values: Tensor) -> list[Tensor]:
    """Outputs of all layers; the last has no activation."""
    found: list[Tensor] = []
    for i, layer in enumerate(layers):
        values = layer(values)
        if i < len(layers) - 1:
            values = activation(values)
        found.append(values)
    return found


def _sensors(family: str, signature: Signature) -> int:
    """How many numbers the input fields have on the sensors."""
    if signature.layout == "grid" or signature.inputs == 0:
        return signature.inputs * int(np.prod(signature.shape))
    if signature.nodes == 0:
        raise InputError(
            f"{family} was given inputs on meshes that differ in their numbers of nodes; expected one "
            "topology for all, or parameters alone: morph them onto a common mesh first, or choose 'spon'"
        )
    return signature.inputs * signature.nodes
