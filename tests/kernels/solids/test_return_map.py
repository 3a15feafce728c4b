import os
import subprocess
import sys

import numpy as np
import pytest

from kernels import cuda_support
from kernels.errors import InputError
from kernels.solids.return_map import Material, update, update_reference, von_mises

STEEL = Material(200e9, 0.3, 250e6, 4e9)
VOCE = Material(200e9, 0.3, 250e6, 1e9, 120e6, 40.0)


def history(material, seed=0, points=400):
    """Random strain after a random first step: plastic strain and its measure are consistent."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0.0, 2e-3, (2, points, 3))
    _, plastic, equivalent, _ = update(first, np.zeros((points, 4)), np.zeros(points), material)
    return first + second, plastic, equivalent


@pytest.mark.parametrize("material", [STEEL, VOCE])
def test_stress_lies_on_or_inside_the_yield_surface_and_flow_dissipates(material):
    strain, plastic, equivalent = history(material)
    stress, after, p, _ = update(strain, plastic, equivalent, material)
    limit = (
        material.yield_stress + material.hardening * p
        + material.saturation_stress * (1.0 - np.exp(-material.saturation_rate * p))
    )  # fmt: skip
    flows = p > equivalent
    assert 0.2 < flows.mean() < 1.0
    np.testing.assert_allclose(von_mises(stress)[flows], limit[flows], rtol=1e-12)
    assert np.all(von_mises(stress)[~flows] <= limit[~flows])
    rate = after - plastic
    power = np.sum(stress[:, :3] * rate[:, :3], axis=1) + 2.0 * stress[:, 3] * rate[:, 3]
    np.testing.assert_allclose(power, von_mises(stress) * (p - equivalent), rtol=1e-9, atol=1e-3)
    assert np.all(power[flows] > 0.0)
    np.testing.assert_allclose(after[:, :3].sum(axis=1), 0.0, atol=1e-16)


@pytest.mark.parametrize("material", [STEEL, VOCE])
def test_tangent_is_the_derivative_of_stress(material):
    strain, plastic, equivalent = history(material, seed=1)
    tangent = update(strain, plastic, equivalent, material)[3]
    order = {(0, 0): 0, (1, 1): 1, (2, 2): 2, (0, 1): 3, (0, 2): 4, (1, 2): 5}
    h = 1e-8
    for column in range(3):
        shift = np.zeros(3)
        shift[column] = h
        up = update(strain + shift, plastic, equivalent, material)
        down = update(strain - shift, plastic, equivalent, material)
        same_branch = (up[2] > equivalent) == (down[2] > equivalent)
        numeric = (up[0] - down[0])[:, [0, 1, 3]] / (2.0 * h)
        for row in range(3):
            exact = tangent[:, order[min(row, column), max(row, column)]]
            error = np.abs(numeric[:, row] - exact)[same_branch] / material.young
            assert error.max() < 1e-6


@pytest.mark.parametrize("material", [STEEL, VOCE])
def test_numba_agrees_with_the_tensor_reference(material):
    inputs = history(material, seed=2)
    for ours, reference, scale in zip(
        update(*inputs, material), update_reference(*inputs, material), (1e9, 1e-2, 1e-2, 2e11), strict=True
    ):
        np.testing.assert_allclose(ours, reference, rtol=0.0, atol=1e-12 * scale)


def test_inputs_are_left_alone():
    strain, plastic, equivalent = history(STEEL)
    copies = strain.copy(), plastic.copy(), equivalent.copy()
    update(strain, plastic, equivalent, STEEL)
    for before, after in zip(copies, (strain, plastic, equivalent), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ((-1.0, 0.3, 1.0, 0.0), "young is -1.0, expected a positive number of Pa"),
        ((1.0, 0.5, 1.0, 0.0), "poisson is 0.5, expected a number between"),
        ((1.0, 0.3, 1.0, -1.0), "hardening is -1.0, expected zero or a positive"),
        ((float("nan"), 0.3, 1.0, 0.0), "young is nan"),
    ],
)
def test_bad_material_names_the_parameter(values, match):
    with pytest.raises(InputError, match=match):
        Material(*values)


SIMULATED = """
import numpy as np
from kernels.solids.return_map import Material, update
from kernels.solids import return_map_cuda
material = Material(200e9, 0.3, 250e6, 1e9, 120e6, 40.0)
strain = np.random.default_rng(0).normal(0.0, 2e-3, (40, 3))
state = np.zeros((40, 4)), np.zeros(40)
here = update(strain, *state, material)
there = return_map_cuda.update(strain, *state, material)
assert here[2].max() > 0.0
for a, b in zip(here, there):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(a).max())
assert return_map_cuda.update(strain[:0], state[0][:0], state[1][:0], material)[0].shape == (0, 4)
print("agree")
"""


@pytest.mark.skipif(not cuda_support.installed(), reason="needs numba-cuda")
def test_cuda_face_agrees_in_the_simulator():
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED], env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "agree", done.stderr


@pytest.mark.skipif(not cuda_support.installed(), reason="needs numba-cuda")
def test_cuda_kernel_compiles_to_ptx():
    from kernels.solids import return_map_cuda

    ptx = cuda_support.to_ptx(return_map_cuda.update_kernel, return_map_cuda.SIGNATURE)
    assert ".entry" in ptx
    assert "sqrt" in ptx
