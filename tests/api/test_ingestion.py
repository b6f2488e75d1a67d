"""Files on their way into vector stores: what is asked of the model, and what happens when something is wrong with the
model, the key, the disk, or when nobody wants the file any more."""

import json
import math
import select
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport.errors import StorageFull
from homeport.jobs import batch_lines, ingestion, worker
from homeport.store.staged import Staged
from homeport.store.tables import jobs, vector_store_chunks
from tests.api import raw
from tests.api.test_permissions import new_key
from tests.documents import made
from tests.fake_upstream import Visit, answer_well, embeddings, until, whole
from tests.server import KEY, running
from tests.stores import PROGRAM, chunks, ended, prose, put, rows, text, upload
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

MODEL = "far-embeddings"
SETTINGS: dict[str, Any] = {
    "vector_stores": {"embedding_model": MODEL},
    "documents": {"memory_mb": 400},
    "prices": {MODEL: {"input": "2", "output": "0", "half_in_batch": True}},
}
#: Of a chunk: small ones make many of a short text.
SMALL: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with relaying(tmp_path, SETTINGS) as made:
        yield made


@pytest.fixture
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


@pytest.fixture
def store(client: openai.OpenAI) -> str:
    return client.vector_stores.create().id


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits does not wait for long."""
    monkeypatch.setattr(batch_lines, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(ingestion, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(ingestion, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(worker, "_FIRST_REST", 0.01)
    monkeypatch.setattr(worker, "_FACTOR", 1.0)


def url(relay: Relay) -> str:
    return f"sqlite:///{relay.homeport.data / 'state.db'}"


def inputs(relay: Relay) -> list[list[str]]:
    """Of all requests for vectors, in the order in which they came."""
    return [visit.json["input"] for visit in relay.fake.received_for(MODEL)]


class Gate:
    """The upstream answers as well as ever, once it is open."""

    def __init__(self, relay: Relay) -> None:
        self._opened = threading.Event()
        relay.fake.by_model[MODEL] = self._behave

    def open(self) -> None:
        self._opened.set()

    def _behave(self, visit: Visit) -> None:
        while not self._opened.wait(0.02):
            if select.select([visit.socket], [], [], 0)[0]:
                return  # who asked has gone
        answer_well(visit)


# What is asked, and what comes of it


def test_chunks_are_made_vectors_a_block_at_a_time(relay: Relay, client: openai.OpenAI, store: str) -> None:
    content = prose(10_000)
    file = put(client, store, content, chunking_strategy=SMALL)
    assert file.status == "completed"
    found = chunks(url(relay), file.id)
    assert [one["number"] for one in found] == list(range(len(found)))
    assert all(one["text"] == content[one["begins"] : one["ends"]] for one in found)
    assert text(client, store, file.id) == content
    assert len(found) > 2 * ingestion.BLOCK
    asked = inputs(relay)
    assert max(map(len, asked)) == ingestion.HALF
    assert sorted(one for some in asked for one in some) == sorted(one["text"] for one in found)
    blocks, rest = divmod(len(found), ingestion.BLOCK)
    assert len(asked) == 2 * blocks + (2 if rest > ingestion.HALF else 1 if rest else 0)
    for one in found:
        numbers = struct.unpack("<4f", one["vectors"])
        assert math.hypot(*numbers) == pytest.approx(1, abs=1e-6)
    letters = found[0]["text"]
    by_hand = [len(letters) / 8, sum(map(ord, letters)) % 1000 / 16, 0.5, -0.25]
    assert struct.unpack("<4f", found[0]["vectors"]) == pytest.approx([one / math.hypot(*by_hand) for one in by_hand])
    assert file.usage_bytes == sum(len(one["text"].encode()) + len(one["vectors"]) for one in found)


def test_it_is_charged_in_full_on_the_account_of_the_key_that_asked(
    relay: Relay, client: openai.OpenAI, store: str
) -> None:
    secret = new_key(relay.homeport, client_of_admin(relay))
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key=secret, max_retries=0) as other:
        file = put(other, store, "one two three")
    assert file.status == "completed"
    (row,) = relay.rows(MODEL)
    key = raw.ask(relay.homeport, "GET", "/v1/organization/projects").json["data"][0]["id"]
    assert (row["project_id"], row["batch"], row["prompt_tokens"]) == (key, 0, 3)
    assert row["cost_pico"] == 3 * 2_000_000  # of two dollars for a million tokens
    mine = raw.ask(relay.homeport, "GET", f"/v1/organization/projects/{key}/api_keys?limit=100").json["data"]
    assert row["key_id"] in {one["id"] for one in mine if one["name"] == "k"}


def client_of_admin(relay: Relay) -> openai.OpenAI:
    return openai.OpenAI(base_url=relay.homeport.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0)


def test_its_requests_take_nothing_of_the_limits_a_minute(tmp_path: Path) -> None:
    tiers = {"home": {MODEL: {"max_requests_per_1_minute": 1}}}
    with relaying(tmp_path, {**SETTINGS, "tiers": tiers}) as relay, relay.client() as client:
        store = client.vector_stores.create().id
        assert put(client, store, prose(6000), chunking_strategy=SMALL).status == "completed"
        assert len(inputs(relay)) > 2
        client.embeddings.create(model=MODEL, input="now")
        with pytest.raises(openai.RateLimitError):
            client.embeddings.create(model=MODEL, input="and again")


def test_a_text_that_is_longer_than_the_model_reads_has_several_vectors(
    relay: Relay, client: openai.OpenAI, store: str
) -> None:
    relay.fake.by_model[MODEL] = reads(at_most=900)
    content = prose(3000)
    file = put(client, store, content)
    assert file.status == "completed"
    found = chunks(url(relay), file.id)
    vectors = [len(one["vectors"]) // 16 for one in found]
    assert all(1 < one < 8 for one in vectors[:-1])
    refused = [some for some in inputs(relay) if max(map(len, some)) > 900]
    assert 0 < len(refused) <= 3  # how long they may be is learnt once for a file
    assert text(client, store, file.id) == content


def reads(at_most: int) -> Any:
    """An upstream whose model reads so many characters, and says so in OpenAI's words."""

    def behave(visit: Visit) -> None:
        for at, one in enumerate(visit.json["input"]):
            if len(one) > at_most:
                message = (
                    f"This model's maximum context length is {at_most} tokens, however you requested {len(one)} tokens "
                    f"in input[{at}]. Please reduce the length of the input."
                )
                visit.send(whole(json.dumps({"error": {"message": message, "code": None}}).encode(), 400))
                return
        visit.send(whole(embeddings(visit)))

    return behave


def test_a_model_of_this_machine_cuts_as_well(tmp_path: Path) -> None:
    models = {"small": {"engine": "echo", "context_length": 300}}
    settings = {"models": models, "vector_stores": {"embedding_model": "small"}}
    with running(tmp_path, settings) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
        with client:
            store = client.vector_stores.create().id
            file = put(client, store, prose(2000))
        assert (file.status, file.last_error) == ("completed", None)
        found = chunks(f"sqlite:///{tmp_path / 'state.db'}")
        assert min(len(one["vectors"]) for one in found[:-1]) >= 4 * 1024


# When the model is away, or does not do it


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "fault",
    [faults.status(503), faults.status(429), faults.status(500), faults.raw(b""), faults.html(502)],
    ids=["503", "429", "500", "hangs up", "502"],
)
def test_an_upstream_that_is_away_for_a_while_is_waited_for(
    relay: Relay, client: openai.OpenAI, store: str, fault: Any
) -> None:
    relay.fake.script.extend([fault] * 3)
    assert put(client, store, "hello there").status == "completed"
    assert len(inputs(relay)) == 4


@pytest.mark.usefixtures("hasty")
def test_what_waits_for_long_leaves_its_place_to_others(
    relay: Relay, client: openai.OpenAI, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "PATIENCE", 0.0)
    monkeypatch.setattr(ingestion, "REST", 0.05)
    relay.fake.script.extend([faults.status(503)] * 12)
    files = [upload(client, f"text {number}") for number in range(6)]
    batch = client.vector_stores.file_batches.create_and_poll(store, file_ids=files)
    assert (batch.status, batch.file_counts.completed) == ("completed", 6)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [401, 403, 404, 400])
def test_a_refusal_ends_the_file_and_tells_no_secret(
    relay: Relay, client: openai.OpenAI, store: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    words = f"Incorrect API key provided: {UPSTREAM_KEY}. The text was: a private matter."
    relay.fake.by_model[MODEL] = faults.status(status, {"message": words, "code": "its_code"})
    file = put(client, store, "a private matter")
    assert (file.status, file.usage_bytes) == ("failed", 0)
    assert file.last_error is not None
    assert file.last_error.code == "server_error"
    assert MODEL in file.last_error.message
    told = file.last_error.message + caplog.text
    assert UPSTREAM_KEY not in told
    assert "private matter" not in told
    if status in (400, 404):
        assert f"({status}, its_code)" in file.last_error.message
    assert len(inputs(relay)) == 1
    assert client.vector_stores.retrieve(store).status == "completed"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"[",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": "!"}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}]}',
        b'{"data": [{"index": 0, "embedding": ["x"]}]}',
    ],
)
def test_nonsense_is_not_taken_for_vectors(relay: Relay, client: openai.OpenAI, store: str, answer: bytes) -> None:
    relay.fake.by_model[MODEL] = lambda visit: visit.send(whole(answer))
    file = put(client, store, "hello there")
    assert file.status == "failed"
    assert file.last_error is not None
    assert file.last_error.code == "server_error"
    assert not chunks(url(relay))


@pytest.mark.usefixtures("hasty")
def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with running(tmp_path, {"vector_stores": {"embedding_model": "nobody"}}) as server:
        with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
            file = put(client, client.vector_stores.create().id, "hello")
    assert file.last_error is not None
    assert "The model `nobody` does not exist" in file.last_error.message


@pytest.mark.usefixtures("hasty")
def test_a_key_that_may_not_use_the_model(relay: Relay, client: openai.OpenAI, store: str) -> None:
    secret = new_key(relay.homeport, client_of_admin(relay), models=["another"])
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key=secret, max_retries=0) as other:
        file = put(other, store, "hello")
    assert file.status == "failed"
    assert file.last_error is not None
    assert f"does not have access to model `{MODEL}`" in file.last_error.message
    assert not inputs(relay)


@pytest.mark.usefixtures("hasty")
def test_a_key_that_is_revoked_meanwhile(relay: Relay, client: openai.OpenAI, store: str) -> None:
    gate = Gate(relay)
    admin = client_of_admin(relay)
    project = next(iter(admin.admin.organization.projects.list())).id
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = raw.ask(relay.homeport, "POST", path, {"name": "short"}).json
    assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=made["value"]).status != 401)
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key=made["value"], max_retries=0) as other:
        file = upload(other, prose(6000))
        other.vector_stores.files.create(store, file_id=file, chunking_strategy=SMALL)
    assert until(lambda: len(inputs(relay)) == 2)
    answer = raw.ask(relay.homeport, "DELETE", f"/v1/organization/projects/{project}/api_keys/{made['id']}")
    assert answer.status == 200
    gate.open()
    found = ended(client, store, file)
    assert found.status == "failed"
    assert found.last_error is not None
    assert "The API key that asked for this has been revoked" in found.last_error.message
    assert not chunks(url(relay))


@pytest.mark.usefixtures("hasty")
def test_vectors_of_two_models_are_not_mixed(relay: Relay, client: openai.OpenAI, store: str) -> None:
    assert put(client, store, "hello").status == "completed"

    def another(visit: Visit) -> None:
        answer = json.loads(embeddings(visit))
        visit.send(whole(json.dumps({**answer, "model": "somebody-else"}).encode()))

    relay.fake.by_model[MODEL] = another
    file = put(client, store, "hello again")
    assert (file.status, file.last_error and file.last_error.code) == ("failed", "server_error")
    assert file.last_error is not None
    assert f"were made by `{MODEL}-2024`" in file.last_error.message
    assert put(client, client.vector_stores.create().id, "hello").status == "completed"


# When nobody wants it any more


def in_the_middle(relay: Relay, client: openai.OpenAI, store: str) -> tuple[str, Gate]:
    """A file that has begun to come in: one block of it is there."""
    file = upload(client, prose(10_000))
    behaving = relay.fake.by_model.pop(MODEL, answer_well)
    gate = Gate(relay)
    relay.fake.script.extend([behaving, behaving])
    client.vector_stores.files.create(store, file_id=file, chunking_strategy=SMALL)
    assert until(lambda: len(chunks(url(relay), file)) == ingestion.BLOCK and len(inputs(relay)) >= 4)
    return file, gate


def nothing_is_left(relay: Relay) -> bool:
    """Neither a chunk nor a job."""
    left = rows(url(relay), sa.select(jobs).where(jobs.c.lane == "ingestion"))
    return not left and not rows(url(relay), sa.select(vector_store_chunks.c.seq))


@pytest.mark.parametrize("what", ["taken out", "deleted", "its store", "cancelled", "put in anew"])
def test_a_file_that_nobody_wants_any_more(relay: Relay, client: openai.OpenAI, store: str, what: str) -> None:
    file, gate = in_the_middle(relay, client, store)
    if what == "taken out":
        client.vector_stores.files.delete(file, vector_store_id=store)
    elif what == "deleted":
        client.files.delete(file)
    elif what == "its store":
        client.vector_stores.delete(store)
    elif what == "cancelled":
        batch = client.vector_stores.file_batches.create(store, file_ids=[file], chunking_strategy=SMALL)
        cancelled = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)
        assert (cancelled.status, cancelled.file_counts.cancelled) == ("cancelled", 1)
    else:
        other: Any = {"type": "static", "static": {"max_chunk_size_tokens": 4000, "chunk_overlap_tokens": 0}}
        client.vector_stores.files.create(store, file_id=file, chunking_strategy=other)
    gate.open()
    if what == "put in anew":
        assert ended(client, store, file).status == "completed"
        assert len(chunks(url(relay))) == len(chunks(url(relay), file)) < 10
        return
    assert until(lambda: nothing_is_left(relay))
    if what == "cancelled":
        found = client.vector_stores.files.retrieve(file, vector_store_id=store)
        assert (found.status, found.last_error, found.usage_bytes) == ("cancelled", None, 0)


def test_a_cancelled_batch_keeps_what_was_done(relay: Relay, client: openai.OpenAI, store: str) -> None:
    done = put(client, store, "hello").id
    gate = Gate(relay)
    files = [upload(client, f"text {number}") for number in range(10)]
    batch = client.vector_stores.file_batches.create(store, file_ids=[done, *files])
    cancelled = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)
    assert (cancelled.status, cancelled.file_counts.completed) == ("cancelled", 1)
    assert (cancelled.file_counts.cancelled, cancelled.file_counts.total) == (10, 11)
    gate.open()
    assert until(lambda: not rows(url(relay), sa.select(jobs).where(jobs.c.lane == "ingestion")))
    assert client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store) == cancelled
    assert client.vector_stores.files.create(store, file_id=files[0]).status == "in_progress"
    assert ended(client, store, files[0]).status == "completed"
    over = client.vector_stores.file_batches.create_and_poll(store, file_ids=[files[0]])
    assert client.vector_stores.file_batches.cancel(over.id, vector_store_id=store).status == "completed"


# When something is wrong here


@pytest.mark.usefixtures("hasty")
def test_a_disk_that_is_full(relay: Relay, client: openai.OpenAI, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "REST", 0.05)
    finish, times = Staged.finish, []
    file = upload(client)

    async def full(self: Staged) -> None:
        times.append(1)
        raise StorageFull("There is no room left.")

    monkeypatch.setattr(Staged, "finish", full)
    client.vector_stores.files.create(store, file_id=file)
    assert until(lambda: len(times) > 2)
    assert client.vector_stores.files.retrieve(file, vector_store_id=store).status == "in_progress"
    monkeypatch.setattr(Staged, "finish", finish)
    assert ended(client, store, file).status == "completed"


@pytest.mark.usefixtures("hasty")
def test_bytes_that_are_missing(relay: Relay, client: openai.OpenAI, store: str) -> None:
    file = upload(client, "soon to be gone")
    for blob in (relay.homeport.data / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    client.vector_stores.files.create(store, file_id=file)
    found = ended(client, store, file)
    assert found.last_error is not None
    assert (found.status, found.last_error.code) == ("failed", "server_error")
    assert "content of this file is missing" in found.last_error.message


@pytest.mark.usefixtures("hasty")
def test_a_bug_of_ours_costs_one_file(
    relay: Relay, client: openai.OpenAI, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ingestion.Ingestion._read

    async def fails(self: Any, file: Any) -> Any:
        if file["filename"] == "b.txt":
            raise RuntimeError("a bug of ours")
        return await read(self, file)

    monkeypatch.setattr(ingestion.Ingestion, "_read", fails)
    files = [upload(client, "hello", name) for name in ("a.txt", "b.txt", "c.txt")]
    batch = client.vector_stores.file_batches.create_and_poll(store, file_ids=files)
    assert (batch.file_counts.completed, batch.file_counts.failed) == (2, 1)
    found = client.vector_stores.files.retrieve(files[1], vector_store_id=store)
    assert found.last_error is not None
    assert (found.last_error.code, found.last_error.message) == ("server_error", ingestion.BROKEN)


def test_a_file_without_text(client: openai.OpenAI, store: str) -> None:
    found = put(client, store, b" \n \n")
    assert (found.status, found.last_error and found.last_error.code) == ("failed", "invalid_file")


def test_files_that_are_hostile_cost_themselves(relay: Relay, client: openai.OpenAI, store: str) -> None:
    bomb = made.pdf_of([made.deflated(b" " * 2**20, 500)], packed=True)
    files = [upload(client, made.pdf([["page one"]])[:-300], "cut.pdf"), upload(client, bomb, "bomb.pdf")]
    files += [upload(client, PROGRAM, "notes.txt"), upload(client, made.pdf([["The notice period"], ["is a month."]]))]
    batch = client.vector_stores.file_batches.create_and_poll(store, file_ids=files)
    assert (batch.status, batch.file_counts.total) == ("completed", 4)
    found = [client.vector_stores.files.retrieve(one, vector_store_id=store) for one in files]
    told = [(one.status, one.last_error and one.last_error.code) for one in found]
    assert told[1:] == [("failed", "invalid_file"), ("failed", "unsupported_file"), ("completed", None)]
    assert text(client, store, files[3]) == "The notice period\n\nis a month."
    assert [one["page"] for one in chunks(url(relay), files[3])] == [1]


def test_a_server_that_ends_hands_back_and_the_next_goes_on(tmp_path: Path) -> None:
    with relaying(tmp_path, {**SETTINGS, "server": {"drain_seconds": 0.2}}) as relay:
        with relay.client() as client:
            store = client.vector_stores.create().id
            file, gate = in_the_middle(relay, client, store)
        before = chunks(url(relay), file)
    gate.open()
    with relaying(tmp_path, SETTINGS) as relay, relay.client() as client:
        assert ended(client, store, file).status == "completed"
        found = chunks(url(relay), file)
        assert found[: ingestion.BLOCK] == before
        asked = [one for some in inputs(relay) for one in some]
        assert sorted(asked) == sorted(one["text"] for one in found[ingestion.BLOCK :])
        assert text(client, store, file) == prose(10_000)
