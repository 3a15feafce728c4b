"""Tables of the catalog and the engine that holds them: SQLite in WAL mode, or a server by URL."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from kernels.errors import InputError

metadata = sa.MetaData()

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("stage", sa.String(64), index=True, nullable=False),
    sa.Column("stage_version", sa.Integer, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("started", sa.String(40), nullable=False),
    sa.Column("created", sa.String(40), index=True, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("user", sa.String(255), nullable=False),
    sa.Column("code_version", sa.String(64), nullable=False),
    sa.Column("packages", sa.JSON, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("literature", sa.JSON, nullable=False),
    sa.Column("schema", sa.JSON, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

edges = sa.Table(
    "edges",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("input_key", sa.String(32), index=True, nullable=False),
)

parts = sa.Table(
    "parts",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("artifact", sa.String(32), index=True, nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("sizes", sa.JSON, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True, comment="of an artifact or a part"),
    sa.Column("shared", sa.String(32), nullable=False, comment="digest of all that belongs to no sample"),
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True, comment="of an artifact or a part"),
    sa.Column("position", sa.Integer, primary_key=True, comment="along `sample`"),
    sa.Column("digest", sa.String(32), index=True, nullable=False, comment="of the values of the sample"),
    sa.Column("part", sa.String(32), comment="the part it came from; null where the artifact had none"),
)

_NETWORK = (
    "nfs", "cifs", "smb", "9p", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.sshfs",
    "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "afs", "pvfs2", "orangefs",
)  # fmt: skip


def engine_for(database: str | None, folder: Path) -> Engine:
    """Engine of the given database URL, by default of `catalog.db` in the project folder.

    Raises InputError where SQLite would lie on a network file system: its write-ahead log is not safe there.
    """
    if database is not None and not database.startswith("sqlite"):
        try:
            return sa.create_engine(database, pool_pre_ping=True)
        except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
            raise InputError(
                f"database URL {database!r} cannot be used ({error}); expected one like "
                "'postgresql+psycopg://user@host/name', with its driver installed"
            ) from error
    kind = filesystem_type(folder)
    if kind.startswith(_NETWORK):
        raise InputError(
            f"the project folder {folder} lies on the network file system {kind!r}, where SQLite "
            "loses data when two "
            "processes write: use a folder on a local disk, or set PUSHFORWARD_DATABASE_URL to a "
            "PostgreSQL server"
        )
    engine = sa.create_engine(database or f"sqlite:///{folder / 'catalog.db'}", connect_args={"timeout": 60})
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection, _record) -> None:  # type: ignore[no-untyped-def]
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=60000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


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
