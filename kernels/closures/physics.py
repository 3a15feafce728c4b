"""The numbers of an active suspension in the plane."""

from dataclasses import dataclass
from typing import Any

Number = Any
"""A float, or an array or tensor of one number a run that broadcasts against fields (..., n, n)."""


@dataclass(frozen=True)
class Physics:
    """Nondimensional numbers of the kinetic model (Maddu, Weady, Shelley, J. Comput. Phys. 2024, section 2).

    alpha: strength of the active dipole, negative for pushers; zeta: of the Maier-Saupe alignment; beta:
    particle concentration in the stress of immersed rods; rotary, translational: diffusion; speed: V0 of
    swimming along the own axis, 0 for apolar particles; length: side of the periodic square. The viscosity
    is 1.
    """

    alpha: Number
    zeta: Number
    beta: Number = 0.8
    rotary: Number = 0.05
    translational: Number = 0.05
    speed: float = 0.0
    length: float = 10.0
