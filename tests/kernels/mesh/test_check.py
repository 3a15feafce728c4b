import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.check import check_mesh, drop_unused_nodes

POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
SPACE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
GOOD = [[0, 1, 2], [0, 2, 3]]


def moved(node, value):
    points = POINTS.copy()
    points[node] = value
    return points


@pytest.mark.parametrize("kind", ["plane", "surface", "tetrahedra"])
def test_sound_meshes_pass(meshes, kind):
    check_mesh(*meshes[kind], name="sound")


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (moved(2, [np.nan, 0]), GOOD, r"1 of 4 nodes have NaN .* node 2 at \[nan, 0.0\]"),
        (moved(1, [np.inf, 0]), GOOD, "1 of 4 nodes have NaN or infinite .* node 1"),
        (POINTS, [[0, 1, 4]], "node 4 of 4 nodes; expected numbers from 0 to 3: .*counts from 1"),
        (POINTS, [[0, 1, -1]], "refer to node -1; expected numbers from 0"),
        (POINTS, np.zeros((0, 3), int), "the mesh has no cells"),
        (POINTS, [[0, 1, 2, 3]], r"points have shape \(4, 2\) and cells \(1, 4\)"),
        (POINTS, [[0.0, 1.0, 2.0]], "dtype float64; expected integers"),
        (POINTS, [[0, 1]], r"shape \(1, 2\) .* split_quads first"),
        (POINTS, [[0, 1, 2], [0, 2, 2]], r"1 of 2 cells have no measure, the first is cell 1 .* measure 0;"),
        (moved(3, [2, 2]), GOOD, "cell 1 .* remove these cells or merge their nodes"),
        (POINTS, [*GOOD, [2, 0, 1]], r"cells 0 and 2 with nodes \[0, 1, 2\]; .* remove the copies"),
        (POINTS, [[0, 1, 2]], "1 of 4 nodes belong to no cell, the first is node 3; .* drop_unused_nodes"),
        (
            SPACE[[0, 1, 2, 3, 4]],
            [[0, 1, 2], [1, 0, 3], [0, 1, 4]],
            r"1 edges belong to more than two cells, such as \[0, 1\] of 3",
        ),
        (
            POINTS,
            [[0, 1, 2], [0, 3, 2]],
            r"1 of 2 cells have negative measure, the first is cell 1; .*orient\(",
        ),
        (SPACE[:4], [[0, 1, 2], [0, 3, 2]], r"2 of 2 cells disagree with a neighbour .*orient\("),
        (SPACE[[0, 1, 2, 4]], [[0, 2, 1, 3]], "1 of 1 cells have negative measure"),
    ],
)
def test_what_is_wrong_is_named(points, cells, message):
    with pytest.raises(InputError, match="^case 12: .*" + message):
        check_mesh(points, cells, "case 12")


def test_thin_cells_of_boundary_layers_pass():
    thin = POINTS * [1.0, 1e-7]
    check_mesh(thin, GOOD, "layer")


def test_unused_nodes_are_dropped_with_their_fields():
    points, cells, kept = drop_unused_nodes(np.insert(POINTS, 1, 9.0, axis=0), [[0, 2, 3], [0, 3, 4]])
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(cells, GOOD)
    np.testing.assert_array_equal(kept, [0, 2, 3, 4])
