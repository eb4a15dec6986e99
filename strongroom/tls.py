"""TLS of server and UI, and how this machine's own clients recognise them.

A client on the same machine reads the server's certificate from the private file that also holds the token, and
accepts that certificate and no other: no authority has to be trusted, and no name has to match the loopback address.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from strongroom.errors import ConfigError, NotPermittedError


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate (PEM, with its chain) and its private key, which only this user may read."""

    certificate: Path
    key: Path

    def pem(self) -> str:
        """The server's own certificate, the first one in the file."""
        return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(_first(self.certificate)))

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, and of 1.2 only ciphers with forward secrecy and authentication.

        Raises `ConfigError` for files that are no pair, and `NotPermittedError` for a key that others may read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        try:
            if self.key.stat().st_mode & 0o077:
                raise NotPermittedError(
                    f"the TLS key {self.key} can be read by other users",
                    hint=f"Run `chmod 600 {self.key}`, and get a new certificate if somebody may have read it.",
                )
            # An empty password: a protected key must fail, not stop at a prompt.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                f"cannot use the TLS certificate {self.certificate} with the key {self.key}: {exc}",
                hint="Both must be PEM files of one pair, the key without a passphrase.",
            ) from exc
        return context


def configured(certificate: Path | None, key: Path | None) -> Tls | None:
    """The pair that the settings name, `None` for neither. Raises `ConfigError` for one without the other."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError(
            f"tls_certificate = {certificate} and tls_key = {key}: one is missing", hint="Set both or neither."
        )
    return Tls(certificate, key)


def pinned(pem: str) -> ssl.SSLContext:
    """For a client: exactly this certificate is accepted, whatever it is called and whoever signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


def _first(path: Path) -> str:
    end = "-----END CERTIFICATE-----"
    head, found, _ = path.read_text(encoding="ascii", errors="replace").partition(end)
    start = head.find("-----BEGIN CERTIFICATE-----")
    if not found or start < 0:
        raise ConfigError(f"{path} holds no certificate", hint="It must be a PEM file.")
    return head[start:] + end
