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

    Raises InputError where inputs are missing, units differ, layout, dimension or boundary are not the
    model's, or a grid is of another domain: see `_check_axis`.
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
    if own.layout == "grid":
        _check_grids(data, model, names, own)
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


def _check_grids(data: xr.Dataset, model: xr.Dataset, names: Channels, own: "Signature") -> None:
    """Raise InputError where the data are of another boundary or domain than the model, or transposed."""
    said = data.attrs.get("boundary", own.boundary)
    if said != own.boundary:
        raise InputError(
            f"the data set is {said!r} (its attribute 'boundary'), the model was trained on a grid that is "
            f"{own.boundary!r}: choose another model, or correct the attribute"
        )
    parts = [(names.outputs, own.out_axes, own.out_grid, own.out_around)]
    parts += [(names.inputs, own.axes, own.grid, own.around)] if names.inputs else []
    for shown, axes, grid, around in parts:
        for name in shown:
            dims = tuple(map(str, data[name].dims[1:]))
            if dims != axes and set(dims) == set(axes):
                raise InputError(
                    f"{name!r} has the axes {dims}, the model was trained on {axes}: transpose it"
                )
            for axis, mine, trained, periodic in zip(dims, axes, grid, around, strict=True):
                whole = mine in own.axes or shown is names.inputs
                _check_axis(data[axis], model[f"grid_{mine}"], trained, periodic, whole)


def _check_axis(
    given: xr.DataArray, stored: xr.DataArray, own: np.ndarray, periodic: bool, whole: bool
) -> None:
    """Raise InputError where an axis is in other units or runs elsewhere than that of the model.

    whole: it has to run along all of the model's axis, an axis that the outputs alone have may be a part of
    it. Up to one spacing, the larger of the two, since kinds of grids end where they do; a periodic axis has
    to have the period, one spacing longer than it.
    """
    units = [one.attrs.get("units") for one in (given, stored)]
    if None not in units and units[0] != units[1]:
        raise InputError(
            f"axis {given.name!r} is in {units[0]!r}, the model was trained with {units[1]!r}: convert the "
            "positions"
        )
    values = np.asarray(given.values, dtype=np.float64)
    ends = [(float(one[0]), float(one[-1])) for one in (values, own)]
    steps = [(b - a) / max(len(one) - 1, 1) for (a, b), one in zip(ends, (values, own), strict=True)]
    near = 1.001 * max(steps)
    low, high = ends[0][0] - ends[1][0], ends[0][1] - ends[1][1]
    if periodic:
        periods = [b - a + step for (a, b), step in zip(ends, steps, strict=True)]
        fits = bool(abs(periods[0] - periods[1]) <= 1e-3 * min(steps))
    else:
        fits = low >= -near and high <= near and (not whole or (low <= near and high >= -near))
    if not fits:
        shown = [f"{a:g} to {b:g}" for a, b in ends]
        raise InputError(
            f"axis {given.name!r} runs from {shown[0]}, the model was trained from {shown[1]}"
            f"{' with period ' + format(periods[1], 'g') if periodic else ''}: it knows nothing of other "
            "domains; correct the positions, or take the model of this domain"
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
