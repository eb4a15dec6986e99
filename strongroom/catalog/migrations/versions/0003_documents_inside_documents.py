"""Documents inside documents: members of archives and attachments of mails know what holds them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("documents", sa.Column("parent_id", sa.String(length=36), nullable=True))
    op.add_column("documents", sa.Column("parent_version_id", sa.String(length=36), nullable=True))
    op.add_column("versions", sa.Column("member_count", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_documents_parent", "documents", ["parent_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
