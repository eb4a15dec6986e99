"""How the stores of a data directory are opened as its settings say: keys, audit log, delivery of the audit log."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.audit import Audit, KeepCheckpoints
from strongroom.audit.forward import FileTarget, Forwarder, SyslogTarget, Target
from strongroom.catalog import Store
from strongroom.config import Settings
from strongroom.crypto import Ask, KeyStore, Vault, given_key
from strongroom.errors import IntegrityError


def open_keys(settings: Settings, ask: Ask | None = None) -> KeyStore:
    """The key store, made at first start; `ask` reads a passphrase where `key_source` is `prompt`.

    Raises `IntegrityError` for a catalogue without its keys: fresh ones would open nothing, and what was then added
    under them would break the audit chain for good.
    """
    if settings.catalogue.exists() and not (settings.keys / "keys.sqlite").exists():
        raise IntegrityError(
            f"there are no keys in {settings.keys} for the catalogue in {settings.data_dir}",
            hint="Check `keys_dir`, or restore the key store from its own backup.",
        )
    return KeyStore(settings.keys, given=given_key(settings.key_source, settings.keys, ask=ask))


def open_audit(
    settings: Settings, store: Store, vault: Vault, *, on_append: Callable[[], None] = lambda: None
) -> Audit:
    """The audit log of a data directory, with its own checkpoints where they are configured."""
    folder = settings.audit_checkpoint_dir
    keep = None if folder is None else KeepCheckpoints(folder, settings.audit_checkpoint_entries)
    return Audit(store, vault, settings.keys / "audit.head", keep=keep, on_append=on_append)


def open_forwarder(settings: Settings, audit: Audit) -> Forwarder | None:
    """Delivery of the audit log to other systems; `None` where nothing of the kind is configured."""
    targets: list[Target] = []
    if settings.audit_file is not None:
        targets.append(FileTarget(settings.audit_file))
    if settings.audit_syslog is not None:
        targets.append(SyslogTarget(settings.audit_syslog))
    if not targets:
        return None
    return Forwarder(lambda after: audit.export(after=after), targets, settings.data_dir / "audit.forwarded")
