"""Values about people: who asks, accounts, sessions, tokens. Shared by server, client, UI and command line.

Secrets stand here only in what is shown once (`Invitation`, `NewToken`, `SignedIn`); their `repr` hides them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Role = Literal["viewer", "editor", "admin", "auditor"]
Scope = Literal["read", "ask", "ingest", "admin"]
SecondFactorRule = Literal["optional", "administrators", "everybody"]

ROLES: tuple[Role, ...] = ("viewer", "editor", "admin", "auditor")
SCOPES: tuple[Scope, ...] = ("read", "ask", "ingest", "admin")
SESSION_PREFIX = "srs_"  # how the credential of a session begins, so that a token cannot stand for one


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request, and by what: the owner of the data directory, a signed-in session, or an API token.

    `scopes` bound what the credential may be used for; what the person may do is decided by their role at each call. A
    session without any is of somebody who has to set up a second factor first.
    """

    user: str
    kind: Literal["owner", "session", "token"]
    id: str = ""
    scopes: frozenset[Scope] = frozenset(SCOPES)

    @property
    def unready(self) -> bool:
        """Whether it reaches one's own account alone, for want of a second factor."""
        return self.kind == "session" and not self.scopes


@dataclass(frozen=True, slots=True)
class Account:
    """One user as administrators, and the user, see it."""

    name: str
    role: Role
    created: datetime
    groups: tuple[str, ...] = ()
    disabled: bool = False
    password: bool = False
    sso: bool = False
    second_factors: tuple[str, ...] = ()
    seen: datetime | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewAccount:
    name: str
    role: Role = "viewer"


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What to change of an account; `None` leaves it."""

    role: Role | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time code by which a person sets the password of an account. Shown once."""

    name: str
    expires: datetime
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignInRequest:
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkRequest:
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedeemRequest:
    """An invitation's code and the password to be. `name` is asked of the first administrator alone."""

    code: str = field(repr=False)
    password: str = field(repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """The second step of signing in: a code of an authenticator app, a recovery code, or a security key's answer."""

    pending: str = field(repr=False)
    code: str = field(default="", repr=False)
    credential: dict[str, Any] | None = field(default=None, repr=False)
    origin: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`session` is the credential of the new session; without one, `pending` waits for a factor of `methods`."""

    user: str
    session: str = field(default="", repr=False)
    pending: str = field(default="", repr=False)
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser or program."""

    id: str
    user: str
    created: datetime
    seen: datetime
    expires: datetime
    address: str
    agent: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class TokenRequest:
    name: str
    scopes: tuple[Scope, ...]
    days: int = 90


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its secret."""

    id: str
    user: str
    name: str
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime
    used: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is made. The secret is shown this once."""

    token: Token
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordChange:
    new: str = field(repr=False)
    old: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """A secret for an authenticator app, which counts once a code of it was given."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """Codes that each work once in place of a second factor. Shown this once."""

    codes: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeRequest:
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordRequest:
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A security key's answer, or (without one) the wish to begin, from a page of that origin."""

    origin: str
    pending: str = field(default="", repr=False)
    credential: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SsoStart:
    """Where the identity provider is to send the browser back to."""

    back: str


@dataclass(frozen=True, slots=True)
class SsoRedirect:
    """Where to send the browser, and what it must still know when it comes back."""

    url: str
    state: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SsoReturn:
    """What the browser brought back from the identity provider."""

    state: str = field(repr=False)
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignInWays:
    """What the sign-in page offers."""

    sso: str = ""  # the provider's name, where one is configured
    setup: bool = False  # no administrator can sign in yet


@dataclass(frozen=True, slots=True)
class Ended:
    """How many sessions were ended."""

    count: int
