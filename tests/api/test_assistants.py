"""`/v1/assistants` through the official SDK, on both databases."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.beta import Assistant

from tests import openapi
from tests.api import raw
from tests.api.assistants import DEPRECATED, V2, ask, refused
from tests.api.owners import new_key, new_project
from tests.server import KEY, Running
from tests.stores import ids, upload

pytestmark = DEPRECATED

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "What it is like outside.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
POINT: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "point",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def assistant(mine: openai.OpenAI) -> Assistant:
    return mine.beta.assistants.create(model="echo")


def test_an_assistant_of_a_model_alone_has_openais_defaults(owning: Running, mine: openai.OpenAI) -> None:
    made = mine.beta.assistants.create(model="echo")
    assert made.id.startswith("asst_")
    assert (made.model, made.name, made.description, made.instructions) == ("echo", None, None, None)
    assert (made.tools, made.metadata) == ([], {})
    assert (made.temperature, made.top_p, made.response_format) == (1.0, 1.0, "auto")
    assert mine.beta.assistants.retrieve(made.id) == made
    shown = ask(owning, "GET", f"assistants/{made.id}").json
    assert shown["tool_resources"] == {}
    openapi.validate("AssistantObject", shown)
    openapi.validate("AssistantObject", shown, openapi.OF_2024)


def test_an_assistant_of_everything_is_as_it_was_asked_for(owning: Running, mine: openai.OpenAI) -> None:
    file = upload(mine)
    store = mine.vector_stores.create().id
    search: Any = {"type": "file_search", "file_search": {"max_num_results": 3}}
    made = mine.beta.assistants.create(
        model="echo",
        name="Math Tutor",
        description="Knows numbers.",
        instructions="You are a tutor.\n\N{GRINNING FACE}",
        tools=[search, WEATHER],
        tool_resources={"code_interpreter": {"file_ids": [file]}, "file_search": {"vector_store_ids": [store]}},
        metadata={"team": "blue"},
        temperature=0.5,
        top_p=0.25,
        reasoning_effort="low",
        response_format=POINT,
    )
    shown = ask(owning, "GET", f"assistants/{made.id}").json
    openapi.validate("AssistantObject", shown)
    assert (shown["name"], shown["description"]) == ("Math Tutor", "Knows numbers.")
    assert shown["instructions"] == "You are a tutor.\n\N{GRINNING FACE}"
    searching, function = shown["tools"]
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    assert searching == {"type": "file_search", "file_search": {"max_num_results": 3, "ranking_options": ranking}}
    assert function == {"type": "function", "function": {"strict": False, **WEATHER["function"]}}
    assert shown["tool_resources"] == {
        "code_interpreter": {"file_ids": [file]},
        "file_search": {"vector_store_ids": [store]},
    }
    assert (shown["metadata"], shown["reasoning_effort"]) == ({"team": "blue"}, "low")
    assert (shown["temperature"], shown["top_p"], shown["response_format"]) == (0.5, 0.25, POINT)
    assert mine.beta.assistants.retrieve(made.id) == made


def test_what_is_not_said_stays_and_null_takes_away(mine: openai.OpenAI) -> None:
    made = mine.beta.assistants.create(
        model="echo", name="A", instructions="Be brief.", temperature=0.5, tools=[WEATHER], metadata={"a": "b"}
    )
    changed = mine.beta.assistants.update(made.id, description="New.")
    assert changed == made.model_copy(update={"description": "New."})
    changed = mine.beta.assistants.update(made.id, name=None, instructions=None, temperature=None, metadata=None)
    assert (changed.name, changed.instructions, changed.temperature) == (None, None, 1.0)
    assert (changed.metadata, changed.description, len(changed.tools)) == ({}, "New.", 1)
    changed = mine.beta.assistants.update(made.id, tools=[{"type": "file_search"}], response_format=POINT)
    assert [tool.type for tool in changed.tools] == ["file_search"]
    assert mine.beta.assistants.update(made.id) == changed == mine.beta.assistants.retrieve(made.id)


def test_resources_are_changed_a_tool_at_a_time(mine: openai.OpenAI) -> None:
    first, second, store = upload(mine), upload(mine), mine.vector_stores.create().id
    made = mine.beta.assistants.create(
        model="echo",
        tools=[{"type": "file_search"}],
        tool_resources={"code_interpreter": {"file_ids": [first, first]}},
    )
    assert resources(made) == ([first], [])
    changed = mine.beta.assistants.update(made.id, tool_resources={"file_search": {"vector_store_ids": [store]}})
    assert resources(changed) == ([first], [store])
    changed = mine.beta.assistants.update(made.id, tool_resources={"code_interpreter": {"file_ids": [second]}})
    assert resources(changed) == ([second], [store])
    changed = mine.beta.assistants.update(made.id, tool_resources=None)
    assert resources(changed) == ([], [])


def resources(assistant: Assistant) -> tuple[list[str], list[str]]:
    """The files that code sees, and the stores."""
    found = assistant.tool_resources
    code, search = (found.code_interpreter, found.file_search) if found else (None, None)
    return (code.file_ids or [] if code else []), (search.vector_store_ids or [] if search else [])


def test_a_store_can_be_made_with_an_assistant_and_does_not_expire(mine: openai.OpenAI) -> None:
    files = [upload(mine, "one"), upload(mine, "two")]
    static: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}
    new: Any = {"file_ids": files, "chunking_strategy": static, "metadata": {"of": "tests"}}
    made = mine.beta.assistants.create(
        model="echo", tools=[{"type": "file_search"}], tool_resources={"file_search": {"vector_stores": [new]}}
    )
    assert made.tool_resources is not None
    assert made.tool_resources.file_search is not None
    (store_id,) = made.tool_resources.file_search.vector_store_ids or []
    store = mine.vector_stores.retrieve(store_id)
    assert (store.expires_after, store.metadata) == (None, {"of": "tests"})
    inside = mine.vector_stores.files.list(store_id).data
    assert {*ids(inside)} == {*files}
    chunked: Any = inside[0].chunking_strategy
    assert chunked.static.max_chunk_size_tokens == 100


def test_assistants_are_listed_newest_first_in_pages(owning: Running, mine: openai.OpenAI) -> None:
    made = [mine.beta.assistants.create(model="echo").id for _ in range(5)]
    newest = made[::-1]
    page = mine.beta.assistants.list(limit=2)
    assert ids(page.data) == newest[:2]
    assert page.has_next_page()
    assert ids(mine.beta.assistants.list(limit=2, before=newest[3]).data) == newest[1:3]
    assert ids(mine.beta.assistants.list(limit=3, order="asc", after=made[1]).data) == made[2:]
    assert ids(one for one in mine.beta.assistants.list(limit=3) if one.id in made) == newest
    openapi.validate("ListAssistantsResponse", ask(owning, "GET", "assistants?limit=2").json)


def test_a_deleted_assistant_is_gone(owning: Running, mine: openai.OpenAI, assistant: Assistant) -> None:
    answer = ask(owning, "DELETE", f"assistants/{assistant.id}")
    assert answer.json == {"object": "assistant.deleted", "id": assistant.id, "deleted": True}
    openapi.validate("DeleteAssistantResponse", answer.json)
    for again in (mine.beta.assistants.retrieve, mine.beta.assistants.delete, mine.beta.assistants.update):
        with pytest.raises(openai.NotFoundError, match=f"No assistant found with id '{assistant.id}'"):
            again(assistant.id)


def test_what_another_project_has_is_not_there(
    mine: openai.OpenAI, theirs: openai.OpenAI, assistant: Assistant
) -> None:
    for ask_for in (theirs.beta.assistants.retrieve, theirs.beta.assistants.delete, theirs.beta.assistants.update):
        with pytest.raises(openai.NotFoundError):
            ask_for(assistant.id)
    assert assistant.id not in ids(theirs.beta.assistants.list())
    their_file, their_store = upload(theirs), theirs.vector_stores.create().id
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        mine.beta.assistants.create(model="echo", tool_resources={"code_interpreter": {"file_ids": [their_file]}})
    with pytest.raises(openai.NotFoundError, match="No vector store found"):
        mine.beta.assistants.create(model="echo", tool_resources={"file_search": {"vector_store_ids": [their_store]}})
    new: Any = {"file_ids": [their_file]}
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        mine.beta.assistants.create(model="echo", tool_resources={"file_search": {"vector_stores": [new]}})


def test_the_model_must_be_served_and_allowed(owning: Running, mine: openai.OpenAI, assistant: Assistant) -> None:
    for body in ({"model": "no-such"}, {"model": "text-davinci-003"}):
        assert refused(owning, "assistants", body, 404)["code"] == "model_not_found"
        assert refused(owning, f"assistants/{assistant.id}", body, 404)["code"] == "model_not_found"
    key = new_key(owning, new_project(owning, "restricted"), models=["gpt-4"])
    answer = ask(owning, "POST", "assistants", {"model": "echo"}, key=key)
    assert (answer.status, answer.error["code"]) == (403, "model_not_found")


def test_a_model_that_answers_no_chats_is_refused(owning: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owning.app.held["echo"], "can", lambda capability: capability != "chat")
    error = refused(owning, "assistants", {"model": "gpt-4o"})
    assert (error["param"], error["code"]) == ("model", "unsupported_model")
    assert "'gpt-4o' cannot be used with the Assistants API" in error["message"]


def test_a_key_needs_its_scope(owning: Running) -> None:
    project = new_project(owning, "scopes")
    reader = new_key(owning, project, scopes=["assistants.read"])
    writer = new_key(owning, project, scopes=["assistants.write"])
    made = ask(owning, "POST", "assistants", {"model": "echo"}, key=writer)
    assert made.status == 200
    assert ask(owning, "GET", f"assistants/{made.json['id']}", key=reader).status == 200
    for key, method, path in (
        (reader, "POST", "assistants"),
        (reader, "DELETE", f"assistants/{made.json['id']}"),
        (writer, "GET", "assistants"),
        (reader, "POST", "threads"),
    ):
        answer = ask(owning, method, path, {"model": "echo"}, key=key)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope"), (method, path)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "model", "missing_required_parameter"),
        ({"model": None}, "model", "invalid_type"),
        ({"model": "ec ho"}, "model", "invalid_value"),
        ({"name": "n" * 257}, "name", "string_above_max_length"),
        ({"description": "d" * 513}, "description", "string_above_max_length"),
        ({"instructions": "i" * 256_001}, "instructions", "string_above_max_length"),
        ({"name": "a\0b"}, "name", "invalid_value"),
        ({"description": "a\0b"}, "description", "invalid_value"),
        ({"instructions": "a\0b"}, "instructions", "invalid_value"),
        ({"metadata": {str(at): "x" for at in range(17)}}, "metadata", "object_above_max_properties"),
        ({"metadata": {"k" * 65: "x"}}, "metadata." + "k" * 64, "string_above_max_length"),
        ({"metadata": {"k": 1}}, "metadata", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
        ({"response_format": "json"}, "response_format", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"tools": [WEATHER] * 129}, "tools", "array_above_max_length"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "code_interpreter", "x": 1}]}, "tools[0].x", "unknown_parameter"),
        ({"tools": [{"type": "code_interpreter"}] * 2}, "tools[1].type", "invalid_value"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name", "invalid_value"),
        (
            {"tools": [{"type": "file_search", "file_search": {"max_num_results": 51}}]},
            "tools[0].file_search.max_num_results",
            "integer_above_max_value",
        ),
        (
            {"tools": [{"type": "file_search", "file_search": {"ranking_options": {}}}]},
            "tools[0].file_search.ranking_options.score_threshold",
            "missing_required_parameter",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0].function.parameters",
            "invalid_function_parameters",
        ),
        (
            {"tool_resources": {"code_interpreter": {"file_ids": [f"file-{at}" for at in range(21)]}}},
            "tool_resources.code_interpreter.file_ids",
            "array_above_max_length",
        ),
        (
            {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1", "vs_2"]}}},
            "tool_resources.file_search.vector_store_ids",
            "array_above_max_length",
        ),
        (
            {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"], "vector_stores": [{}]}}},
            "tool_resources.file_search",
            "invalid_value",
        ),
        ({"tool_resources": {"retrieval": {}}}, "tool_resources.retrieval", "unknown_parameter"),
    ],
)
def test_what_an_assistant_cannot_be(owning: Running, body: dict[str, Any], param: str, code: str) -> None:
    asked = body if "model" in body or param == "model" else {"model": "echo", **body}
    error = refused(owning, "assistants", asked)
    assert (error["param"], error["code"]) == (param, code), error


def test_code_cannot_be_run_where_there_are_no_walls(owning: Running, assistant: Assistant) -> None:
    """tests/server.py switches the tool off where a test does not want it."""
    tools = [{"type": "file_search"}, {"type": "code_interpreter"}]
    for path in ("assistants", f"assistants/{assistant.id}"):
        error = refused(owning, path, {"model": "echo", "tools": tools})
        assert (error["param"], error["code"]) == ("tools[1].type", "code_interpreter_unavailable")


def test_parameters_of_v1_and_unknown_ones_are_refused(owning: Running, assistant: Assistant) -> None:
    error = refused(owning, "assistants", {"model": "echo", "file_ids": []})
    assert error["message"] == "Unrecognized request argument supplied: file_ids"
    new: Any = {"tool_resources": {"file_search": {"vector_stores": [{}]}}}
    assert refused(owning, f"assistants/{assistant.id}", new)["code"] == "unknown_parameter"
    assert refused(owning, f"assistants/{assistant.id}", {"model": None})["param"] == "model"
    answer = ask(owning, "GET", "assistants?assistant_id=x")
    assert (answer.status, answer.error["code"]) == (400, "unknown_parameter")


def test_resources_that_are_not_there_are_named(owning: Running, mine: openai.OpenAI) -> None:
    gone = mine.vector_stores.create().id
    mine.vector_stores.delete(gone)
    for resources, param in (
        ({"code_interpreter": {"file_ids": ["file-none"]}}, "code_interpreter.file_ids"),
        ({"file_search": {"vector_store_ids": [gone]}}, "file_search.vector_store_ids"),
    ):
        error = refused(owning, "assistants", {"model": "echo", "tool_resources": resources}, 404)
        assert error["param"] == f"tool_resources.{param}"


def test_every_operation_wants_the_header_but_azures(
    owning: Running, mine: openai.OpenAI, assistant: Assistant
) -> None:
    for method, path in (("GET", "assistants"), ("POST", f"assistants/{assistant.id}"), ("POST", "threads")):
        answer = raw.ask(owning, method, f"/v1/{path}", {})
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_beta", None)
        assert answer.error["message"] == (
            "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by setting the "
            "header 'OpenAI-Beta: assistants=v2'."
        )
        older = raw.ask(owning, method, f"/v1/{path}", {}, {"OpenAI-Beta": "assistants=v1"})
        assert (older.status, older.error["code"]) == (400, "invalid_beta")
        assert "v1 Assistants API is gone" in older.error["message"]
    several = raw.ask(owning, "GET", "/v1/assistants", headers={"OpenAI-Beta": "realtime=v1, assistants=v2"})
    assert several.status == 200
    unknown = raw.ask(owning, "GET", "/v1/assistants", key="sk-wrong-0123456789")
    assert unknown.status == 401
    azure = openai.AzureOpenAI(azure_endpoint=owning.url, api_key=KEY, api_version="2024-05-01-preview", max_retries=0)
    with azure:
        assert azure.beta.assistants.retrieve(assistant.id) == assistant
        made = azure.beta.assistants.create(model="echo")
        assert mine.beta.assistants.retrieve(made.id) == made
    plain = {"api-key": KEY, "Authorization": None}
    path = "/openai/assistants?api-version=2024-05-01-preview"
    assert raw.ask(owning, "GET", path, headers=plain).status == 200


def test_an_idempotency_key_makes_one_assistant(owning: Running, mine: openai.OpenAI) -> None:
    asked: Any = {"model": "echo", "name": "once"}
    headers: dict[str, str | None] = {**V2, "Idempotency-Key": "assistant-once"}
    first, again = [raw.ask(owning, "POST", "/v1/assistants", asked, headers) for _ in range(2)]
    assert first.status == again.status == 200
    assert first.json["id"] == again.json["id"]
    assert [one.name for one in mine.beta.assistants.list(limit=100)].count("once") == 1


def test_hostile_ids_find_nothing(owning: Running) -> None:
    for id in ("x" * 5000, "%00", "asst_%27%20OR%201=1", "..%2F", "\N{GRINNING FACE}".encode().hex()):
        answer = ask(owning, "GET", f"assistants/{id}")
        assert answer.status == 404, (id, answer.body)


def test_long_instructions_of_many_bytes_are_kept(owning: Running) -> None:
    instructions = "\N{GRINNING FACE}" * 256_000
    body = json.dumps({"model": "echo", "instructions": instructions}).encode()
    answer = raw.ask(owning, "POST", "/v1/assistants", body, V2)
    assert answer.status == 200
    assert answer.json["instructions"] == instructions


def test_the_async_client_does_the_same(owning: Running) -> None:
    async def whole_life() -> None:
        async with openai.AsyncOpenAI(base_url=owning.base_url, api_key=KEY, max_retries=0) as client:
            made = await client.beta.assistants.create(model="echo", tools=[WEATHER])
            assert await client.beta.assistants.retrieve(made.id) == made
            assert (await client.beta.assistants.update(made.id, name="B")).name == "B"
            assert made.id in [one.id async for one in client.beta.assistants.list()]
            assert (await client.beta.assistants.delete(made.id)).deleted

    asyncio.run(whole_life())
