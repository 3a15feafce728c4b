"""Own arrays of every format give one and the same data set."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from scipy.io import netcdf_file

from catalogs.formats import arrays as arrays_module
from catalogs.formats import arrays_hdf5
from catalogs.formats.arrays import arrays_fingerprint, read_arrays
from catalogs.formats.arrays_spec import ArraysSpec
from kernels.errors import InputError
from tests.catalogs.array_files import (
    GRID,
    VARIABLES,
    WRITERS,
    for_matlab,
    mesh_spec,
    numbers,
    spec,
    write_nc3,
    write_npz,
    write_zarr,
)  # fmt: skip


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


@pytest.mark.parametrize("name", ["a.mat", "a.npz", "new.mat"])
def test_axes_of_one_point_need_not_be_named(tmp_path, name):
    """MATLAB makes a matrix of every vector, and marks of nodes are one."""
    held = {"p": np.eye(4, 2), "t": np.array([[0, 1, 2]]), "fixed": np.array([[1, 0, 0, 1]]),
            "f": np.arange(12.0).reshape(3, 1, 4), "u": np.ones((4, 3)),
            "angle": np.array([[5, 6, 7]])}  # fmt: skip
    WRITERS[name](tmp_path / name, {**held, "load": np.ones(3), "coeff": np.ones(3)})
    for eager in (2**24, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays_module, "_EAGER_BYTES", eager)
            read = read_arrays(mesh_spec(tmp_path / name))
        assert read["dirichlet"].values.tolist() == [1, 0, 0, 1] * 3
        assert read["angle"].values.tolist() == [5.0, 6.0, 7.0]
        assert read["f"].values.tolist() == list(range(12))


def test_axes_of_one_point_are_left_out_where_it_is_clear_which(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones((1, 5, 1)), u=np.ones((2, 5, 1)))
    line = {"axes": {"x": {"start": 0.0, "stop": 1.0}}, "files": [{"path": tmp_path / "a.npz"}]}
    variables = {name: {"role": role, "axes": ["sample", "x"]} for name, role in (("a", "input"),
                 ("u", "field"))}  # fmt: skip
    with pytest.raises(InputError, match=r"array 'a' has shape \(1, 5, 1\), the axes of 'a' are \['sample'"):
        read_arrays(ArraysSpec.model_validate({"variables": variables, **line}))


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


def test_netcdf_3_leaves_no_map_open(tmp_path):
    write_nc3(tmp_path / "a.nc", numbers())
    assert netcdf_file(tmp_path / "a.nc", mmap=False).variables["sol"].shape == (5, 3, 4)
    assert read_arrays(spec(tmp_path / "a.nc")).sizes["sample"] == 5
