"""What own arrays mean: which array of which file is which variable, on which axes, in which units."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

_RESERVED = {"sample", "node", "cell", "corner", "axis", "sample_name", "split", "node_count", "cell_count"}
_MESH = {"x", "connectivity", "dirichlet"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ArrayFile(_Part):
    """One file, or several that together hold the arrays of the same samples.

    path: file or zarr folder, or a list of them. split: the part that its samples belong to. name: what
    their names begin with, the stem of the first file by default. start, stop: which samples of it. arrays:
    variable -> name of its array in this file, where that is not the one of the variable.
    """

    path: Path | tuple[Path, ...]
    split: Literal["train", "test", "validation", "calibration"] | None = None
    name: str | None = Field(default=None, min_length=1)
    start: int = Field(default=0, ge=0)
    stop: int | None = Field(default=None, ge=1)
    arrays: dict[str, str] = Field(default_factory=dict)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (self.path,) if isinstance(self.path, Path) else self.path

    @property
    def label(self) -> str:
        """What the names of its samples begin with."""
        return self.name or self.paths[0].stem

    @model_validator(mode="after")
    def _some(self) -> "ArrayFile":
        if not self.paths:
            raise ValueError("path is an empty list, expected at least one file: name it")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"start {self.start} is not before stop {self.stop}: swap or correct them")
        return self


class ArrayVariable(_Part):
    """One variable: role "input" (a field that goes in), "field" (one that comes out) or "parameter".

    array: its name in the files, that of the variable by default. axes: names of the axes of the array in
    order, one of them "sample" (and "node" on meshes); may be left out where the file names them. An axis of
    one point need not be named. pick: axis -> index, for arrays that hold several components. part: of
    complex numbers. units: those that the file states by default, else "1". prescribes: name of the output
    whose boundary values this input holds.
    """

    role: Literal["input", "field", "parameter"]
    array: str | None = None
    axes: tuple[str, ...] | None = None
    pick: dict[str, int] = Field(default_factory=dict)
    part: Literal["real", "imaginary"] | None = None
    units: str | None = None
    long_name: str | None = None
    prescribes: str | None = None


class ArrayAxis(_Part):
    """Positions along an axis: an `array` of the file, or evenly from `start` to `stop`.

    points: "ends": the first and the last point lie on start and stop; "start": stop is not among them, as
    i / N on a periodic axis; "centres": in the middles of cells. every: take each such point of the arrays.
    """

    array: str | None = None
    start: float | None = None
    stop: float | None = None
    points: Literal["ends", "start", "centres"] = "ends"
    units: str | None = None
    every: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> "ArrayAxis":
        if (self.start is None) != (self.stop is None) or (self.array is not None and self.start is not None):
            raise ValueError(
                "positions are given by `array`, or by both `start` and `stop`: give one of these"
            )
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise ValueError(f"start {self.start} is not below stop {self.stop}: swap or correct them")
        return self

    def positions(self, count: int) -> np.ndarray:
        """Positions (count,) of evenly spread points."""
        assert self.start is not None
        assert self.stop is not None
        if self.points == "ends":
            return np.linspace(self.start, self.stop, count)
        places = np.arange(count) + (0.5 if self.points == "centres" else 0.0)
        return np.asarray(self.start + (self.stop - self.start) * places / count)


class ArrayMesh(_Part):
    """Meshes with the same cells for all samples of a file.

    nodes: array of node coordinates, one mesh for all or one a sample, axes node_axes. connectivity: node
    numbers, axes cell_axes, counted from first_node. dirichlet: array (node) or (sample, node), not zero
    where outputs are prescribed. units: of the coordinates.
    """

    nodes: str
    connectivity: str
    dirichlet: str | None = None
    node_axes: tuple[Literal["sample", "node", "axis"], ...] | None = None
    cell_axes: tuple[Literal["cell", "corner"], ...] = ("cell", "corner")
    first_node: Literal[0, 1] = 0
    units: str = "m"


class ArraysSpec(_Part):
    """A data set in own arrays.

    files: the data set, its parts by `split`. others: label -> files of further data sets with the same
    variables and axes, such as test sets at other resolutions. axes, mesh: a set on a grid or on meshes.
    """

    files: tuple[ArrayFile, ...] = Field(min_length=1)
    variables: dict[str, ArrayVariable]
    axes: dict[str, ArrayAxis] = Field(default_factory=dict)
    others: dict[str, tuple[ArrayFile, ...]] = Field(default_factory=dict)
    mesh: ArrayMesh | None = None
    boundary: Literal["dirichlet", "neumann", "periodic"] = "dirichlet"

    @model_validator(mode="after")
    def _named(self) -> "ArraysSpec":
        taken = _RESERVED | _MESH | set(self.axes)
        wrong = sorted(name for name in self.variables if not name.isidentifier() or name in taken)
        if wrong or not self.variables:
            raise ValueError(
                f"variables are called {wrong or 'nothing'}, expected identifiers that are no axis and none "
                f"of {sorted(_RESERVED | _MESH)}: rename them; `array` is the name in the file"
            )
        if self.mesh is not None and (self.axes or self.boundary != "dirichlet"):
            raise ValueError(
                "sections axes and boundary are of sets on a grid, but there is a section mesh: leave them "
                "out; `dirichlet` of the mesh marks its boundary"
            )
        inputs = [name for name, one in self.variables.items() if one.role == "input"]
        astray = sorted(name for name, one in self.variables.items() if one.prescribes and name not in inputs)
        if astray:
            raise ValueError(f"{astray} have `prescribes`, expected inputs alone, {inputs}: correct role")
        for entry in (*self.files, *(one for files in self.others.values() for one in files)):
            unknown = sorted(set(entry.arrays) - set(self.variables))
            if unknown:
                raise ValueError(f"arrays of {entry.label!r} names the unknown variables {unknown}")
        return self

    def other(self, label: str) -> "ArraysSpec":
        """The further data set of that label."""
        return self.model_copy(update={"files": self.others[label], "others": {}})

    def placed(self, folder: Path) -> "ArraysSpec":
        """The same with paths relative to a folder."""

        def moved(files: tuple[ArrayFile, ...]) -> tuple[ArrayFile, ...]:
            return tuple(one.model_copy(update={"path": _below(folder, one.path)}) for one in files)

        others = {label: moved(files) for label, files in self.others.items()}
        return self.model_copy(update={"files": moved(self.files), "others": others})


def _below(folder: Path, path: Any) -> Any:
    return folder / path if isinstance(path, Path) else tuple(folder / each for each in path)
