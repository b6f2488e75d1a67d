"""`/v1/vector_stores` through the official SDK, on both databases: stores, files in them, and batches of files."""

import json
import random
import threading
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import clock, durable
from homeport.control import vector_store_states
from homeport.store.tables import jobs, vector_store_chunks, vector_store_files, vector_stores
from tests import clocks, openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.stores import PROGRAM, ended, ids, prose, put, rows, text, upload

DAY = 86_400
#: Where stores are made, used and looked at.
STORES = ("control.vector_stores", "control.vector_store_states")
STATIC: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}
AUTO: Any = {"type": "auto"}
NEW_STORES = "/v1/vector_stores"


@pytest.fixture
def store(mine: openai.OpenAI) -> str:
    return mine.vector_stores.create().id


def refused(server: Running, path: str, body: Any, status: int = 400) -> Any:
    answer = raw.ask(server, "POST", path, body)
    assert answer.status == status, answer.body
    return answer.error


def counts(counted: Any) -> dict[str, int]:
    return {name: number for name, number in counted.model_dump().items() if number and name != "total"}


def url(server: Running) -> str:
    database = server.app.books.database.url
    return database.render_as_string(hide_password=False)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float, *modules: str) -> None:
    clocks.own(monkeypatch, *(modules or STORES), now=lambda: clock.now() + seconds)


# Stores


def test_a_new_store_has_nothing_in_it(mine: openai.OpenAI) -> None:
    made = mine.vector_stores.create()
    assert made.id.startswith("vs_")
    assert (made.name, made.metadata, made.status, made.usage_bytes) == ("", {}, "completed", 0)
    assert (made.expires_after, made.expires_at) == (None, None)
    assert made.last_active_at == made.created_at
    assert made.file_counts.total == 0
    assert mine.vector_stores.retrieve(made.id) == made


def test_what_a_store_is_made_with_and_how_it_is_modified(mine: openai.OpenAI) -> None:
    made = mine.vector_stores.create(
        name="Support FAQ",
        description="Questions, by topic.",
        metadata={"team": "blue"},
        expires_after={"anchor": "last_active_at", "days": 7},
    )
    assert (made.name, made.metadata) == ("Support FAQ", {"team": "blue"})
    assert made.model_dump()["description"] == "Questions, by topic."
    assert made.expires_after is not None
    assert (made.expires_after.anchor, made.expires_after.days) == ("last_active_at", 7)
    assert made.expires_at == made.created_at + 7 * DAY
    changed = mine.vector_stores.update(made.id, metadata={"team": "red"})
    assert (changed.name, changed.metadata, changed.expires_after) == (
        "Support FAQ",
        {"team": "red"},
        made.expires_after,
    )
    changed = mine.vector_stores.update(made.id, name=None, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_at) == ("", {"team": "red"}, None)
    longer: Any = {"anchor": "last_active_at", "days": 365}
    changed = mine.vector_stores.update(made.id, name="FAQ", metadata=None, expires_after=longer)
    assert (changed.name, changed.metadata) == ("FAQ", {})
    assert changed.expires_at == (changed.last_active_at or 0) + 365 * DAY
    assert mine.vector_stores.retrieve(made.id) == changed


def test_stores_are_listed_newest_first_in_pages(mine: openai.OpenAI) -> None:
    made = [mine.vector_stores.create(name=str(number)).id for number in range(5)]
    newest = made[::-1]
    page = mine.vector_stores.list(limit=2)
    assert ids(page.data) == newest[:2]
    assert page.has_next_page()
    assert ids(mine.vector_stores.list(limit=2, after=newest[1]).data) == newest[2:4]
    assert ids(mine.vector_stores.list(limit=2, before=newest[3]).data) == newest[1:3]
    assert ids(mine.vector_stores.list(limit=3, order="asc", after=made[1]).data) == made[2:]
    assert ids(one for one in mine.vector_stores.list(limit=3) if one.id in made) == newest


def test_a_deleted_store_is_gone_and_so_is_what_was_in_it(owning: Running, mine: openai.OpenAI, store: str) -> None:
    file = put(mine, store, prose(4000))
    assert file.status == "completed"
    (row,) = rows(url(owning), sa.select(vector_stores).where(vector_stores.c.id == store))
    deleted = mine.vector_stores.delete(store)
    assert (deleted.id, deleted.object, deleted.deleted) == (store, "vector_store.deleted", True)
    for ask in (mine.vector_stores.retrieve, mine.vector_stores.delete, mine.vector_stores.files.list):
        with pytest.raises(openai.NotFoundError, match=f"No vector store found with id '{store}'"):
            ask(store)
    assert store not in ids(mine.vector_stores.list(limit=100).data)
    assert mine.files.retrieve(file.id).id == file.id
    left = [
        sa.select(vector_stores.c.seq).where(vector_stores.c.seq == row["seq"]),
        sa.select(vector_store_files.c.seq).where(vector_store_files.c.store_seq == row["seq"]),
        sa.select(vector_store_chunks.c.seq).where(vector_store_chunks.c.store_seq == row["seq"]),
    ]
    assert until(lambda: not any(rows(url(owning), query) for query in left))
    assert not rows(url(owning), sa.select(jobs).where(jobs.c.lane == "ingestion"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"nonsense": 1}, None),
        ({"name": 7}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
        ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
        ({"file_ids": ["file-x"] * 501}, "file_ids"),
        ({"chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
        ({"chunking_strategy": {"type": "static"}}, "chunking_strategy.static"),
        ({"chunking_strategy": {**STATIC, "more": 1}}, "chunking_strategy.more"),
    ],
)
def test_what_no_store_is_made_of(owning: Running, body: Any, param: str | None) -> None:
    assert refused(owning, NEW_STORES, body)["param"] == param


@pytest.mark.parametrize(
    ("size", "overlap", "param"),
    [
        (99, 0, "max_chunk_size_tokens"),
        (4097, 0, "max_chunk_size_tokens"),
        (100, -1, "chunk_overlap_tokens"),
        (101, 51, "chunk_overlap_tokens"),
    ],
)
def test_how_chunks_are_not_cut(owning: Running, size: int, overlap: int, param: str) -> None:
    static = {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}
    error = refused(owning, NEW_STORES, {"chunking_strategy": {"type": "static", "static": static}})
    assert error["param"] == f"chunking_strategy.static.{param}"


def test_a_store_may_be_made_with_files(mine: openai.OpenAI) -> None:
    files = [upload(mine, f"text {number}") for number in range(3)]
    made = mine.vector_stores.create(file_ids=[*files, files[0]], chunking_strategy=STATIC)
    assert (made.status, counts(made.file_counts)) == ("in_progress", {"in_progress": 3})
    for file in files:
        ended(mine, made.id, file)
    done = mine.vector_stores.retrieve(made.id)
    assert (done.status, counts(done.file_counts), done.file_counts.total) == ("completed", {"completed": 3}, 3)
    found = mine.vector_stores.files.list(made.id).data
    assert done.usage_bytes == sum(one.usage_bytes for one in found) > 3 * 1024
    assert [one.chunking_strategy.model_dump() for one in found if one.chunking_strategy] == [STATIC] * 3


def test_with_a_file_that_is_not_there_nothing_is_made(owning: Running, mine: openai.OpenAI) -> None:
    there = upload(mine)
    before = ids(mine.vector_stores.list().data)
    error = refused(owning, NEW_STORES, {"file_ids": [there, "file-nothing"]}, 404)
    assert error["message"] == "No such File object: file-nothing"
    assert ids(mine.vector_stores.list().data) == before


# How long stores live


def test_a_store_that_is_used_lives_longer_and_one_that_is_not_expires(
    owning: Running, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mine.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})
    file = put(mine, store.id, "hello")
    later(monkeypatch, DAY - 100)
    assert mine.vector_stores.retrieve(store.id).status == "completed"
    more = mine.vector_stores.files.create(store.id, file_id=upload(mine)).id
    used = mine.vector_stores.retrieve(store.id)
    assert (used.last_active_at or 0) >= store.created_at + DAY - 101
    assert used.expires_at == (used.last_active_at or 0) + DAY
    ended(mine, store.id, more)
    later(monkeypatch, 2 * DAY)
    over = mine.vector_stores.retrieve(store.id)
    assert (over.status, over.expires_at, over.last_active_at) == ("expired", used.expires_at, used.last_active_at)
    assert store.id in ids(mine.vector_stores.list(limit=100).data)
    words = f"Vector store '{store.id}' has expired"
    with pytest.raises(openai.BadRequestError, match=words):
        mine.vector_stores.files.create(store.id, file_id=file.id)
    with pytest.raises(openai.BadRequestError, match=words):
        mine.vector_stores.file_batches.create(store.id, file_ids=[file.id])
    with pytest.raises(openai.BadRequestError, match=words):
        mine.vector_stores.update(store.id, expires_after=None)
    assert mine.vector_stores.delete(store.id).deleted


def test_what_has_expired_is_emptied(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "EXPIRY_SECONDS", 0.1)
    with running(tmp_path_factory.mktemp("expiring")) as server, client_of(server) as client:
        kept = client.vector_stores.create()
        store = client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})
        for one in (kept, store):
            put(client, one.id, prose(2000))
        later(monkeypatch, DAY)
        assert until(lambda: not client.vector_stores.files.list(store.id).data)
        over = client.vector_stores.retrieve(store.id)
        assert (over.status, over.file_counts.total, over.usage_bytes) == ("expired", 0, 0)
        seqs = {row["store_seq"] for row in rows(url(server), sa.select(vector_store_chunks.c.store_seq).distinct())}
        assert len(seqs) == 1
        assert client.vector_stores.retrieve(kept.id).file_counts.completed == 1


# Files


def test_a_file_is_put_in_and_can_be_read(mine: openai.OpenAI, store: str) -> None:
    content = prose(5000)
    file = mine.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=("numbers.md", content.encode()), attributes={"author": "Ann", "year": 2026}
    )
    assert (file.status, file.last_error, file.vector_store_id) == ("completed", None, store)
    assert file.usage_bytes > len(content)
    assert file.attributes == {"author": "Ann", "year": 2026}
    assert file.chunking_strategy is not None
    assert file.chunking_strategy.model_dump() == {
        "type": "static",
        "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
    }
    assert mine.vector_stores.files.retrieve(file.id, vector_store_id=store) == file
    assert text(mine, store, file.id) == content


def test_polling_is_told_to_look_again_soon(owning: Running, mine: openai.OpenAI, store: str) -> None:
    file = upload(mine)
    batch = mine.vector_stores.file_batches.create(store, file_ids=[file])
    for path in (f"files/{file}", f"file_batches/{batch.id}"):
        answer = raw.ask(owning, "GET", f"/v1/vector_stores/{store}/{path}")
        assert 0 < int(answer.headers["openai-poll-after-ms"]) <= 250


def test_files_are_listed_by_status_and_in_pages(mine: openai.OpenAI, store: str) -> None:
    good = [put(mine, store, f"text {number}").id for number in range(3)]
    bad = [put(mine, store, PROGRAM, f"{number}.bin").id for number in range(2)]
    listed = mine.vector_stores.files.list
    newest = [*bad[::-1], *good[::-1]]
    assert ids(listed(store)) == newest
    assert ids(listed(store, filter="completed", limit=2)) == newest[2:]
    assert ids(listed(store, filter="failed", order="asc")) == bad
    assert ids(listed(store, filter="cancelled")) == ids(listed(store, filter="in_progress")) == []
    assert ids(listed(store, limit=2, after=newest[1]).data) == newest[2:4]
    assert ids(listed(store, limit=2, before=newest[3]).data) == newest[1:3]
    counted = mine.vector_stores.retrieve(store)
    assert (counted.status, counts(counted.file_counts)) == ("completed", {"completed": 3, "failed": 2})


def test_attributes_are_replaced_as_a_whole(owning: Running, mine: openai.OpenAI, store: str) -> None:
    file = put(mine, store, "hello", attributes={"a": "x", "b": True})
    assert file.attributes == {"a": "x", "b": True}
    before = generation(owning, store)
    changed = mine.vector_stores.files.update(file.id, vector_store_id=store, attributes={"c": 2.5})
    assert changed.attributes == {"c": 2.5}
    assert generation(owning, store) > before
    assert mine.vector_stores.files.update(file.id, vector_store_id=store, attributes=None).attributes == {}
    assert mine.vector_stores.files.retrieve(file.id, vector_store_id=store).status == "completed"


@pytest.mark.parametrize(
    ("attributes", "param"),
    [
        ({str(number): 1 for number in range(17)}, "attributes"),
        ({"k" * 65: 1}, f"attributes.{'k' * 64}"),
        ({"k": "v" * 513}, "attributes.k"),
        ({"k": "a\0b"}, "attributes.k"),
        ({"k": None}, "attributes"),
        ({"k": [1]}, "attributes"),
        ([], "attributes"),
    ],
)
def test_what_attributes_cannot_be(
    owning: Running, mine: openai.OpenAI, store: str, attributes: Any, param: str
) -> None:
    file = upload(mine)
    path = f"/v1/vector_stores/{store}/files"
    assert refused(owning, path, {"file_id": file, "attributes": attributes})["param"] == param
    batch = {"file_ids": [file], "attributes": attributes}
    assert refused(owning, f"/v1/vector_stores/{store}/file_batches", batch)["param"] == param
    assert not mine.vector_stores.files.list(store).data


def test_sixteen_of_the_longest_attributes_are_kept(mine: openai.OpenAI, store: str) -> None:
    attributes: Any = {f"{number:064}": "ü" * 512 for number in range(16)}
    file = mine.vector_stores.files.create(store, file_id=upload(mine), attributes=attributes)
    assert file.attributes == attributes


def test_a_file_that_is_put_in_again_is_there_once(owning: Running, mine: openai.OpenAI, store: str) -> None:
    file = put(mine, store, prose(500), attributes={"a": 1})
    first = rows(url(owning), sa.select(vector_store_files.c.seq).where(vector_store_files.c.file_id == file.id))
    again = mine.vector_stores.files.create(store, file_id=file.id)
    assert again == file
    changed = mine.vector_stores.files.create(store, file_id=file.id, attributes={"a": 2}, chunking_strategy=AUTO)
    assert (changed.status, changed.attributes) == ("completed", {"a": 2})
    assert (
        rows(url(owning), sa.select(vector_store_files.c.seq).where(vector_store_files.c.file_id == file.id)) == first
    )
    anew = mine.vector_stores.files.create(store, file_id=file.id, chunking_strategy=STATIC)
    assert (anew.status, anew.attributes, anew.usage_bytes) == ("in_progress", {}, 0)
    assert ended(mine, store, file.id).usage_bytes > file.usage_bytes
    assert text(mine, store, file.id) == prose(500)
    assert ids(mine.vector_stores.files.list(store)) == [file.id]


def test_a_file_that_is_taken_out_stays_a_file(owning: Running, mine: openai.OpenAI, store: str) -> None:
    file = put(mine, store, "hello")
    before = generation(owning, store)
    deleted = mine.vector_stores.files.delete(file.id, vector_store_id=store)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "vector_store.file.deleted", True)
    assert generation(owning, store) > before
    for ask in (mine.vector_stores.files.retrieve, mine.vector_stores.files.delete, mine.vector_stores.files.content):
        with pytest.raises(openai.NotFoundError, match=f"No file found with id '{file.id}' in vector store '{store}'"):
            ask(file.id, vector_store_id=store)
    assert mine.files.content(file.id).content == b"hello"
    assert mine.vector_stores.retrieve(store).usage_bytes == 0


def test_a_deleted_file_is_in_no_store_any_more(owning: Running, mine: openai.OpenAI) -> None:
    stores = [mine.vector_stores.create().id for _ in range(2)]
    file = put(mine, stores[0], "hello").id
    mine.vector_stores.files.create(stores[1], file_id=file)
    ended(mine, stores[1], file)
    before = [generation(owning, store) for store in stores]
    mine.files.delete(file)
    assert all(generation(owning, store) > old for store, old in zip(stores, before, strict=True))
    for store in stores:
        assert mine.vector_stores.retrieve(store).file_counts.total == 0


def test_an_expired_file_is_in_no_store_any_more(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "EXPIRY_SECONDS", 0.1)
    with running(tmp_path_factory.mktemp("expiring")) as server, client_of(server) as client:
        store = client.vector_stores.create().id
        life: Any = {"anchor": "created_at", "seconds": 3600}
        file = client.files.create(file=("a.txt", b"hello"), purpose="assistants", expires_after=life).id
        client.vector_stores.files.create(store, file_id=file)
        assert ended(client, store, file).status == "completed"
        before = generation(server, store)
        later(monkeypatch, 3601, "control.files")
        assert until(lambda: client.vector_stores.retrieve(store).file_counts.total == 0)
        assert generation(server, store) > before


def test_content_is_told_once_it_was_read(mine: openai.OpenAI, store: str) -> None:
    bad = put(mine, store, PROGRAM, "a.bin")
    assert bad.status == "failed"
    with pytest.raises(openai.BadRequestError, match="it is 'failed'"):
        mine.vector_stores.files.content(bad.id, vector_store_id=store)


def test_a_store_has_room_for_so_many_files(
    owning: Running, mine: openai.OpenAI, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_store_states, "MOST_FILES", 3)
    files = [upload(mine, f"text {number}") for number in range(5)]
    mine.vector_stores.file_batches.create(store, file_ids=files[:3])
    error = refused(owning, f"/v1/vector_stores/{store}/files", {"file_id": files[3]})
    assert (error["code"], "may have 3 files" in error["message"]) == ("vector_store_full", True)
    mine.vector_stores.files.create(store, file_id=files[0])  # which is in it
    mine.vector_stores.files.delete(files[0], vector_store_id=store)
    mine.vector_stores.files.create(store, file_id=files[3])


def generation(server: Running, store: str) -> int:
    (row,) = rows(url(server), sa.select(vector_stores.c.generation).where(vector_stores.c.id == store))
    found: int = row["generation"]
    return found


# Batches


def test_a_batch_of_files_is_one_thing_to_wait_for(mine: openai.OpenAI, store: str) -> None:
    files = [upload(mine, f"text {number}") for number in range(20)]
    batch = mine.vector_stores.file_batches.create(
        store, file_ids=files, attributes={"of": "all"}, chunking_strategy=STATIC
    )
    assert batch.id.startswith("vsfb_")
    assert (batch.object, batch.vector_store_id) == ("vector_store.files_batch", store)
    assert (batch.status, counts(batch.file_counts)) == ("in_progress", {"in_progress": 20})
    done = mine.vector_stores.file_batches.poll(batch.id, vector_store_id=store)
    assert (done.status, counts(done.file_counts), done.file_counts.total) == ("completed", {"completed": 20}, 20)
    found = list(mine.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, limit=7))
    assert sorted(ids(found)) == sorted(files)
    assert {json.dumps(one.attributes) for one in found} == {'{"of": "all"}'}
    one = mine.vector_stores.files.create(store, file_id=upload(mine)).id
    assert one not in ids(mine.vector_stores.file_batches.list_files(batch.id, vector_store_id=store))
    assert mine.vector_stores.retrieve(store).file_counts.total == 21


def test_each_file_of_a_batch_may_have_its_own(owning: Running, mine: openai.OpenAI, store: str) -> None:
    first, second = upload(mine), upload(mine)
    files = [{"file_id": first, "attributes": {"n": 1}}, {"file_id": second, "chunking_strategy": STATIC}]
    body = {"files": files, "attributes": {"ignored": True}, "chunking_strategy": AUTO}
    answer = raw.ask(owning, "POST", f"/v1/vector_stores/{store}/file_batches", body)
    assert answer.status == 200, answer.body
    found = {one.id: one for one in mine.vector_stores.files.list(store)}
    assert (found[first].attributes, found[second].attributes) == ({"n": 1}, {})
    sizes = [found[one].chunking_strategy.static.max_chunk_size_tokens for one in (first, second)]  # type: ignore[union-attr]
    assert sizes == [800, 100]


def test_a_batch_of_which_all_fail_has_failed(mine: openai.OpenAI, store: str) -> None:
    bad = [upload(mine, PROGRAM, f"{number}.bin") for number in range(2)]
    batch = mine.vector_stores.file_batches.create_and_poll(store, file_ids=bad)
    assert (batch.status, counts(batch.file_counts)) == ("failed", {"failed": 2})
    batch = mine.vector_stores.file_batches.create_and_poll(store, file_ids=[*bad, upload(mine)])
    assert (batch.status, counts(batch.file_counts)) == ("completed", {"completed": 1, "failed": 2})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file_ids"),
        ({"file_ids": []}, "file_ids"),
        ({"files": []}, "files"),
        ({"file_ids": ["file-a"], "files": [{"file_id": "file-a"}]}, "file_ids"),
        ({"file_ids": ["file-a"] * 2001}, "file_ids"),
        ({"files": [{"file_id": "file-a"}] * 2001}, "files"),
        ({"files": [{"attributes": {}}]}, "files[0].file_id"),
    ],
)
def test_what_is_no_batch(owning: Running, store: str, body: Any, param: str) -> None:
    assert refused(owning, f"/v1/vector_stores/{store}/file_batches", body)["param"] == param


def test_a_batch_with_a_file_that_is_not_there_puts_in_nothing(mine: openai.OpenAI, store: str) -> None:
    with pytest.raises(openai.NotFoundError, match="No such File object: file-nothing"):
        mine.vector_stores.file_batches.create(store, file_ids=[upload(mine), "file-nothing"])
    assert mine.vector_stores.retrieve(store).file_counts.total == 0


def test_two_thousand_files_are_one_request(owning: Running, mine: openai.OpenAI, store: str) -> None:
    """With attributes they are more than other bodies may be."""
    file = upload(mine)
    wanted = {"file_id": file, "attributes": {f"{number:064}": "x" * 512 for number in range(16)}}
    answer = raw.ask(owning, "POST", f"/v1/vector_stores/{store}/file_batches", {"files": [wanted] * 2000})
    assert answer.status == 200, answer.body
    assert answer.json["file_counts"]["total"] == 1


# Whose they are, and how they are shown


def test_for_others_they_are_not_there(mine: openai.OpenAI, theirs: openai.OpenAI, store: str) -> None:
    file, strange = put(mine, store, "hello").id, upload(theirs)
    batch = mine.vector_stores.file_batches.create(store, file_ids=[file]).id
    asks: list[Any] = [
        lambda: theirs.vector_stores.retrieve(store),
        lambda: theirs.vector_stores.update(store, name="mine"),
        lambda: theirs.vector_stores.delete(store),
        lambda: theirs.vector_stores.files.create(store, file_id=strange),
        lambda: theirs.vector_stores.files.list(store),
        lambda: theirs.vector_stores.files.retrieve(file, vector_store_id=store),
        lambda: theirs.vector_stores.files.update(file, vector_store_id=store, attributes={}),
        lambda: theirs.vector_stores.files.delete(file, vector_store_id=store),
        lambda: theirs.vector_stores.files.content(file, vector_store_id=store),
        lambda: theirs.vector_stores.file_batches.create(store, file_ids=[strange]),
        lambda: theirs.vector_stores.file_batches.retrieve(batch, vector_store_id=store),
        lambda: theirs.vector_stores.file_batches.list_files(batch, vector_store_id=store),
        lambda: theirs.vector_stores.file_batches.cancel(batch, vector_store_id=store),
        lambda: theirs.vector_stores.create(file_ids=[file]),
        lambda: mine.vector_stores.files.create(store, file_id=strange),
    ]
    for ask in asks:
        with pytest.raises(openai.NotFoundError):
            ask()
    assert store not in ids(theirs.vector_stores.list(limit=100).data)
    assert mine.vector_stores.retrieve(store).file_counts.total == 1
    other = mine.vector_stores.create().id
    with pytest.raises(openai.NotFoundError, match="No file batch found"):
        mine.vector_stores.file_batches.retrieve(batch, vector_store_id=other)


def test_what_a_key_must_be_allowed(owning: Running) -> None:
    project = new_project(owning, "readers")
    reader = client_of(owning, new_key(owning, project, scopes=["vector_stores.read"]))
    writer = client_of(owning, new_key(owning, project, scopes=["vector_stores.write"]))
    with pytest.raises(openai.PermissionDeniedError):
        reader.vector_stores.create()
    store = writer.vector_stores.create().id
    assert reader.vector_stores.retrieve(store).id == store
    with pytest.raises(openai.PermissionDeniedError):
        writer.vector_stores.retrieve(store)


@pytest.mark.parametrize("name", [openapi.NEWEST, openapi.OF_2024])
def test_its_objects_are_the_descriptions(owning: Running, mine: openai.OpenAI, name: str) -> None:
    good, bad = upload(mine), upload(mine, PROGRAM, "a.bin")
    body = {"file_ids": [good, bad], "expires_after": {"anchor": "last_active_at", "days": 3}, "metadata": {"a": "b"}}
    made = raw.ask(owning, "POST", NEW_STORES, body).json
    openapi.validate("VectorStoreObject", made, name)
    store = f"{NEW_STORES}/{made['id']}"
    for file in (good, bad):
        ended(mine, made["id"], file)
        openapi.validate("VectorStoreFileObject", raw.ask(owning, "GET", f"{store}/files/{file}").json, name)
    openapi.validate("ListVectorStoreFilesResponse", raw.ask(owning, "GET", f"{store}/files").json, name)
    openapi.validate("ListVectorStoresResponse", raw.ask(owning, "GET", f"{NEW_STORES}?limit=3").json, name)
    batch = raw.ask(owning, "POST", f"{store}/file_batches", {"file_ids": [good]}).json
    openapi.validate("VectorStoreFileBatchObject", batch, name)
    one = raw.ask(owning, "GET", f"{store}/file_batches/{batch['id']}/files").json
    openapi.validate("ListVectorStoreFilesResponse", one, name)
    if name == openapi.NEWEST:
        content = raw.ask(owning, "GET", f"{store}/files/{good}/content").json
        openapi.validate("VectorStoreFileContentResponse", content, name)
        assert set(content) == openapi.properties("VectorStoreFileContentResponse")
        assert openapi.properties("VectorStoreObject") <= set(made)
    deleted = raw.ask(owning, "DELETE", f"{store}/files/{good}").json
    openapi.validate("DeleteVectorStoreFileResponse", deleted, name)
    openapi.validate("DeleteVectorStoreResponse", raw.ask(owning, "DELETE", store).json, name)


def test_a_request_that_is_sent_twice_is_done_once(owning: Running, mine: openai.OpenAI) -> None:
    headers: dict[str, str | None] = {"Idempotency-Key": "store-of-today"}
    first = raw.ask(owning, "POST", NEW_STORES, {"name": "once"}, headers)
    again = raw.ask(owning, "POST", NEW_STORES, {"name": "once"}, headers)
    assert first.json["id"] == again.json["id"]


def test_azures_clients_find_the_same(owning: Running, mine: openai.OpenAI, store: str) -> None:
    azure = openai.AzureOpenAI(azure_endpoint=owning.url, api_key=KEY, api_version="2024-10-21", max_retries=0)
    with azure:
        assert azure.vector_stores.retrieve(store).id == store
        file = azure.vector_stores.files.create(store, file_id=upload(mine)).id
        assert ended(mine, store, file).status == "completed"
        assert ids(azure.vector_stores.files.list(store)) == [file]
        assert azure.vector_stores.delete(store).deleted


def test_a_client_of_the_beta_is_served(owning: Running, store: str) -> None:
    answer = raw.ask(owning, "GET", f"{NEW_STORES}/{store}", headers={"OpenAI-Beta": "assistants=v2"})
    assert answer.json["id"] == store


def test_many_who_change_the_same_do_no_harm(owning: Running, mine: openai.OpenAI) -> None:
    """Files are put in, cut anew, taken out and deleted, stores and batches too, by many at once."""
    stores = [mine.vector_stores.create().id for _ in range(2)]
    files = [upload(mine, prose(200, seed=str(number))) for number in range(4)]
    seen: list[str] = []
    others = [one["seq"] for one in rows(url(owning), sa.select(jobs.c.seq))]  # of tests before, some of which wait

    def change(number: int) -> None:
        chance = random.Random(number)
        with client_of(owning) as client:
            inside = client.vector_stores
            for _ in range(12):
                store, file = chance.choice(stores), chance.choice(files)
                changes: list[Any] = [
                    lambda store=store, file=file: inside.files.create(store, file_id=file, attributes={"by": number}),
                    lambda store=store, file=file: inside.files.create(store, file_id=file, chunking_strategy=STATIC),
                    lambda store=store: inside.file_batches.create(store, file_ids=chance.sample(files, 3)),
                    lambda store=store: inside.file_batches.cancel(
                        inside.file_batches.create(store, file_ids=chance.sample(files, 2)).id, vector_store_id=store
                    ),
                    lambda store=store, file=file: inside.files.update(file, vector_store_id=store, attributes={}),
                    lambda store=store, file=file: inside.files.delete(file, vector_store_id=store),
                    lambda store=store: inside.update(store, metadata={"by": str(number)}),
                    lambda: client.files.delete(files[0]),
                    lambda: inside.delete(inside.create(file_ids=chance.sample(files, 2)).id),
                ]
                try:
                    chance.choice(changes)()
                except openai.NotFoundError:
                    pass  # another one was faster
                except openai.APIError as error:
                    seen.append(str(error))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not seen
    ours = sa.select(jobs).where(jobs.c.lane == "ingestion", jobs.c.seq.not_in(others))
    assert until(lambda: not rows(url(owning), ours), 90)
    for store in stores:
        for file in mine.vector_stores.files.list(store):
            assert file.status in ("completed", "cancelled")
            if file.status == "completed":
                assert len(text(mine, store, file.id)) > 100
    orphans = sa.select(vector_store_chunks.c.seq).join(
        vector_store_files, vector_store_files.c.seq == vector_store_chunks.c.file_seq
    )
    assert not rows(url(owning), orphans.where(vector_store_files.c.status != "completed"))
