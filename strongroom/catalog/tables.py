"""Tables of the catalogue, the truth about documents. The first migration holds the same schema.

Every column that can hold words of a document is an `EncryptedText`: it accepts `Sealed` values only, so plaintext
cannot be written by mistake. Look-ups by such a value go through a keyed fingerprint in a `*_mac` column.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from strongroom.crypto import Sealed


class EncryptedText(TypeDecorator[bytes]):
    """Ciphertext column. Binding anything but `Sealed` is an error."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise TypeError(f"an encrypted column takes Sealed values, not {type(value).__name__}")
        return bytes(value)

    def process_result_value(self, value: Any, dialect: Any) -> Sealed | None:
        return None if value is None else Sealed(value)


metadata = MetaData()

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

collections = Table(
    "collections",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name_mac", LargeBinary(32), nullable=False, unique=True),
    Column("name", EncryptedText, nullable=False),
    Column("created_at", String(32), nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("collection_id", String(36), ForeignKey("collections.id"), nullable=False),
    Column("source_mac", LargeBinary(32), nullable=False),
    Column("source", EncryptedText, nullable=False),
    Column("name", EncryptedText, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("current_version_id", String(36)),
    Column("newest_version_id", String(36)),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    # of a document that lies inside another: what holds it, and the version of that which holds it now
    Column("parent_id", String(36)),
    Column("parent_version_id", String(36)),
    UniqueConstraint("collection_id", "source_mac", name="uq_documents_source"),
    Index("ix_documents_parent", "parent_id"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("document_id", String(36), ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("content_mac", LargeBinary(32), nullable=False),
    Column("sha256", EncryptedText, nullable=False),
    Column("recipe", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", EncryptedText),
    Column("title", EncryptedText),
    Column("mime", String(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("page_count", Integer, nullable=False, default=0),
    Column("chunk_count", Integer, nullable=False, default=0),
    Column("member_count", Integer, nullable=False, default=0, server_default="0"),  # documents directly inside it
    Column("stamp", String(120)),  # the file as it was when its hash was taken; see `ingest.decide.Stamp`
    Column("created_at", String(32), nullable=False),
    Index("ix_versions_document", "document_id"),
    Index("ix_versions_state", "state"),
    Index("ix_versions_content", "content_mac"),
)

pages = Table(
    "pages",
    metadata,
    Column("version_id", String(36), ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("number", Integer),
    Column("kind", String(16), nullable=False),
    Column("label", EncryptedText, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("width", Float),
    Column("height", Float),
    Column("ocr_confidence", Float),
    Column("text", EncryptedText, nullable=False),
    Column("layout", EncryptedText, nullable=False),
    Column("flags", EncryptedText),  # JSON rows [kind, start, end, detail]; NULL for the many pages that have none
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("version_id", String(36), ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("page_first", Integer, nullable=False),
    Column("page_last", Integer, nullable=False),
    Column("text", EncryptedText, nullable=False),
    Column("headings", EncryptedText, nullable=False),
    UniqueConstraint("version_id", "ordinal", name="uq_chunks_ordinal"),
)

# Versions whose points must leave the index: written in the transaction that made them stale, emptied once they left.
removals = Table(
    "removals",
    metadata,
    Column("version_id", String(36), primary_key=True),
    Column("at", String(32), nullable=False),
)

# What was deleted, for restores to replay: ids and counts, never words.
deletions = Table(
    "deletions",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("key_id", String(36), nullable=False),
    Column("at", String(32), nullable=False),
    Column("by", String(64), nullable=False),
    Column("destroyed", Text, nullable=False),
    Column("receipt", Text),  # the signed receipt, once everything that follows from the deletion was done
)

holds = Table(
    "holds",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("resource", String(16), nullable=False),  # collection | document
    Column("resource_id", String(36), nullable=False),
    Column("reason", EncryptedText, nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Index("ix_holds_resource", "resource_id"),
)

retention = Table(
    "retention",
    metadata,
    Column("collection_id", String(36), ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True),
    Column("keep_days", Integer, nullable=False),
)

# What a person deleted although its file is still there, by fingerprints: later runs leave such a file alone.
tombstones = Table(
    "tombstones",
    metadata,
    Column("collection_id", String(36), primary_key=True),
    Column("source_mac", LargeBinary(32), primary_key=True),
    Column("content_mac", LargeBinary(32), primary_key=True),
    Column("at", String(32), nullable=False),
    Index("ix_tombstones_content", "collection_id", "content_mac"),
)

# Folders that are kept in step; the body is JSON.
watches = Table(
    "watches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("body", EncryptedText, nullable=False),
    Column("created_at", String(32), nullable=False),
)

# What was worked out for a version of a document, kept for the next time; see `strongroom.catalog.working`.
works = Table(
    "works",
    metadata,
    Column("version_id", String(36), ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("name_mac", LargeBinary(32), primary_key=True),
    Column("body", EncryptedText, nullable=False),
    Column("at", String(32), nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("document_id", String(36), ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("question", EncryptedText, nullable=False),
    Column("text", EncryptedText, nullable=False),
    Column("page", Integer),
    Column("by", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Index("ix_approvals_document", "document_id"),
)

# Readers trained here: `candidate` until compared, then `in use` or `discarded`; `stale` once a source was deleted.
readers = Table(
    "readers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("at", String(32), nullable=False),
    Column("scores", Text, nullable=False),
)

# The documents whose words a reader was trained on. Outlives the document: that is what makes the reader stale.
reader_sources = Table(
    "reader_sources",
    metadata,
    Column("reader_id", String(36), ForeignKey("readers.id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", String(36), primary_key=True),
    Index("ix_reader_sources_document", "document_id"),
)

# Personal data found in a version: counts by kind (JSON), and where it stands with its words.
personal = Table(
    "personal",
    metadata,
    Column("version_id", String(36), ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("detector", String(32), nullable=False),
    Column("counts", Text, nullable=False),
    Column("spans", EncryptedText, nullable=False),
)

# Kinds of personal data (JSON list) that a role does not see in a collection; "" stands for those without a rule.
withholding = Table(
    "withholding",
    metadata,
    Column("collection_id", String(36), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("kinds", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", String(32), nullable=False),
)

# How a user signs in. Passwords are argon2id hashes; secrets of second factors are sealed.
accounts = Table(
    "accounts",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("password", Text),
    Column("disabled_at", String(32)),
    Column("issuer", String(255)),  # of the identity provider, and the person's name there
    Column("subject", String(255)),
    Column("totp", EncryptedText),
    Column("totp_new", EncryptedText),  # until a code of it was given
    Column("totp_step", Integer, nullable=False, default=0, server_default="0"),  # newest time step that was used
    Column("seen_at", String(32)),
    UniqueConstraint("issuer", "subject", name="uq_accounts_subject"),
)

# One-time codes to set a password with; without a user, for the first administrator. Only digests are kept.
invitations = Table(
    "invitations",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE")),
    Column("expires_at", String(32), nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", String(32), nullable=False),
    Column("seen_at", String(32), nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(120), nullable=False),
    Index("ix_sessions_user", "user_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("used_at", String(32)),
    Index("ix_tokens_user", "user_id"),
)

# Failed sign-ins by account and by address, under keyed fingerprints: a name that was typed is not kept.
throttles = Table(
    "throttles",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last", Float, nullable=False),  # seconds since the epoch
    Column("until", Float, nullable=False),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
)

security_keys = Table(
    "security_keys",
    metadata,
    Column("id", LargeBinary(1023), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("created_at", String(32), nullable=False),
    Index("ix_security_keys_user", "user_id"),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("group_name", String(64), primary_key=True),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("principal", String(96), nullable=False),
    Column("resource", String(16), nullable=False),  # collection | document
    Column("resource_id", String(36), nullable=False),
    Column("effect", String(8), nullable=False),  # allow | deny
    Column("right", String(8), nullable=False, server_default="read"),  # read | write, which includes reading
    Column("created_at", String(32), nullable=False),
    UniqueConstraint("principal", "resource", "resource_id", "effect", name="uq_grants"),
    Index("ix_grants_resource", "resource_id"),
)

# Documents whose principals the index must be told: written in the transaction that changed a grant, emptied once the
# index has them.
regrants = Table(
    "regrants",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("change", String(36), nullable=False),  # which change it was: a later one must not be taken off with it
)

# Groups that must have nobody and nothing in common, in alphabetical order.
walls = Table(
    "walls",
    metadata,
    Column("one", String(64), primary_key=True),
    Column("other", String(64), primary_key=True),
    Column("by", String(64), nullable=False),
    Column("at", String(32), nullable=False),
)

# What one person asked for and another must allow.
clearances = Table(
    "clearances",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("action", String(16), nullable=False),  # export | delete
    Column("collection_id", String(36), nullable=False),
    Column("document_id", String(36)),  # NULL: the whole collection
    Column("reason", EncryptedText, nullable=False),
    Column("by", String(36), nullable=False),  # user id
    Column("at", String(32), nullable=False),
    Column("expires", String(32), nullable=False),
    Column("decision", String(16)),  # allowed | denied; NULL while it waits
    Column("decided_by", String(36)),
    Column("decided_at", String(32)),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("hash", LargeBinary(32), nullable=False),
)
