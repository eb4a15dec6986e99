"""Work over whole documents that is kept for the next time, sealed under its document's key and gone with it."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "works",
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("name_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", EncryptedText(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version_id", "name_mac"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
