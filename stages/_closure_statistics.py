"""Late-time statistics of kinetic and closed runs of one condition, and their distances."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from kernels.errors import InputError
from kernels.metrics.defects import count_defects
from kernels.metrics.distributions import similarity, wasserstein
from kernels.metrics.flow_spectrum import (
    log_spectrum_error,
    resolved,
    spectral_rmse,
    velocity_spectrum,
    wavenumbers,
)
from kernels.metrics.time_means import Mean, mean_over_runs, time_mean, z_score
from stages._closure_runs import Frames, frames_of, survived, unit_cost

STATISTICS = ("order", "u_rms", "defects")
"""What is averaged over late times; each comes with a relative bias and a z-score."""

DISTANCES = ("w1_order", "w1_speed", "spectrum_rmse")
"""Distances to the truth that similarity scores are made of."""


@dataclass
class Late:
    """Late times of all runs of one condition by one model, runs that died left out.

    means: statistic -> mean and standard error; dead: the same of the frames that the dead ones have;
    order, speed: pooled values, a list entry a run; spectrum: (runs, shells); other numbers by metric.
    """

    means: dict[str, Mean] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    order: list[np.ndarray] = field(default_factory=list)
    speed: list[np.ndarray] = field(default_factory=list)
    spectra: list[np.ndarray] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    series: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    points: int = 0
    length: float = 1.0


def order_of(frames: Frames) -> np.ndarray:
    """r = |z_2| / c, in [0, 1]; (t, n, n)."""
    return np.asarray(np.abs(frames.z2) / frames.c)


def gather(runs: xr.Dataset, rows: Sequence[int], late: float, until: float, what: str) -> Late:
    """Statistics of the runs `rows` over late <= t <= until.

    A run counts among them where it has all frames up to `until`; survival is judged at its own end.
    Raises InputError where less than two frames lie in that time.
    """
    found = Late(points=runs.sizes["x"], length=float(runs.attrs["length"]))
    times = np.asarray(runs["time"].values, dtype=np.float64)
    if ((times >= late) & (times <= until + 1e-6)).sum() < 2:
        raise InputError(
            f"{what!r} has frames from t = {times[0]:g} to {times[-1]:g}, fewer than two of them between "
            f"late = {late:g} and {until:g}: lower late, or run longer and store more frames"
        )
    whole: dict[str, list[Mean]] = {name: [] for name in STATISTICS}
    broken: dict[str, list[np.ndarray]] = {name: [] for name in STATISTICS}
    ends = []
    for row in rows:
        run = frames_of(runs, row)
        ends.append(run.times[-1] if len(run.times) else times[0])
        found.series.append(_series(run))
        part = run.between(late, until)
        complete = run.alive or (len(run.times) > 0 and run.times[-1] >= until - 1e-6)
        values = _values(part)
        if complete:
            for name in STATISTICS:
                whole[name].append(time_mean(values[name]))
            found.order.append(order_of(part).ravel())
            found.speed.append(np.hypot(part.u, part.v).ravel())
            found.spectra.append(velocity_spectrum(part.u, part.v).mean(axis=0))
        elif len(part.times):
            for name in STATISTICS:
                broken[name].append(values[name])
    found.means = {n: _pooled(n, mean_over_runs(v)) for n, v in whole.items() if v}
    found.dead = {n: _rooted(n, float(np.concatenate(v).mean())) for n, v in broken.items() if v}
    found.facts = _facts(runs, rows, np.array(ends))
    return found


def _series(run: Frames) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, mean order parameter and root-mean-square velocity of each frame."""
    if not len(run.times):
        return np.empty(0), np.empty(0), np.empty(0)
    return run.times, order_of(run).mean(axis=(1, 2)), np.sqrt((run.u**2 + run.v**2).mean(axis=(1, 2)))


def _values(part: Frames) -> dict[str, np.ndarray]:
    """Series of each statistic, (t,); u_rms by its square, which is what may be averaged."""
    plus, minus = count_defects(part.z2) if len(part.times) else (np.empty(0), np.empty(0))
    return {
        "order": order_of(part).mean(axis=(1, 2)),
        "u_rms": (part.u**2 + part.v**2).mean(axis=(1, 2)),
        "defects": (plus + minus) / part.length**2,
    }


def _pooled(name: str, mean: Mean) -> Mean:
    """u_rms of all frames and runs from the mean square: sqrt(m), with error dm / 2 sqrt(m)."""
    if name != "u_rms":
        return mean
    root = float(np.sqrt(mean.value))
    return Mean(root, mean.error / (2.0 * root) if root > 0.0 else float("nan"), mean.independent)


def _rooted(name: str, value: float) -> float:
    return float(np.sqrt(value)) if name == "u_rms" else value


def _facts(runs: xr.Dataset, rows: Sequence[int], ends: np.ndarray) -> dict[str, float]:
    last = float(runs["time"].values[-1])
    reached = np.minimum([survived(runs, row) for row in rows], ends)
    found = {
        "survival": float((reached >= last - 1e-6).mean()),
        "survived_until": float(np.minimum(reached, last).min()),
        "asked_until": last,
        "unit_cost": float(np.mean([unit_cost(runs, r, e) for r, e in zip(rows, reached, strict=True)])),
    }
    if "violations" in runs:
        found["violations"] = float(np.sum(runs["violations"].values[list(rows)]))
    if "power_residual" in runs:
        found["power_residual"] = float(np.max(np.abs(runs["power_residual"].values[list(rows)])))
    return found


def numbers(own: Late) -> tuple[dict[str, float], dict[str, float]]:
    """Scores and standard errors of what a model has without being compared."""
    score = {name: mean.value for name, mean in own.means.items()}
    score |= {f"{name}_dead": value for name, value in own.dead.items()} | own.facts
    return score, {name: mean.error for name, mean in own.means.items()}


def floors(truth: Late) -> dict[str, float]:
    """Distances of each seed of the truth to the other seeds, their mean: what chance alone makes."""
    if len(truth.order) < 2:
        return {}
    found: dict[str, list[float]] = {name: [] for name in (*DISTANCES, "spectrum_log_error")}
    for i in range(len(truth.order)):
        one = Late(order=[truth.order[i]], speed=[truth.speed[i]], spectra=[truth.spectra[i]])
        rest = Late(
            order=truth.order[:i] + truth.order[i + 1 :],
            speed=truth.speed[:i] + truth.speed[i + 1 :],
            spectra=truth.spectra[:i] + truth.spectra[i + 1 :],
        )
        one.points = rest.points = truth.points
        one.length = rest.length = truth.length
        for name, value in distances(rest, one).items():
            found[name].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def distances(truth: Late, model: Late) -> dict[str, float]:
    """Wasserstein-1 distances of pooled order parameters and speeds, and of spectra; empty where none can be.

    Spectra up to 2/3 of the Nyquist wave of the coarser grid.
    """
    if not (truth.order and model.order):
        return {}
    last = resolved(min(truth.points, model.points))
    own, other = (np.mean(one.spectra, axis=0) for one in (truth, model))
    return {
        "w1_order": wasserstein(np.concatenate(truth.order), np.concatenate(model.order)),
        "w1_speed": wasserstein(np.concatenate(truth.speed), np.concatenate(model.speed)),
        "spectrum_rmse": spectral_rmse(own, other, last),
        "spectrum_log_error": log_spectrum_error(own, other, last),
    }


def biases(truth: Late, model: Late) -> tuple[dict[str, float], dict[str, float]]:
    """Relative biases with standard errors, and z-scores, of every statistic that both have."""
    score, error = {}, {}
    for name in STATISTICS:
        if name not in truth.means or name not in model.means:
            continue
        own, other = truth.means[name], model.means[name]
        difference = other.value - own.value
        scale = own.value if own.value != 0.0 else float("nan")
        score[f"{name}_bias"] = difference / scale
        error[f"{name}_bias"] = float(np.hypot(own.error, other.error)) / abs(scale)
        score[f"{name}_z"] = z_score(difference, own.error, other.error)
    return score, error


def similarities(model: dict[str, float], baseline: dict[str, float]) -> dict[str, float]:
    """Similarity of every distance, and their mean."""
    found = {
        name: similarity(model[distance], baseline[distance])
        for name, distance in zip(
            ("similarity_order", "similarity_speed", "similarity_spectrum"), DISTANCES, strict=True
        )
        if distance in model and distance in baseline
    }
    return found | ({"similarity": float(np.mean(list(found.values())))} if found else {})


def shells(points: int, length: float) -> np.ndarray:
    """Wavenumbers of the shells that a grid resolves, without that of the mean."""
    return wavenumbers(points, length)[1 : resolved(points) + 1]
