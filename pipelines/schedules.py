"""Deployments as a TOML file states them: which pipeline, with which config, and when."""

import zoneinfo
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kernels.errors import InputError
from pipelines.config import locate, placed, read_toml
from pipelines.diagram import CONFIGS
from pipelines.nightly import NightlyConfig
from pipelines.toml_files import is_file


class Deployment(BaseModel):
    """One pipeline with its config and schedule.

    config: a TOML file, relative to this one, or a shipped config. cron: five fields, in the timezone (an
    IANA name), or interval: seconds between starts; neither: only started by hand. retries: how often a run
    that crashed, its process gone, is started again; what it finished is not computed again. A run that
    comes while another of the same deployment is on waits for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    pipeline: Literal["surrogate", "operator", "closure", "nightly"]
    config: str
    cron: str | None = None
    timezone: str = "UTC"
    interval: float | None = Field(default=None, ge=10.0)
    retries: int = Field(default=2, ge=0, le=100)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise ValueError("expected an IANA time zone such as 'Europe/Paris' or 'UTC'")
        return name

    @field_validator("cron")
    @classmethod
    def _fields(cls, cron: str | None) -> str | None:
        if cron is None:
            return None
        from prefect.client.schemas.schedules import CronSchedule

        try:
            CronSchedule(cron=cron if len(cron.split()) == 5 else "")
        except ValueError:
            raise ValueError("expected five cron fields, such as '0 2 * * *' for two every night") from None
        return cron

    @model_validator(mode="after")
    def _one(self) -> "Deployment":
        if self.cron is not None and self.interval is not None:
            raise ValueError("cron and interval are both given; expected one of them")
        return self


class Deployments(BaseModel):
    """The whole file: `[[deployment]]` once for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deployment: tuple[Deployment, ...] = Field(min_length=1)

    @field_validator("deployment")
    @classmethod
    def _distinct(cls, given: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
        names = [one.name for one in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the names {twice} are given twice; expected each once")
        return given


def load_deployments(path: Path) -> list[tuple[Deployment, dict[str, Any]]]:
    """Every deployment with its pipeline's config, checked, as plain values.

    Raises InputError naming the file and the field that is wrong, in this file or in a config.
    """
    file = locate(path)
    stated = read_toml(file, Deployments).deployment
    return [(one, _config(one, file)) for one in stated]


def _config(deployment: Deployment, file: Path) -> dict[str, Any]:
    beside = file.parent / deployment.config
    try:
        found = locate(beside if is_file(beside) else Path(deployment.config))
    except InputError as error:
        raise InputError(f"{file}: deployment {deployment.name!r}: {error}") from error
    if deployment.pipeline == "nightly":
        return load_nightly(found).model_dump(mode="json")
    return placed(read_toml(found, CONFIGS[deployment.pipeline]), found).model_dump(mode="json")


def load_nightly(path: Path | str) -> NightlyConfig:
    """Config of the nightly pipeline from a TOML file; paths in it are relative to the file.

    Raises InputError naming the file and every unknown or wrong field.
    """
    file = locate(Path(path))
    config = read_toml(file, NightlyConfig)
    return config.model_copy(update={"pipeline": placed(config.surrogate, file)})
