"""Settings of every operator family, free of torch so that a config is checked at once: one explicit list."""

from dataclasses import dataclass
from typing import Literal

Padding = Literal["zeros", "reflect", "circular"]
"""Boundary condition of a stencil: Dirichlet, Neumann, periodic."""


@dataclass(frozen=True)
class MgnoSettings:
    """Multigrid neural operator.

    channels, layers: width and depth. levels: grids of the cycle, None: down to 4 points. halvings: of the
    training grid, down to the grid that the cycle runs on; 1 is what makes finer grids safe. pre, post:
    smoothing steps on the way down and up; coarsest: steps on the coarsest grid. padding: None takes the
    signature's boundary. scaled: without halvings, stencils above the training grid are scaled with h^2.
    as_published: levels bound to the array, stencils that do not know h.
    """

    channels: int = 24
    layers: int = 4
    levels: int | None = None
    pre: int = 1
    post: int = 0
    coarsest: int = 1
    padding: Padding | None = None
    halvings: int = 0
    scaled: bool = True
    as_published: bool = False


@dataclass(frozen=True)
class DeepOnetSettings:
    """Branch and trunk networks: width, depth (hidden layers), number of products a channel.

    features: sines and cosines of the coordinates that the trunk is given beside them, by wave number.
    """

    width: int = 128
    depth: int = 4
    products: int = 64
    features: int = 4
    activation: Literal["gelu", "tanh"] = "gelu"


@dataclass(frozen=True)
class MultiOnetSettings:
    """As DeepOnetSettings; averaged: how many of the last layers are summed with weights."""

    width: int = 128
    depth: int = 5
    averaged: int = 4
    features: int = 4
    activation: Literal["gelu", "tanh"] = "gelu"


@dataclass(frozen=True)
class SponSettings:
    """Structure-preserving operator network on finite element spaces.

    degree: of the elements. processor, rounds, levels: how degrees of freedom meet, how often, and over how
    many coarse spaces. linear: half of the channels pass every activation as they are.
    """

    degree: Literal[1, 2] = 1
    width: int = 32
    rounds: int = 4
    processor: Literal["message_passing", "multigrid"] = "multigrid"
    levels: int = 3
    linear: bool = True


@dataclass(frozen=True)
class FnoSettings:
    """Fourier neural operator of the library neuraloperator.

    modes: kept along every axis, as the library counts them. padding: by which part of itself the domain is
    extended before the transforms, for boundaries that are not periodic.
    """

    modes: int = 12
    width: int = 32
    layers: int = 4
    padding: float = 0.0


@dataclass(frozen=True)
class KernelRidgeSettings:
    """Kernel ridge regression between flattened fields; None: by cross-validation in the training part.

    length: of the kernel, in units of the root mean square distance of the training inputs. ridge: relative
    to the mean eigenvalue. sensitivity: power of the metric learnt from the linear regression, 0 for the
    plain one. linear: whether the linear kernel is added.
    """

    kernel: Literal["rbf", "matern"] | None = None
    length: float | None = None
    ridge: float | None = None
    sensitivity: float | None = None
    linear: bool | None = None


@dataclass(frozen=True)
class LinearSettings:
    """Ridge regression between flattened fields; ridge: relative to the largest eigenvalue, 0 for least
    squares of least norm, None: chosen by cross-validation in the training part."""

    ridge: float | None = None


@dataclass(frozen=True)
class MeanSettings:
    """Mean of the training outputs: the bar under every bar."""


SETTINGS: dict[str, type] = {
    "mgno": MgnoSettings,
    "deeponet": DeepOnetSettings,
    "multionet": MultiOnetSettings,
    "spon": SponSettings,
    "fno": FnoSettings,
    "kernel_ridge": KernelRidgeSettings,
    "linear": LinearSettings,
    "mean": MeanSettings,
}

CLOSED_FORM = frozenset({"kernel_ridge", "linear", "mean"})
"""Families that are fitted in closed form: a seed changes nothing."""
