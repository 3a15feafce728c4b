"""Files of other people: what would be misread in silence is refused by name, damage never ends a run."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs.formats.reader import ReadOptions, read_files
from catalogs.formats.vtk_process import read_grid
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from tests.catalogs.formats_files import SQUARE, SU2_SQUARE, grid, node, two_triangles_and_a_quad, write_cgns


def test_links_that_lead_nowhere_are_not_passed_over(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    (tmp_path / "._a.vtu").write_bytes(b"\0\5")
    assert read_files(tmp_path)["sample_name"].values.tolist() == ["a"]
    (tmp_path / "b.vtu").symlink_to(tmp_path / "none.vtu")
    with pytest.raises(InputError, match=r"b\.vtu is not a file"):
        read_files(tmp_path)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    os.rename(tmp_path / "a.vtu", os.fsencode(tmp_path) + b"/\xff.vtu")
    with pytest.raises(InputError, match=r"the name is not UTF-8, .*: rename it"):
        read_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.pvd", '<DataSet timestep="0" file="a_0.vtu"/><DataSet timestep="1" file="a_1.vtu"/>'),
        ("a.vtu.series", '{"files": [{"name": "a_0.vtu", "time": 0}, {"name": "a_1.vtu", "time": 1}]}'),
    ],
)
def test_time_steps_listed_beside_the_files(tmp_path: Path, name: str, text: str) -> None:
    for step in (0, 1):
        two_triangles_and_a_quad().save(tmp_path / f"a_{step}.vtu")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name} says that files of .* are 2 time steps of one simulation"):
        read_files(tmp_path)
    assert read_files([tmp_path / "a_0.vtu", tmp_path / "a_1.vtu"]).sizes["sample"] == 2
    (tmp_path / name).write_text(text.replace("1", "0"))
    assert read_files(tmp_path).sizes["sample"] == 2


def test_time_steps_in_one_file(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    writer = vtk.vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.vtu"))
    writer.SetNumberOfTimeSteps(2)
    writer.SetInputData(mesh)
    writer.Start()
    for time in (0.0, 1.0):
        mesh["T"] = np.full(6, time)
        writer.WriteNextTime(time)
    writer.Stop()
    with pytest.raises(InputError, match=r"a\.vtu holds 2 time steps, expected one state"):
        read_files(tmp_path / "a.vtu")
    for steps in (1, 2):
        with h5py.File(write_cgns(tmp_path / "b.cgns"), "a") as file:
            node(file["Base"], "Time", "BaseIterativeData_t", np.array([steps], np.int32))
        if steps == 1:
            assert read_files(tmp_path / "b.cgns").sizes["sample"] == 1
    with pytest.raises(InputError, match=r"base 'Base' holds 2 time steps, expected one state"):
        read_files(tmp_path / "b.cgns")


@pytest.mark.parametrize("names", [("T", "T [K]"), ("a/b", "a_b")])
def test_two_arrays_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.clear_data()
    for name in names:
        mesh.point_data[name] = np.arange(6.0)
    mesh.save(tmp_path / "a.vtu")
    with pytest.raises(InputError, match=r"a\.vtu holds two arrays called '(T|a_b)'.*: rename one"):
        read_files(tmp_path / "a.vtu")


def test_a_scalar_that_is_called_as_a_component(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.point_data["U_1"] = np.arange(6.0)
    mesh.save(tmp_path / "a.vtu")
    with pytest.raises(InputError, match=r"an array and a component of a vector are both called 'U_1'"):
        read_files(tmp_path / "a.vtu")


def test_ghost_cells_and_sets_of_blocks(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.cell_data["vtkGhostType"] = np.array([0, 1, 0], np.uint8)
    mesh.save(tmp_path / "a.vtu")
    with pytest.raises(InputError, match=r"a\.vtu has 1 ghost or hidden cells \(vtkGhostType\)"):
        read_files(tmp_path / "a.vtu")
    (tmp_path / "b.vtk").write_text("# vtk DataFile Version 5.1\nt\nASCII\nDATASET MULTIBLOCK\n")
    with pytest.raises(
        InputError, match=r"b\.vtk holds a data set of kind MULTIBLOCK, expected a single mesh"
    ):
        read_files(tmp_path / "b.vtk")


def test_infinite_and_huge_numbers_are_named(tmp_path: Path) -> None:
    for value, message in ((np.inf, "NaN or infinite coordinates"), (1e300, r"a coordinate of 1e\+300 m")):
        mesh = grid(
            np.where(SQUARE == 2.0, value, SQUARE), [(5, [0, 1, 2]), (5, [0, 2, 3]), (9, [1, 4, 5, 2])]
        )
        mesh.save(tmp_path / "a.vtu")
        raw = read_files(tmp_path / "a.vtu")
        with pytest.raises(InputError, match=message):
            STAGE(IngestConfig(), raw=raw)
    mesh = two_triangles_and_a_quad()
    mesh["U"][2, 1] = np.nan
    mesh.save(tmp_path / "a.vtu")
    with pytest.raises(
        InputError, match=r"sample 'a': field 'U_2' has 1 of 6 values that are NaN or infinite"
    ):
        STAGE(IngestConfig(), raw=read_files(tmp_path / "a.vtu"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,load\na,1\na.vtu,2\n", r"the rows 'a', 'a\.vtu' are both of sample 'a'"),
        ("sample,load [Pa],load [kPa]\na,1,2\n", r"the header names load twice"),
        ("sample,\na,1\n", r"column 2 has no name"),
        ("sample;load\na;1,5\n", r"separated by commas, found semicolons: save it with commas"),
        ("sample\tload\na\t1\n", r"separated by commas, found tabs"),
    ],
)
def test_tables_that_would_be_misread(tmp_path: Path, text: str, message: str) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_files(tmp_path / "a.vtu", ReadOptions(table=tmp_path / "t.csv"))


def test_a_table_with_a_trailing_comma_and_a_byte_order_mark(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtu")
    (tmp_path / "t.csv").write_text("\ufeffsample,load [Pa],\r\na,1.5,\r\n", encoding="utf-8")
    raw = read_files(tmp_path / "a.vtu", ReadOptions(table=tmp_path / "t.csv"))
    assert (raw["load"].values.tolist(), raw["load"].attrs["units"]) == ([1.5], "Pa")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NPOIN= 6 6", "NPOIN= 99999999999999", r"NPOIN ends after 15 lines"),
        ("5 0 1 2 0", "5 0 1 99999999999999999999", r"is no cell"),
        ("5 0 1 2 0", "7 0 1 2 0", r"is a polygon, which SU2 files do not have"),
    ],
)
def test_su2_numbers_out_of_all_bounds(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.su2").write_text(SU2_SQUARE.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_files(tmp_path / "a.su2")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("ZoneBC/BC1/PointRange", [[1, 2**31 - 2]], r"boundary 'Walls' has the range 1 to 2147483646"),
        ("Lower/ElementRange", [1, 2], r"sections 'Quads' and 'Lower' both number element 1"),
    ],
)
def test_cgns_ranges_that_do_not_fit(tmp_path: Path, place: str, value: object, message: str) -> None:
    with h5py.File(write_cgns(tmp_path / "a.cgns"), "a") as file:
        file[f"Base/Zone/{place}/ data"][...] = value
    with pytest.raises(InputError, match=message):
        read_files(tmp_path / "a.cgns")


def test_a_file_that_ends_the_vtk_library_is_one_message(tmp_path: Path) -> None:
    two_triangles_and_a_quad().save(tmp_path / "a.vtk", binary=False)
    text = (tmp_path / "a.vtk").read_text()
    assert "CELLS 4 10" in text
    (tmp_path / "b.vtk").write_text(text.replace("CELLS 4 10", "CELLS 400000000000 10"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"b\.vtk"):
            read_grid(tmp_path / "b.vtk")
        assert len(read_grid(tmp_path / "a.vtk").points) == 6


def contents() -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        two_triangles_and_a_quad().save(place / "a.vtu")
        two_triangles_and_a_quad().save(place / "a.vtk")
        write_cgns(place / "a.cgns")
        (place / "a.su2").write_text(SU2_SQUARE)
        return {path.suffix: path.read_bytes() for path in sorted(place.iterdir())}


CONTENTS = contents()


@pytest.mark.parametrize("suffix", sorted(CONTENTS))
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    content = bytearray(CONTENTS[suffix])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    try:
        out = STAGE(IngestConfig(), raw=read_files(path))
    except InputError as error:
        assert "a" in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert out.sizes["sample"] == 1
