"""Which parameter matters: Sobol indices of Saltelli designs, RBD-FAST and delta indices of other samples."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kernels.errors import InputError
from pipelines.studies.definition import Definition, Range
from pipelines.studies.results import column

LEAST = 64
"""Points that given-data indices need."""
SEED = 1
"""Of the draws behind the intervals; SALib takes 0 for none, and would draw anew in every process."""
RESAMPLES = 100


@dataclass(frozen=True)
class Indices:
    """Indices of one metric: a row a parameter; `how` says which, and from how many points."""

    metric: str
    how: str
    table: pd.DataFrame


def sensitivity(definition: Definition, table: pd.DataFrame, metric: str) -> list[Indices]:
    """Indices of a metric, as far as the design allows.

    saltelli: first-order and total Sobol indices with 95 % intervals (Saltelli et al. 2010, SALib).
    random, latin_hypercube, sobol: first-order indices by RBD-FAST (Tarantola, Gatelli, Mara 2006) and delta
    indices (Plischke, Borgonovo, Smith 2013), from given data. Raises InputError saying why not, and what to
    do.
    """
    design = definition.design
    ranges = {n: entry for n, entry in design.parameters.items() if isinstance(entry, Range)}
    if design.method not in ("saltelli", "random", "latin_hypercube", "sobol"):
        raise InputError(
            f"no indices: not possible because the points of method {design.method!r} are no sample of "
            "ranges; use method = 'saltelli' for Sobol indices, or 'latin_hypercube' for RBD-FAST and delta"
        )
    if len(ranges) < len(design.parameters) or design.repeats or design.where:
        raise InputError(
            "no indices: not possible because they need parameters that vary over ranges, one by one: use "
            "low and high for all, without where and repeats"
        )
    if len(ranges) < 2:
        raise InputError("no indices: not possible because there is one parameter: vary at least two")
    problem = _problem(ranges)
    values = table[metric].to_numpy(dtype=np.float64)
    good = np.isfinite(values)
    if np.ptp(values[good]) == 0.0 if good.any() else True:
        raise InputError(f"no indices: not possible because {metric!r} does not vary")
    if design.method == "saltelli":
        return [_sobol(definition, problem, values, good, metric)]
    return _given_data(
        problem, table[list(map(column, ranges))].to_numpy(dtype=np.float64), values, good, metric
    )


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings of SALib, which sets filters and a format of its own for all of this process."""
    before = warnings.formatwarning
    try:
        with warnings.catch_warnings(record=True):
            yield
    finally:
        warnings.formatwarning = before


def _problem(ranges: dict[str, Range]) -> dict[str, Any]:
    bounds = [[0.0, 1.0]] * len(ranges)
    return {"num_vars": len(ranges), "names": list(ranges), "bounds": bounds}


def _sobol(
    definition: Definition, problem: dict[str, Any], values: np.ndarray, good: np.ndarray, metric: str
) -> Indices:
    from SALib.analyze import sobol

    second = definition.design.second_order
    group = problem["num_vars"] * (2 if second else 1) + 2
    if not good.all():
        # a base point counts with all its rows or not at all
        whole = good.reshape(-1, group).all(axis=1)
        if whole.sum() < 2:
            raise InputError(
                f"no indices: not possible because {int((~good).sum())} of {len(good)} points have no "
                f"{metric!r}: finish the study, or mend what fails"
            )
        values = values.reshape(-1, group)[whole].ravel()
    with _silence():
        found = sobol.analyze(problem, values, calc_second_order=second, seed=SEED)
    table = pd.DataFrame(
        {
            "parameter": problem["names"], "first order": found["S1"], "+- (first)": found["S1_conf"],
            "total": found["ST"], "+- (total)": found["ST_conf"],
        }
    )  # fmt: skip
    return Indices(metric, f"Sobol indices, {len(values) // group} base points", table)


def _given_data(
    problem: dict[str, Any], points: np.ndarray, values: np.ndarray, good: np.ndarray, metric: str
) -> list[Indices]:
    from SALib.analyze import rbd_fast

    count = int(good.sum())
    if count < LEAST:
        raise InputError(
            f"no indices: not possible from {count} points with {metric!r}, at least {LEAST}: extend it"
        )
    points, values = points[good], values[good]
    # ranks: the indices do not depend on the scale, and integer or log ranges are then alike
    unit = (np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0) + 0.5) / count
    with _silence():
        fast = rbd_fast.analyze(problem, unit, values, seed=SEED)
        moment = np.array([_delta(column, values) for column in unit.T])
    names = problem["names"]
    return [
        Indices(
            metric, f"first order by RBD-FAST, {count} points",
            pd.DataFrame({"parameter": names, "first order": fast["S1"], "+-": fast["S1_conf"]}),
        ),
        Indices(
            metric, f"delta, {count} points",
            pd.DataFrame({"parameter": names, "delta": moment[:, 0], "+-": moment[:, 1]}),
        ),
    ]  # fmt: skip


def _delta(inputs: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """delta = E |density of the metric - its density given the input| / 2 and half its 95 % interval.

    Plischke, Borgonovo and Smith (Eur. J. Oper. Res. 226, 2013): eq. 26 over classes of equal size, as many
    as their section 5 advises, less the bias by the bootstrap, eq. 30. The estimate is of the points
    themselves: SALib's `analyze` takes it from one random draw, which moves it by as much as the interval.
    """
    from SALib.analyze.delta import calc_delta

    count = len(values)
    power = 2.0 / (7.0 + np.tanh((1500.0 - count) / 500.0))
    classes = np.linspace(0, count, round(min(np.ceil(count**power), 48.0)) + 1)
    grid = np.linspace(values.min(), values.max(), 100)
    draws = np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))
    resampled = [calc_delta(values[draw], grid, inputs[draw], classes) for draw in draws]
    estimate = 2.0 * calc_delta(values, grid, inputs, classes) - np.mean(resampled)
    return float(estimate), 1.96 * float(np.std(resampled, ddof=1))
