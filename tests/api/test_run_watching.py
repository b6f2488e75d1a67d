"""Runs as streams, through the official SDK, on both databases; what a worker would do is done by hand, as the events
come."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import openai
import pytest

from homeport.wire.runs import LastError
from tests.api import raw
from tests.api.assistants import DEPRECATED, V2, ask, refused
from tests.api.owners import client_of
from tests.control import databases
from tests.fake_upstream import until
from tests.runs import FUNCTION, SETTINGS, Worker, again, call, late, new
from tests.server import Running, running
from tests.store.servers import PostgresServer

pytestmark = DEPRECATED
BEGUN = ["thread.run.created", "thread.run.queued"]
_numbers = count()


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    chosen = dict(SETTINGS)
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        chosen["database_url"] = postgres.create(f"run_watching_{next(_numbers)}")
    with running(tmp_path_factory.mktemp("watching"), chosen) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def names(stream: Any, found: list[str] | None = None, **when: Callable[[Any], object]) -> list[str]:
    """Of its events. when: what is to be done after one, by the last word of its name."""
    found = [] if found is None else found
    for event in stream:
        found.append(event.event)
        when.get(event.event.rpartition(".")[2], lambda _: None)(event.data)
    return found


def begin(client: openai.OpenAI, **more: Any) -> Any:
    assistant = client.beta.assistants.create(model="echo", tools=[FUNCTION]).id
    thread = client.beta.threads.create().id
    return client.beta.threads.runs.create(thread, assistant_id=assistant, stream=True, **more)


def watch(client: openai.OpenAI, run: Any, after: int | None = None) -> Any:
    query = {"stream": "true", **({} if after is None else {"starting_after": after})}
    path = f"/threads/{run.thread_id}/runs/{run.id}"
    answer = client.get(path, cast_to=str, options={"params": query, "headers": {"OpenAI-Beta": "assistants=v2"}})
    return [line.removeprefix("event: ") for line in answer.splitlines() if line.startswith("event: ")]


def test_from_its_beginning_to_its_end(server: Running, mine: openai.OpenAI) -> None:
    def work(run: Any) -> None:
        Worker(server, run.id).ends("completed")

    with begin(mine) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert names(stream, queued=work) == [*BEGUN, "thread.run.in_progress", "thread.run.completed"]


def test_a_thread_comes_before_its_run(server: Running, mine: openai.OpenAI) -> None:
    assistant = mine.beta.assistants.create(model="echo").id
    threads: list[Any] = []

    def cancel(run: Any) -> None:
        assert run.thread_id == threads[0].id
        mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)

    with mine.beta.threads.create_and_run(assistant_id=assistant, stream=True) as stream:
        first = next(iter(stream))
        threads.append(first.data)
        assert [first.event, *names(stream, queued=cancel)] == ["thread.created", *BEGUN, "thread.run.cancelled"]


def test_until_outputs_are_wanted_and_from_there(server: Running, mine: openai.OpenAI) -> None:
    runs: list[Any] = []

    def wants(run: Any) -> None:
        runs.append(run)
        Worker(server, run.id).requires(call())

    with begin(mine) as stream:
        assert names(stream, queued=wants) == [*BEGUN, "thread.run.in_progress", "thread.run.requires_action"]
    (run,) = runs
    outputs: Any = [{"tool_call_id": "call_1", "output": "mild"}]
    submit = mine.beta.threads.runs.submit_tool_outputs
    with submit(run.id, thread_id=run.thread_id, tool_outputs=outputs, stream=True) as stream:
        rest = names(stream, queued=lambda _: Worker(server, run.id).ends("completed"))
    assert rest == [
        *("thread.run.step.completed", "thread.run.queued", "thread.run.in_progress", "thread.run.completed")
    ]
    everything = [*BEGUN, "thread.run.in_progress", "thread.run.requires_action", *rest, "done"]
    assert watch(mine, run) == everything
    assert watch(mine, run, after=3) == everything[4:]


def test_who_watches_one_that_waits_for_outputs_is_told_so(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    Worker(server, run.id).requires(call())
    assert watch(mine, run)[-2:] == ["thread.run.requires_action", "done"]
    late(server, run)
    again(mine, run)
    assert watch(mine, run, after=3) == ["thread.run.step.expired", "thread.run.expired", "done"]


def test_a_failure_of_the_servers_is_an_exception(server: Running, mine: openai.OpenAI) -> None:
    def fail(code: Any) -> Callable[[Any], object]:
        return lambda run: Worker(server, run.id).ends("failed", LastError(code, "It is broken."))

    found: list[str] = []
    with begin(mine) as stream, pytest.raises(openai.APIError, match="It is broken"):
        names(stream, found, queued=fail("server_error"))
    assert found[2:] == ["thread.run.in_progress", "thread.run.failed"]
    with begin(mine) as stream:
        assert names(stream, queued=fail("rate_limit_exceeded"))[-1] == "thread.run.failed"


def test_who_leaves_stops_no_run(server: Running, mine: openai.OpenAI) -> None:
    with begin(mine) as stream:
        run = next(iter(stream)).data
    events = server.app.durable._assisting._run_events
    assert until(lambda: not events._followers._following, 60)
    assert again(mine, run).status == "queued"
    Worker(server, run.id).ends("completed")
    assert watch(mine, run) == [*BEGUN, "thread.run.in_progress", "thread.run.completed", "done"]


def test_what_cannot_be_streamed(server: Running, mine: openai.OpenAI) -> None:
    run = new(mine)
    where, body = f"threads/{run.thread_id}/runs", {"assistant_id": run.assistant_id, "stream": True}
    assert refused(server, where, body)["message"].startswith(f"Thread {run.thread_id} already has an active run")
    content = "include[]=step_details.tool_calls[*].file_search.results[*].content"
    assert refused(server, f"{where}?{content}", body)["param"] == "include[]"
    answer = raw.ask(server, "POST", f"/v1/{where}", body, {**V2, "Idempotency-Key": "k"})
    assert (answer.status, answer.error["param"]) == (400, "stream")
    answer = ask(server, "GET", f"{where}/{run.id}?starting_after=1")
    assert (answer.status, answer.error["param"]) == (400, "starting_after")
    assert ask(server, "GET", f"{where}/run_none?stream=true").status == 404


def test_what_was_told_is_forgotten_in_time(server: Running, mine: openai.OpenAI) -> None:
    run, other = new(mine), new(mine)
    mine.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    watching = server.app.durable._assisting._run_watching
    server.begin(watching.forget(-60)).result(timeout=60)
    answer = ask(server, "GET", f"threads/{run.thread_id}/runs/{run.id}?stream=true")
    assert (answer.status, answer.error["code"]) == (400, "events_not_kept")
    assert again(mine, run).status == "cancelled"
    mine.beta.threads.runs.cancel(other.id, thread_id=other.thread_id)
    assert watch(mine, other) == [*BEGUN, "thread.run.cancelled", "done"]  # it had not ended
