"""The port over TLS: the official SDK, renewal without a restart, what is refused."""

import http.client
import logging
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from openai.types.chat import ChatCompletionMessageParam

from homeport.api import server as api_server
from homeport.api import tls
from homeport.errors import SettingsError
from tests.api.raw import HELLO, read_all, request_bytes
from tests.api.test_lane import rows
from tests.api.test_lifecycle import homeport, run
from tests.authority import Authority, pem
from tests.fake_upstream import fake_upstream, until
from tests.server import KEY, Running, running

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
MODELS = {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.05}}
#: An alert, or (uvloop) the end without one.
REFUSED = "PROTOCOL_VERSION|HANDSHAKE_FAILURE|EOF"
HSTS = b"strict-transport-security: max-age=31536000\r\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module", params=["lane", "asgi"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tls")
    settings = {"models": MODELS, "server": {"max_body_mb": 1, **authority.pair().write(folder)}}
    with running(folder / "data", settings, lane=request.param == "lane") as made:
        yield made


@pytest.fixture
def client(server: Running, authority: Authority) -> Iterator[openai.OpenAI]:
    http_client = openai.DefaultHttpxClient(verify=authority.trust())
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, http_client=http_client) as made:
        yield made


def connect(server: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def serial(server: Running, context: ssl.SSLContext) -> int:
    """Of the certificate that a new connection is shown."""
    with connect(server, context) as connection:
        found = connection.getpeercert()
    assert found is not None
    return int(str(found["serialNumber"]), 16)


def exchanged(server: Running, context: ssl.SSLContext, raw: bytes) -> bytes:
    with connect(server, context) as connection:
        connection.sendall(raw)
        return read_all(connection)


def test_the_sdk_speaks_to_it(client: openai.OpenAI) -> None:
    assert client.models.list().data[0].id == "echo"
    answer = client.chat.completions.create(model="echo", messages=MESSAGES)
    assert answer.choices[0].message.content == "hello there"
    stream = client.chat.completions.create(model="slow", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello there"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=MESSAGES)


def test_a_body_of_many_records(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 8192 tokens"):
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x " * 300_000}])


def test_a_client_that_leaves_stops_a_stream(server: Running, client: openai.OpenAI) -> None:
    words: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 200}]
    stream = client.chat.completions.create(model="slow", messages=words, stream=True)
    next(stream)
    stream.close()
    assert until(lambda: any(outcome == "left" and total_ms < 5000 for outcome, total_ms in rows(server)))


def test_who_does_not_know_the_authority_does_not_connect(server: Running) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as stranger:
        with pytest.raises(openai.APIConnectionError):
            stranger.models.list()


@pytest.mark.parametrize(
    "raw",
    [
        request_bytes(extra="Connection: close\r\n"),
        request_bytes({**HELLO, "stream": True}, extra="Connection: close\r\n"),
        request_bytes({**HELLO, "model": "nobody"}, extra="Connection: close\r\n"),
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        b"no http\r\n\r\n",
    ],
    ids=["plain", "stream", "error", "asgi", "not found", "no http"],
)
def test_every_answer_carries_hsts(server: Running, authority: Authority, raw: bytes) -> None:
    head, _, _ = exchanged(server, authority.trust(), raw).partition(b"\r\n\r\n")
    assert (head + b"\r\n").count(HSTS) == 1


def test_the_base_url_of_the_root_is_https(server: Running, authority: Authority) -> None:
    raw = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    assert f'"base_url":"{server.url}/v1"'.encode() in exchanged(server, authority.trust(), raw.encode())


def test_http_1_1_is_agreed_on(server: Running, authority: Authority) -> None:
    context = authority.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server, context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(server: Running, authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match=REFUSED):
        connect(server, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_ciphers_have_forward_secrecy(server: Running, authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.trust()
    context.minimum_version = context.maximum_version = version
    with connect(server, context) as connection:
        cipher = connection.cipher()
    assert cipher is not None
    assert re.match(r"TLS_|ECDHE-", cipher[0])
    weak = authority.trust()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384")
    with pytest.raises(ssl.SSLError, match=REFUSED):
        connect(server, weak)


def test_plain_http_is_closed_at_once(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request_bytes())
        try:
            assert b"hello" not in read_all(connection)
        except ConnectionResetError:
            pass


def test_a_handshake_that_nobody_goes_on_with_is_ended(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_server.HANDSHAKE_SECONDS == 10
    monkeypatch.setattr(api_server, "HANDSHAKE_SECONDS", 0.2)
    hello = ssl.MemoryBIO()
    half = authority.trust().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    said = hello.read()
    with running(tmp_path / "data", {"server": authority.pair().write(tmp_path)}) as server:
        for sent in (b"", said[:20], said):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(sent)
                read_all(connection)
        assert exchanged(server, authority.trust(), request_bytes(extra="Connection: close\r\n")).count(b"hello there")


def test_a_renewed_certificate_is_used_without_a_restart(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.02)
    first, second = authority.pair(), authority.pair()
    context = authority.trust()
    with running(tmp_path / "data", {"models": MODELS, "server": first.write(tmp_path)}) as server:
        assert serial(server, context) == first.serial
        kept = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        assert kept.sock is not None
        before = kept.sock
        second.write(tmp_path)
        assert until(lambda: serial(server, context) == second.serial)
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b'{"status":"ok"}'
        assert kept.sock is before
        kept.close()
        # a client that says no name (old ones, and IP addresses) gets the new one as well
        nameless = authority.trust()
        nameless.check_hostname = False
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        with nameless.wrap_socket(plain) as connection:
            assert int(str((connection.getpeercert() or {})["serialNumber"]), 16) == second.serial


def test_renewal_by_another_link_target(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As certbot and Kubernetes do it."""
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.02)
    pairs = {"1": authority.pair(), "2": authority.pair()}
    for name, pair in pairs.items():
        (tmp_path / name).mkdir()
        pair.write(tmp_path / name)
    live = tmp_path / "live"
    live.symlink_to(tmp_path / "1")
    files = {"tls_cert": str(live / "fullchain.pem"), "tls_key": str(live / "privkey.pem")}
    with running(tmp_path / "data", {"server": files}) as server:
        assert serial(server, authority.trust()) == pairs["1"].serial
        (tmp_path / "next").symlink_to(tmp_path / "2")
        (tmp_path / "next").replace(live)
        assert until(lambda: serial(server, authority.trust()) == pairs["2"].serial)


@pytest.mark.parametrize("broken", ["half a certificate", "another key", "gone"])
def test_a_bad_renewal_leaves_the_old_one_in_use(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.02)
    looks = threading.Semaphore(0)
    look = tls.Certificate.look

    def counted(self: tls.Certificate) -> None:
        look(self)
        looks.release()

    monkeypatch.setattr(tls.Certificate, "look", counted)
    first, second = authority.pair(), authority.pair()
    context = authority.trust()
    with running(tmp_path / "data", {"server": first.write(tmp_path)}) as server, caplog.at_level(logging.WARNING):
        cert, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
        if broken == "half a certificate":
            cert.write_bytes(second.cert[: len(second.cert) // 2])
        elif broken == "another key":
            key.write_bytes(second.key)
        else:
            key.unlink()
        assert until(lambda: bool(warnings(caplog)))
        for _ in range(5):
            assert looks.acquire(timeout=60)
        while looks.acquire(blocking=False):
            pass
        assert looks.acquire(timeout=60)
        assert serial(server, context) == first.serial
        (told,) = warnings(caplog)
        assert str(tmp_path) in told
        assert "BEGIN" not in told
        second.write(tmp_path)
        assert until(lambda: serial(server, context) == second.serial)
        assert len(warnings(caplog)) == 1


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "certificate" in record.getMessage()]


def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    pair, other = authority.pair(), authority.pair()
    written = pair.write(tmp_path)
    cert, key = written["tls_cert"], written["tls_key"]
    nowhere = str(tmp_path / "nowhere.pem")
    with pytest.raises(SettingsError, match=r"server\.tls_cert: .*nowhere.pem' cannot be read: No such file"):
        tls.Certificate(nowhere, key)
    with pytest.raises(SettingsError, match=r"server\.tls_key: .*nowhere.pem' cannot be read: No such file"):
        tls.Certificate(cert, nowhere)
    encrypted = pem(ec.generate_private_key(ec.SECP256R1()), b"a password")
    for content, message in (
        (other.key, r"is not the one of the certificate .* \(fullchain\.pem\)"),
        (b"", r"cannot be used"),
        (encrypted, r"tls_key: .* is encrypted.*openssl pkey"),
    ):
        Path(key).write_bytes(content)
        with pytest.raises(SettingsError, match=message):
            tls.Certificate(cert, key)


def refused(folder: Path, *arguments: str) -> str:
    status, printed, error = run(
        "serve", "--port", "0", "--data", str(folder / "data"), *arguments, cwd=folder, environment={}
    )
    assert status == 2
    assert printed == ""  # above all no key, which is shown once
    return error


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "homeport.example"])
def test_plain_http_does_not_leave_the_machine(tmp_path: Path, host: str) -> None:
    error = refused(tmp_path, "--host", host)
    assert f"Refusing to listen on {host} without TLS" in error
    assert "--tls-cert FILE --tls-key FILE" in error
    assert "--behind-tls-proxy" in error


def test_half_a_pair_is_refused(tmp_path: Path, authority: Authority) -> None:
    files = authority.pair().write(tmp_path)
    assert "server.tls_key is missing" in refused(tmp_path, "--tls-cert", files["tls_cert"])
    assert "server.tls_cert is missing" in refused(tmp_path, "--tls-key", files["tls_key"])


def test_serve_with_a_certificate(tmp_path: Path, authority: Authority) -> None:
    """From the command line, on every address, up to its end by a signal."""
    files = authority.pair().write(tmp_path)
    (tmp_path / "homeport.toml").write_text('[models.echo]\nengine = "echo"\n')
    process = homeport(
        *("serve", "--host", "0.0.0.0", "--port", "0", "--data", "data"),
        *("--tls-cert", files["tls_cert"], "--tls-key", files["tls_key"]),
        environment={"HOMEPORT_API_KEY": KEY},
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line
            found = re.search(r"https://0\.0\.0\.0:(\d+)/v1", line)
        address = f"https://127.0.0.1:{found[1]}/healthz"
        with urllib.request.urlopen(address, timeout=60, context=authority.trust()) as answer:
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()


def test_doctor_looks_at_the_certificate(tmp_path: Path, authority: Authority) -> None:
    files = authority.pair().write(tmp_path)
    settings = "[server]\n" + "".join(f'{name} = "{file}"\n' for name, file in files.items())
    (tmp_path / "homeport.toml").write_text(settings + '[models.echo]\nengine = "echo"\n')
    key = Path(files["tls_key"])
    key.chmod(0o644)
    told = run("doctor", "--data", "d", cwd=tmp_path)[1]
    assert f"ok  certificate {files['tls_cert']}" in told
    assert f"no  {key} can be read by others\n     chmod 600 {key}" in told
    key.write_bytes(authority.pair().key)
    key.chmod(0o600)
    assert "no  the certificate cannot be used" in run("doctor", "--data", "d", cwd=tmp_path)[1]


@pytest.mark.parametrize("behind", [True, False])
def test_behind_a_proxy(tmp_path: Path, behind: bool) -> None:
    """HSTS and https addresses where a proxy does TLS, neither where nobody does."""
    with running(tmp_path, {"server": {"behind_tls_proxy": behind}}) as server:
        for raw in (request_bytes(extra="Connection: close\r\n"), b"GET / HTTP/1.0\r\nHost: api.example\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(raw)
                answer = read_all(connection)
            assert answer.count(HSTS) == behind
    assert (b"https://api.example/v1" in answer) == behind


def test_an_upstream_nobody_vouches_for_is_refused(tmp_path: Path, authority: Authority) -> None:
    """Upstreams are always verified; no setting switches it off. More: tests/upstreams/test_tls.py."""
    files = authority.pair().write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["tls_cert"], files["tls_key"])
    with fake_upstream(context) as fake:
        upstream = {"base_url": fake.base_url, "retries": 0}
        with running(tmp_path / "data", {"upstreams": {"far": upstream}}) as server:
            with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
                with pytest.raises(openai.InternalServerError) as refused:
                    client.chat.completions.create(model="gpt-5", messages=MESSAGES)
        assert refused.value.status_code == 503
        assert refused.value.code == "upstream_unavailable"
        assert "its certificate is not trusted" in refused.value.message
        assert fake.received == []
