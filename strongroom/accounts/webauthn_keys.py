"""Security keys by WebAuthn (Level 2), as a second factor. Nothing is fetched: no attestation is asked for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select, update

from strongroom.accounts.rows import Person
from strongroom.catalog.store import Store, utc_now
from strongroom.catalog.tables import security_keys
from strongroom.errors import UsageError


def creation(store: Store, person: Person, challenge: bytes, origin: str) -> dict[str, object]:
    """Options for `navigator.credentials.create`."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    options = generate_registration_options(
        rp_id=_party(origin),
        rp_name="Strongroom",
        user_name=person.name,
        user_id=person.id.encode(),
        challenge=challenge,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=key) for key in _ids(store, person.id)],
    )
    found: dict[str, object] = json.loads(options_to_json(options))
    return found


def request(store: Store, user_id: str, challenge: bytes, origin: str) -> dict[str, object]:
    """Options for `navigator.credentials.get`."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    options = generate_authentication_options(
        rp_id=_party(origin),
        challenge=challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=key) for key in _ids(store, user_id)],
    )
    found: dict[str, object] = json.loads(options_to_json(options))
    return found


def add(store: Store, user_id: str, credential: dict[str, Any], challenge: bytes, origin: str) -> None:
    """Keep a credential. Raises `UsageError` when it does not answer the challenge, or is somebody's already."""
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_party(origin),
            expected_origin=origin,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as exc:
        raise UsageError("the security key's answer was not good", hint="Begin again.") from exc
    with store.write() as conn:
        if conn.execute(select(security_keys.c.id).where(security_keys.c.id == made.credential_id)).first():
            raise UsageError("that security key is known already", hint="Use another one.")
        conn.execute(
            insert(security_keys).values(
                id=made.credential_id,
                user_id=user_id,
                public_key=made.credential_public_key,
                counter=made.sign_count,
                created_at=utc_now(),
            )
        )


def verify(store: Store, user_id: str, credential: dict[str, Any], challenge: bytes, origin: str) -> bool:
    """True when one of the user's keys has answered the challenge, and its counter did not go back."""
    from webauthn import verify_authentication_response
    from webauthn.helpers import base64url_to_bytes
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        key_id = base64url_to_bytes(str(credential["id"]))
        with store.read() as conn:
            wanted = (security_keys.c.id == key_id) & (security_keys.c.user_id == user_id)
            row = conn.execute(select(security_keys).where(wanted)).first()
        if row is None:
            return False
        seen = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_party(origin),
            expected_origin=origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.counter,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError, UsageError):
        return False
    with store.write() as conn:
        conn.execute(update(security_keys).where(security_keys.c.id == key_id).values(counter=seen.new_sign_count))
    return True


def forget(conn: Connection, user_id: str) -> None:
    """Remove every key of a user."""
    conn.execute(delete(security_keys).where(security_keys.c.user_id == user_id))


def _ids(store: Store, user_id: str) -> list[bytes]:
    with store.read() as conn:
        found = conn.execute(select(security_keys.c.id).where(security_keys.c.user_id == user_id))
        return [bytes(key) for key in found.scalars()]


def _party(origin: str) -> str:
    """The relying party of an origin: its host name. Browsers know no key for an address of digits."""
    host = urlsplit(origin).hostname or ""
    if not host or host.replace(".", "").isdigit() or ":" in host:
        raise UsageError(
            "security keys need a host name, and this page was opened by an address of digits",
            hint="Open it as http://localhost or under its https name.",
        )
    return host
