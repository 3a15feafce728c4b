"""Parameter studies and their points."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "studies",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="stage or pipeline that every point runs"),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the stage"),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column(
            "digest", sa.String(64), nullable=False, comment="of all that decides the points; '': open"
        ),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "points",
        sa.Column("study", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="place in the design"),
        sa.Column("key", sa.String(32), nullable=False, comment="of the artifact that it makes"),
        sa.Column("parameters", sa.JSON(), nullable=False, comment="dotted path in the config -> value"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "owner", sa.Text(), nullable=True, comment="host:pid:start of the process that has the lease"
        ),
        sa.Column("until", sa.Float(), nullable=True, comment="end of the lease; heartbeats move it"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column(
            "result", sa.String(32), nullable=True, comment="key of the artifact that holds the result"
        ),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True, comment="of the failure"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("log", sa.Text(), nullable=True, comment="file in the project folder"),
        sa.ForeignKeyConstraint(
            ["study"], ["studies.id"], name=op.f("fk_points_study_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study", "number", name=op.f("pk_points")),
    )
    op.create_index(op.f("ix_points_key"), "points", ["key"], unique=False)
    op.create_index(
        op.f("ix_points_study_state_number"), "points", ["study", "state", "number"], unique=False
    )
