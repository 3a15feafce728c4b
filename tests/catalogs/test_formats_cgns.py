"""CGNS files by the SIDS layout."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import pyvista as pv

from catalogs.formats.reader import ReadOptions, read_files
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from tests.catalogs.formats_files import SQUARE, node, section, write_cgns


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("mixed", [False, True])
def test_quadrilaterals_with_conditions_and_solutions(tmp_path: Path, kind: type, mixed: bool) -> None:
    raw = read_files(write_cgns(tmp_path / "m.cgns", kind, mixed))
    np.testing.assert_array_equal(raw["x"].values, SQUARE[:, :2])
    assert raw["cell_type"].values.tolist() == [9, 9]
    assert raw["cell_node"].values.tolist() == [0, 1, 2, 3, 1, 4, 5, 2]
    assert raw["facet_tag"].attrs["flag_meanings"] == "Left Right Walls"
    tagged = {}
    for tag, nodes in zip(raw["facet_tag"].values, raw["facet_node"].values, strict=True):
        tagged.setdefault(int(tag), []).append(sorted(nodes.tolist()))
    assert tagged == {0: [[0, 3]], 1: [[4, 5]], 2: [[0, 1], [1, 4]]}
    assert raw["pressure"].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert raw["pressure"].attrs["units"] == "kg m-1 s-2"
    assert raw["q"].dims == ("cell",)
    assert raw["angle_in"].values.tolist() == [12.5]
    assert raw.attrs["notes"] == ["m: skipped Global/history, which is no single number"]


def test_cell_fields_follow_both_halves(tmp_path: Path) -> None:
    raw = read_files(write_cgns(tmp_path / "m.cgns"))
    out = STAGE(IngestConfig(), raw=raw)
    assert out["q"].values.tolist() == [10.0, 10.0, 20.0, 20.0]
    nodal = STAGE(IngestConfig(cell_to_node=True), raw=raw)
    assert nodal["q"].dims == ("node",)
    assert nodal["q"].values[[0, 3, 4, 5]].tolist() == [10.0, 10.0, 20.0, 20.0]
    assert np.all((nodal["q"].values[[1, 2]] > 10.0) & (nodal["q"].values[[1, 2]] < 20.0))


def test_tetrahedra(tmp_path: Path) -> None:
    path = tmp_path / "t.cgns"
    with h5py.File(path, "w") as file:
        base = node(file, "Base", "CGNSBase_t", np.array([3, 3], np.int32))
        zone = node(base, "Zone", "Zone_t", np.array([[4], [1], [0]], np.int32))
        coordinates = node(zone, "GridCoordinates", "GridCoordinates_t")
        for axis, values in zip("XYZ", np.eye(4, 3, k=-1).T, strict=True):
            node(coordinates, f"Coordinate{axis}", "DataArray_t", values)
        section(zone, "Volume", 10, 1, 1, [1, 2, 3, 4], np.int32)
        section(zone, "Skin", 5, 2, 1, [1, 3, 2], np.int32)
    out = STAGE(IngestConfig(), raw=read_files(path))
    assert out["connectivity"].values.tolist() == [[0, 1, 2, 3]]
    assert out["facet_node"].values.tolist() == [[0, 2, 1]]
    assert out["facet_tag"].attrs["flag_meanings"] == "Skin"


def test_coordinates_in_other_units_become_metres(tmp_path: Path) -> None:
    path = write_cgns(tmp_path / "m.cgns")
    names = "".join(name.ljust(32) for name in ("Kilogram", "Millimeter", "Second", "Kelvin", "Radian"))
    with h5py.File(path, "a") as file:
        node(file["Base"], "DimensionalUnits", "DimensionalUnits_t", names)
    raw = read_files(path)
    np.testing.assert_allclose(raw["x"].values, 1e-3 * SQUARE[:, :2], rtol=1e-15)
    assert "m: converted coordinates from Millimeter to m" in raw.attrs["notes"]


def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    whole = write_cgns(tmp_path / "m.cgns").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(20):
        data = bytearray(whole)
        at = int(generator.integers(len(data) - 64))
        data[at : at + 64] = generator.bytes(64)
        (tmp_path / "m.cgns").write_bytes(data)
        try:
            read_files(tmp_path / "m.cgns")
        except InputError as error:
            assert "m.cgns" in str(error)  # noqa: PT017


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"m\.cgns: 2 zones \(Zone, Zone1\), expected one: join them before the export"
    ):
        read_files(write_cgns(tmp_path / "m.cgns", zones=2))
    with pytest.raises(InputError, match=r"zone 'Zone' is Structured, expected Unstructured"):
        read_files(write_cgns(tmp_path / "m.cgns", zone_type="Structured"))
    write_cgns(tmp_path / "m.cgns")
    with pytest.raises(
        InputError, match=r"no base named 'Other' with a zone, expected one among Base, Global"
    ):
        read_files(tmp_path / "m.cgns", ReadOptions(base="Other"))


@pytest.mark.parametrize(
    ("place", "values", "message"),
    [
        (
            "VertexFields/pressure",
            np.arange(5.0),
            r"m\.cgns: field 'pressure' has 5 values, expected 6, one for each of the nodes",
        ),
        (
            "CellFields/q",
            np.arange(5.0),
            r"m\.cgns: field 'q' has 5 values, expected 2, one for each of the cells",
        ),
        (
            "GridCoordinates/CoordinateX",
            np.arange(5.0),
            r"m\.cgns: CoordinateX has 5 values, expected 6, one a node",
        ),
        (
            "Quads/ElementConnectivity",
            np.arange(1, 8),
            r"section 'Quads' has 7 connectivity entries, its 2 elements need 8",
        ),
        (
            "Quads/ElementConnectivity",
            np.arange(8),
            r"a cell refers to node -1 \(counted from 0\), expected numbers from 0 to 5",
        ),
        (
            "Quads",
            np.array([22, 0], np.int32),
            r"section 'Quads' holds polygons or polyhedra \(NGON_n, NFACE_n\)",
        ),
        (
            "Quads",
            np.array([40, 0], np.int32),
            r"section 'Quads' has element type 40, which is not supported",
        ),
    ],
)
def test_entries_that_do_not_fit(tmp_path: Path, place: str, values: np.ndarray, message: str) -> None:
    path = write_cgns(tmp_path / "m.cgns")
    with h5py.File(path, "a") as file:
        del file[f"Base/Zone/{place}/ data"]
        file[f"Base/Zone/{place}"].create_dataset(" data", data=values)
    with pytest.raises(InputError, match=message):
        read_files(path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    whole = write_cgns(tmp_path / "m.cgns").read_bytes()
    for part in (0.05, 0.3, 0.6, 0.9, 0.99):
        (tmp_path / "m.cgns").write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(
            InputError, match=r"m\.cgns cannot be read as CGNS/HDF5 .*: it is truncated, or of the old ADF"
        ):
            read_files(tmp_path / "m.cgns")


@pytest.mark.reference_data
def test_an_independent_reader_agrees(reference_data: Path) -> None:
    path = reference_data / "plaid_cars/data/train/sample_000000002/meshes/mesh_000000000.cgns"
    raw = read_files(path)
    reader = pv.CGNSReader(path)
    reader.load_boundary_patch = False
    reader.enable_all_point_arrays()
    other = reader.read().combine()
    np.testing.assert_array_equal(raw["x"].values, other.points)
    np.testing.assert_array_equal(raw["cell_node"].values, other.cell_connectivity)
    np.testing.assert_array_equal(raw["pressure"].values, other.point_data["pressure"])
