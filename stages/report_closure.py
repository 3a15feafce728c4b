"""Stage `report_closure`: one self-contained HTML page: what a closure keeps of the kinetic runs, and at what
cost."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages._closure_runs import TRUTH, labels_of
from stages._report_closure_animation import animation
from stages._report_closure_figures import (
    colours_of,
    decorrelation,
    error_maps,
    said,
    side_by_side,
    spectra_and_densities,
    time_series,
)
from stages._report_closure_pictures import shown_runs, snapshots
from stages._report_closure_plane import plane
from stages._report_closure_runs import estimates as estimated
from stages._report_closure_runs import extrapolated, trained, troubles
from stages._report_closure_tables import (
    LONG_NOTE,
    a_priori,
    conditions_of,
    every_condition,
    forecasts,
    long_time,
    rows_of,
    score,
    stability,
    verdict,
)
from stages._report_figures import number
from stages.base import Stage, StageConfig, schema
from stages.report_page import folded, items, lineage, note, page, section
from stages.variables import MOMENTS

UNTRAINED = ("bingham", "quadratic", "natural")
"""Closures without weights; what is not one of them is drawn as the learned one."""

LITERATURE = (
    "S. Maddu, S. Weady, M. J. Shelley: Learning fast, accurate, and stable closures of a kinetic theory "
    "of an active fluid. Journal of Computational Physics, 2024, arXiv 2308.06675.",
    "S. Weady, D. B. Stein, M. J. Shelley: Thermodynamically consistent coarse-graining of polar active "
    "fluids. Physical Review Fluids 7, 2022, 063301.",
    "A. Ross, Z. Li, P. Perezhogin, C. Fernandez-Granda, L. Zanna: Benchmarking of machine learning ocean "
    "subgrid parameterizations in an idealized model. Journal of Advances in Modeling Earth Systems 15, "
    "2023.",
    "D. Kochkov, J. A. Smith, A. Alieva, Q. Wang, M. P. Brenner, S. Hoyer: Machine learning-accelerated "
    "computational fluid dynamics. PNAS 118, 2021, e2101784118.",
    "R. Ohana, M. McCabe, L. Meyer et al.: The Well. NeurIPS 37, 2024, arXiv 2412.00568.",
)
"""What the model, the baseline and the metrics are from."""


class ReportClosureConfig(StageConfig):
    """What the page shows. closure: the one that is judged and drawn, the first learned one where empty;
    condition: the one whose pictures are drawn, as the metrics call it, the first one where empty; sample:
    the test run that is drawn, the first of the condition where empty; times: of the snapshots, an early and
    the last one where empty; frames, seconds, megabytes: of the animation, 0 frames for none; order_within,
    u_rms_within: relative biases that are wanted.
    """

    title: str = "Closures of a kinetic theory of an active fluid"
    closure: str = ""
    condition: str = ""
    sample: str = ""
    times: tuple[float, ...] = ()
    frames: int = Field(default=80, ge=0, le=400)
    seconds: float = Field(default=10.0, gt=0.0)
    megabytes: float = Field(default=2.8, gt=0.0)
    order_within: float = Field(default=0.01, gt=0.0)
    u_rms_within: float = Field(default=0.05, gt=0.0)


def run(
    config: ReportClosureConfig,
    truth: xr.Dataset,
    metrics: xr.Dataset,
    provenance: xr.Dataset,
    estimates: xr.Dataset | None = None,
    **several: xr.Dataset,
) -> xr.Dataset:
    """The page as bytes: uint8 `page(html_byte)`, UTF-8, without any reference to another file.

    A verdict; late-time statistics beside the kinetic runs; an animation and snapshots of one test run under
    the truth, the learned closure, the baseline and others; series, spectra and densities; a-priori errors
    over (r, |e|); forecasts; errors over the plane of activity and alignment; survival and costs; limits;
    lineage; literature. The numbers are those of `evaluate_closure`; nothing is computed here but fields.

    truth: moments of the kinetic runs; `long.<closure>`: the runs that were scored, for the pictures;
    `acquired.<round>`: the moments that active learning added, for where training runs are and which failed;
    estimates: of `infer_parameters`, from the runs of the truth;
    provenance: stage(step), key(step), seconds(step), and attributes that are listed as they are.

    Raises InputError where a closure, condition or sample that is to be drawn is not there.
    """
    long, every = labels_of(several, "long"), [truth, *labels_of(several, "acquired").values()]
    closure = _closure(config, metrics)
    condition = _known("condition", config.condition, conditions_of(metrics))
    samples = metrics["sample_name"].values[metrics["sample_condition"].values == condition]
    sample = _known("sample", config.sample, [str(name) for name in samples])
    names = [str(name) for name in metrics["closure"].values]
    colours = colours_of(names, str(metrics.attrs["baseline"]))
    baseline = str(metrics.attrs["baseline"])
    drawn = [(n, long[n]) for n in dict.fromkeys([closure, baseline, *long]) if n in long]
    runs = shown_runs(truth, drawn[:4], sample, float(metrics.attrs["until"]))
    late = float(metrics.attrs["late"])
    times = config.times or _times(runs[0].frames.times, late)
    wanted = (config.order_within, config.u_rms_within)
    moving = (
        animation(runs[:3], late, config.frames, config.megabytes, config.seconds) if config.frames else ""
    )
    rest = [name for name in conditions_of(metrics) if name != condition]
    maps = {name: plane(metrics, name) for name in names if name not in (TRUTH, closure)}
    others = [folded(f"{name} over the same plane", text) for name, text in maps.items() if text]
    sections = [
        section("Does the closure hold?", verdict(metrics, condition, closure, wanted),
                _long(metrics, condition, closure)),
        section("The runs, moving", moving),
        section("The runs, still", snapshots(runs, times, late, sample)),
        section("Over the plane of activity and alignment", plane(metrics, closure, trained(every)),
                *others,
                every_condition(metrics, closure)),
        section("Statistics", time_series(metrics, condition, colours),
                spectra_and_densities(metrics, condition, colours)),
        section("Given the true moments", a_priori(metrics, condition, closure),
                error_maps(metrics, condition)),
        section("Short forecasts", forecasts(metrics, condition, closure),
                side_by_side(decorrelation(metrics, condition, colours))),
        section("Stability and cost", stability(metrics, condition, closure)),
        section("Parameters from the runs", estimated(estimates, truth)),
        section("Other conditions", *(_other(metrics, name, closure, colours) for name in rest)),
        section("Limits of validity", items(_limits(metrics, every))),
        section("Timings and lineage", lineage(provenance)),
        section("Literature", items(LITERATURE)),
    ]  # fmt: skip
    text = page(config.title, _lead(metrics, truth, condition), sections)
    values = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).copy()
    attrs = {"units": "1", "long_name": "HTML page, UTF-8", "media_type": "text/html"}
    return xr.Dataset({"page": (("html_byte",), values, attrs)})


def _known(what: str, wanted: str, known: list[str]) -> str:
    if wanted and wanted not in known:
        raise InputError(
            f"the report is asked to draw the {what} {wanted!r}; there are {known}: name one of them"
        )
    return wanted or known[0]


def _closure(config: ReportClosureConfig, metrics: xr.Dataset) -> str:
    """The closure that is judged: the one asked for, else the first that is learned, else the baseline."""
    names = [str(name) for name in metrics["closure"].values if name != TRUTH]
    if not names:
        raise InputError("the metrics have no closure: give `long`, `short` or `models` to evaluate_closure")
    baseline = str(metrics.attrs["baseline"])
    learned = [name for name in names if name not in (*UNTRAINED, baseline)]
    first = [*learned, *(name for name in names if name == baseline), *names]
    return _known("closure", config.closure, list(dict.fromkeys(first)))


def _times(times: np.ndarray, late: float) -> tuple[float, ...]:
    """The frame next to half of the way to late times, and the last one."""
    early = float(times[np.argmin(np.abs(times - 0.5 * late))])
    return tuple(dict.fromkeys((early, float(times[-1]))))


def _long(metrics: xr.Dataset, condition: str, closure: str) -> str:
    if not rows_of(metrics, condition, "survival"):
        return ""
    return note(LONG_NOTE) + long_time(metrics, condition, closure)


def _other(metrics: xr.Dataset, condition: str, closure: str, colours: Mapping[str, str]) -> str:
    body = long_time(metrics, condition, closure) + spectra_and_densities(metrics, condition, colours)
    return folded(said(condition), body + stability(metrics, condition, closure))


def _lead(metrics: xr.Dataset, truth: xr.Dataset, condition: str) -> str:
    scored = conditions_of(metrics)
    runs, points = int(np.isin(metrics["sample_condition"].values, scored).sum()), len(scored)
    facts = [
        f"{runs} kinetic test runs at {points} condition{'s' if points > 1 else ''}",
        f"{truth.sizes['x']} × {truth.sizes['y']} points, side {truth.attrs['length']:g}",
        f"late times t = {metrics.attrs['late']:g} to {metrics.attrs['until']:g}",
        f"baseline {metrics.attrs['baseline']}",
        f"pictures of {said(condition)}",
        "all quantities nondimensional",
    ]
    return "; ".join(facts) + "."


def _counted(metrics: xr.Dataset, condition: str) -> int:
    """Kinetic runs that the late-time statistics of a condition are of."""
    known = score(metrics, condition, TRUTH, "runs_counted")
    return int(known) if np.isfinite(known) else int((metrics["sample_condition"].values == condition).sum())


def _limits(metrics: xr.Dataset, runs: Sequence[xr.Dataset]) -> list[str]:
    seeds = [_counted(metrics, name) for name in conditions_of(metrics)]
    few, most = min(seeds), max(seeds)
    count = f"{few} seed{'s' if few > 1 else ''}" if few == most else f"{few} to {most} seeds"
    said = [
        "The scores hold at the conditions that are listed, for initial states drawn as those of the test "
        "runs; between conditions and beyond them nothing was measured.",
        f"Statistics are of {count} a condition; a bias with |z| below 2 is not told from none.",
        "Trajectories are chaotic: after the decorrelation time only statistics can agree.",
    ]
    if few < 3:
        said.append("Fewer than three seeds somewhere: the standard errors themselves are uncertain.")
    said += [
        f"No scores at {name}: {reason}."
        for name, reason in zip(metrics["condition"].values, metrics["undefined"].values, strict=True)
        if str(reason)
    ]
    lost = metrics["score"].sel(closure=TRUTH, metric="apriori_violations").values[:-1]
    if np.nan_to_num(lost).max() > 1e-3:
        said.append(
            f"Up to {number(100.0 * float(np.nanmax(lost)), 2)} % of the points of the kinetic runs "
            "have moments that no density has: their grid does not resolve the cores of defects, so part of "
            "every error is that of the grid. Simulate with more points."
        )
    return [*said, *extrapolated(metrics), *troubles(runs)]


STAGE = Stage(
    name="report_closure",
    version=3,
    config=ReportClosureConfig,
    inputs={
        "truth": schema("sample_name", *MOMENTS),
        "metrics": schema("sample_name"),
        "provenance": schema(),
        "long": schema(
            "sample_name", "concentration", "D_xx", "D_xy", "u_x", "u_y", optional=("survived_until",)
        ),
        "acquired": schema("sample_name", "split", "alpha", "zeta"),
        "estimates": schema("sample_name", "estimate", "status"),
    },
    output=schema(),
    run=run,
    optional=("long", "acquired", "estimates"),
    several=("long", "acquired"),
)
