"""Configs of pipelines: one section a stage, read from a TOML file; here the surrogate pipeline's."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from catalogs.formats.reader import ReadOptions
from kernels.errors import InputError
from pipelines.toml_files import cut, joined, locate_file, read_values, shown
from stages.base import Stage, StageConfig
from stages.registry import SURROGATE

Model = TypeVar("Model", bound=BaseModel)

SHIPPED = Path(__file__).parent / "configs"
"""Folder of the configs that come with the product."""


class PipelineConfig(BaseModel):
    """Base of every pipeline's config.

    pipeline: its name, also of its flow; scores: the step whose table a run shows and that stands for the run
    in a study; report_step: the one that makes its page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: ClassVar[str]
    scores: ClassVar[str]
    report_step: ClassVar[str]

    def section(self, label: str) -> StageConfig:
        """Config of the step `label`: the name of its stage, or that and a dot and what tells it from others
        of the stage.
        """
        section = getattr(self, stage_of(label))
        assert isinstance(section, StageConfig)
        return section


def stage_of(label: str) -> str:
    """Name of the stage of a step."""
    return label.partition(".")[0]


class MeshFiles(BaseModel):
    """Meshes with fields that are read from `files`: files, folders, PLAID data sets."""

    files: tuple[Path, ...] = ()
    read: ReadOptions = ReadOptions()


class _Surrogate(PipelineConfig, MeshFiles):
    """Where the simulations come from; the sections of the stages follow.

    source: "simulate" makes them, "files" reads `files`.
    """

    pipeline: ClassVar[str] = "surrogate"
    scores: ClassVar[str] = "evaluate"
    report_step: ClassVar[str] = "report"

    source: Literal["simulate", "files"] = "simulate"


def sections(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Fields of a config, one a stage."""
    return {name: (stage.config, Field(default_factory=stage.config)) for name, stage in stages.items()}


SurrogateConfig: type[PipelineConfig] = create_model(
    "SurrogateConfig", __base__=_Surrogate, **sections(SURROGATE)
)


def load_config(path: Path | str, model: type[PipelineConfig] | None = None) -> PipelineConfig:
    """Config from a TOML file, or from a shipped one by its bare name; paths in it are relative to the file.

    model: of which pipeline; None: the surrogate's. Raises InputError naming the file and every unknown or
    wrong field.
    """
    file = locate(Path(path))
    return placed(read_toml(file, model or SurrogateConfig), file)


def read_toml(file: Path, model: type[Model]) -> Model:
    """A TOML file as the given model.

    Raises InputError naming the file and every unknown or wrong field.
    """
    values = read_values(file)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = joined(_problem(problem, model) for problem in error.errors())
        raise InputError(f"{file}: {problems}") from error


def placed(config: PipelineConfig, file: Path) -> PipelineConfig:
    """The config that was read from a file, its paths relative to it.

    Raises InputError where it reads files and names none.
    """
    base = file.resolve().parent
    arrays = getattr(config, "arrays", None)
    if arrays is not None:
        config = config.model_copy(update={"arrays": arrays.placed(base)})
    if not isinstance(config, MeshFiles):
        return config
    if getattr(config, "source", "files") == "files" and not config.files:
        raise InputError(f'{file}: source is "files" but files is empty; name at least one file or folder')
    read = config.read
    table = None if read.table is None else base / read.table
    return config.model_copy(
        update={
            "files": tuple(base / entry for entry in config.files),
            "read": read.model_copy(update={"table": table}),
        }
    )


def locate(path: Path) -> Path:
    """The file, or the shipped config of that name; raises InputError where there is neither."""
    return locate_file(path, SHIPPED, "config")


def _problem(problem: Any, model: type[BaseModel]) -> str:
    where = cut(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        known = _fields(problem["loc"][:-1], model)
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
        return f"unknown field {where!r}; {hint}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"field {where!r} is {shown(problem['input'])}: {said}" if where else said


def _fields(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """Fields of the model at a location; a place in a list or a name in a table is one more step of it."""
    model: Any = root
    for name in location:
        field = getattr(model, "model_fields", {}).get(name)
        model = model if field is None else _model_in(field.annotation)
    return sorted(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The first model in a type, such as that of `tuple[Model, ...] | None`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
