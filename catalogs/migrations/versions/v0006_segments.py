"""Segments: groups of arrays that several artifacts share, and which samples of them each has."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the two tables, and an index by which a segment is found among artifacts."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "segments",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column(
            "location", sa.Text(), nullable=False, comment="folder in the store, and digest of its metadata"
        ),
        sa.Column(
            "content", sa.String(32), nullable=False, comment="key of its digests in contents and samples"
        ),
        sa.Column("samples", sa.Integer(), nullable=False, comment="how many it holds"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "freed", sa.Float(), nullable=True, comment="when the last artifact left it; NULL: it is used"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("location", name=op.f("uq_segments_location")),
    )
    op.create_index(op.f("ix_segments_content"), "segments", ["content"], unique=False)
    op.create_table(
        "pieces",
        sa.Column("artifact", number, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="along `sample`"),
        sa.Column("segment", number, nullable=False),
        sa.Column("start", sa.Integer(), nullable=False, comment="first sample of the segment"),
        sa.Column("stop", sa.Integer(), nullable=False, comment="past the last sample of the segment"),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.id"], name=op.f("fk_pieces_artifact_artifacts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["segment"], ["segments.id"], name=op.f("fk_pieces_segment_segments")),
        sa.PrimaryKeyConstraint("artifact", "position", name=op.f("pk_pieces")),
    )
    op.create_index(op.f("ix_pieces_segment"), "pieces", ["segment"], unique=False)
    op.create_index(op.f("ix_artifacts_location"), "artifacts", ["location"], unique=False)
