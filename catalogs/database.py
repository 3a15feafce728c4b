"""The database of a catalog: SQLite in WAL mode in the project folder, or a PostgreSQL server by URL."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, ExceptionContext

from kernels.errors import InputError

_NETWORK = (
    "nfs", "cifs", "smb", "9p", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.sshfs",
    "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "afs", "pvfs2", "orangefs",
)  # fmt: skip


def engine_for(database: str | None, folder: Path) -> Engine:
    """Engine of the given database URL, by default of `catalog.db` in the project folder.

    Raises InputError where SQLite would lie on a network file system: its write-ahead log is not safe there.
    """
    if database is not None and not database.startswith("sqlite:"):
        served = _served(database)
        sa.event.listen(served, "handle_error", _refuse)
        return served
    kind = filesystem_type(folder)
    if kind.startswith(_NETWORK):
        raise InputError(
            f"the project folder {folder} lies on the network file system {kind!r}, where SQLite "
            "loses data when two processes write: use a folder on a local disk, or set "
            "PUSHFORWARD_DATABASE_URL to a PostgreSQL server"
        )
    engine = sa.create_engine(database or f"sqlite:///{folder / 'catalog.db'}", connect_args={"timeout": 60})
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", _refuse)
    return engine


def _served(database: str) -> Engine:
    try:
        engine = sa.create_engine(database, pool_pre_ping=True)
        if engine.dialect.is_async:
            raise sa.exc.ArgumentError("its driver is asynchronous")
        return engine
    except (sa.exc.ArgumentError, ModuleNotFoundError, ValueError) as error:
        shown = re.sub("://([^:/@]*):.*@", r"://\1:***@", database)
        raise InputError(
            f"database URL {shown!r} cannot be used ({error}); expected one like "
            "'postgresql+psycopg://user@host/name', with its driver installed"
        ) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes; all of it or nothing.

    SQLite takes its write lock at once: a transaction that reads first and writes later fails at once where
    another one wrote in between, however long it was told to wait.
    """
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def insert_new(
    connection: Connection, table: sa.Table, row: Mapping[str, Any], column: str | None = None
) -> Any:
    """Insert a row unless one with its unique columns is there, which another process may be writing now; the
    value of `column`, by default the first, in the new row, None where there is none.
    """
    statement = _insert_new(table, tuple(row), column or table.columns.keys()[0])
    return connection.execute(statement, dict(row)).scalar()


@functools.lru_cache(maxsize=64)
def _insert_new(table: sa.Table, names: tuple[str, ...], column: str) -> sa.TextClause:
    """As text, since SQLAlchemy compiles a statement with ON CONFLICT anew for every row."""
    columns, values = ", ".join(f'"{name}"' for name in names), ", ".join(f":{name}" for name in names)
    statement = sa.text(
        f'INSERT INTO {table.name} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING RETURNING "{column}"'
    )
    return statement.bindparams(*[sa.bindparam(name, type_=table.c[name].type) for name in names])


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have the same columns.

    In one statement on PostgreSQL, columns as arrays: a driver sends many rows as as many statements, and
    triggers of the statement would run for each.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(table), rows)
        return
    names = tuple(rows[0])
    columns = {name: [row[name] for row in rows] for name in names}
    connection.execute(_insert_arrays(table, names), columns)


@functools.lru_cache(maxsize=64)
def _insert_arrays(table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    arrays = [sa.bindparam(name, type_=sa.ARRAY(table.c[name].type)) for name in names]
    listed = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return sa.insert(table).from_select(names, sa.select(*[listed.c[name] for name in names]))


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, not where the driver guesses
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout=60000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON",
        "cache_size=-65536", "mmap_size=1073741824",
    ):  # fmt: skip
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _refuse(context: ExceptionContext) -> None:
    """Raise InputError for a text or a number that the database cannot hold; most are named before this."""
    error = context.original_exception
    if isinstance(error, UnicodeEncodeError | OverflowError) or isinstance(
        context.sqlalchemy_exception, sa.exc.DataError
    ):
        what = str(error).partition("\n")[0]
        raise InputError(
            f"the catalog's database cannot hold a value that was given ({what}): leave out NUL "
            "characters and halves of surrogate pairs, and take smaller numbers"
        ) from error


def filesystem_type(folder: Path, mounts: str | None = None) -> str:
    """Type of the file system that holds the folder, '' where the system does not tell."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text()
        except OSError:
            return ""
    best, kind = Path(), ""
    target = folder.resolve()
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        if target.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    return kind
