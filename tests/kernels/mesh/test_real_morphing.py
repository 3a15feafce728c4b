"""Morphing and transfer of published meshes: flips, round trips, airfoils, a car's surface."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.boundary import PinRule
from kernels.mesh.control_points import match_airfoil
from kernels.mesh.locate import Locator
from kernels.mesh.quality import morph_quality, refuse_inverted
from kernels.mesh.transfer import interpolation_operator
from kernels.mesh.tutte import WEIGHTS, disk_map

pytestmark = pytest.mark.reference_data


@pytest.fixture(scope="module")
def su2(reference_data, su2_reader):
    return lambda name: su2_reader.read_su2(
        reference_data / "su2" / f"mesh_{name}.su2", su2_reader.first_diagonal
    )


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", ["wedge_inv", "bump_in_channel", "channel_256x128"])
def test_no_cell_turns_over_on_the_way_to_the_disk(su2, name, weights):
    points, cells = su2(name)
    found = disk_map(points, cells, PinRule("corners"), weights)
    assert found.walk.pins.size == 4
    assert morph_quality(points, cells, found.mapped).inverted == 0


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(
    ("disk", "bar"), [("wedge_inv", 1e-14), ("channel_256x128", 1.5e-3), ("bump_in_channel", 1.2e-2)]
)
def test_round_trip_of_an_oblique_shock(su2, reference_data, disk, bar, weights):
    table = np.genfromtxt(reference_data / "su2" / "wedge_solution_flow.csv", delimiter=",", skip_header=1)
    points, cells = su2("wedge_inv")
    np.testing.assert_allclose(table[:, 1:3], points, atol=1e-9)
    pressure = table[:, 7]
    rule = PinRule("none") if disk == "bump_in_channel" else PinRule("corners")
    own = disk_map(points, cells, rule, weights).mapped
    common_points, common_cells = su2(disk)
    common = disk_map(common_points, common_cells, rule, weights).mapped
    forward = interpolation_operator(Locator(own, cells), common, outside="clamp").matrix
    back = interpolation_operator(Locator(common, common_cells), own, outside="clamp").matrix
    error = np.sqrt(np.mean((pressure - back @ (forward @ pressure)) ** 2)) / np.abs(pressure).max()
    assert error <= bar


@pytest.fixture(scope="module")
def airfoils(reference_data, su2_reader):
    both = su2_reader.Airfoils(reference_data / "su2")
    foil, far, target = both.controls()
    assert foil.size == 200
    assert far.size == 50
    return both, foil, far, target


@pytest.mark.parametrize(("method", "bar"), [("rbf", 0.55), ("laplacian", 0.63)])
def test_one_airfoil_becomes_another(airfoils, method, bar):
    both, _, far, _ = airfoils
    points, cells = both.points, both.cells
    moved, error = both.becomes(method)
    quality = morph_quality(points, cells, moved)
    assert quality.inverted == 0
    assert quality.smallest_ratio >= bar
    assert error <= 1e-8
    np.testing.assert_allclose(moved[far], points[far], atol=1e-8)


@pytest.mark.parametrize("method", ["rbf", "laplacian"])
def test_a_mis_ordered_airfoil_is_refused(airfoils, method):
    both, foil, far, target = airfoils
    points, cells = both.points, both.cells
    for wrong in (np.roll(target, 1, axis=0), np.roll(target, -4, axis=0), np.roll(target[::-1], 1, axis=0)):
        with pytest.raises(InputError, match=r"RAE2822: the airfoil (starts at|runs the other way)"):
            match_airfoil(points[foil], wrong, name="RAE2822")
    matched = np.roll(match_airfoil(points[foil], target), 5, axis=0)
    moved, _ = both.morph(method, foil, far, matched)
    with pytest.raises(InputError, match=r"RAE2822: the morphing turns over \d+ of 10216 cells"):
        refuse_inverted(morph_quality(points, cells, moved), len(cells), "RAE2822")


def car(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    path = (
        folder / "plaid_cars" / "data" / "train" / f"sample_{number:09d}" / "meshes" / "mesh_000000000.cgns"
    )
    with h5py.File(path) as file:
        zone = file["Base_2_3/Zone"]
        points = np.stack([zone[f"GridCoordinates/Coordinate{a}/ data"][:] for a in "XYZ"], axis=1)
        cells = zone["Elements_TRI_3/ElementConnectivity/ data"][:].reshape(-1, 3) - 1
        pressure = zone["VertexFields/pressure/ data"][:]
    return points.astype(float), cells.astype(np.int64), pressure.astype(float)


def test_a_cars_roof_maps_to_the_disk(reference_data):
    points, cells, pressure = car(reference_data, 0)
    with pytest.raises(InputError, match="car: the map to the disk needs one boundary loop, the mesh has 0"):
        disk_map(points, cells, name="car")
    # All cells within some edges of one vertex.
    near = np.zeros(len(points), dtype=bool)
    near[np.argmax(points[:, 1])] = True
    for _ in range(12):
        touched = near[cells].any(axis=1)
        near[cells[touched].ravel()] = True
    kept = cells[touched]
    nodes, numbered = np.unique(kept, return_inverse=True)
    numbered = numbered.reshape(kept.shape)
    for weights in WEIGHTS:
        found = disk_map(points[nodes], numbered, PinRule("none"), weights)
        assert morph_quality(points[nodes], numbered, found.mapped).inverted == 0
        operator = interpolation_operator(Locator(found.mapped, numbered), found.mapped, outside="clamp")
        np.testing.assert_allclose(operator.matrix @ pressure[nodes], pressure[nodes], rtol=1e-13, atol=1e-12)
