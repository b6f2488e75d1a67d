"""`/v1/threads/{id}/messages` through the official SDK, on both databases."""

import threading
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai.types.beta.threads import Message

from homeport import clock
from homeport.store import tables
from tests import clocks, openapi
from tests.api import raw
from tests.api.assistants import DEPRECATED, V2, ask, code_files, hold, let_go, refused, stores
from tests.fake_upstream import until
from tests.server import Running
from tests.stores import ids, upload

pytestmark = DEPRECATED

SEARCH: Any = {"type": "file_search"}
CODE: Any = {"type": "code_interpreter"}
DAY = 86_400


@pytest.fixture
def thread(mine: openai.OpenAI) -> str:
    return mine.beta.threads.create().id


def say(client: openai.OpenAI, thread: str, content: Any = "hello", **more: Any) -> Message:
    return client.beta.threads.messages.create(thread, role="user", content=content, **more)


def text(message: Message) -> str:
    part: Any = message.content[0]
    value: str = part.text.value
    return value


def test_a_message_of_a_text(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    made = say(mine, thread, "hello\0 \N{GRINNING FACE}", metadata={"a": "b"})
    assert made.id.startswith("msg_")
    assert (made.role, made.thread_id, made.status, made.metadata) == ("user", thread, "completed", {"a": "b"})
    assert (made.assistant_id, made.run_id, made.attachments) == (None, None, [])
    assert (made.incomplete_details, made.incomplete_at, made.completed_at) == (None, None, made.created_at)
    assert text(made) == "hello\0 \N{GRINNING FACE}"
    assert mine.beta.threads.messages.retrieve(made.id, thread_id=thread) == made
    shown = ask(owning, "GET", f"threads/{thread}/messages/{made.id}").json
    assert shown["content"] == [{"type": "text", "text": {"value": "hello\0 \N{GRINNING FACE}", "annotations": []}}]
    openapi.validate("MessageObject", shown)
    openapi.validate("MessageObject", shown, openapi.OF_2024)


def test_a_message_of_parts(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    picture = mine.files.create(file=("a.png", b"\x89PNG"), purpose="vision").id
    parts: Any = [
        {"type": "text", "text": "What are these?"},
        {"type": "image_file", "image_file": {"file_id": picture}},
        {"type": "image_file", "image_file": {"file_id": upload(mine), "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    ]
    made = say(mine, thread, parts)
    assert [part.type for part in made.content] == ["text", "image_file", "image_file", "image_url"]
    shown = ask(owning, "GET", f"threads/{thread}/messages/{made.id}").json
    openapi.validate("MessageObject", shown)
    assert shown["content"][1]["image_file"] == {"file_id": picture, "detail": "auto"}
    assert shown["content"][2]["image_file"]["detail"] == "high"
    assert shown["content"][3]["image_url"] == {"url": "https://example.com/a.png", "detail": "low"}


def test_a_file_that_is_no_picture_is_refused(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    line = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}'
    file = mine.files.create(file=("a.jsonl", line), purpose="fine-tune").id
    part = {"type": "image_file", "image_file": {"file_id": file}}
    error = refused(owning, f"threads/{thread}/messages", {"role": "user", "content": [part]})
    assert (error["param"], error["code"]) == ("content[0].image_file.file_id", "invalid_purpose")


def test_messages_are_listed_newest_first_in_pages(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    messages = mine.beta.threads.messages
    made = [say(mine, thread, str(number)).id for number in range(5)]
    newest = made[::-1]
    page = messages.list(thread, limit=2)
    assert ids(page.data) == newest[:2]
    assert page.has_next_page()
    assert ids(messages.list(thread, limit=2, before=newest[3]).data) == newest[1:3]
    assert ids(messages.list(thread, limit=3, order="asc", after=made[1]).data) == made[2:]
    assert ids(messages.list(thread, limit=2)) == newest
    openapi.validate("ListMessagesResponse", ask(owning, "GET", f"threads/{thread}/messages").json)
    elsewhere = mine.beta.threads.create(messages=[{"role": "user", "content": "x"}]).id
    with pytest.raises(openai.BadRequestError, match="there is no"):
        messages.list(elsewhere, after=made[0])


def test_messages_of_one_run_alone(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    first, second = say(mine, thread), say(mine, thread)

    async def of_a_run() -> None:
        async with owning.app.books.database.write() as connection:
            this = sa.update(tables.items).where(tables.items.c.id == second.id)
            await connection.execute(this.values(run_id="run_x", assistant_id="asst_x", role="assistant"))

    owning.begin(of_a_run()).result(60)
    (found,) = mine.beta.threads.messages.list(thread, run_id="run_x").data
    assert (found.id, found.run_id, found.assistant_id, found.role) == (second.id, "run_x", "asst_x", "assistant")
    assert mine.beta.threads.messages.list(thread, run_id="run_y").data == []
    assert ids(mine.beta.threads.messages.list(thread)) == [second.id, first.id]


def test_only_a_messages_metadata_changes(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    made = say(mine, thread, metadata={"a": "b"})
    messages = mine.beta.threads.messages
    changed = messages.update(made.id, thread_id=thread, metadata={"c": "d"})
    assert changed == made.model_copy(update={"metadata": {"c": "d"}})
    assert messages.update(made.id, thread_id=thread) == changed
    assert messages.update(made.id, thread_id=thread, metadata=None).metadata == {}
    assert refused(owning, f"threads/{thread}/messages/{made.id}", {"content": "x"})["message"] == (
        "Unrecognized request argument supplied: content"
    )


def test_a_deleted_message_is_gone(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    made, other = say(mine, thread), say(mine, thread)
    answer = ask(owning, "DELETE", f"threads/{thread}/messages/{made.id}")
    assert answer.json == {"object": "thread.message.deleted", "id": made.id, "deleted": True}
    openapi.validate("DeleteMessageResponse", answer.json)
    messages = mine.beta.threads.messages
    for again in (messages.retrieve, messages.delete, messages.update):
        with pytest.raises(openai.NotFoundError, match=f"No message found with id '{made.id}'"):
            again(made.id, thread_id=thread)
    assert ids(messages.list(thread)) == [other.id]


def test_messages_are_found_in_their_thread_and_project_alone(
    owning: Running, mine: openai.OpenAI, theirs: openai.OpenAI, thread: str
) -> None:
    made, elsewhere = say(mine, thread), mine.beta.threads.create().id
    for client, where in ((mine, elsewhere), (theirs, thread)):
        messages = client.beta.threads.messages
        for ask_for in (messages.retrieve, messages.delete, messages.update):
            with pytest.raises(openai.NotFoundError):
                ask_for(made.id, thread_id=where)
    for path in (f"threads/{thread}/messages", f"threads/{elsewhere}/messages"):
        with pytest.raises(openai.NotFoundError):
            theirs.beta.threads.messages.create(path.split("/")[1], role="user", content="hi")
    file = upload(theirs)
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        say(mine, thread, attachments=[{"file_id": file, "tools": [CODE]}])
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        say(mine, thread, [{"type": "image_file", "image_file": {"file_id": file}}])
    assert mine.beta.threads.messages.retrieve(made.id, thread_id=thread) == made


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"content": "x"}, "role", "missing_required_parameter"),
        ({"role": "system", "content": "x"}, "role", "invalid_value"),
        ({"role": "user"}, "content", "missing_required_parameter"),
        ({"role": "user", "content": None}, "content", "invalid_type"),
        ({"role": "user", "content": ""}, "content", None),
        ({"role": "user", "content": [{"type": "text", "text": ""}]}, "content", None),
        ({"role": "user", "content": []}, "content", "empty_array"),
        ({"role": "user", "content": "x" * 256_001}, "content", "string_above_max_length"),
        ({"role": "user", "content": [{"type": "audio"}]}, "content[0].type", "invalid_value"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            "content[0].image_url.url",
            "invalid_value",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://["}}]},
            "content[0].image_url.url",
            "invalid_value",
        ),
        (
            {"role": "user", "content": [{"type": "image_file", "image_file": {"file_id": "f", "detail": "huge"}}]},
            "content[0].image_file.detail",
            "invalid_value",
        ),
        (
            {"role": "user", "content": "x", "attachments": [{"file_id": "file-x", "tools": []}]},
            "attachments[0].tools",
            "empty_array",
        ),
        (
            {"role": "user", "content": "x", "attachments": [{"file_id": "file-x"}]},
            "attachments[0].tools",
            "missing_required_parameter",
        ),
        (
            {"role": "user", "content": "x", "attachments": [{"file_id": "file-x", "tools": [{"type": "function"}]}]},
            "attachments[0].tools[0].type",
            "invalid_value",
        ),
        ({"role": "user", "content": "x", "metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
    ],
)
def test_what_a_message_cannot_be(
    owning: Running, mine: openai.OpenAI, thread: str, body: Any, param: str, code: str | None
) -> None:
    error = refused(owning, f"threads/{thread}/messages", body)
    assert (error["param"], error["code"]) == (param, code), error


def test_parameters_of_v1_are_refused(owning: Running, thread: str) -> None:
    error = refused(owning, f"threads/{thread}/messages", {"role": "user", "content": "x", "file_ids": ["file-x"]})
    assert error["message"] == "Unrecognized request argument supplied: file_ids"


def test_a_message_of_half_a_character_is_no_json(owning: Running, thread: str) -> None:
    answer = raw.ask(owning, "POST", f"/v1/threads/{thread}/messages", rb'{"role": "user", "content": "\ud800"}', V2)
    assert answer.status == 400


# What is attached


def test_what_is_attached_for_search_comes_to_the_threads_store(mine: openai.OpenAI, thread: str) -> None:
    first, second = upload(mine, "one"), upload(mine, "two")
    made = say(mine, thread, attachments=[{"file_id": first, "tools": [SEARCH]}])
    assert made.attachments is not None
    assert (made.attachments[0].file_id, [one.type for one in made.attachments[0].tools or ()]) == (
        first,
        ["file_search"],
    )
    (store_id,) = stores(mine.beta.threads.retrieve(thread))
    store = mine.vector_stores.retrieve(store_id)
    assert store.expires_at == (store.last_active_at or 0) + 7 * DAY
    say(mine, thread, attachments=[{"file_id": second, "tools": [SEARCH]}, {"file_id": first, "tools": [SEARCH]}])
    assert stores(mine.beta.threads.retrieve(thread)) == [store_id]
    assert {*ids(mine.vector_stores.files.list(store_id))} == {first, second}


def test_what_is_attached_for_code_is_seen_by_the_threads_code(
    owning: Running, mine: openai.OpenAI, thread: str
) -> None:
    files = [upload(mine, str(at)) for at in range(21)]
    say(mine, thread, attachments=[{"file_id": one, "tools": [CODE]} for one in files[:20]])
    say(mine, thread, attachments=[{"file_id": files[3], "tools": [CODE]}])
    assert code_files(mine.beta.threads.retrieve(thread)) == files[:20]
    body = {"role": "user", "content": "x", "attachments": [{"file_id": files[20], "tools": [CODE]}]}
    error = refused(owning, f"threads/{thread}/messages", body)
    assert (error["param"], error["code"]) == ("attachments", "array_above_max_length")
    assert len(mine.beta.threads.messages.list(thread).data) == 2


def test_nothing_is_attached_to_a_store_that_is_gone_or_has_expired(
    owning: Running, mine: openai.OpenAI, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"role": "user", "content": "x", "attachments": [{"file_id": upload(mine), "tools": [SEARCH]}]}
    gone = mine.vector_stores.create().id
    expiring = mine.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1}).id
    mine.beta.threads.update(thread, tool_resources={"file_search": {"vector_store_ids": [gone]}})
    mine.vector_stores.delete(gone)
    assert gone in refused(owning, f"threads/{thread}/messages", body)["message"]
    mine.beta.threads.update(thread, tool_resources={"file_search": {"vector_store_ids": [expiring]}})
    with monkeypatch.context() as later:
        clocks.own(later, "control.vector_store_states", now=lambda: clock.now() + 2 * DAY)
        error = refused(owning, f"threads/{thread}/messages", body)
    assert (error["param"], expiring in error["message"]) == ("attachments", True)
    assert mine.beta.threads.messages.list(thread).data == []
    mine.beta.threads.update(thread, tool_resources={"file_search": {"vector_store_ids": []}})
    say(mine, thread, attachments=body["attachments"])
    assert len(stores(mine.beta.threads.retrieve(thread))) == 1


# While a run has the thread


@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_action", "cancelling"])
def test_while_a_run_has_the_thread_nobody_says_anything(
    owning: Running, mine: openai.OpenAI, thread: str, status: str
) -> None:
    made = say(mine, thread)
    run_id, before = hold(owning, thread, status)
    assert before == 1
    error = refused(owning, f"threads/{thread}/messages", {"role": "user", "content": "me, too"})
    message = f"Can't add messages to {thread} while a run {run_id} is active."
    assert error == {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    messages = mine.beta.threads.messages
    assert messages.update(made.id, thread_id=thread, metadata={"a": "b"}).metadata == {"a": "b"}
    assert mine.beta.threads.update(thread, metadata={"a": "b"}).metadata == {"a": "b"}
    assert messages.delete(made.id, thread_id=thread).deleted
    let_go(owning, run_id)
    assert say(mine, thread).id


def test_a_message_that_is_being_written_cannot_be_deleted(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    made = say(mine, thread)

    async def become(status: str) -> None:
        async with owning.app.books.database.write() as connection:
            this = sa.update(tables.items).where(tables.items.c.id == made.id)
            await connection.execute(this.values(status=status))

    owning.begin(become("in_progress")).result(60)
    answer = ask(owning, "DELETE", f"threads/{thread}/messages/{made.id}")
    assert (answer.status, "is being written by a run" in answer.error["message"]) == (400, True)
    owning.begin(become("incomplete")).result(60)
    assert mine.beta.threads.messages.delete(made.id, thread_id=thread).deleted


def test_between_messages_and_a_run_the_database_decides(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    """Many say something while a run begins: what was answered with 200 is there, all of it before the run."""
    kept: list[str] = []
    texts: list[str] = []

    def speak() -> None:
        while not texts:
            try:
                kept.append(say(mine, thread).id)
            except openai.BadRequestError as error:
                texts.append(error.body["message"] if isinstance(error.body, dict) else "")

    speakers = [threading.Thread(target=speak) for _ in range(6)]
    for one in speakers:
        one.start()
    try:
        assert until(lambda: len(kept) >= 6, 60)
        run_id, before = hold(owning, thread)
        assert until(lambda: bool(texts), 60)
    finally:
        texts.append("the end")
        for one in speakers:
            one.join()
    refusals = {one for one in texts if one != "the end"}
    assert refusals == {f"Can't add messages to {thread} while a run {run_id} is active."}
    assert len(kept) == before
    assert {*kept} == {*ids(mine.beta.threads.messages.list(thread, limit=100))}


def test_many_attach_files_at_once_and_none_is_lost(owning: Running, mine: openai.OpenAI, thread: str) -> None:
    files = [upload(mine, f"file {at}") for at in range(8)]
    attached: list[str] = []

    def attach(file: str) -> None:
        attached.append(say(mine, thread, attachments=[{"file_id": file, "tools": [SEARCH, CODE]}]).id)

    speakers = [threading.Thread(target=attach, args=(file,)) for file in files]
    for one in speakers:
        one.start()
    for one in speakers:
        one.join()
    assert len(attached) == 8
    after = mine.beta.threads.retrieve(thread)
    (store_id,) = stores(after)
    assert {*code_files(after)} == {*ids(mine.vector_stores.files.list(store_id))} == {*files}
