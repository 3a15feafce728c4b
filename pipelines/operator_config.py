"""The config of the operator pipeline: one section a stage, candidates, further data sets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from catalogs.formats.arrays_spec import ArraysSpec
from kernels.operators.settings import CLOSED_FORM
from pipelines.config import MeshFiles, PipelineConfig, sections
from stages.base import StageConfig
from stages.registry import OPERATOR

NAME = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"


class Candidate(BaseModel):
    """One model that competes: `settings` of its family, `training` over the section train_operator.

    seeds: each trains a member; together they are the ensemble. A family in closed form has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    model: str
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Seeds that make a difference."""
        return self.seeds[:1] if self.model in CLOSED_FORM else self.seeds


class Other(BaseModel):
    """A further generated data set that all models predict, such as another resolution: what differs from the
    sections design and generate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    design: dict[str, Any] = Field(default_factory=dict)
    generate: dict[str, Any] = Field(default_factory=dict)


class Operator(PipelineConfig, MeshFiles):
    """Where the data come from, the candidates, the further data sets; the sections of the stages follow.

    source: "generate" solves equations, "arrays" reads `arrays`, whose `others` are further sets, "files"
    reads meshes from `files`. main: what the main data set is called beside the others.
    """

    pipeline: ClassVar[str] = "operator"
    scores: ClassVar[str] = "evaluate_operator"
    report_step: ClassVar[str] = "report_operator"

    source: Literal["generate", "arrays", "files"] = "generate"
    arrays: ArraysSpec | None = None
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    others: tuple[Other, ...] = ()
    main: str = Field(default="main", pattern=NAME)

    @property
    def further(self) -> tuple[str, ...]:
        """Names of the further data sets."""
        if self.source == "arrays" and self.arrays is not None:
            return tuple(self.arrays.others)
        return tuple(other.name for other in self.others)

    @model_validator(mode="after")
    def _complete(self) -> "Operator":
        if self.source == "arrays" and self.arrays is None:
            raise ValueError('source is "arrays" but there is no section arrays: say which files and arrays')
        if self.source != "generate" and self.others:
            raise ValueError(f"others are generated, but source is {self.source!r}: drop `others`")
        for kind, names in (
            ("candidates", [one.name for one in self.candidates]),
            ("data sets", [self.main, *self.further]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the names {twice} of {kind} are given twice; expected each once")
        for candidate in self.candidates:
            for seed in candidate.all_seeds:
                self.section(f"train_operator.{candidate.name}.{seed}")
        for other in self.others:
            self.section(f"design.{other.name}")
            self.section(f"generate.{other.name}")
        return self

    def section(self, label: str) -> StageConfig:
        """Config of a step: that of its stage, with what its candidate or further data set says."""
        base, (stage, *rest) = super().section(label), label.split(".")
        if stage == "train_operator" and rest:
            chosen = next(one for one in self.candidates if one.name == rest[0])
            own = {"model": chosen.model, "settings": chosen.settings, "seed": int(rest[1])}
            return _changed(base, {**chosen.training, **own}, f"candidate {chosen.name!r}")
        name = rest[0] if rest else ""
        if stage == "split" and name in self.further:
            return _changed(base, {"test_only": True}, stage)
        other = next((one for one in self.others if one.name == name), None)
        if stage in ("design", "generate") and other is not None:
            return _changed(base, getattr(other, stage), f"further set {name!r}, {stage}")
        return base


def _changed(base: StageConfig, values: Mapping[str, Any], what: str) -> StageConfig:
    try:
        return type(base).model_validate({**base.model_dump(mode="json"), **values})
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{what}: {said}") from error


OperatorConfig: type[Operator] = create_model("OperatorConfig", __base__=Operator, **sections(OPERATOR))
