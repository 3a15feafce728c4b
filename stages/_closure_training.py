"""Moments of several data sets as the runs that a closure is trained on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.closure_fields import NUMBERS, fields_of
from stages.ragged import sample_names
from stages.variables import FAILED, MOMENTS

if TYPE_CHECKING:
    from kernels.closures.training.data import Runs

_MIB = 2**20
_BYTES = 56
"""Of c, z_2, z_4 and e at a point."""


def runs_of(
    datasets: Mapping[str, xr.Dataset], part: int, begin: float, memory_mb: float, thin: bool
) -> "Runs | None":
    """All runs of a part of the data sets from time `begin` on; None where there are none.

    Frames are taken at the smallest stride with which they take `memory_mb`. Runs that failed, and times with
    values that are not finite, are left out. Raises InputError where the data sets have other grids or times,
    and, unless `thin`, where all frames take more memory.
    """
    picked = {label: _rows(data, part) for label, data in datasets.items()}
    picked = {label: rows for label, rows in picked.items() if len(rows)}
    if not picked:
        return None
    times = _shared({label: datasets[label] for label in picked})
    at = np.flatnonzero(times >= begin - 1e-9)
    if at.size == 0:
        raise InputError(f"no frame is at or after begin = {begin:g}, the last is at {times[-1]:g}: lower it")
    points = int(datasets[next(iter(picked))].sizes["x"]) ** 2
    count = sum(map(len, picked.values()))
    stride = int(np.ceil(count * at.size * points * _BYTES / (memory_mb * _MIB)))
    if stride > 1 and not thin:
        raise InputError(
            f"{count} runs of {at.size} frames take {count * at.size * points * _BYTES / _MIB:.0f} MiB, "
            f"memory_mb is {memory_mb:g}: raise it, raise `begin`, or keep fewer runs"
        )
    return _read(datasets, picked, times, at[:: max(1, stride)])


def _rows(data: xr.Dataset, part: int) -> np.ndarray:
    good = np.asarray(data["split"].values) == part
    if "status" in data:
        good &= np.asarray(data["status"].values) != FAILED
    return np.flatnonzero(good)


def _shared(datasets: Mapping[str, xr.Dataset]) -> np.ndarray:
    """The times of all data sets, which have one grid."""
    kinds = {
        label: (data.sizes["x"], float(data.attrs["length"]), tuple(np.round(data["time"].values, 9)))
        for label, data in datasets.items()
    }
    first = next(iter(kinds))
    for label, kind in kinds.items():
        if kind != kinds[first]:
            raise InputError(
                f"runs {label!r} have {kind[0]} points, side {kind[1]:g} and {len(kind[2])} times, runs "
                f"{first!r} {kinds[first][0]}, {kinds[first][1]:g} and {len(kinds[first][2])}, or others: "
                "expected one grid and the same times"
            )
    return np.asarray(datasets[first]["time"].values, dtype=np.float64)


def _read(
    datasets: Mapping[str, xr.Dataset], picked: Mapping[str, np.ndarray], times: np.ndarray, at: np.ndarray
) -> "Runs":
    import torch

    from kernels.closures.training.data import Runs

    parts: dict[str, list[np.ndarray]] = {"c": [], "z2": [], "z4": [], "strain": []}
    numbers: dict[str, list[float]] = {name: [] for name in NUMBERS}
    names = []
    for label, rows in picked.items():
        data = datasets[label]
        known = sample_names(data)
        for row in rows:
            one = data[list(MOMENTS)].isel(sample=int(row), time=at).transpose("time", "x", "y")
            fields = fields_of(one)
            if not all(np.isfinite(getattr(fields, name)).all() for name in parts):
                raise InputError(
                    f"run {known[row]!r} has moments that are not finite and is not marked as failed: give "
                    "it the status failed, or raise `begin`"
                )
            for name, kept in parts.items():
                kept.append(getattr(fields, name))
            for name, values in numbers.items():
                values.append(float(data[name].values[row]))
            names.append(known[row])
    c, z2, z4, strain = (torch.from_numpy(np.stack(kept)) for kept in parts.values())
    first = datasets[next(iter(picked))]
    return Runs(
        c, z2, z4, strain, {name: torch.tensor(v, dtype=torch.float64) for name, v in numbers.items()},
        torch.from_numpy(times[at].copy()), float(first.attrs["length"]), tuple(names),
    )  # fmt: skip
