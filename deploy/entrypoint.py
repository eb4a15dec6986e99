"""What a container starts: `server`, `ui`, `health`, or any `strongroom` command.

Two containers cannot share the private file by which server and UI find each other on one machine, so the token comes
from a secret that both mount. A missing, short or well-known secret stops the start: there are no defaults.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

SECRETS = Path("/run/secrets")
OWN = ("server", "ui", "health")


class StartError(Exception):
    """The container cannot start; the message says what to mend."""


def main(arguments: list[str]) -> int:
    """Run one role, or hand the arguments to the `strongroom` command. Returns the exit code."""
    role = arguments[0] if arguments else "server"
    try:
        if role == "health":
            return health()
        take_qdrant_key()
        if role == "server":
            return serve()
        if role == "ui":
            return serve_ui()
        from strongroom.__main__ import main as command

        return command(arguments[1:] if role == "strongroom" else arguments)
    except StartError as exc:
        print(f"strongroom: {exc}", file=sys.stderr)
        return 2


def read_secret(name: str) -> str:
    """A secret that was mounted. Raises `StartError` when it is missing or could be guessed."""
    path = SECRETS / name
    try:
        value = path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise StartError(f"cannot read the secret {path}: {exc.strerror}; run deploy/make-secrets.sh") from exc
    from strongroom.secrets import weakness

    why = weakness(value)
    if why is not None:
        raise StartError(f"the secret {path} could be guessed ({why}); run deploy/make-secrets.sh")
    return value


def take_qdrant_key() -> None:
    """Hand the key of the vector index to the settings, when a Qdrant server is configured."""
    if os.environ.get("STRONGROOM_QDRANT_URL"):
        os.environ["STRONGROOM_QDRANT_API_KEY"] = read_secret("qdrant_api_key")


def serve() -> int:
    """The server: owns data, models and index; listens inside the container network."""
    token = read_secret("server_token")
    from strongroom import airgap

    airgap.prepare_environment()
    from server.run import run
    from server.settings import ServerSettings
    from server.state import Doors
    from strongroom.app.appliance import Appliance
    from strongroom.config import load
    from strongroom.errors import StrongroomError
    from strongroom.secrets import refuse_weak_settings

    try:
        settings = load().settings
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_weak_settings(settings)
        airgap.enforce(settings.allowed_hosts, log=settings.data_dir / "egress.log")
        appliance = Appliance(settings, purpose="server")
        try:
            appliance.warm_up()
            appliance.follow_folders()
            run(
                appliance.as_user,
                doors=Doors(appliance.accounts, appliance.desk, appliance.sso),
                data_dir=settings.data_dir,
                settings=ServerSettings.configured(settings),
                host=settings.host,
                port=settings.port,
                allow_remote=settings.allow_remote,
                token=token,
                ready=appliance.ready,
            )
        finally:
            appliance.close()
    except StrongroomError as exc:
        print(f"strongroom: {exc}\n  hint: {exc.hint}", file=sys.stderr)
        return int(exc.exit_code)
    return 0


def serve_ui() -> int:
    """The UI: holds no data and no key, and may reach the server alone."""
    token = read_secret("server_token")
    from urllib.parse import urlsplit

    from strongroom import airgap

    airgap.prepare_environment()
    server_url = os.environ.get("SERVER_URL", "")
    address = urlsplit(server_url).hostname
    if not address:
        raise StartError("SERVER_URL does not say where the server is, such as http://10.89.47.2:8600")
    airgap.enforce([address])
    from strongroom.errors import StrongroomError
    from ui.serve import run

    try:
        run(
            server_url=server_url,
            token=token,
            host="0.0.0.0",  # inside the container; published on the loopback address alone
            port=8601,
            allow_remote=True,
            public_hosts=frozenset(os.environ.get("PUBLIC_HOSTS", "").split()),
            secure=os.environ.get("SECURE_COOKIE") == "1",
            proxies=os.environ.get("PROXIES", "").split(),
        )
    except StrongroomError as exc:
        print(f"strongroom: {exc}\n  hint: {exc.hint}", file=sys.stderr)
        return int(exc.exit_code)
    return 0


def health() -> int:
    """0 when the process of this container answers HTTP; standard library only, for it runs every half minute."""
    host, port = os.environ.get("STRONGROOM_HOST", "127.0.0.1"), os.environ.get("STRONGROOM_PORT", "8600")
    url = os.environ.get("HEALTH_URL") or f"http://{host}:{port}/healthz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=4):
            return 0
    except urllib.error.HTTPError as exc:
        return 0 if exc.code < 500 else 1  # a refusal is an answer
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
