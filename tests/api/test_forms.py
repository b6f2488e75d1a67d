"""Forms with a file, by hand: in any order, of any shape, and what is no form."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import raw
from tests.api.forms import BOUNDARY, FILE, PURPOSE, body, part, post, refused
from tests.api.test_files import blobs
from tests.server import KEY, Running, running

KIND = "multipart/form-data; boundary="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("forms")) as made:
        yield made


def content_of(server: Running, answer: raw.Answer) -> bytes:
    assert answer.status == 200, answer.body
    return raw.ask(server, "GET", f"/v1/files/{answer.json['id']}/content").body


@pytest.mark.parametrize("order", [[PURPOSE, FILE], [FILE, PURPOSE]], ids=["field first", "file first"])
def test_the_file_may_stand_anywhere(server: Running, order: list[bytes]) -> None:
    assert content_of(server, post(server, order)) == b"hello"


def test_pieces_of_every_size(server: Running) -> None:
    """Wherever the network cuts it, inside of boundaries and headers too. The content looks like boundaries."""
    content = b"\r\n--" + BOUNDARY[:-1] + b"\r\n--\r\r\n\r\n-" + b"\r\n--" + BOUNDARY[:5] + b"-" * 40 + b"\r\n"
    whole = body([PURPOSE, part('name="file"; filename="a"', content, b"Content-Type: text/plain")])
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: {KIND}{BOUNDARY.decode()}\r\nConnection: close\r\n\r\n"
    for size in (1, 2, 3, 7, 30, 100):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        with raw.connect(server) as connection:
            connection.sendall(head.encode() + chunks)
            answer = raw.read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b'"bytes":%d,' % len(content) in answer


def test_content_that_looks_like_a_form_at_random(server: Running) -> None:
    dice = random.Random(5)
    for _ in range(30):
        words = [b"\r\n", b"--", BOUNDARY[:-2], b"\r", b"\n", b"-", b"x", bytes([dice.randrange(256)])]
        content = b"".join(dice.choice(words) for _ in range(dice.randrange(1, 2000)))
        assert content_of(server, post(server, [PURPOSE, part('name="file"; filename="a"', content)])) == content


def test_a_boundary_of_70_characters(server: Running) -> None:
    for boundary in ("x" * 70, "'()+_,-./:=?" + "a" * 58, "a b"):
        sent = body([PURPOSE, FILE], boundary.encode())
        assert post(server, sent, kind=f'{KIND}"{boundary}"').status == 200
        assert post(server, sent, kind=f'multipart/form-data; charset=utf-8; boundary="{boundary}"').status == 200
    answer = post(server, body([PURPOSE, FILE], b"x" * 71), kind=KIND + "x" * 71)
    assert "boundary of 1 to 70" in refused(answer, code="unsupported_content_type")


def test_what_stands_before_and_after_is_passed_over(server: Running) -> None:
    assert content_of(server, post(server, b"\r\n" + body([PURPOSE, FILE]) + b"and so on\r\n")) == b"hello"


@pytest.mark.parametrize(
    ("disposition", "shown"),
    [
        ('filename="plain.txt"', "plain.txt"),
        ("filename=bare.txt", "bare.txt"),
        ('filename="na\u00efve \u65e5\u672c.txt"', "na\u00efve \u65e5\u672c.txt"),
        ('filename="semi;colon=\\"quoted\\".txt"', 'semi;colon="quoted".txt'),
        ('filename="browser%22s.txt"', 'browser"s.txt'),
        ("filename=\"ascii.txt\"; filename*=UTF-8''na%C3%AFve.txt", "na\u00efve.txt"),
        ("filename*=iso-8859-1'en'%A3.txt", "\u00a3.txt"),
        ("filename=\"kept.txt\"; filename*=UTF-8''%FF%FE", "kept.txt"),
        ("filename=\"kept.txt\"; filename*=koi8-r''%C1", "kept.txt"),
        ('filename="/etc/passwd"', "passwd"),
        ('filename="../../up.txt"', "up.txt"),
        ('filename="C:\\\\Users\\\\me\\\\doc.txt"', "doc.txt"),
        ('filename="C:\\Users\\doc.txt"', "doc.txt"),
        ('filename=".."', "upload"),
        ('filename=""', "upload"),
        ('filename="/"', "upload"),
        ("x=y", "upload"),
        ('filename="tab\there\x01\x7f\u202egpj.exe"', "tab heregpj.exe"),
        ('filename="' + "a" * 255 + '"', "a" * 255),
    ],
)
def test_a_files_name_is_shown_and_is_no_path(server: Running, disposition: str, shown: str) -> None:
    answer = post(server, [PURPOSE, part(f'name="file"; {disposition}', b"hello")])
    assert answer.status == 200, answer.body
    assert answer.json["filename"] == shown
    found = raw.ask(server, "GET", f"/v1/files/{answer.json['id']}/content")
    assert found.headers["content-disposition"].startswith("attachment; filename=")
    assert all(len(path.name) in (2, 7, 64) for path in (server.data / "blobs").rglob("*")), "folders and digests"


def test_a_name_that_is_too_long(server: Running) -> None:
    answer = post(server, [PURPOSE, part(f'name="file"; filename="{"a" * 256}"', b"x")])
    assert "maximum length 255" in refused(answer, param="filename", code="string_above_max_length")
    answer = post(server, [PURPOSE, part(f'name="file"; filename="{"a" * 9000}"', b"x")])
    refused(answer, code="invalid_multipart")


BROKEN: dict[str, tuple[Any, str | None, str | None]] = {
    "no file": ([PURPOSE], "file", "missing_required_parameter"),
    "no purpose": ([FILE], "purpose", "missing_required_parameter"),
    "nothing": ([], "file", "missing_required_parameter"),
    "two files": ([PURPOSE, FILE, FILE], "file", "invalid_value"),
    "two purposes": ([PURPOSE, PURPOSE, FILE], "purpose", "invalid_value"),
    "an empty file": ([PURPOSE, part('name="file"; filename="a"', b"")], "file", "empty_file"),
    "a field that is unknown": ([PURPOSE, FILE, part('name="colour"', b"blue")], None, None),
    "another file": ([PURPOSE, FILE, part('name="image"; filename="b"', b"x")], None, None),
    "a nested field that is unknown": ([PURPOSE, FILE, part('name="a[b][c]"', b"x")], None, None),
    "a field twice in two ways": (
        [PURPOSE, FILE, part('name="expires_after"', b"{}"), part('name="expires_after[seconds]"', b"1")],
        "expires_after",
        "invalid_value",
    ),
    "a field that is too long": ([PURPOSE, FILE, part('name="colour"', b"b" * 20_000)], None, None),
    "too many fields": ([*(part(f'name="f{one}"', b"x") for one in range(20)), FILE], None, None),
    "a field that is no text": ([part('name="purpose"', b"\xff\xfe"), FILE], "purpose", "invalid_value"),
    "no name": ([PURPOSE, part('filename="a"', b"x")], None, None),
    "no disposition": ([PURPOSE, b"Content-Type: text/plain\r\n\r\nx"], None, None),
    "no header": ([PURPOSE, b"\r\nx"], None, None),
    "a transfer encoding": (
        [PURPOSE, part('name="file"; filename="a"', b"aGVsbG8=", b"Content-Transfer-Encoding: base64")],
        None,
        None,
    ),
    "too many headers": ([PURPOSE, part('name="file"', b"x", *[b"X-A: b"] * 20)], None, "invalid_multipart"),
    "a header without end": ([PURPOSE, part('name="file"', b"x", b"X-A: " + b"b" * 20_000)], None, "invalid_multipart"),
    "a header that is none": ([PURPOSE, part('name="file"', b"x", b"no colon")], None, "invalid_multipart"),
    "no form": (b"hello", None, "invalid_multipart"),
    "an empty body": (b"", None, "invalid_multipart"),
    "another boundary": (body([PURPOSE, FILE], b"another"), None, "invalid_multipart"),
    "cut in the file": (body([PURPOSE, FILE])[:-60], None, "invalid_multipart"),
    "cut before the last dashes": (body([PURPOSE, FILE])[:-4], None, "invalid_multipart"),
    "cut in a header": (body([PURPOSE, FILE])[:60], None, "invalid_multipart"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_told(server: Running, case: str) -> None:
    sent, param, code = BROKEN[case]
    before = blobs(server)
    refused(post(server, sent), param=param, code=code)
    assert blobs(server) == before
    assert raw.ask(server, "GET", "/v1/models").status == 200


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "nonsense"]
)
def test_another_media_type(server: Running, kind: str | None) -> None:
    message = refused(post(server, [PURPOSE, FILE], kind=kind), code="unsupported_content_type")
    assert "only accepts 'multipart/form-data' requests" in message


@pytest.mark.parametrize("kind", ["multipart/form-data", KIND, KIND + '""', KIND + "\xe4"])
def test_no_boundary(server: Running, kind: str) -> None:
    assert "boundary" in refused(post(server, [PURPOSE, FILE], kind=kind), code="unsupported_content_type")


def test_compression(server: Running) -> None:
    refused(post(server, [PURPOSE, FILE], **{"Content-Encoding": "gzip"}), code="unsupported_content_encoding")


def test_a_form_that_is_refused_is_read_to_its_end(server: Running) -> None:
    """So that a client that listens only after it has sent all gets the answer, and may go on with the connection."""
    whole = body([part('name="colour"; filename="x"', b""), part('name="file"; filename="a"', bytes(40_000_000))])
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(whole)}\r\n"
    head += f"Content-Type: {KIND}{BOUNDARY.decode()}\r\n\r\n"
    with raw.connect(server) as connection:
        connection.sendall(head.encode() + whole)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200 " in connection.recv(65536)


def test_random_damage(server: Running) -> None:
    """Never a 500, and never the end of the server."""
    dice = random.Random(11)
    good = body([PURPOSE, part('name="expires_after[seconds]"', b"3600"), FILE])
    for _ in range(300):
        sent = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(sent))
            what = bytes([dice.choice(b'\x00\r\n :;"-[]=\xff%')])
            sent[place : place + dice.randint(0, 2)] = what * dice.randint(0, 3)
        assert post(server, bytes(sent)).status in (200, 400), bytes(sent)
