"""Own arrays of every format give one and the same data set; wrong files are refused by file and array."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import xarray as xr
import zarr
from pydantic import ValidationError
from scipy.io import netcdf_file

from catalogs.formats import arrays as arrays_module
from catalogs.formats import arrays_hdf5
from catalogs.formats.arrays import arrays_fingerprint, read_arrays
from catalogs.formats.arrays_spec import ArraysSpec
from kernels.errors import InputError

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


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_numbers_that_were_written(tmp_path, name, monkeypatch):
    held = numbers()
    WRITERS[name](tmp_path / name, held)
    for eager in (2**24, 0):
        monkeypatch.setattr(arrays_module, "_EAGER_BYTES", eager)
        read = read_arrays(spec(tmp_path / name, **for_matlab(name)))
        assert read["a"].dims == read["u"].dims == ("sample", "y", "x")
        assert bool(read["u"].chunks) == (eager == 0)
        assert (read["a"].dtype, read["u"].dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(read["a"].values, held["coeff"])
        np.testing.assert_array_equal(read["u"].values, held["sol"])
        np.testing.assert_array_equal(read["load"].values, held["load"])
        assert read["u"].attrs == {"role": "field", "units": "Pa", "long_name": "u"}
        np.testing.assert_allclose(read["y"].values, [0.0, 0.5, 1.0])
        np.testing.assert_allclose(read["x"].values, [0.0, 0.5, 1.0, 1.5])
        assert read["sample_name"].values[2] == f"{Path(name).stem}_00002"
        assert "split" not in read


def test_npy_files_beside_each_other_are_one_set(tmp_path):
    parts = {}
    for part, seed in (("train", 0), ("test", 1)):
        held = numbers(seed=seed)
        for name, each in held.items():
            np.save(tmp_path / f"{part}_{name}.npy", each)
        parts[part] = held
    files = [
        {"path": [tmp_path / f"{p}_{n}.npy" for n in parts[p]], "split": p, "name": p,
         "arrays": {"a": f"{p}_coeff", "u": f"{p}_sol", "load": f"{p}_load"}}
        for p in parts
    ]  # fmt: skip
    read = read_arrays(ArraysSpec.model_validate({"files": files, "variables": VARIABLES, "axes": GRID}))
    assert read["split"].values.tolist() == [0] * 5 + [1] * 5
    assert read["sample_name"].values[[0, 9]].tolist() == ["train_00000", "test_00004"]
    np.testing.assert_array_equal(read["u"].values[5:], parts["test"]["sol"])


def test_axes_come_in_any_order_and_components_are_picked(tmp_path):
    whole = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(3, 2, 4, 5)  # y, channel, x, sample
    np.savez(tmp_path / "a.npz", w=whole, other=np.moveaxis(whole[:, 1], (0, 1, 2), (1, 0, 2)))
    variables = {
        "a": {"role": "input", "array": "w", "axes": ["y", "channel", "x", "sample"], "pick": {"channel": 0}},
        "u": {"role": "field", "array": "other", "axes": ["x", "y", "sample"]},
    }
    axes = {
        "y": {"start": 0.0, "stop": 1.0, "points": "centres"},
        "x": {"start": 0.0, "stop": 1.0, "every": 3},
    }
    files = [{"path": tmp_path / "a.npz", "start": 1, "stop": 4}]
    read = read_arrays(ArraysSpec.model_validate({"files": files, "variables": variables, "axes": axes}))
    assert read["a"].dims == read["u"].dims == ("sample", "y", "x")
    np.testing.assert_array_equal(read["a"].values, np.moveaxis(whole[:, 0, ::3, 1:4], 2, 0))
    np.testing.assert_array_equal(read["u"].values, np.moveaxis(whole[:, 1, ::3, 1:4], 2, 0))
    np.testing.assert_allclose(read["x"].values, [0.0, 1.0])
    np.testing.assert_allclose(read["y"].values, [1 / 6, 0.5, 5 / 6])
    assert read["sample_name"].values.tolist() == [f"a_0000{i}" for i in (1, 2, 3)]


def test_what_the_file_says_need_not_be_said_again(tmp_path):
    held = xr.Dataset(
        {"a": (("sample", "x"), np.ones((2, 3), "f4"), {"units": "Pa", "long_name": "load"}),
         "u": (("sample", "x"), np.arange(6.0).reshape(2, 3))},
        coords={"x": ("x", [0.0, 0.5, 1.0], {"units": "m"})},
    )  # fmt: skip
    held["u"].encoding = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -9}
    held["u"][1, 1] = np.nan
    held.to_netcdf(tmp_path / "a.nc", engine="scipy")
    held.to_zarr(tmp_path / "b.zarr", encoding={"u": {"dtype": "f8"}}, consolidated=False)
    plain = {"a": {"role": "input"}, "u": {"role": "field"}}
    for name in ("a.nc", "b.zarr"):
        read = read_arrays(
            ArraysSpec.model_validate({"files": [{"path": tmp_path / name}], "variables": plain})
        )
        np.testing.assert_array_equal(read["u"].values, held["u"].values)
        assert read["a"].attrs == {"role": "input", "units": "Pa", "long_name": "load"}
        assert read["x"].attrs["units"] == "m"


def test_netcdf_4_is_read_with_its_dimensions(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        for name, size in (("sample", 2), ("x", 3)):
            file[name] = np.linspace(0.0, 1.0, size)
            file[name].make_scale(name)
        for name in ("a", "u"):
            file[name] = np.arange(6.0).reshape(2, 3)
            file[name].attrs["units"] = np.bytes_("K")
            file[name].dims[0].attach_scale(file["sample"])
            file[name].dims[1].attach_scale(file["x"])
        file["u"].attrs["_FillValue"] = np.array([5.0])
    plain = {"a": {"role": "input"}, "u": {"role": "field"}}
    read = read_arrays(
        ArraysSpec.model_validate({"files": [{"path": tmp_path / "a.nc"}], "variables": plain})
    )
    assert read["u"].dims == ("sample", "x")
    assert np.isnan(read["u"].values[1, 2])
    assert (read["u"].attrs["units"], read["x"].values.tolist()) == ("K", [0.0, 0.5, 1.0])


def test_a_large_zarr_is_read_in_blocks(tmp_path):
    """The chunks of the lazy arrays are whole stored chunks, and nothing is read before it is asked for."""
    group = zarr.open_group(tmp_path / "big.zarr", mode="w")
    for name in ("coeff", "sol"):
        group.create_array(name, shape=(50_000, 128, 128), chunks=(64, 128, 128), dtype="f8")
    group.create_array("load", shape=(50_000,), chunks=(50_000,), dtype="f8")
    read = read_arrays(spec(tmp_path / "big.zarr"))
    assert read.nbytes > 13e9
    assert set(read["u"].chunksizes["sample"][:-1]) == {256}
    assert float(read["u"][49_999, 0, 0]) == 0.0


def test_units_that_contradict_the_file_are_refused(tmp_path):
    for name, units in (("a", "m"), ("b", "mm")):
        held = xr.Dataset(
            {
                n: (("sample", "x"), np.arange(6.0).reshape(2, 3) + k, {"units": "Pa"})
                for k, n in enumerate("au")
            },
            coords={"x": ("x", [0.0, 0.5, 1.0], {"units": units})},
        )
        held.to_netcdf(tmp_path / f"{name}.nc", engine="scipy")
    plain = {"a": {"role": "input", "units": "Pa"}, "u": {"role": "field"}}
    one, two = tmp_path / "a.nc", tmp_path / "b.nc"
    assert read_arrays(spec(one, variables=plain, axes={}))["x"].attrs["units"] == "m"
    wrong = {**plain, "a": {"role": "input", "units": "kPa"}}
    with pytest.raises(
        InputError, match=r"a\.nc: array 'a' states the units 'Pa', variable 'a' is given in 'kPa'"
    ):
        read_arrays(spec(one, variables=wrong, axes={}))
    with pytest.raises(InputError, match=r"array 'x' states the units 'm', axis 'x' is given in 'mm'"):
        read_arrays(spec(one, variables=plain, axes={"x": {"units": "mm"}}))
    with pytest.raises(InputError, match=r"axis 'x' is in 'm' in .*a\.nc and in 'mm' in .*b\.nc: convert"):
        read_arrays(spec(one, two, variables=plain, axes={}))


def test_complex_numbers_become_two_variables(tmp_path):
    values = np.arange(8).reshape(2, 4) * (1.0 + 2.0j)
    np.savez(tmp_path / "a.npz", z=values, load=np.ones(2))
    z = {"array": "z", "axes": ["sample", "x"]}
    variables = {
        "re": {"role": "input", "part": "real", **z},
        "im": {"role": "field", "part": "imaginary", **z},
    }
    along = {"x": GRID["x"]}
    read = read_arrays(spec(tmp_path / "a.npz", variables=variables, axes=along))
    np.testing.assert_array_equal(read["re"].values, values.real)
    np.testing.assert_array_equal(read["im"].values, values.imag)
    assert read["im"].dtype == np.float64
    with pytest.raises(InputError, match=r"a\.npz: array 'z' is complex, expected real numbers: make two"):
        read_arrays(spec(tmp_path / "a.npz", variables={"a": {"role": "input", **z}}))


def mesh_spec(path: Path, **changes) -> ArraysSpec:
    mesh = {"nodes": "p", "connectivity": "t", "dirichlet": "fixed", **changes}
    variables = {
        "f": {"role": "input", "axes": ["sample", "node"]},
        "u": {"role": "field", "axes": ["node", "sample"]},
        "angle": {"role": "parameter", "axes": ["sample"]},
    }
    return ArraysSpec.model_validate({"files": [{"path": path}], "variables": variables, "mesh": mesh})


@pytest.mark.parametrize("moving", [True, False])
def test_meshes_become_the_ragged_form(tmp_path, moving):
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    x = square * np.arange(1.0, 4.0)[:, None, None] if moving else square
    cells = np.array([[1, 2, 3], [1, 3, 4]])
    f = np.arange(12.0).reshape(3, 4)
    np.savez(
        tmp_path / "m.npz", p=x, t=cells, fixed=np.array([1, 0, 0, 1], bool), f=f, u=-f.T, angle=np.ones(3)
    )
    read = read_arrays(mesh_spec(tmp_path / "m.npz", first_node=1))
    assert read["node_count"].values.tolist() == [4, 4, 4]
    assert read["node_count"].attrs["sample_dimension"] == "node"
    assert read["cell_count"].values.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(read["connectivity"].values, np.tile(cells - 1, (3, 1)))
    np.testing.assert_array_equal(read["x"].values, (x if moving else np.tile(x, (3, 1, 1))).reshape(12, 2))
    np.testing.assert_array_equal(read["f"].values, f.ravel())
    np.testing.assert_array_equal(read["u"].values, -f.ravel())
    assert read["dirichlet"].values.tolist() == [1, 0, 0, 1] * 3
    with pytest.raises(
        InputError, match=r"'t' has the numbers from 1 to 4, expected .* from 0 to 3: is first_node"
    ):
        read_arrays(mesh_spec(tmp_path / "m.npz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": np.zeros((2, 4, 2))}, "nodes 'p' are those of 2 samples, the variables have 3"),
        ({"p": np.zeros(4)}, r"nodes 'p' have shape \(4,\), expected the axes"),
        ({"p": np.zeros((5, 2))}, "'f' has 4 nodes, the mesh 'p' has 5"),
        ({"fixed": np.zeros(7)}, r"dirichlet 'fixed' has shape \(7,\), expected \(4,\) or \(3, 4\)"),
        (
            {"t": np.zeros((3, 2, 3), int)},
            r"connectivity 't' has shape \(3, 2, 3\), expected \(cell, corner\)",
        ),
        ({"t": np.array([[0.5, 1, 2]])}, "expected whole numbers from 0 to 3"),
        ({"t": None}, "has no array 't' for the mesh; it holds angle, f, fixed and 2 more"),
    ],
)
def test_meshes_that_do_not_fit_are_refused(tmp_path, change, message):
    held = {"p": np.eye(4, 2), "t": np.array([[0, 1, 2]]), "fixed": np.zeros(4), "f": np.ones((3, 4)),
            "u": np.ones((4, 3)), "angle": np.ones(3)}  # fmt: skip
    held |= change
    np.savez(tmp_path / "m.npz", **{name: each for name, each in held.items() if each is not None})
    with pytest.raises(InputError, match=message):
        read_arrays(mesh_spec(tmp_path / "m.npz"))


def test_large_meshes_that_move_stay_in_the_file(tmp_path, monkeypatch):
    """Also the marks of prescribed nodes, where every sample has its own."""
    monkeypatch.setattr(arrays_module, "_EAGER_BYTES", 0)
    random = np.random.default_rng(0)
    marks = random.integers(0, 2, (5, 4)).astype(bool)
    held = {"p": random.random((5, 4, 2)), "fixed": marks, "f": random.random((5, 4))}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for name, each in {**held, "u": held["f"].T, "angle": np.ones(5), "t": np.array([[0, 1, 2]])}.items():
            file[name] = each
    read: list[tuple] = []
    plain = arrays_hdf5._Hdf5.__call__
    monkeypatch.setattr(
        arrays_hdf5._Hdf5, "__call__", lambda self, which: read.append(self) or plain(self, which)
    )
    whole = mesh_spec(tmp_path / "m.h5")
    found = read_arrays(whole.model_copy(update={
        "files": (whole.files[0].model_copy(update={"start": 1, "stop": 4}),),
    }))  # fmt: skip
    assert {each._name for each in read} == {"t"}
    assert all(found[name].chunks for name in ("x", "f", "u", "dirichlet", "connectivity"))
    assert found["dirichlet"].dtype == np.int8
    np.testing.assert_array_equal(found["dirichlet"].values, marks[1:4].ravel())
    np.testing.assert_array_equal(found["x"].values, held["p"][1:4].reshape(12, 2))
    np.testing.assert_array_equal(found["u"].values, held["f"][1:4].ravel())


def changed(**changes) -> dict:
    return {"variables": {**VARIABLES, **changes}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed(v={"role": "field", "array": "w", "axes": ["sample"]}),
            r"a\.npz has no array 'w' for variable 'v'",
        ),
        (
            changed(u={**VARIABLES["u"], "axes": ["sample", "x"]}),
            r"'sol' has shape \(5, 3, 4\), the axes of 'u' are",
        ),
        (changed(u={**VARIABLES["u"], "axes": None}), "and no names of axes: give `axes` of 'u'"),
        (changed(u={**VARIABLES["u"], "axes": ["y", "x", "z"]}), 'one of them "sample"'),
        (changed(u={**VARIABLES["u"], "axes": ["x", "y", "sample"]}), "have different numbers of samples"),
        (
            changed(u={**VARIABLES["u"], "axes": ["sample", "x", "y"]}),
            "axis 'y' has 3 points in 'a' and 4 in 'u'",
        ),
        (changed(u={**VARIABLES["u"], "pick": {"x": 9}}), "`pick` asks for 9 of 'x'"),
        (changed(a={**VARIABLES["a"], "role": "parameter"}), "parameter 'a' has the axes"),
        (
            changed(load={**VARIABLES["load"], "role": "input"}),
            "'load' is one number a sample, expected a field",
        ),
        ({"axes": {"y": GRID["y"]}}, "axis 'x' has no positions and the file no array 'x'"),
        (
            {"axes": {**GRID, "z": GRID["x"]}},
            r"section axes describes \['z'\], the variables have the axes \['y', 'x'\]",
        ),
        ({"axes": {**GRID, "x": {"array": "load"}}}, r"'load' has shape \(5,\), axis 'x' has 4 points"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, change, message):
    write_npz(tmp_path / "a.npz", numbers())
    with pytest.raises(InputError, match=message):
        read_arrays(spec(tmp_path / "a.npz", **change))


def test_mismatched_grids_of_one_set_are_refused_with_both_files(tmp_path):
    write_npz(tmp_path / "a.npz", numbers())
    held = numbers()
    fine = {**held, "coeff": np.repeat(held["coeff"], 2, axis=1), "sol": np.repeat(held["sol"], 2, axis=1)}
    write_npz(tmp_path / "b.npz", fine)
    wanted = r"axis 'y' has 3 points in .*a\.npz and is with 6 points in .*b\.npz; .* `others`"
    with pytest.raises(InputError, match=wanted):
        read_arrays(spec(tmp_path / "a.npz", tmp_path / "b.npz"))
    other = spec(tmp_path / "a.npz", others={"fine": [{"path": tmp_path / "b.npz"}]}).other("fine")
    assert read_arrays(other).sizes["y"] == 6
    write_npz(tmp_path / "b.npz", {**held, "where": np.array([0.0, 0.5, 0.9])})
    write_npz(tmp_path / "c.npz", {**held, "where": np.array([0.0, 0.5, 1.0])})
    axes = {**GRID, "y": {"array": "where"}}
    with pytest.raises(InputError, match=r"axis 'y' has 3 points in .* and is at other positions in"):
        read_arrays(spec(tmp_path / "b.npz", tmp_path / "c.npz", axes=axes))


def test_files_that_give_the_same_samples_are_refused(tmp_path):
    write_npz(tmp_path / "a.npz", numbers())
    files = [{"path": tmp_path / "a.npz", "stop": 3}, {"path": tmp_path / "a.npz", "start": 2}]
    with pytest.raises(
        InputError, match=r"sample a_00002 is given twice, by .* give the files different names"
    ):
        read_arrays(spec(files=files))
    files[1]["start"] = 3
    assert read_arrays(spec(files=files)).sizes["sample"] == 5
    with pytest.raises(InputError, match="have no `split` and others have"):
        read_arrays(spec(files=[{**files[0], "split": "train"}, files[1]]))


class Hostile:
    """Writes a file where it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def test_objects_are_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = np.array([Hostile()], dtype=object)
    np.save("a.npy", hostile, allow_pickle=True)
    np.savez("a.npz", **numbers(), a=hostile)
    torch.save({"a": Hostile()}, "a.pt")
    Path("b.pt").write_bytes(pickle.dumps({"a": Hostile()}))
    variables = {"a": {"role": "input", "axes": ["sample", "x"]}}
    for name in ("a.npy", "a.npz", "a.pt", "b.pt"):
        with pytest.raises(InputError, match=rf"{name}.* holds Python objects, which are never loaded"):
            read_arrays(spec(Path(name), variables=variables))
    group = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    group.create_array("a", shape=(2, 2), dtype="f8", chunks=(2, 2))[...] = 1.0
    meta = Path("a.zarr/a/.zarray")
    meta.write_text(
        meta.read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]')
    )
    Path("a.zarr/a/0.0").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match=r"a\.zarr"):
        read_arrays(spec(Path("a.zarr"), variables=variables))
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("name", [*WRITERS, "a.npy"])
def test_damaged_files_are_refused_by_name(tmp_path, name):
    path = tmp_path / name
    (WRITERS.get(name) or (lambda p, held: np.save(p, held["sol"])))(path, numbers(40))
    target = path if path.is_file() else path / "sol" / ("c/1/0/0" if name == "a.zarr" else "1.0.0")
    data = target.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    variables = {"u": {**VARIABLES["u"], "array": "a"}} if name == "a.npy" else for_matlab(name, **changed())
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_arrays(spec(path, variables=variables.get("variables", variables)))


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"has the extension '\.csv', expected one of \.npz"):
        read_arrays(spec(tmp_path / "a.csv"))
    with pytest.raises(InputError, match=r"a\.npz is not a file"):
        read_arrays(spec(tmp_path / "a.npz"))
    with pytest.raises(InputError, match=r"is a folder without any of zarr\.json"):
        read_arrays(spec(tmp_path))
    np.savez(tmp_path / "t.npz", **{**numbers(), "load": np.array(["a"] * 5)})
    with pytest.raises(InputError, match=r"array 'load' has dtype <U1, expected numbers"):
        read_arrays(spec(tmp_path / "t.npz"))
    scipy.io.savemat(tmp_path / "s.mat", {"a": scipy.sparse.eye_array(3).tocsc()})
    with pytest.raises(InputError, match="array 'a' is sparse, expected full"):
        read_arrays(spec(tmp_path / "s.mat", variables={"a": {"role": "input", "axes": ["sample", "x"]}}))


def test_values_in_other_files_are_not_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (2, 4), "f8", external=[(str(secret), 0, 64)])
        file["u"] = h5py.ExternalLink("other.h5", "u")
    one = {"a": {"role": "input", "axes": ["sample", "x"]}}
    with pytest.raises(InputError, match="array 'a' has its values in other files"):
        read_arrays(spec(tmp_path / "a.h5", variables=one))
    with pytest.raises(InputError, match="has no array 'u' for variable 'u'; it holds a: "):
        read_arrays(spec(tmp_path / "a.h5", variables={"u": one["a"]}))


def test_the_fingerprint_is_that_of_contents_and_description(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_npz(tmp_path / folder / "a.npz", numbers())
        write_zarr(tmp_path / folder / "b.zarr", numbers(), 3)
    alike = []
    for data in (np.float64(1.0).tobytes(), np.float64(2.0).tobytes()):
        (tmp_path / "plain.npy").write_bytes(data)
        alike.append(arrays_fingerprint(spec(tmp_path / "plain.npy")))
    assert alike[0] != alike[1]
    of = {n: arrays_fingerprint(spec(tmp_path / f / n)) for f in ("one",) for n in ("a.npz", "b.zarr")}
    assert arrays_fingerprint(spec(tmp_path / "two" / "a.npz")) == of["a.npz"]
    assert arrays_fingerprint(spec(tmp_path / "two" / "b.zarr")) == of["b.zarr"]
    assert arrays_fingerprint(spec(tmp_path / "one" / "a.npz", boundary="periodic")) != of["a.npz"]
    chunk = tmp_path / "two" / "b.zarr" / "sol" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    assert arrays_fingerprint(spec(tmp_path / "two" / "b.zarr")) != of["b.zarr"]
    with pytest.raises(InputError, match="is not a file"):
        arrays_fingerprint(spec(tmp_path / "none.npz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variables": {}}, "variables are called nothing"),
        ({"variables": {"x": VARIABLES["a"]}, "axes": {}}, r"variables are called \['x'\], expected identif"),
        ({"variables": {"y": VARIABLES["a"]}}, r"variables are called \['y'\], expected identifiers"),
        ({"axes": {"x": {"start": 0.0}}}, "by both `start` and `stop`"),
        ({"axes": {"x": {"start": 1.0, "stop": 0.0}}}, "start 1.0 is not below stop 0.0"),
        ({"files": []}, "at least 1 item"),
        ({"files": [{"path": "a.npz", "stop": 3, "start": 3}]}, "start 3 is not before stop 3"),
        ({"files": [{"path": "a.npz", "arrays": {"w": "u"}}]}, r"names the unknown variables \['w'\]"),
        ({"files": [{"path": "a.npz", "splits": "train"}]}, "splits"),
        (
            changed(u={**VARIABLES["u"], "prescribes": "u"}),
            r"\['u'\] have `prescribes`, expected inputs alone",
        ),
        ({"mesh": {"nodes": "p", "connectivity": "t"}}, "sections axes and boundary are of sets on a grid"),
        (
            {"mesh": {"nodes": "p", "connectivity": "t"}, "axes": {}, "boundary": "periodic"},
            "sections axes and boundary are of sets on a grid",
        ),
    ],
)
def test_wrong_descriptions_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        spec(Path("a.npz"), **change)


def test_paths_are_relative_to_the_description(tmp_path):
    given = spec(Path("a.npz"), others={"fine": [{"path": ["b.npz", "c.npz"]}]}).placed(tmp_path)
    assert given.files[0].paths == (tmp_path / "a.npz",)
    assert given.other("fine").files[0].paths == (tmp_path / "b.npz", tmp_path / "c.npz")
    assert ArraysSpec.model_validate(given.model_dump(mode="json")) == given


def test_netcdf_3_leaves_no_map_open(tmp_path):
    write_nc3(tmp_path / "a.nc", numbers())
    assert netcdf_file(tmp_path / "a.nc", mmap=False).variables["sol"].shape == (5, 3, 4)
    assert read_arrays(spec(tmp_path / "a.nc")).sizes["sample"] == 5
