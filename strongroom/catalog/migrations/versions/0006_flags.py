"""What is suspicious on a page: text that is hidden, encoded, or talks to a machine."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("pages", sa.Column("flags", EncryptedText(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
