"""Wiring: the one place that picks adapters. Front ends ask `open_engine` for an `Engine` and know nothing below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom.access import LOCAL_USER

if TYPE_CHECKING:
    from strongroom.config import Settings
    from strongroom.crypto import Ask
    from strongroom.engine import AccountDesk, Engine

__all__ = ["open_desk", "open_engine"]


def open_engine(settings: Settings, *, purpose: str, as_user: str | None = None, ask: Ask | None = None) -> Engine:
    """The running server's engine when one serves this data directory, else the appliance in this process.

    `purpose` names the command in the lock file, `ask` reads a passphrase. Raises `LockedError` when another process
    works on the directory without serving it, and `NotPermittedError` for an unknown `as_user`.
    """
    from strongroom.client.engine import HttpEngine
    from strongroom.client.server_info import read_server_info

    served = read_server_info(settings.data_dir)
    if served is not None:
        from ingest.discover import discover

        return HttpEngine(served.url, served.token, discover=discover, as_user=as_user, certificate=served.certificate)
    from strongroom.app.appliance import Appliance

    appliance = Appliance(settings, purpose=purpose, ask=ask)
    try:
        engine = appliance.as_user(LOCAL_USER if as_user is None else as_user)
        engine.owns_appliance = True
        return engine
    except BaseException:
        appliance.close()
        raise


@contextmanager
def open_desk(settings: Settings, *, purpose: str, ask: Ask | None = None) -> Iterator[AccountDesk]:
    """The accounts, as the owner of the data directory administers them: of the running server, or in this process."""
    from strongroom.client.server_info import read_server_info

    served = read_server_info(settings.data_dir)
    if served is not None:
        from strongroom.client.accounts import HttpDesk

        remote = HttpDesk(served.url, served.token, certificate=served.certificate)
        try:
            yield remote
        finally:
            remote.close()
        return
    from strongroom.app.appliance import Appliance
    from strongroom.people import Identity

    appliance = Appliance(settings, purpose=purpose, ask=ask)
    try:
        yield appliance.desk(Identity(LOCAL_USER, "owner"))
    finally:
        appliance.close()
