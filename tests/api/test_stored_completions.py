"""Stored chat completions through the official SDK, on both databases, by local models and upstreams."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from homeport.errors import Unavailable
from homeport.gateway import storing
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.batches import ended
from tests.fake_upstream import STREAM_HEAD, TEXT, USAGE, Visit, chunked, event, events, plain_answer, stream, whole
from tests.server import Running
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

HELLO: Any = {"role": "user", "content": "hello there"}
PART: Any = {"type": "text", "text": "what is this?"}


@pytest.fixture
def alone(owning: Running) -> Iterator[openai.OpenAI]:
    """A client of a project of its own."""
    with client_of(owning, new_key(owning, new_project(owning, "alone"))) as made:
        yield made


def stored(client: openai.OpenAI, text: str = "hello there", model: str = "echo", **more: Any) -> Any:
    message: Any = {"role": "user", "content": text}
    return client.chat.completions.create(model=model, messages=[message], store=True, **more)


def listed(client: openai.OpenAI, **more: Any) -> list[str]:
    return [one.id for one in client.chat.completions.list(**more)]


def test_what_is_kept_is_the_answer(owning: Running, alone: openai.OpenAI) -> None:
    made = stored(alone, metadata={"purpose": "test"}, temperature=0.5, user="me")
    kept = alone.chat.completions.retrieve(made.id)
    assert kept.to_dict() | {"request_id": None} == made.to_dict() | {
        "metadata": {"purpose": "test"},
        "request_id": None,
        "temperature": 0.5,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": None,
        "tools": None,
        "tool_choice": None,
        "response_format": None,
        "input_user": "me",
    }
    assert (kept.model_extra or {})["request_id"] == made._request_id
    shown = raw.ask(owning, "GET", f"/v1/chat/completions/{made.id}", key=alone.api_key)
    openapi.validate("CreateChatCompletionResponse", shown.json)
    assert listed(alone) == [made.id]
    openapi.validate("ChatCompletionList", raw.ask(owning, "GET", key=alone.api_key).json)


@pytest.mark.parametrize("store", [False, None])
def test_others_are_not_kept(alone: openai.OpenAI, store: bool | None) -> None:
    made = alone.chat.completions.create(model="echo", messages=[HELLO], store=store)
    assert listed(alone) == []
    with pytest.raises(openai.NotFoundError) as refused:
        alone.chat.completions.retrieve(made.id)
    assert refused.value.param == "completion_id"


def test_a_stream_is_kept_whole(alone: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    wanted: Any = (
        {},
        {"n": 2},
        {"stream_options": {"include_usage": True}},
        {"tools": [tool], "tool_choice": "required"},
    )
    for more in wanted:
        chunks = [*stored(alone, stream=True, **more)]
        kept = alone.chat.completions.retrieve(chunks[0].id)
        same = stored(alone, **{name: value for name, value in more.items() if name != "stream_options"})
        whole, plain = kept.to_dict(), same.to_dict()
        for member in ("choices", "usage", "model", "object", "system_fingerprint"):
            assert _without_ids(whole.get(member)) == _without_ids(plain.get(member)), (member, more)
        alone.chat.completions.delete(same.id)


def _without_ids(value: Any) -> Any:
    """Of calls; and without null and empty lists, which a stream does not say."""
    if isinstance(value, dict):
        return {name: _without_ids(one) for name, one in value.items() if name != "id" and one not in (None, [])}
    return [_without_ids(one) for one in value] if isinstance(value, list) else value


def test_lists(alone: openai.OpenAI) -> None:
    made = [
        stored(alone, f"number {n}", metadata={"n": str(n), "kind": "odd" if n % 2 else "even"}).id for n in range(5)
    ]
    assert listed(alone) == made, "the oldest first, over all pages"
    assert listed(alone, order="desc", limit=2) == made[::-1]
    page = alone.chat.completions.list(limit=2, after=made[1])
    assert [one.id for one in page.data] == made[2:4]
    assert page.has_more
    assert listed(alone, metadata={"kind": "odd"}) == [made[1], made[3]]
    assert listed(alone, metadata={"kind": "odd", "n": "3"}) == [made[3]]
    assert listed(alone, metadata={'it\'s "odd"': "yes"}) == []
    assert listed(alone, model="echo") == made
    assert listed(alone, model="gpt-4o") == []
    with pytest.raises(openai.BadRequestError) as refused:
        alone.chat.completions.list(after="chatcmpl-none")
    assert refused.value.param == "after"


def test_metadata_changes(alone: openai.OpenAI) -> None:
    made = stored(alone)
    changed = alone.chat.completions.update(made.id, metadata={"seen": "yes"})
    assert changed.to_dict()["metadata"] == {"seen": "yes"}
    assert alone.chat.completions.retrieve(made.id).to_dict() == changed.to_dict()
    assert listed(alone, metadata={"seen": "yes"}) == [made.id]
    assert alone.chat.completions.update(made.id, metadata=None).to_dict()["metadata"] == {}
    for wrong in ({str(n): "x" for n in range(17)}, {"x": "y" * 513}):
        with pytest.raises(openai.BadRequestError):
            alone.chat.completions.update(made.id, metadata=wrong)
        with pytest.raises(openai.BadRequestError):
            stored(alone, metadata=wrong)
    assert listed(alone) == [made.id]


def test_what_no_text_of_a_database_holds(alone: openai.OpenAI) -> None:
    """A null, which JSON can say and PostgreSQL's texts cannot."""
    made = stored(alone, "null: \x00", metadata={"kind": "odd"})
    assert alone.chat.completions.retrieve(made.id).choices[0].message.content == made.choices[0].message.content
    assert alone.chat.completions.messages.list(made.id).data[0].content == "null: \x00"
    assert listed(alone, metadata={"kind": "odd"}) == [made.id]
    for metadata in ({"null": "\x00"}, {"\x00": "null"}):
        with pytest.raises(openai.BadRequestError) as refused:
            stored(alone, metadata=metadata)
        assert refused.value.param == "metadata"


def test_messages(owning: Running, alone: openai.OpenAI) -> None:
    call: Any = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [PART], "name": "ann"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    made = alone.chat.completions.create(model="echo", messages=messages, store=True)
    found = [one.to_dict() for one in alone.chat.completions.messages.list(made.id, limit=3)]
    none = {"content": None, "content_parts": None, "name": None}
    assert found == [
        {**none, **messages[0], "id": f"{made.id}-0"},
        {**none, "role": "user", "name": "ann", "content_parts": [PART], "id": f"{made.id}-1"},
        {**none, **messages[2], "id": f"{made.id}-2"},
        {**none, **messages[3], "id": f"{made.id}-3"},
    ]
    shown = raw.ask(
        owning, "GET", f"/v1/chat/completions/{made.id}/messages?order=desc&limit=1", key=alone.api_key
    ).json
    assert (shown["first_id"], shown["has_more"]) == (f"{made.id}-3", True)
    after = f"{made.id}-1"
    rest = alone.chat.completions.messages.list(made.id, after=after, order="desc")
    assert [one.id for one in rest] == [f"{made.id}-0"]


def test_deleted_is_gone(alone: openai.OpenAI) -> None:
    made = stored(alone)
    gone = alone.chat.completions.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "chat.completion.deleted", True)
    assert listed(alone) == []
    for again in (alone.chat.completions.delete, alone.chat.completions.retrieve, alone.chat.completions.messages.list):
        with pytest.raises(openai.NotFoundError):
            again(made.id)


def test_nobody_elses(alone: openai.OpenAI, mine: openai.OpenAI) -> None:
    made = stored(mine)
    assert made.id not in listed(alone)
    rules = alone.chat.completions
    for look in (rules.retrieve, rules.delete, rules.messages.list, lambda one: rules.update(one, metadata={})):
        with pytest.raises(openai.NotFoundError):
            look(made.id)
    assert mine.chat.completions.retrieve(made.id).id == made.id


def test_scopes(owning: Running, alone: openai.OpenAI) -> None:
    project = new_project(owning, "scoped")
    asking = client_of(owning, new_key(owning, project, scopes=["model.request"]))
    reading = client_of(owning, new_key(owning, project, scopes=["chat.completions.read"]))
    made = stored(asking)
    assert listed(reading) == [made.id]
    for refused in (
        lambda: asking.chat.completions.retrieve(made.id),
        lambda: reading.chat.completions.delete(made.id),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            refused()


def test_azures_way(owning: Running, alone: openai.OpenAI) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=owning.url, api_key=alone.api_key, api_version="2024-10-21", max_retries=0
    ) as azure:
        made = stored(azure)
        assert listed(azure) == listed(alone) == [made.id]
        with pytest.raises(openai.NotFoundError) as refused:
            azure.chat.completions.retrieve("chatcmpl-none")
        assert refused.value.code == "404"
        assert azure.chat.completions.delete(made.id).deleted


def test_lines_of_batches_are_kept(alone: openai.OpenAI) -> None:
    body = {"model": "echo", "messages": [HELLO], "store": True}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = alone.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = alone.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    batch = ended(alone, batch.id)
    answer = json.loads(alone.files.content(batch.output_file_id or "").text)["response"]["body"]
    assert listed(alone) == [answer["id"]]


def test_a_request_too_large_to_be_kept_is_told_so(alone: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "LARGEST", 200)
    with pytest.raises(openai.BadRequestError) as refused:
        stored(alone, "x" * 200)
    assert refused.value.param == "store"
    assert alone.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x" * 200}]).id


def test_an_answer_that_cannot_be_kept_is_answered(
    owning: Running, alone: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(owning.app.durable.completions, "keep", away)
    assert stored(alone, "a secret").choices[0].message.content
    assert len([*stored(alone, "a secret", stream=True)]) > 1
    assert listed(alone) == []
    assert "is not stored" in caplog.text
    assert "secret" not in caplog.text


def test_a_wrong_method_is_told_all_the_right_ones(owning: Running) -> None:
    refused = raw.ask(owning, "DELETE")
    assert refused.status == 405
    assert {"GET", "POST"} <= {one.strip() for one in refused.headers["allow"].split(",")}


# Upstreams


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("relay"), {}, lane=True) as made:
        yield made


def test_an_upstreams_answer_is_kept_here(relay: Relay) -> None:
    with client_of(relay.homeport) as client:
        for stream in (False, True):
            made = stored(client, model="m", stream=stream, metadata={"stream": str(stream)})
            if stream:
                assert "".join(one.choices[0].delta.content or "" for one in made if one.choices) == TEXT
            assert relay.fake.received[-1].json["store"] is True
            (kept,) = client.chat.completions.list(metadata={"stream": str(stream)})
            assert kept.choices[0].message.content == TEXT
            assert kept.usage is not None
            assert kept.usage.total_tokens == USAGE["total_tokens"]
            client.chat.completions.delete(kept.id)


def test_keeping_costs_no_token(relay: Relay) -> None:
    """Of an upstream that counts nothing: what it has written is counted once, stored or not."""

    def uncounted(visit: Visit) -> None:
        answer = json.loads(plain_answer(visit))
        del answer["usage"]
        visit.send(whole(json.dumps(answer).encode()))

    relay.fake.by_model["uncounted"] = uncounted
    with client_of(relay.homeport) as client:
        client.chat.completions.create(model="uncounted", messages=[HELLO])
        made = stored(client, model="uncounted")
        assert client.chat.completions.retrieve(made.id).choices[0].message.content == TEXT
        client.chat.completions.delete(made.id)
    first, second = relay.rows("uncounted", 2)
    assert (first["outcome"], second["outcome"]) == ("completed", "completed")
    assert first["completion_tokens"] == second["completion_tokens"] > 0


def test_what_fails_or_breaks_off_is_not_kept(relay: Relay) -> None:
    with client_of(relay.homeport) as client:
        relay.fake.script.append(faults.status(400))
        with pytest.raises(openai.BadRequestError):
            stored(client, model="m")
        relay.fake.script.append(
            faults.cut_after(lambda visit: STREAM_HEAD + b"".join(map(chunked, events(visit)[:3])))
        )
        with pytest.raises(openai.APIError):
            [*stored(client, model="m", stream=True)]
        assert listed(client) == []


def test_a_stream_of_calls_and_of_what_upstreams_add(relay: Relay) -> None:
    def delta(index: int = 0, **members: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": members, "finish_reason": None}
        return {
            "id": "chatcmpl-far",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "far",
            "choices": [choice],
        }

    def call(index: int, arguments: str, **first: Any) -> dict[str, Any]:
        name = {"name": first.pop("name")} if first else {}
        return {"index": index, **first, "function": {**name, "arguments": arguments}}

    end = delta() | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    chunks = [
        delta(role="assistant", content=None, reasoning_content="I "),
        delta(reasoning_content="think"),
        delta(tool_calls=[call(0, "", id="a", type="function", name="one")]),
        delta(tool_calls=[call(1, "{", id="b", type="function", name="two"), call(0, "{}")]),
        delta(1, content="Ahoy "),
        delta(tool_calls=[call(1, "}")]),
        delta(1, content="there"),
        end,
        {**delta(), "choices": [], "usage": USAGE},
    ]
    relay.fake.by_model["calls"] = lambda visit: stream(visit, [*map(event, chunks), b"data: [DONE]\n\n"])
    with client_of(relay.homeport) as client:
        assert [*stored(client, model="calls", stream=True, stream_options={"include_usage": True})]
        kept = client.chat.completions.retrieve("chatcmpl-far").to_dict()
        client.chat.completions.delete("chatcmpl-far")
    choices: Any = kept["choices"]
    first, second = choices
    function = {"type": "function"}
    assert first == {
        "index": 0,
        "finish_reason": "tool_calls",
        "logprobs": None,
        "message": {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "reasoning_content": "I think",
            "tool_calls": [
                {**function, "id": "a", "function": {"name": "one", "arguments": "{}"}},
                {**function, "id": "b", "function": {"name": "two", "arguments": "{}"}},
            ],
        },
    }
    assert second["message"]["content"] == "Ahoy there"
    assert kept["usage"] == USAGE
