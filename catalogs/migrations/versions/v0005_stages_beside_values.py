"""The stage beside every value and tag: a search of a stage reads the rows of that stage, and the counters
need no join. The indices of dates hold the numbers too, so that results in order need no row.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# table -> columns besides artifact and stage, and the key
_TABLES: dict[str, tuple[tuple[tuple[str, sa.types.TypeEngine[Any]], ...], tuple[str, ...]]] = {
    "metrics": ((("name", sa.Text()), ("value", sa.Float())), ("name", "stage", "value", "artifact")),
    "parameters": (
        (("name", sa.Text()), ("low", sa.Float()), ("high", sa.Float())),
        ("name", "stage", "low", "high", "artifact"),
    ),
    "settings": (
        (("name", sa.Text()), ("number", sa.Float()), ("text", sa.Text())),
        ("name", "stage", "number", "text", "artifact"),
    ),
    "tags": ((("tag", sa.Text()), ("created", sa.Float())), ("tag", "stage", "artifact")),
}
_INDICES: dict[str, list[tuple[str, ...]]] = {
    "metrics": [("artifact", "name", "value")],
    "parameters": [("artifact", "name", "low", "high"), ("name", "stage", "high")],
    "settings": [("artifact", "name", "number", "text")],
    "tags": [("artifact", "tag")],
}
_COMMENTS = {
    ("parameters", "low"): "smallest value over the samples",
    ("parameters", "high"): "largest value over the samples",
    ("settings", "name"): "dotted path in the config",
    ("settings", "number"): "0 where the value is a text",
    ("settings", "text"): "'' where the value is a number",
}

# table -> kind, name and text of a counter, of a row with the given alias
_COUNTED = {
    "metrics": ("'metric'", "{r}.name", "''"),
    "parameters": ("'parameter'", "{r}.name", "''"),
    "settings": ("CASE WHEN {r}.text = '' THEN 'number' ELSE 'text' END", "{r}.name", "{r}.text"),
    "tags": ("'tag'", "{r}.tag", "''"),
}
_COLUMNS = "kind, name, text, stage, count"
_KEY = "kind, name, text, stage"
_ADD = f"ON CONFLICT ({_KEY}) DO UPDATE SET count = count + excluded.count;"


def upgrade() -> None:
    """Copy each table into one that has the stage, and let simpler triggers count."""
    bind = op.get_bind()
    postgresql = bind.dialect.name == "postgresql"
    for statement in _dropped_postgresql() if postgresql else _dropped_sqlite():
        bind.exec_driver_sql(statement)
    for table in _TABLES:
        _widen(table, postgresql)
    for made_of in (["created"], ["stage", "created"]):
        op.drop_index(op.f(f"ix_artifacts_{'_'.join(made_of)}"), table_name="artifacts")
        op.create_index(op.f(f"ix_artifacts_{'_'.join(made_of)}_id"), "artifacts", [*made_of, "id"])
    for statement in _postgresql() if postgresql else _sqlite():
        bind.exec_driver_sql(statement)


def _widen(table: str, postgresql: bool) -> None:
    columns, key = _TABLES[table]
    old = f"{table}_0004"
    op.rename_table(table, old)
    for index in sa.inspect(op.get_bind()).get_indexes(old):
        op.drop_index(op.f(str(index["name"])), table_name=old)
    if postgresql:  # names of constraints are those of their indices, one of a kind in a schema
        op.drop_constraint(op.f(f"pk_{table}"), old, type_="primary")
    order = [name for name, _ in columns]
    made = [sa.Column(n, kind, nullable=False, comment=_COMMENTS.get((table, n))) for n, kind in columns]
    made.insert(len(made) if "created" not in order else 1, sa.Column("artifact", _ID, nullable=False))
    op.create_table(
        table,
        *made,
        sa.Column("stage", sa.Text(), nullable=False, comment="of the artifact"),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f(f"fk_{table}_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )
    names = ", ".join(order)
    by = ", ".join(name if name == "stage" else f"o.{name}" for name in key)
    op.execute(
        f"INSERT INTO {table} ({names}, artifact, stage) SELECT {', '.join(f'o.{n}' for n in order)}, "
        f"o.artifact, a.stage FROM {old} o JOIN artifacts a ON a.id = o.artifact ORDER BY {by}"
    )
    op.drop_table(old)
    for made_of in _INDICES[table]:
        op.create_index(op.f(f"ix_{table}_{'_'.join(made_of)}"), table, list(made_of))


def _dropped_sqlite() -> list[str]:
    names = [f"tally_{table}_insert" for table in (*_TABLES, "names")]
    return [f"DROP TRIGGER {name}" for name in (*names, "tally_tags_delete", "tally_artifacts_delete")]


def _dropped_postgresql() -> list[str]:
    made = [(f"tally_{table}_insert", table) for table in _TABLES]
    made += [("tally_tags_delete", "tags"), ("tally_artifacts_delete", "artifacts")]
    return [f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()" for name, table in made]


def _sqlite() -> list[str]:
    head = f"INSERT INTO tallies ({_COLUMNS})"
    made, gone = [], [f"{head} VALUES ('stage', '', '', OLD.stage, -1) {_ADD}"]
    for table, counter in _COUNTED.items():
        for row, event, step in (("NEW", "INSERT", 1), ("OLD", "DELETE", -1)):
            if event == "INSERT" or table == "tags":  # only tags go without their artifact
                kind, name, text = (part.format(r=row) for part in counter)
                made.append(
                    f"CREATE TRIGGER tally_{table}_{event.lower()} AFTER {event} ON {table} BEGIN "
                    f"{head} SELECT {kind}, {name}, {text}, {row}.stage, {step} "
                    f"WHERE {_still_there(event, row)} {_ADD} END"
                )
        kind, name, text = (part.format(r="r") for part in counter)
        gone.append(
            f"{head} SELECT {kind}, {name}, {text}, r.stage, -1 FROM {table} r "
            f"WHERE r.artifact = OLD.id {_ADD}"
        )
    gone.append(
        f"{head} SELECT 'name', n.name, '', OLD.stage, -1 FROM names n WHERE n.artifact = OLD.id {_ADD}"
    )
    made.append(
        f"CREATE TRIGGER tally_names_insert AFTER INSERT ON names BEGIN {head} SELECT 'name', NEW.name, '', "
        f"stage, 1 FROM artifacts WHERE id = NEW.artifact {_ADD} END"
    )
    made.append(
        f"CREATE TRIGGER tally_artifacts_delete BEFORE DELETE ON artifacts BEGIN {' '.join(gone)} END"
    )
    return made


def _postgresql() -> list[str]:
    head = f"INSERT INTO tally_changes ({_COLUMNS})"
    made, gone = [], [f"{head} VALUES ('stage', '', '', OLD.stage, -1);"]
    for table, counter in _COUNTED.items():
        kind, name, text = (part.format(r="r") for part in counter)
        for event, step in (("INSERT", ""), ("DELETE", "-")):
            if event == "INSERT" or table == "tags":
                made += _function(
                    table,
                    event,
                    f"{head} SELECT {kind}, {name}, {text}, r.stage, {step}count(*) FROM changed r "
                    f"WHERE {_still_there(event, 'r')} GROUP BY 1, 2, 3, 4;",
                )
        gone.append(
            f"{head} SELECT {kind}, {name}, {text}, r.stage, -1 FROM {table} r WHERE r.artifact = OLD.id;"
        )
    gone.append(f"{head} SELECT 'name', n.name, '', OLD.stage, -1 FROM names n WHERE n.artifact = OLD.id;")
    return [
        *made,
        "CREATE FUNCTION tally_artifacts_delete() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {' '.join(gone)} RETURN OLD; END $$",
        "CREATE TRIGGER tally_artifacts_delete BEFORE DELETE ON artifacts FOR EACH ROW "
        "EXECUTE FUNCTION tally_artifacts_delete()",
    ]


def _still_there(event: str, row: str) -> str:
    """Tags that go with their artifact fire the trigger too, and that of the artifact has counted them."""
    return "1 = 1" if event == "INSERT" else f"EXISTS (SELECT 1 FROM artifacts WHERE id = {row}.artifact)"


def _function(table: str, event: str, body: str) -> list[str]:
    name, kind = f"tally_{table}_{event.lower()}", "NEW" if event == "INSERT" else "OLD"
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$",
        f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {kind} TABLE AS changed "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
    ]
