"""Arrays in HDF5 files, in MATLAB files of version 7.3, and in NetCDF files of version 3 and 4."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.formats.arrays_held import Held

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERS = ("double", "single", "logical", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)))


def is_hdf5(path: Path) -> bool:
    """Whether the file is HDF5; MATLAB puts 512 bytes of its own before it."""
    with path.open("rb") as stream:
        for start in (0, 512, 1024, 2048):
            stream.seek(start)
            if stream.read(8) == _SIGNATURE:
                return True
    return False


def open_hdf5(path: Path) -> dict[str, Held]:
    """All data sets of an HDF5 file by their path in it, each read in parts when it is asked for.

    Links are not followed; data sets whose values lie in other files are refused where they are read.
    """
    import h5py

    found: dict[str, Held] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = _held(path, name, node)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _held(path: Path, name: str, node: Any) -> Held:
    shape = node.shape if node.shape is not None else (0,)
    attrs = {key: _plain(node.attrs[key]) for key in _CF if key in node.attrs}
    held = Held(path, name, tuple(shape), node.dtype, _Hdf5(path, name), _dims(node), attrs, node.chunks)
    if node.is_virtual or node.external:
        return held.unusable("has its values in other files, expected one file: copy it into one")
    return held


class _Hdf5:
    """Opens the file for each read, so that no handle stays open and a worker can take it along."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __call__(self, selection: Any) -> Any:
        import h5py

        with h5py.File(self._path, "r") as file:
            return file[self._name][selection]


def _dims(node: Any) -> tuple[str, ...] | None:
    """Names of the axes where the file has dimension scales, as NetCDF 4 does."""
    if node.is_scale and node.ndim == 1:
        return (node.name.rpartition("/")[2],)
    names = [[scale.name.rpartition("/")[2] for scale in axis.values()] for axis in node.dims]
    return tuple(each[0] for each in names) if names and all(names) else None


def _plain(value: Any) -> Any:
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return value.ravel()[0] if isinstance(value, np.ndarray) and value.size else value


def open_matlab_hdf5(path: Path) -> dict[str, Held]:
    """Arrays of a `.mat` file of version 7.3 with their axes in the order that MATLAB shows.

    MATLAB stores by columns, so its axes are reversed in the file. Only numbers and truth values are read.
    """
    import h5py

    found = {}
    stored = open_hdf5(path)
    with h5py.File(path, "r") as file:
        for name, held in stored.items():
            kind = _plain(file[name].attrs.get("MATLAB_class", b""))
            if name.startswith("#refs#") or not kind:
                found[name] = held
            elif kind not in _NUMBERS or "MATLAB_sparse" in file[name].attrs:
                found[name] = held.unusable(
                    f"is of class {kind}, expected a full array of numbers: convert it"
                )
            else:
                chunks = None if held.chunks is None else held.chunks[::-1]
                turned = _Turned(held.read, held.ndim)
                found[name] = Held(path, name, held.shape[::-1], held.dtype, turned, chunks=chunks)
    return found


class _Turned:
    """Reads with the axes in reverse."""

    def __init__(self, read: Callable[[Any], Any], ndim: int) -> None:
        self._read, self._ndim = read, ndim

    def __call__(self, selection: Any) -> np.ndarray:
        given = selection if isinstance(selection, tuple) else (selection,)
        full = (*given, *(slice(None),) * (self._ndim - len(given)))
        return np.asarray(self._read(full[::-1])).T


_CF = ("units", "long_name", "_FillValue", "missing_value", "scale_factor", "add_offset")


def open_netcdf(path: Path) -> dict[str, Held]:
    """Variables of a NetCDF file; fill values become NaN, packed numbers are unpacked.

    CF conventions 1.11, sections 2.5.1 and 8.1.
    """
    held = open_hdf5(path) if is_hdf5(path) else _netcdf3(path)
    return {name: _unpacked(each) for name, each in held.items()}


def _netcdf3(path: Path) -> dict[str, Held]:
    from scipy.io import netcdf_file

    found = {}
    with netcdf_file(path, mmap=True) as file:
        for name, variable in file.variables.items():
            attrs = {key: _plain(getattr(variable, key)) for key in _CF if hasattr(variable, key)}
            dtype = np.dtype(variable.data.dtype).newbyteorder("=")
            dims = tuple(variable.dimensions)
            found[name] = Held(path, name, variable.shape, dtype, _NetCdf3(path, name), dims, attrs)
        variable = None  # a map that is still used cannot be closed
    return found


class _NetCdf3:
    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __call__(self, selection: Any) -> np.ndarray:
        from scipy.io import netcdf_file

        with netcdf_file(self._path, mmap=True) as file:
            values = np.array(file.variables[self._name].data[selection])
        return values.astype(values.dtype.newbyteorder("="))


def _unpacked(held: Held) -> Held:
    packed = {key: held.attrs[key] for key in _CF[2:] if key in held.attrs}
    if not packed or held.dtype.kind not in "iuf":
        return held
    single = held.dtype.kind == "f" and held.dtype.itemsize <= 4 and not packed.keys() & {"scale_factor"}
    dtype = np.dtype(np.float32 if single else np.float64)
    return Held(
        held.path, held.name, held.shape, dtype, _Unpack(held.read, packed, dtype), held.dims, held.attrs,
        held.chunks,
    )  # fmt: skip


class _Unpack:
    def __init__(self, read: Callable[[Any], Any], packed: Mapping[str, Any], dtype: np.dtype) -> None:
        self._read, self._packed, self._dtype = read, packed, dtype

    def __call__(self, selection: Any) -> np.ndarray:
        stored = np.asarray(self._read(selection))
        values = stored.astype(self._dtype)
        for key in ("_FillValue", "missing_value"):
            if key in self._packed:
                values[stored == self._packed[key]] = np.nan
        scale, offset = self._packed.get("scale_factor", 1), self._packed.get("add_offset", 0)
        return np.asarray(values * self._dtype.type(scale) + self._dtype.type(offset))
