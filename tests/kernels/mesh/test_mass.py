import numpy as np
import pytest

from kernels.mesh.mass import mass_matrix
from kernels.mesh.topology import cell_measures


@pytest.mark.parametrize("kind", ["plane", "surface", "tetrahedra"])
def test_products_of_linear_fields_are_integrated_exactly(meshes, kind):
    points, cells = meshes[kind]
    mass = mass_matrix(points, cells)
    measure = np.abs(cell_measures(points, cells))
    assert mass.sum() == pytest.approx(measure.sum(), rel=1e-13)
    # exact for x_i x_j: edge midpoints on triangles; on tetrahedra -1/20 at corners, 1/5 at midpoints
    vertices = points[cells]
    size = cells.shape[1]
    middle = np.stack([(vertices[:, i] + vertices[:, j]) / 2 for i in range(size) for j in range(i)], axis=1)
    corner_weight, middle_weight = (0, 1 / 3) if size == 3 else (-1 / 20, 1 / 5)
    expected = corner_weight * np.einsum("m,mki,mkj->ij", measure, vertices, vertices)
    expected += middle_weight * np.einsum("m,mki,mkj->ij", measure, middle, middle)
    np.testing.assert_allclose(points.T @ (mass @ points), expected, atol=1e-13)


@pytest.mark.parametrize("kind", ["plane", "surface", "tetrahedra"])
def test_it_is_symmetric_positive_definite_and_blind_to_orientation(meshes, kind):
    points, cells = meshes[kind]
    mass = mass_matrix(points, cells)
    dense = mass.toarray()
    np.testing.assert_allclose(dense, dense.T, atol=1e-18)
    assert np.linalg.eigvalsh(dense).min() > 0
    np.testing.assert_allclose(mass_matrix(points, cells[:, ::-1]).toarray(), dense, atol=1e-17)


def test_one_triangle():
    mass = mass_matrix([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2]]).toarray()
    np.testing.assert_allclose(mass * 24, [[2, 1, 1], [1, 2, 1], [1, 1, 2]])
