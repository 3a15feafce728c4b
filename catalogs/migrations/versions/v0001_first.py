"""The tables of version 0.1: artifacts, edges, parts, contents and samples, by key."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "artifacts",
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
    op.create_table(
        "edges",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("input_key", sa.String(32), index=True, nullable=False),
    )
    op.create_table(
        "parts",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("artifact", sa.String(32), index=True, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("sizes", sa.JSON, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "contents",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("shared", sa.String(32), nullable=False),
    )
    op.create_table(
        "samples",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(32), index=True, nullable=False),
        sa.Column("part", sa.String(32)),
    )
