"""Learned closures that look at one point, and what all learned closures share."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from kernels.closures.base import Closure, Moments
from kernels.closures.neural import disc, fused
from kernels.closures.neural.network import Perceptron, standardised
from kernels.closures.neural.settings import PARAMETERS, SETTINGS, LocalSettings, StrainSettings
from kernels.closures.physics import Physics
from kernels.errors import InputError


class Neural(Closure):
    """z_4 / c = q^2 + (1 - |q|^2) w, w = w_0 (+) squash(sum_k a_k b_k), see `kernels.closures.neural.disc`.

    b_k: basis of charge 4 and of second order about isotropy, which so keeps its exact growth rates; a_k:
    network of invariants of rotations and mirrors and of numbers of the physics; w_0: the Bingham closure,
    or 0. So f is frame-indifferent and realizable whatever the weights are. Where |q| > 1, which no density
    has but a coarse model may overshoot to, f is that of full alignment, c (q / |q|)^2.
    """

    family: ClassVar[str]
    invariants: ClassVar[int]
    terms: ClassVar[int]
    settings: Any
    network: Any

    def __init__(self, settings: Any = None) -> None:
        super().__init__()
        settings = self._settled(settings)
        unknown = [name for name in settings.parameters if name not in PARAMETERS]
        if unknown:
            raise InputError(f"the physics has no number {unknown}, expected some of {list(PARAMETERS)}")
        if settings.width < 1:
            raise InputError(f"{self.family!r} was given a width of {settings.width}, expected at least 1")
        self.settings = settings
        inputs = self.invariants + len(settings.parameters)
        for name, count in (("mean", inputs), ("scale", inputs), ("term_scale", self.terms)):
            value = torch.zeros if name == "mean" else torch.ones
            self.register_buffer(name, value(count, dtype=torch.float64))
        self._make(inputs)

    @classmethod
    def _settled(cls, settings: Any) -> Any:
        kind = SETTINGS[cls.family]
        found = settings or kind()
        if not isinstance(found, kind):
            raise InputError(
                f"{cls.family!r} takes {kind.__name__}, got {type(settings).__name__}: pass those settings"
            )
        return found

    mean: Tensor
    scale: Tensor
    term_scale: Tensor

    def _make(self, inputs: int) -> None:
        settings = self.settings
        if settings.depth < 1:
            raise InputError(f"{self.family!r} was given a depth of {settings.depth}, expected at least 1")
        self.network = Perceptron(inputs, self.terms, settings.width, settings.depth)

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """Invariants (real) and terms of charge 4 (complex)."""
        raise NotImplementedError

    def coefficients(self, inputs: Tensor) -> Tensor:
        """Network of standardised inputs, the inputs and the terms last."""
        found: Tensor = self.network(inputs)
        return found

    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_4; without gradients on a processor by the fused kernel where the family has one."""
        if not torch.is_grad_enabled() and self.family in fused.FAMILIES:
            made = fused.Frozen(self, physics)
            if made.serves(moments):
                return made(moments)
        q = moments.z2 / moments.c
        scalars, terms = self.seen(q, moments)
        weights = self.coefficients(self.inputs(scalars, physics)) / self.term_scale
        v = terms[0] * weights[..., 0]
        for k in range(1, self.terms):
            v = v + terms[k] * weights[..., k]
        w = disc.squash(v)
        if self.settings.base == "bingham":
            w = disc.joined(disc.bingham(q), w)
        size = q.real**2 + q.imag**2
        return moments.c * (q * q / size.clamp(min=1.0) + (1.0 - size).clamp(min=0.0) * w)

    def frozen(self, physics: Physics) -> Callable[[Moments], Tensor]:
        """As `Closure.frozen`, by the fused kernel where the family has one and the rule is this class's."""
        if self.family not in fused.FAMILIES or type(self).forward is not Neural.forward:
            return super().frozen(physics)
        made = fused.Frozen(self, physics)
        return lambda moments: made(moments) if made.serves(moments) else self(moments, physics)

    def inputs(self, scalars: list[Tensor], physics: Physics) -> Tensor:
        """What the network is given (..., k): invariants and numbers of the physics, standardised."""
        return (torch.stack(self._raw(scalars, physics), dim=-1) - self.mean) / self.scale

    def _raw(self, scalars: list[Tensor], physics: Physics) -> list[Tensor]:
        return [*scalars, *(_spread(getattr(physics, n), scalars[0]) for n in self.settings.parameters)]

    def calibrate(self, moments: Moments, physics: Physics) -> None:
        """Take means and scales of inputs and terms from moments that the closure will be trained on."""
        with torch.no_grad():
            scalars, terms = self.seen(moments.z2 / moments.c, moments)
            mean, scale = standardised(self._raw(scalars, physics))
            self.mean.copy_(mean)
            self.scale.copy_(scale)
            sizes = torch.stack([b.abs().square().mean().sqrt() for b in terms])
            self.term_scale.copy_(torch.where(sizes > 0.0, sizes, torch.ones_like(sizes)))


def _spread(number: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(number, dtype=torch.float64, device=like.device).expand(like.shape)


class Local(Neural):
    """Gradient-free: w from a(|q|^2) q^2, which is every closure of z_2 alone."""

    family = "local"
    invariants = 1
    terms = 1
    settings: LocalSettings

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """|q|^2; q^2."""
        return [q.real**2 + q.imag**2], [q * q]


class Strain(Neural):
    """Strain-aware: w from a q^2 + b q e + d e^2, coefficients of |q|^2, |e|^2, Re conj(q) e.

    Two complex numbers of one charge have these invariants of rotations and mirrors and no others, and any
    two of the terms span all that has charge 4.
    """

    family = "strain"
    strain_aware = True
    invariants = 3
    terms = 3
    settings: StrainSettings

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """As in the class."""
        return strain_seen(q, moments.strain)


def strain_seen(q: Tensor, e: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """|q|^2, |e|^2, Re conj(q) e; q^2, q e, e^2."""
    scalars = [q.real**2 + q.imag**2, e.real**2 + e.imag**2, q.real * e.real + q.imag * e.imag]
    return scalars, [q * q, q * e, e * e]
