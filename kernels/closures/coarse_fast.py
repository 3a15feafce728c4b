"""Steps of the coarse model without a graph: compiled loops between transforms into memory that is kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.closures import _coarse_loops as loops
from kernels.closures.coarse_rates import Rates
from kernels.fields.imex import Sbdf2


class FastSteps:
    """`Sbdf2` steps of `Rates` on the CPU, once three strain rates are known: the same numbers to rounding.

    The closure is asked as in `Rates`; all else is in arrays that are made once. What is handed out is new.
    """

    def __init__(self, rates: Rates, stepper: Sbdf2, runs: int) -> None:
        n, self.rates, self.runs, self.step = rates.grid.points, rates, runs, stepper.step
        self.n, self.fields = n, 2 if rates.uniform is not None else 3
        m = rates.m

        def flat(values: Tensor) -> np.ndarray:
            return np.ascontiguousarray(values.reshape(*values.shape[:-2], -1).numpy())

        self.kx, self.ky, self.to_u, self.to_v, self.cross, self.along = (flat(part) for part in m.planes())
        self.mask = flat(m.rates[-self.fields :].real)
        self.solve = flat(stepper.solve.real.expand(runs, -1, -1, -1))
        p = rates.physics
        self.numbers = [self._each(value) for value in (p.alpha, p.beta, p.zeta)]
        self.chebyshev = [[self._each(value) for value in pair] for pair in rates.stepping]
        self.spectra, self.values = self._pair(3, self.fields)
        self.driven, self.sigma = self._pair(2)
        self.strain, self.found = self._pair(2)
        self.moved, self.flow = self._pair(5)
        self.out = self._pair(self.fields)[1]
        self.z2, self.linear, self.guess, self.change = (
            torch.zeros(runs, n, n, dtype=torch.complex128) for _ in range(4)
        )
        self.c = torch.ones(runs, n, n, dtype=torch.float64)
        if rates.uniform is not None:
            self.c *= rates.uniform
        names = "spectra values driven sigma strain found moved flow out z2 linear guess change c"
        self.a = SimpleNamespace(**{name: _array(getattr(self, name)) for name in names.split()})

    def _pair(self, *shape: int) -> tuple[Tensor, Tensor]:
        """Memory for coefficients and for the planes of some fields."""
        head = (self.runs, *shape, self.n)
        return (
            torch.empty(*head, self.n // 2 + 1, dtype=torch.complex128),
            torch.empty(*head, self.n, dtype=torch.float64),
        )

    def _each(self, value: Any) -> np.ndarray:
        if isinstance(value, Tensor):
            value = value.detach().reshape(-1).numpy()
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), (self.runs,)))

    def advance(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The state (v, v before, rate before) one step later; the strain rate joins `rates.history`."""
        after, strain = torch.empty_like(state[0]), torch.empty_like(self.z2)
        v, before, rate_before = map(_array, state)
        rate = torch.fft.rfft2(self._rates(v, _array(strain)))
        loops.sbdf2(v, before, _array(rate), rate_before, self.mask, self.solve, self.step, _array(after))
        self.rates.history = [*self.rates.history[1:], strain]
        return after, state[0], rate

    def _rates(self, v: np.ndarray, strain: np.ndarray) -> Tensor:
        """Planes (runs, fields, n, n) of the rates; the strain rate goes to `strain`."""
        a = self.a
        loops.slopes(v, self.kx, self.ky, a.spectra)
        torch.fft.irfft2(self.spectra, s=(self.n, self.n), out=self.values)
        e3, e2, e1 = map(_array, self.rates.history)
        loops.prepare(a.values, e1, e2, e3, a.z2, a.linear, a.guess, a.c)
        z4, g = map(_array, self.rates.close(self.c, self.z2, self.linear))
        self._solve(z4, g)
        loops.rates(a.values, a.flow, a.c, a.z2, z4, g, self.numbers[2], strain, a.out)
        return self.out

    def _solve(self, z4: np.ndarray, g: np.ndarray) -> None:
        """The flow of the moments, from the strain rates in `guess`."""
        a, size = self.a, (self.n, self.n)
        alpha, beta, zeta = self.numbers
        loops.stress(a.c, a.z2, z4, g, a.guess, alpha, beta, zeta, a.sigma)
        for p, q in self.chebyshev[: self.rates.iterations - 1]:
            torch.fft.rfft2(self.sigma, out=self.driven)
            loops.strained(a.driven, self.cross, self.along, a.strain)
            torch.fft.irfft2(self.strain, s=size, out=self.found)
            loops.corrected(a.found, p, q, a.change, a.c, a.z2, z4, g, a.guess, alpha, beta, zeta, a.sigma)
        torch.fft.rfft2(self.sigma, out=self.driven)
        loops.flowing(a.driven, self.cross, self.along, self.to_u, self.to_v, a.moved)
        torch.fft.irfft2(self.moved, s=size, out=self.flow)


def _array(values: Tensor) -> np.ndarray:
    """(runs, ..., points or waves) on the memory of a tensor where its order allows."""
    values = values.detach().resolve_conj().contiguous()
    return values.numpy().reshape(*values.shape[:-2], -1)
