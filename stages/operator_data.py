"""Data sets of operator learning: what their variables are, and reading samples of them as a Batch.

On a grid: variables of role `input` with dims (sample, axes...) and of role `field` (the outputs) likewise,
maybe on other axes; every axis has a 1-D coordinate; numbers of role `parameter` on `sample` are inputs too.
On meshes: the ragged form of `stages.ragged`, inputs and outputs on `node`; `dirichlet(node)` marks where the
outputs are prescribed, zero unless an input with the attribute `prescribes` = name of the output says what.
The attribute `boundary` of a data set on a grid is dirichlet, neumann or periodic.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import by_role
from stages.ragged import offsets, take
from stages.variables import FIELD, INPUT, PARAMETER

if TYPE_CHECKING:
    from kernels.operators.base import Batch, MeshBatch, Signature

_PRESCRIBED = 1e-4
_BOUNDARIES = ("dirichlet", "neumann", "periodic")


@dataclass(frozen=True)
class Channels:
    """Names of what goes in and what comes out."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...]


def channels(dataset: xr.Dataset) -> Channels:
    """Names of inputs, outputs and parameters.

    Raises InputError where there are no outputs, or nothing to predict them from.
    """
    found = Channels(
        tuple(by_role(dataset, INPUT)), tuple(by_role(dataset, FIELD)), tuple(by_role(dataset, PARAMETER))
    )
    if not found.outputs or not (found.inputs or found.parameters):
        raise InputError(
            f"the data set has the inputs {[*found.inputs, *found.parameters]} and the outputs "
            f"{list(found.outputs)}; expected at least one of each: give variables the attribute role = "
            f"{INPUT!r}, {PARAMETER!r} or {FIELD!r}"
        )
    return found


def is_mesh(dataset: xr.Dataset) -> bool:
    """Whether the data set is of meshes, not of grids."""
    return "node_count" in dataset


def signature(dataset: xr.Dataset) -> "Signature":
    """What an operator for this data set maps.

    Raises InputError where inputs or outputs do not share their axes, or an axis has no rising coordinate.
    """
    from kernels.operators.base import Signature

    names = channels(dataset)
    sizes = len(names.inputs), len(names.outputs), len(names.parameters)
    if is_mesh(dataset):
        for name in (*names.inputs, *names.outputs):
            if dataset[name].dims != ("node",):
                raise InputError(
                    f"{name!r} has dims {dataset[name].dims}, expected ('node',) in a set of meshes"
                )
        counts = dataset["node_count"].values
        alike = int(counts[0]) if counts.size and (counts == counts[0]).all() else 0
        return Signature("mesh", *sizes, nodes=alike, dimension=dataset.sizes["axis"])
    axes, out_axes = _axes(dataset, names.inputs), _axes(dataset, names.outputs)
    boundary = dataset.attrs.get("boundary", "dirichlet")
    if boundary not in _BOUNDARIES:
        raise InputError(f"attribute 'boundary' is {boundary!r}, expected one of {_BOUNDARIES}")
    return Signature(
        "grid", *sizes, axes=axes, out_axes=out_axes, grid=_grid(dataset, axes),
        out_grid=_grid(dataset, out_axes), boundary=boundary, dimension=len(axes or out_axes),
    )  # fmt: skip


def _axes(dataset: xr.Dataset, names: Sequence[str]) -> tuple[str, ...]:
    dims = {tuple(map(str, dataset[name].dims)) for name in names}
    if len(dims) > 1 or any(d[:1] != ("sample",) or len(d) < 2 for d in dims):
        raise InputError(
            f"{list(names)} have the dims {sorted(dims)}, expected ('sample', axes...), the same for all: "
            "bring them to one grid"
        )
    return next(iter(dims))[1:] if dims else ()


def _grid(dataset: xr.Dataset, axes: Sequence[str]) -> tuple[np.ndarray, ...]:
    grid = []
    for axis in axes:
        if axis not in dataset.coords:
            raise InputError(f"axis {axis!r} has no coordinate: give its positions and units")
        values = np.array(dataset[axis].values, dtype=np.float64)
        if values.size > 1 and not (np.diff(values) > 0.0).all():
            raise InputError(f"the coordinate of axis {axis!r} does not rise: sort the data along it")
        grid.append(values)
    return tuple(grid)


class Samples:
    """The samples `rows` of a data set, read as normalised batches; `scales`: output of `normalise`."""

    def __init__(self, dataset: xr.Dataset, rows: np.ndarray, scales: xr.Dataset | None = None) -> None:
        self.dataset, self.rows, self.scales = dataset, np.asarray(rows, dtype=np.int64), scales
        self.names, self.signature = channels(dataset), signature(dataset)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, positions: Sequence[int] | np.ndarray, outputs: bool = True) -> "Batch":
        """The samples at these positions of `rows`, float64; one read a variable. Without outputs, u is None.

        Raises InputError naming the first sample with a value that is not finite.
        """
        import torch

        from kernels.operators.base import Batch

        part = take(self.dataset, self.rows[np.asarray(positions, dtype=np.int64)])
        axis = 1
        a = self._stack(part, self.names.inputs, "input", axis)
        u = self._stack(part, self.names.outputs, "output", axis) if outputs else None
        if a is None:
            a = self._nothing(part)
        numbers = self._stack(part, self.names.parameters, "parameter", 1)
        if numbers is None:
            numbers = np.empty((part.sizes["sample"], 0))
        grid, out_grid = (
            tuple(torch.from_numpy(axis.copy()) for axis in axes)
            for axes in (self.signature.grid, self.signature.out_grid)
        )
        return Batch(
            torch.from_numpy(a), None if u is None else torch.from_numpy(u), torch.from_numpy(numbers),
            grid, out_grid, mesh_batch(part, self._prescribed(part)) if is_mesh(part) else None,
        )  # fmt: skip

    def _prescribed(self, part: xr.Dataset) -> np.ndarray | None:
        """Normalised outputs (node, output), right where `dirichlet`: value * scale + mean is prescribed."""
        if "dirichlet" not in part:
            return None
        says = {part[name].attrs.get("prescribes"): name for name in self.names.inputs}
        columns = []
        for i, name in enumerate(self.names.outputs):
            wanted = np.zeros(part.sizes["node"])
            if name in says:
                wanted = np.asarray(part[says[name]].values, dtype=np.float64)
            if self.scales is not None:
                mean, scale = (float(self.scales[f"output_{what}"].values[i]) for what in ("mean", "scale"))
                value = (wanted - mean) / scale
                # what division and product round away is put back once
                wanted = value + (wanted - (value * scale + mean)) / scale
            columns.append(wanted)
        return np.stack(columns, axis=1)

    def bytes_each(self, itemsize: int) -> float:
        """Mean bytes of a sample, its values in numbers of `itemsize` bytes."""
        numbers = float(len(self.names.parameters))
        for name in (*self.names.inputs, *self.names.outputs):
            numbers += self.dataset[name].size / self.dataset.sizes["sample"]
        if is_mesh(self.dataset):
            mesh = self.dataset["x"].size + self.dataset["connectivity"].size
            numbers += 8.0 / itemsize * mesh / self.dataset.sizes["sample"]
        return max(1.0, numbers * itemsize)

    def file_ends(self, most: int = 256) -> np.ndarray:
        """Rows at which files of the largest variable end; runs of `most` where it has none."""
        names = (*self.names.inputs, *self.names.outputs, *self.names.parameters)
        largest = self.dataset[max(names, key=lambda name: self.dataset[name].nbytes)]
        count = self.dataset.sizes["sample"]
        if largest.chunks is None:
            return np.unique(np.append(np.arange(most, count, most), count))
        ends = np.cumsum(largest.chunks[0])
        if largest.dims[0] == "sample":
            return ends
        found = np.searchsorted(offsets(self.dataset, "node")[1:], ends)
        return np.unique(np.append(found[found > 0], count))

    def _nothing(self, part: xr.Dataset) -> np.ndarray:
        if is_mesh(part):
            return np.empty((part.sizes["node"], 0))
        return np.empty((part.sizes["sample"], 0, *self.signature.out_shape))

    def _stack(self, part: xr.Dataset, names: Sequence[str], kind: str, axis: int) -> np.ndarray | None:
        if not names:
            return None
        columns = []
        for i, name in enumerate(names):
            values = np.asarray(part[name].values, dtype=np.float64)
            self._check_finite(part, name, values)
            if self.scales is not None:
                if takes_logarithm(self.scales, kind, i):
                    values = logarithm(part, name, values)
                mean = float(self.scales[f"{kind}_mean"].values[i])
                values = (values - mean) / float(self.scales[f"{kind}_scale"].values[i])
            columns.append(values)
        return np.stack(columns, axis=axis)

    def _check_finite(self, part: xr.Dataset, name: str, values: np.ndarray) -> None:
        if np.isfinite(values).all():
            return
        label = _first_bad(part, name, np.isfinite(values))
        raise InputError(
            f"{name!r} of sample {label} has values that are not finite: repair or drop the sample"
        )


def check_marked(
    name: str, values: np.ndarray, given: np.ndarray | None, marks: np.ndarray, sample: str
) -> None:
    """Raise InputError where an output of a sample has other values than those that are prescribed at the
    nodes that `marks` names, as under a shifted mask; given: the values, None: zeros.
    """
    wanted = np.zeros(len(values)) if given is None else given
    off = np.where(marks != 0, np.abs(values - wanted), 0.0)
    worst = int(np.argmax(off))
    if off[worst] > _PRESCRIBED * np.abs(values).max():
        raise InputError(
            f"sample {sample}: {name!r} is {values[worst]:g} at node {worst}, which 'dirichlet' marks, "
            f"expected the prescribed {wanted[worst]:g}: correct the marks, leave them out, or give an input "
            f"with the values and prescribes = {name!r}"
        )


def takes_logarithm(scales: xr.Dataset, kind: str, channel: int) -> bool:
    """Whether the scales are those of the logarithm of a channel; kind: input, output or parameter."""
    flags = scales.get(f"{kind}_logarithm")
    return flags is not None and bool(flags.values[channel])


def logarithm(part: xr.Dataset, name: str, values: np.ndarray) -> np.ndarray:
    """ln(values), the values of a variable; raises InputError naming the first sample that has none."""
    if not (values > 0.0).all():
        label = _first_bad(part, name, values > 0.0)
        raise InputError(
            f"{name!r} of sample {label} has values that are not positive, but "
            "its logarithm is to be taken: leave it out of `logarithm` in normalise, or drop the sample"
        )
    return np.asarray(np.log(values))


def _first_bad(part: xr.Dataset, name: str, good: np.ndarray) -> str:
    """Name of the first sample that has a value which is not good."""
    bad = int(np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))[0])
    if part[name].dims == ("node",):
        bad = int(np.searchsorted(np.cumsum(part["node_count"].values), bad, side="right"))
    return str(part["sample_name"].values[bad]) if "sample_name" in part else str(bad)


def mesh_batch(part: xr.Dataset, prescribed: np.ndarray | None = None) -> "MeshBatch":
    """Meshes of the samples of a data set, joined; prescribed: normalised outputs, (node, output)."""
    import torch

    from kernels.operators.base import MeshBatch

    nodes, cells = (part[name].values.astype(np.int64) for name in ("node_count", "cell_count"))
    x, connectivity = part["x"].values, part["connectivity"].values.astype(np.int64)
    node_ends, cell_ends = np.cumsum(nodes), np.cumsum(cells)
    digests = tuple(
        _digest(x[n - a : n], connectivity[c - b : c])
        for n, a, c, b in zip(node_ends, nodes, cell_ends, cells, strict=True)
    )
    shifted = connectivity + np.repeat(node_ends - nodes, cells)[:, None]
    marked: Any = part["dirichlet"].values if "dirichlet" in part else np.zeros(part.sizes["node"])
    return MeshBatch(
        torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)), torch.from_numpy(shifted),
        torch.from_numpy(np.repeat(np.arange(len(nodes)), nodes)), torch.from_numpy(marked.astype(bool)),
        digests, None if prescribed is None else torch.from_numpy(prescribed),
    )  # fmt: skip


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
