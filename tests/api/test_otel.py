"""Traces: one span a request, to a collector that decodes them, under OpenTelemetry's names and without content."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import openai
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from homeport import __version__, app
from homeport.errors import SettingsError
from homeport.settings import Settings
from tests.api import raw
from tests.fake_upstream import FakeUpstream, dead_port, fake_upstream, until, whole
from tests.server import ECHO, KEY, Running, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT: dict[str, str | None] = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}


class Exported(NamedTuple):
    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.exported: list[Exported] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="collector")
        self._thread.start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        self.headers.append(headers)
        self.bodies.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.exported += [Exported(span, _plain(span.attributes), resource) for span in scope.spans]

    def of(self, request_id: str) -> Exported:
        """The one span of a request, as soon as it is there."""
        assert until(lambda: len(self._of(request_id)) == 1), self._of(request_id)
        return self._of(request_id)[0]

    def _of(self, request_id: str) -> list[Exported]:
        return [one for one in list(self.exported) if one.attributes["homeport.request_id"] == request_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Spans leave after a moment instead of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        collector = Collector()
        try:
            yield collector
        finally:
            collector.close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def server(
    request: pytest.FixtureRequest,
    collector: Collector,
    fake: FakeUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    settings: dict[str, Any] = {
        "models": {**ECHO["models"], "slow": {"engine": "echo", "delay": 0.02}},
        "upstreams": {"far": {"base_url": fake.base_url}},
        "prices": {"priced": {"input": 1, "output": 10}},
        "telemetry": {
            "otlp_endpoint": collector.url,
            "otlp_headers": ["x-collector-key = SECRET-OF-THE-COLLECTOR"],
            "service_name": "the-house",
        },
    }
    with running(tmp_path_factory.mktemp("otel"), settings, lane=request.param) as made:
        yield made


def ask(server: Running, model: str, headers: dict[str, str | None] | None = None, **fields: Any) -> raw.Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "SECRET-PROMPT"}], **fields}
    return raw.ask(server, body=body, headers=headers)


def id_of(answer: raw.Answer) -> str:
    return answer.headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_a_span(server: Running, collector: Collector, stream: bool) -> None:
    answer = ask(server, "priced", stream=stream)
    span, attributes, resource = collector.of(id_of(answer))
    assert (span.name, span.kind) == ("chat priced", Span.SPAN_KIND_SERVER)
    assert span.parent_span_id == b""
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 30 * 10**9
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes.pop("homeport.key_id").startswith("key_")
    assert attributes.pop("homeport.project_id").startswith("proj_")
    if stream:
        assert 0 < attributes.pop("gen_ai.response.time_to_first_chunk") < 30
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "far",
        "gen_ai.request.model": "priced",
        "gen_ai.request.stream": stream,
        "gen_ai.response.model": "priced-2024",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "homeport.request_id": id_of(answer),
        "homeport.cache_hit": False,
        "homeport.batch": False,
        "homeport.cost_usd": (11 * 1 + 7 * 10) / 1e6,
    }
    assert (resource["service.name"], resource["service.version"]) == ("the-house", __version__)


def test_the_clients_trace_goes_on_to_the_upstream(server: Running, collector: Collector, fake: FakeUpstream) -> None:
    span = collector.of(id_of(ask(server, "in-a-trace", PARENT))).span
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    (visit,) = fake.received_for("in-a-trace")[-1:]
    assert visit.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert visit.headers["tracestate"] == "vendor=1"


def test_a_trace_begins_here_where_none_came(server: Running, collector: Collector, fake: FakeUpstream) -> None:
    span = collector.of(id_of(ask(server, "first", {"traceparent": "00-nonsense"}))).span
    (visit,) = fake.received_for("first")[-1:]
    version, trace, parent, flags = visit.headers["traceparent"].split("-")
    assert (version, trace, parent) == ("00", span.trace_id.hex(), span.span_id.hex())
    assert int(flags, 16) & 1  # sampled


def test_who_is_not_sampled_has_no_span(server: Running, collector: Collector, fake: FakeUpstream) -> None:
    ask(server, "unsampled", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
    collector.of(id_of(ask(server, "sampled")))
    assert not [one for one in collector.exported if one.attributes.get("gen_ai.request.model") == "unsampled"]
    (visit,) = fake.received_for("unsampled")[-1:]
    version, trace, _, flags = visit.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")


def test_a_trace_makes_no_other_question(server: Running, collector: Collector) -> None:
    cached: dict[str, str | None] = {"x-homeport-cache": "on"}
    ask(server, "asked-twice", {**cached, **PARENT})
    again = ask(server, "asked-twice", {**cached, "traceparent": f"00-{TRACE[::-1]}-{SPAN}-01"})
    assert again.headers["x-homeport-cache"] == "hit"
    attributes = collector.of(id_of(again)).attributes
    assert (attributes["gen_ai.provider.name"], attributes["homeport.cache_hit"]) == ("cache", True)


def test_what_fails_says_how(server: Running, collector: Collector, fake: FakeUpstream) -> None:
    fake.by_model["broken"] = lambda visit: visit.send(
        whole(b'{"error": {"message": "SECRET-ERROR"}}', 500, x_should_retry="false")
    )
    span, attributes, _ = collector.of(id_of(ask(server, "broken")))
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (500, "500")
    assert span.status.code == Status.STATUS_CODE_ERROR
    (event,) = span.events
    assert event.name == "homeport.try.failed"
    assert _plain(event.attributes) == {
        "gen_ai.provider.name": "far",
        "error.type": "500",
        "homeport.then": "none",
    }


@pytest.mark.parametrize(
    ("status", "request_", "name"),
    [
        (401, {"key": "sk-wrong-SECRET-0123456789"}, "chat"),
        (400, {"body": b'{"SECRET'}, "chat"),
        (404, {"body": {**raw.HELLO, "model": "text-davinci-003"}}, "chat text-davinci-003"),
    ],
)
def test_what_is_refused_is_a_span_of_its_trace(
    server: Running, collector: Collector, status: int, request_: dict[str, Any], name: str
) -> None:
    answer = raw.ask(server, **request_, headers=PARENT)
    assert answer.status == status
    span, attributes, _ = collector.of(id_of(answer))
    assert (span.name, span.parent_span_id.hex()) == (name, SPAN)
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (status, str(status))
    assert span.status.code == Status.STATUS_CODE_UNSET  # the client's fault, not the server's


def test_what_is_given_again_is_a_span_too(server: Running, collector: Collector) -> None:
    again: dict[str, str | None] = {"idempotency-key": f"otel-{id(server)}"}
    first, second = (ask(server, "idempotent", again) for _ in range(2))
    assert second.headers["idempotent-replayed"] == "true"
    assert collector.of(id_of(first)).span.name == "chat idempotent"
    assert collector.of(id_of(second)).attributes["http.response.status_code"] == 200


def test_a_client_that_leaves_ends_its_span(server: Running, collector: Collector) -> None:
    messages: Any = [{"role": "user", "content": "word " * 200}]
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
    with client, client.chat.completions.create(model="slow", messages=messages, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        next(iter(stream))
    attributes = collector.of(request_id).attributes
    assert attributes["error.type"] == "499"
    assert attributes["gen_ai.usage.output_tokens"] > 0


def test_azures_way_and_completions(server: Running, collector: Collector) -> None:
    azure = "/openai/deployments/blue/chat/completions?api-version=2024-10-21"
    assert collector.of(id_of(raw.ask(server, path=azure))).span.name == "chat blue"
    answer = raw.ask(server, path="/v1/completions", body={"model": "echo", "prompt": "a"})
    span, attributes, _ = collector.of(id_of(answer))
    assert (span.name, attributes["gen_ai.provider.name"]) == ("text_completion echo", "local")


def test_nothing_of_the_content_leaves(server: Running, collector: Collector) -> None:
    collector.of(id_of(ask(server, "echo", stream=True)))
    sent = b"".join(collector.bodies)
    for secret in ("SECRET", "Grüße", KEY):
        assert secret.encode() not in sent
    assert {one["x-collector-key"] for one in collector.headers} == {"SECRET-OF-THE-COLLECTOR"}
    assert not server.app.tracing._spans  # type: ignore[union-attr]


def test_a_share_of_the_requests_is_traced(tmp_path: Path) -> None:
    with collecting() as collector:
        telemetry = {"otlp_endpoint": collector.url, "trace_share": 0}
        with running(tmp_path, {"telemetry": telemetry}) as server:
            ask(server, "echo")
            traced = id_of(ask(server, "echo", PARENT))
        assert [one.attributes["homeport.request_id"] for one in collector.exported] == [traced]


def test_the_last_spans_leave_before_the_end(tmp_path: Path) -> None:
    collector = Collector()
    with running(tmp_path, {"telemetry": {"otlp_endpoint": f"{collector.url}/v1/traces"}}) as server:
        ask(server, "echo")
    assert len(collector.exported) == 1
    collector.close()


def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    telemetry = {"otlp_endpoint": f"http://127.0.0.1:{dead_port()}"}
    with running(tmp_path, {"telemetry": telemetry}) as server:  # it ends within half a minute, or the block fails
        assert ask(server, "echo").status == 200


def test_without_a_collector_a_trace_is_passed_on_as_it_is(fake: FakeUpstream, tmp_path: Path) -> None:
    with running(tmp_path, {"upstreams": {"far": {"base_url": fake.base_url}}}) as server:
        ask(server, "passing", PARENT)
        ask(server, "passing", {"traceparent": f"00-{'0' * 32}-{SPAN}-01", "tracestate": "a=1"})
        ask(server, "passing")
    first, *others = fake.received_for("passing")
    assert {name: first.headers[name] for name in PARENT} == PARENT
    for other in others:
        assert not {"traceparent", "tracestate"} & set(other.headers)


@pytest.mark.parametrize(
    ("telemetry", "told"),
    [
        ({"otlp_endpoint": "collector:4318"}, "Write http://HOST:4318"),
        ({"otlp_endpoint": "http://127.0.0.1:4318", "otlp_headers": ["SECRET"]}, "write NAME=VALUE each"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, telemetry: dict[str, Any], told: str) -> None:
    refused(tmp_path, telemetry, told)


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    refused(tmp_path, {"otlp_endpoint": "http://127.0.0.1:4318"}, r"pip install 'homeport\[otel\]'")


def refused(data: Path, telemetry: dict[str, Any], told: str) -> None:
    settings = msgspec.convert({**ECHO, "server": {"data": str(data)}, "telemetry": telemetry}, Settings)
    with pytest.raises(SettingsError, match=told) as caught:
        app.build(settings)
    assert "SECRET" not in str(caught.value)
