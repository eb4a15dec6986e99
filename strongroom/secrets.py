"""Which secrets are too weak for a server to start with. There are no defaults: a secret is given, or made at random.

This finds what is missing, short or monotonous, and the words that examples on the web use; it cannot tell whether
a long secret was chosen at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from strongroom.errors import ConfigError
from strongroom.listen import is_loopback

if TYPE_CHECKING:
    from strongroom.config import Settings

SHORTEST = 32  # characters
FEWEST_DIFFERENT = 8
_EXAMPLES = ("changeme", "change-me", "change_me", "password", "secret", "example", "default", "insecure")


def weakness(value: str) -> str | None:
    """Why this could be guessed, or `None`."""
    if len(value) < SHORTEST:
        return f"it has fewer than {SHORTEST} characters"
    if len(set(value)) < FEWEST_DIFFERENT:
        return f"it has fewer than {FEWEST_DIFFERENT} different characters"
    return next((f"it holds the word {word!r}" for word in _EXAMPLES if word in value.lower()), None)


def refuse_weak(value: str, what: str) -> None:
    """Raise `ConfigError`, which never holds the value, for a secret that could be guessed."""
    why = weakness(value)
    if why is not None:
        raise ConfigError(
            f"{what} is no secret: {why}",
            hint="Make one: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )


def refuse_weak_settings(settings: Settings) -> None:
    """Raise `ConfigError` for a configuration in which a secret is missing or could be guessed."""
    key = settings.qdrant_api_key
    if key is not None:
        refuse_weak(key, "qdrant_api_key")
    elif settings.qdrant_url is not None and not is_loopback(urlsplit(settings.qdrant_url).hostname or ""):
        raise ConfigError(
            f"qdrant_url is {settings.qdrant_url}, and there is no qdrant_api_key",
            hint="Give that server a key and set `qdrant_api_key`: whoever reaches it could read and change the index.",
        )
