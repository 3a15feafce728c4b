"""Gaussian random fields by their Karhunen-Loeve series: functions, not arrays, so any grid may read them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernels.errors import InputError

Ends = Literal["periodic", "neumann", "dirichlet"]


@dataclass(frozen=True)
class Covariance:
    """Covariance scale^2 (-Laplace + tau^2)^(-alpha) on the unit cube of one or two dimensions.

    ends: boundary condition of the Laplacian, whose eigenfunctions are products of 1, cos and sin of 2 pi k x
    (periodic), of cos pi k x (neumann) or of sin pi k x (dirichlet). modes: largest k. The constant is left
    out, so fields have mean zero over the domain (periodic, neumann). Li et al. (2021, appendix A.3) take
    scale = tau^(alpha - dimension / 2), which makes the pointwise variance depend little on tau; tau is an
    inverse length, and samples have alpha - dimension / 2 derivatives.
    """

    ends: Ends
    dimension: int
    tau: float
    alpha: float
    scale: float
    modes: int

    def __post_init__(self) -> None:
        if self.dimension not in (1, 2) or self.modes < 1:
            raise InputError(
                f"a random field in {self.dimension} dimensions with {self.modes} modes, expected 1 or 2 "
                "dimensions and at least one mode"
            )
        if not self.alpha > self.dimension / 2:
            raise InputError(
                f"alpha is {self.alpha:.6g}, expected above {self.dimension / 2:g} in {self.dimension} "
                "dimensions, where samples are functions: raise alpha"
            )
        if self.ends not in ("periodic", "neumann", "dirichlet"):
            raise InputError(f"ends is {self.ends!r}, expected periodic, neumann or dirichlet")

    def numbers(self) -> np.ndarray:
        """Wave number, 1/length, of every basis function along an axis."""
        k = np.arange(1, self.modes + 1)
        if self.ends == "periodic":
            return 2.0 * np.pi * np.concatenate([[0], np.repeat(k, 2)])
        return np.pi * (np.concatenate([[0], k]) if self.ends == "neumann" else k)

    def deviations(self) -> np.ndarray:
        """Standard deviation of every coefficient, (functions,) or (functions, functions)."""
        square = self.numbers() ** 2
        if self.dimension == 2:
            square = square[:, None] + square[None, :]
        spread = self.scale * (square + self.tau**2) ** (-0.5 * self.alpha)
        if self.ends != "dirichlet":
            spread.flat[0] = 0.0
        return spread

    def basis(self, x: np.ndarray) -> np.ndarray:
        """Orthonormal functions along an axis at positions x (points,), as (points, functions)."""
        k = np.arange(1, self.modes + 1)
        if self.ends == "dirichlet":
            return np.sqrt(2.0) * np.sin(np.pi * np.outer(x, k))
        values = np.empty((len(x), len(self.numbers())))
        values[:, 0] = 1.0
        if self.ends == "neumann":
            values[:, 1:] = np.sqrt(2.0) * np.cos(np.pi * np.outer(x, k))
        else:
            values[:, 1::2] = np.sqrt(2.0) * np.cos(2.0 * np.pi * np.outer(x, k))
            values[:, 2::2] = np.sqrt(2.0) * np.sin(2.0 * np.pi * np.outer(x, k))
        return values


@dataclass(frozen=True)
class Field:
    """One function: sum over the basis of coefficient * function."""

    covariance: Covariance
    coefficients: np.ndarray

    def at(self, *axes: np.ndarray) -> np.ndarray:
        """Values on the tensor grid of the axes, one position array a dimension."""
        if len(axes) != self.covariance.dimension:
            raise InputError(f"{len(axes)} axes for a field in {self.covariance.dimension} dimensions")
        values = self.covariance.basis(axes[0]) @ self.coefficients
        return values if len(axes) == 1 else values @ self.covariance.basis(axes[1]).T

    def near(self, points: np.ndarray) -> np.ndarray:
        """Values at the points (n, dimension), wherever they lie."""
        values = self.covariance.basis(points[:, 0]) @ self.coefficients
        if self.covariance.dimension == 1:
            return values
        return np.asarray((values * self.covariance.basis(points[:, 1])).sum(axis=1))


def draw(covariance: Covariance, random: np.random.Generator) -> Field:
    """A sample: independent normal coefficients, drawn from the longest waves to the shortest.

    So more modes add detail to the same function, and no grid has a say in it.
    """
    deviations = covariance.deviations()
    normal = random.standard_normal(deviations.size)
    if covariance.dimension == 1:
        return Field(covariance, deviations * normal)
    first, second = np.indices(deviations.shape).reshape(2, -1)
    order = np.lexsort((second, first, np.maximum(first, second)))
    placed = np.empty(deviations.size)
    placed[order] = normal
    return Field(covariance, deviations * placed.reshape(deviations.shape))
