"""E-mail, sent by the operator's own server: what `[alerts]` says."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from homeport import clock
from homeport.errors import SettingsError

#: For each answer of the server.
SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}


class NotSent(Exception):
    """Why, in words that hold no address and no secret."""


class Mail:
    def __init__(self, url: str, sender: str | None) -> None:
        """url: `smtp://USER:PASSWORD@HOST:PORT` or `smtps://...`. Raises SettingsError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SettingsError("alerts.smtp_url is no URL. Write smtp://USER:PASSWORD@HOST:587.") from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise SettingsError("alerts.smtp_url: write smtp://USER:PASSWORD@HOST:587, or smtps://USER:PASSWORD@HOST.")
        if sender is None or "@" not in parseaddr(sender)[1] or not sender.isprintable():
            raise SettingsError("alerts.sender: e-mail needs an address to come from. Write alerts@example.com.")
        self._encrypted = parts.scheme == "smtps"
        self._host = parts.hostname
        self._port = port or _PORTS[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._sender = sender

    async def send(self, recipients: Sequence[str], subject: str, text: str) -> int:
        """To how many of the recipients it could not be sent; not to all. Raises NotSent."""
        known = [one for one in recipients if parseaddr(one)[1] == one]  # `a,b@c` would go to `a`
        if not known:
            raise NotSent("no recipient has an address that e-mail can be sent to")
        message = EmailMessage()
        try:
            message["From"], message["To"] = self._sender, ", ".join(known)
            message["Subject"] = " ".join(subject.split())  # a name may hold what counts as the end of a line
            message["Date"] = formatdate(clock.now())
            message["Message-ID"] = make_msgid(domain=parseaddr(self._sender)[1].rpartition("@")[2])
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(text)
            return len(recipients) - len(known) + await asyncio.to_thread(self._send, message, known)
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"the server said {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused:
            raise NotSent("the server refused every recipient") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise NotSent(type(error).__name__) from None

    def _send(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        with closing(self._connected()) as server:
            if self._user:
                server.login(self._user, self._password)
            refused = server.send_message(message, self._sender, recipients)
            with suppress(smtplib.SMTPException, OSError):  # it has the message
                server.quit()
        return len(refused)

    def _connected(self) -> smtplib.SMTP:
        """Encrypted where it offers that. A password leaves this machine in no other way. Raises NotSent."""
        context = ssl.create_default_context()
        if self._encrypted:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=SECONDS, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=SECONDS)
        try:
            server.ehlo_or_helo_if_needed()
            if server.has_extn("starttls"):
                server.starttls(context=context)
            elif self._user and not _is_here(self._host):
                raise NotSent("the server offers no STARTTLS, and passwords are not sent in the clear")
        except BaseException:
            server.close()
            raise
        return server


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
