"""Counters of stages, tags, names, metrics, parameters and settings, kept by triggers: facets of a million
artifacts are read, not counted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# table -> for each kind: (name, text, rows that count), of a row with the given alias
_COUNTED = {
    "metrics": [("metric", "{r}.name", "''", "1 = 1")],
    "parameters": [("parameter", "{r}.name", "''", "1 = 1")],
    "settings": [
        ("number", "{r}.name", "''", "{r}.text = ''"),
        ("text", "{r}.name", "{r}.text", "{r}.text <> ''"),
    ],
    "tags": [("tag", "{r}.tag", "''", "1 = 1")],
    "names": [("name", "{r}.name", "''", "1 = 1")],
}
_COLUMNS = "kind, name, text, stage, count"
_KEY = "kind, name, text, stage"


def upgrade() -> None:
    """Create the counters, count what is there, and let triggers go on."""
    op.create_table(
        "tallies",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "text", "stage", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tallies_kind_stage_count"), "tallies", ["kind", "stage", "count"])
    op.create_index(op.f("ix_parameters_name_high"), "parameters", ["name", "high"])
    op.create_table(
        "tally_changes",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally_changes")),
    )
    count_all(op.get_bind())
    make = _postgresql if op.get_bind().dialect.name == "postgresql" else _sqlite
    for statement in make():
        op.get_bind().exec_driver_sql(statement)


def count_all(connection: sa.Connection) -> None:
    """Fill the empty counters from the tables."""
    head = f"INSERT INTO tallies ({_COLUMNS})"
    connection.exec_driver_sql(
        f"{head} SELECT 'stage', '', '', stage, count(*) FROM artifacts GROUP BY stage"
    )
    for table, kinds in _COUNTED.items():
        for kind, name, text, counts in kinds:
            name, text, counts = (part.format(r="r") for part in (name, text, counts))
            connection.exec_driver_sql(
                f"{head} SELECT '{kind}', {name}, {text}, a.stage, count(*) FROM {table} r "
                f"JOIN artifacts a ON a.id = r.artifact WHERE {counts} GROUP BY 2, 3, 4"
            )


def _sqlite() -> list[str]:
    """One writer at a time: the counters are changed in place."""
    add = f"ON CONFLICT ({_KEY}) DO UPDATE SET count = count + excluded.count;"
    head = f"INSERT INTO tallies ({_COLUMNS})"
    made = [
        "CREATE TRIGGER tally_artifacts_insert AFTER INSERT ON artifacts BEGIN "
        f"{head} VALUES ('stage', '', '', NEW.stage, 1) {add} END"
    ]
    gone = [f"{head} VALUES ('stage', '', '', OLD.stage, -1) {add}"]
    for table, kinds in _COUNTED.items():
        for row, event, step in (("NEW", "INSERT", 1), ("OLD", "DELETE", -1)):
            if event == "DELETE" and table != "tags":
                continue  # only tags go without their artifact
            body = "".join(
                f"{head} SELECT '{kind}', {name.format(r=row)}, {text.format(r=row)}, stage, {step} "
                f"FROM artifacts WHERE id = {row}.artifact AND {counts.format(r=row)} {add} "
                for kind, name, text, counts in kinds
            )
            made.append(
                f"CREATE TRIGGER tally_{table}_{event.lower()} AFTER {event} ON {table} BEGIN {body}END"
            )
        gone += [
            f"{head} SELECT '{kind}', {name.format(r='r')}, {text.format(r='r')}, OLD.stage, -1 "
            f"FROM {table} r WHERE r.artifact = OLD.id AND {counts.format(r='r')} {add}"
            for kind, name, text, counts in kinds
        ]
    made.append(
        "CREATE TRIGGER tally_artifacts_delete BEFORE DELETE ON artifacts BEGIN " + " ".join(gone) + " END"
    )
    return made


def _postgresql() -> list[str]:
    """Many writers: they add rows to `tally_changes`, so that none waits for another; now and then one of
    them merges the rows into the counters.
    """
    head = f"INSERT INTO tally_changes ({_COLUMNS})"
    merge = (
        "IF random() < 0.005 AND pg_try_advisory_xact_lock(7305116) THEN "
        f"WITH gone AS (DELETE FROM tally_changes RETURNING {_COLUMNS}) "
        f"INSERT INTO tallies ({_COLUMNS}) SELECT {_KEY}, sum(count) FROM gone GROUP BY {_KEY} "
        f"HAVING sum(count) <> 0 ON CONFLICT ({_KEY}) "
        "DO UPDATE SET count = tallies.count + excluded.count; END IF;"
    )
    first = f"{head} SELECT 'stage', '', '', stage, count(*) FROM changed GROUP BY stage; {merge}"
    made = [*_function("artifacts", "INSERT", first)]
    gone = [f"{head} VALUES ('stage', '', '', OLD.stage, -1);"]
    for table, kinds in _COUNTED.items():
        for event, step in (("INSERT", ""), ("DELETE", "-")):
            if event == "DELETE" and table != "tags":
                continue
            body = " ".join(
                f"{head} SELECT '{kind}', {name.format(r='r')}, {text.format(r='r')}, a.stage, "
                f"{step}count(*) FROM changed r JOIN artifacts a ON a.id = r.artifact "
                f"WHERE {counts.format(r='r')} GROUP BY 2, 3, 4;"
                for kind, name, text, counts in kinds
            )
            made += _function(table, event, body)
        gone += [
            f"{head} SELECT '{kind}', {name.format(r='r')}, {text.format(r='r')}, OLD.stage, -1 "
            f"FROM {table} r WHERE r.artifact = OLD.id AND {counts.format(r='r')};"
            for kind, name, text, counts in kinds
        ]
    return [
        *made,
        "CREATE FUNCTION tally_artifacts_delete() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {' '.join(gone)} RETURN OLD; END $$",
        "CREATE TRIGGER tally_artifacts_delete BEFORE DELETE ON artifacts FOR EACH ROW "
        "EXECUTE FUNCTION tally_artifacts_delete()",
    ]


def _function(table: str, event: str, body: str) -> list[str]:
    name, kind = f"tally_{table}_{event.lower()}", "NEW" if event == "INSERT" else "OLD"
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$",
        f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {kind} TABLE AS changed "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
    ]
