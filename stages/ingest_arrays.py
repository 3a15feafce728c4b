"""Stage `ingest_arrays`: own arrays, as they were read, become a checked data set of operator learning."""

from typing import Literal

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.blocks import blocks, pieces
from stages.operator_data import channels, check_marked, is_mesh, signature
from stages.parts import PART_NAMES
from stages.ragged import sample_names, take
from stages.sample_content import pairs_shown
from stages.variables import FIELD, INPUT, PARAMETER, TRAIN

_METRES = {"m": 1.0, "1": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "km": 1e3, "in": 0.0254, "ft": 0.3048}
_MESH = ("node_count", "cell_count", "x", "connectivity")
_FLAT = 1e-12
_ROUND_OFF = 8.0


class IngestArraysConfig(StageConfig):
    """What becomes of what cannot be used.

    missing: samples with values that are not finite are refused, or dropped and named in the attribute
    dropped_samples. constant_outputs: outputs that are the same number everywhere are refused, or left
    out and named in the attribute constant_outputs.
    """

    missing: Literal["refuse", "drop"] = "refuse"
    constant_outputs: Literal["refuse", "drop"] = "refuse"


def run(config: StageConfig, *, raw: xr.Dataset) -> xr.Dataset:
    """The samples in their order, as `stages.operator_data` describes them; large arrays stay lazy.

    On grids all inputs share their axes, and so do all outputs; `sample` comes first, the same axes always
    in the same order, coordinates rise (an axis that falls is turned round). On meshes coordinates become
    metres (units "1" are taken for them), connectivity is checked, and outputs have at the nodes of
    `dirichlet` the values that an input prescribes, or zero, to 1e-4 of the largest of the sample: models
    take them for given. Samples without names get that of their part and a number. Values are read once,
    in blocks of samples. Raises InputError naming what is wrong: no input or output, axes that differ,
    coordinates that do not rise, names given twice, samples with NaN or infinite values, outputs that are
    constant, cells of no measure or with nodes that are not there. Not handled: meshes of quadrilaterals.
    """
    if not isinstance(config, IngestArraysConfig):
        raise InputError(
            f"stage 'ingest_arrays' got {type(config).__name__}, expected IngestArraysConfig: pass one"
        )
    channels(raw)
    _check_prescribed(raw)
    data = canonical(raw)
    signature(data)
    bad, ranges = scanned(data)
    if bad:
        data = without(data, bad, config.missing)
    still = [name for name in by_role(data, FIELD) if _is_constant(*ranges[name], data[name].dtype)]
    if still and config.constant_outputs == "refuse":
        shown = ", ".join(f"{name!r} is {ranges[name][0]:g}" for name in still)
        raise InputError(
            f"outputs that are constant: {shown} in all samples; expected outputs that vary: leave them "
            'out, or set constant_outputs = "drop"'
        )
    if still:
        data = data.drop_vars(still).assign_attrs(constant_outputs=still)
        channels(data)
    return data


def canonical(raw: xr.Dataset) -> xr.Dataset:
    """The samples with names, in the order of axes, the units and the precision that `run` says; lazy.

    Raises InputError as `run` does for all that needs no look at the values of the variables.
    """
    data = raw.copy()
    data["sample_name"] = _named(data)
    data = _mesh(data) if is_mesh(data) else _grid(data)
    return data.assign({name: _float(data[name].variable) for name in _used(data)})


def _used(data: xr.Dataset) -> list[str]:
    return [name for role in (INPUT, FIELD, PARAMETER) for name in by_role(data, role)]


def _is_constant(low: float, high: float, dtype: np.dtype) -> bool:
    return high - low <= _ROUND_OFF * float(np.finfo(dtype).eps) * max(abs(low), abs(high))


def _prescribing(data: xr.Dataset) -> dict[str, str]:
    """Output -> input that holds its values where `dirichlet` marks the node."""
    return {
        str(data[name].attrs["prescribes"]): name
        for name in by_role(data, INPUT)
        if "prescribes" in data[name].attrs
    }


def _check_prescribed(data: xr.Dataset) -> None:
    outputs, found = by_role(data, FIELD), _prescribing(data)
    for target, name in found.items():
        if target not in outputs:
            raise InputError(
                f"{name!r} prescribes {target!r}, expected one of the outputs {outputs}: correct `prescribes`"
            )
        if data[name].attrs.get("units") != data[target].attrs.get("units"):
            raise InputError(
                f"{name!r} is in {data[name].attrs.get('units')!r} and prescribes {target!r}, which is in "
                f"{data[target].attrs.get('units')!r}; expected the same units: convert one of them"
            )
    if found and "dirichlet" not in data:
        raise InputError(
            f"{list(found.values())} prescribe outputs, but no nodes are marked: give the variable "
            "'dirichlet' of a set of meshes, or leave out `prescribes`"
        )
    given = [name for name in by_role(data, INPUT) if "prescribes" in data[name].attrs]
    if len(given) > len(found):
        raise InputError(f"{given} prescribe the outputs {list(found)}, expected one input for each output")


def _named(data: xr.Dataset) -> xr.Variable:
    if "sample_name" in data:
        names = sample_names(data)
    else:
        split = data["split"].values if "split" in data else np.full(data.sizes["sample"], TRAIN)
        names = [f"{PART_NAMES.get(int(part), part)}_{i:05d}" for i, part in enumerate(split)]
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        twice = [repr(str(name)) for name in unique[counts > 1]]
        raise InputError(
            f"{len(twice)} sample names are given more than once, such as {pairs_shown(twice)}: give every "
            "sample a name of its own"
        )
    return variable("sample_name", np.array(names, dtype=object))


def _float(values: xr.Variable) -> xr.Variable:
    """Single or double precision, lazily."""
    if values.dtype in (np.float32, np.float64):
        return values
    wider = np.float32 if np.can_cast(values.dtype, np.float32) else np.float64
    return values.chunk().astype(wider)


def _grid(data: xr.Dataset) -> xr.Dataset:
    """With samples first and coordinates that rise."""
    axes: dict[str, str] = {}
    orders: dict[frozenset[str], tuple[str, ...]] = {}
    for name in (*by_role(data, INPUT), *by_role(data, FIELD)):
        if "sample" not in data[name].dims or data[name].ndim < 2:
            raise InputError(
                f"{name!r} has the dims {data[name].dims}, expected ('sample', axes...): name its axes, or "
                "make it a parameter"
            )
        data[name] = data[name].transpose("sample", ...)
        own = tuple(map(str, data[name].dims))
        data[name] = data[name].transpose(*orders.setdefault(frozenset(own), own))
        axes = {**{str(axis): name for axis in data[name].dims[1:]}, **axes}
    for axis, name in axes.items():
        if axis not in data.coords:
            raise InputError(f"axis {axis!r} of {name!r} has no coordinate: give its positions and units")
        where = np.asarray(data[axis].values, dtype=np.float64)
        steps = np.diff(where)
        if not np.isfinite(where).all() or not ((steps > 0.0).all() or (steps < 0.0).all()):
            raise InputError(
                f"the coordinate of axis {axis!r} neither rises nor falls, or is not finite: expected "
                "positions in order, each once; sort the data along it"
            )
        if where.size > 1 and steps[0] < 0.0:
            data = data.isel({axis: slice(None, None, -1)})
        attrs = {"units": "1", **data[axis].attrs}
        data = data.assign_coords({axis: (axis, np.asarray(data[axis].values, np.float64), attrs)})
    return data


def _mesh(data: xr.Dataset) -> xr.Dataset:
    """With coordinates in metres and marks as the vocabulary has them."""
    missing = [name for name in _MESH if name not in data]
    if missing:
        raise InputError(f"the set of meshes has no {missing}, expected {list(_MESH)}: give nodes and cells")
    for count, (dim, of) in {"node_count": ("node", "x"), "cell_count": ("cell", "connectivity")}.items():
        total = int(data[count].sum())
        if total != data.sizes[dim]:
            raise InputError(
                f"{count!r} adds up to {total}, {of!r} has {data.sizes[dim]} of dim {dim!r}; expected the "
                "same: repair the counts"
            )
        data[count] = variable(count, data[count].values)
    units = data["x"].attrs.get("units", "m")
    if units not in _METRES:
        raise InputError(f"node coordinates are in {units!r}, expected one of {list(_METRES)}: convert them")
    corners, dimension = data.sizes["corner"], data.sizes["axis"]
    if corners not in (dimension, dimension + 1):
        raise InputError(
            f"cells have {corners} corners in {dimension} dimensions, expected {dimension + 1} (simplices), "
            f"or {dimension} on a surface: cut the cells into triangles or tetrahedra"
        )
    x = data["x"].variable
    if x.dtype != np.float64 or _METRES[units] != 1.0:
        x = x.chunk().astype(np.float64) * _METRES[units]
    data["x"] = x.copy(deep=False)
    data["x"].attrs = variable("x", np.empty((0, dimension))).attrs
    if "dirichlet" in data:
        marks = data["dirichlet"].variable
        marks = marks if marks.dtype == np.int8 else (marks.chunk() != 0).astype(np.int8)
        data["dirichlet"] = marks
        data["dirichlet"].attrs = variable("dirichlet", np.empty(0)).attrs
    for name in (*by_role(data, INPUT), *by_role(data, FIELD)):
        if data[name].dims != ("node",):
            raise InputError(
                f"{name!r} has the dims {data[name].dims}, expected ('node',) in a set of meshes"
            )
    return data


def scanned(data: xr.Dataset) -> tuple[dict[int, str], dict[str, tuple[float, float]]]:
    """Row -> name of its first variable that is not finite; smallest and largest value of each variable over
    all other samples. Raises InputError where cells cannot be used.
    """
    names, mesh = _used(data), is_mesh(data)
    marked = mesh and "dirichlet" in data
    read = [*names, *(("x", "connectivity") if mesh else ()), *(("dirichlet",) if marked else ())]
    outputs, prescribing = by_role(data, FIELD), _prescribing(data)
    bad: dict[int, str] = {}
    ranges = dict.fromkeys(names, (np.inf, -np.inf))
    label = sample_names(data)
    for rows, block in blocks(data, read):
        columns = {name: pieces(block, name) for name in read}
        for i, row in enumerate(map(int, rows)):
            wrong = next((n for n in read if not np.isfinite(columns[n][i]).all()), None)
            if wrong is not None:
                bad[row] = wrong
                continue
            if mesh:
                _check_cells(columns["x"][i], columns["connectivity"][i], label[row])
            for name in outputs if marked else ():
                given = columns[prescribing[name]][i] if name in prescribing else None
                check_marked(name, columns[name][i], given, columns["dirichlet"][i], label[row])
            for name in names:
                values, (low, high) = columns[name][i], ranges[name]
                ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    return bad, ranges


def _check_cells(x: np.ndarray, cells: np.ndarray, sample: str) -> None:
    if len(x) == 0 or len(cells) == 0:
        raise InputError(f"sample {sample} has {len(x)} nodes and {len(cells)} cells, expected some of both")
    if cells.min() < 0 or cells.max() >= len(x):
        raise InputError(
            f"sample {sample}: cells have the nodes {cells.min()} to {cells.max()}, expected numbers from 0 "
            f"to {len(x) - 1} within the sample: is the first node 0 or 1?"
        )
    edges = x[cells[:, 1:]] - x[cells[:, :1]]
    count, dimension = edges.shape[1:]
    if count == dimension:
        volume = np.abs(np.linalg.det(edges))
    else:  # on a surface or along a line
        sides = np.cross(edges[:, 0], edges[:, 1]) if count == 2 else edges[:, 0]
        volume = np.linalg.norm(sides, axis=1)
    flat = volume <= _FLAT * np.abs(edges).max(axis=(1, 2)) ** count
    if flat.any():
        raise InputError(
            f"sample {sample}: cell {int(np.argmax(flat))} has no measure ({int(flat.sum())} such cells), "
            "expected cells with an area or volume: repair the mesh, or drop the sample"
        )


def without(data: xr.Dataset, bad: dict[int, str], missing: str) -> xr.Dataset:
    """The data set without its bad samples, which are named in an attribute; bad: row -> name of a variable.

    Raises InputError naming them where missing is "refuse", and where no sample is left.
    """
    names = sample_names(data)
    if missing == "refuse":
        shown = pairs_shown([f"{wrong!r} of sample {names[row]}" for row, wrong in bad.items()])
        raise InputError(
            f"{len(bad)} of {len(names)} samples have values that are not finite: {shown}; expected numbers: "
            'repair them, or set missing = "drop"'
        )
    kept = np.setdiff1d(np.arange(len(names)), list(bad))
    if kept.size == 0:
        raise InputError(f"all {len(names)} samples have values that are not finite: repair the data set")
    return take(data, kept).assign_attrs(dropped_samples=[names[row] for row in bad])


STAGE = Stage(
    name="ingest_arrays",
    version=2,
    config=IngestArraysConfig,
    inputs={"raw": schema(optional=("sample_name", "split", "node_count", "cell_count"))},
    output=schema("sample_name", optional=("split", *_MESH, "dirichlet")),
    run=run,
)
