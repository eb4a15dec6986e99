"""How people sign in: passwords, second factors, invitations, sessions, API tokens, and failed attempts."""

import sqlalchemy as sa
from alembic import op

from strongroom.catalog.tables import EncryptedText

revision = "0009"
down_revision = "0008"


def _user(*, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    user = sa.ForeignKey("users.id", ondelete="CASCADE")
    return sa.Column("user_id", sa.String(length=36), user, primary_key=primary_key, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "accounts",
        _user(primary_key=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.String(length=32), nullable=True),
        sa.Column("issuer", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("totp", EncryptedText(), nullable=True),
        sa.Column("totp_new", EncryptedText(), nullable=True),
        sa.Column("totp_step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("seen_at", sa.String(length=32), nullable=True),
        sa.UniqueConstraint("issuer", "subject", name="uq_accounts_subject"),
    )
    op.create_table(
        "invitations",
        sa.Column("digest", sa.LargeBinary(length=32), primary_key=True),
        _user(nullable=True),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=36), primary_key=True),
        _user(nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, unique=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=120), nullable=False),
    )
    op.create_index("ix_sessions_user", "sessions", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=36), primary_key=True),
        _user(nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, unique=True),
        sa.Column("scopes", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("used_at", sa.String(length=32), nullable=True),
    )
    op.create_index("ix_tokens_user", "tokens", ["user_id"], unique=False)
    op.create_table(
        "throttles",
        sa.Column("key", sa.LargeBinary(length=32), primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
    )
    op.create_table(
        "recovery_codes",
        _user(primary_key=True),
        sa.Column("digest", sa.LargeBinary(length=32), primary_key=True),
    )
    op.create_table(
        "security_keys",
        sa.Column("id", sa.LargeBinary(length=1023), primary_key=True),
        _user(nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
    )
    op.create_index("ix_security_keys_user", "security_keys", ["user_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
