"""Own arrays in every format that is read, and what describes them."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
import xarray as xr
import zarr

from catalogs.formats.arrays_spec import ArraysSpec

GRID = {"y": {"start": 0.0, "stop": 1.0, "units": "m"}, "x": {"start": 0.0, "stop": 2.0, "points": "start"}}
VARIABLES = {
    "a": {"role": "input", "array": "coeff", "axes": ["sample", "y", "x"]},
    "u": {"role": "field", "array": "sol", "axes": ["sample", "y", "x"], "units": "Pa"},
    "load": {"role": "parameter", "axes": ["sample"], "units": "N"},
}


def numbers(samples: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "coeff": random.integers(0, 2, (samples, 3, 4)).astype(bool),
        "sol": random.standard_normal((samples, 3, 4)),
        "load": random.integers(1, 9, samples),
    }


def write_npz(path: Path, held: dict) -> None:
    np.savez_compressed(path, **held)


def write_pt(path: Path, held: dict) -> None:
    torch.save({name: torch.from_numpy(each) for name, each in held.items()}, path)


def write_old_pt(path: Path, held: dict) -> None:
    tensors = {name: torch.from_numpy(each) for name, each in held.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def write_mat(path: Path, held: dict) -> None:
    scipy.io.savemat(path, {**held, "load": held["load"][:, None]})


def write_mat73(path: Path, held: dict) -> None:
    """As MATLAB does: axes reversed, truth values as uint8, 512 bytes of its own in front."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, each in {**held, "load": held["load"][:, None]}.items():
            stored = file.create_dataset(
                name, data=each.T.astype(np.uint8 if each.dtype == bool else each.dtype)
            )
            kind = {"b": "logical", "i": "int64", "f": "double"}[each.dtype.kind]
            stored.attrs["MATLAB_class"] = np.bytes_(kind)


def write_hdf5(path: Path, held: dict) -> None:
    with h5py.File(path, "w") as file:
        for name, each in held.items():
            file.create_dataset(name, data=each, chunks=(2, *each.shape[1:]))


def write_nc3(path: Path, held: dict) -> None:
    dims = {"coeff": ("sample", "y", "x"), "sol": ("sample", "y", "x"), "load": ("sample",)}
    whole = {
        n: (dims[n], v.astype({"b": "i1", "i": "i4"}.get(v.dtype.kind, v.dtype))) for n, v in held.items()
    }
    xr.Dataset(whole).to_netcdf(path, engine="scipy")


def write_zarr(path: Path, held: dict, version: int = 3) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, each in held.items():
        array = group.create_array(name, shape=each.shape, dtype=each.dtype, chunks=(2, *each.shape[1:]))
        array[...] = each


WRITERS = {
    "a.npz": write_npz,
    "a.pt": write_pt,
    "old.pt": write_old_pt,
    "a.mat": write_mat,
    "new.mat": write_mat73,
    "a.h5": write_hdf5,
    "a.nc": write_nc3,
    "a.zarr": write_zarr,
    "two.zarr": lambda path, held: write_zarr(path, held, 2),
}


def spec(*paths: Path, **changes) -> ArraysSpec:
    files = [{"path": path} for path in paths]
    return ArraysSpec.model_validate({"files": files, "variables": VARIABLES, "axes": GRID, **changes})


def for_matlab(name: str, **changes) -> dict:
    """MATLAB has no arrays of one axis."""
    if not name.endswith(".mat"):
        return changes
    return {"variables": {**VARIABLES, "load": {
        "role": "parameter", "axes": ["sample", "one"], "pick": {"one": 0}, "units": "N",
    }}, **changes}  # fmt: skip


def mesh_spec(path: Path, **changes) -> ArraysSpec:
    mesh = {"nodes": "p", "connectivity": "t", "dirichlet": "fixed", **changes}
    variables = {
        "f": {"role": "input", "axes": ["sample", "node"]},
        "u": {"role": "field", "axes": ["node", "sample"]},
        "angle": {"role": "parameter", "axes": ["sample"]},
    }
    return ArraysSpec.model_validate({"files": [{"path": path}], "variables": variables, "mesh": mesh})
