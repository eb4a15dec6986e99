"""Keys, sealed values, encrypted streams and signatures: the only package that touches key material."""

from strongroom.crypto.keys import KeyStore
from strongroom.crypto.seal import Sealed, open_stream, seal_stream
from strongroom.crypto.signing import SigningKey, canonical
from strongroom.crypto.source import Ask, given_key
from strongroom.crypto.vault import CATALOGUE_KEY, Vault

__all__ = [
    "CATALOGUE_KEY",
    "Ask",
    "KeyStore",
    "Sealed",
    "SigningKey",
    "Vault",
    "canonical",
    "given_key",
    "open_stream",
    "seal_stream",
]
