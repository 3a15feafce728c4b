import numpy as np
import pytest
import skfem
from spon_problems import square, uneven

from kernels.errors import InputError
from kernels.operators.spon_spaces import Space, nodal_space


def wave(x: np.ndarray) -> np.ndarray:
    return np.sin(1.5 * x).prod(axis=1) + x[:, 0] ** 2


def slope(x: np.ndarray) -> np.ndarray:
    sines, cosines = np.sin(1.5 * x), np.cos(1.5 * x)
    columns = [1.5 * cosines[:, k] * np.delete(sines, k, axis=1).prod(axis=1) for k in range(x.shape[1])]
    found = np.stack(columns, axis=1)
    found[:, 0] += 2.0 * x[:, 0]
    return found


def line(n: int) -> skfem.Mesh:
    first = np.arange(n)
    return skfem.MeshLine1(np.linspace(0, 1, n + 1)[None], np.stack([first, first + 1]))


def bricks(n: int) -> skfem.Mesh:
    return skfem.MeshTet.init_tensor(*[np.linspace(0, 1, n + 1)] * 3)


MESHES = {
    "lines": [line(n) for n in (8, 16)],
    "triangles": [skfem.MeshTri.init_sqsymmetric().refined(k) for k in (1, 2)],
    "tetrahedra": [bricks(n) for n in (5, 9)],
}


@pytest.mark.parametrize("encode", ["project", "interpolate"])
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("kind", MESHES)
def test_encoding_then_decoding_converges_at_the_rate_of_the_space(kind: str, degree: int, encode: str):
    errors = []
    for mesh in MESHES[kind]:
        space = Space(mesh.p.T, mesh.t.T, degree)
        dofs = getattr(space, encode)(wave)
        errors.append((space.l2_error(dofs, wave), space.h1_error(dofs, slope)))
    finer = mesh.nelements / MESHES[kind][0].nelements
    rates = np.log(np.array(errors[0]) / np.array(errors[1])) / np.log(finer) * mesh.dim()
    assert rates[0] >= space.degree + 1 - 0.25
    assert rates[1] >= space.degree - 0.25
    assert rates[0] <= space.degree + 1 + 0.5


@pytest.mark.parametrize("degree", [1, 2])
def test_polynomials_of_the_degree_are_exact_at_any_point_and_on_another_mesh(degree: int):
    space = Space(*uneven(), degree)

    def polynomial(x: np.ndarray) -> np.ndarray:
        return 1.0 + x[:, 0] - 2.0 * x[:, 1] + (degree - 1) * (x[:, 0] * x[:, 1] - 3.0 * x[:, 1] ** 2)

    for points in (np.random.default_rng(0).uniform(0, 1, (50, 2)), square(6)[0]):
        for dofs in (space.project(polynomial), space.interpolate(polynomial)):
            np.testing.assert_allclose(space.evaluate(dofs, points), polynomial(points), atol=1e-9)
    several = np.stack([space.interpolate(polynomial), np.ones(space.dofs)], axis=1)
    assert space.evaluate(several, points).shape == (len(points), 2)


def test_the_matrices_are_those_of_the_space():
    space = Space(*uneven(), 2)
    ones = np.ones(space.dofs)
    assert ones @ space.mass @ ones == pytest.approx(1.0, rel=1e-10)
    np.testing.assert_allclose(space.stiffness @ ones, 0.0, atol=1e-10)
    x = space.points[:, 0]
    assert x @ space.stiffness @ x == pytest.approx(1.0, rel=1e-10)
    assert x @ space.mass @ x == pytest.approx(1 / 3, rel=1e-10)
    nodes = uneven()[0]
    np.testing.assert_array_equal(space.points[: len(nodes)], nodes)


@pytest.mark.parametrize("mesh", [uneven(), square(3), square(4)], ids=["uneven", "3 x 3", "4 x 4"])
def test_nodes_of_triangles_split_in_four_are_those_of_quadratic_elements(mesh: tuple):
    fine = skfem.MeshTri(mesh[0].T, mesh[1].T).refined(1)
    random = np.random.default_rng(1)
    number = random.permutation(fine.nvertices)
    x, cells = fine.p.T[np.argsort(number)], number[fine.t.T][random.permutation(fine.nelements)]
    space = nodal_space(x, cells, 2)
    np.testing.assert_allclose(space.points, x, atol=1e-12)
    points = random.uniform(0, 1, (40, 2))
    values = x[:, 0] * x[:, 1] - 2.0 * x[:, 0] ** 2
    wanted = points[:, 0] * points[:, 1] - 2.0 * points[:, 0] ** 2
    np.testing.assert_allclose(space.evaluate(values, points), wanted, atol=1e-10)
    linear = nodal_space(x, cells, 1)
    assert np.abs(linear.evaluate(values, points) - wanted).max() > 1e-4


def test_other_meshes_have_no_quadratic_elements_with_their_nodes():
    with pytest.raises(InputError, match="not one whose triangles were split in four"):
        nodal_space(*uneven(), 2)
    mesh = skfem.MeshTet()
    with pytest.raises(InputError, match="cells of 4 corners; expected triangles split in four"):
        nodal_space(mesh.p.T, mesh.t.T, 2)


def test_points_must_lie_in_the_mesh():
    space = Space(*square(3))
    dofs = np.ones(space.dofs)
    with pytest.raises(InputError, match=r"1 of 2 points lie outside the mesh.*point 1 at \[1.5, 0.5\]"):
        space.evaluate(dofs, np.array([[0.5, 0.5], [1.5, 0.5]]))
    with pytest.raises(InputError, match=r"points of shape \(2, 3\).*expected \(points, 2\)"):
        space.evaluate(dofs, np.zeros((2, 3)))
    with pytest.raises(InputError, match="5 degrees of freedom were given, the space has 16"):
        space.evaluate(np.ones(5), np.zeros((2, 2)))
    on_the_edge = np.array([[1.0 + 1e-13, 1 / 3], [0.1, -1e-14]])
    np.testing.assert_allclose(space.evaluate(dofs, on_the_edge), 1.0, atol=1e-8)


def test_bad_meshes_are_refused():
    x, cells = square(2)
    flat = x.copy()
    flat[:, 1] = 0.0
    with pytest.raises(InputError, match="8 of 8 cells are degenerate, the first is cell 0"):
        Space(flat, cells)
    with pytest.raises(InputError, match="1 of 10 nodes belong to no cell, the first is node 9"):
        Space(np.vstack([x, [[5.0, 5.0]]]), cells)
    with pytest.raises(InputError, match="coordinates in 3 dimensions and cells of 3 corners"):
        Space(np.column_stack([x, x[:, 0]]), cells)
    with pytest.raises(InputError, match="degree 3 was given, expected 1 or 2"):
        Space(x, cells, 3)
