"""What people said of answers, gone with the document that they quote; readers trained on it, and on what."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("question", EncryptedText(), nullable=False),
        sa.Column("text", EncryptedText(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["documents.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_approvals_document", "approvals", ["document_id"], unique=False)
    op.create_table(
        "readers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "reader_sources",
        sa.Column("reader_id", sa.String(length=36), nullable=False),
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["reader_id"], ["readers.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("reader_id", "document_id"),
    )
    op.create_index("ix_reader_sources_document", "reader_sources", ["document_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
