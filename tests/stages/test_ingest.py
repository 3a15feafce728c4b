"""Raw sets become canonical, whatever the files hold."""

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import xarray as xr
from pydantic import ValidationError

from catalogs.formats.reader import ReadOptions, read_files
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig, SplitRule, _part
from stages.ragged import concat, take
from stages.variables import TEST
from tests.catalogs.formats_files import SQUARE, grid, two_triangles_and_a_quad


def raw_of(tmp_path: Path, *meshes: pv.UnstructuredGrid) -> xr.Dataset:
    for i, mesh in enumerate(meshes):
        mesh.save(tmp_path / f"m{i}.vtu")
    return read_files(tmp_path)


def refused(tmp_path: Path, mesh: pv.UnstructuredGrid, message: str, **config: object) -> None:
    with pytest.raises(InputError, match=message):
        STAGE(IngestConfig(**config), raw=raw_of(tmp_path, mesh))


def test_plane_meshes_lose_their_third_axis(tmp_path: Path) -> None:
    out = STAGE(IngestConfig(), raw=raw_of(tmp_path, two_triangles_and_a_quad()))
    assert out["x"].shape == (6, 2)
    assert "U_3" not in out
    assert out["connectivity"].values.tolist()[:2] == [[0, 1, 2], [0, 2, 3]]
    assert out["q"].values.tolist() == [1.0, 2.0, 3.0, 3.0]
    assert out["split_cells"].values.tolist() == [1]
    kept = STAGE(IngestConfig(planar="keep"), raw=raw_of(tmp_path, two_triangles_and_a_quad()))
    assert kept["x"].shape == (6, 3)
    assert "U_3" in kept


def test_one_curved_sample_keeps_all_in_space(tmp_path: Path) -> None:
    bent = two_triangles_and_a_quad()
    bent.points[0, 2] = 0.5
    raw = raw_of(tmp_path, two_triangles_and_a_quad(), bent)
    whole = STAGE(IngestConfig(), raw=raw)
    assert whole.sizes["axis"] == 3
    parts = [STAGE(IngestConfig(), raw=take(raw, [i])) for i in (0, 1)]
    assert concat(parts).identical(whole)


def test_the_shorter_diagonal_is_cut(tmp_path: Path) -> None:
    points = [[0, 0, 0], [2, 1, 0], [3, 3, 0], [0, 1, 0]]
    out = STAGE(IngestConfig(), raw=raw_of(tmp_path, grid(points, [(9, [0, 1, 2, 3])])))
    assert all({1, 3} <= set(cell) for cell in out["connectivity"].values.tolist())


def test_clockwise_cells_are_turned_and_counted(tmp_path: Path) -> None:
    mesh = grid(SQUARE[:4], [(5, [0, 2, 1]), (5, [0, 2, 3])])
    out = STAGE(IngestConfig(), raw=raw_of(tmp_path, mesh))
    x = out["x"].values[out["connectivity"].values]
    a, b = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]
    assert np.all(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0)
    assert out["flipped_cells"].values.tolist() == [1]


def test_length_units_become_metres(tmp_path: Path) -> None:
    out = STAGE(IngestConfig(length_units="mm"), raw=raw_of(tmp_path, two_triangles_and_a_quad()))
    np.testing.assert_allclose(out["x"].values, 1e-3 * SQUARE[:, :2], rtol=1e-15)
    assert out["x"].attrs["units"] == "m"


def test_units_outputs_and_fields_of_the_config(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, two_triangles_and_a_quad())
    out = STAGE(IngestConfig(units={"U": "m", "T": "K"}, outputs=("drag",), fields=("U", "T")), raw=raw)
    assert (out["U_1"].attrs["units"], out["T"].attrs["units"]) == ("m", "K")
    assert out["drag"].attrs["role"] == "scalar"
    assert "q" not in out
    assert STAGE(IngestConfig(outputs=()), raw=raw)["drag"].attrs["role"] == "parameter"
    raw["T"].attrs["units"] = "degC"
    with pytest.raises(InputError, match=r"'T' has units 'degC' in the files and 'K' in the config"):
        STAGE(IngestConfig(units={"T": "K"}), raw=raw)
    with pytest.raises(InputError, match=r"units are given for \['V'\], which are not in the set"):
        STAGE(IngestConfig(units={"V": "K"}), raw=raw)
    with pytest.raises(
        InputError, match=r"outputs \['lift'\] are not in the set, expected some of \['drag'\]"
    ):
        STAGE(IngestConfig(outputs=("lift",)), raw=raw)
    with pytest.raises(InputError, match=r"fields \['V'\] are not in the set"):
        STAGE(IngestConfig(fields=("V",)), raw=raw)
    with pytest.raises(ValidationError, match="feilds"):
        IngestConfig(feilds=("T",))


def fixed_square(tmp_path: Path) -> xr.Dataset:
    """Two squares: u is g where the nodes are marked."""
    meshes = []
    for size in (1.0, 2.0):
        mesh = two_triangles_and_a_quad()
        x = mesh.points[:, 0].astype(float)
        marks = (x == 0.0).astype(float)
        mesh.point_data.clear()
        mesh.cell_data.clear()
        mesh.point_data.update({"g": size * (1.0 + x), "u": size * (1.0 + x + x**2), "marks": marks})
        mesh.point_data["w"] = size * x
        meshes.append(mesh)
    return raw_of(tmp_path, *meshes)


def test_inputs_and_prescribed_values_of_operators(tmp_path: Path) -> None:
    raw = fixed_square(tmp_path)
    config = IngestConfig(inputs=("g",), dirichlet="marks", prescribes={"g": "u"}, units={"u": "K", "g": "K"})
    out = STAGE(config, raw=raw)
    assert {name: out[name].attrs["role"] for name in ("g", "u", "w")} == {
        "g": "input", "u": "field", "w": "field",
    }  # fmt: skip
    assert out["g"].attrs["prescribes"] == "u"
    assert "marks" not in out
    assert out["dirichlet"].values.tolist() == [int(x == 0.0) for x in out["x"].values[:, 0]]
    assert 0 < int(out["dirichlet"].sum()) < out.sizes["node"]
    parts = [STAGE(config, raw=take(raw, [i])) for i in (0, 1)]
    xr.testing.assert_identical(concat(parts), out)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"inputs": ("f",)},
            r"inputs \['f'\] are not in the set, expected some of \['g', 'marks', 'u', 'w'\]",
        ),
        ({"inputs": ("g",), "dirichlet": "f"}, "dirichlet is 'f', expected one of the nodal fields"),
        ({"inputs": ("g",), "dirichlet": "marks"}, r"m0: 'u' is 1 at node \d+, which 'dirichlet' marks"),
        ({"inputs": ("g",), "prescribes": {"g": "u"}}, r"\['g'\] prescribe outputs, but no nodes are marked"),
        (
            {"dirichlet": "marks", "prescribes": {"g": "u"}},
            r"says 'g' -> 'u', expected one of the inputs \[\] -> one of the outputs \['g', 'u', 'w'\]",
        ),
    ],
)
def test_inputs_and_marks_that_are_not_there_are_refused(tmp_path: Path, config: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        STAGE(IngestConfig(**config), raw=fixed_square(tmp_path))


def test_the_split_does_not_depend_on_the_cut(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, *[two_triangles_and_a_quad()] * 20)
    config = IngestConfig(split=SplitRule(test_fraction=0.5, seed=3))
    whole = STAGE(config, raw=raw)
    assert 3 < int(np.sum(whole["split"].values == TEST)) < 17
    for size in (1, 7):
        parts = [STAGE(config, raw=take(raw, range(i, min(i + size, 20)))) for i in range(0, 20, size)]
        assert concat(parts).identical(whole)


def test_constant_and_linear_cell_fields_to_nodes(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.cell_data["q"] = np.full(3, 7.0)
    out = STAGE(IngestConfig(cell_to_node=True), raw=raw_of(tmp_path, mesh))
    assert out["q"].dims == ("node",)
    np.testing.assert_allclose(out["q"].values, 7.0, rtol=1e-15)


def quadratic() -> pv.UnstructuredGrid:
    points = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]]
    mesh = grid(points, [(22, [0, 1, 2, 3, 4, 5])])
    mesh.point_data["T"] = np.arange(6.0)
    return mesh


def test_quadratic_cells_are_refused_or_reduced(tmp_path: Path) -> None:
    message = (
        r"sample 'm0' has 1 quadratic triangle cells, expected linear ones: .*set quadratic = 'linearise'"
    )
    refused(tmp_path, quadratic(), message)
    out = STAGE(IngestConfig(quadratic="linearise"), raw=raw_of(tmp_path, quadratic()))
    assert out["connectivity"].values.tolist() == [[0, 1, 2]]
    assert out["T"].values.tolist() == [0.0, 1.0, 2.0]
    assert out["dropped_nodes"].values.tolist() == [3]


def test_polygons(tmp_path: Path) -> None:
    five = [[0, 0, 0], [1, 0, 0], [1.5, 1, 0], [0.5, 2, 0], [-0.5, 1, 0]]
    message = r"sample 'm0' has cells that are not handled \(1 polygon among 1 polygon\), expected triangles"
    refused(tmp_path, grid(five, [(7, [0, 1, 2, 3, 4])]), message)
    out = STAGE(IngestConfig(), raw=raw_of(tmp_path, grid(SQUARE[:4], [(7, [0, 1, 2, 3])])))
    assert out.sizes["cell"] == 2


def test_solid_cells_other_than_tetrahedra(tmp_path: Path) -> None:
    points = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [2, 2, 2]]
    mesh = grid(points, [(13, [0, 1, 2, 3, 4, 5]), (10, [3, 4, 5, 6])])
    message = r"cells that are not handled \(1 wedge among 1 tetrahedron, 1 wedge\), expected tetrahedra only"
    refused(tmp_path, mesh, message)


def test_tetrahedra_are_turned(tmp_path: Path) -> None:
    mesh = grid([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [(10, [0, 2, 1, 3])])
    out = STAGE(IngestConfig(), raw=raw_of(tmp_path, mesh))
    assert out["flipped_cells"].values.tolist() == [1]
    assert out["facet_node"].shape == (0, 3)


def test_nodes_of_no_cell(tmp_path: Path) -> None:
    mesh = grid(np.vstack([SQUARE[:4], [[9.0, 9.0, 0.0]]]), [(9, [0, 1, 2, 3])])
    mesh.point_data["T"] = np.arange(5.0)
    message = r"sample 'm0': 1 of 5 nodes belong to no cell, the first is node 4, .*set unused_nodes = 'drop'"
    refused(tmp_path, mesh, message)
    out = STAGE(IngestConfig(unused_nodes="drop"), raw=raw_of(tmp_path, mesh))
    assert out["T"].values.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert out["dropped_nodes"].values.tolist() == [1]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            [(5, [0, 1, 4]), (5, [0, 1, 2]), (5, [0, 2, 3])],
            r"sample 'm0': 1 of 3 cells have no measure, the first is cell 0",
        ),
        (
            [(5, [0, 1, 2]), (5, [0, 2, 3]), (5, [2, 0, 1])],
            r"sample 'm0': 1 cells are given twice, such as cells 0 and 2",
        ),
        ([(9, [0, 2, 1, 3])], r"sample 'm0': 1 of 1 quads cross themselves or have no area"),
    ],
)
def test_unsound_meshes(tmp_path: Path, cells: list[tuple[int, list[int]]], message: str) -> None:
    refused(tmp_path, grid(SQUARE, cells), message, unused_nodes="drop")


def test_an_edge_of_three_cells(tmp_path: Path) -> None:
    points = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]]
    mesh = grid(points, [(5, [0, 1, 2]), (5, [1, 0, 3]), (5, [0, 1, 4])])
    refused(tmp_path, mesh, r"sample 'm0': 1 edges belong to more than two cells, such as \[0, 1\] of 3")


def test_nan_in_coordinates_fields_and_scalars(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.points[2, 1] = np.nan
    refused(
        tmp_path, mesh, r"sample 'm0': 1 of 6 nodes have NaN or infinite coordinates, the first is node 2"
    )
    mesh = two_triangles_and_a_quad()
    mesh.point_data["T"][:2] = [np.nan, np.inf]
    refused(
        tmp_path, mesh, r"sample 'm0': field 'T' has 2 of 6 values that are NaN or infinite, expected numbers"
    )
    mesh = two_triangles_and_a_quad()
    mesh.cell_data["q"][2] = np.nan
    refused(tmp_path, mesh, r"sample 'm0': field 'q' has 2 of 4 values that are NaN or infinite")
    mesh = two_triangles_and_a_quad()
    mesh.field_data["drag"] = np.array([np.nan])
    refused(
        tmp_path, mesh, r"sample 'm0': scalar 'drag' is nan, expected a finite number \(1 samples in all\)"
    )


def test_a_set_of_two_dimensions(tmp_path: Path) -> None:
    tet = grid([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [(10, [0, 1, 2, 3])])
    with pytest.raises(InputError, match=r"sample 'm1' has cells of dimension 3, sample 'm0' of dimension 2"):
        raw_of(tmp_path, grid(SQUARE, [(9, [0, 1, 2, 3])]), tet)
    (tmp_path / "m1.vtu").unlink()
    lines = grid(SQUARE[:2], [(3, [0, 1])])
    refused(tmp_path, lines, r"sample 'm0' has cells of dimension 1 \(1 line\), expected dimension 2 or 3")


def test_a_set_that_is_not_raw(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, two_triangles_and_a_quad())
    with pytest.raises(InputError, match=r"raw has no \['cell_type'\], expected a raw set"):
        STAGE(IngestConfig(), raw=raw.drop_vars("cell_type"))


def test_set_wide_facts_are_found_where_the_reader_gave_none(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, two_triangles_and_a_quad())
    raw.attrs = {}
    assert STAGE(IngestConfig(), raw=raw).sizes["axis"] == 2


@pytest.mark.reference_data
def test_a_real_mesh_with_its_fields(reference_data: Path) -> None:
    options = ReadOptions(solutions={"mesh_wedge_inv": "wedge_solution_flow.csv"})
    raw = read_files(reference_data / "su2" / "mesh_wedge_inv.su2", options)
    out = STAGE(IngestConfig(units={"Pressure": "Pa"}), raw=raw)
    np.testing.assert_array_equal(out["Pressure"].values, raw["Pressure"].values)
    assert out["split_cells"].values.tolist() == [3626]
    assert out["facet_count"].values.tolist() == [246]
    corners = out["x"].values[out["connectivity"].values]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # channel of 1.5 x 1 over a ramp of 10 degrees from x = 0.5: the cells fill it exactly
    area = 1.5 - 0.5 * 1.0 * np.tan(np.deg2rad(10.0))
    assert 0.5 * np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) == pytest.approx(area, rel=1e-4)


def test_the_fraction_is_that_of_the_test_part() -> None:
    parts = [_part(f"bar-{i}", SplitRule(test_fraction=0.1)) for i in range(400)]
    assert 20 < parts.count(TEST) < 60
    assert TEST not in [_part(f"bar-{i}", SplitRule(test_fraction=0.0)) for i in range(50)]
