"""Tables of the catalog, the same on SQLite and PostgreSQL; `migrations` brings earlier ones up to them."""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows only in INTEGER columns


def _serial() -> sa.Column:
    return sa.Column("id", _ID, primary_key=True, autoincrement=True)


def _artifact(**options: bool) -> sa.Column:
    owner = sa.ForeignKey("artifacts.id", ondelete="CASCADE")
    return sa.Column("artifact", _ID, owner, nullable=False, **options)  # type: ignore[arg-type]


def _stage() -> sa.Column:
    return sa.Column("stage", sa.Text, nullable=False, comment="of the artifact")


def _lookup(
    name: str, *columns: sa.Column, order: tuple[str, ...], more: tuple[sa.Index, ...] = ()
) -> sa.Table:
    """Values by (name, stage, value) as the primary key, and by artifact as an index that holds them too."""
    return sa.Table(
        name,
        metadata,
        *columns,
        _artifact(),
        _stage(),
        sa.PrimaryKeyConstraint(order[0], "stage", *order[1:], "artifact"),
        sa.Index(None, "artifact", *order),
        *more,
        sqlite_with_rowid=False,
    )


runs = sa.Table(
    "runs",
    metadata,
    _serial(),
    sa.Column("process", sa.Text, nullable=False, unique=True, comment="host:pid:start of the process"),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column(
        "code", sa.Text, nullable=False, comment="version of this product, with the commit where known"
    ),
    sa.Column("packages", sa.JSON, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seen", sa.Float, nullable=False, index=True, comment="last heartbeat"),
    sa.Column("ended", sa.Float),
)

schemas = sa.Table(
    "schemas",
    metadata,
    _serial(),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("content", sa.JSON, nullable=False, comment="variables with dims, dtype, units, role"),
)

artifacts = sa.Table(
    "artifacts",
    metadata,
    _serial(),
    sa.Column("key", sa.String(32), nullable=False, unique=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, comment="of the stage"),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("sizes", sa.JSON, nullable=False, comment="length of every dim"),
    sa.Column("literature", sa.JSON, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column(
        "location", sa.Text, comment="folder in the store; '' for a payload; NULL: a record without data"
    ),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("run", _ID, sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("schema", sa.BigInteger, sa.ForeignKey("schemas.id"), nullable=False, index=True),
    sa.Index(None, "stage", "created", "id"),
    sa.Index(None, "created", "id"),
    sa.Index(None, "location"),  # which artifacts share a segment
)

parts = sa.Table(
    "parts",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column(
        "artifact", sa.String(32), index=True, nullable=False, comment="key of what it will be part of"
    ),
    sa.Column("owner", sa.Text, nullable=False, comment="host:pid:start of the process that needs it"),
    sa.Column("created", sa.Float, nullable=False),
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

payloads = sa.Table(
    "payloads",
    metadata,
    sa.Column("artifact", _ID, sa.ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False, comment="a small dataset, see catalogs/part_files.py"),
)

# A group of arrays that artifacts share; see `catalogs.segments`.
segments = sa.Table(
    "segments",
    metadata,
    _serial(),
    sa.Column(
        "location",
        sa.Text,
        nullable=False,
        unique=True,
        comment="folder in the store, and digest of its metadata",
    ),
    sa.Column(
        "content",
        sa.String(32),
        nullable=False,
        index=True,
        comment="key of its digests in contents and samples",
    ),
    sa.Column("samples", sa.Integer, nullable=False, comment="how many it holds"),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("freed", sa.Float, comment="when the last artifact left it; NULL: it is used"),
)

# The samples of an artifact whose location is '+', in order: some of each segment.
pieces = sa.Table(
    "pieces",
    metadata,
    _artifact(primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, comment="along `sample`"),
    sa.Column("segment", _ID, sa.ForeignKey("segments.id"), nullable=False, index=True),
    sa.Column("start", sa.Integer, nullable=False, comment="first sample of the segment"),
    sa.Column("stop", sa.Integer, nullable=False, comment="past the last sample of the segment"),
)

edges = sa.Table(
    "edges",
    metadata,
    _artifact(primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("input", _ID, sa.ForeignKey("artifacts.id"), nullable=False, index=True),
)

metrics = _lookup(
    "metrics",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    order=("name", "value"),
)

parameters = _lookup(
    "parameters",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("low", sa.Float, nullable=False, comment="smallest value over the samples"),
    sa.Column("high", sa.Float, nullable=False, comment="largest value over the samples"),
    order=("name", "low", "high"),
    more=(sa.Index(None, "name", "stage", "high"),),
)

settings = _lookup(
    "settings",
    sa.Column("name", sa.Text, nullable=False, comment="dotted path in the config"),
    sa.Column("number", sa.Float, nullable=False, comment="0 where the value is a text"),
    sa.Column("text", sa.Text, nullable=False, comment="'' where the value is a number"),
    order=("name", "number", "text"),
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("tag", sa.Text, nullable=False),
    _artifact(),
    sa.Column("created", sa.Float, nullable=False),
    _stage(),
    sa.PrimaryKeyConstraint("tag", "stage", "artifact"),
    sa.Index(None, "artifact", "tag"),
    sqlite_with_rowid=False,
)

names = sa.Table(
    "names",
    metadata,
    sa.Column("name", sa.Text, nullable=False, comment="of a data set or model that has versions"),
    sa.Column("number", sa.Integer, nullable=False, comment="1, 2, ...; the largest is the latest"),
    _artifact(index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.PrimaryKeyConstraint("name", "number"),
)

studies = sa.Table(
    "studies",
    metadata,
    _serial(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("target", sa.Text, nullable=False, comment="stage or pipeline that every point runs"),
    sa.Column("version", sa.Integer, nullable=False, comment="of the stage"),
    sa.Column("definition", sa.JSON, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, comment="of all that decides the points; '': open"),
    sa.Column("cancelled", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

points = sa.Table(
    "points",
    metadata,
    sa.Column(
        "study", _ID, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False, comment="place in the design"),
    sa.Column("key", sa.String(32), nullable=False, index=True, comment="of the artifact that it makes"),
    sa.Column("parameters", sa.JSON, nullable=False, comment="dotted path in the config -> value"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, comment="host:pid:start of the process that has the lease"),
    sa.Column("until", sa.Float, comment="end of the lease; heartbeats move it"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("seconds", sa.Float),
    sa.Column("result", sa.String(32), comment="key of the artifact that holds the result"),
    sa.Column("metrics", sa.JSON(none_as_null=True)),
    sa.Column("kind", sa.Text, comment="of the failure"),
    sa.Column("error", sa.Text),
    sa.Column("log", sa.Text, comment="file in the project folder"),
    sa.Index(None, "study", "state", "number"),
)

# How often each (kind, name, text) occurs in the artifacts of a stage; triggers keep it, see migration 0005.
# kind: stage, metric, parameter, number, text, tag, name; `text` is the value of a text in a config, else ''.
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("kind", "name", "text", "stage"),
    sa.Index(None, "kind", "stage", "count"),
    sqlite_with_rowid=False,
)

# What is not yet merged into `tallies`; on PostgreSQL only.
tally_changes = sa.Table(
    "tally_changes",
    metadata,
    _serial(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)
