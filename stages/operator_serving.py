"""Between a data set and a model that was trained on another: channels in order, grids there and back."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.operator_data import Channels, channels, is_mesh
from stages.variables import FIELD

if TYPE_CHECKING:
    from torch import Tensor

    from kernels.operators.base import Batch, Signature


def fitted_to_model(data: xr.Dataset, model: xr.Dataset) -> tuple[xr.Dataset, Channels]:
    """The data set with the channels of the model in its order; outputs that are absent as zeros without
    memory.

    Raises InputError where inputs are missing, units differ, or layout and dimension are not the model's.
    """
    from stages.operator_model import channel_attributes, channel_names, load_signature

    own, names = load_signature(model), channel_names(model)
    if not names.outputs:
        return data, channels(data)
    if is_mesh(data) != (own.layout == "mesh"):
        raise InputError(
            f"the data set is on a {'mesh' if is_mesh(data) else 'grid'}, the model was trained on a "
            f"{own.layout}: choose another model, or bring the data there"
        )
    wanted = (*names.inputs, *names.parameters)
    lacking = [name for name in wanted if name not in data]
    if lacking:
        raise InputError(
            f"the data set lacks the inputs {lacking} of the model, which takes {list(wanted)}; it has "
            f"{sorted(map(str, data.data_vars))}: add or rename them"
        )
    for kind, given in channel_attributes(model).items():
        for name, attrs in given.items():
            _check_units(data, name, kind, attrs)
    data = _with_outputs(data, model, names, own)
    for shown, axes in ((names.inputs, own.axes), (names.outputs, own.out_axes)):
        for name in shown if own.layout == "grid" else ():
            if len(data[name].dims) != 1 + len(axes):
                raise InputError(
                    f"{name!r} has the axes {data[name].dims[1:]}, the model was trained on {axes}: a model "
                    f"of dimension {len(axes)} cannot serve dimension {len(data[name].dims) - 1}"
                )
    roles = {n for n, v in data.data_vars.items() if "role" in v.attrs}
    first = [*names.inputs, *names.outputs, *names.parameters]
    return data[[*first, *(n for n in data.data_vars if n not in roles and n not in first)]], names


def _check_units(data: xr.Dataset, name: str, kind: str, attrs: dict[str, str]) -> None:
    if name not in data or "units" not in attrs:
        return
    given = data[name].attrs.get("units")
    if given != attrs["units"]:
        raise InputError(
            f"{name!r} has the units {given!r}, the model was trained with {attrs['units']!r} ({kind}): "
            "convert the data"
        )


def _with_outputs(data: xr.Dataset, model: xr.Dataset, names: Channels, own: "Signature") -> xr.Dataset:
    """The data set with zeros that take no memory for outputs that it lacks: new cases have none."""
    from stages.operator_model import channel_attributes

    lacking = [name for name in names.outputs if name not in data]
    if not lacking:
        return data
    if own.layout == "mesh":
        dims: tuple[str, ...] = ("node",)
    else:
        dims = ("sample", *own.out_axes)
        axes = zip(own.out_axes, own.out_grid, strict=True)
        data = data.assign_coords({axis: values for axis, values in axes if axis not in data.coords})
    zeros = np.broadcast_to(0.0, [data.sizes[dim] for dim in dims])
    units = channel_attributes(model)["outputs"]
    return data.assign(
        {name: (dims, zeros, {"units": "1", **units[name], "role": FIELD}) for name in lacking}
    )


def same_grids(one: "Signature", other: "Signature") -> bool:
    """Whether the input and the output grids of two signatures are the same up to round-off."""
    pairs = [(one.grid, other.grid), (one.out_grid, other.out_grid)]
    return all(len(a) == len(b) and all(map(_same_axis, a, b)) for a, b in pairs)


def _same_axis(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    step = float(np.ptp(one)) / max(one.size - 1, 1)
    return bool(np.allclose(one, other, rtol=0.0, atol=1e-6 * (step or 1.0)))


@dataclass(frozen=True)
class Resampled:
    """From the grid of the data (`given`) to the model's (`own`) and back.

    Inputs go linearly: a coefficient with jumps must not overshoot; outputs come back with `order`. Points
    that coincide keep their values. A periodic axis has no ends.
    """

    own: "Signature"
    given: "Signature"
    order: Any

    def there(self, batch: "Batch") -> "Batch":
        """The batch on the model's grids."""
        import torch

        grid, out_grid = _tensors(self.own.grid), _tensors(self.own.out_grid)
        if self.own.inputs:
            a = self._moved(batch.a, batch.grid, grid, "linear", self.own.around)
        else:
            a = torch.empty((batch.samples, 0, *self.own.out_shape), dtype=batch.a.dtype)
        return replace(batch, a=a, u=None, grid=grid, out_grid=out_grid)

    def back(self, values: np.ndarray) -> np.ndarray:
        """Predictions (member, samples, outputs, *own out_grid) on the output grid of the data."""
        import torch

        source, target = _tensors(self.own.out_grid), _tensors(self.given.out_grid)
        return np.asarray(
            self._moved(torch.from_numpy(values), source, target, self.order, self.own.out_around).numpy()
        )

    def _moved(
        self, values: "Tensor", source: "tuple[Tensor, ...]", target: "tuple[Tensor, ...]", order: Any,
        around: tuple[bool, ...],
    ) -> "Tensor":  # fmt: skip
        from kernels.operators.grids import interpolate

        return interpolate(values, source, target, order, around)


def _tensors(axes: tuple[np.ndarray, ...]) -> "tuple[Tensor, ...]":
    import torch

    return tuple(torch.from_numpy(axis.copy()) for axis in axes)
