"""Keeping folders in step: what a file looked like when it was hashed, what was deleted on purpose, what is watched."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("versions", sa.Column("stamp", sa.String(length=120), nullable=True))
    op.create_table(
        "tombstones",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("source_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("content_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("collection_id", "source_mac", "content_mac"),
    )
    op.create_index("ix_tombstones_content", "tombstones", ["collection_id", "content_mac"], unique=False)
    op.create_table(
        "watches",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("body", EncryptedText(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
