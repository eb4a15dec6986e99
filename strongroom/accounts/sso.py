"""Single sign-on by OpenID Connect: authorisation code with PKCE, state and nonce (OpenID Connect Core 1.0, RFC 7636).

The appliance talks to the provider itself, and only when the provider's host is in `allowed_hosts`. Keys and addresses
are read from the provider at each sign-in, so nothing of it is stored but the subject of each person.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from strongroom.access import LOCAL_USER
from strongroom.accounts import rows
from strongroom.accounts.accounts import Accounts, refused
from strongroom.accounts.rows import Person
from strongroom.airgap import is_allowed
from strongroom.catalog import walls
from strongroom.errors import ConfigError, StrongroomError, UsageError, WallError
from strongroom.people import Role, SignedIn, SsoRedirect, SsoReturn

if TYPE_CHECKING:
    from joserfc.jwk import KeySetSerialization

_LIFE = timedelta(minutes=10)
_MOST_OPEN = 1000  # sign-ins that were begun; each is a few hundred bytes
_LEEWAY = 60  # seconds that clocks may differ
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider and what its claims mean here."""

    issuer: str
    client_id: str
    client_secret: str
    name: str = "single sign-on"
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    admin_group: str = ""
    required_group: str = ""


@dataclass(frozen=True, slots=True)
class _Begun:
    back: str
    verifier: str
    nonce: str
    until: datetime


class SingleSignOn:
    """Sends people to one provider and takes them back. Safe from any thread."""

    def __init__(self, provider: Provider, accounts: Accounts) -> None:
        """Raises `ConfigError` for a provider that may not be reached, or not over TLS."""
        parts = urlsplit(provider.issuer)
        if not parts.hostname or not is_allowed(parts.hostname):
            raise ConfigError(
                f"the identity provider {parts.hostname or provider.issuer!r} is not one of the allowed hosts",
                hint="Add its host name to `allowed_hosts`.",
            )
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ConfigError("the identity provider is not reached over https", hint="Give an https:// issuer.")
        self.provider = provider
        self._accounts = accounts
        self._begun: dict[str, _Begun] = {}
        self._lock = threading.Lock()

    def begin(self, back: str) -> SsoRedirect:
        """Where to send the browser; it is to come back to `back`. Raises `StrongroomError` without a provider."""
        facts = self._facts()
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        with self._client(back) as client:
            url, _ = client.create_authorization_url(
                facts["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        now = self._accounts.clock()
        with self._lock:
            self._begun = {k: b for k, b in self._begun.items() if b.until > now}
            while len(self._begun) >= _MOST_OPEN:
                self._begun.pop(next(iter(self._begun)))
            self._begun[state] = _Begun(back, verifier, nonce, now + _LIFE)
        return SsoRedirect(url, state)

    def finish(self, returned: SsoReturn, *, agent: str = "") -> SignedIn:
        """Sign in whom the provider names. Raises `SignInError` for all that is not right."""
        with self._lock:
            begun = self._begun.pop(returned.state, None)
        if begun is None or begun.until <= self._accounts.clock():
            self._accounts.audit.append("unknown", "sign-in", outcome="refused", reason="single sign-on: state")
            raise refused()
        try:
            claims = self._claims(begun, returned.code)
        except StrongroomError:
            raise
        except Exception as exc:  # whatever a provider answers must end here, as a refusal
            why = f"single sign-on: {type(exc).__name__}"
            self._accounts.audit.append("unknown", "sign-in", outcome="refused", reason=why)
            raise refused() from exc
        groups = _groups(claims.get(self.provider.groups_claim))
        if self.provider.required_group and self.provider.required_group not in groups:
            self._accounts.audit.append("unknown", "sign-in", outcome="refused", reason="single sign-on: group")
            raise refused()
        try:
            found = self._person(claims, groups)
        except WallError as exc:
            self._accounts.audit.append("unknown", "sign-in", outcome="refused", reason="single sign-on: wall")
            raise refused() from exc
        return self._accounts.by_provider(found, agent=agent)

    def _claims(self, begun: _Begun, code: str) -> dict[str, Any]:
        """The claims of the ID token: signature, issuer, audience, times and nonce checked."""
        from joserfc import jwt
        from joserfc.jwk import KeySet

        facts = self._facts()
        with self._client(begun.back) as client:
            answer = client.fetch_token(facts["token_endpoint"], code=code, code_verifier=begun.verifier)
        keys = KeySet.import_key_set(cast("KeySetSerialization", self._get(facts["jwks_uri"])))
        token = jwt.decode(answer["id_token"], keys, algorithms=_ALGORITHMS)
        rules = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY,
            now=lambda: int(self._accounts.clock().timestamp()),
            iss={"essential": True, "value": facts["issuer"]},
            sub={"essential": True},
            aud={"essential": True, "value": self.provider.client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": begun.nonce},
        )
        rules.validate(token.claims)
        audience = token.claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and token.claims.get("azp") != self.provider.client_id:
            raise ValueError("the token was made for somebody else")
        return dict(token.claims)

    def _person(self, claims: dict[str, Any], groups: frozenset[str]) -> Person:
        """The account of a subject, made at their first sign-in; groups and role follow the provider each time."""
        issuer, subject = str(claims["iss"]), str(claims["sub"])
        if len(issuer) > 255 or not 0 < len(subject) <= 255:
            raise refused()
        role: Role | None = None
        if self.provider.admin_group:
            role = "admin" if self.provider.admin_group in groups else "viewer"
        with self._accounts.store.write() as conn:
            found = rows.person_by_subject(conn, issuer, subject)
            made = found is None
            if found is None:
                name = str(claims.get(self.provider.name_claim) or subject)
                try:
                    # an account of that name that signs in otherwise is never taken over: whoever picks names at the
                    # provider would be that person here
                    user_id = rows.add_user(conn, name, role or "viewer")
                except UsageError as exc:
                    raise UsageError(
                        f"the provider's name {rows.folded(name)[:64]!r} is taken or not possible here",
                        hint="Ask an administrator to rename one of the two.",
                    ) from exc
                rows.put(conn, user_id, issuer=issuer, subject=subject)
                found = rows.person_by_id(conn, user_id)
                assert found is not None
            elif role is not None and found.role in ("admin", "viewer") and found.role != role:
                rows.set_role(conn, found.id, role)
                rows.end_sessions(conn, found.id)
            before = frozenset(rows.groups_of(conn, found.id))
            if before != groups:
                rows.set_groups(conn, found.id, groups)
                walls.refuse_membership(conn, found.id)
        assert found.name != LOCAL_USER
        if made:
            self._accounts.audit.append("system", "user.add", found.id, role=found.role, by="single sign-on")
        if before != groups:
            self._accounts.audit.append("system", "groups.set", found.id, groups=sorted(groups))
        return found

    def _facts(self) -> dict[str, Any]:
        """The provider's addresses, as it publishes them. Raises `StrongroomError` when it cannot be reached."""
        import httpx

        base = self.provider.issuer.rstrip("/")
        try:
            facts = self._get(f"{base}/.well-known/openid-configuration")
        except (httpx.HTTPError, ValueError) as exc:
            raise StrongroomError(
                f"the identity provider does not answer ({type(exc).__name__})", hint="Try again, or use a password."
            ) from exc
        if str(facts.get("issuer", "")).rstrip("/") != base:
            raise StrongroomError(
                "the identity provider calls itself otherwise than it is configured here", hint="Check `oidc_issuer`."
            )
        return facts

    def _get(self, url: str) -> dict[str, Any]:
        import httpx

        response = httpx.get(url, timeout=10, trust_env=False, follow_redirects=False)
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    def _client(self, back: str) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        return OAuth2Client(
            self.provider.client_id,
            self.provider.client_secret,
            scope="openid profile email",
            redirect_uri=back,
            code_challenge_method="S256",
            trust_env=False,
            timeout=10,
        )


def _groups(claim: object) -> frozenset[str]:
    """Group names of a claim: a list of texts, or one text. Anything else names no group."""
    names = claim if isinstance(claim, list) else [claim]
    return frozenset(n for n in names if isinstance(n, str) and 0 < len(n) <= 64 and n.isprintable())
