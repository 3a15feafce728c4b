"""Errors of S:T where a closure is given the true moments: by component, to the director, over (r, |e|)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from kernels.closures import harmonics
from kernels.errors import InputError
from kernels.metrics.eigenframe import Split, split_error
from kernels.metrics.forecasts import nmse
from stages.closure_fields import Fields, fields_of, physics_of
from stages.variables import MOMENTS

if TYPE_CHECKING:
    from kernels.closures.base import Closure
    from kernels.closures.physics import Physics

_BLOCK = 8
"""Frames that a closure is given at once."""

_VIOLATION = 1e-9
"""Share of c by which fourth moments may leave the disc before they count as moments that no psi has."""

Rule = Callable[[Fields, "Physics"], tuple[np.ndarray, np.ndarray]]
"""z_4 of frames (t, n, n), and the factor g of `Closure.isotropic`."""


@dataclass(frozen=True)
class Run:
    """Late frames of one kinetic run: fields, numbers, true trace and deviator of S:T."""

    fields: Fields
    physics: "Physics"
    trace: np.ndarray
    deviator: np.ndarray


def late_runs(truth: xr.Dataset, rows: Sequence[int], late: float, until: float, most: int) -> list[Run]:
    """Frames with late <= t <= until of the samples `rows`, at most `most` of each, evenly spread.

    Neighbouring frames are nearly alike, so a part of them says as much as all.
    """
    times = np.asarray(truth["time"].values, dtype=np.float64)
    at = np.flatnonzero((times >= late - 1e-6) & (times <= until + 1e-6))
    if at.size > most:
        at = at[np.unique(np.round(np.linspace(0, at.size - 1, most)).astype(np.int64))]
    found = []
    for row in rows:
        one = truth[list(MOMENTS)].isel(sample=row, time=at)
        values = {str(n): np.asarray(v.transpose("time", "x", "y").values) for n, v in one.items()}
        good = np.all([np.isfinite(v).all(axis=(1, 2)) for v in values.values()], axis=0)
        values = {name: v[good] for name, v in values.items()}
        if not good.any():
            continue
        fields, physics = fields_of(values), physics_of(truth, row)
        trace, _ = _contraction(fields, fields.z4, fields.c, physics)
        found.append(Run(fields, physics, trace, values["ST_xx"] - trace / 2.0 + 1j * values["ST_xy"]))
    if not found:
        raise InputError(
            f"no kinetic run has a finite frame between late = {late:g} and {until:g}: lower late, or look "
            "at the reasons that the runs give"
        )
    return found


def _contraction(
    fields: Fields, z4: np.ndarray, isotropic: np.ndarray, physics: "Physics"
) -> tuple[np.ndarray, np.ndarray]:
    t = harmonics.driving(fields.strain, fields.z2, physics.zeta)
    return harmonics.contraction(fields.c, fields.z2, z4, t, 2.0 * physics.zeta * fields.c, isotropic)


@dataclass
class Errors:
    """A-priori errors of one closure in one condition; the map is (r, |e|) with its edges elsewhere."""

    scores: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)
    error_map: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


def errors(runs: Sequence[Run], rule: Rule, edges: tuple[np.ndarray, np.ndarray]) -> Errors:
    """NMSE of S:T, all late frames of all runs together, standard errors from the scatter over the runs.

    apriori_nmse: mean of the components xx, xy and yy; along, across: components nn and nm, n the director;
    share: part of the squared error that is across; violations: part of the points that have moments of a
    density until the closure adds its own; map: root mean square of the error of the deviator in bins of r
    and |e| over that of the truth in all, NaN in bins without a point.
    """
    guesses = [_guess(run, rule) for run in runs]
    pooled = _scores(runs, guesses)
    single = [_scores([run], [guess]) for run, guess in zip(runs, guesses, strict=True)]
    found = Errors(pooled)
    if len(runs) > 1:
        for name in pooled:
            values = np.array([one[name] for one in single])
            found.deviations[name] = float(values.std(ddof=1) / np.sqrt(values.size))
    outside = [_outside(run, z4) for run, (z4, _) in zip(runs, guesses, strict=True)]
    found.scores["apriori_violations"] = float(np.concatenate(outside).mean())
    found.error_map = _map(runs, [deviator for _, deviator in guesses], edges)
    return found


def _guess(run: Run, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """z_4 and the deviator of S:T by the closure."""
    parts = []
    for start in range(0, len(run.trace), _BLOCK):
        at = slice(start, start + _BLOCK)
        f = run.fields
        parts.append(rule(Fields(f.c[at], f.z2[at], f.z4[at], f.strain[at], f.u[at], f.v[at]), run.physics))
    z4, isotropic = (np.concatenate(part) for part in zip(*parts, strict=True))
    return z4, _contraction(run.fields, z4, isotropic, run.physics)[1]


def _scores(runs: Sequence[Run], guesses: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    trace, truth, guess, z2 = (
        np.concatenate([np.ravel(part) for part in parts])
        for parts in (
            [run.trace for run in runs],
            [run.deviator for run in runs],
            [deviator for _, deviator in guesses],
            [run.fields.z2 for run in runs],
        )
    )
    xx = nmse(trace / 2.0 + truth.real, trace / 2.0 + guess.real)
    xy = nmse(truth.imag, guess.imag)
    yy = nmse(trace / 2.0 - truth.real, trace / 2.0 - guess.real)
    split: Split = split_error(z2, (trace, truth), (trace, guess))
    return {
        "apriori_nmse": (xx + xy + yy) / 3.0,
        "apriori_nmse_xx": xx, "apriori_nmse_xy": xy, "apriori_nmse_yy": yy,
        "apriori_along": split.along, "apriori_across": split.across, "apriori_share_across": split.share,
    }  # fmt: skip


def _outside(run: Run, z4: np.ndarray) -> np.ndarray:
    """Points whose z_4 no density has, though one has their z_2."""
    f = run.fields
    possible = np.abs(f.z2) <= f.c * (1.0 - _VIOLATION)
    return np.ravel(possible & (harmonics.excess(f.c, f.z2, z4) > _VIOLATION * f.c))


def unrealizable(runs: Sequence[Run]) -> float:
    """Part of the points of the truth that no density has: a grid or modes that do not resolve it."""
    fields = [run.fields for run in runs]
    return float(np.mean([(harmonics.excess(f.c, f.z2, f.z4) > _VIOLATION * f.c).mean() for f in fields]))


def map_edges(runs: Sequence[Run], bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins of r and |e|: [0, 1], and up to what 99.5 % of the points are below."""
    strain = np.concatenate([np.abs(run.fields.strain).ravel() for run in runs])
    return np.linspace(0.0, 1.0, bins + 1), np.linspace(0.0, float(np.quantile(strain, 0.995)), bins + 1)


def _map(
    runs: Sequence[Run], guesses: Sequence[np.ndarray], edges: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    total, count = np.zeros((2, len(edges[0]) - 1, len(edges[1]) - 1))
    size, number = 0.0, 0
    for run, guess in zip(runs, guesses, strict=True):
        place = (np.abs(run.fields.z2 / run.fields.c).ravel(), np.abs(run.fields.strain).ravel())
        square = np.abs(guess - run.deviator).ravel() ** 2
        total += np.histogram2d(*place, bins=list(edges), weights=square)[0]
        count += np.histogram2d(*place, bins=list(edges))[0]
        size, number = size + float((np.abs(run.deviator) ** 2).sum()), number + square.size
    mean = total / np.where(count > 0, count, np.nan)
    return np.asarray(np.sqrt(mean / (size / number)))


def rule_of(closure: "Closure") -> Rule:
    """A closure asked with numpy arrays, without gradients, in double precision."""

    def rule(fields: Fields, physics: "Physics") -> tuple[np.ndarray, np.ndarray]:
        import torch  # two seconds, for those who ask a closure

        from kernels.closures.base import Moments
        from kernels.fields.periodic import PeriodicSquare

        grid = PeriodicSquare(fields.c.shape[-1], physics.length, "torch")
        c, z2, strain = (
            torch.from_numpy(np.ascontiguousarray(v)) for v in (fields.c, fields.z2, fields.strain)
        )
        moments = Moments(c, z2, strain, grid)
        with torch.no_grad():
            found = closure(moments, physics), closure.isotropic(moments)
        return np.asarray(found[0].numpy()), np.asarray(found[1].numpy())

    return rule
