"""Own arrays as one raw data set: variables by role on named axes, lazy, with the names of the samples."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from catalogs.formats.arrays_files import open_arrays
from catalogs.formats.arrays_held import Held, check_numbers, float_dtype, lazy, without_single
from catalogs.formats.arrays_mesh import mesh_variables
from catalogs.formats.arrays_spec import ArrayFile, ArraysSpec, ArrayVariable
from catalogs.formats.sample import existing_file, listed
from catalogs.keys import canonical, file_digest
from kernels.errors import InputError

_EAGER_BYTES = 16 * 2**20
_SPLIT = {"train": 0, "test": 1, "validation": 2, "calibration": 3}


@dataclass
class _Part:
    """What one entry of the files gives: variables with their dims, coordinates, samples."""

    entry: ArrayFile
    variables: dict[str, xr.Variable] = field(default_factory=dict)
    coords: dict[str, xr.Variable] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return listed(self.entry.paths)


def read_arrays(spec: ArraysSpec) -> xr.Dataset:
    """The arrays as one raw data set; those above 16 MiB stay in the files until they are asked for.

    On grids: variables (sample, axes...) with the attributes role, units, long_name and a coordinate a axis.
    On meshes (spec.mesh): the ragged form with node_count, cell_count, x, connectivity, dirichlet and
    variables on node. Truth values and whole numbers become floats (float32 where that is exact for all
    numbers of the dtype, else float64). Axes of one point that `axes` does not name are left out. sample_name
    is the label of the file and the number of the sample in it; split is there where the files say it.
    Raises InputError naming file and array: unknown arrays, axes that do not fit the shape, objects, text,
    complex numbers without `part`, grids that differ between files.
    Not handled: `.npz` arrays and MATLAB arrays before version 7.3 are read whole; time that is no number.
    """
    orders: dict[frozenset[str], tuple[str, ...]] = {}
    parts = [_part(spec, entry, orders) for entry in spec.files]
    _check_labels(parts)
    for part in parts[1:]:
        _check_same_grid(parts[0], part, ragged=spec.mesh is not None)
    joined = {name: _joined([part.variables[name] for part in parts]) for name in parts[0].variables}
    names = np.array([name for part in parts for name in part.names], dtype=object)
    joined["sample_name"] = xr.Variable(("sample",), names, {"units": "1", "long_name": "name of the sample"})
    given = [part.entry.split for part in parts]
    if any(given):
        if not all(given):
            raise InputError(
                f"files {listed(p.where for p in parts if p.entry.split is None)} have no `split` and others "
                "have: give it to all of them or to none"
            )
        flags = np.repeat([_SPLIT[str(one)] for one in given], [len(part.names) for part in parts])
        attrs = {"units": "1", "flag_values": list(_SPLIT.values()), "flag_meanings": " ".join(_SPLIT)}
        joined["split"] = xr.Variable(("sample",), flags.astype(np.int8), attrs)
    attributes = {} if spec.mesh else {"boundary": spec.boundary}
    dataset = xr.Dataset(joined, coords=parts[0].coords, attrs=attributes)
    return dataset.load() if dataset.nbytes <= _EAGER_BYTES else dataset


def arrays_fingerprint(spec: ArraysSpec) -> str:
    """sha256 of the names and contents of all files that `read_arrays` would read, and of the description.

    Where the folder lies does not enter. Raises InputError where a file is missing.
    """
    described = spec.model_dump(mode="json", exclude={"files", "others"})
    entries = []
    for entry in spec.files:
        contents = [each for path in entry.paths for each in _contents(path)]
        entries.append([entry.model_dump(mode="json", exclude={"path"}), entry.label, contents])
    return hashlib.sha256(canonical({"files": entries, "described": described})).hexdigest()


def _contents(path: Path) -> list[list[Any]]:
    """Name, size and digest of a file, or of all files of a folder."""
    if not path.is_dir():
        return [[path.name, existing_file(path).stat().st_size, file_digest(path)]]
    below = sorted(each for each in path.rglob("*") if each.is_file())
    inside = [(f"{path.name}/{each.relative_to(path).as_posix()}", each) for each in below]
    return [[name, each.stat().st_size, file_digest(each)] for name, each in inside]


def _part(spec: ArraysSpec, entry: ArrayFile, orders: dict[frozenset[str], tuple[str, ...]]) -> _Part:
    arrays: dict[str, Held] = {}
    for path in entry.paths:
        opened = open_arrays(path)
        twice = sorted(arrays.keys() & opened.keys())
        if twice:
            raise InputError(
                f"{listed(entry.paths)}: the arrays {listed(twice)} are in two files: rename one"
            )
        arrays |= opened
    part = _Part(entry)
    for name, variable in spec.variables.items():
        held = _find(arrays, entry.arrays.get(name) or variable.array or name, entry, name)
        part.variables[name] = _variable(spec, entry, name, variable, held, orders)
    samples = _same_samples(part)
    label, start = entry.label, entry.start
    part.names = [f"{label}_{start + i:05d}" for i in range(samples)]
    _check_axes(part)
    if spec.mesh is not None:
        part.variables = mesh_variables(spec.mesh, entry, arrays, part.variables, samples)
    else:
        part.coords = _coords(spec, part, arrays)
    return part


def _find(arrays: Mapping[str, Held], array: str, entry: ArrayFile, name: str) -> Held:
    if array not in arrays:
        raise InputError(
            f"{listed(entry.paths)} has no array {array!r} for variable {name!r}; it holds "
            f"{listed(sorted(arrays)) or 'none'}: correct `array`"
        )
    return arrays[array]


def _variable(
    spec: ArraysSpec, entry: ArrayFile, name: str, variable: ArrayVariable, held: Held,
    orders: dict[frozenset[str], tuple[str, ...]],
) -> xr.Variable:  # fmt: skip
    what = f"{held.path}: array {held.name!r}"
    check_numbers(held, complex_allowed=variable.part is not None)
    held = without_single(held, len(variable.axes)) if variable.axes else held
    dims = variable.axes or held.dims
    if dims is None:
        raise InputError(f"{what} has shape {held.shape} and no names of axes: give `axes` of {name!r}")
    if len(dims) != held.ndim or len(set(dims)) < len(dims) or "sample" not in dims:
        raise InputError(
            f"{what} has shape {held.shape}, the axes of {name!r} are {list(dims)}; expected a name for each "
            'axis of the array, one of them "sample": correct `axes`'
        )
    values = xr.Variable(dims, lazy(held, dims.index("sample")))
    for axis, index in variable.pick.items():
        if axis not in dims or axis == "sample" or not -values.sizes[axis] <= index < values.sizes[axis]:
            raise InputError(
                f"{what} has the sizes {dict(values.sizes)}, `pick` asks for {index} of {axis!r}: correct it"
            )
        values = values.isel({axis: index})
    if held.dtype.kind == "c":
        values = values.real if variable.part == "real" else values.imag
    steps: dict[str, Any] = {axis: slice(None, None, one.every) for axis, one in spec.axes.items()}
    steps["sample"] = slice(entry.start, entry.stop)
    values = values.isel({axis: step for axis, step in steps.items() if axis in values.dims})
    values = values.transpose("sample", ...).astype(float_dtype(values.dtype))
    own = tuple(str(axis) for axis in values.dims)
    values = values.transpose(*orders.setdefault(frozenset(own), own))
    _check_dims(spec, name, variable, values, what)
    units = _units(held, variable.units, f"variable {name!r}")
    long_name = variable.long_name or str(held.attrs.get("long_name", name))
    values.attrs = {"role": variable.role, "units": units, "long_name": long_name}
    if variable.prescribes is not None:
        values.attrs["prescribes"] = variable.prescribes
    return values


def _units(held: Held, given: str | None, of: str) -> str:
    """Units that are given or that the file states; both must say the same."""
    stated = str(held.attrs.get("units", "")).strip()
    if given and stated and given != stated:
        raise InputError(
            f"{held.path}: array {held.name!r} states the units {stated!r}, {of} is given in {given!r}; "
            "expected the same: correct `units`, or convert the values"
        )
    return given or stated or "1"


def _check_dims(spec: ArraysSpec, name: str, variable: ArrayVariable, values: xr.Variable, what: str) -> None:
    own = tuple(values.dims)
    if variable.role == "parameter" and own != ("sample",):
        raise InputError(f"{what}: parameter {name!r} has the axes {own}, expected ('sample',): use `pick`")
    if spec.mesh is not None and variable.role != "parameter" and set(own) != {"sample", "node"}:
        raise InputError(f"{what}: {name!r} has the axes {own}, expected ('sample', 'node') on meshes")
    if spec.mesh is None and variable.role != "parameter" and len(own) < 2:
        raise InputError(f"{what}: {name!r} is one number a sample, expected a field: make it a parameter")


def _same_samples(part: _Part) -> int:
    counts = {name: variable.sizes["sample"] for name, variable in part.variables.items()}
    if len(set(counts.values())) > 1:
        raise InputError(
            f"{part.where}: the variables have different numbers of samples, {counts}; expected the same: is "
            "the right axis called sample?"
        )
    samples = next(iter(counts.values()))
    if samples == 0:
        raise InputError(f"{part.where} has no samples from start {part.entry.start}: correct start and stop")
    return int(samples)


def _check_axes(part: _Part) -> None:
    sizes: dict[str, tuple[str, int]] = {}
    for name, variable in part.variables.items():
        for axis, size in variable.sizes.items():
            other, known = sizes.setdefault(str(axis), (name, size))
            if known != size:
                raise InputError(
                    f"{part.where}: axis {axis!r} has {known} points in {other!r} and {size} in {name!r}; "
                    "expected the same: give axes of different grids different names"
                )


def _coords(spec: ArraysSpec, part: _Part, arrays: Mapping[str, Held]) -> dict[str, xr.Variable]:
    found: dict[str, xr.Variable] = {}
    for variable in part.variables.values():
        for axis, size in variable.sizes.items():
            if axis != "sample" and axis not in found:
                found[str(axis)] = _coord(spec, part, arrays, str(axis), size)
    unused = sorted(set(spec.axes) - set(found))
    if unused:
        raise InputError(
            f"section axes describes {unused}, the variables have the axes {list(found)}: correct the names"
        )
    return found


def _coord(spec: ArraysSpec, part: _Part, arrays: Mapping[str, Held], axis: str, size: int) -> xr.Variable:
    given = spec.axes.get(axis)
    if given is not None and given.start is not None:
        full = _full_length(spec, part, arrays, axis, size)
        values = given.positions(full)[:: given.every]
        return xr.Variable((axis,), values, {"units": given.units or "1"})
    array = given.array if given is not None and given.array is not None else axis
    if array not in arrays:
        raise InputError(
            f"{part.where}: axis {axis!r} has no positions and the file no array {array!r}; expected them: "
            f"give start and stop, or `array`, in the section of axis {axis!r}"
        )
    held = arrays[array]
    check_numbers(held)
    values = np.asarray(held[()], dtype=np.float64).ravel()[:: given.every if given else 1]
    if values.shape != (size,) or max(held.shape, default=0) < int(np.prod(held.shape)):
        raise InputError(
            f"{held.path}: array {held.name!r} has shape {held.shape}, axis {axis!r} has {size} points; "
            "expected one position a point: correct `array`"
        )
    units = _units(held, given.units if given else None, f"axis {axis!r}")
    return xr.Variable((axis,), values, {"units": units})


def _full_length(spec: ArraysSpec, part: _Part, arrays: Mapping[str, Held], axis: str, size: int) -> int:
    """Points of the axis in the arrays, before `every` takes some."""
    if spec.axes[axis].every == 1:
        return size
    for name, variable in spec.variables.items():
        held = arrays[part.entry.arrays.get(name) or variable.array or name]
        held = without_single(held, len(variable.axes)) if variable.axes else held
        dims = variable.axes or held.dims or ()
        if axis in dims:
            return held.shape[dims.index(axis)]
    return size


def _check_labels(parts: Sequence[_Part]) -> None:
    seen: dict[str, str] = {}
    for part in parts:
        for name in part.names:
            if name in seen:
                raise InputError(
                    f"sample {name} is given twice, by {seen[name]} and {part.where}: give the files "
                    "different names (`name`), or samples that do not overlap (`start`, `stop`)"
                )
            seen[name] = part.where


def _check_same_grid(first: _Part, part: _Part, ragged: bool) -> None:
    for name, variable in part.variables.items():
        head = first.variables[name]
        if not ragged and variable.dims != head.dims:
            raise InputError(
                f"{name!r} has the axes {head.dims} in {first.where} and {variable.dims} in {part.where}; "
                "expected the same: correct `axes`"
            )
        if head.attrs.get("units") != variable.attrs.get("units"):
            raise InputError(
                f"{name!r} is in {head.attrs['units']!r} in {first.where} and in "
                f"{variable.attrs['units']!r} in {part.where}: convert one of them"
            )
    for axis, coord in part.coords.items():
        head = first.coords[axis]
        if head.attrs["units"] != coord.attrs["units"]:
            raise InputError(
                f"axis {axis!r} is in {head.attrs['units']!r} in {first.where} and in "
                f"{coord.attrs['units']!r} in {part.where}: convert one of them"
            )
        same = head.shape == coord.shape
        width = np.ptp(head.values) / max(head.size - 1, 1) if head.size else 0.0
        if not same or np.abs(head.values - coord.values).max(initial=0.0) > 1e-6 * width:
            said = "at other positions" if same else f"with {coord.size} points"
            raise InputError(
                f"grids of one data set differ: axis {axis!r} has {head.size} points in {first.where} and is "
                f"{said} in {part.where}; expected one grid: list files at another resolution under `others`"
            )


def _joined(pieces: Sequence[xr.Variable]) -> xr.Variable:
    whole = pieces[0] if len(pieces) == 1 else xr.Variable.concat(list(pieces), dim=pieces[0].dims[0])
    whole.attrs = dict(pieces[0].attrs)
    return whole
