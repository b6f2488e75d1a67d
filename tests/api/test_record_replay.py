"""A server that records and one that replays what it recorded, with the upstream gone."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, dead_port, event, plain_answer, whole
from tests.server import KEY, Running, running
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

SECRET = "sk-proj-planted-0123456789abcdef"


def body(model: str = "far-model", text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


@contextmanager
def recording(folder: Path, tapes: Path, **settings: Any) -> Iterator[Relay]:
    with relaying(folder, {"recording": {"record": str(tapes), **settings}}) as relay:
        yield relay


@contextmanager
def replaying(folder: Path, tapes: Path, **settings: Any) -> Iterator[Running]:
    """The upstream is configured, and gone."""
    table = {"recording": {"replay": str(tapes), "speed": 0, **settings}}
    gone = {"upstreams": {"far": {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "api_key": UPSTREAM_KEY}}}
    with running(folder, {**table, **gone}) as homeport:
        yield homeport


def files(tapes: Path) -> list[Path]:
    return sorted(tapes.glob("*/*.json"))


def counted() -> Callable[[Visit], None]:
    """Every answer is another one."""
    turn = iter(range(1000))
    return lambda visit: visit.send(whole(plain_answer(visit).replace(b"chatcmpl-fake", b"answer-%d" % next(turn))))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_what_was_recorded_is_given_again_to_the_byte(tmp_path: Path, stream: bool) -> None:
    asked = body(stream=stream, temperature=0.5)
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        first = raw.ask(relay.homeport, body=asked)
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        again = raw.ask(homeport, body=asked)
    assert (again.status, again.body, again.headers["content-type"]) == (200, first.body, first.headers["content-type"])
    (file,) = files(tmp_path / "tapes")
    name = str(file.relative_to(tmp_path / "tapes"))
    assert name.startswith("chat.completions/far-model-")
    assert (first.headers["x-homeport-recorded"], again.headers["x-homeport-replay"]) == (name, name)
    assert file.stat().st_mode & 0o077 == 0


def test_how_a_question_is_written_makes_no_other_question(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        first = raw.ask(relay.homeport, body=body(temperature=1, user="anna"))
    written = b'{"user": "bert", "temperature": 1.0, "messages": [{"content": "h\\u0065llo", "role": "user"}]'
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        assert raw.ask(homeport, body=written + b', "model": "far-model"}').body == first.body


def test_the_nth_question_gets_the_nth_answer_and_the_last_from_then_on(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        relay.fake.by_model["far-model"] = counted()
        told = [raw.ask(relay.homeport, body=body()).json["id"] for _ in range(3)]
    assert told == ["answer-0", "answer-1", "answer-2"]
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        assert [raw.ask(homeport, body=body()).json["id"] for _ in range(5)] == [*told, "answer-2", "answer-2"]


def test_a_new_run_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for run in ("a", "b"):
        with recording(tmp_path / run, tmp_path / "tapes") as relay:
            relay.fake.by_model["far-model"] = lambda visit, run=run: visit.send(  # type: ignore[misc]
                whole(plain_answer(visit).replace(b"chatcmpl-fake", run.encode()))
            )
            raw.ask(relay.homeport, body=body())
    with replaying(tmp_path / "c", tmp_path / "tapes") as homeport:
        assert [raw.ask(homeport, body=body()).json["id"] for _ in range(2)] == ["b", "b"]


def test_what_was_never_recorded_is_said_with_the_nearest_recording(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        raw.ask(relay.homeport, body=body(text="the quiet part"))
        raw.ask(relay.homeport, body=body(text="hello", temperature=0, seed=1, top_p=0.5))
    near = next(file for file in files(tmp_path / "tapes") if "the quiet part" in file.read_text())
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        missed = raw.ask(homeport, body=body(text="the loud part"))
        assert (missed.status, missed.error["code"]) == (404, "recording_not_found")
        assert missed.headers["x-should-retry"] == "false"
        assert near.name in missed.error["message"]
        assert "differs in messages[0].content." in missed.error["message"]
        assert "quiet" not in missed.error["message"]
        with pytest.raises(openai.NotFoundError):
            openai.OpenAI(base_url=homeport.base_url, api_key=KEY).chat.completions.create(
                model="never", messages=[{"role": "user", "content": "x"}]
            )
        other = raw.ask(homeport, body={"model": "m", "prompt": "x"}, path="/v1/completions")
        assert "nothing for this endpoint" in other.error["message"]


def test_replay_needs_no_network_and_no_model(tmp_path: Path) -> None:
    """A local model that is not on this machine answers from its recordings, too."""
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        told = raw.ask(relay.homeport, body=body("echo", "from here"))
    settings = {"models": {"echo": {"path": str(tmp_path / "not-there.gguf")}}}
    with running(tmp_path / "b", {**settings, "recording": {"replay": str(tmp_path / "tapes")}}) as homeport:
        assert raw.ask(homeport, body=body("echo", "from here")).body == told.body
        listed = raw.ask(homeport, "GET", "/v1/models").json["data"]
        assert [model["id"] for model in listed] == ["echo"]
        assert raw.ask(homeport, "GET", "/readyz").status == 200


def test_refusals_of_the_request_are_replayed_and_others_are_not_recorded(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        for model, code in (("bad", 400), ("limited", 429), ("broken", 500), ("keyless", 401)):
            relay.fake.by_model[model] = faults.status(code)
            raw.ask(relay.homeport, body=body(model))
        relay.fake.by_model["cut"] = faults.cut_after(lambda visit: STREAM_HEAD + chunked(event({"choices": []})))
        raw.ask(relay.homeport, body=body("cut", stream=True))
    (file,) = files(tmp_path / "tapes")
    assert file.name.startswith("bad-")
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        again = raw.ask(homeport, body=body("bad"))
        assert (again.status, again.error) == (400, faults.ERROR)


def test_replay_costs_nothing_and_says_what_it_saved(tmp_path: Path) -> None:
    price = {"prices": {"far-model": {"input": "2", "cached_input": "0.5", "output": "8"}}}
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        raw.ask(relay.homeport, body=body())
    with running(tmp_path / "b", {**price, "recording": {"replay": str(tmp_path / "tapes")}}) as homeport:
        again = raw.ask(homeport, body=body())
        assert again.headers["x-homeport-cost"] == "0"
        receipt = raw.ask(homeport, "GET", f"/v1/homeport/receipts/{again.headers['x-request-id']}").json
    assert (receipt["backend"], float(receipt["saved"])) == ("replay", 0.0000735)


def test_no_secret_is_written_down(tmp_path: Path) -> None:
    """Neither one that is known, nor one by its form, nor one of the operator's forms; headers not at all."""

    def echo(visit: Visit) -> None:
        answer = json.loads(plain_answer(visit))
        answer["choices"][0]["message"]["content"] = visit.json["messages"][0]["content"]
        visit.send(whole(json.dumps(answer).encode()))

    text = f"mine: {SECRET}, theirs: {UPSTREAM_KEY}, postgresql://anna:planted-pw@db/x, ticket PLANTED-77"
    with recording(tmp_path / "a", tmp_path / "tapes", secrets=["PLANTED-[0-9]+"]) as relay:
        relay.fake.by_model["far-model"] = echo
        said = raw.ask(relay.homeport, body=body(text=text), headers={"X-Planted": "planted-header"})
        assert SECRET in said.json["choices"][0]["message"]["content"]
    (file,) = files(tmp_path / "tapes")
    written = file.read_text()
    assert written.count("[secret]") == 8
    for planted in (SECRET, UPSTREAM_KEY, KEY, "planted-pw", "PLANTED-77", "planted-header"):
        assert planted not in written
    with replaying(tmp_path / "b", tmp_path / "tapes", secrets=["PLANTED-[0-9]+"]) as homeport:
        other = text.replace(SECRET, "sk-proj-another-key-of-somebody-9876543210")
        again = raw.ask(homeport, body=body(text=other))
        assert "mine: [secret], theirs: [secret]" in again.json["choices"][0]["message"]["content"]


def test_a_secret_that_is_spread_over_events_is_not_recorded(tmp_path: Path) -> None:
    def spell(visit: Visit) -> None:
        visit.send(STREAM_HEAD)
        for piece in (SECRET[:12], SECRET[12:]):
            chunk = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            visit.send(chunked(event({"id": "x", "object": "chat.completion.chunk", "choices": [chunk]})))
        visit.send(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        relay.fake.by_model["far-model"] = spell
        assert raw.ask(relay.homeport, body=body(stream=True)).body.endswith(b"[DONE]\n\n")
    assert files(tmp_path / "tapes") == []


def test_ignored_parameters_make_no_other_question(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes", ignore=["seed"]) as relay:
        first = raw.ask(relay.homeport, body=body(seed=1))
    with replaying(tmp_path / "b", tmp_path / "tapes", ignore=["seed"]) as homeport:
        assert raw.ask(homeport, body=body(seed=2)).body == first.body


def test_both_ask_only_for_what_is_not_there(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        raw.ask(relay.homeport, body=body(text="old"))
    with recording(tmp_path / "b", tmp_path / "tapes", replay=str(tmp_path / "tapes")) as relay:
        old, new = raw.ask(relay.homeport, body=body(text="old")), raw.ask(relay.homeport, body=body(text="new"))
        again = raw.ask(relay.homeport, body=body(text="new"))
        assert len(relay.fake.received) == 1
    assert "x-homeport-replay" in old.headers
    assert "x-homeport-recorded" in new.headers
    assert "x-homeport-replay" in again.headers


def test_streams_keep_their_timing(tmp_path: Path) -> None:
    """The event that came late is marked so; with a speed it is waited for (here so short that nobody notices)."""
    gate = threading.Event()

    def late(visit: Visit) -> None:
        visit.send(STREAM_HEAD)
        for text in ("one", "two"):
            chunk = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            visit.send(chunked(event({"id": "x", "object": "chat.completion.chunk", "choices": [chunk]})))
            gate.wait(5)
        visit.send(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        relay.fake.by_model["far-model"] = late
        threading.Timer(0.2, gate.set).start()
        first = raw.ask(relay.homeport, body=body(stream=True))
    (file,) = files(tmp_path / "tapes")
    moments = [moment for moment, _ in json.loads(file.read_text())["answers"][0]["events"]]
    assert moments[0] == 0
    assert 50 < moments[1] < 20_000
    with replaying(tmp_path / "b", tmp_path / "tapes", speed=1000) as homeport:
        assert raw.ask(homeport, body=body(stream=True)).body == first.body


def test_a_broken_recording_is_said(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        raw.ask(relay.homeport, body=body())
    (file,) = files(tmp_path / "tapes")
    file.write_text(file.read_text()[:-40])
    with replaying(tmp_path / "b", tmp_path / "tapes") as homeport:
        told = raw.ask(homeport, body=body())
        assert (told.status, told.error["code"]) == (503, "recording_unreadable")
        assert file.name in told.error["message"]
    assert homeport_command("recordings", "list", str(tmp_path / "tapes")).returncode == 1


def test_the_command_lists_and_shows(tmp_path: Path) -> None:
    with recording(tmp_path / "a", tmp_path / "tapes") as relay:
        raw.ask(relay.homeport, body=body(text="what is listed"))
        raw.ask(relay.homeport, body=body(text="streamed", stream=True))
    listed = homeport_command("recordings", "list", str(tmp_path / "tapes"))
    assert listed.returncode == 0
    assert "1 answer  what is listed" in listed.stdout
    file = next(file for file in files(tmp_path / "tapes") if "streamed" in file.read_text())
    shown = homeport_command("recordings", "show", str(file)).stdout
    assert '"content": "streamed"' in shown
    assert "0 ms  data: {" in shown
    assert homeport_command("recordings", "list", str(tmp_path / "nothing")).returncode == 2
    assert homeport_command("serve", "--replay", str(tmp_path / "nothing")).returncode == 2


def homeport_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "homeport", *arguments], capture_output=True, text=True, timeout=90, check=False
    )
