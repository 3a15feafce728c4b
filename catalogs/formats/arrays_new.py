"""Own arrays of new cases: the description of a data set serves, whether or not its outputs are there."""

from collections.abc import Mapping

from catalogs.formats.arrays_files import open_arrays
from catalogs.formats.arrays_held import Held
from catalogs.formats.arrays_spec import ArrayFile, ArraysSpec
from kernels.errors import InputError


def for_new_cases(spec: ArraysSpec) -> ArraysSpec:
    """The description without the outputs that a file lacks, the axes that only they have, the parts of
    the files and the further sets.

    Raises InputError where a file cannot be opened.
    """
    held = [(entry, _held(entry)) for entry in spec.files]
    kept = {
        name: one
        for name, one in spec.variables.items()
        if one.role != "field" or all(_array(spec, entry, name) in arrays for entry, arrays in held)
    }
    if not kept:
        raise InputError(
            f"section arrays describes the outputs {list(spec.variables)} alone, expected what they are "
            'predicted from: add the variables of role "input" or "parameter"'
        )
    used = {axis for name in kept for entry, arrays in held for axis in _axes(spec, entry, name, arrays)}
    axes = {axis: one for axis, one in spec.axes.items() if axis in used}
    files = tuple(entry.model_copy(update={"split": None}) for entry in spec.files)
    less = spec.axes if len(kept) == len(spec.variables) else axes
    return spec.model_copy(update={"files": files, "variables": kept, "axes": less, "others": {}})


def _held(entry: ArrayFile) -> dict[str, Held]:
    return {name: one for path in entry.paths for name, one in open_arrays(path).items()}


def _array(spec: ArraysSpec, entry: ArrayFile, name: str) -> str:
    """Name of the array of a variable in a file."""
    return entry.arrays.get(name) or spec.variables[name].array or name


def _axes(spec: ArraysSpec, entry: ArrayFile, name: str, arrays: Mapping[str, Held]) -> tuple[str, ...]:
    given = spec.variables[name].axes
    array = _array(spec, entry, name)
    return given or (arrays[array].dims if array in arrays else None) or ()
