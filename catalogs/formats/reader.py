"""Reading simulations of every supported format into the raw ragged dataset, and the hash of what is read."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from catalogs.formats.assemble import assemble
from catalogs.formats.cgns import read_cgns
from catalogs.formats.plaid import PlaidSet, is_plaid, open_plaid, read_plaid
from catalogs.formats.sample import MeshSample, existing_file, listed
from catalogs.formats.series import refuse_series
from catalogs.formats.su2 import read_su2, solution_beside
from catalogs.formats.table import merge_table, row_of
from catalogs.keys import KEY_LENGTH, canonical, file_digest
from kernels.errors import InputError


class ReadOptions(BaseModel):
    """How to read: what the files themselves do not say.

    table: CSV of parameters, one row a sample, units in the header. units: field, vector or scalar -> unit.
    fields: names to keep. solutions: sample name -> solution CSV of a SU2 mesh, relative to the mesh. base:
    CGNS base. step: time step of PLAID samples with several meshes. problem, train_split, test_split: which
    PLAID definition and splits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: Path | None = None
    units: dict[str, str] = Field(default_factory=dict)
    fields: tuple[str, ...] | None = None
    solutions: dict[str, Path] = Field(default_factory=dict)
    base: str | None = None
    step: int | None = Field(default=None, ge=0)
    problem: str | None = None
    train_split: str | None = None
    test_split: str | None = None


def _vtk(path: Path, name: str, options: ReadOptions) -> MeshSample:
    from catalogs.formats.vtk import read_vtk  # half a second, for those who have such files

    return read_vtk(path, name)


def _su2(path: Path, name: str, options: ReadOptions) -> MeshSample:
    return read_su2(path, name, _solution(path, name, options))


def _cgns(path: Path, name: str, options: ReadOptions) -> MeshSample:
    return read_cgns(path, name, options.base)


FORMATS: dict[str, Callable[[Path, str, ReadOptions], MeshSample]] = {
    ".vtu": _vtk,
    ".vtk": _vtk,
    ".vtp": _vtk,
    ".su2": _su2,
    ".cgns": _cgns,
}
"""File extension -> reader. A folder with infos.yaml or sample_* folders is a PLAID data set."""


def read_files(
    paths: Sequence[Path | str] | Path | str, options: ReadOptions | None = None, beside: Sequence[Path] = ()
) -> xr.Dataset:
    """Simulations as one raw ragged dataset: a file is a sample, a folder its mesh files by name, or a
    PLAID data set.

    Variables: sample_name, split (where the source has one), node_count, x (node, axis) in m as the files
    give it, cell_count, cell_type (VTK codes), cell_size, cell_entry_count, cell_node, facet_count,
    facet_node (padded with -1), facet_tag with flag_meanings, and by role the fields on node or cell,
    scalars and parameters on sample. A vector `U` becomes `U_1`, `U_2`, ... with attributes vector and
    component. Attributes: topological_dimension, planar, notes (what was skipped). beside: files of the same
    set that are not read, to which rows of the table may belong. Raises InputError naming
    the file that is missing, damaged, of unknown format or does not fit the others. Not handled: time
    series, sets that do not fit in memory.
    """
    options = options or ReadOptions()
    samples: list[MeshSample] = []
    notes: list[str] = []
    roles: dict[str, str] = {}
    for source in _sources(paths, options):
        if isinstance(source, PlaidSet):
            read, found = read_plaid(
                source, options.base, options.step, options.problem, options.train_split, options.test_split
            )
            samples += read
            roles |= found
            notes += source.notes
        else:
            samples.append(FORMATS[source.suffix.lower()](source, source.stem, options))
    _check_solutions(samples, options)
    if options.table is not None:
        notes += merge_table(samples, Path(options.table), _row_names(beside))
    _check_fields(samples, options)
    raw = assemble(samples, options.units, options.fields, roles)
    raw.attrs["notes"] = notes + raw.attrs["notes"]
    return raw


def fingerprint(paths: Sequence[Path | str] | Path | str, options: ReadOptions | None = None) -> str:
    """sha256 of the names and contents of all files that `read_files` would read, and of the options.

    Where the folder lies does not enter. Raises InputError as `read_files` does for missing files.
    """
    options = options or ReadOptions()
    described = options.model_dump(mode="json", exclude={"table", "solutions"})
    entries: list[list[str]] = []
    for source in _sources(paths, options):
        for file, name in _files(source, options):
            entries.append([name, file_digest(existing_file(file))])
    if options.table is not None:
        entries.append(["table", file_digest(existing_file(Path(options.table)))])
    return hashlib.sha256(canonical({"files": entries, "options": described})).hexdigest()


def file_keys(
    paths: Sequence[Path | str] | Path | str, options: ReadOptions | None = None
) -> dict[Path, str] | None:
    """For each file, in order, the digest of all that decides what is read from it: name, content, row of
    the table, options. None where a sample is not a file of its own: PLAID, solutions apart.

    Raises InputError as `read_files` does for missing files.
    """
    options = options or ReadOptions()
    sources = _sources(paths, options)
    if options.solutions or any(isinstance(s, PlaidSet) or s.suffix.lower() == ".su2" for s in sources):
        return None
    files = [source for source in sources if isinstance(source, Path)]
    if len({file.stem for file in files}) < len(files):
        return None
    described = options.model_dump(mode="json", exclude={"table", "solutions"})
    table = None if options.table is None else Path(options.table)
    keys = {}
    for file in files:
        rows = None if table is None else row_of(table, _row_names([file]))
        recipe = {"name": file.name, "content": file_digest(file), "rows": rows, "options": described}
        keys[file] = hashlib.sha256(canonical(recipe)).hexdigest()[:KEY_LENGTH]
    return keys


def _row_names(files: Sequence[Path]) -> set[str]:
    return {name for file in files for name in (file.stem, file.name, Path(file.stem).name)}


def _files(source: Path | PlaidSet, options: ReadOptions) -> list[tuple[Path, str]]:
    if isinstance(source, PlaidSet):
        below = sorted(path for path in source.root.rglob("*") if path.is_file())
        kept = [path for path in below if path.suffix in (".cgns", ".csv", ".yaml", ".json")]
        return [(path, path.relative_to(source.root).as_posix()) for path in kept]
    files = [(source, source.name)]
    if source.suffix.lower() == ".su2":
        table = _solution(source, source.stem, options) or solution_beside(source)
        files += [(table, f"{source.stem} solution")] if table is not None else []
    return files


def _sources(paths: Sequence[Path | str] | Path | str, options: ReadOptions) -> list[Path | PlaidSet]:
    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not given:
        raise InputError("no files to read were given, expected at least one file or folder")
    sources: list[Path | PlaidSet] = []
    for path in given:
        if path.is_dir():
            sources += [open_plaid(path)] if is_plaid(path) else _in_folder(path)
        else:
            if path.suffix.lower() not in FORMATS and path.exists():
                raise InputError(
                    f"{path} has the extension {path.suffix!r}, expected one of {_known()}: convert it"
                )
            sources.append(existing_file(path))
            if path.suffix.lower() not in FORMATS:
                raise InputError(f"{path} is of no known format, expected one of {_known()}")
    return sources


def _in_folder(folder: Path) -> list[Path | PlaidSet]:
    """The mesh files of a folder by name; hidden files and folders are passed over."""
    try:
        below = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error}): check the permissions") from error
    found = [path for path in below if path.suffix.lower() in FORMATS and not path.is_dir()]
    for path in found:
        existing_file(path)
    if not found:
        held = f"it holds {listed(path.name for path in below)}" if below else "it is empty"
        raise InputError(
            f"{folder} holds no mesh file ({_known()}) and is no PLAID data set ({held}), expected at least "
            "one sample: check the path, or name the folder below"
        )
    refuse_series(folder, below)
    return list(found)


def _known() -> str:
    return ", ".join(FORMATS)


def _solution(path: Path, name: str, options: ReadOptions) -> Path | None:
    for key in (name, path.name):
        if key in options.solutions:
            return path.parent / options.solutions[key]
    return None


def _check_solutions(samples: list[MeshSample], options: ReadOptions) -> None:
    known = {key for sample in samples for key in (sample.name, sample.source.name)}
    unknown = sorted(set(options.solutions) - known)
    if unknown:
        raise InputError(
            f"solutions are given for {listed(unknown)}, expected samples among {listed(sorted(known))}"
        )


def _check_fields(samples: list[MeshSample], options: ReadOptions) -> None:
    if options.fields is None:
        return
    known = {name for sample in samples for name in (*sample.node_fields, *sample.cell_fields)}
    unknown = sorted(set(options.fields) - known)
    if unknown:
        raise InputError(
            f"fields {listed(map(repr, unknown))} are in none of the files, expected some of "
            f"{listed(sorted(known))}"
        )
