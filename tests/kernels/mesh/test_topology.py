import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.topology import (
    boundary_facets,
    boundary_loops,
    cell_measures,
    component_count,
    euler_characteristic,
    orient,
    split_quads,
)

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def test_measures_have_known_totals(meshes):
    points, cells = meshes["plane"]
    around = 24
    polygon = 0.5 * around * np.sin(2 * np.pi / around)
    assert cell_measures(points, cells).min() > 0
    assert cell_measures(points, cells).sum() == pytest.approx(polygon * (1 - 0.3**2), rel=1e-12)
    points, cells = meshes["tetrahedra"]
    corner = (1 - (2 / 3) ** 2) ** 3
    assert cell_measures(points, cells).min() > 0
    assert cell_measures(points, cells).sum() == pytest.approx(1 - corner, rel=1e-12)
    assert cell_measures([[0.0, 0, 0], [0, 3, 0], [0, 0, 4]], [[0, 1, 2]]) == pytest.approx([6.0])


def test_signs_follow_the_orientation():
    np.testing.assert_allclose(cell_measures(SQUARE, [[0, 1, 2], [0, 2, 1]]), [0.5, -0.5])
    tet = np.vstack([np.zeros(3), np.eye(3)])
    np.testing.assert_allclose(cell_measures(tet, [[0, 1, 2, 3], [0, 2, 1, 3]]), [1 / 6, -1 / 6])


def test_boundary_faces_of_tetrahedra_point_outwards(meshes):
    points, cells = meshes["tetrahedra"]
    faces = points[boundary_facets(cells)]
    normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]) / 2
    # Gauss: closed, and the flux of x is three times the volume
    np.testing.assert_allclose(normal.sum(axis=0), 0, atol=1e-14)
    volume = cell_measures(points, cells).sum()
    assert np.sum(normal * faces.mean(axis=1)) / 3 == pytest.approx(volume, rel=1e-12)
    assert euler_characteristic(boundary_facets(cells)) == 2


def test_every_face_of_a_tetrahedron_points_away_from_its_opposite_corner():
    tet = np.vstack([np.zeros(3), np.eye(3)])
    faces = boundary_facets([[0, 1, 2, 3]])
    assert len(faces) == 4
    for face in faces:
        a, b, c = tet[face]
        opposite = tet[6 - face.sum()]
        assert np.cross(b - a, c - a) @ (opposite - a) < 0


def test_facets_are_numbered_right_where_three_node_counts_overflow():
    # with 2^31 nodes, faces (0, 10, 11) and (4, 10, 11) would get one number modulo 2^64
    last = 2**31 - 1
    cells = np.array([[0, 10, 11, last], [4, 10, 11, last]])
    assert len(boundary_facets(cells)) == 6


def test_loops_are_closed_oriented_and_ordered(meshes):
    points, cells = meshes["plane"]
    outer, inner = boundary_loops(cells, points)
    assert (len(outer), len(inner)) == (24, 24)

    def area(loop):
        x, y = points[loop].T
        return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))

    assert area(outer) > 0 > area(inner)
    np.testing.assert_allclose(np.linalg.norm(points[outer], axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(points[inner], axis=1), 0.3)


def test_the_start_of_a_loop_follows_the_shape_and_not_the_numbering(meshes):
    points, cells = meshes["plane"]
    outer = points[boundary_loops(cells, points)[0]]
    np.testing.assert_allclose(outer[0], [-1, 0], atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(3):
        new = rng.permutation(len(points))
        shuffled = np.empty_like(points)
        shuffled[new] = points
        again = boundary_loops(new[cells][rng.permutation(len(cells))], shuffled)[0]
        np.testing.assert_array_equal(shuffled[again], outer)


def test_a_tie_of_rounding_size_does_not_move_the_start():
    cells = np.array([[0, 1, 2], [0, 2, 3]])
    for noise in (-1e-16, 0.0, 1e-16):
        points = SQUARE + np.array([[noise, 0.0], [0, 0], [0, 0], [0, 0]])
        np.testing.assert_array_equal(boundary_loops(cells, points)[0], [0, 1, 2, 3])


def test_loops_without_points_start_at_the_least_node(meshes):
    _, cells = meshes["plane"]
    assert [int(loop[0]) for loop in boundary_loops(cells)] == [0, 144]
    assert boundary_loops(meshes["surface"][1]) == []


def test_a_boundary_that_branches_is_refused():
    with pytest.raises(InputError, match="branches at 1 nodes, the first is node 2"):
        boundary_loops([[0, 1, 2], [2, 3, 4]])
    with pytest.raises(InputError, match=r"branches at 2 nodes.*orient the cells alike"):
        boundary_loops([[0, 1, 2], [0, 3, 2]])
    with pytest.raises(InputError, match="cells are tetrahedra; expected triangles"):
        boundary_loops([[0, 1, 2, 3]])


def test_characteristic_numbers(meshes):
    assert euler_characteristic(meshes["plane"][1]) == 0
    assert euler_characteristic(meshes["surface"][1]) == 0
    assert euler_characteristic([[0, 1, 2], [0, 2, 3]]) == 1
    assert component_count(meshes["tetrahedra"][1]) == 1
    assert component_count([[0, 1, 2], [7, 8, 9]]) == 2
    with pytest.raises(InputError, match="cells are tetrahedra; expected triangles"):
        euler_characteristic([[0, 1, 2, 3]])


@pytest.mark.parametrize("kind", ["plane", "surface", "tetrahedra"])
def test_orient_undoes_random_turns(meshes, kind):
    points, cells = meshes[kind]
    turned = cells.copy()
    some = np.random.default_rng(0).random(len(cells)) < 0.5
    some[0] = False
    turned[some, -2:] = cells[some, :-3:-1]
    np.testing.assert_array_equal(orient(points, turned), cells)


def test_a_moebius_strip_cannot_be_oriented():
    strip = np.array([[i, i + 1, i + 2] for i in range(5)]) % 5
    with pytest.raises(InputError, match="Moebius strip"):
        orient(np.random.default_rng(0).random((5, 3)), strip)


def test_quads_are_cut_along_the_shorter_diagonal():
    kite = np.array([[0.0, 0.0], [2.0, -0.5], [4.0, 0.0], [2.0, 0.5]])
    np.testing.assert_array_equal(split_quads([[0, 1, 2, 3]], kite), [[0, 1, 3], [1, 2, 3]])
    np.testing.assert_array_equal(split_quads([[1, 2, 3, 0]], kite), [[1, 2, 3], [1, 3, 0]])


def test_ties_of_diagonals_are_cut_alike_whatever_the_numbering():
    for first in range(4):
        for quad in (np.roll([0, 1, 2, 3], first), np.roll([3, 2, 1, 0], first)):
            cut = split_quads([quad], SQUARE)
            assert {frozenset(t) for t in cut.tolist()} == {frozenset({0, 1, 2}), frozenset({0, 2, 3})}
            sign = 1 if np.all(np.roll([0, 1, 2, 3], first) == quad) else -1
            assert np.all(sign * cell_measures(SQUARE, cut) > 0)


def test_a_reentrant_quad_is_cut_at_its_corner_and_a_crossed_one_refused():
    arrow = np.array([[0.0, 0.0], [4.0, 3.0], [1.0, 0.0], [4.0, -3.0]])
    for quad in ([3, 2, 1, 0], [2, 1, 0, 3]):
        cut = split_quads([quad], arrow)
        np.testing.assert_allclose(np.abs(cell_measures(arrow, cut)).sum(), 3.0)
    # here the diagonal that leaves the quad is the shorter one
    dart = np.array([[0.0, 0.0], [10.0, 0.5], [9.0, 0.0], [10.0, -0.5]])
    np.testing.assert_allclose(np.abs(cell_measures(dart, split_quads([[3, 2, 1, 0]], dart))).sum(), 4.5)
    with pytest.raises(
        InputError, match=r"1 of 2 quads cross themselves .* quad 1 with nodes \[0, 2, 1, 3\]"
    ):
        split_quads([[0, 1, 2, 3], [0, 2, 1, 3]], SQUARE)
    with pytest.raises(InputError, match=r"quads have shape \(1, 3\)"):
        split_quads([[0, 1, 2]], SQUARE)


@pytest.mark.reference_data
def test_real_meshes_have_the_boundaries_of_their_files(read_mesh):
    points, cells = read_mesh("mesh_NACA0012_lam_hybrid_v1.su2")
    assert [len(loop) for loop in boundary_loops(cells, points)] == [50, 200]
    assert euler_characteristic(cells) == 0
    points, cells = read_mesh("mesh_wedge_inv.su2")
    assert [len(loop) for loop in boundary_loops(cells, points)] == [246]
    assert (len(points), len(cells), euler_characteristic(cells)) == (3750, 7252, 1)
