"""Arrays and files that do not fit, are damaged or hostile: refused by file and array."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import zarr
from pydantic import ValidationError

from catalogs.formats.arrays import read_arrays
from catalogs.formats.arrays_spec import ArraysSpec
from kernels.errors import InputError
from tests.catalogs.array_files import GRID, VARIABLES, WRITERS, for_matlab, numbers, spec, write_npz


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
