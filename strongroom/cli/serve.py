"""The body of `strongroom up`: one process owns the data directory and serves it, a child shows it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from strongroom.cli.common import ask_passphrase
from strongroom.errors import ConfigError, StrongroomError
from strongroom.listen import is_loopback, reachable

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.client.server_info import ServerInfo
    from strongroom.config import Settings

UI_START_SECONDS = 60.0
HTTPS = 443


def serve(settings: Settings, *, samples: Path | None, question: str | None, ui: bool) -> None:
    """Open the appliance, serve it and the UI until SIGINT or SIGTERM."""
    from server.run import running
    from server.settings import ServerSettings
    from server.state import Doors
    from strongroom.app.appliance import Appliance
    from strongroom.secrets import refuse_weak_settings

    refuse_weak_settings(settings)
    started = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    appliance = Appliance(settings, purpose="strongroom up", ask=ask_passphrase)
    try:
        refuse_open_doors(settings, appliance)
        say("loading models")
        appliance.warm_up()
        doors = Doors(appliance.accounts, appliance.desk, appliance.sso)
        with running(
            appliance.as_user,
            doors=doors,
            data_dir=settings.data_dir,
            settings=ServerSettings.configured(settings),
            host=settings.host,
            port=settings.port,
            allow_remote=settings.allow_remote,
            ready=appliance.ready,
            page=ui_address(settings) if ui else "",
        ) as info:
            appliance.audit.append("system", "up", url=info.url)
            say(f"server at {info.url}")
            appliance.follow_folders()
            if samples is not None:
                show_samples(settings, samples, question)
            with user_interface(settings, info, stop) if ui else no_interface() as address:
                if address:
                    seconds = time.monotonic() - started
                    typer.echo(
                        f"\nStrongroom is ready ({seconds:.0f} s). Open this once, in a browser on this machine:\n"
                    )
                    typer.echo(f"    {address}\n")
                    show_first_administrator(settings, appliance)
                say("press Ctrl-C to stop")
                stop.wait()
            say("stopping")
    finally:
        appliance.close()


def refuse_open_doors(settings: Settings, appliance: Appliance) -> None:
    """Raise `ConfigError` for an address beyond this machine while nobody but its owner can sign in."""
    remote = settings.allow_remote and not (is_loopback(settings.host) and is_loopback(settings.ui_host))
    if remote and not appliance.accounts.administered():
        raise ConfigError(
            "refusing to be reachable from other machines: no administrator has a password or single sign-on",
            hint="`strongroom users add NAME --role admin`, then `strongroom users password NAME`.",
        )


def show_first_administrator(settings: Settings, appliance: Appliance) -> None:
    """Print the one-time link for the first administrator, while there is none."""
    code = appliance.accounts.first_administrator()
    if code is not None:
        typer.echo("To let other people in, first make an administrator (this link works once, for three days):\n")
        typer.echo(f"    {ui_address(settings)}/welcome?code={code}\n")


def show_samples(settings: Settings, folder: Path, question: str | None) -> None:
    """Ingest the samples and ask one question of them, through the server, as a user would."""
    from strongroom.app import open_engine
    from strongroom.cli.ask import stream_answer
    from strongroom.cli.ingest import show_summary
    from strongroom.cli.progress import reporting
    from strongroom.types import AskRequest, IngestRequest

    engine = open_engine(settings, purpose="samples", ask=ask_passphrase)
    try:
        say(f"reading {folder}")
        with reporting(json_output=False) as on_event:
            show_summary(engine.ingest(IngestRequest((str(folder),), collection="samples"), on_event=on_event))
        if question:
            typer.echo(f"\n> {question}\n")
            stream_answer(engine, AskRequest(question, collection="samples"))
    finally:
        engine.close()


@contextmanager
def user_interface(settings: Settings, info: ServerInfo, stop: threading.Event) -> Iterator[str]:
    """The UI as a child process; yields the address with a one-time sign-in code. `stop` is set when the UI dies."""
    command = [sys.executable, "-m", "ui", "--data-dir", str(settings.data_dir)]
    command += ["--host", settings.ui_host, "--port", str(settings.ui_port)]
    command += ["--allow-remote"] if settings.allow_remote else []
    for name in settings.public_hosts:
        command += ["--public-host", name]
    for address in settings.proxies:
        command += ["--proxy", address]
    if settings.tls_certificate is not None and settings.tls_key is not None:
        command += ["--tls-certificate", str(settings.tls_certificate), "--tls-key", str(settings.tls_key)]
    child = subprocess.Popen(command)
    died = threading.Event()
    try:
        await_port(reachable(settings.ui_host), settings.ui_port, child)
        threading.Thread(target=_stop_with, args=(child, stop, died), daemon=True).start()
        yield sign_in_address(settings, info.token)
        if died.is_set():
            raise StrongroomError(f"the UI ended by itself (exit code {child.returncode})", hint="Start it again.")
    finally:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()


def sign_in_address(settings: Settings, token: str) -> str:
    """The UI's address with a one-time sign-in code, made with the server's token."""
    from strongroom.signin import make_code

    return f"{page_address(settings)}/login?token={make_code(token)}"


def page_address(settings: Settings) -> str:
    """Where the UI of the running server is, which may have been started on another port; else where one would be."""
    from strongroom.client.server_info import read_server_info

    served = read_server_info(settings.data_dir)
    return (served.page if served is not None else "") or ui_address(settings)


def ui_address(settings: Settings) -> str:
    """Where people reach a UI with these settings: on this machine, or under its public name.

    Without a certificate of its own there is a proxy before a public name, and that listens on the usual port.
    """
    own = settings.tls_certificate is not None
    if settings.public_hosts and not is_loopback(settings.ui_host):
        name = settings.public_hosts[0]
        return f"https://{name}" if not own or settings.ui_port == HTTPS else f"https://{name}:{settings.ui_port}"
    host = reachable(settings.ui_host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if own else 'http'}://{host}:{settings.ui_port}"


def _stop_with(child: subprocess.Popen[bytes], stop: threading.Event, died: threading.Event) -> None:
    """End the whole when the UI ends; `died` tells that nobody had asked it to."""
    child.wait()
    if not stop.is_set():
        died.set()
    stop.set()


@contextmanager
def no_interface() -> Iterator[str]:
    """For `--no-ui`: the server alone."""
    yield ""


def await_port(host: str, port: int, child: subprocess.Popen[bytes]) -> None:
    """Wait until the child accepts connections. Raises `StrongroomError` when it ends or never does."""
    import socket

    deadline = time.monotonic() + UI_START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise StrongroomError(
                f"the UI ended at start (exit code {child.returncode})",
                hint="Its message is above; try another --ui-port.",
            )
        try:
            with socket.create_connection((host, port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise StrongroomError("the UI did not start in time", hint="Try again; `strongroom check` may show a cause.")


def say(text: str) -> None:
    """Progress for people, on stderr."""
    typer.echo(f"strongroom: {text}", err=True)
