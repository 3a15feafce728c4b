"""Arrays in files of numpy, torch and MATLAB; objects are never unpickled."""

import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.formats.arrays_hdf5 import is_hdf5, open_hdf5, open_matlab_hdf5, open_netcdf
from catalogs.formats.arrays_held import Held, of_values, reading
from catalogs.formats.sample import existing_file
from kernels.errors import InputError

_PICKLED = "holds Python objects, which are never loaded; expected numbers: save a plain array"


def open_arrays(path: Path) -> dict[str, Held]:
    """Arrays of a file or zarr folder by name; nothing but headers is read where the format allows.

    A `.npy` file and a single tensor have the name of the file. Raises InputError where the file is missing,
    damaged or of no known format.
    """
    if path.is_dir():
        from catalogs.formats.arrays_zarr import open_zarr

        return open_zarr(path)
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise InputError(
            f"{path} has the extension {path.suffix!r}, expected one of {', '.join(OPENERS)} or a .zarr "
            "folder: convert it"
        )
    existing_file(path)
    with reading(path):
        return opener(path)


def _npy(path: Path) -> dict[str, Held]:
    with path.open("rb") as stream:
        dtype = _header(stream)[2]
    if dtype.hasobject:
        return {path.stem: _objects(path, path.stem)}
    return {path.stem: of_values(path, path.stem, np.load(path, mmap_mode="r", allow_pickle=False))}


def _objects(path: Path, name: str) -> Held:
    return of_values(path, name, np.empty(0)).unusable(_PICKLED)


def _npz(path: Path) -> dict[str, Held]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                shape, start, dtype = _header(stream)
            if dtype.hasobject:
                found[name] = _objects(path, name)
                continue
            # numpy makes room for what the header says before it looks at what is there
            if member.file_size - start != int(np.prod(shape, dtype=object)) * dtype.itemsize:
                raise ValueError(
                    f"{name!r} has {member.file_size} bytes, not those of shape {shape} of {dtype}"
                )
            found[name] = Held(path, name, shape, dtype, _Member(path, name))
    return found


def _header(stream: Any) -> tuple[tuple[int, ...], int, np.dtype]:
    """Shape, length of the header and dtype of a `.npy` stream."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, stream.tell(), dtype


class _Member:
    """A member of a `.npz`, read whole the first time and kept: it is compressed in one piece."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._values: np.ndarray | None = None

    def __call__(self, selection: Any) -> np.ndarray:
        if self._values is None:
            with np.load(self._path, allow_pickle=False) as archive:
                self._values = archive[self._name]
        return np.asarray(self._values[selection])


def _torch(path: Path) -> dict[str, Held]:
    """Tensors of a `.pt` file with `weights_only=True` and nothing else, mapped where the file allows."""
    import pickle

    import torch

    if not zipfile.is_zipfile(path):  # the form before torch 1.6 cannot be mapped
        options: dict[str, Any] = {}
    else:
        options = {"mmap": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True, **options)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} {_PICKLED.replace('a plain array', 'a dict of tensors with torch.save')}"
        ) from error
    if isinstance(content, (list, tuple)):
        content = {str(i): each for i, each in enumerate(content)}
    named = content if isinstance(content, Mapping) else {path.stem: content}
    return {str(name): _tensor(path, str(name), each) for name, each in named.items()}


def _tensor(path: Path, name: str, value: Any) -> Held:
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        kind = getattr(value, "layout", type(value).__name__)
        return of_values(path, name, np.empty(0)).unusable(
            f"is a {kind}, expected a dense tensor: convert it"
        )
    plain = value.detach()
    return of_values(
        path, name, (plain.float() if plain.dtype == torch.bfloat16 else plain).resolve_conj().numpy()
    )


def _matlab(path: Path) -> dict[str, Held]:
    if is_hdf5(path):
        return open_matlab_hdf5(path)
    import scipy.io

    found = {}
    for name, values in scipy.io.loadmat(path).items():
        if name.startswith("__"):
            continue
        if isinstance(values, np.ndarray):
            found[name] = of_values(path, name, values)
        else:
            found[name] = of_values(path, name, np.empty(0)).unusable(
                "is sparse, expected full(...): convert it"
            )
    return found


OPENERS: dict[str, Callable[[Path], dict[str, Held]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".pt": _torch,
    ".pth": _torch,
    ".mat": _matlab,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".nc": open_netcdf,
}
"""Extension -> reader; folders are read as zarr."""
