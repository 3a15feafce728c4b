"""Stage `evaluate_closure`: closed models beside the kinetic runs, a priori, in forecasts and in the long run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages import _closure_apriori as apriori
from stages import _closure_forecasts as forecasts
from stages import _closure_statistics as statistics
from stages._closure_runs import TRUTH, Condition, conditions_of, labels_of, rows_by_name
from stages._closure_table import METRICS, POOLED, pooled, summary, table
from stages.base import Stage, StageConfig, schema
from stages.variables import MOMENTS

if TYPE_CHECKING:
    from kernels.closures.base import Closure

__all__ = ["STAGE", "EvaluateClosureConfig", "summary", "table"]


class EvaluateClosureConfig(StageConfig):
    """What is compared, and when. baseline: the closure that similarity is relative to; late: time from
    which statistics are stationary; until: their end, that of the kinetic runs where none; leads: lead times
    at which VRMSE is listed; threshold: of the vorticity correlation; untrained: families of closures
    without weights whose a-priori error is taken beside the models'; frames: of each run that a-priori errors
    look at; bins: of densities and of the map over (r, |e|).
    """

    baseline: str = "bingham"
    late: float = Field(default=10.0, ge=0.0)
    until: float | None = None
    leads: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    threshold: float = Field(default=0.95, gt=0.0, lt=1.0)
    untrained: tuple[str, ...] = ()
    frames: int = Field(default=40, ge=1)
    bins: int = Field(default=24, ge=4, le=200)


@dataclass
class _Given:
    truth: xr.Dataset
    long: dict[str, xr.Dataset]
    short: dict[str, xr.Dataset]
    rules: dict[str, Callable[[], apriori.Rule]]

    @property
    def closures(self) -> list[str]:
        """Every closure once, the baselines that have no model first."""
        return list(dict.fromkeys([*self.long, *self.short, *self.rules]))


def run(config: EvaluateClosureConfig, truth: xr.Dataset, **several: xr.Dataset) -> xr.Dataset:
    """Scores of every closure against the kinetic runs of the test part, by condition (alpha, zeta) and in
    all.

    truth: moments of the kinetic runs; `models.<closure>`: trained closures, asked on true moments;
    `short.<closure>`: forecasts from frames of the truth, with `source` and `start` a sample, `time` from
    the start on; `long.<closure>`: runs from the initial states. One closure has one label in all of them.

    score (condition, closure, metric) and score_error, its standard error: see `_closure_table.METRICS` for
    units and meaning. The row "kinetic" has the statistics of the truth itself, and distances of one seed to
    the others: what chance alone makes. Errors of time means know the memory within a run and the scatter
    between seeds, whichever says more. Runs that died before `until` are left out of late-time statistics, and
    counted in `survival`; what they had till then is in `*_dead`. Where no run is left, statistics are NaN.
    Condition "all": see `_closure_table.pooled`.

    vrmse (condition, closure, field, lead) and vorticity correlation (condition, closure, forecast_time);
    `nearly_constant` marks fields whose VRMSE means nothing. spectrum (condition, closure, wavenumber);
    density_order, density_speed; error_map over (r, |e|); series_order and series_speed of every run.

    Raises InputError where a test sample is missing, where times or grids do not meet, and where the
    baseline is among the inputs of neither kind though closures were run.
    """
    given = _Given(
        truth, labels_of(several, "long"), labels_of(several, "short"), _rules(config, several)
    )
    if given.long and config.baseline not in given.long:
        raise InputError(
            f"similarity is relative to {config.baseline!r}, and the long runs are of {list(given.long)}: "
            "run the baseline too, or name another"
        )
    points = conditions_of(truth)
    names = [point.name for point in points]
    closures = [TRUTH, *given.closures]
    made = _Made(config, given, names, closures)
    for c, point in enumerate(points):
        made.condition(c, point)
    return made.dataset(points)


def _rules(
    config: EvaluateClosureConfig, several: Mapping[str, xr.Dataset]
) -> dict[str, Callable[[], apriori.Rule]]:
    """Closures that are asked a priori, each made when its turn comes."""
    found: dict[str, Callable[[], apriori.Rule]] = {}
    for family in config.untrained:
        found[family] = lambda name=family: apriori.rule_of(_untrained(name))
    for label, model in labels_of(several, "models").items():
        found[label] = lambda one=model: apriori.rule_of(_trained(one))
    return found


def _untrained(family: str) -> "Closure":
    from kernels.closures.families import build  # imports torch, for those who ask a closure

    return build(family)


def _trained(model: xr.Dataset) -> "Closure":
    from stages.closure_model import closure_of  # imports torch, for those who ask a closure

    return closure_of(model)
