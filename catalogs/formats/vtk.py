"""VTK files: VTU, VTP and legacy VTK into a sample, and a sample into VTU."""

import json
import os
from pathlib import Path

import numpy as np
import pyvista as pv
import xarray as xr
from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

from catalogs.formats.facets import lift_lower_cells
from catalogs.formats.sample import MeshSample, add_once, existing_file, safe_name, split_unit
from catalogs.formats.vtk_grid import GHOSTS, Grid, one_line, vtk_errors
from catalogs.formats.vtk_process import read_grid
from kernels.errors import InputError

UNITS_ARRAY = "pushforward_units"
"""Field data string array of a written VTU: JSON object, variable name -> unit."""

_TAG_ARRAYS = ("facet_tag", "gmsh:physical", "cell_tags", "medit:ref")
_SKIPPED = (GHOSTS, "vtkOriginalPointIds", "vtkOriginalCellIds", "TimeValue", UNITS_ARRAY)
_VTK_LINE, _VTK_TRIANGLE, _VTK_TETRA = 3, 5, 10


def read_vtk(path: Path, name: str) -> MeshSample:
    """The sample of a `.vtu`, `.vtp` or legacy `.vtk` file.

    Point data become nodal fields, cell data cell fields, one-valued field data scalars. Cells one
    dimension below the largest become facets, tagged by the integer cell array `facet_tag`,
    `gmsh:physical`, `cell_tags` or `medit:ref` where there is one, else `boundary`. Raises InputError
    naming the file where it is missing, truncated, not a single mesh, or holds several time steps, ghost
    cells or two arrays of one name. Not handled: string arrays (skipped with a note), polyhedra.
    """
    grid = read_grid(existing_file(path))
    sample = MeshSample(
        name=name,
        source=path,
        points=grid.points,
        cell_type=grid.cell_type,
        cell_size=grid.cell_size,
        cell_node=grid.cell_node,
    )
    _read_arrays(sample, grid)
    sample.checked()
    tag = next((n for n in _TAG_ARRAYS if n in grid.cell_data and grid.cell_data[n].dtype.kind in "iu"), None)
    if tag is None:
        return lift_lower_cells(sample)
    lower = sample.dimension
    lifted = lift_lower_cells(sample, np.asarray(grid.cell_data[tag]), tag)
    if lower >= 2 and lifted.facets:
        lifted.cell_fields.pop(safe_name(tag), None)
    return lifted


def _read_arrays(sample: MeshSample, grid: Grid) -> None:
    units = _stored_units(grid)
    for target, source in ((sample.node_fields, grid.point_data), (sample.cell_fields, grid.cell_data)):
        for label, values in source.items():
            if label in _SKIPPED:
                continue
            if values.dtype.kind not in "fiub":
                sample.notes.append(f"{sample.name}: skipped array {label!r}, which holds no numbers")
                continue
            add_once(target, _named(sample, label, units), values.astype(np.float64), sample.source)
    for label, values in grid.field_data.items():
        if label in _SKIPPED or values.dtype.kind not in "fiub" or values.size != 1:
            continue
        sample.scalars[_named(sample, label, units)] = float(values.ravel()[0])


def _named(sample: MeshSample, label: str, units: dict[str, str]) -> str:
    name, unit = split_unit(label)
    name = safe_name(name)
    unit = unit or units.get(label)
    if unit is not None:
        sample.units[name] = unit
    return name


def _stored_units(grid: Grid) -> dict[str, str]:
    if UNITS_ARRAY not in grid.field_data:
        return {}
    try:
        stored = json.loads(str(grid.field_data[UNITS_ARRAY].ravel()[0]))
    except (ValueError, IndexError):
        return {}
    return {str(k): str(v) for k, v in stored.items()} if isinstance(stored, dict) else {}


def write_vtu(path: Path, dataset: xr.Dataset) -> Path:
    """Write a canonical dataset of one sample as VTU, whole or not at all, and return the path.

    Variables with role `field` on `node` and `cell` become point and cell data, components of a vector
    rejoined (two components get a third of zero); scalars and parameters become field data; units go to the
    field data array `pushforward_units`. Raises InputError where the dataset has not exactly one sample,
    the folder is missing or the disk is full. Not handled: boundary tags, which are left out.
    """
    if dataset.sizes.get("sample") != 1:
        raise InputError(
            f"{path}: got a dataset of {dataset.sizes.get('sample', 0)} samples, expected one: take one "
            f"sample first"
        )
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    content = _encoded(as_grid(dataset), path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error}): free space on the disk or choose another folder"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _encoded(grid: pv.UnstructuredGrid, path: Path) -> bytes:
    """The VTU file in memory: VTK's own writing to a file ends the whole process on a full disk."""
    writer = vtkXMLUnstructuredGridWriter()
    with vtk_errors() as errors:
        writer.SetInputData(grid)
        writer.SetDataModeToBinary()
        writer.WriteToOutputStringOn()
        done = writer.Write()
    if errors or not done:
        reason = one_line(errors[0] if errors else "unknown reason")
        raise InputError(f"{path} could not be written ({reason}): check the names and values of the fields")
    return str(writer.GetOutputString()).encode()


def as_grid(dataset: xr.Dataset) -> pv.UnstructuredGrid:
    """The mesh of a dataset of one sample, with its fields, as `write_vtu` describes."""
    points = np.asarray(dataset["x"].values, dtype=np.float64)
    points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    cells = np.asarray(dataset["connectivity"].values, dtype=np.int64)
    corners = cells.shape[1]
    code = {2: _VTK_LINE, 3: _VTK_TRIANGLE, 4: _VTK_TETRA}[corners]
    rows = np.concatenate([np.full((len(cells), 1), corners), cells], axis=1)
    grid = pv.UnstructuredGrid(rows.ravel(), np.full(len(cells), code, np.uint8), points)
    units: dict[str, str] = {}
    for dims, target in ((("node",), grid.point_data), (("cell",), grid.cell_data)):
        for name, values, unit in _joined(dataset, dims):
            target[name] = values
            units[name] = unit
    for key, variable in dataset.data_vars.items():
        if variable.attrs.get("role") in ("scalar", "parameter") and variable.dims == ("sample",):
            grid.field_data[str(key)] = np.asarray(variable.values, dtype=np.float64)
            units[str(key)] = str(variable.attrs.get("units", "1"))
    if units:
        grid.field_data[UNITS_ARRAY] = np.array([json.dumps(units, sort_keys=True)])
    return grid


def _joined(dataset: xr.Dataset, dims: tuple[str, ...]) -> list[tuple[str, np.ndarray, str]]:
    """(name, values, unit) of the fields on `dims`, components of complete vectors stacked in order."""
    fields = {
        str(n): v for n, v in dataset.data_vars.items() if v.attrs.get("role") == "field" and v.dims == dims
    }
    groups: dict[str, dict[int, str]] = {}
    for name, variable in fields.items():
        if "vector" in variable.attrs and "component" in variable.attrs:
            groups.setdefault(str(variable.attrs["vector"]), {})[int(variable.attrs["component"])] = name
    result, done = [], set()
    for name, variable in fields.items():
        vector = str(variable.attrs.get("vector", ""))
        parts = groups.get(vector, {})
        units = {str(fields[part].attrs.get("units", "1")) for part in parts.values()}
        whole = len(parts) > 1 and sorted(parts) == list(range(1, len(parts) + 1)) and len(units) == 1
        if not whole or vector in fields:
            result.append(
                (name, np.asarray(variable.values, dtype=np.float64), str(variable.attrs.get("units", "1")))
            )
        elif vector not in done:
            done.add(vector)
            columns = [np.asarray(fields[parts[i]].values, dtype=np.float64) for i in sorted(parts)]
            if len(columns) == 2:
                columns.append(np.zeros_like(columns[0]))
            result.append((vector, np.stack(columns, axis=1), units.pop()))
    return result
