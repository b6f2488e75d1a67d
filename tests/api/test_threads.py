"""`/v1/threads` through the official SDK, on both databases."""

import asyncio
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai.types.beta import Thread

from homeport.store import tables
from tests import openapi
from tests.api import raw
from tests.api.assistants import DEPRECATED, V2, ask, code_files, hold, refused, stores
from tests.api.owners import new_key, new_project
from tests.server import KEY, Running
from tests.stores import ids, rows, upload

pytestmark = DEPRECATED
DAY = 86_400


@pytest.fixture
def thread(mine: openai.OpenAI) -> Thread:
    return mine.beta.threads.create()


def url(server: Running) -> str:
    return server.app.books.database.url.render_as_string(hide_password=False)


def test_a_new_thread_has_nothing_in_it(owning: Running, mine: openai.OpenAI) -> None:
    made = mine.beta.threads.create()
    assert made.id.startswith("thread_")
    assert made.metadata == {}
    assert mine.beta.threads.retrieve(made.id) == made
    assert mine.beta.threads.messages.list(made.id).data == []
    shown = ask(owning, "GET", f"threads/{made.id}").json
    assert shown["tool_resources"] == {}
    openapi.validate("ThreadObject", shown)
    openapi.validate("ThreadObject", shown, openapi.OF_2024)
    empty = raw.ask(owning, "POST", "/v1/threads", b"", V2)
    assert empty.status == 200


def test_a_thread_of_messages_and_resources(owning: Running, mine: openai.OpenAI) -> None:
    file, store = upload(mine), mine.vector_stores.create().id
    made = mine.beta.threads.create(
        messages=[
            {"role": "user", "content": "What is in the file?"},
            {"role": "assistant", "content": [{"type": "text", "text": "A greeting."}], "metadata": {"by": "hand"}},
            {"role": "user", "content": "And else?"},
        ],
        tool_resources={"code_interpreter": {"file_ids": [file]}, "file_search": {"vector_store_ids": [store]}},
        metadata={"a": "b"},
    )
    assert (code_files(made), stores(made), made.metadata) == ([file], [store], {"a": "b"})
    openapi.validate("ThreadObject", ask(owning, "GET", f"threads/{made.id}").json)
    said = mine.beta.threads.messages.list(made.id, order="asc").data
    assert [one.role for one in said] == ["user", "assistant", "user"]
    texts: Any = [one.content[0] for one in said]
    assert [one.text.value for one in texts] == ["What is in the file?", "A greeting.", "And else?"]
    assert said[1].metadata == {"by": "hand"}


def test_what_is_not_said_stays_and_null_takes_away(mine: openai.OpenAI) -> None:
    file, store = upload(mine), mine.vector_stores.create().id
    made = mine.beta.threads.create(metadata={"a": "b"}, tool_resources={"code_interpreter": {"file_ids": [file]}})
    changed = mine.beta.threads.update(made.id, tool_resources={"file_search": {"vector_store_ids": [store]}})
    assert (code_files(changed), stores(changed), changed.metadata) == ([file], [store], {"a": "b"})
    changed = mine.beta.threads.update(made.id, metadata={"c": "d"})
    assert (code_files(changed), stores(changed), changed.metadata) == ([file], [store], {"c": "d"})
    changed = mine.beta.threads.update(made.id, metadata=None, tool_resources=None)
    assert (code_files(changed), stores(changed), changed.metadata) == ([], [], {})
    assert mine.beta.threads.update(made.id) == changed == mine.beta.threads.retrieve(made.id)


def test_a_store_that_is_made_with_a_thread_expires_a_week_after_it_was_used(mine: openai.OpenAI) -> None:
    file = upload(mine)
    made = mine.beta.threads.create(tool_resources={"file_search": {"vector_stores": [{"file_ids": [file]}]}})
    (store_id,) = stores(made)
    store = mine.vector_stores.retrieve(store_id)
    assert store.expires_after is not None
    assert (store.expires_after.anchor, store.expires_after.days) == ("last_active_at", 7)
    assert store.expires_at == (store.last_active_at or 0) + 7 * DAY
    assert ids(mine.vector_stores.files.list(store_id)) == [file]


def test_what_is_attached_to_the_first_messages_comes_to_the_same_store(mine: openai.OpenAI) -> None:
    first, second, third = upload(mine), upload(mine), upload(mine)
    search: Any = [{"type": "file_search"}]
    both: Any = [{"type": "file_search"}, {"type": "code_interpreter"}]
    made = mine.beta.threads.create(
        messages=[
            {"role": "user", "content": "one", "attachments": [{"file_id": first, "tools": search}]},
            {"role": "user", "content": "two", "attachments": [{"file_id": second, "tools": both}]},
        ],
        tool_resources={"file_search": {"vector_stores": [{"file_ids": [third]}]}},
    )
    (store_id,) = stores(made)
    assert {*ids(mine.vector_stores.files.list(store_id))} == {first, second, third}
    assert code_files(made) == [second]


def test_a_deleted_thread_is_gone_with_all_that_was_in_it(owning: Running, mine: openai.OpenAI) -> None:
    file = upload(mine)
    search: Any = [{"file_id": file, "tools": [{"type": "file_search"}]}]
    made = mine.beta.threads.create(messages=[{"role": "user", "content": "hi", "attachments": search}])
    (message,) = mine.beta.threads.messages.list(made.id).data
    run_id, _ = hold(owning, made.id)
    answer = ask(owning, "DELETE", f"threads/{made.id}")
    assert answer.json == {"object": "thread.deleted", "id": made.id, "deleted": True}
    openapi.validate("DeleteThreadResponse", answer.json)
    for again in (mine.beta.threads.retrieve, mine.beta.threads.delete, mine.beta.threads.messages.list):
        with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{made.id}'"):
            again(made.id)
    with pytest.raises(openai.NotFoundError):
        mine.beta.threads.messages.retrieve(message.id, thread_id=made.id)
    left = [
        sa.select(tables.items.c.seq).where(tables.items.c.id == message.id),
        sa.select(tables.runs.c.seq).where(tables.runs.c.id == run_id),
    ]
    assert [list(rows(url(owning), query)) for query in left] == [[], []]
    assert mine.vector_stores.retrieve(stores(made)[0]).id
    assert mine.files.retrieve(file).id == file


def test_what_another_project_has_is_not_there(mine: openai.OpenAI, theirs: openai.OpenAI, thread: Thread) -> None:
    for ask_for in (theirs.beta.threads.retrieve, theirs.beta.threads.delete, theirs.beta.threads.update):
        with pytest.raises(openai.NotFoundError):
            ask_for(thread.id)
    file, store = upload(theirs), theirs.vector_stores.create().id
    search: Any = [{"file_id": file, "tools": [{"type": "file_search"}]}]
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        mine.beta.threads.create(messages=[{"role": "user", "content": "hi", "attachments": search}])
    with pytest.raises(openai.NotFoundError, match="No vector store found"):
        mine.beta.threads.update(thread.id, tool_resources={"file_search": {"vector_store_ids": [store]}})
    assert mine.beta.threads.retrieve(thread.id) == thread


def test_all_threads_of_a_project_are_listed(owning: Running) -> None:
    project = new_project(owning, "listed threads")
    key = new_key(owning, project, scopes=["threads.read", "threads.write", "responses.write"])
    long = "How long is the notice period?  \n " + "And what else is there to be said of it? " * 30
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    made = [
        ask(owning, "POST", "threads", {"messages": messages, "metadata": {"n": str(n)}}, key=key).json
        for n, messages in enumerate(
            (
                [],
                [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Which ladders?"}],
                [{"role": "user", "content": [picture, {"type": "text", "text": long}]}],
            )
        )
    ]
    assert raw.ask(owning, "POST", "/v1/conversations", {}, key=key).status == 200, "which is no thread"
    path = "homeport/threads"
    page = raw.ask(owning, "GET", f"/v1/{path}?limit=2", key=key).json
    assert (page["object"], [one["id"] for one in page["data"]], page["has_more"]) == (
        "list",
        [made[2]["id"], made[1]["id"]],
        True,
    )
    assert [one["title"] for one in page["data"]] == [
        "How long is the notice period? And what else is there to be said of it? And wha…",
        "Which ladders?",
    ]
    first = {name: value for name, value in page["data"][1].items() if name != "title"}
    assert first == made[1]
    openapi.validate("ThreadObject", first)
    rest = raw.ask(owning, "GET", f"/v1/{path}?after={made[1]['id']}", key=key).json
    assert [(one["id"], one["title"]) for one in rest["data"]] == [(made[0]["id"], None)]
    rising = raw.ask(owning, "GET", f"/v1/{path}?order=asc&before={made[2]['id']}&limit=1", key=key).json
    assert ([one["id"] for one in rising["data"]], rising["has_more"]) == ([made[1]["id"]], True)


def test_who_lists_threads(owning: Running) -> None:
    project = new_project(owning, "who lists threads")
    reader = new_key(owning, project, scopes=["threads.read"])
    assert raw.ask(owning, "GET", "/v1/homeport/threads", key=reader).json["data"] == []
    thread = ask(owning, "POST", "threads").json["id"]
    assert raw.ask(owning, "GET", "/v1/homeport/threads", key=reader).json["data"] == []
    answer = raw.ask(owning, "GET", f"/v1/homeport/threads?after={thread}", key=reader)
    assert (answer.status, answer.error["param"]) == (400, "after")
    writer = new_key(owning, project, scopes=["threads.write"])
    answer = raw.ask(owning, "GET", "/v1/homeport/threads", key=writer)
    assert (answer.status, answer.error["code"]) == (403, "missing_scope")


def test_a_key_needs_its_scope(owning: Running) -> None:
    project = new_project(owning, "thread scopes")
    reader = new_key(owning, project, scopes=["threads.read"])
    writer = new_key(owning, project, scopes=["threads.write"])
    path = f"threads/{ask(owning, 'POST', 'threads', key=writer).json['id']}"
    message = {"role": "user", "content": "hi"}
    assert ask(owning, "POST", f"{path}/messages", message, key=writer).status == 200
    assert ask(owning, "GET", path, key=reader).status == 200
    assert len(ask(owning, "GET", f"{path}/messages", key=reader).json["data"]) == 1
    for key, method, where in (
        (writer, "GET", path),
        (writer, "GET", f"{path}/messages"),
        (reader, "POST", "threads"),
        (reader, "POST", path),
        (reader, "DELETE", path),
        (reader, "POST", f"{path}/messages"),
    ):
        answer = ask(owning, method, where, message, key=key)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope"), (method, where)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": "x"}] * 1001}, "messages", "array_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        (
            {"tool_resources": {"code_interpreter": {"file_ids": ["file-x"] * 21}}},
            "tool_resources.code_interpreter.file_ids",
            "array_above_max_length",
        ),
        (
            {"tool_resources": {"file_search": {"vector_stores": [{}, {}]}}},
            "tool_resources.file_search.vector_stores",
            "array_above_max_length",
        ),
    ],
)
def test_what_a_thread_cannot_be(owning: Running, body: Any, param: str, code: str) -> None:
    error = refused(owning, "threads", body)
    assert (error["param"], error["code"]) == (param, code), error


def test_a_file_that_is_not_there_is_named_where_it_stands(owning: Running) -> None:
    attached = [{"file_id": "file-none", "tools": [{"type": "code_interpreter"}]}]
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "attachments": attached}]
    new = {"file_search": {"vector_stores": [{"file_ids": ["file-none"]}]}}
    error = refused(owning, "threads", {"tool_resources": new}, 404)
    assert error["param"] == "tool_resources.file_search.vector_stores[0].file_ids"
    error = refused(owning, "threads", {"messages": messages}, 404)
    assert (error["param"], error["message"]) == (
        "messages[1].attachments[0].file_id",
        "No such File object: file-none",
    )


def test_of_very_many_files_the_first_that_is_missing_is_named(owning: Running) -> None:
    attached = [{"file_id": f"file-{at}", "tools": [{"type": "code_interpreter"}]} for at in range(40_000)]
    messages = [{"role": "user", "content": "a", "attachments": attached}]
    assert refused(owning, "threads", {"messages": messages}, 404)["param"] == "messages[0].attachments[0].file_id"


def test_ids_of_conversations_and_hostile_ones_find_nothing(owning: Running, mine: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        mine.beta.threads.retrieve("conv_x")
    for id in ("x" * 5000, "%00", "thread_%27%20OR%201=1", "..%2F"):
        for path in (f"threads/{id}", f"threads/{id}/messages"):
            assert ask(owning, "GET", path).status == 404, path


def test_an_idempotency_key_makes_one_thread(owning: Running) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "once"}]}
    headers: dict[str, str | None] = {**V2, "Idempotency-Key": "thread-once"}
    first, again = [raw.ask(owning, "POST", "/v1/threads", asked, headers) for _ in range(2)]
    assert first.status == again.status == 200
    assert first.json == again.json


def test_azures_and_async_clients_find_the_same(owning: Running, mine: openai.OpenAI, thread: Thread) -> None:
    azure = openai.AzureOpenAI(azure_endpoint=owning.url, api_key=KEY, api_version="2024-05-01-preview", max_retries=0)
    with azure:
        assert azure.beta.threads.retrieve(thread.id) == thread
        said = azure.beta.threads.messages.create(thread.id, role="user", content="from Azure")
        assert mine.beta.threads.messages.retrieve(said.id, thread_id=thread.id) == said

    async def whole_life() -> None:
        async with openai.AsyncOpenAI(base_url=owning.base_url, api_key=KEY, max_retries=0) as client:
            made = await client.beta.threads.create(messages=[{"role": "user", "content": "hi"}])
            said = await client.beta.threads.messages.create(made.id, role="user", content="there")
            assert (await client.beta.threads.messages.list(made.id)).data[0].id == said.id
            assert (await client.beta.threads.update(made.id, metadata={"a": "b"})).metadata == {"a": "b"}
            assert (await client.beta.threads.delete(made.id)).deleted

    asyncio.run(whole_life())
