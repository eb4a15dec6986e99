"""Rights of grants, what the index must be told of them, walls between groups, what needs two people."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("grants", sa.Column("right", sa.String(length=8), nullable=False, server_default="read"))
    # until now whoever made a collection was the only user with a grant of it, and wrote into it
    op.execute(
        "UPDATE grants SET \"right\" = 'write' "
        "WHERE effect = 'allow' AND resource = 'collection' AND principal LIKE 'user:%'"
    )
    op.create_table(
        "regrants",
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.Column("change", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("document_id"),
    )
    op.create_table(
        "walls",
        sa.Column("one", sa.String(length=64), nullable=False),
        sa.Column("other", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("one", "other"),
    )
    op.create_table(
        "clearances",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("document_id", sa.String(length=36), nullable=True),
        sa.Column("reason", EncryptedText(), nullable=False),
        sa.Column("by", sa.String(length=36), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
