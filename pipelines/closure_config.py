"""The config of the closure pipeline: one section a stage, candidates, forecasts, active learning."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, ValidationError, create_model, model_validator

from pipelines.closure_candidates import ActiveLearning, ClosureCandidate
from pipelines.closure_checks import check, known_runs, labels
from pipelines.config import PipelineConfig, sections
from stages.base import StageConfig
from stages.infer_parameters import fewest
from stages.registry import CLOSURE

SHORT = "short"
"""Last part of the label of a step that makes forecasts."""

KNOWN = "known"
"""Last part of the label of the step that estimates parameters which are known, to calibrate the others."""


class Closure(PipelineConfig):
    """The candidates, what forecasts differ in from the section close, and active learning; the sections of
    the stages follow.

    short: of the section close, for forecasts from frames of the truth; without `starts` none are made.
    infer: the candidate by whose model the parameters of the test runs are estimated, calibrated by the other
    runs where these are enough; empty: none.
    """

    pipeline: ClassVar[str] = "closure"
    scores: ClassVar[str] = "evaluate_closure"
    report_step: ClassVar[str] = "report_closure"

    candidates: tuple[ClosureCandidate, ...] = Field(min_length=1)
    short: dict[str, Any] = Field(default_factory=dict)
    active: ActiveLearning = ActiveLearning()
    infer: str = ""

    def candidate(self, name: str) -> ClosureCandidate:
        """The candidate of a name."""
        return next(one for one in self.candidates if one.name == name)

    @model_validator(mode="after")
    def _candidates(self) -> "Closure":
        names = [one.name for one in self.candidates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the names {twice} of candidates are given twice; expected each once")
        for position, one in enumerate(self.candidates):
            if one.start:
                self._startable(one, names[:position])
            for seed in one.all_seeds:
                self.section(f"train_closure.{one.name}.{seed}")
        for what, name in (("active.learner", self.active.learner), ("infer", self.infer)):
            if name and name not in names:
                raise ValueError(f"{what} is {name!r}, expected one of the candidates {names}")
        if self.active.rounds:
            members = self.candidate(self.active.learner).all_seeds if self.active.learner else ()
            if len(members) < 2 or not self.candidate(self.active.learner).learned:
                raise ValueError(
                    f"active.learner is {self.active.learner!r} with {len(members)} seeds, expected a "
                    "learned candidate with at least 2: members that disagree choose the next conditions"
                )
        return self

    def _startable(self, one: ClosureCandidate, before: list[str]) -> None:
        if one.start not in before:
            raise ValueError(
                f"candidate {one.name!r} starts from {one.start!r}, expected one before it: {before}"
            )
        first = self.candidate(one.start)
        lacking = sorted(set(one.all_seeds) - set(first.all_seeds))
        if lacking or first.family != one.family:
            raise ValueError(
                f"candidate {one.name!r} ({one.family!r}, seeds {list(one.all_seeds)}) starts from "
                f"{one.start!r} ({first.family!r}, seeds {list(first.all_seeds)}), expected the same family "
                "and seeds"
            )

    @model_validator(mode="after")
    def _fits(self) -> "Closure":
        runs: Any = self.section("conditions")
        if not runs.test_seeds:
            raise ValueError(
                "conditions.test_seeds is empty: closures are scored on kinetic runs of their own"
            )
        if not runs.train_seeds and any(one.learned for one in self.candidates):
            raise ValueError("conditions.train_seeds is empty and a candidate learns: give it a seed")
        baseline = getattr(self.section("evaluate_closure"), "baseline")  # noqa: B009 - of a made class
        if baseline not in labels(self):
            raise ValueError(
                f"evaluate_closure.baseline is {baseline!r}, expected one of {labels(self)}: add the "
                "candidate, or name another"
            )
        check(self)
        times = set(self.frames())
        wrong = [t for t in self.short.get("starts", ()) if round(float(t), 9) not in times]
        if wrong:
            raise ValueError(
                f"short.starts has {wrong[0]:g}, expected a time of a frame: a multiple of "
                "simulate_kinetic.every up to its time"
            )
        self.section(f"close.{self.candidates[0].name}.{self.candidates[0].seeds[0]}.{SHORT}")
        return self

    def frames(self) -> list[float]:
        """Times of the frames of the moments."""
        runs: Any = self.section("simulate_kinetic")
        kept: Any = self.section("moments")
        times = [float(t) for t in runs.times if t >= kept.start - 1e-9]
        return [round(t, 9) for t in times[:: kept.stride]]

    def section(self, label: str) -> StageConfig:
        """Config of a step: that of its stage, with what its candidate or the forecasts say."""
        base, (stage, *rest) = super().section(label), label.split(".")
        if stage == "train_closure" and rest:
            chosen = self.candidate(rest[0])
            own = {"family": chosen.family, "mode": chosen.mode, "seed": int(rest[1])}
            settings = self.candidate(chosen.start).settings if chosen.start else chosen.settings
            values = {**chosen.training, **own, "settings": settings}
            return _changed(base, values, f"candidate {chosen.name!r}")
        if stage == "close" and rest[-1:] == [SHORT]:
            return _changed(base, self.short, "short")
        if stage == "infer_parameters":
            parts = ("train", "validation") if rest == [KNOWN] else ("test",)
            return base.model_copy(update={"parts": parts})
        return base

    def calibrates(self) -> bool:
        """Whether there are enough runs beside those of the test part to calibrate estimates by."""
        runs: Any = self.section("conditions")
        own: Any = self.section("infer_parameters")
        return known_runs(runs) >= fewest(own.estimate)


def _changed(base: StageConfig, values: Mapping[str, Any], what: str) -> StageConfig:
    try:
        return type(base).model_validate({**base.model_dump(mode="json"), **values})
    except ValidationError as error:
        said = "; ".join(_said(one) for one in error.errors())
        raise ValueError(f"{what}: {said}") from error


def _said(problem: Any) -> str:
    text = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, problem['loc']))}: {text}" if problem["loc"] else text


ClosureConfig: type[Closure] = create_model("ClosureConfig", __base__=Closure, **sections(CLOSURE))
