"""An operator that serves any grid, one bound to its grid, one on meshes; data and models for them."""

import numpy as np
import torch
import xarray as xr
from torch import nn

from kernels.errors import InputError
from kernels.operators import families
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.settings import FnoSettings, LinearSettings, SponSettings
from stages.base import variable
from stages.operator_data import is_mesh, signature
from stages.operator_model import model_dataset
from stages.variables import CALIBRATION, TEST, TRAIN, VALIDATION


class AnyGrid(Operator):
    """A convolution that is the same stencil on every grid."""

    family = "fno"

    def __init__(self, signature: Signature, settings: FnoSettings) -> None:
        super().__init__(signature)
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[len(signature.out_grid)]
        channels = signature.inputs + signature.parameters
        self.first = conv(channels, settings.width, 3, padding=1)
        self.last = conv(settings.width, signature.outputs, 3, padding=1)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.last(torch.nn.functional.gelu(self.first(batch.channels())))


class OneGrid(Operator):
    """The first input, times a number: refuses another grid, as closed-form baselines do."""

    family = "linear"
    closed_form = True

    def __init__(self, signature: Signature, settings: LinearSettings) -> None:
        super().__init__(signature)
        self.register_buffer("gain", torch.ones(1, dtype=torch.float64))

    def forward(self, batch: Batch) -> torch.Tensor:
        if tuple(batch.a.shape[2:]) != self.signature.shape:
            raise InputError(f"the model has the grid {self.signature.shape}, got {tuple(batch.a.shape[2:])}")
        return self.gain * batch.a[:, :1]


class OnMesh(Operator):
    """A sum over the neighbours of every node."""

    family = "spon"
    layouts = ("mesh",)

    def __init__(self, signature: Signature, settings: SponSettings) -> None:
        super().__init__(signature)
        self.weight = nn.Parameter(torch.randn(signature.inputs + signature.parameters, signature.outputs))

    def forward(self, batch: Batch) -> torch.Tensor:
        values = batch.channels() @ self.weight
        cells = batch.mesh.connectivity
        means = values[cells].mean(dim=1)
        return values.index_add(0, cells.ravel(), means.repeat_interleave(cells.shape[1], dim=0), alpha=0.1)


def install(set_attribute) -> None:
    toys = {"fno": AnyGrid, "linear": OneGrid, "spon": OnMesh}
    set_attribute(families, "family", toys.__getitem__)


def grid_set(samples: int = 10, points: int = 8, seed: int = 0, modes: int = 3, **attrs) -> xr.Dataset:
    """Smooth periodic fields on the unit square, u a mean of shifted a; the same fields at any resolution."""
    random = np.random.default_rng(seed)
    phase, size = random.uniform(0.0, 2.0 * np.pi, (2, samples, modes, modes))
    axis = np.arange(points) / points
    k = np.arange(1, modes + 1)
    wave = 2.0 * np.pi * (k[:, None, None, None] * axis[:, None] + k[None, :, None, None] * axis[None, :])
    a = np.einsum("skl,sklxy->sxy", size / 10.0, np.sin(wave[None] + phase[..., None, None]))
    u = np.einsum("skl,sklxy->sxy", size / 40.0, np.cos(wave[None] + phase[..., None, None]))
    dims = ("sample", "x", "y")
    return xr.Dataset(
        {
            "a": (dims, a, {"role": "input", "units": "m"}),
            "u": (dims, 5.0 + u, {"role": "field", "units": "K"}),
            "sample_name": variable("sample_name", np.array([f"case_{i}" for i in range(samples)])),
        },
        coords={"x": ("x", axis, {"units": "m"}), "y": ("y", axis, {"units": "m"})},
        attrs={"boundary": "periodic", **attrs},
    )


def split_of(data: xr.Dataset) -> xr.Dataset:
    """Train, validation, calibration and test in turns, the test part half of all."""
    order = np.array([TRAIN, TEST, VALIDATION, TEST, CALIBRATION, TEST], dtype=np.int8)
    parts = np.resize(order, data.sizes["sample"])
    return xr.Dataset({"sample_name": data["sample_name"].variable, "split": variable("split", parts)})


def scales_of(data: xr.Dataset) -> xr.Dataset:
    """As `normalise` makes them, over all samples."""
    found, coords = {}, {}
    for kind, role in (("input", "input"), ("output", "field"), ("parameter", "parameter")):
        names = [n for n, v in data.data_vars.items() if v.attrs.get("role") == role]
        values = [data[name].values for name in names]
        found[f"{kind}_mean"] = variable(f"{kind}_mean", np.array([v.mean() for v in values]))
        found[f"{kind}_scale"] = variable(f"{kind}_scale", np.array([v.std() for v in values]))
        coords[f"{kind}_channel"] = np.array(names, dtype=object)
    return xr.Dataset(found, coords)


def model_of(data: xr.Dataset, family: str = "fno", members: int = 1, floor: bool = False) -> xr.Dataset:
    """An untrained model with a history; with `floor` also the intervals of an ensemble."""
    kinds = {"fno": (AnyGrid, FnoSettings(width=6)), "linear": (OneGrid, LinearSettings())}
    cls, settings = (OnMesh, SponSettings()) if is_mesh(data) else kinds[family]
    operators = []
    for seed in range(members):
        torch.manual_seed(seed)
        operators.append(cls(signature(data), settings))
    history = {
        "train_loss": np.geomspace(1.0, 0.1, 8 * members).reshape(members, 8),
        "validation_error": np.geomspace(0.9, 0.2, 8 * members).reshape(members, 8),
        "epoch_seconds": np.full((members, 8), 0.5),
    }
    model = model_dataset(operators, settings, scales_of(data), data, list(range(members)), history)
    if floor:
        for name, values in (
            ("spread_floor", [0.02]), ("interval_level", [0.5, 0.9]), ("interval_factor", [[0.7], [1.8]]),
            ("simultaneous_factor", [[40.0], [np.inf]]),
        ):  # fmt: skip
            model[name] = variable(name, np.array(values))
    return model
