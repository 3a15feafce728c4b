"""Scores of predictions against the truth, streamed over the test samples in blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from kernels.errors import InputError
from kernels.metrics.coverage import interval_scores
from kernels.metrics.fields import boundary_error, max_error, mean_error, relative_h1, relative_l2
from kernels.metrics.measures import GridMeasure, Measure, MeshMeasure
from kernels.metrics.spectrum import BANDS, spectral_errors
from stages.operator_data import Channels, is_mesh, signature
from stages.ragged import take

METRICS = (
    *("relative_l2", "relative_h1", "boundary_error", "max_error", "mean_error"),
    *(f"spectral_{band}" for band in BANDS),
    *(f"spectral_share_{band}" for band in BANDS),
)
"""Scores of a sample, all relative; spectral: over the truth of the band; share: over the truth of all."""

ENSEMBLE = "ensemble"
"""Label of the prediction that joins all seeds of a candidate."""

INTERVALS = {
    "coverage": "part of the points inside the interval, mean over samples",
    "coverage_whole": "part of the samples that lie inside the pointwise interval everywhere",
    "interval_width": "mean width of the pointwise interval, in the units of the output",
    "simultaneous_coverage": "part of the samples that lie inside the simultaneous interval everywhere",
    "simultaneous_width": "mean width of the simultaneous interval, in the units of the output",
}
"""What is measured of intervals; a simultaneous one is made to hold at all points at once."""

KINDS = ("mean", "interpolated")
"""A prediction, and the same model's at its own resolution interpolated."""

_BLOCK = 16


@dataclass(frozen=True)
class Given:
    """One input `predictions.<candidate>.<seed>`; rows: of the test samples, in their order."""

    name: str
    candidate: str
    seed: str
    dataset: xr.Dataset
    rows: np.ndarray

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of prediction that it has."""
        has = any(str(name).endswith("_interpolated") for name in self.dataset.data_vars)
        return KINDS if has else KINDS[:1]

    def levels(self) -> np.ndarray:
        """Nominal levels of its intervals; none where it has no intervals."""
        if "interval_factor" not in self.dataset:
            return np.empty(0)
        return np.asarray(self.dataset["interval_level"].values, dtype=np.float64)

    def factors(self, kind: str, output: str, position: int) -> np.ndarray:
        """Half widths over the standard deviation at every level; NaN where there are none of that kind."""
        if kind not in self.dataset:
            return np.full(self.levels().size, np.nan)
        factors = self.dataset[kind]
        if "output_channel" in factors.coords:
            return np.asarray(factors.sel(output_channel=output).values, dtype=np.float64)
        return np.asarray(factors.values[:, position], dtype=np.float64)


def labelled(predictions: Mapping[str, xr.Dataset], names: Sequence[str]) -> list[Given]:
    """The inputs by candidate and seed; `names`: test samples.

    Raises InputError where a name is not predictions.<candidate>.<seed>, or test samples are missing.
    """
    found = []
    for name, dataset in predictions.items():
        candidate, _, seed = name.removeprefix("predictions.").rpartition(".")
        if not candidate or not seed:
            raise InputError(
                f"input {name!r} is not named predictions.<candidate>.<seed>: name the seed, or "
                f"{ENSEMBLE!r} for all of them together"
            )
        at = {str(n): i for i, n in enumerate(dataset["sample_name"].values)}
        lacking = [n for n in names if n not in at]
        if lacking:
            raise InputError(
                f"{name!r} lacks {len(lacking)} of {len(names)} test samples, such as {lacking[:3]}: scores "
                "over different samples cannot be compared; predict the whole test part"
            )
        found.append(Given(name, candidate, seed, dataset, np.array([at[n] for n in names], dtype=np.int64)))
    return found


def served(given: Sequence[Given]) -> tuple[list[Given], dict[str, str]]:
    """Inputs with a prediction of every test sample, and candidate -> why its others have not.

    A mean over fewer samples cannot be compared. Raises InputError where no input is left.
    """
    kept, lacking = [], {}
    for one in given:
        reasons = [] if "unserved" not in one.dataset else one.dataset["unserved"].values[one.rows].tolist()
        said = [str(reason) for reason in reasons if reason]
        if said:
            lacking[one.candidate] = f"{len(said)} of {len(reasons)} samples, {said[0]}"
        else:
            kept.append(one)
    if not kept:
        shown = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        raise InputError(f"no model can serve the test samples ({shown}): take candidates that can")
    return kept, lacking


@dataclass
class Scores:
    """values: (input name, kind) -> (quantities, metrics, samples); intervals: input name -> (quantities, 5,
    levels, samples), see INTERVALS; seconds: input name -> (samples,).
    """

    values: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    intervals: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, np.ndarray] = field(default_factory=dict)


def gather(data: xr.Dataset, rows: np.ndarray, outputs: Channels, given: Sequence[Given]) -> Scores:
    """Scores of the samples `rows` of the data set for all predictions.

    Raises InputError where a prediction is on another grid or mesh, or is not finite: it is named.
    """
    names, scores = outputs.outputs, Scores()
    _check_grids(data, names, given)
    for one in given:
        shape = (len(names), len(METRICS), len(rows))
        scores.values |= {(one.name, kind): np.full(shape, np.nan) for kind in one.kinds}
        scores.seconds[one.name] = np.asarray(one.dataset["inference_seconds"].values)[one.rows]
        if one.levels().size and all(f"{name}_std" in one.dataset for name in names):
            scores.intervals[one.name] = np.empty((len(names), 5, one.levels().size, len(rows)))
    for at, measure, truth, read in _blocks(data, rows, names, given):
        for one in given:
            for kind in one.kinds:
                guess = read(one, kind)
                for q, (u, v) in enumerate(zip(truth, guess, strict=True)):
                    scores.values[one.name, kind][q, :, at] = _score(measure, u, v - u)
                    if kind == KINDS[0] and one.name in scores.intervals:
                        found = _intervals(one, names[q], q, v - u, read(one, "std")[q])
                        scores.intervals[one.name][q, ..., at] = found
    return scores


def _score(measure: Measure, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """(metrics, samples)."""
    plain = (
        relative_l2(measure, truth, error), relative_h1(measure, truth, error),
        boundary_error(measure, truth, error), max_error(truth, error), mean_error(measure, truth, error),
    )  # fmt: skip
    if isinstance(measure, MeshMeasure):
        return np.stack([*plain, *np.full((6, len(truth)), np.nan)])
    own, share = spectral_errors(measure, truth, error)
    return np.stack([*plain, *own.T, *share.T])


def _intervals(one: Given, output: str, q: int, error: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(5, levels, samples), in the order of INTERVALS; NaN where a factor is not known or infinite."""
    found = []
    for kind, kept in (("interval_factor", (0, 1, 2)), ("simultaneous_factor", (1, 2))):
        factors = one.factors(kind, output, q)
        scored = interval_scores(error, std, factors)[list(kept)]
        found.append(np.where(np.isfinite(factors)[:, None], scored, np.nan))
    return np.concatenate(found)


def _check_grids(data: xr.Dataset, names: Sequence[str], given: Sequence[Given]) -> None:
    for one in given:
        for name in names:
            if f"{name}_mean" not in one.dataset:
                raise InputError(
                    f"{one.name!r} has no {name + '_mean'!r}: expected predictions of all outputs "
                    f"{list(names)} of the data set"
                )
            truth, guess = data[name], one.dataset[f"{name}_mean"]
            if truth.dims != guess.dims:
                raise InputError(f"{one.name!r}: {name!r} has dims {guess.dims}, the data set {truth.dims}")
            for axis in () if is_mesh(data) else map(str, truth.dims[1:]):
                mine, theirs = truth[axis].values, guess[axis].values
                if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=1e-9, atol=1e-12):
                    raise InputError(
                        f"{one.name!r} has {theirs.size} points along {axis!r}, the data set {mine.size}, or "
                        "they are at other places: evaluate one resolution at a time, with predictions made "
                        "from this data set"
                    )


class _Read:
    """Fields of one block: (quantities, samples, *points) of a prediction, loaded once each."""

    def __init__(self, at: slice, names: Sequence[str], labels: Sequence[str], nodes: int | None) -> None:
        self.at, self.names, self.labels, self.nodes = at, names, labels, nodes

    def __call__(self, one: Given, kind: str) -> np.ndarray:
        part = take(one.dataset, one.rows[self.at])
        if self.nodes is not None and part.sizes["node"] != self.nodes:
            raise InputError(
                f"{one.name!r} has {part.sizes['node']} nodes of sample {self.labels[0]!r}, the data set "
                f"{self.nodes}: predict this data set"
            )
        found = np.stack([np.asarray(part[f"{n}_{kind}"].values, dtype=np.float64) for n in self.names])
        if self.nodes is not None:
            found = found[:, None]
        if not np.isfinite(found).all():
            bad = int(np.argwhere(~np.isfinite(found))[0][1])
            raise InputError(
                f"{one.name!r}: the prediction ({kind}) of sample {self.labels[bad]!r} is not finite; the "
                "training diverged, or the sample is far outside what was trained: leave the candidate out, "
                "or train it again"
            )
        return found


def _blocks(
    data: xr.Dataset, rows: np.ndarray, names: Sequence[str], given: Sequence[Given]
) -> Iterator[tuple[slice, Measure, np.ndarray, _Read]]:
    """Where a block lies among the samples, its measure, its truth, and how predictions of it are read."""
    labels = [str(n) for n in data["sample_name"].values[rows]]
    if not is_mesh(data):
        own = signature(data)
        measure = GridMeasure(own.out_grid, own.out_around)
        for start in range(0, len(rows), _BLOCK):
            at = slice(start, min(start + _BLOCK, len(rows)))
            part = data[list(names)].isel(sample=rows[at])
            yield at, measure, _values(part, names), _Read(at, names, labels[at], None)
        return
    kept = data[["node_count", "cell_count", "x", "connectivity", *names]]
    last: MeshMeasure | None = None
    for i, row in enumerate(rows):
        part = take(kept, [row]).load()
        mesh = MeshMeasure(np.asarray(part["x"].values), np.asarray(part["connectivity"].values))
        if last is None or not (np.array_equal(last.x, mesh.x) and np.array_equal(last.cells, mesh.cells)):
            last = mesh  # matrices are made once where all samples have one mesh
        at = slice(i, i + 1)
        yield at, last, _values(part, names)[:, None], _Read(at, names, labels[at], part.sizes["node"])


def _values(part: xr.Dataset, names: Sequence[str]) -> np.ndarray:
    return np.stack([np.asarray(part[name].values, dtype=np.float64) for name in names])
