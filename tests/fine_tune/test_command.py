"""`homeport fine-tune` before a scripted server: one that streams events, one without a stream, one that breaks off."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from homeport import cli
from homeport.fine_tune import command, server
from tests.fake_upstream import FakeUpstream, Visit, chunked, dead_port, event, fake_upstream, head, until, whole
from tests.fine_tune.jobs import ID, Object, job, message, metrics

KEY = "sk-of-the-project"
DONE = b"data: [DONE]\n\n"


class Served:
    """A server of one job. streams: what each request for a stream of events gets, in turn; nothing: a page of all."""

    def __init__(self) -> None:
        self.job = job(status="running")
        self.events: list[Object] = []
        self.streams: list[Callable[[Visit], None]] = []
        self.asked: list[str] = []
        self.on_page: Callable[[], None] = lambda: None

    def __call__(self, visit: Visit) -> None:
        assert visit.headers["authorization"] == f"Bearer {KEY}"
        assert visit.method == "GET", "whoever watches changes nothing"
        self.asked.append(visit.path)
        path, _, query = visit.path.partition("?")
        if path == f"/v1/fine_tuning/jobs/{ID}":
            visit.send(whole(json.dumps(self.job).encode()))
        elif path == "/v1/fine_tuning/jobs":
            visit.send(whole(json.dumps({"object": "list", "data": [self.job], "has_more": False}).encode()))
        elif path == f"/v1/fine_tuning/jobs/{ID}/events" and "stream=true" in query and self.streams:
            self.streams.pop(0)(visit)
        elif path == f"/v1/fine_tuning/jobs/{ID}/events":
            self.on_page()
            page = {"object": "list", "data": self.events[::-1], "has_more": False}
            visit.send(whole(json.dumps(page).encode()))
        else:
            error = {"message": f"Could not find fine tune: {path[-9:]}", "type": "invalid_request_error"}
            visit.send(whole(json.dumps({"error": error}).encode(), 404))

    def end(self, status: str = "succeeded", **more: Any) -> None:
        self.job = job(status=status, estimated_finish=None, **more)


def streamed(*events: Object, end: bytes | None = DONE) -> bytes:
    pieces = [b": keep-alive\n\n", *map(event, events), *([end] if end else [])]
    return head(content_type="text/event-stream", transfer_encoding="chunked") + b"".join(map(chunked, pieces))


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def fake(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    for module, name in ((command, "FIRST_REST"), (command, "LOOK_SECONDS"), (server, "POLL_SECONDS")):
        monkeypatch.setattr(module, name, 0.02)
    with fake_upstream() as made:
        made.otherwise = served
        monkeypatch.setenv("OPENAI_BASE_URL", made.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("TZ", "UTC")
        yield made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["fine-tune", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_each_event_is_a_line_until_the_job_has_succeeded(
    fake: FakeUpstream, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    def go(visit: Visit) -> None:
        served.end(fine_tuned_model="ft:gpt-4o-mini:org::0a1b2c3d")
        visit.send(streamed(message(0, "Fine-tuning job started"), metrics(1), metrics(2)) + b"0\r\n\r\n")

    served.streams.append(go)
    assert run("watch", ID) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[2] or line for line in lines if "step" in line or "started" in line] == [
        "Fine-tuning job started",
        "step 1/60  train loss 2.3330  train accuracy 0.4822",
        "step 2/60  train loss 2.2716  train accuracy 0.5124",
    ]
    assert lines[-1] == "succeeded: ft:gpt-4o-mini:org::0a1b2c3d"
    assert not any("\x1b" in line for line in lines)


def test_a_connection_that_breaks_is_made_again(
    fake: FakeUpstream, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_off(visit: Visit) -> None:
        visit.send(streamed(metrics(1), metrics(2), end=None))
        visit.reset()

    def refuse(visit: Visit) -> None:
        visit.send(whole(b'{"error": {"message": "The server is starting."}}', 503))

    def go(visit: Visit) -> None:
        served.end("failed", error={"code": "server_error", "message": "It did not work.", "param": None})
        visit.send(streamed(metrics(1), metrics(2), metrics(3)) + b"0\r\n\r\n")

    served.streams += [break_off, refuse, go]
    assert run("watch", ID) == 1
    out = capsys.readouterr().out
    assert [out.count(f"step {step}/60") for step in (1, 2, 3)] == [1, 1, 1]
    assert out.count("not connected, trying again") >= 1
    assert out.splitlines()[-1] == "failed: It did not work."


def test_a_stream_that_is_drained_is_asked_for_again(
    fake: FakeUpstream, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    def go(visit: Visit) -> None:
        served.end("cancelled")
        visit.send(streamed(metrics(1)) + b"0\r\n\r\n")

    served.streams += [lambda visit: visit.send(streamed(end=None) + b"0\r\n\r\n"), go]
    assert run("watch", ID) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "cancelled"


def test_a_server_without_a_stream_is_looked_at_now_and_then(
    fake: FakeUpstream, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    coming = [metrics(1), metrics(2), metrics(3)]

    def go_on() -> None:
        if coming:
            served.events.append(coming.pop(0))
        else:
            served.end()

    served.on_page = go_on
    assert run("watch", ID) == 0
    out = capsys.readouterr().out
    assert [out.count(f"step {step}/60") for step in (1, 2, 3)] == [1, 1, 1]


def test_a_job_that_nobody_knows(fake: FakeUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", "ftjob-no") == 1
    assert capsys.readouterr().err == "homeport: Could not find fine tune: /ftjob-no\n"


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert run("watch", ID, "--base-url", f"http://127.0.0.1:{dead_port()}/v1") == 1
    assert "does not answer" in capsys.readouterr().err


def test_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", ID, "--base-url", "ftp://here") == 2
    assert "--base-url" in capsys.readouterr().err


def test_something_else_than_the_api(fake: FakeUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    fake.otherwise = lambda visit: visit.send(whole(b"<html>", content_type="text/html"))
    assert run("list") == 1
    assert "check --base-url" in capsys.readouterr().err


def test_a_list(fake: FakeUpstream, served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--limit", "5", "--api-key", KEY, "--base-url", fake.base_url) == 0
    assert served.asked == ["/v1/fine_tuning/jobs?limit=5"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{ID}  running ")
    assert line.endswith("  gpt-4o-mini")


def test_in_a_terminal_it_is_drawn_and_ctrl_c_ends_the_watching(fake: FakeUpstream, served: Served) -> None:
    def hold(visit: Visit) -> None:
        visit.send(streamed(message(0, "Fine-tuning job started"), metrics(1), metrics(2), end=None))
        visit.wait_until_left()

    served.streams.append(hold)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "30", "PYTHONUTF8": "1"}
    environment.pop("NO_COLOR", None)
    arguments = [sys.executable, "-m", "homeport", "fine-tune", "watch", ID]
    watching = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"step 2/60" not in shown:
        shown += os.read(ours, 65536)
    watching.send_signal(signal.SIGINT)
    with os.fdopen(ours, "rb", buffering=0) as rest:
        try:
            while piece := rest.read(65536):
                shown += piece
        except OSError:  # the end of a terminal
            pass
    assert watching.wait(60) == 130
    assert "┤".encode() in shown
    assert b"\x1b[" in shown
    assert b"Traceback" not in shown
    assert until(lambda: fake.open == 0)
