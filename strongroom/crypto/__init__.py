"""Keys, sealed values and encrypted streams: the only package that touches key material."""

from strongroom.crypto.keys import KeyStore
from strongroom.crypto.seal import Sealed, open_stream, seal_stream
from strongroom.crypto.vault import CATALOGUE_KEY, Vault

__all__ = ["CATALOGUE_KEY", "KeyStore", "Sealed", "Vault", "open_stream", "seal_stream"]
