"""The certificate of the port: checked before anything listens, and taken anew whenever its files change.

When a ClientHello has come, every connection is given the context of the day (`sni_callback`, which OpenSSL calls with
and without a name). So a renewed certificate is used from the next connection on, and open connections keep theirs.
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import NamedTuple, NoReturn

from homeport import clock
from homeport.errors import SettingsError
from homeport.settings import Server

#: Between two looks at the files.
LOOK_SECONDS = 1.0
#: For TLS 1.2: forward secrecy and authenticated encryption alone. Those of TLS 1.3 are all of that kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

log = logging.getLogger("homeport.api")


class _Stamp(NamedTuple):
    """By which a changed file is known: an edit changes time or size, a rename or another link's target the inode."""

    device: int
    inode: int
    size: int
    modified: int


class Certificate:
    """context: what the port listens with, for as long as it listens. cert, key: the files."""

    def __init__(self, cert: str, key: str) -> None:
        """cert: PEM file, the certificate and the chain above it; key: PEM file. Raises SettingsError."""
        self.cert, self.key = Path(cert).expanduser(), Path(key).expanduser()
        self._tried = self._seen = self._stamps()
        self._current = self._load()
        self.context = self._load()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current

    async def watch(self) -> None:
        """Until cancelled. In a thread, for the files may lie on a network."""
        while True:
            await clock.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take a changed pair once it rests. One that cannot be used is told once, and the one before stays in use.

        It rests when two looks find the same: who renews writes one file after the other, neither of them at once.
        """
        before, self._seen = self._seen, self._stamps()
        if self._seen != before or self._seen == self._tried:
            return
        self._tried = self._seen
        try:
            self._current = self._load()
        except SettingsError as error:
            log.warning("The certificate in use stays, for the new one cannot be used. %s", error)
        else:
            log.info("a new certificate is in use: %s", self.cert)

    def _stamps(self) -> tuple[_Stamp | None, _Stamp | None]:
        return _stamp(self.cert), _stamp(self.key)

    def _load(self) -> ssl.SSLContext:
        """Raises SettingsError."""
        cert, key = self.cert, self.key
        for setting, file in (("tls_cert", cert), ("tls_key", key)):
            try:
                file.read_bytes()
            except OSError as error:
                raise SettingsError(f"server.{setting}: {str(file)!r} cannot be read: {error.strerror}.") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols(["http/1.1"])

        def password() -> NoReturn:
            raise SettingsError(
                f"server.tls_key: {str(key)!r} is encrypted, and nobody is there to ask for its password. "
                f"Write it decrypted, for this user alone: (umask 077; openssl pkey -in {key} -out key.pem)."
            )

        try:
            context.load_cert_chain(cert, key, password)
        except OSError as error:
            raise SettingsError(
                f"server.tls_cert, server.tls_key: {_problem(error, cert, key)}. tls_cert is a PEM file, the "
                "certificate with the chain above it (fullchain.pem); tls_key the private key that belongs to it "
                "(privkey.pem)."
            ) from None
        return context


def certificate(settings: Server) -> Certificate | None:
    """Of the settings. Raises SettingsError."""
    if settings.tls_cert is None is settings.tls_key:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        lacking = "tls_cert" if settings.tls_cert is None else "tls_key"
        raise SettingsError(
            f"server.{lacking} is missing: TLS needs the certificate and its key "
            "(--tls-cert FILE --tls-key FILE; one file may hold both)."
        )
    return Certificate(settings.tls_cert, settings.tls_key)


def _problem(error: OSError, cert: Path, key: Path) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key {str(key)!r} is not the one of the certificate {str(cert)!r}"
    why = f" ({reason.lower().replace('_', ' ')})" if reason else ""
    return f"{str(cert)!r} with {str(key)!r} cannot be used{why}"


def _stamp(file: Path) -> _Stamp | None:
    """None of a file that is not there, or not to be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
