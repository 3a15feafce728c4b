"""Settings of a run: the project folder, workers and database, from arguments or PUSHFORWARD_* variables."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kernels.errors import InputError


class Settings(BaseSettings):
    """Where and how a pipeline runs; nothing here changes a number."""

    model_config = SettingsConfigDict(env_prefix="PUSHFORWARD_", frozen=True, extra="ignore")

    project: Path = Field(
        default=Path("pushforward_project"), description="folder of the catalog, data and reports"
    )
    workers: int = Field(
        default=2, ge=0, le=1024, description="Dask worker processes; 0 runs everything in this process"
    )
    database_url: str | None = Field(
        default=None, description="database of the catalog; SQLite in the project by default"
    )
    store_url: str | None = Field(
        default=None,
        description="object store of the data, s3://bucket/prefix, gs://, az:// or file://; a folder in the "
        "project by default",
    )
    scheduler: str | None = Field(
        default=None, description="address of a Dask scheduler; worker processes of this machine by default"
    )
    quiet: bool = Field(default=False, description="no progress")


def settings(**given: object) -> Settings:
    """Settings from the given values, then from PUSHFORWARD_* variables, then the defaults.

    Raises InputError naming every value that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))} = {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        )
        raise InputError(
            f"wrong setting: {problems}. Correct the option, or the environment variable PUSHFORWARD_<NAME>"
        ) from error
