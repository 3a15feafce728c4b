"""What VTK's own readers make of a file: one grid as plain arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from vtkmodules.vtkCommonCore import vtkLogger
from vtkmodules.vtkIOLegacy import vtkDataSetReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader, vtkXMLUnstructuredGridReader

from catalogs.formats.legacy_vtk import check_legacy
from kernels.errors import InputError

GHOSTS = "vtkGhostType"

_READERS = {".vtu": vtkXMLUnstructuredGridReader, ".vtp": vtkXMLPolyDataReader, ".vtk": vtkDataSetReader}


@dataclass
class Grid:
    """points (nodes, 3); cell_type (cells,) VTK codes; cell_size (cells,); cell_node (sum of sizes,); arrays
    by name, of numbers or text, with one row a node, a cell, or of any length.
    """

    points: np.ndarray
    cell_type: np.ndarray
    cell_size: np.ndarray
    cell_node: np.ndarray
    point_data: dict[str, np.ndarray] = field(default_factory=dict)
    cell_data: dict[str, np.ndarray] = field(default_factory=dict)
    field_data: dict[str, np.ndarray] = field(default_factory=dict)


def load_grid(path: Path) -> Grid:
    """The grid of a `.vtu`, `.vtp` or legacy `.vtk` file.

    Raises InputError naming the file where it is truncated, not a single mesh, or holds several time steps or
    ghost cells. A damaged file can end the whole process in VTK's own code: see `vtk_process`.
    """
    mesh = _mesh(path)
    grid = Grid(
        points=np.array(mesh.points, dtype=np.float64).reshape(-1, 3),
        cell_type=np.array(mesh.celltypes, dtype=np.int32),
        cell_size=np.diff(np.asarray(mesh.cell_offsets, dtype=np.int64)),
        cell_node=np.array(mesh.cell_connectivity, dtype=np.int64),
    )
    sources = (mesh.point_data, mesh.cell_data, mesh.field_data)
    for target, source in zip((grid.point_data, grid.cell_data, grid.field_data), sources, strict=True):
        for number in range(source.VTKObject.GetNumberOfArrays()):
            name = source.VTKObject.GetAbstractArray(number).GetName()
            if not name:
                raise InputError(f"{path} holds an array without a name, expected names: write it again")
            values = np.asarray(source[name])
            target[name] = values.astype(str) if values.dtype.kind == "O" else values
    return grid


def _mesh(path: Path) -> pv.UnstructuredGrid:
    check_legacy(path)
    reader: Any = _READERS[path.suffix.lower()]()
    with vtk_errors() as errors:
        reader.SetFileName(str(path))
        reader.Update()
        mesh = pv.wrap(reader.GetOutput())
    if errors or reader.GetErrorCode() or mesh is None:
        raise unreadable(path, errors[0] if errors else "no content")
    if not isinstance(mesh, pv.DataSet):
        raise InputError(
            f"{path} holds {type(mesh).__name__}, expected a single mesh: write one file for each block"
        )
    _refuse_steps_and_ghosts(path, reader, mesh)
    if isinstance(mesh, pv.UnstructuredGrid):
        return mesh
    return mesh.cast_to_unstructured_grid()


def unreadable(path: Path, reason: object) -> InputError:
    """The error for a file that VTK cannot read."""
    return InputError(
        f"{path} cannot be read as VTK ({one_line(reason)}): it is truncated or of another format; write it "
        "again"
    )


def _refuse_steps_and_ghosts(path: Path, reader: Any, mesh: pv.DataSet) -> None:
    steps = reader.GetNumberOfTimeSteps() if hasattr(reader, "GetNumberOfTimeSteps") else 0
    if steps > 1:
        raise InputError(
            f"{path} holds {steps} time steps, expected one state: write the step to use to a file of its own"
        )
    for what, data in (("nodes", mesh.point_data), ("cells", mesh.cell_data)):
        ghosts = int(np.count_nonzero(data[GHOSTS])) if GHOSTS in data else 0
        if ghosts:
            raise InputError(
                f"{path} has {ghosts} ghost or hidden {what} ({GHOSTS}), expected none: remove them before "
                "the export (Clean to Grid, or Remove Ghost Information, in ParaView)"
            )


@contextmanager
def vtk_errors() -> Iterator[list[str]]:
    """Collect what VTK reports as errors, and keep it off the terminal."""
    errors: list[str] = []
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        with pv.VtkErrorCatcher(raise_errors=False, send_to_logging=False) as caught:
            yield errors
        alerts = [str(event.alert) for event in caught.error_events]
        alerts += [str(e.alert) for e in caught.warning_events if "Error reading" in str(e.alert)]
        # VTK notes the range of an array that holds NaN or inf as text that it cannot read again
        errors += [alert for alert in alerts if "InformationKey" not in alert]
    finally:
        vtkLogger.SetStderrVerbosity(before)


def one_line(error: object) -> str:
    """The text in one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."
