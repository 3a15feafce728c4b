"""Initial states of the reference runs: plane waves whose amplitude depends on the direction of particles."""

from math import comb

import numpy as np

from kernels.errors import InputError

WAVES = 8
"""Plane waves of a state."""

TOP = 3
"""Largest wave number along an axis."""

POWER = 4
"""Largest power of cos(2 theta + phase)."""


def plane_waves(points: int, modes: int, seed: int, amplitude: float = 0.1) -> np.ndarray:
    """Modes z (modes, n, n) complex, at points (i, j) L / n, of the apolar

        2 pi psi = 1 + sum_w amplitude cos(2 pi k_w.x / L + a_w) cos(2 theta + b_w)^p_w,

    eight waves, k_w, p_w and the phases drawn from the seed alone: any grid and any number of modes see the
    same function. Mean of c 1, psi nowhere negative (Maddu, Weady, Shelley, J. Comput. Phys. 2024, section
    5). Raises InputError where the grid or the modes cannot hold it, or psi could be negative.
    """
    if points <= 3 * TOP:
        raise InputError(f"the grid has {points} points along a side, expected above {3 * TOP}: raise points")
    if modes <= POWER:
        raise InputError(f"{modes} modes were given, expected above {POWER}: raise modes")
    if not 0.0 <= amplitude * WAVES <= 1.0:
        raise InputError(
            f"amplitude is {amplitude!r}, expected 0 to {1.0 / WAVES:g}, where psi is not negative: lower"
        )
    rng = np.random.default_rng(seed)
    axis = 2.0 * np.pi * np.arange(points) / points
    z = np.zeros((modes, points, points), dtype=np.complex128)
    z[0] = 1.0
    for _ in range(WAVES):
        wave = np.zeros(2, dtype=np.int64)
        while not wave.any():
            wave = rng.integers(-TOP, TOP + 1, 2)
        power = int(rng.integers(1, POWER + 1))
        shift, phase = rng.uniform(0.0, 2.0 * np.pi, 2)
        plane = amplitude * np.cos(wave[0] * axis[:, None] + wave[1] * axis + shift)
        for j in range(power % 2, power + 1, 2):  # the j-th even mode of cos(2 theta + phase)^power
            z[j] += 2.0**-power * comb(power, (power - j) // 2) * np.exp(-1j * j * phase) * plane
    return z
