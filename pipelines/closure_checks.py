"""What sections of the closure pipeline's config have to say together, before hours of runs find it out."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pipelines.closure_candidates import ActiveLearning, ClosureCandidate
from stages._closure_runs import TRUTH
from stages.close import lead_times
from stages.conditions import ConditionsConfig, points_of
from stages.evaluate_closure import late_window
from stages.train_closure import UNTRAINED, TrainClosureConfig

OWN = ("family", "settings", "mode", "seed")
"""What a candidate says of its training by itself."""

_CLOSE = 1e-9


class Sections(Protocol):
    """The config, as far as it is looked at here."""

    @property
    def candidates(self) -> tuple[ClosureCandidate, ...]:
        """Closures that compete."""

    @property
    def short(self) -> dict[str, Any]:
        """What forecasts differ in."""

    @property
    def active(self) -> ActiveLearning:
        """Rounds and learner."""

    def frames(self) -> Sequence[float]:
        """Times of the frames of the moments."""

    def section(self, label: str) -> Any:
        """Config of a step."""


def check(config: Sections) -> None:
    """Raise ValueError where sections do not fit together."""
    _candidates(config)
    times = _frames(config)
    for one in config.candidates:
        if one.learned:
            for seed in one.all_seeds:
                _trained(config, one, config.section(f"train_closure.{one.name}.{seed}"), times)
    _closed(config, times)
    if config.active.rounds:
        _acquired(config, times)


def labels(config: Sections) -> list[str]:
    """What tables call the models."""
    return [one.called(seed) for one in config.candidates for seed in one.all_seeds]


def known_runs(conditions: ConditionsConfig) -> int:
    """Kinetic runs that are not of the test part."""
    return len(points_of(conditions)) * (len(conditions.train_seeds) + len(conditions.validation_seeds))


def _candidates(config: Sections) -> None:
    for one in config.candidates:
        if one.name == TRUTH:
            raise ValueError(
                f"a candidate is called {TRUTH!r}, as tables call the truth: give it another name"
            )
        if len(set(one.seeds)) < len(one.seeds):
            raise ValueError(f"candidate {one.name!r} has the seeds {list(one.seeds)}, expected each once")
        twice = sorted(set(one.training) & set(OWN))
        if twice:
            raise ValueError(
                f"candidate {one.name!r}: training has {twice}, which the candidate says itself: move it out "
                "of training"
            )
        if one.settings and one.start:
            raise ValueError(
                f"candidate {one.name!r} has settings and starts from {one.start!r}, whose settings it "
                "keeps: leave them out, or start from none"
            )
    own = config.section("train_closure")
    default = TrainClosureConfig()
    said = [name for name in OWN if getattr(own, name) != getattr(default, name)]
    if said:
        raise ValueError(f"train_closure has {said}, which each candidate says itself: move it there")
    shown = config.section("report_closure").closure
    if shown and shown not in labels(config):
        raise ValueError(f"report_closure.closure is {shown!r}, expected one of {labels(config)}")
    scores = config.section("evaluate_closure")
    unknown = sorted(set(scores.untrained) - set(UNTRAINED))
    if unknown:
        raise ValueError(f"evaluate_closure.untrained has {unknown}, expected some of {list(UNTRAINED)}")


def _frames(config: Sections) -> np.ndarray:
    """Times of the frames of the moments."""
    runs = config.section("simulate_kinetic")
    kept = config.section("moments")
    if runs.points % kept.thin or runs.points // kept.thin < 4:
        raise ValueError(
            f"moments.thin is {kept.thin} for {runs.points} points a side, expected a divisor that leaves at "
            "least 4"
        )
    times = np.array(config.frames())
    if len(times) < 2:
        raise ValueError(
            f"moments keeps {len(times)} of {runs.frames} frames, from start = {kept.start:g} with "
            f"stride = {kept.stride}, expected at least 2: lower start or stride"
        )
    return times


def _trained(config: Sections, one: ClosureCandidate, own: Any, times: np.ndarray) -> None:
    used = times[times >= own.begin - _CLOSE]
    if not len(used):
        raise ValueError(
            f"candidate {one.name!r}: no frame is at or after begin = {own.begin:g}, the last is at "
            f"{times[-1]:g}: lower it"
        )
    runs = config.section("simulate_kinetic")
    kept = config.section("moments")
    points = runs.points // kept.thin
    if own.family == "fno" and own.settings["modes"] > points:
        raise ValueError(
            f"candidate {one.name!r}: fno has {own.settings['modes']} modes and the moments {points} points "
            "a side: lower settings.modes"
        )
    if own.mode == "apriori":
        return
    gap = float(times[1] - times[0])
    steps = round(gap / own.time_step)
    if steps < 1 or abs(steps * own.time_step - gap) > 1e-6 * gap:
        raise ValueError(
            f"candidate {one.name!r}: frames are {gap:g} apart and its time_step is {own.time_step:g}, "
            "expected a divisor of that"
        )
    if len(used) <= max(own.horizons):
        raise ValueError(
            f"candidate {one.name!r}: horizons end at {max(own.horizons)} and runs have {len(used)} frames "
            f"from begin = {own.begin:g} on, expected more frames than that: lower horizons or run longer"
        )


def _closed(config: Sections, times: np.ndarray) -> None:
    first = config.candidates[0]
    label = f"close.{first.name}.{first.seeds[0]}"
    sections: dict[str, Any] = {"close": config.section(label)}
    if config.short.get("starts"):
        sections["short"] = config.section(f"{label}.short")
    leads = {}
    for name, own in sections.items():
        try:
            leads[name] = lead_times(own, times)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    ends = {"kinetic runs": times, "runs of section close": times[0] + leads["close"]}
    scores = config.section("evaluate_closure")
    late, until = late_window(scores, float(times[-1]))
    for what, own in ends.items():
        if ((own >= late) & (own <= until + 1e-6)).sum() < 2:
            raise ValueError(
                f"evaluate_closure.late is {late:g} and the {what} have frames from {own[0]:g} to "
                f"{own[-1]:g}, fewer than two of them between that and {until:g}: lower late, or run longer"
            )


def _acquired(config: Sections, times: np.ndarray) -> None:
    own = config.section("acquire.1")
    runs = config.section("conditions")
    for new, parts in (
        ("train_seeds", ("validation_seeds", "test_seeds")),
        ("validation_seeds", ("train_seeds", "test_seeds")),
    ):
        for part in parts:
            shared = sorted(set(getattr(own, new)) & set(getattr(runs, part)))
            if shared:
                raise ValueError(
                    f"acquire.{new} and conditions.{part} share {shared}, expected seeds in one part: runs "
                    "from one initial state are alike for a while at any parameters"
                )
    if times[-1] < own.begin - _CLOSE:
        raise ValueError(
            f"acquire.begin is {own.begin:g} and the last frame of the runs is at {times[-1]:g}: lower begin"
        )
    there = own.alpha.levels * own.zeta.levels if own.method == "grid" else own.candidates
    if own.count * config.active.rounds > there:
        raise ValueError(
            f"acquire.count is {own.count} in {config.active.rounds} rounds, and there are {there} "
            "candidates: raise their number"
        )
