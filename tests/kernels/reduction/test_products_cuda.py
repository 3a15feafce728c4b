import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from kernels import cuda_support

pytestmark = pytest.mark.skipif(not cuda_support.installed(), reason="numba-cuda is not installed")

ROOT = Path(__file__).resolve().parents[3]

SIMULATED = """
import numpy as np
from scipy import sparse
from kernels.reduction import products, products_cuda
random = np.random.default_rng(0)
left, right = random.standard_normal((5, 37)), random.standard_normal((18, 37))
np.testing.assert_allclose(products_cuda.inner_products(left, right), left @ right.T, atol=1e-13)
mass = sparse.csr_array(sparse.random_array((37, 37), density=0.2, rng=random))
mass = sparse.csr_array(mass + mass.T)
np.testing.assert_allclose(products_cuda.apply_mass(mass, left), products.apply_mass(mass, left), atol=1e-13)
print("equal")
"""


def test_simulated_kernels_equal_the_cpu():
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED],
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.parametrize("kernel", ["inner_products", "apply_mass"])
def test_kernels_compile_to_ptx(kernel):
    from numba.core import sigutils

    from kernels.reduction import products_cuda

    signature = {"inner_products": products_cuda.INNER_SIGNATURE, "apply_mass": products_cuda.MASS_SIGNATURE}
    arguments, _ = sigutils.normalize_signature(signature[kernel])
    from numba import types

    text = cuda_support.to_ptx(getattr(products_cuda, f"{kernel}_kernel"), types.void(*arguments))
    assert ".entry" in text
    assert "f64" in text


@pytest.mark.skipif(cuda_support.available(), reason="a CUDA device is present")
def test_no_device_is_an_error_that_names_the_remedy():
    from kernels.errors import InputError
    from kernels.reduction import products_cuda

    with pytest.raises(InputError, match="use the CPU face"):
        products_cuda.inner_products(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(InputError, match="use the CPU face"):
        products_cuda.apply_mass(sparse.csr_array(np.eye(2)), np.ones((1, 2)))


@pytest.mark.skipif(not cuda_support.available(), reason="no CUDA device")
def test_device_equals_the_cpu():
    from kernels.reduction import products, products_cuda

    random = np.random.default_rng(0)
    left, right = random.standard_normal((70, 501)), random.standard_normal((33, 501))
    np.testing.assert_allclose(products_cuda.inner_products(left, right), left @ right.T, atol=1e-11)
    mass = sparse.csr_array(np.eye(501) + np.diag(np.ones(500), 1) + np.diag(np.ones(500), -1))
    np.testing.assert_allclose(
        products_cuda.apply_mass(mass, left), products.apply_mass(mass, left), atol=1e-12
    )
