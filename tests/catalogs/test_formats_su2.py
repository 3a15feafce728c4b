"""SU2 meshes and the solution tables beside them."""

from pathlib import Path

import numpy as np
import pytest

from catalogs.formats.reader import ReadOptions, read_files
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from tests.catalogs.formats_files import SQUARE, SU2_SQUARE, SU2_TET

TABLE = '"PointID","x","y","Pressure [Pa]"\n' + "".join(
    f"{i}, {SQUARE[i, 0]:.6e}, {SQUARE[i, 1]:.6e}, {10.0 * i}\n" for i in (3, 1, 0, 2, 5, 4)
)


def test_liberal_spelling(tmp_path: Path) -> None:
    (tmp_path / "m.su2").write_text(SU2_SQUARE)
    raw = read_files(tmp_path / "m.su2")
    np.testing.assert_array_equal(raw["x"].values, SQUARE[:, :2])
    assert raw["cell_type"].values.tolist() == [5, 5, 9]
    assert raw["facet_tag"].attrs["flag_meanings"] == "lower_wall right"
    assert raw["facet_node"].values.tolist() == [[0, 1], [1, 4], [4, 5]]
    assert raw["facet_tag"].values.tolist() == [0, 0, 1]


def test_tetrahedra_with_surface_markers(tmp_path: Path) -> None:
    (tmp_path / "m.su2").write_text(SU2_TET)
    out = STAGE(IngestConfig(), raw=read_files(tmp_path / "m.su2"))
    assert out["connectivity"].values.tolist() == [[0, 1, 2, 3]]
    assert out["facet_node"].values.tolist() == [[0, 2, 1], [0, 1, 3]]
    assert out["facet_tag"].attrs["flag_meanings"] == "skin"


def test_a_table_is_put_in_node_order(tmp_path: Path) -> None:
    (tmp_path / "m.su2").write_text(SU2_SQUARE)
    (tmp_path / "m.csv").write_text(TABLE)
    raw = read_files(tmp_path / "m.su2")
    assert raw["Pressure"].values.tolist() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert raw["Pressure"].attrs["units"] == "Pa"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4, 2.0", "40, 2.0", r"m\.csv: column 'PointID' is no numbering of the nodes 0 to 5, each once"),
        ("4, 2.0", "3, 2.0", r"m\.csv: column 'PointID' is no numbering of the nodes 0 to 5, each once"),
        (
            "4, 2.0",
            "4, 2.1",
            r"m\.csv: 1 of 6 rows are not at the node of their number in .*m\.su2 \(node 4 is 0\.1 away\)",
        ),
        ("50.0", "fifty", r"m\.csv: row 5 holds an entry that is no number"),
        (", 50.0", "", r"m\.csv: row 5 has 3 entries, expected 4 as in the header"),
        (
            "5, 2.000000e+00, 1.000000e+00, 50.0\n",
            "",
            r"m\.csv has 5 rows, expected 6, one for each node of .*m\.su2",
        ),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "m.su2").write_text(SU2_SQUARE)
    assert old in TABLE
    (tmp_path / "m.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_files(tmp_path / "m.su2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "MARKER_TAG= right\nMARKER_ELEMS= 1\n3 4 5\n",
            "",
            r"has 1 markers, expected NMARK = 2: the file is truncated",
        ),
        ("3 4 5\n", "", r"marker 'right' ends after 0 lines \(line \d+\), expected 1: the file is truncated"),
        (
            "3 4 5\n",
            "3 3 5\n",
            r"marker 'right' has 1 elements that bound no cell, the first with nodes \[3, 5\]",
        ),
        (
            "9 1 4 5 2 2",
            "9 1 4 55 2 2",
            r"a cell refers to node 55 \(counted from 0\), expected numbers from 0 to 5",
        ),
        ("9 1 4 5 2 2", "9 1 4", r"line 6: '9 1 4' is no quadrilateral of 4 nodes"),
        ("9 1 4 5 2 2", "99 1 4 5 2 2", r"line 6: '99 1 4 5 2 2' is no cell \(VTK type, then nodes\)"),
        ("1.0 0.0\n", "1.0\n", r"'1.0' is no position of 2 numbers"),
        ("ndime = 2", "NDIME= 4", r"line 2: NDIME is 4, expected 2 or 3"),
        ("ndime = 2", "", r"NPOIN comes before NDIME, expected NDIME first"),
        ("ndime = 2", "NZONE= 2\nNDIME= 2", r"the file has NZONE = 2 zones, expected one"),
        ("NELEM=3", "NELEM= three", r"line 3: NELEM is 'three', expected a whole number"),
    ],
)
def test_a_damaged_mesh(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SU2_SQUARE
    (tmp_path / "m.su2").write_text(SU2_SQUARE.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_files(tmp_path / "m.su2")


def test_every_early_end_is_noticed(tmp_path: Path) -> None:
    lines = SU2_SQUARE.splitlines(keepends=True)
    for length in range(1, len(lines)):
        (tmp_path / "m.su2").write_text("".join(lines[:length]))
        if lines[length - 1].startswith("2.0e-000"):
            continue  # a mesh without markers is whole
        with pytest.raises(InputError, match=r"m\.su2"):
            read_files(tmp_path / "m.su2")


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("name", "nodes", "cells", "triangles", "tags"),
    [
        ("mesh_NACA0012_inv", 5233, 10216, 10216, "airfoil farfield"),
        ("mesh_NACA0012_lam_hybrid_v1", 8741, 13156, 17232, "airfoil farfield"),
        ("mesh_RAE2822_turb", 13937, 22842, 27642, "AIRFOIL FARFIELD"),
        (
            "mesh_bump_in_channel",
            4550,
            8778,
            8778,
            "bottom_front bottom_rear inlet interface outlet slip_bottom top",
        ),
        ("mesh_channel_256x128", 32768, 32385, 64770, "inlet lower_wall outlet upper_wall"),
        ("mesh_wedge_inv", 3750, 3626, 7252, "inlet lower outlet upper"),
    ],
)
def test_real_meshes(
    reference_data: Path, name: str, nodes: int, cells: int, triangles: int, tags: str
) -> None:
    raw = read_files(reference_data / "su2" / f"{name}.su2")
    assert (raw.sizes["node"], raw.sizes["cell"]) == (nodes, cells)
    assert raw["facet_tag"].attrs["flag_meanings"] == tags
    out = STAGE(IngestConfig(), raw=raw)
    assert out.sizes["cell"] == triangles
    corners = out["x"].values[out["connectivity"].values]
    edges = corners[:, 1:] - corners[:, :1]
    assert np.all(edges[:, 0, 0] * edges[:, 1, 1] > edges[:, 0, 1] * edges[:, 1, 0])


@pytest.mark.reference_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["mesh_wedge_inv", "mesh_NACA0012_lam_hybrid_v1", "mesh_bump_in_channel"])
def test_an_independent_reader_agrees(reference_data: Path, name: str) -> None:
    meshio = pytest.importorskip("meshio", reason="meshio is not installed")
    path = reference_data / "su2" / f"{name}.su2"
    other, raw = meshio.read(path, file_format="su2"), read_files(path)
    np.testing.assert_array_equal(raw["x"].values, other.points)
    for code, kind in ((5, "triangle"), (9, "quad")):
        sizes = raw["cell_size"].values
        starts = np.concatenate(([0], np.cumsum(sizes)))[:-1]
        first = starts[raw["cell_type"].values == code]
        blocks = [block.data for block in other.cells if block.type == kind]
        if len(first) or blocks:
            own = raw["cell_node"].values[first[:, None] + np.arange(3 if code == 5 else 4)]
            np.testing.assert_array_equal(own, np.concatenate(blocks))
    lines = np.concatenate([block.data for block in other.cells if block.type == "line"])
    assert sorted(map(tuple, lines.tolist())) == sorted(map(tuple, raw["facet_node"].values.tolist()))


@pytest.mark.reference_data
def test_real_solutions(reference_data: Path) -> None:
    folder = reference_data / "su2"
    solutions = {
        "mesh_wedge_inv": "wedge_solution_flow.csv",
        "mesh_NACA0012_inv.su2": "naca0012_fixed_cl_solution_flow.csv",
    }
    wedge = read_files(
        folder / "mesh_wedge_inv.su2", ReadOptions(solutions={"mesh_wedge_inv": solutions["mesh_wedge_inv"]})
    )
    assert wedge["Pressure"].values[0] == 1.000048476403960e05
    assert wedge["Mach"].values[0] == 2.002795455164331e00
    naca = read_files(
        folder / "mesh_NACA0012_inv.su2",
        ReadOptions(
            solutions={"mesh_NACA0012_inv.su2": solutions["mesh_NACA0012_inv.su2"]}, units={"Pressure": "Pa"}
        ),
    )
    assert naca["Pressure"].values[0] == 1.438979106786401e05
    assert naca["Pressure"].attrs["units"] == "Pa"
    with pytest.raises(
        InputError, match=r"naca0012_fixed_cl_solution_flow\.csv has 5233 rows, expected 3750"
    ):
        read_files(
            folder / "mesh_wedge_inv.su2",
            ReadOptions(solutions={"mesh_wedge_inv": solutions["mesh_NACA0012_inv.su2"]}),
        )
