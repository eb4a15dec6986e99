"""Legal holds, retention rules, and the signed receipts of deletions."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("deletions", sa.Column("receipt", sa.Text(), nullable=True))
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("resource", sa.String(length=16), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("reason", EncryptedText(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_holds_resource", "holds", ["resource_id"], unique=False)
    op.create_table(
        "retention",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_id"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
