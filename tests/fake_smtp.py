"""A small SMTP server over real loopback sockets, which keeps what it is sent and behaves as it is told.

with fake_smtp() as server:
    server.refuse["MAIL"] = "451 later"     # what it answers instead, until it is taken out
    ...
    server.letters[0].message["Subject"]
"""

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

#: Seconds after which a connection is given up, so that no test hangs.
PATIENCE = 90.0


@dataclass
class Letter:
    """encrypted: it came through TLS. login: who sent it."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    login: tuple[str, str] | None


@dataclass
class FakeSmtp:
    """tls: offers STARTTLS, or speaks TLS from the first byte where `at_once`. refuse: command -> answer."""

    tls: ssl.SSLContext | None = None
    at_once: bool = False
    port: int = 0
    refuse: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    letters: list[Letter] = field(default_factory=list)
    visits: int = 0

    def url(self, login: str = "") -> str:
        return f"smtp{'s' if self.at_once else ''}://{login}127.0.0.1:{self.port}"


class _Visit(socketserver.StreamRequestHandler):
    timeout = PATIENCE

    def setup(self) -> None:
        self.fake: FakeSmtp = self.server.fake  # type: ignore[attr-defined]
        self.encrypted = False
        if self.fake.at_once:
            self._encrypt()
        super().setup()

    def _encrypt(self) -> None:
        assert self.fake.tls is not None
        self.request = self.fake.tls.wrap_socket(self.request, server_side=True)
        self.encrypted = True

    def finish(self) -> None:
        super().finish()
        self.request.close()  # TLS is around the socket that the server closes

    def handle(self) -> None:
        self.fake.visits += 1
        self.login: tuple[str, str] | None = None
        self.sender, self.recipients = "", list[str]()
        self.say("220 fake")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            command, _, rest = line.partition(" ")
            answer = self.fake.refuse.get(command.upper()) or getattr(self, f"on_{command.lower()}")(rest)
            self.say(answer)
            if command.upper() == "STARTTLS":
                self._encrypt()
                super().setup()
            if command.upper() == "QUIT":
                return

    def say(self, answer: str) -> None:
        self.wfile.write(answer.encode() + b"\r\n")

    def on_ehlo(self, _: str) -> str:
        offers = ["fake", "AUTH PLAIN", "SMTPUTF8", "8BITMIME"]
        if self.fake.tls is not None and not self.encrypted:
            offers.append("STARTTLS")
        return "\r\n".join(f"250{'-' if offer != offers[-1] else ' '}{offer}" for offer in offers)

    def on_starttls(self, _: str) -> str:
        return "220 go on"

    def on_auth(self, rest: str) -> str:
        _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
        self.login = user, password
        return "235 welcome"

    def on_mail(self, rest: str) -> str:
        self.sender = _address(rest)
        return "250 fine"

    def on_rcpt(self, rest: str) -> str:
        if _address(rest) in self.fake.unknown:
            return f"550 no such user: {_address(rest)}"
        self.recipients.append(_address(rest))
        return "250 fine"

    def on_data(self, _: str) -> str:
        self.say("354 write")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        message: Any = email.message_from_bytes(b"".join(lines), policy=email.policy.SMTP)
        self.fake.letters.append(Letter(self.sender, self.recipients, message, self.encrypted, self.login))
        return "250 taken"

    def on_rset(self, _: str) -> str:
        return "250 fine"

    def on_quit(self, _: str) -> str:
        return "221 bye"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, fake: FakeSmtp) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.fake = fake

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are what tests are about."""


@contextmanager
def fake_smtp(tls: ssl.SSLContext | None = None, *, at_once: bool = False) -> Iterator[FakeSmtp]:
    fake = FakeSmtp(tls, at_once)
    with _Server(fake) as server:
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake-smtp")
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def _address(text: str) -> str:
    return text.partition("<")[2].rpartition(">")[0]
