"""`homeport import threads`, beside a server that runs, on both databases; what it has brought, through the SDK."""

import json
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from homeport import cli, ids, imports
from homeport.control import exported_threads
from homeport.settings import Settings
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.server import Running

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated")
MOMENT = 1_700_000_000


class Importing:
    """Into a server's database."""

    def __init__(self, server: Running, file: Path) -> None:
        database = server.app.books.database.url
        url = None if database.get_backend_name() == "sqlite" else database.render_as_string(hide_password=False)
        told = {"server": {"data": str(server.data)}, **({"database_url": url} if url else {})}
        self.settings = msgspec.convert(told, Settings)
        self.file = file

    def text(self, text: str | bytes, **options: Any) -> list[str]:
        """What is said of it; what is wrong after a `!`."""
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        lines = imports.threads(self.settings, self.file, **options)
        return [f"!{line.text}" if line.wrong else line.text for line in lines]

    def dump(self, *values: Any, **options: Any) -> list[str]:
        """As JSON Lines."""
        return self.text("".join(f"{json.dumps(value)}\n" for value in values), **options)


@pytest.fixture
def importing(owning: Running, tmp_path: Path) -> Importing:
    return Importing(owning, tmp_path / "threads.jsonl")


def message(at: int, text: str, role: str = "user", **more: Any) -> dict[str, Any]:
    return {
        "id": ids.message(),
        "object": "thread.message",
        "created_at": MOMENT + at,
        "role": role,
        "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
        "assistant_id": None,
        "run_id": None,
        "attachments": [],
        "metadata": {},
        **more,
    }


def thread(**more: Any) -> dict[str, Any]:
    plain = {"object": "thread", "created_at": MOMENT, "metadata": {}, "tool_resources": {}}
    return {"id": ids.thread(), **plain, **more}


def page(messages: list[Any]) -> dict[str, Any]:
    return {"object": "list", "data": messages, "first_id": "a", "last_id": "b", "has_more": False}


def said(client: openai.OpenAI, thread_id: str) -> list[str]:
    """The oldest first."""
    listed: Any = client.beta.threads.messages.list(thread_id, order="asc", limit=100)
    return [one.content[0].text.value for one in listed]


def test_a_thread_comes_as_it_was(importing: Importing, mine: openai.OpenAI) -> None:
    file = mine.files.create(file=("cats.md", b"Cats purr."), purpose="assistants").id
    citation = {
        "type": "file_citation",
        "text": "[1]",
        "start_index": 5,
        "end_index": 8,
        "file_citation": {"file_id": file, "quote": "as it was in v1"},
    }
    asked = message(1, "why?", attachments=[{"file_id": file, "tools": [{"type": "file_search"}]}], metadata={"n": "1"})
    answered = message(
        2,
        "",
        "assistant",
        content=[
            {"type": "text", "text": {"value": "Purr [1]", "annotations": [citation]}},
            {"type": "image_file", "image_file": {"file_id": file, "detail": None}},
        ],
        assistant_id="asst_old",
        run_id="run_old",
        status="incomplete",
        incomplete_details={"reason": "max_tokens"},
        incomplete_at=MOMENT + 3,
    )
    told = thread(metadata={"user": "ann"}, tool_resources={"code_interpreter": {"file_ids": [file]}})
    lines = importing.dump({"thread": told, "messages": [answered, asked]})
    assert lines == ["1 thread imported, with 2 messages"]
    seen = mine.beta.threads.retrieve(told["id"])
    assert (seen.created_at, seen.metadata) == (MOMENT, {"user": "ann"})
    assert seen.tool_resources is not None
    assert seen.tool_resources.code_interpreter is not None
    assert seen.tool_resources.code_interpreter.file_ids == [file]
    first, second = mine.beta.threads.messages.list(told["id"], order="asc").data
    assert (first.id, first.created_at, first.role, first.metadata) == (asked["id"], MOMENT + 1, "user", {"n": "1"})
    assert first.attachments is not None
    assert first.attachments[0].file_id == file
    assert (second.id, second.assistant_id, second.run_id) == (answered["id"], "asst_old", "run_old")
    assert (second.status, second.incomplete_at) == ("incomplete", MOMENT + 3)
    assert second.incomplete_details is not None
    assert second.incomplete_details.reason == "max_tokens"
    text, picture = second.content
    assert text.type == "text"
    assert text.text.value == "Purr [1]"
    del citation["file_citation"]["quote"]  # type: ignore[attr-defined]
    assert text.text.annotations[0].model_dump() == citation
    assert picture.type == "image_file"
    assert picture.image_file.file_id == file


@pytest.mark.parametrize("order", ["rising", "falling", "pages", "embedded", "embedded page", "flat", "page of flat"])
def test_whichever_way_it_was_dumped(importing: Importing, mine: openai.OpenAI, order: str) -> None:
    messages = [message(at // 2, str(at), "assistant" if at % 2 else "user") for at in range(5)]
    newest = messages[::-1]
    told = thread()
    whole = {**told, "messages": newest}
    dumped: dict[str, list[Any]] = {
        "rising": [{"thread": told, "messages": messages}],
        "falling": [{"thread": told, "messages": newest}],
        "pages": [{"thread": told, "messages": [page(newest[:2]), page(newest[2:])]}],
        "embedded": [whole],
        "embedded page": [{"thread": {**told, "messages": page(newest)}}],
        "flat": [told, *[{**one, "thread_id": told["id"]} for one in newest]],
        "page of flat": [page([told]), page([{**one, "thread_id": told["id"]} for one in newest])],
    }
    other = thread(messages=[message(1, "other")])
    lines = importing.dump(*dumped[order], other)
    assert lines[-1] == "2 threads imported, with 6 messages"
    assert said(mine, told["id"]) == ["0", "1", "2", "3", "4"]
    assert said(mine, other["id"]) == ["other"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("array", [True, False])
def test_json_that_is_no_lines(importing: Importing, mine: openai.OpenAI, indent: int | None, array: bool) -> None:
    dumped = {"thread": thread(), "messages": [message(1, "a")]}
    lines = importing.text("\ufeff" + json.dumps([dumped] if array else dumped, indent=indent))
    assert lines == ["1 thread imported, with 1 message"]
    assert said(mine, dumped["thread"]["id"]) == ["a"]  # type: ignore[index]


def test_messages_of_one_second_are_in_the_order_of_who_asked(importing: Importing, mine: openai.OpenAI) -> None:
    turns = [message(0, "asked"), message(0, "answered", "assistant")]
    rising, falling = thread(messages=turns), thread(messages=[{**one, "id": None} for one in turns[::-1]])
    importing.dump(rising, falling)
    assert said(mine, rising["id"]) == said(mine, falling["id"]) == ["asked", "answered"]


def test_short_dumps(importing: Importing, mine: openai.OpenAI) -> None:
    """Nothing but what was said."""
    told = {"id": ids.thread(), "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert importing.dump(told)[-1] == "1 thread imported, with 2 messages"
    assert importing.dump(told)[-1] == "0 threads imported, with 0 messages; 1 were there already"
    assert said(mine, str(told["id"])) == ["a", "b"]
    assert mine.beta.threads.retrieve(str(told["id"])).created_at > MOMENT


def test_nulls_are_what_there_was_not(importing: Importing, mine: openai.OpenAI) -> None:
    """As SDKs dump what the service had left out."""
    nothing = dict.fromkeys(("id", "status", "metadata", "attachments", "created_at", "completed_at", "run_id"))
    told = {**thread(messages=[{**nothing, "role": "user", "content": "a"}]), "metadata": None, "tool_resources": None}
    assert importing.dump(told) == ["1 thread imported, with 1 message"]
    (seen,) = mine.beta.threads.messages.list(told["id"]).data
    assert (seen.status, seen.created_at) == ("completed", MOMENT)


def test_a_thread_without_an_id_is_there_once(importing: Importing) -> None:
    told = {"messages": [message(1, f"a{ids.message()}")]}
    assert importing.dump(told)[-1] == "1 thread imported, with 1 message"
    assert importing.dump(told)[-1] == "0 threads imported, with 0 messages; 1 were there already"


def test_again_and_what_has_come_since(importing: Importing, mine: openai.OpenAI) -> None:
    messages = [message(at, str(at)) for at in range(5)]
    told = thread(messages=messages[:3])
    importing.dump(told)
    mine.beta.threads.messages.delete(messages[1]["id"], thread_id=told["id"])
    lines = importing.dump({**told, "messages": messages})
    assert lines[-1] == "0 threads imported, with 2 messages; 1 of before have grown"
    assert said(mine, told["id"]) == ["0", "2", "3", "4"]
    assert importing.dump({**told, "messages": messages})[-1].endswith("1 were there already")
    mine.beta.threads.messages.create(told["id"], role="user", content="here")
    importing.dump({**told, "messages": messages})
    assert said(mine, told["id"]) == ["0", "2", "3", "4", "here"]


def test_messages_that_stand_apart(importing: Importing, mine: openai.OpenAI) -> None:
    """Behind what is there they are right; before it nobody knows where."""
    told = thread()
    flat = [{**message(at, str(at)), "thread_id": told["id"]} for at in range(3)]
    other = thread()
    assert importing.dump(told, flat[1], other, flat[2])[-1].startswith("2 threads imported, with 2 messages")
    assert said(mine, told["id"]) == ["1", "2"]
    assert importing.dump(flat[0])[0].startswith("!line 1: some of its messages are older")
    assert said(mine, told["id"]) == ["1", "2"]


def test_ids_that_are_taken(importing: Importing, owning: Running, mine: openai.OpenAI) -> None:
    """By another project, which sees nothing of it."""
    project = new_project(owning, "importing")
    theirs = client_of(owning, new_key(owning, project))
    told = thread(messages=[message(1, "a"), message(2, "b")])
    importing.dump(told)
    for times in range(2):
        lines = importing.dump(told, project="importing")
        new = [line.partition(" is ")[2].partition(" here")[0] for line in lines[:-1]]
        assert len(new) == (3 if times == 0 else 1)
        assert lines[-1].startswith(
            "1 thread imported" if times == 0 else "0 threads imported, with 0 messages; 1 were"
        )
        (renamed,) = [one for one in new if one.startswith("thread_")]
        assert said(theirs, renamed) == ["a", "b"]
    assert said(mine, told["id"]) == ["a", "b"]
    with pytest.raises(openai.NotFoundError):
        theirs.beta.threads.retrieve(told["id"])


def test_a_dry_run_writes_nothing(importing: Importing, mine: openai.OpenAI) -> None:
    told = thread(messages=[message(1, "a"), {"role": "nobody"}])
    good = thread(messages=[message(1, "a")])
    lines = importing.dump(told, good, dry=True)
    assert lines[0].startswith("!line 1: ")
    assert lines[-1] == "dry run, nothing is written: 1 thread imported, with 1 message; 1 could not be read"
    with pytest.raises(openai.NotFoundError):
        mine.beta.threads.retrieve(good["id"])


def test_what_cannot_be_read_is_told_by_its_line(importing: Importing, mine: openai.OpenAI) -> None:
    good = thread(messages=[message(1, "a\0b \U0001f431", metadata={"k": "\0"})])
    lines = importing.text(
        "\n".join(
            [
                json.dumps(good),
                "{not json",
                "",
                "7",
                json.dumps({"object": "assistant"}),
                json.dumps(thread(messages=[message(1, "a", role="system")])),
                json.dumps(thread(messages=[message(1, "a", content=[{"type": "video"}])])),
                json.dumps(thread(messages="none")),
                json.dumps(thread(metadata={"k": "x" * 513}, messages=[])),
                json.dumps(thread(messages=[message(1, "a", run_id="a\0b")])),
                json.dumps([thread(messages=[]), "x"]),
                json.dumps(thread(messages=[message(2**80, "a")])),
                json.dumps(thread(created_at=-1, messages=[])),
                '{"messages": [{"role": "user", "content": "\\ud800"}]}',
            ]
        )
    )
    told = [line.removeprefix("!") for line in lines if line.startswith("!")]
    wrong = sorted(told, key=lambda line: int(line.split()[1].strip(",:")))
    assert [line.partition(":")[0] for line in wrong] == [
        *("line 2", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10", "line 11, number 2"),
        *("line 12", "line 13", "line 14"),
    ]
    assert "'system'" in wrong[3]
    assert lines[-1] == "2 threads imported, with 1 message; 12 could not be read"
    assert said(mine, good["id"]) == ["a\0b \U0001f431"]


def test_files_that_are_not_here_are_told(importing: Importing, mine: openai.OpenAI) -> None:
    """The messages name them all the same; a run of the thread does not look for them."""
    resources = {"code_interpreter": {"file_ids": ["file-a"]}, "file_search": {"vector_store_ids": ["vs_a"]}}
    attached = message(1, "a", attachments=[{"file_id": "file-b", "tools": []}])
    old = message(2, "b", attachments=None, file_ids=["file-c"])
    told = thread(tool_resources=resources, messages=[attached, old])
    lines = importing.dump(told)
    assert lines[0] == (
        "4 files and vector stores that the threads name are not in this project: file-a, file-b, file-c, vs_a"
    )
    seen = mine.beta.threads.retrieve(told["id"]).model_dump()["tool_resources"]
    assert seen == {"code_interpreter": {"file_ids": []}, "file_search": {"vector_store_ids": []}}
    first, second = mine.beta.threads.messages.list(told["id"], order="asc").data
    assert first.attachments is not None
    assert second.attachments is not None
    assert (first.attachments[0].file_id, second.attachments[0].file_id) == ("file-b", "file-c")


def run(thread_id: str, *steps: Any, **more: Any) -> dict[str, Any]:
    plain = {"object": "thread.run", "created_at": MOMENT + 1, "assistant_id": "asst_old", "status": "completed"}
    rest = {"model": "gpt-4o", "instructions": "Be kind.", "tools": [{"type": "code_interpreter"}], "metadata": {}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": ids.run(), "thread_id": thread_id, **plain, **rest, "usage": usage, "steps": [*steps], **more}


def step(details: Any, **more: Any) -> dict[str, Any]:
    plain = {"object": "thread.run.step", "created_at": MOMENT + 1, "completed_at": MOMENT + 2, "status": "completed"}
    return {"id": ids.run_step(), **plain, "type": details["type"], "step_details": details, **more}


def called(*calls: Any) -> dict[str, Any]:
    return {"type": "tool_calls", "tool_calls": [*calls]}


def test_runs_come_with_their_steps(importing: Importing, owning: Running, mine: openai.OpenAI) -> None:
    function = {"name": "weather", "arguments": "{}", "output": "sunny"}
    found = [{"file_id": "file-1", "file_name": "c.md", "score": 0.5, "content": [{"type": "text", "text": "Purr."}]}]
    options = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    search = {"ranking_options": options, "results": found}
    outputs = [{"type": "logs", "logs": "1"}, {"type": "image", "image": {"file_id": "file-2"}}]
    calls = called(
        {"id": "call_a", "type": "function", "function": function},
        {"id": "call_b", "type": "file_search", "file_search": search},
        {"id": "call_c", "type": "code_interpreter", "code_interpreter": {"input": "print(1)", "outputs": outputs}},
    )
    told = thread()
    messages = [message(0, "asked"), message(2, "answered", "assistant")]
    said_step = step({"type": "message_creation", "message_creation": {"message_id": messages[1]["id"]}}, usage=None)
    first = run(told["id"], said_step, step(calls))  # the newest first, as they are listed
    cut = run(told["id"], created_at=MOMENT + 9, status="requires_action", usage=None, completed_at=None, steps=None)
    apart = step(
        called({"id": "call_d", "type": "function", "function": {**function, "output": None}}), run_id=cut["id"]
    )
    messages[1]["run_id"] = first["id"]
    whole = {
        "thread": told,
        "messages": messages,
        "runs": page([cut, first]),
        "run_steps": [{**apart, "status": "in_progress"}],
    }
    assert importing.dump(whole)[-1] == "1 thread imported, with 2 messages and 2 runs"
    assert importing.dump(whole)[-1].endswith("1 were there already")
    seen = mine.beta.threads.runs.retrieve(first["id"], thread_id=told["id"])
    assert (seen.status, seen.model, seen.instructions, seen.created_at) == (
        "completed",
        "gpt-4o",
        "Be kind.",
        MOMENT + 1,
    )
    assert seen.usage is not None
    assert seen.usage.total_tokens == 7
    assert mine.beta.threads.runs.retrieve(cut["id"], thread_id=told["id"]).status == "expired"
    assert [one.id for one in mine.beta.threads.runs.list(told["id"])] == [cut["id"], first["id"]]
    listed = mine.beta.threads.runs.steps.list(
        first["id"],
        thread_id=told["id"],
        order="asc",
        include=["step_details.tool_calls[*].file_search.results[*].content"],
    ).data
    assert [one.id for one in listed] == [first["steps"][1]["id"], first["steps"][0]["id"]]
    assert listed[0].step_details.model_dump(exclude_none=True) == calls
    (waiting,) = mine.beta.threads.runs.steps.list(cut["id"], thread_id=told["id"]).data
    assert waiting.status == "expired"
    items = raw.ask(owning, "GET", f"/v1/conversations/{told['id']}/items?order=asc").json["data"]
    kinds = ["function_call", "file_search_call", "code_interpreter_call", "function_call_output"]
    assert [one["type"] for one in items] == ["message", *kinds, "message", "function_call"]
    mine.beta.threads.messages.create(told["id"], role="user", content="and now?")
    theirs = new_project(owning, "runs")
    lines = importing.dump(whole, project=theirs)
    assert lines[-1] == "1 thread imported, with 2 messages and 2 runs"
    assert sum(" is run_" in line for line in lines) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"status": "lost"}, {"model": "a\0b"}, {"steps": [{"id": "step_1"}]}, {"metadata": {"k": "x" * 513}}],
)
def test_a_run_that_cannot_be_read(importing: Importing, wrong: Any) -> None:
    told = thread(messages=[message(1, "a")])
    lines = importing.dump({"thread": told, "runs": [{**run(told["id"]), **wrong}]})
    assert lines[0].startswith("!line 1: 'run_")
    assert lines[-1] == "0 threads imported, with 0 messages; 1 could not be read"


def test_a_message_that_was_being_written_is_incomplete(importing: Importing, mine: openai.OpenAI) -> None:
    told = thread(messages=[message(1, "a", "assistant", status="in_progress")])
    importing.dump(told)
    (seen,) = mine.beta.threads.messages.list(told["id"]).data
    assert seen.status == "incomplete"


def test_an_imported_thread_goes_on(owning: Running, importing: Importing, mine: openai.OpenAI) -> None:
    told = thread(messages=[message(1, "a")])
    importing.dump(told)
    mine.beta.threads.messages.create(told["id"], role="user", content="b")
    assert said(mine, told["id"]) == ["a", "b"]
    items = raw.ask(owning, "GET", f"/v1/conversations/{told['id']}/items?order=asc").json["data"]
    assert [one["content"][0]["text"] for one in items] == ["a", "b"]


def test_the_command(importing: Importing, capsys: pytest.CaptureFixture[str]) -> None:
    importing.file.write_text(json.dumps(thread(messages=[message(1, "a")])) + "\nx\n")
    told = ["import", "threads", str(importing.file), "--data", str(importing.settings.server.data), "--dry-run"]
    with pytest.raises(SystemExit) as ended:
        cli.main(told)
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert printed.out == "dry run, nothing is written: 1 thread imported, with 1 message; 1 could not be read\n"
    assert printed.err.startswith("line 2: it is no JSON")
    for arguments, problem in (
        ([*told[:2], str(importing.file.parent / "none"), *told[3:]], "cannot be read"),
        ([*told, "--project", "nobody"], "There is no project 'nobody'"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 2
        assert problem in capsys.readouterr().err


def test_an_empty_file(importing: Importing) -> None:
    assert importing.text("\n\n") == ["0 threads imported, with 0 messages"]


def test_a_deep_file(importing: Importing) -> None:
    assert importing.text("[" * 100_000)[0].startswith("!line 1: it is no JSON")


def test_reading_ends_a_thread_where_another_begins(tmp_path: Path) -> None:
    file = tmp_path / "flat.jsonl"
    values = [
        {"object": "thread.message", "thread_id": "thread_a", "role": "user", "content": "1"},
        {"object": "thread.message", "thread_id": "thread_a", "role": "user", "content": "2"},
        {"object": "thread.run", "id": "run_a", "thread_id": "thread_a"},
        {"object": "thread.message", "thread_id": "thread_b", "role": "user", "content": "3"},
        {"object": "thread", "id": "thread_c"},
        {"role": "user", "content": "4"},
    ]
    file.write_text("\n".join(json.dumps(one) for one in values))
    with file.open("rb") as opened:
        found = list(exported_threads.read(opened))
    threads = [one for one in found if isinstance(one, exported_threads.Exported)]
    assert len(threads) == len(found)
    assert [(one.thread["id"], len(one.messages), len(one.runs)) for one in threads] == [
        ("thread_a", 2, 1),
        ("thread_b", 1, 0),
        ("thread_c", 1, 0),
    ]
