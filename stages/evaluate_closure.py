"""Stage `evaluate_closure`: closed models beside the kinetic runs, in moments, forecasts and long runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages import _closure_apriori as apriori
from stages import _closure_forecasts as forecasts
from stages import _closure_statistics as statistics
from stages._closure_runs import TRUTH, Condition, conditions_of, labels_of, rows_by_name
from stages._closure_table import METRICS, POOLED, pooled, summary, table
from stages.base import Stage, StageConfig, schema, variable
from stages.closure_model import outside
from stages.variables import MOMENTS

__all__ = ["STAGE", "EvaluateClosureConfig", "summary", "table"]


class EvaluateClosureConfig(StageConfig):
    """What is compared, and when. baseline: the closure that similarity is relative to; late: time from
    which statistics are stationary; until: their end, that of the kinetic runs where none; leads: lead times
    at which VRMSE is listed; threshold: of the vorticity correlation; untrained: families of closures
    without weights whose a-priori error is taken beside the models'; frames: of each run that a-priori errors
    look at; bins: of the map over (r, |e|), half of those of
    densities.
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
    models: dict[str, xr.Dataset]

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
    between seeds, whichever says more. Runs that died before `until` are left out of late-time statistics and
    counted in `survival`; what they had till then is in `*_dead`. Where no run is left, statistics are NaN.
    Condition "all": see `_closure_table.pooled`. A condition of which every kinetic run failed before `until`
    has no scores, and says so in `undefined`. `outside` is 1 where a model was not trained at such numbers.

    vrmse (condition, closure, field, lead) and vorticity correlation (condition, closure, forecast_time);
    `nearly_constant` marks fields whose VRMSE means nothing. spectrum (condition, closure, wavenumber);
    density_order, density_speed; error_map over (r, |e|); series_order and series_speed of every run.

    Raises InputError where a test sample is missing, no condition has a whole kinetic run, times or grids do
    not meet, and where there are long runs, and none of the baseline.
    """
    given = _Given(
        truth,
        labels_of(several, "long"),
        labels_of(several, "short"),
        _rules(config, several),
        labels_of(several, "models"),
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
    if all(made.reasons[: len(points)]):
        raise InputError(
            f"there is nothing to compare with: {points[0].name}: {made.reasons[0]}; set until to what the "
            "runs have, or mend the runs"
        )
    return made.dataset(points)


def _rules(
    config: EvaluateClosureConfig, several: Mapping[str, xr.Dataset]
) -> dict[str, Callable[[], apriori.Rule]]:
    """Closures that are asked a priori, each made when its turn comes."""
    found: dict[str, Callable[[], apriori.Rule]] = {}
    for family in config.untrained:
        found[family] = partial(_untrained, family)
    for label, model in labels_of(several, "models").items():
        found[label] = partial(_trained, model)
    return found


def _untrained(family: str) -> apriori.Rule:
    from kernels.closures.families import build  # imports torch, for those who ask a closure

    return apriori.rule_of(build(family))


def _trained(model: xr.Dataset) -> apriori.Rule:
    from stages.closure_model import closure_of  # imports torch, for those who ask a closure

    return apriori.rule_of(closure_of(model))


class _Made:
    """The arrays of the result, filled condition by condition."""

    def __init__(
        self, config: EvaluateClosureConfig, given: _Given, conditions: Sequence[str], closures: Sequence[str]
    ) -> None:
        self.config, self.given, self.closures = config, given, list(closures)
        self.until = late_window(config, float(given.truth["time"].values[-1]))[1]
        self.conditions = [*conditions, POOLED]
        shape = (len(self.conditions), len(self.closures))
        self.score, self.error = np.full((2, *shape, len(METRICS)), np.nan)
        self.times = _shared_times(given.short)
        fields = len(forecasts.ALL_FIELDS)
        self.vrmse, self.vrmse_error = np.full((2, *shape, fields, self.times.size), np.nan)
        self.correlation, self.correlation_error = np.full((2, *shape, self.times.size), np.nan)
        self.steady = np.zeros((shape[0], fields), dtype=np.int8)
        every = [given.truth, *given.long.values()]
        coarsest = min(one.sizes["x"] for one in every)
        self.waves = statistics.shells(coarsest, float(given.truth.attrs["length"]))
        self.spectrum, self.spectrum_error = np.full((2, *shape, self.waves.size), np.nan)
        bins = {"order": 2 * config.bins, "speed": 2 * config.bins, "strain": config.bins}
        self.density = {name: np.full((*shape, bins[name]), np.nan) for name in ("order", "speed")}
        self.edges = {name: np.full((shape[0], count + 1), np.nan) for name, count in bins.items()}
        self.map = np.full((*shape, config.bins, config.bins), np.nan)
        self.series_times = np.unique(np.concatenate([np.round(one["time"].values, 9) for one in every]))
        rows = sum(len(one.rows) for one in conditions_of(given.truth))
        self.series = np.full((2, len(self.closures), rows, self.series_times.size), np.nan)
        self.samples: list[tuple[str, str]] = []
        self.reasons = [""] * len(self.conditions)

    def put(self, c: int, closure: str, score: Mapping[str, float], error: Mapping[str, float]) -> None:
        """Enter scores and their errors by name."""
        m, names = self.closures.index(closure), list(METRICS)
        for name, value in score.items():
            self.score[c, m, names.index(name)] = value
        for name, value in error.items():
            self.error[c, m, names.index(name)] = value

    def condition(self, c: int, point: Condition) -> None:
        """All scores of one condition."""
        first = len(self.samples)
        names = self.given.truth["sample_name"].values
        self.samples += [(str(names[row]), point.name) for row in point.rows]
        own = statistics.gather(self.given.truth, point.rows, self.config.late, self.until, "truth")
        if not own.order:
            ends = ", ".join(f"{one[0][-1] if len(one[0]) else 0.0:g}" for one in own.series)
            self.reasons[c] = f"no kinetic run reaches t = {self.until:g}, they end at {ends}"
            return
        for closure in self.given.closures:
            self.put(c, closure, {"outside": self._outside(closure, point)}, {})
        self._forecasts(c, point)
        self._apriori(c, point)
        self._statistics(c, point, first, own)

    def _outside(self, closure: str, point: Condition) -> float:
        """1 where the model was not trained there, or its runs say so; NaN where neither is given."""
        given = self.given
        if closure in given.models:
            return float(outside(given.models[closure], point.alpha, point.zeta))
        runs = next((one[closure] for one in (given.long, given.short) if closure in one), None)
        if runs is None or "outside" not in runs:
            return float("nan")
        at = (runs["alpha"].values == point.alpha) & (runs["zeta"].values == point.zeta)
        return float(runs["outside"].values[at].max()) if at.any() else float("nan")

    def _forecasts(self, c: int, point: Condition) -> None:
        for closure, runs in self.given.short.items():
            found = forecasts.gather(
                self.given.truth, point.rows, runs, self.config.threshold, f"short.{closure}"
            )
            if found is None:
                continue
            m = self.closures.index(closure)
            at = np.searchsorted(self.times, np.round(runs["time"].values, 9))
            for target, source in ((self.vrmse, 0), (self.vrmse_error, 1)):
                target[c, m][:, at] = forecasts.mean_and_error(found.vrmse)[source]
            for target, source in ((self.correlation, 0), (self.correlation_error, 1)):
                target[c, m, at] = forecasts.mean_and_error(found.correlation)[source]
            self.steady[c] |= found.steady
            mean, error = forecasts.mean_and_error(found.until)
            score = {
                "decorrelation_time": float(mean), "decorrelation_kept": float(found.kept.mean()),
                "forecast_survival": float(found.alive.mean()),
            }  # fmt: skip
            self.put(c, closure, score, {"decorrelation_time": float(error)})

    def _apriori(self, c: int, point: Condition) -> None:
        if not self.given.rules:
            return
        config = self.config
        runs = apriori.late_runs(self.given.truth, point.rows, config.late, self.until, config.frames)
        edges = apriori.map_edges(runs, config.bins)
        self.edges["strain"][c] = edges[1]
        self.put(c, TRUTH, {"apriori_violations": apriori.unrealizable(runs)}, {})
        for closure, make in self.given.rules.items():
            found = apriori.errors(runs, make(), edges)
            self.put(c, closure, found.scores, found.deviations)
            self.map[c, self.closures.index(closure)] = found.error_map

    def _statistics(self, c: int, point: Condition, first: int, own: statistics.Late) -> None:
        truth, config = self.given.truth, self.config
        self._bins(c, own)
        self._enter(c, TRUTH, own, first)
        self.put(c, TRUTH, statistics.floors(own), {})
        far: dict[str, dict[str, float]] = {}
        for closure, runs in self.given.long.items():
            rows = rows_by_name(runs, truth, point.rows, f"long.{closure}")
            model = statistics.gather(runs, rows, config.late, self.until, f"long.{closure}")
            self._enter(c, closure, model, first)
            far[closure] = statistics.distances(own, model)
            self.put(c, closure, far[closure], {})
            self.put(c, closure, *statistics.biases(own, model))
            cost = own.facts["unit_cost"] / model.facts["unit_cost"]
            self.put(c, closure, {"speed_up": cost}, {})
        for closure, found in far.items():
            self.put(c, closure, statistics.similarities(found, far[config.baseline]), {})

    def _bins(self, c: int, own: statistics.Late) -> None:
        """Bins of the densities: of r from 0 to 1, of |u| up to a third above what the truth has."""
        fastest = max(float(one.max()) for one in own.speed)
        self.edges["order"][c] = np.linspace(0.0, 1.0, 2 * self.config.bins + 1)
        self.edges["speed"][c] = np.linspace(0.0, 4.0 / 3.0 * (fastest or 1.0), 2 * self.config.bins + 1)

    def _enter(self, c: int, closure: str, own: statistics.Late, first: int) -> None:
        m = self.closures.index(closure)
        score, error = statistics.numbers(own)
        self.put(c, closure, score | {"runs_counted": float(len(own.order))}, error)
        for i, (times, order, speed) in enumerate(own.series):
            at = np.searchsorted(self.series_times, np.round(times, 9))
            self.series[:, m, first + i, at] = order, speed
        if not own.order:
            return
        spectra = np.stack(own.spectra)[:, 1 : self.waves.size + 1]
        self.spectrum[c, m], self.spectrum_error[c, m] = forecasts.mean_and_error(spectra)
        for name, values in (("order", own.order), ("speed", own.speed)):
            edges = self.edges[name][c]
            count = np.histogram(np.concatenate(values), edges)[0]
            self.density[name][c, m] = count / (sum(v.size for v in values) * np.diff(edges))

    def dataset(self, points: Sequence[Condition]) -> xr.Dataset:
        """The result, with the condition that joins all."""
        for m in range(len(self.closures)):
            for k, name in enumerate(METRICS):
                value, error = pooled(name, self.score[:-1, m, k], self.error[:-1, m, k])
                self.score[-1, m, k], self.error[-1, m, k] = value, error
        for array in (self.vrmse, self.correlation):
            array[-1] = forecasts.mean_and_error(array[:-1])[0]
        self.steady[-1] = self.steady[:-1].max(axis=0)
        dims = ("condition", "closure")
        leads = np.array([t for t in self.config.leads if np.isclose(self.times, t, atol=1e-6).any()])
        at = [int(np.argmin(np.abs(self.times - t))) for t in leads]
        several = len(points) > 1
        found = {
            "score": ((*dims, "metric"), self.score, "score, see the metric"),
            "score_error": ((*dims, "metric"), self.error, "its standard error"),
            "metric_units": (("metric",), np.array([u for u, _ in METRICS.values()]), "units of each metric"),
            "metric_meaning": (("metric",), np.array([t for _, t in METRICS.values()]), "its meaning"),
            "vrmse": ((*dims, "field", "lead"), self.vrmse[..., at], "VRMSE, mean over forecasts"),
            "vrmse_error": ((*dims, "field", "lead"), self.vrmse_error[..., at], "its standard error"),
            "nearly_constant": (("condition", "field"), self.steady, "1 where VRMSE means nothing"),
            "correlation": ((*dims, "forecast_time"), self.correlation, "of vorticity, mean over forecasts"),
            "correlation_error": ((*dims, "forecast_time"), self.correlation_error, "its standard error"),
            "spectrum": ((*dims, "wavenumber"), self.spectrum, "energy of a shell of waves"),
            "spectrum_error": ((*dims, "wavenumber"), self.spectrum_error, "its standard error over seeds"),
            "density_order": ((*dims, "bin"), self.density["order"], "probability density of r"),
            "density_speed": ((*dims, "bin"), self.density["speed"], "probability density of |u|"),
            "error_map": ((*dims, "order_bin", "strain_bin"), self.map, "relative error of S:T"),
            "order_edge": (("condition", "edge"), self.edges["order"], "edges of the bins of r"),
            "speed_edge": (("condition", "edge"), self.edges["speed"], "edges of the bins of |u|"),
            "strain_edge": (("condition", "map_edge"), self.edges["strain"], "edges of the bins of |e|"),
            "series_order": (("closure", "sample", "time"), self.series[0], "mean order parameter"),
            "series_speed": (("closure", "sample", "time"), self.series[1], "root-mean-square velocity"),
            "sample_condition": (("sample",), np.array([c for _, c in self.samples]), "its condition"),
            "undefined": (("condition",), np.array(self.reasons), "why a condition has no scores"),
            "condition_alpha": (("condition",), np.array([*(p.alpha for p in points), np.nan]), "activity"),
            "condition_zeta": (("condition",), np.array([*(p.zeta for p in points), np.nan]), "alignment"),
        }
        coords = {
            "condition": self.conditions, "closure": self.closures, "metric": list(METRICS),
            "field": list(forecasts.ALL_FIELDS), "lead": leads, "forecast_time": self.times,
            "wavenumber": self.waves, "time": self.series_times,
        }  # fmt: skip
        variables = {
            name: xr.Variable(dims, values, {"units": "1", "long_name": text})
            for name, (dims, values, text) in found.items()
        }
        variables["sample_name"] = variable("sample_name", np.array([name for name, _ in self.samples]))
        attrs = {
            "baseline": self.config.baseline, "late": self.config.late, "until": self.until,
            "threshold": self.config.threshold, "several": int(several),
            "length": float(self.given.truth.attrs["length"]),
        }  # fmt: skip
        return xr.Dataset(variables, coords, attrs)


def late_window(config: EvaluateClosureConfig, last: float) -> tuple[float, float]:
    """Late times, from and to, of kinetic runs that end at `last`; raises InputError where there are none."""
    until = last if config.until is None else min(config.until, last)
    if until <= config.late:
        raise InputError(
            f"the kinetic runs end at t = {last:g} and late times run from {config.late:g} to {until:g}: "
            "lower late, raise until, or run longer"
        )
    return config.late, until


def _shared_times(short: Mapping[str, xr.Dataset]) -> np.ndarray:
    """Lead times of any forecast, rising."""
    if not short:
        return np.empty(0)
    return np.unique(np.concatenate([np.round(one["time"].values, 9) for one in short.values()]))


STAGE = Stage(
    name="evaluate_closure",
    version=2,
    config=EvaluateClosureConfig,
    inputs={
        "truth": schema("sample_name", "alpha", "zeta", *MOMENTS, optional=("split",)),
        "long": schema(
            "sample_name", "concentration", "D_xx", "D_xy", "u_x", "u_y",
            optional=("survived_until", "step_seconds", "violations", "power_residual"),
        ),
        "short": schema("sample_name", *forecasts.FIELDS, optional=("survived_until",)),
        "models": schema(),
    },
    output=schema("sample_name"),
    run=run,
    optional=("long", "short", "models"),
    several=("long", "short", "models"),
    literature=(
        "Maddu, Weady, Shelley 2024, J. Comput. Phys., arXiv 2308.06675",
        "Ross, Li, Perezhogin, Fernandez-Granda, Zanna 2023, J. Adv. Model. Earth Syst. 15, e2022MS003258",
        "Kochkov, Smith, Alieva et al. 2021, PNAS 118, e2101784118",
        "Ohana, McCabe, Meyer et al. 2024, The Well, NeurIPS 37, arXiv 2412.00568",
    ),
)  # fmt: skip
