"""`/v1/files` through the official SDK: uploaded, listed, read, deleted, expired; what is refused, and how."""

import errno
import io
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import clock, durable
from homeport.store.staged import Staged
from tests import clocks, openapi
from tests.api import raw
from tests.api.forms import BOUNDARY, FILE, LINE, PURPOSE, body, part, post, refused
from tests.api.owners import client_of, new_key, new_project
from tests.api.test_lifecycle import serving
from tests.control import databases
from tests.fake_upstream import until
from tests.server import KEY, Running, running

MONTH = 30 * 86_400


def blobs(server: Running) -> set[str]:
    """The names of all bytes on the disk, those on their way included."""
    return {name for _, _, names in os.walk(server.data / "blobs") for name in names}


def upload(client: openai.OpenAI, content: bytes, name: str = "a.txt", purpose: Any = "user_data") -> Any:
    return client.files.create(file=(name, content), purpose=purpose)


def test_a_file_is_kept_and_given_back(owning: Running, mine: openai.OpenAI) -> None:
    content = os.urandom(3_000_000)
    made = upload(mine, content, "holiday.bin")
    assert made.id.startswith("file-")
    assert (made.bytes, made.filename, made.purpose, made.status) == (
        3_000_000,
        "holiday.bin",
        "user_data",
        "processed",
    )
    assert made.expires_at is None
    assert abs(made.created_at - time.time()) < 60
    assert mine.files.retrieve(made.id) == made == mine.files.wait_for_processing(made.id)
    assert mine.files.content(made.id).content == content
    assert made in mine.files.list(limit=5).data


@pytest.mark.parametrize("name", [openapi.NEWEST, openapi.OF_2024])
def test_its_objects_are_the_descriptions(owning: Running, mine: openai.OpenAI, name: str) -> None:
    for purpose in ("assistants", "batch", "fine-tune", "vision"):
        content = LINE if purpose == "batch" else b'{"messages": []}\n'
        made = upload(mine, content, "a.jsonl", purpose)
        found = raw.ask(owning, "GET", f"/v1/files/{made.id}").json
        assert set(found) == openapi.properties("OpenAIFile")
        openapi.validate("OpenAIFile", found, name)
    openapi.validate("ListFilesResponse", raw.ask(owning, "GET", "/v1/files?limit=4").json, name)
    openapi.validate("ListFilesResponse", raw.ask(owning, "GET", "/v1/files?purpose=nothing").json, name)
    deleted = raw.ask(owning, "DELETE", f"/v1/files/{made.id}").json
    openapi.validate("DeleteFileResponse", deleted, name)
    assert deleted == {"id": made.id, "object": "file", "deleted": True}


def test_every_purpose_that_a_client_may_have(owning: Running, mine: openai.OpenAI) -> None:
    for purpose in ("assistants", "vision", "user_data"):
        assert upload(mine, b"x", "a.txt", purpose).purpose == purpose
    assert upload(mine, b'{"any": "thing"}', "a.jsonl", "evals").purpose == "evals"
    for purpose in ("batch_output", "fine-tune-results", "nonsense"):
        answer = post(owning, [part('name="purpose"', purpose.encode()), FILE])
        assert "Supported values are: 'assistants', 'batch'" in refused(answer, param="purpose", code="invalid_value")


def test_how_long_it_lives(mine: openai.OpenAI) -> None:
    batch = upload(mine, LINE, "a.jsonl", "batch")
    assert batch.expires_at == batch.created_at + MONTH
    for seconds in (3600, MONTH):
        life: Any = {"anchor": "created_at", "seconds": seconds}
        made = mine.files.create(file=("a.jsonl", LINE), purpose="batch", expires_after=life)
        assert made.expires_at == made.created_at + seconds


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"[anchor]": "created_at"}, "expires_after.seconds", "missing_required_parameter"),
        ({"[seconds]": "3600"}, "expires_after.anchor", "missing_required_parameter"),
        ({"[anchor]": "now", "[seconds]": "3600"}, "expires_after.anchor", "invalid_value"),
        ({"[anchor]": "created_at", "[seconds]": "3599"}, "expires_after.seconds", "integer_below_min_value"),
        ({"[anchor]": "created_at", "[seconds]": "2592001"}, "expires_after.seconds", "integer_above_max_value"),
        ({"[anchor]": "created_at", "[seconds]": "soon"}, "expires_after.seconds", "invalid_type"),
        ({"[anchor]": "created_at", "[days]": "1", "[seconds]": "3600"}, "expires_after.days", "unknown_parameter"),
        ({"": "3600"}, "expires_after", "invalid_type"),
    ],
)
def test_a_life_that_cannot_be(owning: Running, fields: dict[str, str], param: str, code: str) -> None:
    parts = [part(f'name="expires_after{name}"', value.encode()) for name, value in fields.items()]
    refused(post(owning, [PURPOSE, *parts, FILE]), param=param, code=code)


def test_a_life_as_json(owning: Running) -> None:
    """OpenAPI's own way to write an object into a form."""
    life = part('name="expires_after"', b'{"anchor": "created_at", "seconds": 7200}', b"Content-Type: application/json")
    made = post(owning, [FILE, life, PURPOSE]).json
    assert made["expires_at"] == made["created_at"] + 7200


def test_what_has_expired_is_gone_at_once(
    owning: Running, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    life: Any = {"anchor": "created_at", "seconds": 3600}
    made = mine.files.create(file=("a.bin", b"soon to go"), purpose="vision", expires_after=life)
    stays = upload(mine, b"stays", purpose="vision")
    assert mine.files.retrieve(made.id) == made
    now = clock.now()
    clocks.own(monkeypatch, "control.files", now=lambda: now + 3601)
    for call in (mine.files.retrieve, mine.files.content, mine.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    listed = mine.files.list(purpose="vision").data
    assert stays in listed
    assert made not in listed


def test_a_list_in_pages(owning: Running) -> None:
    with client_of(owning, new_key(owning, new_project(owning, "lists"))) as client:
        assert client.files.list().data == []
        made = [
            upload(client, f"{place}".encode(), purpose="vision" if place % 3 else "user_data") for place in range(10)
        ]
        newest_first = [one.id for one in reversed(made)]
        assert [one.id for one in client.files.list()] == newest_first
        assert [one.id for one in client.files.list(limit=3)] == newest_first, "the SDK follows the pages"
        page = client.files.list(limit=4, after=newest_first[3])
        assert [one.id for one in page.data] == newest_first[4:8]
        assert page.has_more
        assert [one.id for one in client.files.list(order="asc", limit=2)] == newest_first[::-1]
        assert {one.purpose for one in client.files.list(purpose="user_data")} == {"user_data"}
        assert len(client.files.list(purpose="user_data", limit=1).data) == 1
        assert [one.id for one in client.files.list(purpose="user_data", limit=1)] == [
            one.id for one in reversed(made) if one.purpose == "user_data"
        ]
        answer = raw.ask(owning, "GET", "/v1/files?limit=2", key=client.api_key).json
        assert (answer["first_id"], answer["last_id"], answer["has_more"]) == (*newest_first[:2], True)


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=10001", "limit", "integer_above_max_value"),
        ("limit=many", "limit", "invalid_type"),
        ("order=up", "order", "invalid_value"),
        ("after=file-nowhere", "after", "invalid_value"),
        ("before=file-x", "before", "unknown_parameter"),
        ("purpose=a&purpose=b", "purpose", "invalid_value"),
    ],
)
def test_lists_that_cannot_be(owning: Running, query: str, param: str, code: str) -> None:
    refused(raw.ask(owning, "GET", f"/v1/files?{query}"), param=param, code=code)


def test_deleted_is_deleted(owning: Running, mine: openai.OpenAI) -> None:
    before = blobs(owning)
    content = os.urandom(2_000_000)
    first, second = upload(mine, content), upload(mine, content, "the same bytes.txt")
    assert len(blobs(owning) - before) == 1, "the same bytes are kept once"
    deleted = mine.files.delete(first.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (first.id, True, "file")
    with pytest.raises(openai.NotFoundError) as refusal:
        mine.files.retrieve(first.id)
    assert refusal.value.body == {
        "message": f"No such File object: {first.id}",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }
    with pytest.raises(openai.NotFoundError):
        mine.files.delete(first.id)
    assert mine.files.content(second.id).content == content, "others have them still"
    mine.files.delete(second.id)
    assert blobs(owning) == before


def test_nobody_elses(owning: Running, mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    made = upload(mine, b"mine alone")
    for call in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {made.id}"):
            call(made.id)
    assert made.id not in {one.id for one in theirs.files.list()}
    with pytest.raises(openai.BadRequestError, match="Invalid 'after'"):
        theirs.files.list(after=made.id)
    same = upload(theirs, b"mine alone")
    theirs.files.delete(same.id)
    assert mine.files.content(made.id).content == b"mine alone"


def test_scopes(owning: Running) -> None:
    project = new_project(owning, "scopes")
    writer = client_of(owning, new_key(owning, project, scopes=["api.files.write"]))
    reader = client_of(owning, new_key(owning, project, scopes=["files.read"]))
    with writer, reader:
        made = upload(writer, b"x")
        assert reader.files.content(made.id).content == b"x"
        assert [one.id for one in reader.files.list()] == [made.id]
        for call, scope in (
            (lambda: upload(reader, b"x"), "files.write"),
            (lambda: reader.files.delete(made.id), "files.write"),
            (lambda: reader.uploads.cancel("upload_x"), "files.write"),
            (lambda: writer.files.list(), "files.read"),
            (lambda: writer.files.content(made.id), "files.read"),
        ):
            with pytest.raises(openai.PermissionDeniedError, match=f"Missing scopes: {scope}"):
                call()


def test_content_is_a_download_and_nothing_else(owning: Running, mine: openai.OpenAI) -> None:
    made = upload(mine, b"<script>alert(1)</script>", 'na"ïve; x=1.html')
    answer = raw.ask(owning, "GET", f"/v1/files/{made.id}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"na__ve; x=1.html\"; filename*=UTF-8''na%22%C3%AFve%3B%20x%3D1.html"
    )
    assert answer.headers["content-length"] == "25"
    head = raw.ask(owning, "HEAD", f"/v1/files/{made.id}/content")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "25")
    assert head.headers["etag"] == answer.headers["etag"]
    again = raw.ask(owning, "GET", f"/v1/files/{made.id}/content", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_a_range_of_it(owning: Running, mine: openai.OpenAI) -> None:
    content = bytes(range(256)) * 4000
    made = upload(mine, content)
    size = len(content)

    def some(wanted: str, **headers: str) -> raw.Answer:
        return raw.ask(owning, "GET", f"/v1/files/{made.id}/content", headers={"Range": wanted, **headers})

    for wanted, begin, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=300000-700000", 300_000, 700_001),
        ("bytes=1023000-", 1_023_000, size),
        ("bytes=-10", size - 10, size),
        ("bytes=-99999999", 0, size),
        ("bytes=5-99999999", 5, size),
    ):
        answer = some(wanted)
        assert (answer.status, answer.body) == (206, content[begin:end]), wanted
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
    for whole in ("bytes=0-1,5-6", "bytes=5-3", "lines=1-2", "bytes=-", "bytes=a-b"):
        answer = some(whole)
        assert (answer.status, answer.body) == (200, content), whole
    for beyond in (f"bytes={size}-", "bytes=-0"):
        answer = some(beyond)
        refused(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{size}"
    etag = some("bytes=0-0").headers["etag"]
    assert some("bytes=0-0", **{"If-Range": etag}).status == 206
    assert some("bytes=0-0", **{"If-Range": '"another"'}).status == 200


NOT_LINES = "Expected file to have JSONL format, where every line is a JSON object as its purpose wants it: "
GOOD = {
    "fine-tune": b'{"messages": [{"role": "user", "content": "hi"}]}\n',
    "evals": b'{"item": {"question": "?"}}\n',
}
OTHERS = {
    "a prompt": b'{"prompt": "hi", "completion": "ho"}',
    "a preference": b'{"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}',
}


@pytest.mark.parametrize("purpose", GOOD)
@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "is not valid JSON"),
        (b"hello", "is not valid JSON"),
        (b'{"a": 1} {"b": 2}', "is not valid JSON"),
        (b"[1]", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a":' + b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_the_line_that_is_wrong_is_named(owning: Running, purpose: str, line: bytes, what: str) -> None:
    content = GOOD[purpose] * 36 + line + b"\n" + GOOD[purpose] * 5
    answer = post(owning, [part('name="purpose"', purpose.encode()), part('name="file"; filename="a.jsonl"', content)])
    assert refused(answer, param="file", code="invalid_json_line") == f"{NOT_LINES}line 37 {what}."


def test_lines_of_a_batch_are_for_the_batch_to_judge(mine: openai.OpenAI) -> None:
    for content in (LINE + b"nonsense\n", b"\xff\n", LINE + LINE):
        assert upload(mine, content, "a.jsonl", "batch").bytes == len(content)


def test_lines_to_learn_from(mine: openai.OpenAI) -> None:
    for line in OTHERS.values():
        assert upload(mine, line, "a.jsonl", "fine-tune").status == "processed"
    with pytest.raises(openai.BadRequestError, match="line 1 has none of the shapes"):
        upload(mine, b'{"prompt": "without an end"}', "a.jsonl", "fine-tune")


def test_lines_as_editors_leave_them(mine: openai.OpenAI) -> None:
    """Blank ones count, and say nothing."""
    line = GOOD["fine-tune"]
    for content in (line.strip(), b"\n\r\n" + line.strip() + b"\r\n  \n\n", line + line.replace(b'"hi"', b' "ho" ')):
        assert upload(mine, content, "a.JSONL", "fine-tune").bytes == len(content)
    with pytest.raises(openai.BadRequestError, match="line 4 is not valid JSON"):
        upload(mine, b"\n" + line + b"\r\nnonsense", "a.jsonl", "fine-tune")
    with pytest.raises(openai.BadRequestError, match="line 1 begins with a byte order mark"):
        upload(mine, b"\xef\xbb\xbf" + line, "a.jsonl", "fine-tune")
    with pytest.raises(openai.BadRequestError, match="The file is empty"):
        upload(mine, b"\n \r\n", "a.jsonl", "fine-tune")


def test_a_line_without_end(mine: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="line 2 is longer than"):
        upload(mine, GOOD["evals"] + b'{"item": "' + b"a" * 34_000_000, "a.jsonl", "evals")


@pytest.mark.parametrize(("purpose", "api"), [("batch", "Batch"), ("fine-tune", "Fine-Tuning"), ("evals", "Evals")])
def test_lines_are_in_jsonl_files(mine: openai.OpenAI, purpose: str, api: str) -> None:
    for name in ("a.json", "a.txt", "jsonl", "a.jsonl.gz"):
        with pytest.raises(openai.BadRequestError) as refusal:
            upload(mine, LINE, name, purpose)
        assert refusal.value.body == {
            "message": f"Invalid file format for {api} API. Must be .jsonl",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }


def test_an_idempotency_key_makes_one_file(owning: Running, mine: openai.OpenAI) -> None:
    sent: dict[str, Any] = {"purpose": "user_data", "extra_headers": {"Idempotency-Key": os.urandom(8).hex()}}
    first = mine.files.create(file=("a.txt", b"once"), **sent)
    again = mine.files.with_raw_response.create(file=("a.txt", b"once"), **sent)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.parse() == first, "though its boundary is another"
    for other in (("a.txt", b"twice"), ("b.txt", b"once")):
        with pytest.raises(openai.BadRequestError, match="used for a request with another body"):
            mine.files.create(file=other, **sent)
    wrong: dict[str, Any] = {"purpose": "evals", "extra_headers": {"Idempotency-Key": os.urandom(8).hex()}}
    with pytest.raises(openai.BadRequestError, match="line 1"):
        mine.files.create(file=("a.jsonl", b"nonsense"), **wrong)
    with pytest.raises(openai.BadRequestError, match="line 1"):
        mine.files.create(file=("a.jsonl", b"nonsense"), **wrong)


def test_azures_client(owning: Running, mine: openai.OpenAI) -> None:
    with openai.AzureOpenAI(azure_endpoint=owning.url, api_version="2024-10-21", api_key=KEY, max_retries=0) as azure:
        made = upload(azure, LINE, "a.jsonl", "batch")
        assert azure.files.retrieve(made.id) == made == mine.files.retrieve(made.id)
        assert azure.files.content(made.id).content == LINE
        assert made in azure.files.list(purpose="batch", limit=3).data
        assert azure.files.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError) as refusal:
            azure.files.retrieve(made.id)
        assert refusal.value.body == {"code": "404", "message": f"No such File object: {made.id}"}
    for path, status in (("/openai/files", 404), ("/openai/files?api-version=2020-01-01", 400)):
        assert raw.ask(owning, "GET", path).status == status


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Files of a MiB at most, and a GiB of them; no assistants' files out; a second for a client to go on."""
    settings = {
        "files": {"max_file_mb": 1, "max_project_gb": 1, "download_assistants": False},
        "server": {"keep_alive_seconds": 1, "max_body_mb": 1},
    }
    with running(tmp_path_factory.mktemp("small"), settings) as made:
        yield made


def test_too_large(small: Running) -> None:
    fits = part('name="file"; filename="a"', bytes(2**20))
    assert post(small, [PURPOSE, fits]).status == 200
    answer = post(small, [PURPOSE, fits + b"x"])
    assert "'file' may have 1 MiB at most. Larger files come by /v1/uploads, in parts." in refused(answer, 413, "file")
    assert len(blobs(small)) == 1


def test_too_large_by_its_length_is_not_waited_for(small: Running) -> None:
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 600000000\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    with raw.connect(small) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"600000000 bytes" in answer + b""


def test_a_body_without_end_is_not_kept(small: Running) -> None:
    """Chunked, with no length: the epilogue, which nobody reads, counts as well."""
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    first = body([PURPOSE, FILE])
    chunk = b"%x\r\n%b\r\n" % (2**16, bytes(2**16))
    with raw.connect(small) as connection:
        connection.sendall(head.encode() + b"%x\r\n%b\r\n" % (len(first), first))
        answer = b""
        for _ in range(200):
            try:
                connection.sendall(chunk)
            except OSError:
                break
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_who_asks_is_known_before_the_body_is_read(small: Running) -> None:
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-wrong\r\nContent-Length: 1000000\r\n"
    head += f"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    with raw.connect(small) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_sender_that_stops_is_let_go(small: Running) -> None:
    before = blobs(small)
    whole = body([PURPOSE, part('name="file"; filename="a"', bytes(900_000))])
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(whole)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    with raw.connect(small) as connection:
        connection.sendall(head.encode() + whole[:800_000])
        assert raw.read_all(connection).startswith(b"HTTP/1.1 408 ")
    assert until(lambda: blobs(small) == before)


def test_a_disk_that_is_slow_is_not_the_clients_fault(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    write, waited = Staged.write, threading.Event()

    async def slowly(self: Staged, data: bytes) -> None:
        if not waited.is_set():
            waited.set()
            await clock.sleep(2.5)
        await write(self, data)

    monkeypatch.setattr(Staged, "write", slowly)
    assert post(small, [PURPOSE, part('name="file"; filename="a"', bytes(1_000_000))]).status == 200
    assert waited.is_set()


def test_a_client_that_hangs_up_leaves_nothing(small: Running) -> None:
    before = blobs(small)
    whole = body([PURPOSE, part('name="file"; filename="a"', os.urandom(1_000_000))])
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(whole)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    listed = raw.ask(small, "GET", "/v1/files").json
    for sent in (0, 100, 400, 700_000, len(whole) - 1):
        connection = raw.connect(small)
        connection.sendall(head.encode() + whole[:sent])
        time.sleep(0.05)
        connection.close()
    assert until(lambda: blobs(small) == before)
    assert raw.ask(small, "GET", "/v1/files").json == listed


def test_a_full_disk(owning: Running, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said so, nothing is left, and what is smaller goes on."""
    before, listed = blobs(owning), mine.files.list(limit=1).data
    write, room = os.write, 3_000_000

    def writes(file: int, data: Any) -> int:
        nonlocal room
        if len(data) < 100_000:  # the server's loop, SQLite, ...
            return write(file, data)
        room -= len(data)
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("homeport.store.staged.os.write", writes)
    with pytest.raises(openai.InternalServerError) as refusal:
        upload(mine, os.urandom(5_000_000))
    assert (refusal.value.status_code, refusal.value.code) == (507, "insufficient_storage")
    assert blobs(owning) == before
    assert mine.files.list(limit=1).data == listed
    assert upload(mine, b"small").bytes == 5


def test_a_client_that_leaves_a_download(owning: Running, mine: openai.OpenAI) -> None:
    """The file is not read to its end for nobody."""
    made = upload(mine, bytes(60_000_000))
    with mine.files.with_streaming_response.content(made.id) as answer:
        assert len(next(answer.iter_bytes(1000))) == 1000
    assert until(lambda: not open_files(".*/blobs/.*")), open_files(".*/blobs/.*")
    mine.files.delete(made.id)


def open_files(pattern: str) -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if re.fullmatch(pattern, target):
            found.append(target)
    return found


def test_assistants_files_stay_where_the_operator_wants_it_so(small: Running) -> None:
    with client_of(small) as client:
        made = upload(client, b"x", purpose="assistants")
        with pytest.raises(openai.BadRequestError, match="Not allowed to download files of purpose: assistants"):
            client.files.content(made.id)
        assert client.files.content(upload(client, b"x", purpose="vision").id).content == b"x"


def test_what_a_project_may_keep(small: Running) -> None:
    project = new_project(small, "full")
    with client_of(small, new_key(small, project)) as client:
        large = client.uploads.create(bytes=2**30, filename="a.bin", mime_type="x/y", purpose="user_data")
        assert large.status == "pending"
        made = upload(client, bytes(1000))
        with pytest.raises(openai.BadRequestError) as refusal:
            client.uploads.create(bytes=2**30 - 999, filename="a.bin", mime_type="x/y", purpose="user_data")
        assert refusal.value.code == "storage_limit_exceeded"
        assert "1000 are taken" in str(refusal.value)
        client.files.delete(made.id)
        client.uploads.create(bytes=2**30 - 999, filename="a.bin", mime_type="x/y", purpose="user_data")


def peak(process: "subprocess.Popen[str]") -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    """200 MB of lines go in, are looked at, and out again."""
    size = 200_000_000
    with serving(tmp_path, environment={"HOMEPORT_API_KEY": KEY}) as (url, _, process):
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            small = upload(client, LINE * 10, "a.jsonl", "evals")
            client.files.content(small.id)
            before = peak(process)
            made = client.files.create(file=("a.jsonl", io.BufferedReader(Generated(size))), purpose="evals")
            assert made.bytes == size
            read = 0
            with client.files.with_streaming_response.content(made.id) as answer:
                for piece in answer.iter_bytes(2**20):
                    read += len(piece)
        assert read == size
        assert peak(process) - before < 50_000_000


class Generated(io.RawIOBase):
    """So many bytes of lines, made as they are read, with blanks at the end."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        lines = self._size // len(LINE) * len(LINE)
        start = self._at % len(LINE)
        found = (LINE * (wanted // len(LINE) + 2))[start : start + min(wanted, max(0, lines - self._at))]
        buffer[:wanted] = found + b" " * (wanted - len(found))
        self._at += wanted
        return wanted


@pytest.fixture(scope="module", params=databases.KINDS)
def tidy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What has expired is taken away ten times a second."""
    settings = {}
    if request.param == "postgresql":
        settings["database_url"] = request.getfixturevalue("postgres").create("tidy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "EXPIRY_SECONDS", 0.1)
        with running(tmp_path_factory.mktemp("tidy"), settings) as made:
            yield made


def test_what_has_expired_is_taken_away(tidy: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(tidy) as client:
        life: Any = {"anchor": "created_at", "seconds": 3600}
        for place in range(3):
            client.files.create(file=("a.bin", b"to go %d" % place), purpose="vision", expires_after=life)
        stays = upload(client, b"to go 1")
        pending = client.uploads.create(bytes=9, filename="a", mime_type="x", purpose="user_data")
        client.uploads.parts.create(pending.id, data=b"to go, too")
        assert len(blobs(tidy)) == 4
        now = clock.now  # which goes on: what is due in a moment must come
        monkeypatch.setattr(clock, "now", lambda: now() + 3601)
        assert until(lambda: len(blobs(tidy)) == 1)
        assert client.files.content(stays.id).content == b"to go 1", "the same bytes, for another file"
        with pytest.raises(openai.BadRequestError, match="is expired"):
            client.uploads.cancel(pending.id)
        monkeypatch.setattr(clock, "now", lambda: now() + 86_400 + 3601)
        assert until(lambda: is_forgotten(client, pending.id))
        client.files.delete(stays.id)


def is_forgotten(client: openai.OpenAI, upload_id: str) -> bool:
    try:
        client.uploads.cancel(upload_id)
    except openai.NotFoundError:
        return True
    except openai.BadRequestError:
        return False
    raise AssertionError("it was pending")
