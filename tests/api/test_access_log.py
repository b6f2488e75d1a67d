"""What a served process writes: a line for each request where it is asked for, in words or JSON, and never content."""

import json
import logging
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.api.test_lifecycle import serving
from tests.fake_upstream import FakeUpstream, fake_upstream, until, whole
from tests.server import KEY, Running, running

PROMPT, ANSWER = "SECRET-PROMPT", "Grüße"
HEADERS: dict[str, str | None] = {"x-team": "SECRET-HEADER", "x-homeport-cache": "on"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


class Written:
    """Records of the access log, of this process."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []

    def of(self, request_id: str) -> dict[str, Any]:
        """The one line of a request, as soon as it is there."""
        assert until(lambda: len(self._of(request_id)) == 1), self._of(request_id)
        return self._of(request_id)[0]

    def _of(self, request_id: str) -> list[dict[str, Any]]:
        found = [dict(vars(record)["fields"]) for record in list(self.records)]
        return [fields for fields in found if fields["request_id"] == request_id]


@pytest.fixture(scope="module")
def written() -> Iterator[Written]:
    made = Written()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            made.records.append(record)

    handler = Keep()
    logger = logging.getLogger("homeport.access")
    logger.addHandler(handler)
    yield made
    logger.removeHandler(handler)


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def server(
    request: pytest.FixtureRequest, fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    settings: dict[str, Any] = {
        "server": {"access_log": True, "max_body_mb": 1},
        "models": {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.02}},
        "upstreams": {"far": {"base_url": fake.base_url}},
        "prices": {"priced": {"input": 1, "output": 10}},
    }
    with running(tmp_path_factory.mktemp("access"), settings, lane=request.param) as made:
        yield made


def ask(server: Running, model: str, **fields: Any) -> raw.Answer:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}
    return raw.ask(server, body=body, headers=HEADERS)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_has_one_line_with_what_the_ledger_knows(server: Running, written: Written, stream: bool) -> None:
    answer = ask(server, "priced", stream=stream)
    line = written.of(answer.headers["x-request-id"])
    timing = line.pop("ms"), line.pop("first_ms")
    assert all(isinstance(number, int) for number in timing)
    assert line.pop("key_id").startswith("key_")
    assert line.pop("project_id").startswith("proj_")
    del line["request_id"]
    assert line == {
        "endpoint": "chat.completions",
        "model": "priced",
        "ran": "priced-2024",
        "upstream": "far",
        "status": 200,
        "outcome": "completed",
        "stream": stream,
        "input_tokens": 11,
        "cached_tokens": 3,
        "output_tokens": 7,
        "cost_usd": (11 * 1 + 7 * 10) / 1e6,
        "cache_hit": False,
        "batch": False,
        "failed_tries": 0,
    }
    again = written.of(ask(server, "priced", stream=stream).headers["x-request-id"])
    assert (again["cache_hit"], again["cost_usd"], again["upstream"]) == (True, 0, None)


def test_failed_tries_are_told(server: Running, written: Written, fake: FakeUpstream) -> None:
    fake.script.append(lambda visit: visit.send(whole(b'{"error": {"message": "SECRET-ERROR"}}', 500)))
    line = written.of(ask(server, "hiccup").headers["x-request-id"])
    assert (line["failed_tries"], line["status"]) == (1, 200)


def test_a_client_that_leaves_has_a_line(server: Running, written: Written) -> None:
    messages: Any = [{"role": "user", "content": "word " * 200}]
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
    with client, client.chat.completions.create(model="slow", messages=messages, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        next(iter(stream))
    line = written.of(request_id)
    assert (line["status"], line["outcome"]) == (499, "left")
    assert line["output_tokens"] > 0


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"key": "sk-wrong-SECRET-0123456789"}, {"status": 401, "code": "invalid_api_key", "key_id": None}),
        ({"body": {**raw.HELLO, "model": "text-davinci-003"}}, {"status": 404, "model": "text-davinci-003"}),
        ({"body": b'{"SECRET'}, {"status": 400, "endpoint": "chat.completions"}),
        ({"body": b" " * 2**20 + b"{} "}, {"status": 413, "endpoint": "chat.completions"}),
        ({"method": "GET", "path": "/v1/models"}, {"status": 200, "endpoint": "/v1/models", "method": "GET"}),
        ({"path": "/v1/SECRET/SECRET?key=SECRET"}, {"status": 404, "endpoint": None, "code": "unknown_url"}),
    ],
)
def test_what_has_no_entry_in_the_ledger_has_a_line_too(
    server: Running, written: Written, request_: dict[str, Any], told: dict[str, Any]
) -> None:
    line = written.of(raw.ask(server, **request_).headers["x-request-id"])
    assert {name: line[name] for name in told} == told


def test_who_asks_whether_it_lives_leaves_no_line(server: Running, written: Written) -> None:
    before = len(written.records)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert raw.ask(server, "GET", path).status == 200
    assert len(written.records) == before


def test_no_line_has_content_or_a_key(server: Running, written: Written) -> None:
    ask(server, "echo")
    ask(server, "far", stream=True)
    told = repr([vars(record) for record in written.records])
    for secret in ("SECRET", ANSWER, KEY):
        assert secret not in told


def test_without_the_setting_there_is_none(tmp_path: Path, written: Written) -> None:
    before = len(written.records)
    with running(tmp_path) as server:
        assert ask(server, "echo").status == 200
    assert len(written.records) == before


class Process:
    """A served process, and the lines that it writes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(process,))
        self._thread.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        self.lines.extend(process.stderr)

    def join(self) -> list[str]:
        self._thread.join()
        return self.lines


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_writes_lines_of_one_form(tmp_path: Path, form: str) -> None:
    environment = {
        "HOMEPORT_API_KEY": KEY,
        "HOMEPORT_SERVER_LOG_FORMAT": form,
        "HOMEPORT_SERVER_ACCESS_LOG": "true",
        "HOMEPORT_SERVER_LOG_LEVEL": "warning",
    }
    with serving(tmp_path, environment=environment) as (url, _, process):
        writing = Process(process)
        port = int(url.rpartition(":")[2])
        server = Running(url, port, None, tmp_path)  # type: ignore[arg-type]
        ids = [ask(server, "echo").headers["x-request-id"]]
        ids.append(raw.ask(server, body={**raw.HELLO, "model": "odd\nname = \u2028 x"}).headers["x-request-id"])
        process.send_signal(signal.SIGTERM)
        lines = writing.join()
        assert process.wait(timeout=60) == 0
    assert len(lines) == 2, lines
    for line, request_id in zip(lines, ids, strict=True):
        if form == "json":
            told = json.loads(line)
            assert (told["level"], told["logger"], told["message"]) == ("info", "homeport.access", "request")
            assert told["request_id"] == request_id
            assert told["time"].endswith("+00:00")
        else:
            assert f"INFO homeport.access: request request_id={request_id} " in line
    assert "SECRET" not in "".join(lines)
    if form == "json":
        assert json.loads(lines[1])["model"] == "odd\nname = \u2028 x"
    else:
        assert r'model="odd\nname = \u2028 x"' in lines[1]
