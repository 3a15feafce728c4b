"""All morphing methods behind one pair of functions."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from kernels.errors import InputError
from kernels.mesh.boundary import PinRule
from kernels.mesh.mapping import METHODS, Mesh, MorphSettings, build_reference, map_mesh
from kernels.mesh.quality import morph_quality

SHEAR = np.array([[1.4, 0.3], [0.1, 0.9]])
LIKE = np.array([[1.7, 0.0], [0.0, 1.7]])


def plate(n: int = 10, seed: int = 0) -> Mesh:
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    points = np.stack([i.ravel(), j.ravel()], axis=1) / n
    inside = ((i % n > 0) & (j % n > 0)).ravel()
    points[inside] += np.random.default_rng(seed).uniform(-0.2, 0.2, (inside.sum(), 2)) / n
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    lower, upper = np.stack([a, a + n + 1, a + n + 2], 1), np.stack([a, a + n + 2, a + 1], 1)
    return Mesh(points, np.concatenate([lower, upper]), "plate")


def annulus(around: int, inner: float = 1.0) -> Mesh:
    r, t = np.meshgrid(np.linspace(0, 1, 6), np.arange(around), indexing="ij")
    r, t = inner + (3 - inner) * r.ravel(), 2 * np.pi * t.ravel() / around
    a = (np.arange(5)[:, None] * around + np.arange(around)).ravel()
    b = (np.arange(5)[:, None] * around + (np.arange(around) + 1) % around).ravel()
    cells = np.concatenate([np.stack([a, a + around, b + around], 1), np.stack([a, b + around, b], 1)])
    return Mesh(np.stack([r * np.cos(t), r * np.sin(t)], axis=1), cells, f"annulus_{around}")


CASES = [
    ("tutte", "uniform", SHEAR),
    ("tutte", "mean_value", LIKE),
    ("rbf", "mean_value", SHEAR),
    ("laplacian", "mean_value", SHEAR),
    ("identity", "mean_value", SHEAR),
]


def test_every_method_has_a_case():
    assert {case[0] for case in CASES} == set(METHODS)


@pytest.mark.parametrize(("method", "weights", "matrix"), CASES)
def test_affine_images_are_mapped_onto_the_reference(method, weights, matrix):
    mesh = plate()
    reference = build_reference(mesh, MorphSettings(method, weights))
    image = Mesh(mesh.points @ matrix.T + [4.0, -2.0], mesh.cells, "image")
    np.testing.assert_allclose(map_mesh(image, reference), reference.common, atol=1e-12)
    np.testing.assert_allclose(map_mesh(mesh, reference), reference.common, atol=1e-14)


@pytest.mark.parametrize("method", ["rbf", "laplacian"])
def test_holes_are_matched(method):
    reference = build_reference(annulus(40), MorphSettings(method))
    other = annulus(56, inner=1.3)
    mapped = map_mesh(other, reference)
    assert morph_quality(other.points, other.cells, mapped).inverted == 0
    radius = np.linalg.norm(mapped, axis=1)
    np.testing.assert_allclose(radius[:56], 1.0, atol=0.01)
    np.testing.assert_allclose(radius[-56:], 3.0, atol=0.03)
    with pytest.raises(InputError, match="plate: the mesh has 1 boundary loops, the reference 2"):
        map_mesh(plate(), reference)


def tetrahedra(seed: int) -> Mesh:
    grid = np.stack(np.meshgrid(*3 * [np.linspace(0, 1, 5)], indexing="ij"), axis=-1).reshape(-1, 3)
    hull = np.any((grid == 0) | (grid == 1), axis=1)
    inner = np.random.default_rng(seed).uniform(0.15, 0.85, (30 + seed, 3))
    points = np.concatenate([grid[hull], inner])
    cells = Delaunay(points, qhull_options="QJ").simplices.astype(np.int64)
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    cells = cells[np.abs(np.linalg.det(edges)) > 1e-5]
    count = int(hull.sum()) // 3 * 3
    return Mesh(points, cells, f"cube_{seed}", np.arange(count).reshape(-1, 3), np.zeros(count // 3, int))


@pytest.mark.parametrize("method", ["rbf", "laplacian"])
def test_tetrahedra_by_corresponding_controls(method):
    mesh, other = tetrahedra(1), tetrahedra(2)
    reference = build_reference(mesh, MorphSettings(method, controls="corresponding"))
    matrix = np.eye(3) + 0.1 * np.arange(9).reshape(3, 3) / 9
    image = Mesh(other.points @ matrix.T + 1.0, other.cells, "image", other.facet_node, other.facet_tag)
    np.testing.assert_allclose(map_mesh(image, reference), other.points, atol=1e-12)
    fewer = Mesh(image.points, image.cells, "fewer", other.facet_node[:-1], other.facet_tag[:-1])
    with pytest.raises(InputError, match=r"fewer: .* control nodes on its facets, the reference has"):
        map_mesh(fewer, reference)
    with pytest.raises(InputError, match="bare: controls = 'corresponding' needs boundary facets"):
        map_mesh(Mesh(image.points, image.cells, "bare"), reference)
    with pytest.raises(InputError, match="cube_1: controls = 'boundary' matches boundary curves of plane"):
        build_reference(mesh, MorphSettings(method))


def test_identity_refuses_other_connectivity_by_name():
    mesh = plate()
    reference = build_reference(mesh, MorphSettings("identity"))
    with pytest.raises(
        InputError, match="annulus_20: method 'identity' needs the connectivity of the reference"
    ):
        map_mesh(annulus(20), reference)
    with pytest.raises(InputError, match="turned: method 'identity' needs the connectivity"):
        map_mesh(Mesh(mesh.points, mesh.cells[:, [1, 2, 0]], "turned"), reference)
    cube = tetrahedra(1)
    same = build_reference(cube, MorphSettings("identity"))
    np.testing.assert_array_equal(map_mesh(Mesh(cube.points + 1, cube.cells), same), cube.points)


def test_pin_spacing_of_the_reference_is_kept():
    mesh = plate()
    long = Mesh(mesh.points * [3.0, 1.0], mesh.cells, "long")
    own = build_reference(long, MorphSettings("tutte", rule=PinRule("corners"), pin_spacing="reference"))
    np.testing.assert_allclose(own.shares[0], [0.375, 0.125, 0.375, 0.125])
    equal = build_reference(long, MorphSettings("tutte"))
    np.testing.assert_allclose(equal.shares[0], 0.25)
    np.testing.assert_allclose(
        map_mesh(mesh, own)[own.walks[0].nodes], own.common[own.walks[0].nodes], atol=1e-14
    )
    with pytest.raises(InputError, match="method 'magic' is not known"):
        map_mesh(mesh, build_reference(mesh, MorphSettings("magic")))
