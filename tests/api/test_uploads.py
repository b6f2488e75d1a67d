"""`/v1/uploads` through the official SDK: parts in any order and side by side, which become one file, or none."""

import hashlib
import os
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import clock
from homeport.control.uploads import Uploads
from homeport.store.staged import Staged
from tests import clocks, openapi
from tests.api import raw
from tests.api.forms import LINE, part, post, refused
from tests.api.owners import client_of, new_key, new_project
from tests.api.test_files import blobs
from tests.server import KEY, Running


def begin(client: openai.OpenAI, size: int, name: str = "a.bin", purpose: Any = "user_data", **more: Any) -> Any:
    return client.uploads.create(bytes=size, filename=name, mime_type="application/x", purpose=purpose, **more)


def add(client: openai.OpenAI, upload: Any, *pieces: bytes) -> list[str]:
    return [client.uploads.parts.create(upload.id, data=piece).id for piece in pieces]


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_parts_become_a_file(owning: Running, mine: openai.OpenAI) -> None:
    before = blobs(owning)
    pieces = [os.urandom(300_000) for _ in range(4)]
    upload = begin(mine, 1_200_000, "holiday.bin")
    assert upload.id.startswith("upload_")
    assert (upload.status, upload.bytes, upload.filename, upload.file) == ("pending", 1_200_000, "holiday.bin", None)
    assert upload.expires_at == upload.created_at + 3600
    ids = add(mine, upload, *pieces)
    assert all(one.startswith("part_") for one in ids)
    done = mine.uploads.complete(upload.id, part_ids=ids)
    assert (done.status, done.id) == ("completed", upload.id)
    assert done.file is not None
    assert (done.file.bytes, done.file.filename, done.file.purpose) == (1_200_000, "holiday.bin", "user_data")
    assert done.file == mine.files.retrieve(done.file.id)
    content = b"".join(pieces)
    assert mine.files.content(done.file.id).content == content
    assert blobs(owning) - before == {hashlib.sha256(content).hexdigest()}, "the parts are gone"


def test_its_objects_are_the_descriptions(owning: Running, mine: openai.OpenAI) -> None:
    body = {"bytes": 1, "filename": "a.txt", "mime_type": "text/plain", "purpose": "vision"}
    made = raw.ask(owning, "POST", "/v1/uploads", body).json
    added = post(owning, [part('name="data"; filename="x"', b"x")], f"/v1/uploads/{made['id']}/parts").json
    done = raw.ask(owning, "POST", f"/v1/uploads/{made['id']}/complete", {"part_ids": [added["id"]]}).json
    assert added["upload_id"] == made["id"]
    for name in (openapi.NEWEST, openapi.OF_2024):
        openapi.validate("Upload", made, name)
        openapi.validate("UploadPart", added, name)
        openapi.validate("Upload", {**done, "file": {k: v for k, v in done["file"].items() if v is not None}}, name)
        openapi.validate("OpenAIFile", done["file"], name)
    assert set(made) == set(done) == openapi.properties("Upload")
    assert set(added) == openapi.properties("UploadPart")


def test_a_part_as_curl_sends_it(owning: Running, mine: openai.OpenAI) -> None:
    """`-F data="..."`: with no name of a file."""
    upload = begin(mine, 5)
    added = post(owning, [part('name="data"', b"hello")], f"/v1/uploads/{upload.id}/parts").json
    done = mine.uploads.complete(upload.id, part_ids=[added["id"]])
    assert done.file is not None
    assert mine.files.content(done.file.id).content == b"hello"


def test_in_any_order_and_side_by_side(mine: openai.OpenAI) -> None:
    pieces = [os.urandom(random.Random(place).randrange(1, 200_000)) for place in range(12)]
    content = b"".join(pieces)
    upload = begin(mine, len(content))
    order = random.Random(3).sample(range(12), 12)
    with ThreadPoolExecutor(6) as pool:
        ids = dict(zip(order, pool.map(lambda place: add(mine, upload, pieces[place])[0], order), strict=True))
    done = mine.uploads.complete(upload.id, part_ids=[ids[place] for place in range(12)], md5=md5_of(content))
    assert done.file is not None
    assert mine.files.content(done.file.id).content == content


def test_the_sdks_own_way(mine: openai.OpenAI, tmp_path: Path) -> None:
    content = os.urandom(1_000_001)
    file = tmp_path / "large.bin"
    file.write_bytes(content)
    md5 = md5_of(content).upper()
    from_disk = mine.uploads.upload_file_chunked(
        file=file, mime_type="application/x", purpose="user_data", part_size=300_000, md5=md5
    )
    from_memory = mine.uploads.upload_file_chunked(
        file=content, filename="m.bin", bytes=len(content), mime_type="pdf", purpose="assistants", part_size=999_999
    )
    for done in (from_disk, from_memory):
        assert done.file is not None
        assert mine.files.content(done.file.id).content == content


def test_parts_that_are_the_same_bytes(mine: openai.OpenAI) -> None:
    upload = begin(mine, 300)
    ids = add(mine, upload, b"a" * 100, b"a" * 100, b"b" * 100)
    assert len({*ids}) == 3
    done = mine.uploads.complete(upload.id, part_ids=[ids[0], ids[2], ids[1]])
    assert done.file is not None
    assert mine.files.content(done.file.id).content == b"a" * 100 + b"b" * 100 + b"a" * 100


def test_a_part_sent_again_is_left_out(owning: Running, mine: openai.OpenAI) -> None:
    """Its first answer was lost: the client names the second."""
    before = blobs(owning)
    upload = begin(mine, 200)
    first, _, third = add(mine, upload, b"a" * 100, b"c" * 100, b"b" * 100)
    done = mine.uploads.complete(upload.id, part_ids=[first, third])
    assert done.file is not None
    assert mine.files.content(done.file.id).content == b"a" * 100 + b"b" * 100
    assert len(blobs(owning) - before) == 1


def test_what_cannot_be_completed_stays_as_it_was(owning: Running, mine: openai.OpenAI) -> None:
    upload, other = begin(mine, 300), begin(mine, 3)
    ids = add(mine, upload, b"a" * 100, b"b" * 100, b"c" * 100)
    (foreign,) = add(mine, other, b"x" * 3)
    path = f"/v1/uploads/{upload.id}/complete"
    files = len(mine.files.list().data)
    for body, param, code, words in (
        ({"part_ids": []}, "part_ids", "empty_array", "part_ids"),
        ({}, "part_ids", "missing_required_parameter", "part_ids"),
        ({"part_ids": ids[:2]}, "part_ids", "invalid_value", "200 bytes together, and the upload was created for 300"),
        ({"part_ids": [*ids, ids[0]]}, "part_ids[3]", "invalid_value", "is there twice"),
        ({"part_ids": [*ids[:2], foreign]}, "part_ids[2]", "invalid_value", "is no part of the upload"),
        ({"part_ids": [*ids[:2], "part_nowhere"]}, "part_ids[2]", "invalid_value", "is no part of the upload"),
        ({"part_ids": ids, "md5": md5_of(b"other")}, "md5", "md5_mismatch", "a part came damaged"),
        ({"part_ids": ids[::-1], "md5": md5_of(b"a" * 100)}, "md5", "md5_mismatch", "the order"),
        ({"part_ids": ids, "md5": "xyz"}, "md5", "invalid_value", "pattern"),
        ({"part_ids": ids, "colour": "blue"}, None, None, "Unrecognized request argument supplied: colour"),
    ):
        assert words in refused(raw.ask(owning, "POST", path, body), param=param, code=code), body
    assert len(mine.files.list().data) == files
    assert mine.uploads.complete(upload.id, part_ids=ids).status == "completed"


def test_lines_are_looked_at_when_they_are_whole(mine: openai.OpenAI) -> None:
    content = LINE * 40
    upload = begin(mine, len(content), "a.jsonl", "batch")
    cut = len(LINE) * 3 + 10
    done = mine.uploads.complete(upload.id, part_ids=add(mine, upload, content[:cut], content[cut:]))
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 30 * 86_400
    content = LINE * 36 + b"nonsense\n"
    upload = begin(mine, len(content), "a.jsonl", "evals")
    ids = add(mine, upload, content[:cut], content[cut:])
    with pytest.raises(openai.BadRequestError, match="line 37 is not valid JSON"):
        mine.uploads.complete(upload.id, part_ids=ids)


def test_what_is_not_begun(owning: Running, mine: openai.OpenAI) -> None:
    good = {"bytes": 10, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    for changes, param, code in (
        ({"bytes": 0}, "bytes", "integer_below_min_value"),
        ({"bytes": 8 * 2**30 + 1}, "bytes", "integer_above_max_value"),
        ({"bytes": "many"}, "bytes", "invalid_type"),
        ({"bytes": None}, "bytes", "invalid_type"),
        ({"purpose": "batch_output"}, "purpose", "invalid_value"),
        ({"filename": "a" * 300}, "filename", "string_above_max_length"),
        ({"purpose": "batch"}, None, None),
        ({"purpose": "batch", "filename": "a.jsonl", "bytes": 200 * 2**20 + 1}, "file", "file_too_large"),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 60}},
            "expires_after.seconds",
            "integer_below_min_value",
        ),
        ({"colour": "blue"}, None, None),
    ):
        refused(raw.ask(owning, "POST", "/v1/uploads", {**good, **changes}), param=param, code=code)
    for name in good:
        body = {key: value for key, value in good.items() if key != name}
        refused(raw.ask(owning, "POST", "/v1/uploads", body), param=name, code="missing_required_parameter")
    largest = begin(mine, 8 * 2**30)
    assert mine.uploads.cancel(largest.id).status == "cancelled"


def test_its_file_lives_as_long_as_was_asked_for(mine: openai.OpenAI) -> None:
    upload = begin(mine, 1, expires_after={"anchor": "created_at", "seconds": 7200})
    done = mine.uploads.complete(upload.id, part_ids=add(mine, upload, b"x"))
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 7200


def test_completed_again_is_the_same_answer(owning: Running, mine: openai.OpenAI) -> None:
    upload = begin(mine, 5)
    ids = add(mine, upload, b"hello")
    done = mine.uploads.complete(upload.id, part_ids=ids)
    assert mine.uploads.complete(upload.id, part_ids=ids) == done
    assert done.file is not None
    answer = post(owning, [part('name="data"', b"more")], f"/v1/uploads/{upload.id}/parts")
    assert "is completed" in refused(answer, param="upload_id", code="upload_completed")
    with pytest.raises(openai.BadRequestError, match="is completed"):
        mine.uploads.cancel(upload.id)
    mine.files.delete(done.file.id)
    assert mine.uploads.complete(upload.id, part_ids=ids).file is None


def test_completed_by_many_at_once_is_one_file(owning: Running) -> None:
    with client_of(owning, new_key(owning, new_project(owning, "many"))) as client:
        upload = begin(client, 400_000)
        ids = add(client, upload, *(os.urandom(100_000) for _ in range(4)))
        with ThreadPoolExecutor(6) as pool:
            done = [*pool.map(lambda _: client.uploads.complete(upload.id, part_ids=ids), range(6))]
        assert len({one.file.id for one in done if one.file is not None}) == 1
        assert all(one.status == "completed" for one in done)
        assert len(client.files.list().data) == 1


def test_one_that_comes_late_gets_the_same_answer(mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are gone before it has read them."""
    join, late, completed = Uploads._join, threading.Event(), threading.Event()

    async def slowly(self: Uploads, digests: Sequence[str], staged: Staged) -> None:
        if not late.is_set():
            late.set()
            while not completed.is_set():
                await clock.sleep(0.01)
        await join(self, digests, staged)

    monkeypatch.setattr(Uploads, "_join", slowly)
    for ending in ("completed", "cancelled"):
        upload = begin(mine, 200_000)
        ids = add(mine, upload, os.urandom(100_000), os.urandom(100_000))
        late.clear()
        completed.clear()
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(mine.uploads.complete, upload.id, part_ids=ids)
            assert late.wait(60)
            if ending == "completed":
                first = mine.uploads.complete(upload.id, part_ids=ids)
                completed.set()
                assert second.result() == first
            else:
                mine.uploads.cancel(upload.id)
                completed.set()
                with pytest.raises(openai.BadRequestError, match="is cancelled"):
                    second.result()


def test_bytes_that_are_missing(owning: Running, mine: openai.OpenAI) -> None:
    """Somebody has been in the folder: it is said so, and no answer breaks off."""
    upload = begin(mine, 1000)
    content = os.urandom(1000)
    ids = add(mine, upload, content)
    name = hashlib.sha256(content).hexdigest()
    blob = owning.data / "blobs" / name[:2] / name[2:4] / name
    moved = blob.rename(owning.data / "elsewhere")
    with pytest.raises(openai.InternalServerError) as refusal:
        mine.uploads.complete(upload.id, part_ids=ids)
    assert refusal.value.code == "content_missing"
    moved.rename(blob)
    done = mine.uploads.complete(upload.id, part_ids=ids)
    assert done.file is not None
    moved = blob.rename(owning.data / "elsewhere")
    with pytest.raises(openai.InternalServerError) as refusal:
        mine.files.content(done.file.id)
    assert refusal.value.code == "content_missing"
    moved.rename(blob)
    assert mine.files.content(done.file.id).content == content


def test_cancelled_is_over(owning: Running, mine: openai.OpenAI) -> None:
    before = blobs(owning)
    upload = begin(mine, 200)
    ids = add(mine, upload, os.urandom(100), os.urandom(100))
    assert len(blobs(owning) - before) == 2
    assert mine.uploads.cancel(upload.id).status == "cancelled"
    assert blobs(owning) == before
    assert mine.uploads.cancel(upload.id).status == "cancelled", "again: the same answer"
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        mine.uploads.complete(upload.id, part_ids=ids)
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        add(mine, upload, os.urandom(10))
    assert blobs(owning) == before


def test_completed_and_cancelled_at_once_is_one_of_them(owning: Running) -> None:
    with client_of(owning, new_key(owning, new_project(owning, "both"))) as client, ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            upload = begin(client, 50_000)
            ids = add(client, upload, os.urandom(50_000))

            def complete(upload: Any = upload, ids: list[str] = ids) -> str:
                try:
                    return client.uploads.complete(upload.id, part_ids=ids).status
                except openai.BadRequestError as error:
                    return str(error.code)

            def cancel(upload: Any = upload) -> str:
                try:
                    return client.uploads.cancel(upload.id).status
                except openai.BadRequestError as error:
                    return str(error.code)

            outcomes = pool.submit(complete), pool.submit(cancel)
            found = outcomes[0].result(), outcomes[1].result()
            assert found in (("completed", "upload_completed"), ("upload_cancelled", "cancelled"))
            files = client.files.list().data
            assert len(files) == (found[0] == "completed")
            for file in files:
                client.files.delete(file.id)


def test_an_hour_and_it_has_expired(mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begin(mine, 1)
    ids = add(mine, upload, b"x")
    now = clock.now()
    clocks.own(monkeypatch, "control.uploads", now=lambda: now + 3601)
    for call in (
        lambda: add(mine, upload, b"y"),
        lambda: mine.uploads.complete(upload.id, part_ids=ids),
        lambda: mine.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is expired") as refusal:
            call()
        assert refusal.value.code == "upload_expired"


def test_nobody_elses(mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    upload, other = begin(mine, 3), begin(theirs, 3)
    ids = add(mine, upload, b"abc")
    for call in (
        lambda: add(theirs, upload, b"x"),
        lambda: theirs.uploads.complete(upload.id, part_ids=ids),
        lambda: theirs.uploads.cancel(upload.id),
        lambda: mine.uploads.cancel("upload_nowhere"),
    ):
        with pytest.raises(openai.NotFoundError, match="No such Upload object: upload_"):
            call()
    with pytest.raises(openai.BadRequestError, match="is no part of the upload"):
        theirs.uploads.complete(other.id, part_ids=ids)
    assert mine.uploads.complete(upload.id, part_ids=ids).status == "completed"


def test_a_part_may_have_64_mib(owning: Running, mine: openai.OpenAI) -> None:
    upload = begin(mine, 2**26)
    path = f"/v1/uploads/{upload.id}/parts"
    answer = post(owning, [part('name="data"', bytes(2**26 + 1))], path)
    assert "'data' may have 64 MiB at most" in refused(answer, 413, "data")
    done = mine.uploads.complete(upload.id, part_ids=add(mine, upload, bytes(2**26)))
    assert done.file is not None
    mine.files.delete(done.file.id)


def test_a_part_is_its_bytes_and_nothing_else(owning: Running, mine: openai.OpenAI) -> None:
    path = f"/v1/uploads/{begin(mine, 1).id}/parts"
    refused(post(owning, [part('name="data"', b"x"), part('name="colour"', b"blue")], path))
    refused(post(owning, [part('name="file"; filename="a"', b"x")], path))
    refused(post(owning, [part('name="data"', b"")], path), param="data", code="empty_file")
    refused(post(owning, [], path), param="data", code="missing_required_parameter")


def test_idempotency_keys(mine: openai.OpenAI) -> None:
    def key() -> dict[str, Any]:
        return {"extra_headers": {"Idempotency-Key": os.urandom(8).hex()}}

    once = key()
    upload = begin(mine, 3, **once)
    assert begin(mine, 3, **once) == upload
    with pytest.raises(openai.BadRequestError, match="used for a request with another body"):
        begin(mine, 4, **once)
    once = key()
    added = mine.uploads.parts.create(upload.id, data=b"abc", **once)
    assert mine.uploads.parts.create(upload.id, data=b"abc", **once) == added
    with pytest.raises(openai.BadRequestError, match="used for a request with another body"):
        mine.uploads.parts.create(upload.id, data=b"xyz", **once)
    once = key()
    done = mine.uploads.complete(upload.id, part_ids=[added.id], **once)
    assert mine.uploads.complete(upload.id, part_ids=[added.id], **once) == done


def test_azures_client(owning: Running) -> None:
    with openai.AzureOpenAI(azure_endpoint=owning.url, api_version="2024-10-21", api_key=KEY, max_retries=0) as azure:
        done = azure.uploads.upload_file_chunked(
            file=b"hello", filename="a.txt", bytes=5, mime_type="text/plain", purpose="assistants", part_size=2
        )
        assert done.file is not None
        assert azure.files.content(done.file.id).content == b"hello"
        with pytest.raises(openai.NotFoundError) as refusal:
            azure.uploads.cancel("upload_nowhere")
        assert refusal.value.body == {"code": "404", "message": "No such Upload object: upload_nowhere"}
