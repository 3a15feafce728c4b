"""Moments of made-up runs whose statistics are known: smooth periodic fields that wander in time."""

import numpy as np
import xarray as xr

from kernels.closures.physics import Physics
from stages.base import variable
from stages.closure_fields import Fields, variables_of
from stages.variables import MOMENTS, TEST, TRAIN

LENGTH = 10.0


def smooth(random: np.random.Generator, frames: int, n: int, memory: float = 0.8) -> np.ndarray:
    """Complex fields (frames, n, n) of a few long waves whose amplitudes are an autoregressive process."""
    waves = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
    s = np.arange(n) * 2.0 * np.pi / n
    shapes = np.stack([np.exp(1j * (i * s[:, None] + j * s[None, :])) for i, j in waves])
    noise = random.normal(size=(frames, len(waves), 2)) @ np.array([1.0, 1j])
    amplitude = [noise[0]]
    for step in noise[1:]:
        amplitude.append(memory * amplitude[-1] + np.sqrt(1.0 - memory**2) * step)
    return np.einsum("tw,wxy->txy", np.array(amplitude), shapes) / np.sqrt(2.0 * len(waves))


def one_run(seed: int, times: np.ndarray, n: int, physics: Physics) -> dict[str, np.ndarray]:
    """Fields of one run, z_4 = z_2^2 / c and an incompressible flow with its own strain rate."""
    random = np.random.default_rng(seed)
    c = 1.0 + 0.01 * smooth(random, len(times), n).real
    raw = smooth(random, len(times), n)
    z2 = 0.9 * raw / np.sqrt(1.0 + np.abs(raw) ** 2)
    stream = np.fft.fft2(smooth(random, len(times), n).real * abs(physics.alpha))
    k = 2.0 * np.pi / LENGTH * np.fft.fftfreq(n, 1.0 / n)
    kx, ky = k[:, None], k[None, :]
    back = lambda coefficients: np.fft.ifft2(coefficients).real  # noqa: E731
    u, v = back(1j * ky * stream), back(-1j * kx * stream)
    strain = back(-kx * ky * stream) + 0.5j * back((kx**2 - ky**2) * stream)
    return variables_of(Fields(c, z2, z2**2 / c, strain, u, v), physics)


def moments(
    conditions: tuple[tuple[float, float], ...] = ((-3.0, 1.0),),
    seeds: tuple[int, ...] = (5, 6, 7),
    until: float = 30.0,
    frames: int = 61,
    n: int = 12,
    trained: tuple[int, ...] = (0,),
) -> xr.Dataset:
    """A data set of moments: `seeds` belong to the test part, `trained` to the training part."""
    times = np.linspace(0.0, until, frames)
    rows = [
        (a, z, s, part)
        for a, z in conditions
        for part, each in ((TRAIN, trained), (TEST, seeds))
        for s in each
    ]
    runs = [one_run(1000 * i + s, times, n, Physics(a, z)) for i, (a, z, s, _) in enumerate(rows)]
    alpha, zeta, seed, part = zip(*rows, strict=True)
    numbers = {"alpha": alpha, "zeta": zeta, "run_seed": seed, "split": part}
    numbers |= {"beta": [0.8] * len(rows), "rotary": [0.05] * len(rows), "translational": [0.05] * len(rows)}
    numbers["sample_name"] = [f"a{a:g}_z{z:g}_s{s}" for a, z, s, _ in rows]
    found = {name: variable(name, values) for name, values in numbers.items()}
    found |= {name: variable(name, np.stack([run[name] for run in runs])) for name in MOMENTS}
    axis = np.arange(n) * LENGTH / n
    found["run_seconds"] = xr.Variable("sample", np.full(len(rows), 60.0), {"units": "s"})
    return xr.Dataset(found, {"time": times, "x": axis, "y": axis}, {"length": LENGTH})


def closed(truth: xr.Dataset, order: float = 1.0, speed: float = 1.0, part: int = TEST) -> xr.Dataset:
    """A long run that is the truth with its order parameter and its velocity scaled by known factors."""
    kept = truth.isel(sample=np.flatnonzero(truth["split"].values == part)).drop_vars("run_seconds")
    found = kept.copy(deep=True)
    c = kept["concentration"]
    found["D_xx"] = c / 2.0 + order * (kept["D_xx"] - c / 2.0)
    found["D_xy"] = order * kept["D_xy"]
    for name in ("u_x", "u_y", "E_xx", "E_xy"):
        found[name] = speed * kept[name]
    for name in MOMENTS:
        found[name].attrs = dict(kept[name].attrs)
    count, last = kept.sizes["sample"], float(kept["time"].values[-1])
    found["survived_until"] = variable("survived_until", np.full(count, last))
    found["step_seconds"] = variable("step_seconds", np.full(count, 0.002))
    found["violations"] = variable("violations", np.zeros(count, dtype=np.int64))
    found["power_residual"] = variable("power_residual", np.full(count, 1e-11))
    found.attrs["step"] = 0.01
    return found


def dies(run: xr.Dataset, row: int, at: float) -> xr.Dataset:
    """The same with one run ruined after a time."""
    found = run.copy(deep=True)
    late = found["time"].values > at
    for name in MOMENTS:
        found[name].values[row, late] = np.nan
    found["survived_until"].values[row] = at
    return found


def forecast(truth: xr.Dataset, starts: tuple[float, ...], span: float, drift: float = 0.0) -> xr.Dataset:
    """Forecasts of the test samples: the truth, with its velocity leaning to a shifted copy in time.

    After a lead t the flow is cos(drift t) of the truth and sin(drift t) of the truth moved by a quarter of
    the box, which is another field.
    """
    step = float(truth["time"].values[1] - truth["time"].values[0])
    count = round(span / step) + 1
    pieces, names, sources, begin = [], [], [], []
    lead = np.arange(count) * step
    for row in np.flatnonzero(truth["split"].values == TEST):
        name = str(truth["sample_name"].values[row])
        for start in starts:
            first = round(start / step)
            one = truth[list(MOMENTS)].isel(sample=row, time=slice(first, first + count))
            one = one.assign_coords(time=lead).copy(deep=True)
            turn = xr.DataArray(drift * lead, dims="time")
            for field in ("u_x", "u_y"):
                moved = one[field].roll(x=one.sizes["x"] // 4)
                one[field] = np.cos(turn) * one[field] + np.sin(turn) * moved
            pieces.append(one.transpose("time", "x", "y"))
            names.append(f"{name}@{start:g}")
            sources.append(name)
            begin.append(start)
    found = xr.concat(pieces, "sample")
    data = {
        name: variable(name, found[name].transpose("sample", "time", "x", "y").values) for name in MOMENTS
    }
    data["sample_name"] = variable("sample_name", np.array(names))
    data["source"] = xr.Variable("sample", np.array(sources))
    data["start"] = xr.Variable("sample", np.array(begin), {"units": "1"})
    coords = {"time": lead, "x": truth["x"].values, "y": truth["y"].values}
    return xr.Dataset(data, coords, {"length": truth.attrs["length"]})
