"""Where personal data stands in each version, and which roles do not see which kinds of it."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "personal",
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("detector", sa.String(length=32), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("spans", EncryptedText(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version_id"),
    )
    op.create_table(
        "withholding",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("collection_id", "role"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
