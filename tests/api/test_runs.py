"""`/v1/threads/THREAD/runs` through the official SDK, on both databases; what a worker would do is done by hand."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from homeport.store.calls import MadeFile, Passage, Ran, Searched
from homeport.wire.runs import LastError
from tests import openapi
from tests.api import raw
from tests.api.assistants import DEPRECATED, ask, refused
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.runs import FUNCTION, SETTINGS, Worker, again, begun, call, expire, jobs_of, late, new, told
from tests.server import Running, running
from tests.store.servers import PostgresServer

pytestmark = DEPRECATED
CONTENT: Any = "step_details.tool_calls[*].file_search.results[*].content"


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    chosen = dict(SETTINGS)
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        chosen["database_url"] = postgres.create("runs")
    with running(tmp_path_factory.mktemp("runs"), chosen) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def test_a_run_of_its_assistant(server: Running, mine: openai.OpenAI) -> None:
    assistant = mine.beta.assistants.create(
        model="echo", instructions="Be kind.", tools=[FUNCTION], temperature=0.3, response_format={"type": "text"}
    )
    thread = mine.beta.threads.create().id
    answer = ask(server, "POST", f"threads/{thread}/runs", {"assistant_id": assistant.id, "metadata": {"a": "b"}})
    assert (answer.status, answer.headers["openai-poll-after-ms"]) == (200, "100")
    run = answer.json
    openapi.validate("RunObject", run)
    made = run.pop("created_at")
    assert run.pop("expires_at") == made + 600
    assert run == {
        "id": run["id"],
        "object": "thread.run",
        "thread_id": thread,
        "assistant_id": assistant.id,
        "status": "queued",
        "required_action": None,
        "last_error": None,
        "started_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": None,
        "incomplete_details": None,
        "model": "echo",
        "instructions": "Be kind.",
        "tools": [{"type": "function", "function": {**FUNCTION["function"], "strict": False}}],
        "metadata": {"a": "b"},
        "usage": None,
        "temperature": 0.3,
        "top_p": 1.0,
        "max_prompt_tokens": None,
        "max_completion_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "reasoning_effort": None,
    }
    shown = mine.beta.threads.runs.retrieve(run["id"], thread_id=thread)
    assert told(server, shown) == [(0, "thread.run.created"), (1, "thread.run.queued")]
    assert jobs_of(server, shown) == 1


def test_what_a_run_says_holds_for_it(mine: openai.OpenAI) -> None:
    assistant = mine.beta.assistants.create(model="echo", instructions="Be kind.", tools=[FUNCTION], top_p=0.5)
    thread = mine.beta.threads.create().id
    other: Any = {"type": "function", "function": {"name": "time", "strict": False}}
    run = mine.beta.threads.runs.create(
        thread,
        assistant_id=assistant.id,
        model="echo",
        instructions="Be short.",
        additional_instructions="And true.",
        additional_messages=[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}],
        tools=[other],
        tool_choice={"type": "function", "function": {"name": "time"}},
        parallel_tool_calls=False,
        temperature=0.1,
        top_p=0.2,
        max_prompt_tokens=256,
        max_completion_tokens=300,
        truncation_strategy={"type": "last_messages", "last_messages": 3},
        response_format={"type": "json_object"},
        reasoning_effort="low",
    )
    said = run.to_dict()
    assert said["instructions"] == "Be short.\n\nAnd true."
    assert (said["tools"], said["tool_choice"]) == ([other], {"type": "function", "function": {"name": "time"}})
    assert (said["temperature"], said["top_p"], said["parallel_tool_calls"]) == (0.1, 0.2, False)
    assert (said["max_prompt_tokens"], said["max_completion_tokens"]) == (256, 300)
    assert said["truncation_strategy"] == {"type": "last_messages", "last_messages": 3}
    assert (said["response_format"], said["reasoning_effort"]) == ({"type": "json_object"}, "low")
    texts = [one.content[0].to_dict() for one in mine.beta.threads.messages.list(thread, order="asc")]
    assert [one["text"]["value"] for one in texts] == ["one", "two"]  # type: ignore[index]
    without = begun(mine, mine.beta.threads.create().id, instructions="", tools=[], temperature=0)
    assert (without.instructions, without.tools, without.temperature) == ("", [], 0)


def test_a_thread_that_is_made_for_its_run(server: Running, mine: openai.OpenAI) -> None:
    assistant = mine.beta.assistants.create(model="echo", tools=[{"type": "file_search"}])
    store = mine.vector_stores.create().id
    run = mine.beta.threads.create_and_run(
        assistant_id=assistant.id,
        thread={"messages": [{"role": "user", "content": "hello"}], "metadata": {"a": "b"}},
        tool_resources={"file_search": {"vector_store_ids": [store]}},
    )
    assert mine.beta.threads.retrieve(run.thread_id).metadata == {"a": "b"}
    assert len(mine.beta.threads.messages.list(run.thread_id).data) == 1
    assert [name for _, name in told(server, run)] == ["thread.created", "thread.run.created", "thread.run.queued"]
    assert Worker(server, run.id).run["tool_resources"] == {"file_search": {"vector_store_ids": [store]}}
    empty = mine.beta.threads.create_and_run(assistant_id=assistant.id)
    assert mine.beta.threads.messages.list(empty.thread_id).data == []


def test_a_thread_has_one_active_run(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    path, body = f"threads/{run.thread_id}/runs", {"assistant_id": run.assistant_id}
    said = f"Thread {run.thread_id} already has an active run {run.id}."
    worker = None
    for step in ("queued", "in_progress", "requires_action", "cancelling"):
        if step == "in_progress":
            worker = Worker(server, run.id)
        elif step == "requires_action":
            assert worker is not None
            worker.requires(call())
        elif step == "cancelling":
            mine.beta.threads.runs.submit_tool_outputs(
                run.id, thread_id=run.thread_id, tool_outputs=[{"tool_call_id": "call_1", "output": ""}]
            )
            worker = Worker(server, run.id)
            mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
        assert again(mine, run).status == step
        error = refused(server, path, body)
        assert error == {"message": said, "type": "invalid_request_error", "param": None, "code": None}
        error = refused(server, f"threads/{run.thread_id}/messages", {"role": "user", "content": "wait"})
        assert error["message"] == f"Can't add messages to {run.thread_id} while a run {run.id} is active."
    assert worker is not None
    worker.ends("cancelled")
    assert ask(server, "POST", path, body).status == 200


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"assistant_id": None}, "assistant_id", "Invalid type for 'assistant_id'"),
        ({"max_prompt_tokens": 255}, "max_prompt_tokens", ">= 256"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", ">= 256"),
        ({"max_prompt_tokens": 2**63}, "max_prompt_tokens", "<= 1099511627776"),
        ({"temperature": 2.1}, "temperature", "<= 2"),
        ({"top_p": 1.1}, "top_p", "<= 1"),
        ({"truncation_strategy": {"type": "last_messages"}}, "truncation_strategy.last_messages", "Missing"),
        ({"truncation_strategy": {"type": "auto", "last_messages": 1}}, "truncation_strategy.last_messages", "only"),
        ({"truncation_strategy": {"type": "never"}}, "truncation_strategy.type", "'auto', and 'last_messages'"),
        ({"tool_choice": "sometimes"}, "tool_choice", "'auto', 'none', and 'required'"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function", "Missing"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "time"}}},
            "tool_choice.function.name",
            "'time' is not among the tools",
        ),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", "'file_search' is not among the tools"),
        ({"tool_choice": {"type": "file_search", "function": {"name": "a"}}}, "tool_choice.function", "only allowed"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "only allowed when 'tools'"),
        ({"tools": [FUNCTION, {"type": "code_interpreter"}]}, "tools[1].type", "code_interpreter"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools[1].function.name", "twice"),
        ({"tools": [{"type": "browser"}]}, "tools[0].type", "'function'"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "512"),
        ({"additional_messages": [{"role": "user", "content": ""}]}, "content", "non-empty"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort", "'low'"),
        ({"stop": "x"}, None, "Unrecognized request argument supplied: stop"),
    ],
)
def test_what_a_run_cannot_be(
    server: Running, mine: openai.OpenAI, thread: str, body: dict[str, Any], param: str | None, words: str
) -> None:
    error = refused(server, f"threads/{thread}/runs", {"assistant_id": assistant_of(mine), **body})
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]
    assert mine.beta.threads.runs.list(thread).data == []


@pytest.fixture(scope="module")
def thread(mine: openai.OpenAI) -> str:
    """In which nothing begins."""
    return mine.beta.threads.create().id


def assistant_of(client: openai.OpenAI) -> str:
    return next((one.id for one in client.beta.assistants.list() if one.name == "the one"), "") or (
        client.beta.assistants.create(model="echo", name="the one", tools=[FUNCTION]).id
    )


def test_what_is_not_there(server: Running, mine: openai.OpenAI, thread: str) -> None:
    run = new(mine)
    assistant = assistant_of(mine)
    for method, path, body, param in (
        ("POST", f"/{thread}/runs", {"assistant_id": "asst_none"}, "assistant_id"),
        ("POST", "/runs", {"assistant_id": "asst_none"}, "assistant_id"),
        ("POST", "/thread_none/runs", {"assistant_id": assistant}, "thread_id"),
        ("GET", "/thread_none/runs", None, "thread_id"),
        ("GET", f"/{thread}/runs/{run.id}", None, "run_id"),
        ("POST", f"/{thread}/runs/{run.id}", {}, "run_id"),
        ("POST", f"/{thread}/runs/{run.id}/cancel", None, "run_id"),
        ("POST", f"/{thread}/runs/{run.id}/submit_tool_outputs", {"tool_outputs": []}, "run_id"),
        ("GET", f"/{thread}/runs/{run.id}/steps", None, "run_id"),
        ("GET", f"/{run.thread_id}/runs/{run.id}/steps/step_none", None, "step_id"),
        ("POST", f"/{thread}/runs", {"assistant_id": assistant, "model": "none"}, None),
    ):
        answer = ask(server, method, f"threads{path}", body)
        assert (answer.status, answer.error["param"]) == (404, param), (method, path, answer.body)


def test_another_project_sees_none_of_it(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    stranger = new_key(server, new_project(server, "strangers"))
    with client_of(server, stranger) as theirs:
        of_theirs = theirs.beta.threads.create().id
        for call_it in (
            lambda: again(theirs, run),
            lambda: theirs.beta.threads.runs.list(run.thread_id),
            lambda: theirs.beta.threads.runs.cancel(run.id, thread_id=run.thread_id),
            lambda: theirs.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id),
            lambda: theirs.beta.threads.runs.create(of_theirs, assistant_id=run.assistant_id),
        ):
            with pytest.raises(openai.NotFoundError):
                call_it()


def test_who_may_not_use_the_model_begins_no_run(server: Running, mine: openai.OpenAI) -> None:
    project = new_project(server, "other models")
    with client_of(server, new_key(server, project)) as theirs:
        thread, assistant = theirs.beta.threads.create().id, theirs.beta.assistants.create(model="echo").id
    for key, word in (
        (new_key(server, project, models=["gpt-4"]), "`echo`"),
        (new_key(server, project, scopes=["api.threads.read"]), "threads.write"),
        (new_key(server, project, scopes=["api.threads.write"]), "model.request"),
    ):
        answer = ask(server, "POST", f"threads/{thread}/runs", {"assistant_id": assistant}, key=key)
        assert (answer.status, word in answer.error["message"]) == (403, True), answer.body


def test_the_beta_header_is_wanted(server: Running, mine: openai.OpenAI, thread: str) -> None:
    answer = raw.ask(server, "GET", f"/v1/threads/{thread}/runs")
    assert (answer.status, answer.error["code"]) == (400, "invalid_beta")


def test_pages(mine: openai.OpenAI) -> None:
    thread = mine.beta.threads.create().id
    made = []
    for _ in range(4):
        made.append(begun(mine, thread).id)
        mine.beta.threads.runs.cancel(made[-1], thread_id=thread)
    page = mine.beta.threads.runs.list(thread, limit=3)
    assert ([one.id for one in page.data], page.has_more) == (made[:0:-1], True)
    assert [one.id for one in mine.beta.threads.runs.list(thread, limit=3)] == made[::-1]
    assert [one.id for one in mine.beta.threads.runs.list(thread, order="asc", after=made[1])] == made[2:]
    assert [one.id for one in mine.beta.threads.runs.list(thread, before=made[1], limit=1).data] == [made[2]]
    with pytest.raises(openai.BadRequestError, match="'after'"):
        mine.beta.threads.runs.list(thread, after="run_none")


def test_runs_of_all_threads(server: Running) -> None:
    project = new_project(server, "runs of all threads")
    key = new_key(server, project)

    def listed(query: str = "") -> list[str]:
        answer = raw.ask(server, "GET", f"/v1/homeport/runs{query}", key=key)
        assert answer.status == 200, answer.body
        return [one["id"] for one in answer.json["data"]]

    with client_of(server, key) as theirs:
        assert listed() == []
        assistants = [theirs.beta.assistants.create(model="echo").id for _ in range(2)]
        made = [theirs.beta.threads.create_and_run(assistant_id=one) for one in (*assistants, assistants[0])]
        ids = [one.id for one in made]
        theirs.beta.threads.runs.cancel(made[1].id, thread_id=made[1].thread_id)
        assert listed() == ids[::-1]
        assert listed("?order=asc&limit=2") == ids[:2]
        assert listed(f"?after={ids[1]}") == ids[:1]
        assert listed("?status[]=queued&status[]=in_progress") == [ids[2], ids[0]]
        assert listed("?status=cancelled") == [ids[1]]
        assert listed(f"?assistant_id={assistants[0]}") == [ids[2], ids[0]]
        assert listed(f"?thread_id={made[1].thread_id}") == [ids[1]]
        assert listed("?thread_id=thread_none") == []
        shown = raw.ask(server, "GET", "/v1/homeport/runs?limit=1", key=key).json
        assert shown["data"][0] == ask(server, "GET", f"threads/{made[2].thread_id}/runs/{ids[2]}", key=key).json
        assert (shown["object"], shown["first_id"], shown["has_more"]) == ("list", ids[2], True)


def test_who_lists_runs(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    project = new_project(server, "who lists runs")
    reader = new_key(server, project, scopes=["threads.read"])
    assert raw.ask(server, "GET", "/v1/homeport/runs", key=reader).json["data"] == []
    for query, param in ((f"?after={run.id}", "after"), ("?status[]=done", "status[]"), ("?model=echo", "model")):
        answer = raw.ask(server, "GET", f"/v1/homeport/runs{query}", key=reader)
        assert (answer.status, answer.error["param"]) == (400, param)
    writer = new_key(server, project, scopes=["threads.write"])
    answer = raw.ask(server, "GET", "/v1/homeport/runs", key=writer)
    assert (answer.status, answer.error["code"]) == (403, "missing_scope")


def test_metadata_is_all_that_changes(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine, metadata={"a": "b"})
    of, runs = run.thread_id, mine.beta.threads.runs
    assert runs.update(run.id, thread_id=of).metadata == {"a": "b"}
    assert runs.update(run.id, thread_id=of, metadata={"c": "d"}).metadata == {"c": "d"}
    assert runs.update(run.id, thread_id=of, metadata=None).metadata == {}
    error = refused(server, f"threads/{run.thread_id}/runs/{run.id}", {"instructions": "other"})
    assert "instructions" in error["message"]


def test_functions_want_outputs(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    hosted = call(3, type="file_search", name="file_search", output="none", result=Searched(["q"], []))
    worker.requires(call(1), call(2), hosted)
    assert jobs_of(server, run) == 0
    answer = ask(server, "GET", f"threads/{run.thread_id}/runs/{run.id}")
    openapi.validate("RunObject", answer.json)
    assert (answer.json["status"], answer.json["usage"]) == ("requires_action", None)
    assert answer.json["required_action"] == {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {
            "tool_calls": [
                {
                    "id": f"call_{number}",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
                }
                for number in (1, 2)
            ]
        },
    }
    listed = mine.beta.threads.runs.list(run.thread_id).data[0].required_action
    assert listed is not None
    assert [one.id for one in listed.submit_tool_outputs.tool_calls] == ["call_1", "call_2"]

    path = f"threads/{run.thread_id}/runs/{run.id}/submit_tool_outputs"
    one, two = ({"tool_call_id": f"call_{number}", "output": f"{number} °C\0"} for number in (1, 2))
    for outputs, param, words in (
        ([one], "tool_outputs", "Expected tool outputs for call_ids ['call_1', 'call_2'], got ['call_1']"),
        ([], "tool_outputs", "missing: call_1, call_2"),
        ([one, two, one], "tool_outputs[2].tool_call_id", "twice"),
        ([one, {**two, "tool_call_id": "call_3"}], "tool_outputs[1].tool_call_id", "there is no such call"),
        ([one, {"tool_call_id": "call_2"}], "tool_outputs[1].output", "Missing required parameter"),
        ([one, {**two, "output": "x" * 2**19}], "tool_outputs", "bytes together"),
    ):
        error = refused(server, path, {"tool_outputs": outputs})
        assert (error["param"], words in error["message"]) == (param, True), error
    assert again(mine, run).status == "requires_action"

    answer = ask(server, "POST", path, {"tool_outputs": [two, one]})
    assert (answer.status, answer.json["status"], answer.json["required_action"]) == (200, "queued", None)
    assert answer.headers["openai-poll-after-ms"] == "100"
    openapi.validate("RunObject", answer.json)
    assert jobs_of(server, run) == 1
    step = mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data[0].to_dict()
    assert (step["status"], step["usage"]) == (
        "completed",
        {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
    )
    calls: Any = step["step_details"]
    assert [one.get("function", {}).get("output") for one in calls["tool_calls"]] == ["1 °C\0", "2 °C\0", None]
    assert refused(server, path, {"tool_outputs": [one, two]})["message"] == (
        'Runs in status "queued" do not accept tool outputs.'
    )

    worker = Worker(server, run.id)
    message = worker.says("Mild.")
    worker.ends("completed")
    ended = again(mine, run)
    assert ended.usage is not None
    assert ended.usage.to_dict() == {"prompt_tokens": 50, "completion_tokens": 15, "total_tokens": 65}
    assert (ended.status, ended.expires_at, ended.completed_at is None) == ("completed", None, False)
    assert mine.beta.threads.messages.retrieve(message, thread_id=run.thread_id).run_id == run.id
    error = refused(server, path, {"tool_outputs": [one, two]})
    assert error["message"] == 'Runs in status "completed" do not accept tool outputs.'
    assert told(server, run) == list(
        enumerate(
            [
                *("thread.run.created", "thread.run.queued", "thread.run.in_progress", "thread.run.requires_action"),
                *("thread.run.step.completed", "thread.run.queued", "thread.run.in_progress", "thread.run.completed"),
            ]
        )
    )


def test_steps(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    where = f"threads/{run.thread_id}/runs/{run.id}/steps"
    passage = Passage("【1:0†a.txt】", "file-1", "a.txt", 0.5, "It rains.")
    search = call(1, type="file_search", name="file_search", output="It rains.", result=Searched(["rain"], [passage]))
    picture, table = MadeFile("p.png", "file-2", "cfile_2", 9, image=True), MadeFile("t.csv", "file-3", "cfile_3", 9)
    ran = Ran("cntr_1", "print(1)", "1\n", [picture, table])
    worker.calls(search, call(2, type="code_interpreter", name="python", output="1\n", result=ran))
    unfinished = call(3, type="code_interpreter", name="python", arguments='{"code": "print(2)"}')
    worker.calls(unfinished, call(4, type="file_search", name="file_search"))
    message = worker.says("It rains.")
    listed = ask(server, "GET", f"{where}?order=asc").json
    openapi.validate("ListRunStepsResponse", listed)
    hosted, pending, said = listed["data"]
    for step in listed["data"]:
        openapi.validate("RunStepObject", step)
        mine.beta.threads.runs.steps.retrieve(step["id"], thread_id=run.thread_id, run_id=run.id)
        assert (step["thread_id"], step["run_id"], step["assistant_id"]) == (run.thread_id, run.id, run.assistant_id)
    found = {"file_id": "file-1", "file_name": "a.txt", "score": 0.5}
    ranked = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    assert hosted["step_details"] == {
        "type": "tool_calls",
        "tool_calls": [
            {"id": "call_1", "type": "file_search", "file_search": {"ranking_options": ranked, "results": [found]}},
            {
                "id": "call_2",
                "type": "code_interpreter",
                "code_interpreter": {
                    "input": "print(1)",
                    "outputs": [{"type": "logs", "logs": "1\n"}, {"type": "image", "image": {"file_id": "file-2"}}],
                },
            },
        ],
    }
    assert pending["step_details"]["tool_calls"] == [
        {"id": "call_3", "type": "code_interpreter", "code_interpreter": {"input": "print(2)", "outputs": []}},
        {"id": "call_4", "type": "file_search", "file_search": {}},
    ]
    assert said["step_details"] == {"type": "message_creation", "message_creation": {"message_id": message}}
    assert said["usage"] == {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}

    full = mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, include=[CONTENT], order="asc").data[0]
    one = mine.beta.threads.runs.steps.retrieve(hosted["id"], thread_id=run.thread_id, run_id=run.id, include=[CONTENT])
    assert full == one
    details: Any = full.to_dict()["step_details"]
    (result,) = details["tool_calls"][0]["file_search"]["results"]
    assert result == {**found, "content": [{"type": "text", "text": "It rains."}]}
    answer = ask(server, "GET", f"{where}?include[]=everything")
    assert (answer.status, answer.error["param"]) == (400, "include[]")
    page = mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, limit=2)
    assert ([step.id for step in page.data], page.has_more) == ([said["id"], pending["id"]], True)
    worker.ends("completed")


def test_cancelled_before_it_began(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    answer = ask(server, "POST", f"threads/{run.thread_id}/runs/{run.id}/cancel")
    openapi.validate("RunObject", answer.json)
    assert (answer.json["status"], answer.json["expires_at"]) == ("cancelled", None)
    assert answer.json["cancelled_at"] >= run.created_at
    assert jobs_of(server, run) == 0
    assert [name for _, name in told(server, run)][2:] == ["thread.run.cancelled"]
    error = refused(server, f"threads/{run.thread_id}/runs/{run.id}/cancel", {})
    assert error["message"] == "Cannot cancel run with status 'cancelled'."


def test_cancelled_while_outputs_are_wanted(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    Worker(server, run.id).requires(call())
    assert mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelled"
    (step,) = mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.status, step.cancelled_at is None, step.completed_at) == ("cancelled", False, None)
    assert [name for _, name in told(server, run)][4:] == ["thread.run.step.cancelled", "thread.run.cancelled"]


def test_cancelled_at_work(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    message = worker.says("It wa", half=True)
    assert mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
    assert mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
    assert not worker.requires(call())
    worker.ends("cancelled")
    assert again(mine, run).status == "cancelled"
    seen = mine.beta.threads.messages.retrieve(message, thread_id=run.thread_id).to_dict()
    assert (seen["status"], seen["incomplete_details"]) == ("incomplete", {"reason": "run_cancelled"})
    assert [one.status for one in mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)] == ["cancelled"]
    assert [name for _, name in told(server, run)][3:] == [
        *("thread.message.incomplete", "thread.run.step.cancelled", "thread.run.cancelled")
    ]


def test_what_was_done_already_is_completed_though_cancelled(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    worker.says("Done.")
    mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert worker.ends("completed")
    assert again(mine, run).status == "completed"
    error = refused(server, f"threads/{run.thread_id}/runs/{run.id}/cancel", {})
    assert error["message"] == "Cannot cancel run with status 'completed'."


def test_a_run_that_was_put_back_is_cancelled_at_once(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    Worker(server, run.id).puts_back()
    assert again(mine, run).status == "in_progress"
    assert mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelled"
    assert jobs_of(server, run) == 0


def test_the_next_worker_ends_what_a_dead_one_was_to_cancel(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    worker.dies()
    expire(server)
    assert again(mine, run).status == "cancelling"
    heir = Worker(server, run.id)
    assert (heir.job.cancel_requested, heir.run["status"]) == (True, "cancelling")
    assert heir.ends("cancelled")
    assert again(mine, run).status == "cancelled"


@pytest.mark.parametrize("act", ["retrieve", "list", "create", "submit", "cancel", "steps", "chore"])
def test_expired_while_it_waited(server: Running, mine: openai.OpenAI, act: str) -> None:
    run = new(mine)
    of, runs = run.thread_id, mine.beta.threads.runs
    outputs: Any = [{"tool_call_id": "call_1", "output": "late"}]
    Worker(server, run.id).requires(call())
    late(server, run)
    if act == "retrieve":
        assert again(mine, run).status == "expired"
    elif act == "list":
        assert [one.status for one in runs.list(of)] == ["expired"]
    elif act == "create":
        begun(mine, run.thread_id)
    elif act == "submit":
        with pytest.raises(openai.BadRequestError, match='Runs in status "expired" do not accept tool outputs.'):
            runs.submit_tool_outputs(run.id, thread_id=of, tool_outputs=outputs)
    elif act == "cancel":
        with pytest.raises(openai.BadRequestError, match="Cannot cancel run with status 'expired'."):
            runs.cancel(run.id, thread_id=of)
    elif act == "steps":
        (step,) = runs.steps.list(run.id, thread_id=of).data
        assert (step.status, step.expired_at is None) == ("expired", False)
    else:
        expire(server)
    assert [name for _, name in told(server, run)][4:] == ["thread.run.step.expired", "thread.run.expired"]
    seen = ask(server, "GET", f"threads/{run.thread_id}/runs/{run.id}").json
    openapi.validate("RunObject", seen)
    assert (seen["status"], seen["expires_at"], seen["required_action"]) == ("expired", None, None)
    assert seen["usage"]["total_tokens"] == 30


def test_expired_before_it_began(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    late(server, run)
    assert again(mine, run).status == "expired"
    assert jobs_of(server, run) == 0


def test_who_works_on_a_run_ends_it_in_its_time_or_the_chore_does(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    message = worker.says("It wa", half=True)
    late(server, run)
    expire(server)
    assert again(mine, run).status == "in_progress"  # it has a minute for it
    late(server, run, seconds=60)
    expire(server)
    assert again(mine, run).status == "expired"
    seen = mine.beta.threads.messages.retrieve(message, thread_id=run.thread_id).to_dict()
    assert seen["incomplete_details"] == {"reason": "run_expired"}
    assert jobs_of(server, run) == 0  # nothing that it still says counts
    assert not worker.ends("completed")


def test_a_cancelled_run_whose_worker_hangs_is_ended(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    Worker(server, run.id)
    mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    late(server, run, seconds=60)
    expire(server)
    assert again(mine, run).status == "cancelled"


def test_failed_and_incomplete(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    message = worker.says("It wa", half=True)
    worker.ends("failed", LastError("invalid_prompt", "Too long."))
    seen = ask(server, "GET", f"threads/{run.thread_id}/runs/{run.id}").json
    openapi.validate("RunObject", seen)
    assert (seen["status"], seen["last_error"]) == ("failed", {"code": "invalid_prompt", "message": "Too long."})
    assert seen["failed_at"] >= seen["started_at"] >= seen["created_at"]
    (step,) = mine.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.status, step.last_error is not None and step.last_error.code) == ("failed", "server_error")
    said = mine.beta.threads.messages.retrieve(message, thread_id=run.thread_id).to_dict()
    assert said["incomplete_details"] == {"reason": "run_failed"}

    other = begun(mine, run.thread_id, max_completion_tokens=256)
    Worker(server, other.id).ends("incomplete", "max_completion_tokens")
    seen = ask(server, "GET", f"threads/{run.thread_id}/runs/{other.id}").json
    openapi.validate("RunObject", seen)
    assert (seen["status"], seen["incomplete_details"]) == ("incomplete", {"reason": "max_completion_tokens"})


def test_a_thread_is_deleted_with_its_run(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    worker = Worker(server, run.id)
    mine.beta.threads.delete(run.thread_id)
    assert jobs_of(server, run) == 0
    assert not worker.ends("completed")
    with pytest.raises(openai.NotFoundError):
        again(mine, run)


def test_a_run_is_made_once_for_one_idempotency_key(server: Running, mine: openai.OpenAI) -> None:
    thread = mine.beta.threads.create().id
    headers = {"Idempotency-Key": f"run-{thread}"}
    one, two = (begun_as(mine, thread, headers) for _ in range(2))
    assert one == two


def begun_as(client: openai.OpenAI, thread: str, headers: dict[str, str]) -> str:
    assistant = assistant_of(client)
    return client.beta.threads.runs.create(thread, assistant_id=assistant, extra_headers=headers).id
