"""Brings the tables of a database up to this version of the product, once, whoever opens it first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from catalogs.database import writing
from kernels.errors import InputError

if TYPE_CHECKING:
    from alembic.config import Config

LATEST = "0006"
"""Version of the tables that this code reads and writes."""

_FIRST = "0001"
_LOCK = 7_305_115  # PostgreSQL advisory lock of this product
_FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Create the tables, or change those of an earlier version; nothing happens where they are current.

    Raises InputError where a later version of the product made them.
    """
    with engine.connect() as connection:
        if version(connection) == LATEST:
            return
    with _alone(engine) as connection:
        found = version(connection)
        if found == LATEST:
            return
        from alembic import command

        config = configuration(connection)
        if found == "" and sa.inspect(connection).has_table("artifacts"):
            command.stamp(config, _FIRST)  # made before the tables carried a version
        elif found not in ("", *known(config)):
            raise InputError(
                f"the catalog's tables have version {found}, this pushforward knows versions up to {LATEST}: "
                "a later pushforward made them; install that one, or use another project"
            )
        command.upgrade(config, "head")


def version(connection: Connection) -> str:
    """Version of the tables in the database, '' where they carry none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")


def configuration(connection: Connection) -> "Config":
    """What alembic needs to work on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def known(config: "Config") -> list[str]:
    """All versions, the latest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection
