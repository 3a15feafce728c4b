"""Numbered artifacts with runs, schemas, metrics, parameters, settings, tags and names, so that all can be
searched.
"""

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OLD = ("artifacts", "edges", "parts", "contents", "samples")
_BLOCK = 1000


def upgrade() -> None:
    """Set the old tables aside, create the new ones, carry every row over, drop the old ones."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    present = [name for name in _OLD if inspector.has_table(name)]
    for name in present:
        for index in inspector.get_indexes(name):
            if index["name"] and not index.get("unique"):
                op.drop_index(index["name"], name)
        # the primary key keeps its name, which is wanted again; SQLite's has none
        key = inspector.get_pk_constraint(name)["name"]
        op.rename_table(name, f"{name}_0001")
        if key and connection.dialect.name == "postgresql":
            op.drop_constraint(key, f"{name}_0001", type_="primary")
    _create()
    if "artifacts" in present:
        _carry_artifacts(connection)
        _carry_edges(connection)
    for name in ("parts", "contents", "samples"):
        if name in present:
            _carry_alike(connection, name)
    for name in present:
        op.drop_table(f"{name}_0001")


def _create() -> None:
    op.create_table(
        "contents",
        sa.Column("key", sa.String(length=32), nullable=False, comment="of an artifact or a part"),
        sa.Column(
            "shared", sa.String(length=32), nullable=False, comment="digest of all that belongs to no sample"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_contents")),
    )
    op.create_table(
        "parts",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("artifact", sa.String(length=32), nullable=False, comment="key of what it will be part of"),
        sa.Column("owner", sa.Text(), nullable=False, comment="host:pid:start of the process that needs it"),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_parts")),
    )
    op.create_index(op.f("ix_parts_artifact"), "parts", ["artifact"], unique=False)
    op.create_table(
        "runs",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("process", sa.Text(), nullable=False, comment="host:pid:start of the process"),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column(
            "code", sa.Text(), nullable=False, comment="version of this product, with the commit where known"
        ),
        sa.Column("packages", sa.JSON(), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False, comment="last heartbeat"),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("process", name=op.f("uq_runs_process")),
    )
    op.create_index(op.f("ix_runs_seen"), "runs", ["seen"], unique=False)
    op.create_table(
        "samples",
        sa.Column("key", sa.String(length=32), nullable=False, comment="of an artifact or a part"),
        sa.Column("position", sa.Integer(), nullable=False, comment="along `sample`"),
        sa.Column("digest", sa.String(length=32), nullable=False, comment="of the values of the sample"),
        sa.Column(
            "part",
            sa.String(length=32),
            nullable=True,
            comment="the part it came from; null where the artifact had none",
        ),
        sa.PrimaryKeyConstraint("key", "position", name=op.f("pk_samples")),
    )
    op.create_index(op.f("ix_samples_digest"), "samples", ["digest"], unique=False)
    op.create_table(
        "schemas",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False, comment="variables with dims, dtype, units, role"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schemas")),
        sa.UniqueConstraint("digest", name=op.f("uq_schemas_digest")),
    )
    op.create_table(
        "artifacts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the stage"),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False, comment="length of every dim"),
        sa.Column("literature", sa.JSON(), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "location",
            sa.Text(),
            nullable=True,
            comment="folder in the store; '' for a payload; NULL: a record without data",
        ),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schema", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_artifacts_run_runs")),
        sa.ForeignKeyConstraint(["schema"], ["schemas.id"], name=op.f("fk_artifacts_schema_schemas")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("key", name=op.f("uq_artifacts_key")),
    )
    op.create_index(op.f("ix_artifacts_created"), "artifacts", ["created"], unique=False)
    op.create_index(op.f("ix_artifacts_run"), "artifacts", ["run"], unique=False)
    op.create_index(op.f("ix_artifacts_schema"), "artifacts", ["schema"], unique=False)
    op.create_index(op.f("ix_artifacts_stage_created"), "artifacts", ["stage", "created"], unique=False)
    op.create_table(
        "edges",
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("input", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_edges_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["input"], ["artifacts.id"], name=op.f("fk_edges_input_artifacts")),
        sa.PrimaryKeyConstraint("artifact", "name", name=op.f("pk_edges")),
    )
    op.create_index(op.f("ix_edges_input"), "edges", ["input"], unique=False)
    op.create_table(
        "metrics",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_metrics_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name", "value", "artifact", name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_metrics_artifact_name_value"), "metrics", ["artifact", "name", "value"], unique=False
    )
    op.create_table(
        "names",
        sa.Column("name", sa.Text(), nullable=False, comment="of a data set or model that has versions"),
        sa.Column("number", sa.Integer(), nullable=False, comment="1, 2, ...; the largest is the latest"),
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_names_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_names")),
    )
    op.create_index(op.f("ix_names_artifact"), "names", ["artifact"], unique=False)
    op.create_table(
        "parameters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False, comment="smallest value over the samples"),
        sa.Column("high", sa.Float(), nullable=False, comment="largest value over the samples"),
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_parameters_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name", "low", "high", "artifact", name=op.f("pk_parameters")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_parameters_artifact_name_low_high"),
        "parameters",
        ["artifact", "name", "low", "high"],
        unique=False,
    )
    op.create_table(
        "payloads",
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "data", sa.LargeBinary(), nullable=False, comment="a small dataset, see catalogs/part_files.py"
        ),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_payloads_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("artifact", name=op.f("pk_payloads")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False, comment="dotted path in the config"),
        sa.Column("number", sa.Float(), nullable=False, comment="0 where the value is a text"),
        sa.Column("text", sa.Text(), nullable=False, comment="'' where the value is a number"),
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_settings_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name", "number", "text", "artifact", name=op.f("pk_settings")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_settings_artifact_name_number_text"),
        "settings",
        ["artifact", "name", "number", "text"],
        unique=False,
    )
    op.create_table(
        "tags",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("artifact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_tags_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tag", "artifact", name=op.f("pk_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tags_artifact_tag"), "tags", ["artifact", "tag"], unique=False)


def _rows(connection: sa.Connection, name: str) -> Iterator[list[dict[str, Any]]]:
    old = sa.Table(f"{name}_0001", sa.MetaData(), autoload_with=connection)
    result = connection.execute(sa.select(old)).mappings()
    while block := result.fetchmany(_BLOCK):
        yield [dict(row) for row in block]


def _table(connection: sa.Connection, name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=connection, resolve_fks=False)


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _carry_alike(connection: sa.Connection, name: str) -> None:
    new = _table(connection, name)
    for rows in _rows(connection, name):
        for row in rows:
            if name == "parts":
                row |= {"created": _seconds(row["created"]), "sizes": _loaded(row["sizes"])}
        connection.execute(sa.insert(new), rows)


def _carry_artifacts(connection: sa.Connection) -> None:
    names = ("artifacts", "runs", "schemas", "metrics", "settings")
    tables = {name: _table(connection, name) for name in names}
    runs: dict[str, int] = {}
    schemas: dict[str, int] = {}
    for rows in _rows(connection, "artifacts"):
        for row in rows:
            origin = {"host": row["host"], "user": row["user"], "code": row["code_version"]}
            run = {**origin, "packages": _loaded(row["packages"])}
            schema = dict(_loaded(row["schema"]))
            sizes = schema.pop("dims", {})
            new = {
                "key": row["key"], "stage": row["stage"], "version": row["stage_version"],
                "config": _loaded(row["config"]), "metrics": _loaded(row["metrics"]), "sizes": sizes,
                "literature": _loaded(row["literature"]), "started": _seconds(row["started"]),
                "created": _seconds(row["created"]), "seconds": row["seconds"], "bytes": row["bytes"],
                "location": f"{row['key']}.zarr", "note": "",
                "run": _run(connection, tables["runs"], runs, run, _seconds(row["started"])),
                "schema": _schema(connection, tables["schemas"], schemas, schema),
            }  # fmt: skip
            made = connection.execute(sa.insert(tables["artifacts"]).returning(tables["artifacts"].c.id), new)
            number = made.scalar_one()
            _carry_values(connection, tables, number, new)


def _carry_values(
    connection: sa.Connection, tables: Mapping[str, sa.Table], number: int, row: Mapping[str, Any]
) -> None:
    values = [
        {"name": name, "value": float(value), "artifact": number}
        for name, value in row["metrics"].items()
        if isinstance(value, (int, float)) and value == value
    ]
    found = dict(_leaves("", row["config"]))
    settings = [
        {
            "name": name,
            "number": 0.0 if isinstance(value, str) else float(value),
            "text": value if isinstance(value, str) else "",
            "artifact": number,
        }
        for name, value in found.items()
    ]
    for table, rows in ((tables["metrics"], values), (tables["settings"], settings)):
        if rows:
            connection.execute(sa.insert(table), rows)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), item)
    elif isinstance(value, (bool, int, float, str)):
        yield path, value


def _run(
    connection: sa.Connection, table: sa.Table, found: dict[str, int], run: dict[str, Any], started: float
) -> int:
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
    if digest not in found:
        row = {**run, "process": f"0001:{digest[:32]}", "started": started, "seen": started, "ended": started}
        found[digest] = connection.execute(sa.insert(table).returning(table.c.id), row).scalar_one()
    return found[digest]


def _schema(
    connection: sa.Connection, table: sa.Table, found: dict[str, int], content: dict[str, Any]
) -> int:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if digest not in found:
        row = {"digest": digest, "content": content}
        found[digest] = connection.execute(sa.insert(table).returning(table.c.id), row).scalar_one()
    return found[digest]


def _carry_edges(connection: sa.Connection) -> None:
    edges, artifacts = _table(connection, "edges"), _table(connection, "artifacts")
    number = {row.key: row.id for row in connection.execute(sa.select(artifacts.c.key, artifacts.c.id))}
    for rows in _rows(connection, "edges"):
        kept = [row for row in rows if row["key"] in number and row["input_key"] in number]
        if kept:
            connection.execute(
                sa.insert(edges),
                [
                    {"artifact": number[r["key"]], "name": r["name"], "input": number[r["input_key"]]}
                    for r in kept
                ],
            )
