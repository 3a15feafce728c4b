"""Morphing by radial basis functions."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import Delaunay

from kernels.errors import InputError
from kernels.mesh import rbf
from kernels.mesh.quality import morph_quality


def cloud(axes: int, count: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (count, axes))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("radius", [0.3, 5.0])
def test_affine_maps_are_reproduced(axes, radius):
    points, controls = cloud(axes), cloud(axes, 60, 1)
    matrix = np.eye(axes) + 0.3 * np.random.default_rng(2).standard_normal((axes, axes))
    moved, error = rbf.rbf_morph(points, controls, controls @ (matrix - np.eye(axes)).T + 2.0, radius)
    np.testing.assert_allclose(moved, points @ matrix.T + 2.0, atol=1e-12)
    assert error < 1e-12


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("radius", [0.05, 0.4, 3.0])
def test_the_sum_over_boxes_is_the_full_sum(axes, radius):
    controls, points = cloud(axes, 120, 3), 1.5 * cloud(axes, 200, 4)
    model = rbf.fit(controls, np.sin(3 * controls), radius)
    distance = np.linalg.norm(points[:, None] - controls[None], axis=2) / radius
    phi = np.where(distance < 1, (1 - distance) ** 4 * (4 * distance + 1), 0.0)
    expected = model.affine(points) + phi @ model.coefficients
    np.testing.assert_allclose(rbf.displacement(model, points), expected, atol=1e-11)
    assert model.control_error < 1e-9


@pytest.mark.parametrize("axes", [2, 3])
def test_sparse_and_dense_agree(axes, monkeypatch):
    controls = cloud(axes, 400, 5)
    dense = rbf.fit(controls, np.sin(3 * controls), 0.5)
    monkeypatch.setattr(rbf, "DENSE_LIMIT", 10)
    sparse = rbf.fit(controls, np.sin(3 * controls), 0.5)
    points = cloud(axes, 100, 6)
    np.testing.assert_allclose(rbf.displacement(sparse, points), rbf.displacement(dense, points), atol=1e-10)
    assert sparse.control_error < 1e-10
    monkeypatch.setattr(rbf, "_PAIR_LIMIT", 500)
    with pytest.raises(InputError, match=r"m: 400 controls have .* pairs nearer than the radius 0.5"):
        rbf.fit(controls, controls, 0.5, "m")


def test_a_held_far_boundary_stays():
    t = np.arange(80) * 2 * np.pi / 80
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    controls = np.concatenate([circle, 10 * circle])
    shift = np.concatenate([0.2 * np.sin(2 * t)[:, None] * circle, np.zeros((80, 2))])
    moved, error = rbf.rbf_morph(controls, controls, shift, 4.0)
    assert np.abs(moved[80:] - 10 * circle).max() <= error <= 1e-10
    np.testing.assert_allclose(moved[:80], circle + shift[:80], atol=1e-10)


def test_tetrahedra_follow_a_bent_surface():
    grid = np.stack(np.meshgrid(*3 * [np.linspace(0, 1, 6)], indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.all((grid > 0) & (grid < 1), axis=1)
    grid[inside] += 0.02 * cloud(3, int(inside.sum()), 7)
    cells = Delaunay(grid, qhull_options="QJ Pp").simplices.astype(np.int64)
    volume = np.abs(np.linalg.det(grid[cells[:, 1:]] - grid[cells[:, :1]]))
    cells = cells[volume > 1e-6]
    bend = 0.15 * np.sin(np.pi * grid[:, [1, 2, 0]])
    moved, error = rbf.rbf_morph(grid, grid[~inside], bend[~inside], 2.0)
    assert error < 1e-10
    assert morph_quality(grid, cells, moved).inverted == 0
    np.testing.assert_allclose(moved[inside], (grid + bend)[inside], atol=0.03)


def test_bad_controls_are_refused_by_name():
    controls = cloud(2, 10)
    with pytest.raises(InputError, match="m: control point 0 is given twice"):
        rbf.fit(np.concatenate([controls, controls[:1]]), np.zeros((11, 2)), 1.0, "m")
    with pytest.raises(
        InputError, match="m: controls of shape \\(10, 2\\) with displacements of shape \\(9, 2\\)"
    ):
        rbf.fit(controls, np.zeros((9, 2)), 1.0, "m")
    with pytest.raises(InputError, match=r"m: radius 0.0 of the radial basis functions"):
        rbf.fit(controls, controls, 0.0, "m")
    with pytest.raises(InputError, match="m: control points or displacements are not finite"):
        rbf.fit(controls, np.full((10, 2), np.nan), 1.0, "m")


def test_cuda_face_compiles():
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    from kernels.cuda_support import to_ptx
    from kernels.mesh import rbf_cuda

    assert ".entry" in to_ptx(rbf_cuda.accumulate_kernel, rbf_cuda.SIGNATURE)


CUDA_CHECK = """
import numpy as np
from kernels.mesh import rbf, rbf_cuda
for axes in (2, 3):
    rng = np.random.default_rng(axes)
    controls, points = rng.uniform(-1, 1, (12, axes)), rng.uniform(-1.5, 1.5, (7, axes))
    model = rbf.fit(controls, np.sin(3 * controls), 0.8)
    error = np.abs(rbf_cuda.displacement(model, points) - rbf.displacement(model, points)).max()
    assert error < 1e-13, error
"""


def test_cuda_face_agrees_in_the_simulator():
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CUDA_CHECK], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_cuda_face_agrees_on_the_device():
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    from kernels.cuda_support import available

    if not available():
        pytest.skip("no CUDA device")
    exec(CUDA_CHECK, {})
