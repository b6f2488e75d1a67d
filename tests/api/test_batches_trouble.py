"""Batches when something is wrong with the house: nothing is lost, nothing half made, and what is wrong is said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.errors import StorageFull
from homeport.jobs import batch_files, worker
from homeport.jobs.batch_chunk import Lines
from homeport.jobs.batch_lines import Answering
from homeport.store.staged import Staged
from tests.batches import chat, content, counts, create, custom_ids, ended, errors, run, wait_for
from tests.server import KEY, Running, running

MODELS = {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.02, "parallel": 4}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, {"models": MODELS}) as made:
        yield made


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


def test_a_disk_that_is_full_when_its_files_are_written(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = create(client, [chat(number, model="slow") for number in range(1, 41)])
    write = Staged.write

    async def full(self: Staged, data: bytes) -> None:
        await write(self, data)
        raise StorageFull("There is no room left.")

    monkeypatch.setattr(batch_files, "FULL_SECONDS", 0.1)
    monkeypatch.setattr(Staged, "write", full)
    seen = wait_for(client, batch.id, lambda one: one.errors is not None)
    assert (seen.status, counts(seen), errors(seen)) == ("finalizing", (40, 40, 0), [("insufficient_storage", None)])
    assert client.files.list(purpose="batch_output").data == []
    monkeypatch.setattr(Staged, "write", write)
    batch = ended(client, batch.id)
    assert (batch.status, batch.errors) == ("completed", None)
    assert len(content(client, batch.output_file_id)) == 40
    assert len(client.files.list(purpose="batch_output").data) == 1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is tried again at once."""
    monkeypatch.setattr(worker, "_FIRST_REST", 0.01)
    monkeypatch.setattr(worker, "_FACTOR", 1.0)


@pytest.mark.usefixtures("hasty")
def test_a_line_that_the_server_cannot_do_is_told_so_and_the_others_are_answered(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Answering.answer

    async def fails(self: Answering, batch: Any, endpoint: Any, line: Any, handed_back: Any) -> Any:
        if line.number == 120:
            raise RuntimeError("a bug of ours")
        return await answer(self, batch, endpoint, line, handed_back)

    monkeypatch.setattr(Answering, "answer", fails)
    batch = run(client, [chat(number) for number in range(1, 151)])
    assert (batch.status, counts(batch), batch.errors) == ("completed", (150, 149, 1), None)
    (missed,) = content(client, batch.error_file_id)
    assert (missed["custom_id"], missed["response"], missed["error"]["code"]) == ("request-120", None, "server_error")


@pytest.mark.usefixtures("hasty")
def test_a_part_that_cannot_be_done(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been done is kept, and the rest is told in the error file."""
    begin = Lines._todo

    async def fails(self: Lines, batch: Any, job: Any) -> Any:
        if job.checkpoint["first"] > 100:
            raise RuntimeError("a bug of ours")
        return await begin(self, batch, job)

    monkeypatch.setattr(Lines, "_todo", fails)
    batch = run(client, [chat(number) for number in range(1, 151)])
    assert (batch.status, errors(batch)) == ("failed", [("server_error", None)])
    assert batch.failed_at is not None
    total, completed, failed = counts(batch)
    assert (total, completed + failed) == (150, 150)
    done, missed = content(client, batch.output_file_id), content(client, batch.error_file_id)
    assert (len(done), len(missed)) == (completed, failed)
    assert 0 < completed <= 100
    assert {*custom_ids(done), *custom_ids(missed)} == {f"request-{number}" for number in range(1, 151)}
    assert {one["error"]["code"] for one in missed} == {"batch_failed"}


@pytest.mark.usefixtures("hasty")
def test_an_input_that_cannot_be_read(server: Running, client: openai.OpenAI, caplog: pytest.LogCaptureFixture) -> None:
    file = client.files.create(
        file=("input.jsonl", b'{"custom_id":"1","method":"POST","url":"/","body":{}}'), purpose="batch"
    )
    (blob,) = (path for path in (server.data / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    batch = ended(client, batch.id)
    assert (batch.status, errors(batch)) == ("failed", [("server_error", None)])
    assert "given up" in caplog.text


def test_nothing_of_what_is_asked_is_in_the_log(client: openai.OpenAI, caplog: pytest.LogCaptureFixture) -> None:
    run(client, [chat(1, text="a secret of mine"), chat(2, text="another secret", temperature=7)])
    assert "secret" not in caplog.text
