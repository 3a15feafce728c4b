"""VTU, VTP and legacy VTK files, read and written."""

import resource
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import xarray as xr

from catalogs.formats.reader import ReadOptions, read_files
from catalogs.formats.vtk import write_vtu
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from tests.catalogs.formats_files import SQUARE, grid, two_triangles_and_a_quad


def read(path: Path, **options: object) -> xr.Dataset:
    return read_files(path, ReadOptions(**options))


@pytest.mark.parametrize("name", ["a.vtu", "a.vtk"])
def test_every_array_is_kept_with_its_place(tmp_path: Path, name: str) -> None:
    two_triangles_and_a_quad().save(tmp_path / name)
    raw = read(tmp_path / name, units={"U": "m", "T": "K"})
    assert raw["sample_name"].values.tolist() == ["a"]
    assert raw["cell_type"].values.tolist() == [5, 5, 9]
    assert raw["cell_size"].values.tolist() == [3, 3, 4]
    assert raw["cell_node"].values.tolist() == [0, 1, 2, 0, 2, 3, 1, 4, 5, 2]
    np.testing.assert_array_equal(raw["x"].values, SQUARE)
    assert raw["T"].attrs["units"] == "K"
    assert raw["T"].dims == ("node",)
    assert raw["U_2"].values.tolist() == [0.0, -1.0, -2.0, -3.0, -4.0, -5.0]
    assert (raw["U_2"].attrs["vector"], raw["U_2"].attrs["component"], raw["U_2"].attrs["units"]) == (
        "U",
        2,
        "m",
    )
    assert raw["q"].dims == ("cell",)
    assert raw["drag"].attrs["role"] == "scalar"
    assert raw["drag"].values.tolist() == [0.25]
    assert raw.attrs["planar"] == 1


def test_surface_of_a_vtp_file(tmp_path: Path) -> None:
    sphere = pv.Sphere()
    sphere["height"] = sphere.points[:, 2]
    sphere.save(tmp_path / "ball.vtp")
    raw = read(tmp_path / "ball.vtp")
    assert raw.attrs["planar"] == 0
    np.testing.assert_array_equal(raw["cell_node"].values.reshape(-1, 3), sphere.faces.reshape(-1, 4)[:, 1:])
    np.testing.assert_array_equal(raw["height"].values, raw["x"].values[:, 2])


def test_lines_become_tagged_facets(tmp_path: Path) -> None:
    mesh = grid(
        SQUARE,
        [(3, [0, 1]), (5, [0, 1, 2]), (5, [0, 2, 3]), (9, [1, 4, 5, 2]), (3, [4, 5]), (1, [0]), (3, [0, 5])],
    )
    mesh.cell_data["gmsh:physical"] = np.array([7, 1, 1, 1, 8, 0, 9])
    mesh.cell_data["q"] = np.arange(7.0)
    mesh.save(tmp_path / "m.vtu")
    raw = read(tmp_path / "m.vtu")
    assert raw["facet_tag"].attrs["flag_meanings"] == "gmsh:physical_7 gmsh:physical_8"
    assert raw["facet_node"].values.tolist() == [[0, 1], [4, 5]]
    assert raw["q"].values.tolist() == [1.0, 2.0, 3.0]
    assert raw.attrs["notes"] == ["m: dropped 2 cells of lower dimension that bound no cell"]


def test_round_trip_through_the_canonical_set(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    first = STAGE(IngestConfig(), raw=read(tmp_path / "a.vtu", units={"U": "m", "T": "K", "drag": "N"}))
    write_vtu(tmp_path / "b.vtu", first)
    written = pv.read(tmp_path / "b.vtu")
    np.testing.assert_array_equal(written.points, SQUARE)
    np.testing.assert_array_equal(written["U"], two_triangles_and_a_quad()["U"])
    assert written.field_data["drag"].tolist() == [0.25]
    second = STAGE(IngestConfig(), raw=read(tmp_path / "b.vtu"))
    for name in ("x", "connectivity", "T", "U_1", "U_2", "q", "drag"):
        np.testing.assert_array_equal(first[name].values, second[name].values)
        assert first[name].attrs["units"] == second[name].attrs["units"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vtu", "b.vtu"]


def test_writing_refuses_what_is_no_sample_or_no_folder(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    two_triangles_and_a_quad().save(tmp_path / "c.vtu")
    two = STAGE(IngestConfig(), raw=read(tmp_path))
    with pytest.raises(
        InputError, match=r"b\.vtu: got a dataset of 2 samples, expected one: take one sample first"
    ):
        write_vtu(tmp_path / "b.vtu", two)
    one = STAGE(IngestConfig(), raw=read(tmp_path / "a.vtu"))
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist: create it first"):
        write_vtu(tmp_path / "nowhere" / "b.vtu", one)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    before = (tmp_path / "a.vtu").read_bytes()
    one = STAGE(IngestConfig(), raw=read(tmp_path / "a.vtu"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"a\.vtu could not be written .*: free space on the disk"):
            write_vtu(tmp_path / "a.vtu", one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "a.vtu").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.vtu"]


@pytest.mark.parametrize(
    ("name", "binary"), [("a.vtu", True), ("a.vtu", False), ("a.vtk", True), ("a.vtk", False)]
)
def test_a_truncated_file_is_named(
    tmp_path: Path, name: str, binary: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    mesh = pv.Sphere().cast_to_unstructured_grid()
    mesh["p"] = mesh.points[:, 0]
    mesh.save(tmp_path / name, binary=binary)
    whole = (tmp_path / name).read_bytes()
    for part in np.linspace(0.03, 0.97, 97):
        (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(InputError, match=rf"{name}"):
            read(tmp_path / name)
    assert "vtk" not in capfd.readouterr().err.lower()


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("POINTS", "array 'POINTS' has 3 values, expected 18 numbers"),
        ("OFFSETS", "array 'OFFSETS' has 2 values, expected 4 numbers"),
        ("CONNECTIVITY", "array 'CONNECTIVITY' has 3 values, expected 10 numbers"),
        ("CELL_TYPES", "array 'CELL_TYPES' has 1 values, expected 3 numbers"),
    ],
)
def test_a_text_file_cut_in_its_mesh_is_named(tmp_path: Path, keyword: str, message: str) -> None:
    """VTK's reader leaves the missing coordinates uninitialised, and says nothing."""
    file = tmp_path / "a.vtk"
    grid(SQUARE, [(5, [0, 1, 2]), (5, [0, 2, 3]), (9, [1, 4, 5, 2])]).save(file, binary=False)
    lines = file.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(keyword)) + 1
    words = lines[start].split()[: int(message.split(" has ")[1].split()[0])]
    file.write_text("\n".join([*lines[:start], " ".join(words)]) + "\n")
    with pytest.raises(InputError, match=rf"a\.vtk: {message}: the file is truncated or damaged, write"):
        read(file)
    lines[start] = lines[start].replace("0", "0x", 1).replace("5", "five", 1)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"a\.vtk: array '{keyword}' has '\S+' among its values"):
        read(file)


def test_fields_named_like_keywords(tmp_path: Path) -> None:
    mesh = grid(SQUARE, [(5, [0, 1, 2]), (5, [0, 2, 3]), (9, [1, 4, 5, 2])])
    for name in ("points", "cells", "normals", "offsets", "data", "name"):
        mesh.point_data[name] = np.arange(6.0)
    mesh.save(tmp_path / "a.vtk", binary=False)
    raw = read(tmp_path / "a.vtk")
    for name in ("points", "cells", "normals", "offsets", "data", "name"):
        assert raw[name].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_nan_in_a_text_file_is_a_value(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.point_data["T"] = [0.0, 1.0, 2.0, np.nan, 4.0, 5.0]
    mesh.save(tmp_path / "a.vtk", binary=False)
    text = (tmp_path / "a.vtk").read_text()
    assert "0 1 2 nan" in text
    (tmp_path / "a.vtk").write_text(text.replace("0 1 2 nan", "0 1 2 nan\n"))
    np.testing.assert_array_equal(read(tmp_path / "a.vtk")["T"].values, [0.0, 1.0, 2.0, np.nan, 4.0, 5.0])


def test_files_that_are_no_mesh(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"missing\.vtu is not a file: expected a mesh or table that can be read"
    ):
        read(tmp_path / "missing.vtu")
    (tmp_path / "empty.vtu").touch()
    with pytest.raises(InputError, match=r"empty\.vtu is empty, expected a mesh"):
        read(tmp_path / "empty.vtu")
    (tmp_path / "text.vtu").write_text("hello")
    with pytest.raises(
        InputError, match=r"text\.vtu cannot be read as VTK .*: it is truncated or of another format"
    ):
        read(tmp_path / "text.vtu")
    pv.PolyData(SQUARE).save(tmp_path / "points.vtp")
    with pytest.raises(InputError, match="cells of dimension 0"):
        STAGE(IngestConfig(), raw=read(tmp_path / "points.vtp"))


def test_a_field_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtk", binary=False)
    text = (tmp_path / "a.vtk").read_text()
    short = text.replace("0 1 2 3 4 5 \n", "0 1 2 3 4 \n")
    assert short != text
    (tmp_path / "a.vtk").write_text(short)
    with pytest.raises(
        InputError, match=r"a\.vtk: array 'T' has 5 values, expected 6 numbers: the file is truncated"
    ):
        read(tmp_path / "a.vtk")
    two_triangles_and_a_quad().save(tmp_path / "b.vtu", binary=False)
    text = (tmp_path / "b.vtu").read_text()
    (tmp_path / "b.vtu").write_text(text.replace('NumberOfPoints="6"', 'NumberOfPoints="7"'))
    with pytest.raises(InputError, match=r"b\.vtu cannot be read as VTK"):
        read(tmp_path / "b.vtu")
