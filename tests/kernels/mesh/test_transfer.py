import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.locate import Locator
from kernels.mesh.transfer import interpolation_operator


def inside_targets(points, cells, count=300, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(cells.shape[1]), count)
    return np.einsum("qk,qkd->qd", weights, points[cells[rng.integers(0, len(cells), count)]])


@pytest.mark.parametrize("kind", ["plane", "surface", "tetrahedra"])
def test_linear_fields_are_reproduced(meshes, kind):
    points, cells = meshes[kind]
    targets = inside_targets(points, cells)
    transfer = interpolation_operator(Locator(points, cells), targets)
    slope = np.arange(1.0, 1 + points.shape[1])
    np.testing.assert_allclose(transfer.apply(points @ slope + 3), targets @ slope + 3, rtol=0, atol=1e-12)
    np.testing.assert_allclose(transfer.matrix.sum(axis=1), 1, atol=4e-16)
    assert transfer.matrix.shape == (300, len(points))
    assert transfer.matrix.nnz == 300 * cells.shape[1]


def test_own_nodes_give_the_field_back(meshes):
    points, cells = meshes["plane"]
    field = np.random.default_rng(0).normal(size=len(points))
    np.testing.assert_array_equal(interpolation_operator(Locator(points, cells), points).apply(field), field)


def test_clamp_takes_the_closest_point_and_counts_it():
    locator = Locator(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]))
    transfer = interpolation_operator(locator, [[0.25, 0.25], [0.5, -2.0], [-1.0, -1.0]], outside="clamp")
    np.testing.assert_allclose(transfer.apply(np.array([0.0, 10.0, 20.0])), [7.5, 5.0, 0.0])
    np.testing.assert_array_equal(transfer.outside, [False, True, True])
    np.testing.assert_allclose(transfer.distance, [0, 2, np.sqrt(2)])


def test_nan_marks_outside_targets_in_every_component():
    locator = Locator(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]))
    transfer = interpolation_operator(locator, [[0.25, 0.25], [3.0, 3.0]], outside="nan")
    vector = transfer.apply(np.array([[0, 1], [10, 1], [20, 1]]))
    np.testing.assert_allclose(vector, [[7.5, 1.0], [np.nan, np.nan]])
    assert transfer.apply(np.ones((3, 2, 4))).shape == (2, 2, 4)


def test_refuse_names_count_distance_and_remedy(meshes):
    targets = [[0.0, 0.0], [0.5, 0.5], [2.0, 0.0]]
    message = "2 of 3 targets lie outside .* number 2 at a distance of 1; .*outside='clamp'.*outside='nan'"
    with pytest.raises(InputError, match=message):
        interpolation_operator(Locator(*meshes["plane"]), targets)
    assert interpolation_operator(Locator(*meshes["plane"]), targets, tolerance=2.0).outside.sum() == 0


def test_unknown_mode_and_wrong_field_are_refused(meshes):
    locator = Locator(*meshes["plane"])
    with pytest.raises(InputError, match="outside is 'extrapolate'; expected one of 'refuse', 'clamp'"):
        interpolation_operator(locator, [[0.5, 0.5]], outside="extrapolate")
    with pytest.raises(InputError, match=r"shape \(3,\); expected \(168, ...\)"):
        interpolation_operator(locator, [[0.5, 0.5]]).apply(np.ones(3))


@pytest.mark.reference_data
def test_real_fields_are_carried_with_the_outside_nodes_counted(read_mesh, reference_data):
    points, cells = read_mesh("mesh_NACA0012_inv.su2")
    targets, _ = read_mesh("mesh_NACA0012_lam_hybrid_v1.su2")
    table = np.genfromtxt(
        reference_data / "su2" / "naca0012_fixed_cl_solution_flow.csv", delimiter=",", names=True
    )
    np.testing.assert_allclose(np.stack([table["x"], table["y"]], axis=1), points, atol=1e-12)
    with pytest.raises(InputError, match=r"96 of 8741 targets lie outside the mesh, .* distance of 5.3e-06"):
        interpolation_operator(Locator(points, cells), targets)
    transfer = interpolation_operator(Locator(points, cells), targets, outside="clamp")
    mach = transfer.apply(table["Mach"])
    assert transfer.outside.sum() == 96
    assert table["Mach"].min() <= mach.min() < mach.max() <= table["Mach"].max()
