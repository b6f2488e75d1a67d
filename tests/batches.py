"""Batches through the official SDK: the file, the batch, its end, and what its files hold."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import openai
from openai.types import Batch

from tests.fake_upstream import until

CHAT: Any = "/v1/chat/completions"
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
PATIENCE = 90.0

Line = dict[str, Any]


def chat(number: int, *, model: str = "echo", text: str | None = None, **more: Any) -> Line:
    """A line; `more` goes into its body."""
    message = {"role": "user", "content": f"line {number}" if text is None else text}
    return line(number, {"model": model, "messages": [message], **more})


def line(number: int, body: Any, url: str = CHAT) -> Line:
    return {"custom_id": f"request-{number}", "method": "POST", "url": url, "body": body}


def upload(client: openai.OpenAI, lines: Iterable[Line]) -> str:
    """The id of its file."""
    content = "\n".join(json.dumps(one) for one in lines).encode()
    return client.files.create(file=("input.jsonl", content), purpose="batch").id


def create(client: openai.OpenAI, lines: Iterable[Line], endpoint: Any = CHAT, **more: Any) -> Batch:
    file = upload(client, lines)
    return client.batches.create(input_file_id=file, endpoint=endpoint, completion_window="24h", **more)


def wait_for(client: openai.OpenAI, batch: str, when: Callable[[Batch], bool], seconds: float = PATIENCE) -> Batch:
    seen: list[Batch] = []

    def looks_right() -> bool:
        seen[:] = [client.batches.retrieve(batch)]
        return when(seen[0])

    assert until(looks_right, seconds), seen[0]
    return seen[0]


def ended(client: openai.OpenAI, batch: str, seconds: float = PATIENCE) -> Batch:
    """However it has."""
    return wait_for(client, batch, lambda one: one.status in OVER, seconds)


def run(client: openai.OpenAI, lines: Iterable[Line], endpoint: Any = CHAT, **more: Any) -> Batch:
    return ended(client, create(client, lines, endpoint, **more).id)


def counts(batch: Batch) -> tuple[int, int, int]:
    """total, completed, failed."""
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def content(client: openai.OpenAI, file: str | None) -> Sequence[Line]:
    """The lines of a file."""
    assert file is not None
    return [json.loads(one) for one in client.files.content(file).text.splitlines()]


def custom_ids(lines: Iterable[Line]) -> list[str]:
    return [one["custom_id"] for one in lines]


def errors(batch: Batch) -> list[tuple[str | None, int | None]]:
    """code and line of each."""
    assert batch.errors is not None
    return [(one.code, one.line) for one in batch.errors.data or []]
