"""Who comes first is decided by the database: many at once, of one server on SQLite, and of two on PostgreSQL."""

from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest

from homeport.control import run_states
from tests.api.assistants import DEPRECATED
from tests.api.crowds import Act, at_once, by_hand, replicas
from tests.api.owners import client_of
from tests.control import databases
from tests.fake_upstream import until
from tests.fine_tuning import drive
from tests.runs import FUNCTION, SETTINGS, Worker, again, begun, call, expire, jobs_of, late, new, told
from tests.server import Running

pytestmark = DEPRECATED
#: Of those who come at once, and how often they do.
CROWD, ROUNDS = 6, 2
OVER = {f"thread.run.{status}" for status in run_states.OVER}


@pytest.fixture(scope="module", params=databases.KINDS)
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Running]]:
    with replicas(request, tmp_path_factory, SETTINGS) as made:
        yield made


@pytest.fixture(params=databases.KINDS)
def working(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Running]]:
    """With real workers."""
    settings = {"models": {"echo": {"engine": "echo", "delay": 0.005}}, "jobs": {"poll_seconds": 0.1}}
    with replicas(request, tmp_path_factory, settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(servers: Sequence[Running]) -> Iterator[openai.OpenAI]:
    """Of the first."""
    with client_of(servers[0]) as made:
        yield made


def cancel(run: Any) -> Act:
    return lambda client: client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)


def submit(run: Any, output: str) -> Act:
    outputs: Any = [{"tool_call_id": "call_1", "output": output}]
    return lambda client: client.beta.threads.runs.submit_tool_outputs(
        run.id, thread_id=run.thread_id, tool_outputs=outputs
    )


def check_events(server: Running, run: Any) -> None:
    """Each number once, and one end."""
    found = told(server, run)
    assert [number for number, _ in found] == list(range(len(found)))
    assert [name for _, name in found if name in OVER] == [found[-1][1]]


@pytest.mark.parametrize("_", range(ROUNDS))
def test_one_of_many_runs_begins(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    assistant = client.beta.assistants.create(model="echo").id
    thread = client.beta.threads.create().id

    def begin(number: int) -> Act:
        said: Any = [{"role": "user", "content": f"run {number}"}]
        return lambda other: other.beta.threads.runs.create(
            thread, assistant_id=assistant, additional_messages=said, instructions=f"run {number}"
        )

    def say(number: int) -> Act:
        return lambda other: other.beta.threads.messages.create(thread, role="user", content=f"message {number}")

    answers = at_once(servers, *[act for number in range(CROWD) for act in (begin(number), say(number))])
    runs, messages = answers[::2], answers[1::2]
    (run,) = [one for one in runs if not isinstance(one, str)]
    assert [one for one in runs if isinstance(one, str)] == [f"Thread {thread} already has an active run {run.id}."] * (
        CROWD - 1
    )
    assert {one for one in messages if isinstance(one, str)} <= {
        f"Can't add messages to {thread} while a run {run.id} is active."
    }
    texts = [one.content[0].to_dict()["text"]["value"] for one in client.beta.threads.messages.list(thread)]  # type: ignore[index]
    said = {one.content[0].text.value for one in messages if not isinstance(one, str)}
    assert texts[0] == run.instructions  # once it is there, nobody says anything
    assert (set(texts[1:]), len(texts)) == (said, len(said) + 1)
    assert jobs_of(servers[0], run) == 1


@pytest.mark.parametrize("_", range(ROUNDS))
def test_outputs_are_taken_once(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    run = new(client)
    Worker(servers[0], run.id).requires(call())
    answers = at_once(servers, *[submit(run, f"output {number}") for number in range(CROWD)])
    (winner,) = [number for number, one in enumerate(answers) if not isinstance(one, str)]
    assert {one for one in answers if isinstance(one, str)} == {'Runs in status "queued" do not accept tool outputs.'}
    (step,) = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    details: Any = step.to_dict()["step_details"]
    assert details["tool_calls"][0]["function"]["output"] == f"output {winner}"
    assert jobs_of(servers[0], run) == 1
    assert [name for _, name in told(servers[0], run)][4:] == ["thread.run.step.completed", "thread.run.queued"]


@pytest.mark.parametrize("_", range(ROUNDS))
def test_cancelled_while_it_is_completed(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    run = new(client)
    worker = Worker(servers[0], run.id)
    worker.says("Done.")
    *cancelled, ends = at_once(servers, cancel(run), cancel(run), by_hand(lambda: worker.ends("completed")))
    assert ends  # what is done is done
    late_word = "Cannot cancel run with status 'completed'."
    assert {one if isinstance(one, str) else one.status for one in cancelled} <= {late_word, "cancelling"}
    assert again(client, run).status == "completed"
    check_events(servers[0], run)
    assert jobs_of(servers[0], run) == 0


@pytest.mark.parametrize("_", range(ROUNDS))
def test_cancelled_while_its_worker_sees_it(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    """The worker wants outputs, as somebody cancels: whoever comes first, it is cancelled."""
    run = new(client)
    worker = Worker(servers[0], run.id)
    cancelled, waits = at_once(servers, cancel(run), by_hand(lambda: worker.requires(call())))
    assert cancelled.status == ("cancelled" if waits else "cancelling")
    if not waits:
        worker.ends("cancelled")
    assert again(client, run).status == "cancelled"
    check_events(servers[0], run)
    assert jobs_of(servers[0], run) == 0


@pytest.mark.parametrize("_", range(ROUNDS))
def test_cancelled_while_it_begins(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    run = new(client)
    begin = by_hand(lambda: drive(servers[-1], lambda connection, _: run_states.begin(connection, run.id)))
    cancelled, _begun = at_once(servers, cancel(run), begin)
    assert (cancelled.status, again(client, run).status) == ("cancelled", "cancelled")  # its job was gone with it
    assert jobs_of(servers[0], run) == 0


@pytest.mark.parametrize("_", range(ROUNDS))
def test_cancelled_while_outputs_come(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    run = new(client)
    Worker(servers[0], run.id).requires(call())
    cancelled, submitted = at_once(servers, cancel(run), submit(run, "mild"))
    assert cancelled.status == "cancelled"
    if isinstance(submitted, str):
        assert submitted == 'Runs in status "cancelled" do not accept tool outputs.'
    assert again(client, run).status == "cancelled"
    check_events(servers[0], run)
    assert jobs_of(servers[0], run) == 0


@pytest.mark.parametrize("_", range(ROUNDS))
def test_expired_while_outputs_come(servers: Sequence[Running], client: openai.OpenAI, _: int) -> None:
    run = new(client)
    Worker(servers[0], run.id).requires(call())
    late(servers[0], run)
    chore = by_hand(lambda: expire(servers[-1]))
    *submitted, ended = at_once(servers, *[submit(run, "late")] * 3, cancel(run), chore, chore)
    refused = {one for one in submitted if isinstance(one, str)}
    assert refused == {
        'Runs in status "expired" do not accept tool outputs.',
        "Cannot cancel run with status 'expired'.",
    }
    assert ended is None
    check_events(servers[0], run)
    assert jobs_of(servers[0], run) == 0


def test_the_next_run_begins_once_one_has_ended(servers: Sequence[Running], client: openai.OpenAI) -> None:
    """As many at once as want the thread, until each has had it."""
    thread = client.beta.threads.create().id
    assistant = client.beta.assistants.create(model="echo", tools=[FUNCTION]).id
    run = begun(client, thread)
    begin: Act = lambda other: other.beta.threads.runs.create(thread, assistant_id=assistant)  # noqa: E731
    for _ in range(ROUNDS):
        answers = at_once(servers, begin, begin, cancel(run), begin, begin)
        made = [one for one in answers[:2] + answers[3:] if not isinstance(one, str)]
        assert len(made) <= 1
        if made:
            (run,) = made
        else:
            run = begun(client, thread)
    assert [one.status for one in client.beta.threads.runs.list(thread, limit=2).data] == ["queued", "cancelled"]


def test_a_crowd_at_work(working: Sequence[Running]) -> None:
    """Runs that are worked on, and cancelled, written to and begun again meanwhile: each of them ends, once."""
    with client_of(working[0]) as client:
        assistant = client.beta.assistants.create(model="echo").id
        said: Any = {"messages": [{"role": "user", "content": "word " * 40}]}
        start: Act = lambda other: other.beta.threads.create_and_run(assistant_id=assistant, thread=said)  # noqa: E731
        runs = at_once(working, *[start] * CROWD)
        acts: list[Act] = []
        for run in runs:
            acts += [cancel(run), _say(run.thread_id), _begin(run.thread_id, assistant)]
        answers = at_once(working, *acts)
        second = [one for one in answers[2::3] if not isinstance(one, str)]
        every = [*runs, *second]
        assert until(lambda: all(again(client, run).status in run_states.OVER for run in every), 60)
        for run, answer in zip(runs, answers[::3], strict=True):
            status = again(client, run).status
            assert status in ("completed", "cancelled")
            assert status == "completed" or not isinstance(answer, str)
            assert len(client.beta.threads.runs.list(run.thread_id).data) <= 2
        for run in every:
            names = [name for _, name in told(working[0], run)]
            assert [name for name in names if name in OVER] == [names[-1]]
            assert jobs_of(working[0], run) == 0
            for message in client.beta.threads.messages.list(run.thread_id, run_id=run.id):
                assert message.status == "completed" or again(client, run).status == "cancelled"
                assert message.status != "in_progress"


def _say(thread: str) -> Act:
    return lambda other: other.beta.threads.messages.create(thread, role="user", content="And?")


def _begin(thread: str, assistant: str) -> Act:
    return lambda other: other.beta.threads.runs.create(thread, assistant_id=assistant)
