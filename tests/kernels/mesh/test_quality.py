"""Inverted cells and area ratios."""

import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.quality import Quality, morph_quality, refuse_inverted, signed_measures

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
CELLS = np.array([[0, 1, 2], [0, 2, 3]])


def test_measures():
    np.testing.assert_allclose(signed_measures(SQUARE, CELLS), 0.5)
    np.testing.assert_allclose(signed_measures(SQUARE, CELLS[:, ::-1]), -0.5)
    np.testing.assert_allclose(signed_measures(np.column_stack([SQUARE, SQUARE[:, 0]]), CELLS), np.sqrt(0.5))
    np.testing.assert_allclose(signed_measures(np.eye(4)[:, :3], np.array([[3, 0, 1, 2]])), 1 / 6)
    with pytest.raises(InputError, match="cells of 4 nodes on 2 axes have no measure"):
        signed_measures(SQUARE, np.array([[0, 1, 2, 3]]))


def test_affine_maps_have_ratio_one():
    assert morph_quality(
        SQUARE, CELLS, SQUARE @ [[3.0, 1.0], [0.5, 2.0]] + 5
    ).smallest_ratio == pytest.approx(1.0)


def test_turned_and_flat_cells_count():
    folded = SQUARE.copy()
    folded[3] = [0.75, 0.25]
    assert morph_quality(SQUARE, CELLS, folded).inverted == 1
    assert morph_quality(SQUARE, CELLS, folded).smallest_ratio < 0
    folded[3] = [0.5, 0.5]
    assert morph_quality(SQUARE, CELLS, folded).inverted == 1
    assert morph_quality(SQUARE, CELLS, SQUARE[:, ::-1]).inverted == 2
    squeezed = SQUARE * [1, 1]
    squeezed[1] = [0.75, 0.25]
    assert morph_quality(SQUARE, CELLS, squeezed).smallest_ratio == pytest.approx(0.5 / 0.75)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_cell_flat_to_rounding_counts_whatever_its_sign(shift):
    points, cells = np.array([[0.0, 0.0], [1.0, 0.0], [0.3, 0.7]]), np.array([[0, 1, 2]])
    scale = max(1.0, shift)
    for height, inverted in ((1e-16, 1), (-1e-16, 1), (1e-12, 0)):
        mapped = np.array([[shift, 0.0], [1.0 + shift, 0.0], [0.3 + shift, height * scale]])
        assert morph_quality(points, cells, mapped).inverted == inverted


def test_refusal_names_the_sample():
    refuse_inverted(Quality(2, 0.1), 9, "m", limit=2)
    with pytest.raises(InputError, match="m: the morphing turns over 3 of 9 cells, at most 2 allowed"):
        refuse_inverted(Quality(3, 0.1), 9, "m", limit=2)
