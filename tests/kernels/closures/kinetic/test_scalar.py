"""The scalar rules against the complex formulas that they spell out."""

import numpy as np

from kernels.closures import harmonics
from kernels.closures.kinetic import _scalar
from kernels.closures.physics import Physics


def _numbers(count):
    rng = np.random.default_rng(3)
    return rng.standard_normal(count) + 1j * rng.standard_normal(count)


def test_the_bracket_is_the_complex_stencil():
    low, z, high, t = (complex(x) for x in _numbers(4))
    m, omega = 6, 0.37
    expected = 1j * m * omega / 2 * z + m / 2 * (t * low - np.conj(t) * high)
    real, imag = _scalar.bracket(
        m, omega, t.real, t.imag, low.real, low.imag, z.real, z.imag, high.real, high.imag
    )
    assert abs(real + 1j * imag - expected) < 1e-14  # a few roundings of numbers near 5


def test_the_stress_is_that_of_the_harmonics():
    z2, z4, strain = (complex(x) for x in _numbers(3))
    physics, c = Physics(-3.0, 1.3, beta=0.8), 1.1
    t = harmonics.driving(strain, z2, physics.zeta)
    real, imag = _scalar.stress(
        (physics.alpha - physics.beta * physics.zeta * c) / 2, physics.beta / 4, c,
        t.real, t.imag, z2.real, z2.imag, z4.real, z4.imag,
    )  # fmt: skip
    expected = harmonics.stress(
        physics, np.float64(c), np.complex128(z2), np.complex128(z4), np.complex128(strain)
    )
    assert abs(real + 1j * imag - expected) < 1e-14
