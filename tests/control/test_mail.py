"""E-mail goes out whole, encrypted where that is offered, and says nothing of addresses or passwords when it fails."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeport.control.mail import Mail, NotSent
from homeport.errors import SettingsError
from tests.fake_smtp import FakeSmtp, fake_smtp
from tests.fake_upstream import dead_port
from tests.upstreams.test_tls import certificate

SENDER = "Homeport <alerts@home.example>"
TO = ["ann@example.com", "bob@example.com"]


def send(url: str, recipients: list[str] = TO, subject: str = "S", text: str = "T\n") -> int:
    return asyncio.run(Mail(url, SENDER).send(recipients, subject, text))


@pytest.fixture
def server() -> Iterator[FakeSmtp]:
    with fake_smtp() as made:
        yield made


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server whose certificate this process trusts."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return server_context(pem)


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_letter(server: FakeSmtp) -> None:
    assert send(server.url(), subject="[blue] Grüße\u2028more", text="Ça va.\n") == 0
    (letter,) = server.letters
    assert (letter.sender, letter.recipients, letter.login) == ("alerts@home.example", TO, None)
    message = letter.message
    assert message["From"] == SENDER
    assert message["To"] == ", ".join(TO)
    assert message["Subject"] == "[blue] Grüße more"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] is not None
    assert message["Message-ID"].endswith("@home.example>")
    assert message.get_content().replace("\r\n", "\n") == "Ça va.\n"


def test_addresses_that_are_not_ascii_or_odd(server: FakeSmtp) -> None:
    assert send(server.url(), ["jürgen@example.com", "a,b@example.com"]) == 1
    assert server.letters[0].recipients == ["jürgen@example.com"]
    with pytest.raises(NotSent, match="no recipient"):
        send(server.url(), ["a,b@example.com", "<x>@example.com"])


def test_starttls_and_a_login(trusted: ssl.SSLContext) -> None:
    with fake_smtp(trusted) as server:
        send(server.url("us%40er:p%3Ass@"))
    (letter,) = server.letters
    assert (letter.encrypted, letter.login) == (True, ("us@er", "p:ss"))


def test_smtps(trusted: ssl.SSLContext) -> None:
    with fake_smtp(trusted, at_once=True) as server:
        send(server.url("user:password@"))
    assert (server.letters[0].encrypted, server.letters[0].login) == (True, ("user", "password"))


def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    with fake_smtp(server_context(certificate(tmp_path))) as server, pytest.raises(NotSent, match="SSLCert"):
        send(server.url("user:password@"))
    assert server.letters == []


def test_a_password_is_not_sent_in_the_clear(server: FakeSmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.control.mail._is_here", lambda host: False)
    with pytest.raises(NotSent, match="STARTTLS"):
        send(server.url("user:password@"))
    send(server.url())  # without one there is nothing to lose
    assert len(server.letters) == 1


def test_some_recipients_are_refused(server: FakeSmtp) -> None:
    server.unknown = {TO[0]}
    assert send(server.url()) == 1
    assert server.letters[0].recipients == [TO[1]]
    server.unknown = set(TO)
    with pytest.raises(NotSent, match="every recipient"):
        send(server.url())


@pytest.mark.parametrize("command", ["EHLO", "AUTH", "MAIL", "DATA"])
def test_what_the_server_says_is_told_as_its_number(server: FakeSmtp, command: str) -> None:
    server.refuse = {command: "535 go away, ann@example.com with sk-secret", "HELO": "535 go away"}
    with pytest.raises(NotSent) as failed:
        send(server.url("user:sk-secret@"))
    assert str(failed.value) == "the server said 535"
    assert server.letters == []


def test_a_server_that_is_gone() -> None:
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        send(f"smtp://user:password@127.0.0.1:{dead_port()}")


@pytest.mark.parametrize(
    ("url", "sender", "message"),
    [
        ("http://mail.example", SENDER, "alerts.smtp_url: write smtp://"),
        ("smtp://", SENDER, "alerts.smtp_url: write smtp://"),
        ("smtp://u:secret@mail.example:x", SENDER, "is no URL"),
        ("smtp://u:secret@mail.example/path", SENDER, "alerts.smtp_url: write smtp://"),
        ("smtp://mail.example", None, "alerts.sender"),
        ("smtp://mail.example", "nobody", "alerts.sender"),
        ("smtp://mail.example", "a@b.c\nBcc: d@e.f", "alerts.sender"),
    ],
)
def test_settings_that_cannot_work(url: str, sender: str | None, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Mail(url, sender)
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
