"""A tiny convolutional operator, a fitted one and data for them; how they take the place of families."""

import numpy as np
import torch
import xarray as xr
from torch import nn

from kernels.operators import families
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.settings import FnoSettings, MeanSettings
from stages.base import variable


class TinyConv(Operator):
    """Two convolutions; `modes` is the size of the stencil, `width` the channels between."""

    family = "fno"

    def __init__(self, signature: Signature, settings: FnoSettings) -> None:
        super().__init__(signature)
        size = 2 * (settings.modes // 2) + 1
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[len(signature.grid)]
        inputs = signature.inputs + signature.parameters
        self.first = conv(inputs, settings.width, size, padding="same")
        self.last = conv(settings.width, signature.outputs, size, padding="same")
        self.dropout = nn.Dropout(0.1 if settings.layers == 9 else 0.0)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.last(self.dropout(torch.nn.functional.gelu(self.first(batch.channels()))))


class FittedMean(Operator):
    """The mean of the training outputs; its buffer has a size that only the fit knows."""

    family = "mean"
    closed_form = True

    def __init__(self, signature: Signature, settings: MeanSettings) -> None:
        super().__init__(signature)
        self.register_buffer("field", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("phase", torch.zeros(0, dtype=torch.complex64))

    def fit(self, train: Batch, validation: Batch | None) -> None:
        self.field = train.u.mean(dim=0)
        self.phase = torch.complex(self.field, -self.field).to(torch.complex64)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.field.expand(batch.samples, *self.field.shape).to(batch.a.dtype)


_REAL = families.family


def install(set_attribute) -> None:
    toys = {"fno": TinyConv, "mean": FittedMean}
    set_attribute(families, "family", lambda name: toys.get(name) or _REAL(name))


def problem(samples: int = 24, points: int = 8, seed: int = 0, dtype: str = "float32") -> xr.Dataset:
    """u solves nothing: u = smooth(a) * load on a periodic square, enough for a stencil to learn."""
    random = np.random.default_rng(seed)
    axis = np.arange(points) / points
    a = random.standard_normal((samples, points, points))
    load = random.uniform(1.0, 2.0, samples)
    u = 5.0 + 3.0 * sum(np.roll(a, shift, axis) for shift in (-1, 0, 1) for axis in (1, 2)) / 6.0
    u += 0.1 * load[:, None, None]
    dims = ("sample", "x", "y")
    return xr.Dataset(
        {
            "a": (dims, a.astype(dtype), {"role": "input", "units": "m"}),
            "u": (dims, u.astype(dtype), {"role": "field", "units": "K"}),
            "load": ("sample", load, {"role": "parameter", "units": "N"}),
            "sample_name": variable("sample_name", np.array([f"case_{i}" for i in range(samples)])),
        },
        coords={"x": ("x", axis, {"units": "m"}), "y": ("y", axis, {"units": "m"})},
    )


def scales(data: xr.Dataset) -> xr.Dataset:
    """What `normalise` makes, over all samples."""
    found, coords = {}, {}
    for kind, name in (("input", "a"), ("output", "u"), ("parameter", "load")):
        values = data[name].values.astype(np.float64)
        found[f"{kind}_mean"] = variable(f"{kind}_mean", [values.mean()])
        found[f"{kind}_scale"] = variable(f"{kind}_scale", [values.std()])
        coords[f"{kind}_channel"] = [name]
    return xr.Dataset(found, coords=coords)


def split(data: xr.Dataset, validation: int = 6) -> xr.Dataset:
    """The last samples validate, the others train."""
    count = data.sizes["sample"]
    part = np.where(np.arange(count) >= count - validation, 2, 0).astype(np.int8)
    return xr.Dataset({"split": variable("split", part), "sample_name": data["sample_name"].variable})
