"""Maps to the unit disk: weights, affine invariance, refusals."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull, Delaunay

from kernels.errors import InputError
from kernels.mesh.boundary import PinRule
from kernels.mesh.quality import morph_quality
from kernels.mesh.tutte import WEIGHTS, disk_map, interior_map


def plate(
    across: int = 12, up: int = 9, jitter: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.meshgrid(np.arange(across + 1), np.arange(up + 1), indexing="ij")
    points = np.stack([i.ravel(), j.ravel()], axis=1).astype(float)
    inside = (i % across > 0).ravel() & (j % up > 0).ravel()
    points[inside] += np.random.default_rng(seed).uniform(-jitter, jitter, (inside.sum(), 2))
    first = (np.arange(across)[:, None] * (up + 1) + np.arange(up)).ravel()
    low = np.stack([first, first + up + 1, first + up + 2], axis=1)
    high = np.stack([first, first + up + 2, first + 1], axis=1)
    return points, np.concatenate([low, high])


def annulus(radial: int = 4, around: int = 24) -> tuple[np.ndarray, np.ndarray]:
    r, t = np.meshgrid(np.linspace(1, 3, radial + 1), np.arange(around), indexing="ij")
    angle = 2 * np.pi * t / around
    points = np.stack([(r * np.cos(angle)).ravel(), (r * np.sin(angle)).ravel()], axis=1)
    a = (np.arange(radial)[:, None] * around + np.arange(around)).ravel()
    b = (np.arange(radial)[:, None] * around + (np.arange(around) + 1) % around).ravel()
    return points, np.concatenate([np.stack([a, a + around, b + around], 1), np.stack([a, b + around, b], 1)])


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", ["none", "corners"])
def test_no_cell_turns_over_and_the_boundary_lies_on_the_circle(weights, kind):
    points, cells = plate()
    found = disk_map(points, cells, PinRule(kind), weights)
    assert morph_quality(points, cells, found.mapped).inverted == 0
    radius = np.linalg.norm(found.mapped, axis=1)
    np.testing.assert_allclose(radius[found.walk.nodes], 1.0, atol=1e-14)
    inside = np.setdiff1d(np.arange(len(points)), found.walk.nodes)
    assert radius[inside].max() < 1.0
    assert found.walk.pins.size == (4 if kind == "corners" else 1)
    np.testing.assert_allclose(found.mapped[found.walk.nodes[0]], [-np.sqrt(0.5)] * 2, atol=1e-14)


def test_mean_value_weights_have_linear_precision():
    points, cells = plate(jitter=0.35)
    walk = disk_map(points, cells).walk
    found = interior_map(points, cells, walk.nodes, points[walk.nodes], "mean_value")
    np.testing.assert_allclose(found, points, atol=1e-12)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    tilted = points @ rotation[:2]
    np.testing.assert_allclose(
        interior_map(tilted, cells, walk.nodes, points[walk.nodes], "mean_value"), points, atol=1e-12
    )


def test_uniform_weights_put_each_node_at_the_mean_of_its_neighbours():
    points, cells = plate()
    found = disk_map(points, cells, weights="uniform")
    neighbours = [set() for _ in points]
    for cell in cells.tolist():
        for k in cell:
            neighbours[k] |= set(cell) - {k}
    for node in set(range(len(points))) - set(found.walk.nodes.tolist()):
        np.testing.assert_allclose(
            found.mapped[node], found.mapped[list(neighbours[node])].mean(axis=0), atol=1e-13
        )


@pytest.mark.parametrize(
    ("weights", "matrix"),
    [
        ("uniform", [[1.3, 0.2], [0.1, 0.8]]),
        ("uniform", [[2.0, 0.0], [0.0, 0.5]]),
        ("mean_value", [[2.5, 0.0], [0.0, 2.5]]),
    ],
)
def test_affine_images_have_the_same_disk(weights, matrix):
    points, cells = plate()
    image = points @ np.array(matrix).T + [3.0, -7.0]
    first, second = (disk_map(p, cells, PinRule("corners"), weights).mapped for p in (points, image))
    np.testing.assert_allclose(second, first, atol=1e-12)


def test_numbering_and_turned_cells_do_not_change_the_disk():
    points, cells = plate()
    order = np.random.default_rng(2).permutation(len(points))
    number = np.argsort(order)
    first = disk_map(points, cells).mapped
    second = disk_map(points[order], number[cells][:, ::-1]).mapped
    np.testing.assert_allclose(second, first[order], atol=1e-13)


def test_shares_place_the_pins():
    points, cells = plate()
    found = disk_map(points, cells, PinRule("corners"), shares=np.array([0.4, 0.1, 0.3, 0.2]))
    angle = 1.25 * np.pi + 2 * np.pi * np.array([0, 0.4, 0.5, 0.8])
    at = found.mapped[found.walk.nodes[found.walk.pins]]
    np.testing.assert_allclose(at, np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-14)


def test_a_single_triangle_maps():
    found = disk_map(np.array([[0, 0], [1, 0], [0, 1.0]]), np.array([[0, 1, 2]]))
    assert (
        morph_quality(np.array([[0, 0], [1, 0], [0, 1.0]]), np.array([[0, 1, 2]]), found.mapped).inverted == 0
    )


def torus_with_a_hole() -> tuple[np.ndarray, np.ndarray]:
    n = 6
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    u, v = 2 * np.pi * i.ravel() / n, 2 * np.pi * j.ravel() / n
    points = np.stack([(3 + np.cos(v)) * np.cos(u), (3 + np.cos(v)) * np.sin(u), np.sin(v)], axis=1)
    a, b = (i * n + j).ravel(), ((i + 1) % n * n + j).ravel()
    c, d = ((i + 1) % n * n + (j + 1) % n).ravel(), (i * n + (j + 1) % n).ravel()
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])[1:]


def test_other_topologies_are_refused_by_name():
    with pytest.raises(InputError, match="ring: the map to the disk needs one boundary loop, the mesh has 2"):
        disk_map(*annulus(), name="ring")
    ball = np.random.default_rng(3).standard_normal((40, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    with pytest.raises(InputError, match="ball: the map to the disk needs one boundary loop, the mesh has 0"):
        disk_map(ball, ConvexHull(ball).simplices.astype(np.int64), name="ball")
    with pytest.raises(InputError, match="torus: nodes - edges \\+ cells is -1, a disk has 1"):
        disk_map(*torus_with_a_hole(), PinRule("none"), name="torus")
    points, cells = plate()
    with pytest.raises(InputError, match="m: 1 nodes belong to no cell \\(first: 130\\)"):
        disk_map(np.concatenate([points, [[5.0, 5.0]]]), cells, name="m")
    with pytest.raises(InputError, match="m: the map to the disk needs triangles, got cells of 4 nodes"):
        disk_map(points, np.zeros((3, 4), int), name="m")
    with pytest.raises(InputError, match="weights 'cotangent' are not known"):
        disk_map(points, cells, weights="cotangent")


def test_cells_without_area_are_refused_by_name():
    points, cells = plate()
    points[17] = points[18]
    with pytest.raises(InputError, match="flat: the morphing system is singular"):
        disk_map(points, cells, weights="mean_value", name="flat")


def test_delaunay_of_random_points():
    rng = np.random.default_rng(4)
    t = np.arange(60) * 2 * np.pi / 60
    rim = np.stack([2 * np.cos(t), np.sin(t)], axis=1)
    inner = rng.uniform(-1, 1, (400, 2)) * [2, 1]
    inner = inner[(inner[:, 0] / 2) ** 2 + inner[:, 1] ** 2 < 0.95]
    points = np.concatenate([rim, inner])
    cells = Delaunay(points).simplices.astype(np.int64)
    for weights in WEIGHTS:
        assert (
            morph_quality(points, cells, disk_map(points, cells, PinRule("none"), weights).mapped).inverted
            == 0
        )
