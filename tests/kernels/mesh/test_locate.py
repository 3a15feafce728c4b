import numpy as np
import pytest
from matplotlib.tri import LinearTriInterpolator, Triangulation

from kernels.errors import InputError
from kernels.mesh import _scalar
from kernels.mesh.locate import Locator

KINDS = ["plane", "surface", "tetrahedra"]


def around(points, count, seed=0, stretch=1.3):
    """Random targets in a box somewhat larger than that of the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 * stretch
    return middle + half * np.random.default_rng(seed).uniform(-1, 1, (count, points.shape[1]))


def closest_points(locator, found):
    return np.einsum("qk,qkd->qd", found.barycentric, locator.points[locator.cells[found.cell]])


@pytest.mark.parametrize("kind", KINDS)
def test_distance_is_that_of_brute_force(meshes, brute_distance, kind):
    points, cells = meshes[kind]
    targets = around(points, 150)
    locator = Locator(points, cells)
    found = locator.locate(targets)
    expected = brute_distance(points, cells, targets)
    np.testing.assert_allclose(found.distance, expected, atol=1e-13)
    # and the barycentrics name the very point at that distance
    gap = np.linalg.norm(closest_points(locator, found) - targets, axis=1)
    np.testing.assert_allclose(gap, expected, atol=1e-13)
    np.testing.assert_array_equal(found.outside, expected > 1e-12)
    assert found.outside.sum() > 10
    if kind != "surface":
        assert found.outside.sum() < 140
        assert np.all(found.distance[~found.outside] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_barycentrics_are_a_partition_of_unity_within_bounds(meshes, kind):
    points, cells = meshes[kind]
    found = Locator(points, cells).locate(around(points, 500, seed=1))
    assert np.abs(found.barycentric.sum(axis=1) - 1).max() < 4e-16
    assert found.barycentric.min() >= 0
    assert found.barycentric.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_and_cell_centres_lie_inside_their_cells(meshes, kind):
    points, cells = meshes[kind]
    locator = Locator(points, cells)
    nodes = locator.locate(points)
    assert not nodes.outside.any()
    assert np.all((locator.cells[nodes.cell] == np.arange(len(points))[:, None]).any(axis=1))
    centres = locator.locate(points[cells].mean(axis=1))
    np.testing.assert_array_equal(centres.cell, np.arange(len(cells)))
    np.testing.assert_allclose(centres.barycentric, 1 / cells.shape[1], atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_orientation_and_order_of_cells_do_not_matter(meshes, kind):
    points, cells = meshes[kind]
    targets = around(points, 200, seed=2)
    shuffle = np.random.default_rng(3).permutation(len(cells))
    turned = cells[shuffle][:, ::-1]
    one, other = Locator(points, cells).locate(targets), Locator(points, turned).locate(targets)
    np.testing.assert_allclose(one.distance, other.distance, atol=1e-15)
    np.testing.assert_array_equal(one.outside, other.outside)


def test_no_point_falls_between_neighbouring_triangles():
    # points on and one bit beside the common edge of two needles, at an awkward offset
    points = np.array([[1e3, 0.1], [1e3 + 1, 0.3], [1e3 + 0.5, 0.2 + 1e-6], [1e3 + 0.5, 0.2 - 1e-6]])
    cells = np.array([[0, 1, 2], [1, 0, 3]])
    t = np.random.default_rng(0).uniform(0, 1, 2000)[:, None]
    on_edge = points[0] + t * (points[1] - points[0])
    assert np.all(Locator(points, cells).locate(on_edge).distance == 0)


def test_surface_tolerance_is_of_the_nearest_cell_and_can_be_given(meshes):
    points, cells = meshes["surface"]
    locator = Locator(points, cells)
    corners = points[cells[7]]
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    edge = max(np.linalg.norm(corners[i] - corners[i - 1]) for i in range(3))
    target = corners.mean(axis=0) + np.array([[0.5e-6], [2e-6]]) * edge * normal
    np.testing.assert_array_equal(locator.locate(target).outside, [False, True])
    np.testing.assert_allclose(locator.locate(target).distance, [0.5e-6 * edge, 2e-6 * edge], rtol=1e-6)
    np.testing.assert_array_equal(locator.locate(target, tolerance=1e-9 * edge).outside, [True, True])
    np.testing.assert_array_equal(locator.locate(target, tolerance=1.0).outside, [False, False])


def test_cells_without_measure_are_found_as_what_they_are():
    locator = Locator(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), np.array([[0, 1, 2]]))
    found = locator.locate([[1.5, 0.0], [1.0, 2.0], [5.0, 0.0]])
    np.testing.assert_allclose(found.distance, [0, 2, 3])
    point = Locator(np.zeros((4, 3)), np.array([[0, 1, 2, 3]])).locate([[0.0, 3.0, 4.0]])
    np.testing.assert_allclose(point.distance, [5.0])


def test_compiled_and_plain_python_agree(meshes):
    # the scalar functions below the walk: the Python source is the reference
    rng = np.random.default_rng(5)
    for name, count in (
        ("closest_in_plane_triangle", 6),
        ("closest_in_space_triangle", 9),
        ("closest_in_tetrahedron", 12),
    ):
        function = getattr(_scalar, name)
        for row in rng.normal(size=(50, count)):
            np.testing.assert_allclose(function(*row), function.py_func(*row), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((3, 3)), r"shape \(3, 3\); expected \(q, 2\)"),
        (np.zeros(2), r"shape \(2,\); expected \(q, 2\)"),
        ([[0.0, np.nan], [0.0, 0.0]], "1 of 2 targets have NaN .* number 0"),
    ],
)
def test_bad_targets_are_refused(meshes, targets, message):
    with pytest.raises(InputError, match=message):
        Locator(*meshes["plane"]).locate(targets)


def test_bad_tolerance_is_refused(meshes):
    with pytest.raises(InputError, match=r"tolerance is -1.* expected a distance >= 0"):
        Locator(*meshes["plane"]).locate([[0.0, 0.0]], tolerance=-1.0)


def test_no_targets_give_nothing(meshes):
    found = Locator(*meshes["tetrahedra"]).locate(np.zeros((0, 3)))
    assert [len(part) for part in found] == [0, 0, 0, 0]
    assert found.barycentric.shape == (0, 4)


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("mesh_NACA0012_inv.su2", "mesh_NACA0012_lam_hybrid_v1.su2"),
        ("mesh_NACA0012_lam_hybrid_v1.su2", "mesh_NACA0012_inv.su2"),
        ("mesh_RAE2822_turb.su2", "mesh_NACA0012_inv.su2"),
    ],
)
def test_real_meshes_agree_with_matplotlib(read_mesh, source, target):
    points, cells = read_mesh(source)
    targets, _ = read_mesh(target)
    locator = Locator(points, cells)
    found = locator.locate(targets)
    field = np.sin(3 * points[:, 0]) + points[:, 1] ** 2
    expected = LinearTriInterpolator(Triangulation(*points.T, cells), field)(*targets.T)
    np.testing.assert_array_equal(found.outside, np.ma.getmaskarray(expected))
    inside = ~found.outside
    value = np.sum(found.barycentric * field[locator.cells[found.cell]], axis=1)
    np.testing.assert_allclose(value[inside], expected.compressed(), atol=1e-7 * np.abs(field).max())
    assert 50 < found.outside.sum() < 200


@pytest.mark.reference_data
def test_distances_of_outside_nodes_of_a_real_mesh_are_exact(read_mesh, brute_distance):
    points, cells = read_mesh("mesh_NACA0012_inv.su2")
    targets, _ = read_mesh("mesh_NACA0012_lam_hybrid_v1.su2")
    found = Locator(points, cells).locate(targets)
    # an outside node is nearest to the boundary, so brute force over boundary edges alone is enough
    from kernels.mesh.topology import boundary_facets

    expected = brute_distance(points, boundary_facets(cells), targets[found.outside])
    np.testing.assert_allclose(found.distance[found.outside], expected, atol=1e-14)
