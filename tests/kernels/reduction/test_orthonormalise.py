"""Gram-Schmidt in a mass inner product, on rows that nearly depend on each other."""

import numpy as np
from scipy import sparse

from kernels.reduction.basis import orthonormalise


def test_nearly_dependent_rows_stay_orthonormal():
    random = np.random.default_rng(0)
    mass = sparse.csr_array(sparse.diags_array(0.5 + random.random(60)))
    rows = random.standard_normal(60) + 1e-7 * random.standard_normal((12, 60))
    lower, unit = orthonormalise(rows, mass)
    # one pass of classical Gram-Schmidt leaves 1e-2 here, the square of the condition number times rounding
    np.testing.assert_allclose(unit @ (mass @ unit.T), np.eye(12), atol=1e-12)
    np.testing.assert_allclose(lower @ unit, rows, atol=1e-13)
