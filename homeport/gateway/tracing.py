"""Traces: one span a request, as OpenTelemetry's conventions for generative AI name things; no prompt, answer or key.

A client's `traceparent` is the span's parent, and the upstream gets the span as its own. Spans leave in batches, from a
thread of the SDK's. Needs the extra `homeport[otel]`; without `telemetry.otlp_endpoint` nothing of it is loaded.

Source: W3C Trace Context; OpenTelemetry's semantic conventions, "Gen AI spans", "HTTP spans".
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from homeport import __version__
from homeport.backends.capabilities import Header
from homeport.errors import HomeportError, SettingsError
from homeport.gateway.endpoints import ENDPOINTS, Endpoint
from homeport.gateway.meters import CACHE
from homeport.gateway.watching import Aside, status_of
from homeport.settings import Telemetry as TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from homeport.gateway.ledger import Ending, Entry
    from homeport.store.usage_row import UsageRow

#: Seconds that the collector may take for a batch.
EXPORT_SECONDS = 5.0
NANO = 10**9
PICO = 10**12
_TRACES = "/v1/traces"
_LONGEST_STATE = 512
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ENDPOINTS = {endpoint.name: endpoint for endpoint in ENDPOINTS}


def passed_on(parent: bytes, state: bytes) -> tuple[Header, ...]:
    """The headers of a trace that goes on, where there is one. What is none by the standard is left out."""
    if not _PARENT.fullmatch(parent):
        return ()
    headers: tuple[Header, ...] = ((b"traceparent", parent),)
    return (*headers, (b"tracestate", state)) if 0 < len(state) <= _LONGEST_STATE else headers


class Tracing:
    """A Watcher. For one event loop."""

    def __init__(self, settings: TelemetrySettings) -> None:
        """Raises SettingsError."""
        assert settings.otlp_endpoint is not None
        endpoint, headers = _endpoint(settings.otlp_endpoint), _headers(settings.otlp_headers)
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise SettingsError("Traces need an extra: pip install 'homeport[otel]'.") from None
        resource = Resource.create({"service.name": settings.service_name, "service.version": __version__})
        sampler = ParentBased(TraceIdRatioBased(settings.trace_share))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint, headers=headers, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("homeport", __version__)
        self._context = TraceContextTextMapPropagator()
        self._inside = set_span_in_context
        self._server = SpanKind.SERVER
        self._error = Status(StatusCode.ERROR)
        self._spans: dict[str, Span] = {}

    def begun(self, request_id: str, endpoint: Endpoint, parent: bytes, state: bytes) -> tuple[Header, ...]:
        """A span for the request, until it is told of as ended. Gives the headers that an upstream gets."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in passed_on(parent, state)}
        span = self._spans[request_id] = self._started(endpoint, carrier, time.time_ns())
        told: dict[str, str] = {}
        self._context.inject(told, self._inside(span))
        return tuple([(name.encode(), value.encode("latin-1")) for name, value in told.items()])

    def ended(self, ending: "Ending", row: "UsageRow") -> None:
        entry, endpoint = ending.entry, ending.entry.endpoint
        span = self._spans.pop(row.request_id, None) or self._started(endpoint, {}, _nano(row.started_at))
        if span.is_recording():
            attributes: dict[str, Any] = {
                "gen_ai.provider.name": CACHE if row.cache_hit else row.backend,
                "gen_ai.request.stream": row.stream,
                "gen_ai.usage.input_tokens": row.input_tokens
                + row.cached_tokens
                + row.cache_write_tokens
                + row.input_audio_tokens
                + row.input_image_tokens,
                "gen_ai.usage.output_tokens": row.output_tokens + row.output_audio_tokens + row.output_image_tokens,
                "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
                "homeport.cache_hit": row.cache_hit,
                "homeport.batch": row.batch,
            }
            if entry.first_at is not None:
                attributes["gen_ai.response.model"] = row.ran
                if row.stream:
                    attributes["gen_ai.response.time_to_first_chunk"] = entry.first_at - entry.started
            if row.cost_pico is not None:
                attributes["homeport.cost_usd"] = row.cost_pico / PICO
            span.set_attributes(attributes)
            self._finish(span, endpoint, row.model, row.request_id, row.status, (row.key_id, row.project_id))
        span.end(_nano(row.ended_at))

    def aside(self, aside: Aside) -> None:
        """Of what is no inference there are no spans."""
        endpoint = _ENDPOINTS.get(aside.endpoint)
        if endpoint is None:
            return
        now = time.time_ns()
        span = self._spans.pop(aside.request_id, None)
        if span is None:
            span = self._started(endpoint, {}, now - _nano(aside.seconds))
        if span.is_recording():
            principal = aside.principal
            who = (principal.key_id, principal.project) if principal is not None else ("", "")
            self._finish(span, endpoint, aside.model, aside.request_id, aside.status, who)
        span.end(now)

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        span = self._spans.get(entry.call.request_id)
        if span is not None:
            target = entry.target.name if entry.target is not None else ""
            what = {"gen_ai.provider.name": target, "error.type": str(status_of(error)), "homeport.then": then}
            span.add_event("homeport.try.failed", what)

    async def close(self) -> None:
        """What is finished is sent, if the collector takes it."""
        await asyncio.to_thread(self._provider.shutdown)

    def _started(self, endpoint: Endpoint, carrier: Mapping[str, str], at: int) -> "Span":
        attributes = {"gen_ai.operation.name": endpoint.operation, "http.route": endpoint.path}
        return self._tracer.start_span(
            endpoint.operation, self._context.extract(carrier), self._server, attributes, start_time=at
        )

    def _finish(
        self, span: "Span", endpoint: Endpoint, model: str, request_id: str, status: int, who: tuple[str, str]
    ) -> None:
        """who: the ids of the key and of its project."""
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "http.response.status_code": status,
            "homeport.request_id": request_id,
        }
        if model:
            attributes["gen_ai.request.model"] = model
            span.update_name(f"{endpoint.operation} {model}")
        if who != ("", ""):
            attributes["homeport.key_id"], attributes["homeport.project_id"] = who
        if status >= 400:
            attributes["error.type"] = str(status)
        if status >= 500:
            span.set_status(self._error)
        span.set_attributes(attributes)


def _nano(seconds: float) -> int:
    return int(seconds * NANO)


def _endpoint(url: str) -> str:
    """As OTEL_EXPORTER_OTLP_ENDPOINT is read: a base, to which the path of traces is added where it is not there."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(f"telemetry.otlp_endpoint: {url!r} is no URL. Write http://HOST:4318.")
    return url if parts.path.endswith(_TRACES) else url.rstrip("/") + _TRACES


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    """Raises SettingsError, without the value: it may be a key."""
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise SettingsError("telemetry.otlp_headers: write NAME=VALUE each.")
        found[name.strip().lower()] = value.strip()
    return found
