"""`/v1/conversations` through the official SDK, on both databases; threads and responses, seen from there."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport.store.tables import items, responses, threads
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.api.threads import PROJECT, said, thread_of, write
from tests.server import KEY, Running

HELLO: Any = {"type": "message", "role": "user", "content": "hello"}
CALL: Any = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'}
OUTPUT: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
SEARCH: Any = {
    "type": "file_search_call",
    "id": "fs_theirs",
    "status": "completed",
    "queries": ["cats"],
    "results": [{"file_id": "file-1", "filename": "cats.md", "text": "Cats purr.", "score": 0.9, "attributes": {}}],
}
CODE: Any = {
    "type": "code_interpreter_call",
    "id": "ci_theirs",
    "status": "completed",
    "container_id": "cntr_1",
    "code": "print(1)",
    "outputs": [{"type": "logs", "logs": "1"}],
}
THOUGHT: Any = {
    "type": "reasoning",
    "id": "rs_theirs",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def conversation(mine: openai.OpenAI) -> str:
    return mine.conversations.create().id


def kept(client: openai.OpenAI) -> Any:
    """Items of conversations. An item has no member that the others have, so types say nothing here."""
    return client.conversations.items


def texts(listed: Any) -> list[str]:
    return [one.content[0].text for one in listed]


def refused(server: Running, path: str, body: Any, status: int = 400) -> Any:
    answer = raw.ask(server, "POST", path, body)
    assert answer.status == status, answer.body
    return answer.error


def numbered(count: int) -> list[Any]:
    return [{"role": "user", "content": str(number)} for number in range(count)]


# Conversations


def test_a_conversation_is_made_changed_and_deleted(mine: openai.OpenAI) -> None:
    before = int(time.time()) - 1
    made = mine.conversations.create(metadata={"topic": "cats"})
    assert made.id.startswith("conv_")
    assert (made.object, made.metadata) == ("conversation", {"topic": "cats"})
    assert made.created_at >= before
    assert mine.conversations.retrieve(made.id) == made
    changed = mine.conversations.update(made.id, metadata={"topic": "dogs"})
    assert (changed.id, changed.created_at, changed.metadata) == (made.id, made.created_at, {"topic": "dogs"})
    assert mine.conversations.update(made.id, metadata=None).metadata == {}
    deleted = mine.conversations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
    for ask in (mine.conversations.retrieve, mine.conversations.delete, kept(mine).list):
        with pytest.raises(openai.NotFoundError, match=f"Conversation with id '{made.id}' not found"):
            ask(made.id)


def test_nothing_has_to_be_said(owning: Running, mine: openai.OpenAI) -> None:
    made = raw.ask(owning, "POST", "/v1/conversations", b"")
    assert (made.status, made.json["metadata"]) == (200, {})
    empty = kept(mine).list(made.json["id"])
    assert (empty.data, empty.has_more) == ([], False)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k"),
        ({"items": [HELLO] * 21}, "items"),
        ({"items": "hello"}, "items"),
        ({"items": [{"role": "user"}]}, "items[0].content"),
        ({"items": [HELLO, {"type": "web_search_call", "id": "ws_1"}]}, "items[1].type"),
        ({"items": [{"role": "tool", "content": "x"}]}, "items[0].role"),
        ({"items": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]}, "items[0].content[0].type"),
        ({"items": [{"role": "user", "content": [{"type": "input_image"}]}]}, "items[0].content[0]"),
        (
            {"items": [{"role": "system", "content": [{"type": "input_image", "image_url": "http://x/"}]}]},
            "items[0].content[0].type",
        ),
        (
            {"items": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x/"}]}]},
            "items[0].content[0].file_url",
        ),
        (
            {"items": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1", "detail": "high"}]}]},
            "items[0].content[0].detail",
        ),
        ({"items": [{**CALL, "namespace": "x"}]}, "items[0].namespace"),
        ({"items": [{**OUTPUT, "call_id": ""}]}, "items[0].call_id"),
        ({"items": [{}]}, "items[0].type"),
    ],
)
def test_what_is_refused_is_named(owning: Running, body: Any, param: str) -> None:
    assert refused(owning, "/v1/conversations", body)["param"] == param


def test_an_unknown_member_is_refused(owning: Running) -> None:
    assert "name" in refused(owning, "/v1/conversations", {"name": "x"})["message"]


# Items


def test_items_keep_their_order_and_what_they_say(mine: openai.OpenAI) -> None:
    given = [HELLO, CALL, OUTPUT, SEARCH, CODE, THOUGHT, {"role": "assistant", "content": "bye"}]
    made = mine.conversations.create(items=given)
    listed = (
        kept(mine)
        .list(made.id, order="asc", include=["file_search_call.results", "code_interpreter_call.outputs"])
        .data
    )
    assert [one.type for one in listed] == [one.get("type", "message") for one in given]
    assert [one.id.partition("_")[0] for one in listed if one.id] == ["msg", "fc", "fco", "fs", "ci", "rs", "msg"]
    dumped = [one.model_dump(exclude_none=True, exclude={"id"}) for one in listed]
    assert dumped[0]["content"] == [{"type": "input_text", "text": "hello"}]
    assert dumped[1] == {**CALL, "status": "completed"}
    assert dumped[2] == {**OUTPUT, "status": "completed"}
    assert dumped[3] == {name: value for name, value in SEARCH.items() if name != "id"}
    assert dumped[4] == {name: value for name, value in CODE.items() if name != "id"}
    assert dumped[5]["content"] == THOUGHT["content"]
    assert dumped[6]["content"] == [{"type": "output_text", "text": "bye", "annotations": [], "logprobs": []}]
    assert (dumped[6]["role"], dumped[6]["status"]) == ("assistant", "completed")


def test_what_was_listed_can_be_sent_again(mine: openai.OpenAI) -> None:
    """Nulls and all, as programs do."""
    first = mine.conversations.create(items=[HELLO, CALL, OUTPUT, {"role": "assistant", "content": "bye"}])
    listed = kept(mine).list(first.id, order="asc").data
    again: list[Any] = [one.model_dump() for one in listed]
    second = mine.conversations.create(items=again)
    copied = kept(mine).list(second.id, order="asc").data
    assert [one.id for one in copied] != [one.id for one in listed]
    assert [one.model_dump(exclude={"id"}) for one in copied] == [one.model_dump(exclude={"id"}) for one in listed]


def test_a_reference_brings_its_item(owning: Running, mine: openai.OpenAI, conversation: str) -> None:
    (item,) = kept(mine).create(conversation, items=[HELLO]).data
    other = mine.conversations.create(items=[{"type": "item_reference", "id": item.id}])
    assert texts(kept(mine).list(other.id)) == ["hello"]
    error = refused(owning, "/v1/conversations", {"items": [HELLO, {"id": "msg_none"}]}, 404)
    assert error["param"] == "items[1].id"


def test_what_was_not_asked_for_is_left_out(mine: openai.OpenAI, conversation: str) -> None:
    picture: Any = {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}
    made = kept(mine).create(conversation, items=[SEARCH, CODE, picture])
    for search, code, message in (made.data, kept(mine).list(conversation, order="asc").data):
        assert (search.type, code.type, message.type) == ("file_search_call", "code_interpreter_call", "message")
        assert (search.results, code.outputs) == (None, None)
        assert (message.content[0].image_url, message.content[0].detail) == (None, "auto")
    item_id = made.data[2].id
    seen = kept(mine).retrieve(item_id, conversation_id=conversation, include=["message.input_image.image_url"])
    assert seen.content[0].image_url == PICTURE


def test_something_else_to_include_is_refused(owning: Running, conversation: str) -> None:
    answer = raw.ask(owning, "GET", f"/v1/conversations/{conversation}/items?include[]=everything")
    assert (answer.status, answer.error["param"]) == (400, "include[0]")


def test_items_are_listed_newest_first_in_pages(mine: openai.OpenAI, conversation: str) -> None:
    made = [one.id for one in kept(mine).create(conversation, items=numbered(5)).data]
    newest = made[::-1]
    page = kept(mine).list(conversation, limit=2)
    assert [one.id for one in page.data] == newest[:2]
    assert page.has_more
    assert [one.id for one in kept(mine).list(conversation, limit=2)] == newest
    rising = kept(mine).list(conversation, limit=2, order="asc", after=made[2])
    assert ([one.id for one in rising.data], rising.has_more) == (made[3:], False)
    with pytest.raises(openai.BadRequestError, match="there is no 'msg_none' in this list"):
        kept(mine).list(conversation, after="msg_none")


def test_an_item_is_taken_out(mine: openai.OpenAI, conversation: str) -> None:
    first, second = kept(mine).create(conversation, items=numbered(2)).data
    left = kept(mine).delete(first.id, conversation_id=conversation)
    assert (left.id, left.object) == (conversation, "conversation")
    assert [one.id for one in kept(mine).list(conversation)] == [second.id]
    with pytest.raises(openai.NotFoundError):
        kept(mine).retrieve(first.id, conversation_id=conversation)
    with pytest.raises(openai.NotFoundError):
        kept(mine).delete(first.id, conversation_id=conversation)


def test_an_item_is_in_its_own_conversation_only(mine: openai.OpenAI, conversation: str) -> None:
    (item,) = kept(mine).create(conversation, items=[HELLO]).data
    other = mine.conversations.create().id
    with pytest.raises(openai.NotFoundError, match=item.id):
        kept(mine).retrieve(item.id, conversation_id=other)
    with pytest.raises(openai.NotFoundError, match=item.id):
        kept(mine).delete(item.id, conversation_id=other)


def test_many_add_at_once(mine: openai.OpenAI, conversation: str) -> None:
    """One after the other, as the database has them: who has seen an item has seen all before it."""

    def add(number: int) -> list[str]:
        given = [{"role": "user", "content": f"{number}.{at}"} for at in range(5)]
        return [one.id for one in kept(mine).create(conversation, items=given).data]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(add, range(16)))
    listed = [one.id for one in kept(mine).list(conversation, order="asc", limit=7)]
    together = [listed[at : at + 5] for at in range(0, len(listed), 5)]
    assert sorted(together) == sorted(made)


def test_any_text_is_kept(mine: openai.OpenAI, conversation: str) -> None:
    """NUL, which PostgreSQL's texts do not have, and what is outside of the first plane."""
    odd = "a\0b \U0001f431 \u2028 " + "long " * 100_000
    call: Any = {**CALL, "arguments": '{"x": "\0"}', "name": "n\0"}
    kept(mine).create(conversation, items=[{"role": "user", "content": odd}, call])
    message, called = kept(mine).list(conversation, order="asc").data
    assert texts([message]) == [odd]
    assert (called.arguments, called.name) == (call["arguments"], call["name"])


def test_another_project_sees_nothing(mine: openai.OpenAI, theirs: openai.OpenAI, conversation: str) -> None:
    (item,) = kept(mine).create(conversation, items=[HELLO]).data
    for ask in (theirs.conversations.retrieve, theirs.conversations.delete, kept(theirs).list):
        with pytest.raises(openai.NotFoundError):
            ask(conversation)
    with pytest.raises(openai.NotFoundError):
        theirs.conversations.update(conversation, metadata={})
    with pytest.raises(openai.NotFoundError):
        kept(theirs).create(conversation, items=[HELLO])
    with pytest.raises(openai.NotFoundError):
        kept(theirs).retrieve(item.id, conversation_id=conversation)
    with pytest.raises(openai.NotFoundError):
        theirs.conversations.create(items=[{"type": "item_reference", "id": item.id}])
    assert kept(mine).retrieve(item.id, conversation_id=conversation).id == item.id


def test_a_key_needs_the_scope(owning: Running) -> None:
    project = new_project(owning, "scoped")
    writer = client_of(owning, new_key(owning, project, scopes=["responses.write"]))
    reader = client_of(owning, new_key(owning, project, scopes=["responses.read"]))
    conversation = writer.conversations.create(items=[HELLO]).id
    assert texts(kept(reader).list(conversation)) == ["hello"]
    with pytest.raises(openai.PermissionDeniedError):
        writer.conversations.retrieve(conversation)
    with pytest.raises(openai.PermissionDeniedError):
        writer.responses.input_items.list("resp_none")
    with pytest.raises(openai.PermissionDeniedError):
        reader.conversations.update(conversation, metadata={})
    with pytest.raises(openai.PermissionDeniedError):
        kept(reader).create(conversation, items=[HELLO])
    with pytest.raises(openai.PermissionDeniedError):
        reader.conversations.delete(conversation)


def test_every_object_is_as_described(owning: Running, conversation: str) -> None:
    path = f"/v1/conversations/{conversation}"
    made = raw.ask(owning, "POST", f"{path}/items", {"items": [HELLO, CALL, OUTPUT, SEARCH, CODE, THOUGHT]}).json
    openapi.validate("ConversationItemList", made)
    openapi.validate("ConversationResource", raw.ask(owning, "GET", path).json)
    openapi.validate("ConversationItemList", raw.ask(owning, "GET", f"{path}/items").json)
    for item in made["data"]:
        openapi.validate("ConversationItem", raw.ask(owning, "GET", f"{path}/items/{item['id']}").json)
    removed = raw.ask(owning, "DELETE", f"{path}/items/{made['data'][0]['id']}", b"").json
    openapi.validate("ConversationResource", removed)
    openapi.validate("DeletedConversationResource", raw.ask(owning, "DELETE", path, b"").json)


# Threads


def test_a_thread_is_read_as_a_conversation(owning: Running, mine: openai.OpenAI) -> None:
    file = mine.files.create(file=("cats.md", b"Cats purr."), purpose="assistants").id
    citation = {
        "type": "file_citation",
        "text": "[1]",
        "start_index": 5,
        "end_index": 8,
        "file_citation": {"file_id": file},
    }
    path = {
        "type": "file_path",
        "text": "sandbox:/mnt/data/a.csv",
        "start_index": 9,
        "end_index": 32,
        "file_path": {"file_id": "file-x"},
    }
    thread = thread_of(
        owning,
        [
            said("user", "why?", {"type": "image_file", "image_file": {"file_id": file, "detail": "low"}}),
            said("assistant", "Purr [1] sandbox:/mnt/data/a.csv", annotations=[citation, path]),
        ],
        metadata={"user": "ann"},
    )
    seen = mine.conversations.retrieve(thread.id)
    assert (seen.id, seen.metadata, seen.created_at) == (thread.id, {"user": "ann"}, thread.created_at)
    asked, answered = kept(mine).list(thread.id, order="asc").data
    assert [asked.id, answered.id] == thread.messages
    assert [part.model_dump(exclude_none=True) for part in asked.content] == [
        {"type": "input_text", "text": "why?"},
        {"type": "input_image", "file_id": file, "detail": "low"},
    ]
    (part,) = answered.content
    assert part.text == "Purr [1] sandbox:/mnt/data/a.csv"
    assert [one.model_dump(exclude_none=True) for one in part.annotations] == [
        {"type": "file_citation", "file_id": file, "filename": "cats.md", "index": 5},
        {"type": "file_path", "file_id": "file-x", "index": 9},
    ]
    listed = raw.ask(owning, "GET", f"/v1/conversations/{thread.id}/items").json
    openapi.validate("ConversationItemList", listed)


def test_what_a_run_has_called_stands_before_what_it_said(owning: Running, mine: openai.OpenAI) -> None:
    called = {"id": "call_a", "type": "function", "name": "weather", "arguments": "{}", "output": "sunny"}
    found = {
        "id": "call_b",
        "type": "file_search",
        "name": "file_search",
        "arguments": '{"queries": ["cats"]}',
        "output": "...",
        "result": {
            "type": "file_search",
            "queries": ["cats"],
            "passages": [{"marker": "m", "file_id": "file-1", "filename": "c.md", "score": 0.5, "text": "Purr."}],
        },
    }
    ran = {
        "id": "call_c",
        "type": "code_interpreter",
        "name": "code_interpreter",
        "arguments": '{"code": "1"}',
        "output": "1",
        "result": {
            "type": "code_interpreter",
            "container_id": "cntr_1",
            "code": "1",
            "logs": "1",
            "files": [
                {"path": "a.png", "file_id": "file-2", "container_file_id": "cfile_2", "bytes": 1, "image": True}
            ],
        },
    }
    open_call = {"id": "call_d", "type": "function", "name": "ask", "arguments": "{}", "output": None}
    thread = thread_of(
        owning,
        [said("user", "one"), said("assistant", "two", run=0), said("user", "three")],
        runs=[[[called], [found, ran], 1], [[open_call]]],
    )
    everything: Any = ["file_search_call.results", "code_interpreter_call.outputs"]
    listed = kept(mine).list(thread.id, order="asc", include=everything).data
    assert [one.type for one in listed] == [
        "message",
        "function_call",
        "function_call_output",
        "file_search_call",
        "code_interpreter_call",
        "message",
        "message",
        "function_call",
    ]
    call, output, search, code = listed[1:5]
    assert (call.call_id, call.name, call.status) == ("call_a", "weather", "completed")
    assert (output.call_id, output.output) == ("call_a", "sunny")
    assert (search.queries, search.results[0].text, search.results[0].filename) == (["cats"], "Purr.", "c.md")
    assert (code.code, code.container_id, [one.type for one in code.outputs]) == ("1", "cntr_1", ["logs", "image"])
    waiting = listed[-1]
    assert (waiting.call_id, waiting.status) == ("call_d", "in_progress")
    names = [one.id for one in listed]
    assert len({*names}) == len(names)
    assert [one.id for one in kept(mine).list(thread.id, limit=3)] == names[::-1]
    part = kept(mine).list(thread.id, limit=3, order="asc", after=names[2])
    assert ([one.id for one in part.data], part.has_more) == (names[3:6], True)
    for item in listed:
        assert kept(mine).retrieve(item.id, conversation_id=thread.id, include=everything) == item


def test_a_thread_is_not_written_to_from_here(owning: Running, mine: openai.OpenAI) -> None:
    thread = thread_of(owning, [said("user", "one")])
    with pytest.raises(openai.BadRequestError, match=f"POST /v1/threads/{thread.id}/messages") as refusal:
        kept(mine).create(thread.id, items=[HELLO])
    assert (refusal.value.code, refusal.value.param) == ("thread_is_read_only", "conversation_id")
    with pytest.raises(openai.BadRequestError):
        mine.conversations.update(thread.id, metadata={})
    with pytest.raises(openai.BadRequestError):
        kept(mine).delete(thread.messages[0], conversation_id=thread.id)
    with pytest.raises(openai.BadRequestError):
        mine.conversations.delete(thread.id)
    assert len(kept(mine).list(thread.id).data) == 1
    with pytest.raises(openai.NotFoundError):
        kept(mine).retrieve("msg_none", conversation_id=thread.id)


def test_another_projects_thread_is_not_there(owning: Running, theirs: openai.OpenAI) -> None:
    thread = thread_of(owning, [said("user", "one")])
    with pytest.raises(openai.NotFoundError):
        theirs.conversations.retrieve(thread.id)
    with pytest.raises(openai.NotFoundError):
        kept(theirs).list(thread.id)
    with pytest.raises(openai.NotFoundError):
        kept(theirs).create(thread.id, items=[HELLO])


# Responses


def response(server: Running, id: str, said: Sequence[str], *, previous: str | None = None, within: str = "") -> None:
    """One that said the last of it, after it was told all others."""
    seq = sa.select(threads.c.seq).where(threads.c.id == within).scalar_subquery() if within else None
    row: dict[str, Any] = {
        "id": id,
        "project_id": PROJECT,
        "key_id": "key_x",
        "previous_id": previous,
        "status": "completed",
        "background": False,
        "model": "echo",
        "request": {},
        "created_at": 1,
        "events": 0,
    }
    made = sa.select(responses.c.seq).where(responses.c.id == id).scalar_subquery()
    rows: list[dict[str, Any]] = [
        {
            "id": f"msg_{id}_{at}",
            "project_id": PROJECT,
            "thread_seq": seq,
            "response_seq": made,
            "output": at == len(said) - 1,
            "created_at": 1,
            "type": "message",
            "status": "completed",
            "data": {},
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
        for at, text in enumerate(said)
    ]
    write(
        server,
        sa.insert(responses).values(**row, conversation_seq=seq),
        *[sa.insert(items).values(**one) for one in rows],
    )


def test_input_items_are_those_of_all_that_went_before(owning: Running, mine: openai.OpenAI, conversation: str) -> None:
    ids = [f"resp_{number}{conversation}" for number in range(3)]
    response(owning, ids[0], ["a", "b"])
    response(owning, ids[1], ["c", "d", "e"], previous=ids[0])
    response(owning, ids[2], ["f", "g"], previous=ids[1])
    assert texts(mine.responses.input_items.list(ids[0])) == ["a"]
    assert texts(mine.responses.input_items.list(ids[1], order="asc")) == ["a", "b", "c", "d"]
    page = mine.responses.input_items.list(ids[2], limit=4)
    assert (texts(page.data), page.has_more) == (["f", "e", "d", "c"], True)
    assert texts(mine.responses.input_items.list(ids[2], limit=4)) == ["f", "e", "d", "c", "b", "a"]
    with pytest.raises(openai.BadRequestError):
        mine.responses.input_items.list(ids[0], after="msg_none")
    openapi.validate("ResponseItemList", raw.ask(owning, "GET", f"/v1/responses/{ids[2]}/input_items").json)


def test_input_items_of_a_response_in_a_conversation(owning: Running, mine: openai.OpenAI) -> None:
    made = mine.conversations.create(items=numbered(2))
    first, second = f"resp_1{made.id}", f"resp_2{made.id}"
    response(owning, first, ["a", "b"], within=made.id)
    response(owning, second, ["c", "d"], within=made.id)
    assert texts(mine.responses.input_items.list(first, order="asc")) == ["0", "1", "a"]
    assert texts(mine.responses.input_items.list(second, order="asc")) == ["0", "1", "a", "b", "c"]
    assert texts(kept(mine).list(made.id, order="asc")) == ["0", "1", "a", "b", "c", "d"]
    kept(mine).delete(f"msg_{first}_1", conversation_id=made.id)
    assert texts(mine.responses.input_items.list(second, order="asc")) == ["0", "1", "a", "c"]
    mine.conversations.delete(made.id)
    assert texts(mine.responses.input_items.list(first)) == ["a"]


def test_input_items_are_their_projects_alone(
    owning: Running, mine: openai.OpenAI, theirs: openai.OpenAI, conversation: str
) -> None:
    response(owning, f"resp_{conversation}", ["a", "b"])
    assert texts(mine.responses.input_items.list(f"resp_{conversation}")) == ["a"]
    for response_id in (f"resp_{conversation}", "resp_none"):
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{response_id}' not found"):
            theirs.responses.input_items.list(response_id)


def test_the_other_client(owning: Running) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=owning.base_url, api_key=KEY, max_retries=0) as client:
            made = await client.conversations.create(items=numbered(3))
            return texts([one async for one in client.conversations.items.list(made.id, limit=2, order="asc")])

    assert asyncio.run(ask()) == ["0", "1", "2"]


def test_a_response_goes_on_in_a_conversation_and_not_in_a_thread(owning: Running, mine: openai.OpenAI) -> None:
    conversation = mine.conversations.create(items=[HELLO]).id
    made = mine.responses.create(model="echo", input="why?", conversation=conversation)
    assert texts(kept(mine).list(conversation, order="asc")) == ["hello", "why?", made.output_text]
    assert texts(mine.responses.input_items.list(made.id, order="asc")) == ["hello", "why?"]
    mine.conversations.delete(conversation)
    assert texts(mine.responses.input_items.list(made.id)) == ["why?"]
    assert mine.responses.retrieve(made.id).output_text == made.output_text
    thread = thread_of(owning, [said("user", "one")])
    with pytest.raises(openai.BadRequestError, match="is a thread") as refusal:
        mine.responses.create(model="echo", input="why?", conversation=thread.id)
    assert (refusal.value.code, refusal.value.param) == ("thread_is_read_only", "conversation")
    with pytest.raises(openai.NotFoundError, match="Conversation with id 'conv_none' not found") as missing:
        mine.responses.create(model="echo", input="why?", conversation="conv_none")
    assert missing.value.param == "conversation"
