"""What the catalogue's parts share: the store, the vault, look-up fingerprints."""

from __future__ import annotations

from strongroom.catalog.store import Store
from strongroom.crypto import Vault


class CatalogBase:
    """State of `Catalog`; its methods live in the modules beside this one, by who calls them."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self.store = store
        self.vault = vault

    def _source_mac(self, uri: str) -> bytes:
        return self.vault.mac("source", uri)
