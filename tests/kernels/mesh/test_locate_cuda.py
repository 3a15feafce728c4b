"""The CUDA face without a GPU: typed and compiled to PTX, and run in the simulator against the CPU face."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

from numba import types

from kernels import cuda_support
from kernels.errors import InputError
from kernels.mesh import _scalar
from kernels.mesh.locate import Locator
from kernels.mesh.locate_cuda import CudaLocator, interpolate_kernel, locate_kernel

F1, F2, F3 = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
I1, I2 = types.int32[::1], types.int32[:, ::1]

# The kernels in the simulator, and the Python source of the CPU face without numba: both answer to a file.
SCRIPT = """
import sys
import numpy as np
from kernels.mesh.locate import Locator
from kernels.mesh.locate_cuda import CudaLocator

given = np.load(sys.argv[1])
answer = {}
for kind in ("plane", "surface", "tetrahedra"):
    locator = Locator(given[kind + "_points"], given[kind + "_cells"])
    targets, field = given[kind + "_targets"], given[kind + "_field"]
    simulated = CudaLocator(locator)
    for face, found in (("python", locator.locate(targets)), ("cuda", simulated.locate(targets))):
        for name, value in found._asdict().items():
            answer[f"{kind}_{face}_{name}"] = value
    answer[kind + "_values"] = simulated.interpolate(targets, field)
    assert simulated.interpolate(targets[:0], field).shape == (0, field.shape[1])
np.savez(sys.argv[2], **answer)
"""


def test_every_kernel_compiles_to_ptx():
    locate = types.void(types.int64, I1, F3, F2, I2, F2, I1, F2, F1)
    interpolate = types.void(I2, I1, F2, F2, F2)
    assert ".visible .entry" in cuda_support.to_ptx(locate_kernel, locate)
    assert ".visible .entry" in cuda_support.to_ptx(interpolate_kernel, interpolate)
    scalar = types.Tuple([types.float64] * 5)(*[types.float64] * 12)
    assert ".func" in cuda_support.to_ptx(_scalar.closest_in_tetrahedron, scalar, device=True)


def test_a_kernel_that_does_not_type_is_an_error():
    def wrong(out):
        out[0] = "text"

    with pytest.raises(Exception, match=r"(?i)cannot|no implementation|invalid"):
        cuda_support.to_ptx(wrong, types.void(F1))


def test_simulator_and_plain_python_equal_the_compiled_cpu_face(meshes, tmp_path):
    rng = np.random.default_rng(0)
    given, locators = {}, {}
    for kind, (points, cells) in meshes.items():
        some = cells[:60]
        locators[kind] = Locator(points, some)
        given[f"{kind}_points"], given[f"{kind}_cells"] = points, some
        given[f"{kind}_targets"] = rng.uniform(points.min(), points.max(), (13, points.shape[1]))
        given[f"{kind}_targets"][:3] = points[some[[0, 20, 40]]].mean(axis=1)
        given[f"{kind}_field"] = rng.normal(size=(len(points), 2))
    np.savez(tmp_path / "given.npz", **given)
    root = Path(cuda_support.__file__).resolve().parents[1]
    environment = dict(os.environ, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1", PYTHONPATH=str(root))
    command = [sys.executable, "-W", "error", "-c", SCRIPT, tmp_path / "given.npz", tmp_path / "answer.npz"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answer = np.load(tmp_path / "answer.npz")
    for kind, locator in locators.items():
        found = locator.locate(given[f"{kind}_targets"])
        assert found.outside.any()
        for face in ("python", "cuda"):
            for name, value in found._asdict().items():
                np.testing.assert_allclose(answer[f"{kind}_{face}_{name}"], value, rtol=1e-13, atol=1e-15)
        values = np.einsum("qk,qkc->qc", found.barycentric, given[f"{kind}_field"][locator.cells[found.cell]])
        np.testing.assert_allclose(answer[f"{kind}_values"], values, rtol=1e-13, atol=1e-14)


@pytest.mark.skipif(cuda_support.available(), reason="there is a CUDA device here")
def test_without_a_device_the_cuda_face_says_so(meshes):
    with pytest.raises(InputError, match=r"no CUDA device was found; .* use the CPU face"):
        CudaLocator(Locator(*meshes["plane"]))


@pytest.mark.skipif(not cuda_support.available(), reason="no CUDA device here")
def test_the_device_equals_the_cpu(meshes):
    rng = np.random.default_rng(1)
    for points, cells in meshes.values():
        locator = Locator(points, cells)
        targets = rng.uniform(points.min(), points.max(), (500, points.shape[1]))
        field = rng.normal(size=(len(points), 3))
        found, device = locator.locate(targets), CudaLocator(locator)
        np.testing.assert_allclose(device.locate(targets).distance, found.distance, atol=1e-14)
        np.testing.assert_array_equal(device.locate(targets).outside, found.outside)
        values = np.einsum("qk,qkc->qc", found.barycentric, field[locator.cells[found.cell]])
        np.testing.assert_allclose(device.interpolate(targets, field), values, atol=1e-12)
