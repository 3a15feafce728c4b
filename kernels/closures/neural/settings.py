"""Settings of the learned closures, free of torch so that a config is checked at once: one explicit list.

parameters: numbers of `kernels.closures.physics.Physics` that the network is given. base: what the network is
a correction of; an untrained one is the Bingham closure, or z_4 = z_2^2 / c where there is none.
"""

from dataclasses import dataclass
from typing import Literal

Base = Literal["bingham", "none"]

PARAMETERS = ("alpha", "zeta", "beta", "rotary", "translational")
"""Numbers of the physics that a network may be given."""


@dataclass(frozen=True)
class LocalSettings:
    """Gradient-free: looks at q = z_2 / c alone. width, depth: of the hidden layers."""

    width: int = 16
    depth: int = 2
    parameters: tuple[str, ...] = ("alpha", "zeta")
    base: Base = "bingham"


@dataclass(frozen=True)
class StrainSettings:
    """Looks at q and the strain rate. width, depth: of the hidden layers."""

    width: int = 24
    depth: int = 2
    parameters: tuple[str, ...] = ("alpha", "zeta")
    base: Base = "bingham"


@dataclass(frozen=True)
class GradientSettings:
    """Looks at q, the strain rate, and first and second derivatives of q; 16 wide it is within a tenth of the
    error of 32 at half of the cost."""

    width: int = 16
    depth: int = 2
    parameters: tuple[str, ...] = ("alpha", "zeta")
    base: Base = "bingham"


@dataclass(frozen=True)
class CnnSettings:
    """Convolutions of isotropic stencils, `points` (odd) along a side, over invariants."""

    width: int = 24
    depth: int = 2
    points: int = 5
    parameters: tuple[str, ...] = ("alpha", "zeta")
    base: Base = "bingham"


@dataclass(frozen=True)
class FnoSettings:
    """Fourier neural operator over invariants; modes, width, layers as the library counts them."""

    modes: int = 12
    width: int = 12
    layers: int = 2
    parameters: tuple[str, ...] = ("alpha", "zeta")
    base: Base = "bingham"


@dataclass(frozen=True)
class PaperSettings:
    """The network of Maddu, Weady, Shelley (2024): five sine layers of 50 by default."""

    width: int = 50
    depth: int = 5
    parameters: tuple[str, ...] = ("alpha", "zeta")


SETTINGS: dict[str, type] = {
    "local": LocalSettings,
    "strain": StrainSettings,
    "gradient": GradientSettings,
    "cnn": CnnSettings,
    "fno": FnoSettings,
    "paper": PaperSettings,
}
