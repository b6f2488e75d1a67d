"""Upstreams over TLS: an authority of one's own is trusted when it is named, and never otherwise."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from homeport.backends.upstreams.client import Client
from tests.api import raw
from tests.fake_upstream import TEXT, FakeUpstream, dead_port, fake_upstream
from tests.server import running
from tests.upstreams import faults

HELLO: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """A self-signed certificate and its key, in one PEM file. host: an address or a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def fake(pem: Path) -> Iterator[FakeUpstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with fake_upstream(context) as made:
        yield made


def ask(folder: Path, *bodies: dict[str, Any], **upstream: Any) -> list[raw.Answer]:
    far = {"connect_seconds": 1, "retries": 0, "failures": 0, **upstream}
    with running(folder, {"upstreams": {"far": far}}) as homeport:
        return [raw.ask(homeport, body=body) for body in bodies]


def test_an_authority_of_ones_own(tmp_path: Path, fake: FakeUpstream, pem: Path) -> None:
    before = fake.connections
    plain, streamed = ask(tmp_path, HELLO, {**HELLO, "stream": True}, base_url=fake.base_url, ca_file=str(pem))
    assert plain.json["choices"][0]["message"]["content"] == TEXT
    assert raw.events(streamed.body)[-1] == "[DONE]"
    assert fake.connections - before == 1


def test_a_certificate_nobody_vouches_for(tmp_path: Path, fake: FakeUpstream) -> None:
    before = len(fake.received)
    (answer,) = ask(tmp_path, HELLO, base_url=fake.base_url)
    assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
    assert "its certificate is not trusted: self-signed certificate" in answer.error["message"]
    assert len(fake.received) == before


def test_a_certificate_of_another_address(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "127.0.0.2")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with fake_upstream(context) as other:
        (answer,) = ask(tmp_path, HELLO, base_url=other.base_url, ca_file=str(pem))
    assert "its certificate is not trusted: IP address mismatch" in answer.error["message"]


def test_an_upstream_without_tls(tmp_path: Path, pem: Path) -> None:
    with fake_upstream() as plain:
        (answer,) = ask(tmp_path, HELLO, base_url=plain.base_url.replace("http:", "https:"), ca_file=str(pem))
    assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")


def test_a_port_that_never_shakes_hands(tmp_path: Path, pem: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}"
        first, second = ask(
            tmp_path, HELLO, HELLO, base_url=address, ca_file=str(pem), connect_seconds=0.2, connections=1
        )
    assert "no connection within 0.2 s" in first.error["message"]
    assert "no connection within 0.2 s" in second.error["message"]


def test_a_cut_over_tls_is_a_cut(tmp_path: Path, fake: FakeUpstream, pem: Path) -> None:
    fake.script.append(faults.reset_after(faults.half))
    (answer,) = ask(tmp_path, HELLO, base_url=fake.base_url, ca_file=str(pem))
    assert (answer.status, answer.error["code"]) == (503, "upstream_cut")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"ca_file .*authorities.pem.* cannot be used"):
        Client(f"https://127.0.0.1:{dead_port()}", ca_file=str(file))
