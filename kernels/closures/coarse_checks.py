"""What the coarse model refuses, and the largest time step at which it is stable."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.closures.coarse_rates import Known
from kernels.closures.physics import Physics
from kernels.errors import InputError

NUMBERS = ("alpha", "zeta", "beta", "rotary", "translational")
PASSING = 1.4
"""Part of the largest speed that counts: fast places are small and pass before a wave has grown there. Runs
in developed flow, alpha -1 to -5 and zeta 0.5 to 5, were stable to 1.6 times the step of the whole speed."""
AMPLIFIED = 1e-3
"""Growth in a step that counts as stable: methods amplify long waves, which move little in a step, by far
less."""


def check_fields(c: Tensor, z2: Tensor, points: int) -> None:
    """Raise InputError unless c and z_2 are finite (B, n, n) on the model's grid and c is positive."""
    if c.ndim != 3 or c.shape != z2.shape or c.shape[1:] != (points, points) or not len(c):
        raise InputError(
            f"c has shape {tuple(c.shape)} and z_2 {tuple(z2.shape)}, expected both (runs, {points}, "
            f"{points}) on the grid of the model: resample the fields or build the model for their grid"
        )
    if c.dtype != torch.float64 or z2.dtype != torch.complex128:
        raise InputError(f"c is {c.dtype} and z_2 {z2.dtype}, expected torch.float64 and torch.complex128")
    with torch.no_grad():
        finite = (
            torch.isfinite(c).all() and torch.isfinite(torch.view_as_real(z2.detach().resolve_conj())).all()
        )
        lowest = float(c.min())
    if not finite:
        raise InputError("c or z_2 is not finite somewhere, expected numbers: look at what made the fields")
    if lowest <= 0.0:
        raise InputError(f"c is {lowest:.6g} somewhere, expected a positive concentration everywhere")


def check_physics(physics: Physics, runs: int, length: float) -> None:
    """Raise InputError unless the numbers are finite, fit the batch and describe what the model holds for."""
    for name in NUMBERS:
        value = getattr(physics, name)
        if isinstance(value, Tensor) and value.numel() != 1 and tuple(value.shape) != (runs, 1, 1):
            raise InputError(
                f"{name} has shape {tuple(value.shape)}, expected one number or ({runs}, 1, 1), one a run"
            )
        lowest = float(value.detach().min()) if isinstance(value, Tensor) else float(value)
        finite = bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else np.isfinite(lowest)
        if not finite or (lowest < 0.0 and name != "alpha"):
            raise InputError(
                f"{name} is {lowest:.6g}, expected a finite number" + ", 0 or more" * (name != "alpha")
            )
    if physics.speed != 0.0:
        raise InputError(
            f"speed is {physics.speed:.6g}, expected 0: the coarse model is of apolar particles; "
            "swimmers need the polar kinetic model"
        )
    if abs(physics.length - length) > 1e-12 * length:
        raise InputError(
            f"length is {physics.length:.6g}, the grid of the model has {length:.6g}: make them equal"
        )


def _flat(value: Any, runs: int) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy().reshape(-1)
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (runs,))


def stable_step(method: Any, known: Known, physics: Physics, points: int, length: float) -> Tensor:
    """Largest time step (B,) at which no wave of the linear problem with frozen coefficients grows.

    Waves s (1, 0) and s (1, 1), up to what the filter keeps, have the implicit rates -d_T s^2 - 4 d_R and
    -2 d_T s^2 - 4 d_R and explicit ones of imaginary part s |u| + |omega| and s (|u| + |v|) + |omega|, from
    transport (over `PASSING`) and rotation, and real part 0 or -4 (zeta c + |e|): where psi is a narrow peak
    of variance s along t, r = 1 - 2 s, s_t = -4 |t| s + 2 d_R and |t| <= zeta c + |e|. The method's own
    amplification of such waves is asked, all at their largest.
    """
    c, e, flow = known.c.detach(), known.flow.strain.detach(), known.flow
    runs = len(e)

    def peak(values: Tensor) -> np.ndarray:
        return np.asarray(values.detach().amax(dim=(-2, -1)).cpu().numpy()).reshape(-1, 1)

    u, v, turning = flow.u.abs(), flow.v.abs(), peak(flow.vorticity.abs())
    zeta, moving, rotary = (
        _flat(x, runs)[:, None] for x in (physics.zeta, physics.translational, physics.rotary)
    )
    s = np.linspace(0.0, 2.0 * np.pi / length * np.floor((points - 1) / 3.0), 33)
    implicit = np.hstack([-moving * s**2, -2.0 * moving * s**2]) - 4.0 * rotary
    carried = np.hstack([peak(torch.maximum(u, v)) * s, peak(u + v) * s]) / PASSING + turning
    shrinking = -4.0 * (zeta * peak(c) + peak(e.abs()))
    linear, explicit = np.tile(implicit, 2), np.hstack([1j * carried, 1j * carried + shrinking])

    def stable(step: np.ndarray) -> np.ndarray:
        grown = method.growth(linear * step[:, None], explicit * step[:, None])
        return np.asarray((grown <= 1.0 + AMPLIFIED).all(axis=1))

    low, high = np.full(runs, 1e-6), np.full(runs, 2e-6)
    for _ in range(30):
        fine = stable(high)
        if not fine.any():
            break
        low, high = np.where(fine, high, low), np.where(fine, 2.0 * high, high)
    for _ in range(12):
        middle = 0.5 * (low + high)
        fine = stable(middle)
        low, high = np.where(fine, middle, low), np.where(fine, high, middle)
    return torch.from_numpy(low).to(e.device)


def check_step(limit: Tensor, step: float) -> None:
    """Raise InputError where the time step is above the limit of a run."""
    worst = int(limit.argmin())
    if step > float(limit[worst]):
        raise InputError(
            f"time_step is {step:.6g}, expected at most {float(limit[worst]):.4g}, where steps of run "
            f"{worst} are stable for its flow and its alignment: lower it"
        )


def taken(physics: Physics, keep: Tensor) -> Physics:
    """The numbers of some runs."""
    parts: dict[str, Any] = {
        name: value[keep]
        for name in NUMBERS
        if isinstance(value := getattr(physics, name), Tensor) and value.numel() > 1
    }
    return dataclasses.replace(physics, **parts)
