"""Morphing by a weighted graph Laplacian."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from kernels.errors import InputError
from kernels.mesh.laplacian import laplacian_morph, unique_edges


def body(axes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random points with their simplices, and the nodes on the hull."""
    points = np.random.default_rng(axes).uniform(-1, 1, (200, axes))
    mesh = Delaunay(points)
    return points, mesh.simplices.astype(np.int64), np.unique(mesh.convex_hull)


@pytest.mark.parametrize("axes", [2, 3])
def test_affine_maps_are_reproduced(axes):
    points, cells, hull = body(axes)
    matrix = np.eye(axes) + 0.3 * np.random.default_rng(0).standard_normal((axes, axes))
    target = points @ matrix.T - 1.0
    moved, error = laplacian_morph(points, cells, hull, (target - points)[hull])
    np.testing.assert_allclose(moved, target, atol=1e-12)
    assert error < 1e-13


def test_free_nodes_are_in_balance():
    points, cells, hull = body(2)
    shift = np.sin(4 * points[hull])
    shift -= shift.mean(axis=0)
    moved, _ = laplacian_morph(points, cells, hull, shift)
    np.testing.assert_allclose(moved[hull], points[hull] + shift, atol=1e-14)
    fit = np.linalg.lstsq(np.column_stack([points[hull], np.ones(hull.size)]), shift, rcond=None)[0]
    residual = moved - points - np.column_stack([points, np.ones(len(points))]) @ fit
    force = np.zeros_like(points)
    for a, b in unique_edges(cells):
        pull = (residual[b] - residual[a]) / np.linalg.norm(points[b] - points[a])
        force[a] += pull
        force[b] -= pull
    np.testing.assert_allclose(np.delete(force, hull, axis=0), 0.0, atol=1e-11)


def test_edges_are_counted_once():
    assert unique_edges(np.array([[0, 1, 2], [2, 1, 3]])).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]


def test_bad_input_is_refused_by_name():
    points, cells, hull = body(2)
    with pytest.raises(InputError, match="m: a control node is given twice"):
        laplacian_morph(points, cells, hull[[0, 0, 1]], np.zeros((3, 2)), "m")
    apart = np.concatenate([points, points + 10.0])
    with pytest.raises(InputError, match="m: 1 parts of the mesh have no control point"):
        laplacian_morph(apart, np.concatenate([cells, cells + 200]), hull, np.zeros((hull.size, 2)), "m")
    with pytest.raises(InputError, match="m: 1 nodes belong to no cell"):
        laplacian_morph(np.concatenate([points, [[9.0, 9.0]]]), cells, hull, np.zeros((hull.size, 2)), "m")
    twin = points.copy()
    twin[cells[0, 0]] = twin[cells[0, 1]]
    with pytest.raises(InputError, match=r"m: nodes .* of one cell coincide"):
        laplacian_morph(twin, cells, hull[:1], np.zeros((1, 2)), "m")
