"""TLS: whom a client trusts, and how it shows who it is.

    Security(Path("authority.pem"))                                      # TLS
    Security(Path("authority.pem"), Path("me.pem"), Path("me-key.pem"))  # mutual TLS

The files are read and checked when a connection is made with them. gRPC looks at
them only while it connects, and what it says then ("Failed to create security
handshaker") names no file.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import grpc

from music.errors import SegueError

# A bundle of all public authorities is a quarter of this.
MAX_FILE_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Security:
    """What a connection with TLS goes by. All files are PEM.

    Attributes:
      root_certificates: the certificates of the authorities that may have signed
        the server's; None trusts the public ones that come with gRPC.
      certificate: this client's own, with those between it and the authority, for
        servers that ask for one (mutual TLS).
      key: its private key, without a password; given together with `certificate`.
      server_name: the name that the server's certificate has to carry; None is the
        target's host. Several targets of different hosts need one.

    Raises:
      SegueError: one of `certificate` and `key` without the other, or a name that
        is none. The files themselves are looked at by `credentials`.
    """

    root_certificates: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given, lacking = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise SegueError(
                f"a client's {given} was given without its {lacking}; give both, or neither"
            )
        name = self.server_name
        if name is not None and not re.fullmatch(r"[0-9A-Za-z_.:-]{1,253}", name):
            raise SegueError(
                f"server_name {name!r} is no host's name; give one that the server's "
                "certificate carries, as in models.example.com"
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC wants to have of it.

        Raises:
          SegueError: a file cannot be read, is no PEM of its kind, or the key is
            another certificate's. Nothing of the files is quoted.
        """
        roots = chain = key = None
        if self.root_certificates is not None:
            roots = _read(self.root_certificates, "root_certificates")
            _check_certificates(roots, self.root_certificates, "root_certificates")
        if self.certificate is not None and self.key is not None:
            chain, key = _read(self.certificate, "certificate"), _read(self.key, "key")
            _check_certificates(chain, self.certificate, "certificate")
            _check_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(roots, key, chain)


def _read(path: Path | str, what: str) -> bytes:
    path = Path(path)
    try:
        # A pipe would be waited for, and a device has no end.
        if path.exists() and not path.is_file():
            raise SegueError(f"{what} {path} is no regular file; name one in PEM form")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SegueError(
            f"{what} {path} cannot be read: {error.strerror or error}; name a file in PEM form"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise SegueError(
            f"{what} {path} is larger than {MAX_FILE_BYTES:,} bytes; name a file in PEM form"
        )
    return data


def _check_certificates(data: bytes, path: Path, what: str) -> None:
    import ssl

    try:
        # Bundles tell in comments whose each certificate is, in any alphabet.
        _context().load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise SegueError(
            f"{what} {path} holds no certificate in PEM form; it begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from None


def _check_pair(certificate: Path, key: Path) -> None:
    import ssl

    def password() -> str:
        raise SegueError(f"key {key} is encrypted; give one without a password")

    try:
        _context().load_cert_chain(os.fspath(certificate), os.fspath(key), password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH" or error.reason == "KEY_TYPE_MISMATCH":
            raise SegueError(
                f"key {key} does not belong to certificate {certificate}; give the two "
                "that were made together"
            ) from None
        if error.reason and error.library == "SSL":
            raise SegueError(
                f"certificate {certificate} and key {key} cannot be used: "
                f"{error.reason.replace('_', ' ').lower()}"
            ) from None
        raise SegueError(
            f"key {key} holds no private key in PEM form; it begins with "
            "-----BEGIN PRIVATE KEY-----"
        ) from None


def _context() -> Any:
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
