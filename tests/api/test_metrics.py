"""`/metrics`: what is counted, under which names, for whom; read by Prometheus' own parsers."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from homeport.api import exposition
from homeport.backends.text import Occupancy
from homeport.gateway import meters
from homeport.telemetry import FAMILIES
from tests.api import raw
from tests.fake_upstream import FakeUpstream, dead_port, fake_upstream, until, whole
from tests.server import ECHO, KEY, Running, running
from tests.store.servers import RedisServer, redis_server

TOKEN = "token-of-prometheus-0123456789"
CHAT = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "far"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def server(
    request: pytest.FixtureRequest, fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """`far` takes any name; `nobody` is not there."""
    settings: dict[str, Any] = {
        "models": {**ECHO["models"], "slow": {"engine": "echo", "delay": 0.02}},
        "upstreams": {
            "far": {"base_url": fake.base_url, "retry_within_seconds": 5},
            "nobody": {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "models": ["gone"], "retries": 0},
        },
        "aliases": {"gone-or-not": ["gone", "here"]},
        "prices": {"priced": {"input": 1, "output": 10}},
        "tiers": {"home": {"narrow": {"max_requests_per_1_minute": 1}}},
        "server": {"max_body_mb": 1},
    }
    with running(tmp_path_factory.mktemp("metrics"), settings, lane=request.param) as made:
        yield made


class Numbers:
    """What /metrics says. Names as a query has them."""

    def __init__(self, body: bytes) -> None:
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in parser.text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = float(sample.value)

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, having), value in self.samples.items() if found == name and wanted <= having)

    def values(self, label: str) -> set[str]:
        return {value for _, having in self.samples for name, value in having if name == label}


def read(server: Running, **headers: str) -> Numbers:
    answer = raw.ask(server, "GET", "/metrics", headers={"Authorization": None, **headers})
    assert answer.status == 200, answer.body
    return Numbers(answer.body)


def grown(server: Running, name: str, do: Callable[[], Any], **labels: str) -> float:
    before = read(server).sum(name, **labels)
    do()
    return read(server).sum(name, **labels) - before


def ask(server: Running, model: str, **fields: Any) -> raw.Answer:
    return raw.ask(server, body={**raw.HELLO, "model": model, **fields})


def test_both_formats_are_what_their_parsers_read(server: Running) -> None:
    ask(server, "parsed", stream=True)
    text = raw.ask(server, "GET", "/metrics")
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = [family.name for family in parser.text_string_to_metric_families(text.body.decode())]
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    open_metrics = raw.ask(server, "GET", "/metrics", headers={"Accept": accept})
    assert open_metrics.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    parse: Any = openmetrics_parser.text_string_to_metric_families
    found = {family.name: family for family in parse(open_metrics.body.decode())}
    assert list(found) == names
    for family in FAMILIES:
        if family.name in found:
            assert (found[family.name].type, found[family.name].documentation) == (family.kind, family.help)
            known = {*family.labels, "le"}
            assert all(set(sample.labels) <= known for sample in found[family.name].samples)
    assert set(found) <= {family.name for family in FAMILIES}


def test_requests_are_counted_once_however_they_end(server: Running) -> None:
    def all_kinds() -> None:
        assert ask(server, "kinds").status == 200
        assert ask(server, "kinds", stream=True).status == 200
        azure = "/openai/deployments/kinds/chat/completions?api-version=2024-10-21"
        assert raw.ask(server, path=azure).status == 200
        for _ in range(2):
            headers: dict[str, str | None] = {"idempotency-key": "kinds"}
            assert raw.ask(server, body={**raw.HELLO, "model": "kinds"}, headers=headers).status == 200

    assert grown(server, "homeport_requests_total", all_kinds, endpoint="chat.completions") == 5
    numbers = read(server)
    assert numbers.sum("gen_ai_server_request_duration_seconds_count", gen_ai_request_model="kinds") == 4
    assert numbers.sum("gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="kinds") == 1
    assert numbers.sum("homeport_requests_in_flight") == 0


def test_the_queue_tells_what_waits_and_what_was_done(server: Running) -> None:
    chore = {"lane": "housekeeping", "kind": "idempotency.sweep", "event": "claimed"}
    assert read(server).sum("homeport_jobs_total", **chore) == 0
    with closing(sqlite3.connect(server.data / "state.db", timeout=60.0)) as database, database:
        database.execute("UPDATE jobs SET run_at = 0 WHERE kind = ?", [chore["kind"]])
    assert until(lambda: read(server).sum("homeport_jobs_total", **chore) == 1, 30.0)
    assert until(lambda: read(server).sum("homeport_jobs_waiting", lane="housekeeping") >= 1, 30.0)
    numbers = read(server)
    assert numbers.sum("homeport_jobs_running", lane="housekeeping") == 0
    assert ("homeport_jobs_oldest_seconds", frozenset({("lane", "housekeeping")})) in numbers.samples


@pytest.mark.parametrize(
    ("status", "endpoint", "request_"),
    [
        (401, "chat.completions", {"key": "sk-wrong-0123456789"}),
        (400, "chat.completions", {"body": b"{"}),
        (400, "chat.completions", {"body": {"model": "echo", "messages": 3}}),
        (404, "chat.completions", {"body": {**raw.HELLO, "model": "gpt-4-0314"}}),
        (413, "chat.completions", {"body": b" " * 2**20 + b"{} "}),
        (415, "chat.completions", {"headers": {"Content-Type": "text/plain"}}),
        (400, "chat.completions", {"path": "/openai/deployments/a/chat/completions?api-version=1"}),
        (404, "unknown", {"path": "/openai/nowhere"}),
        (404, "unknown", {"path": "/v1/nowhere/in/particular"}),
        (405, "/v1/models", {"path": "/v1/models"}),
        (401, "/v1/organization/projects/{project_id}", {"path": "/v1/organization/projects/proj_x", "key": "x"}),
        (200, "/v1/models", {"method": "GET", "path": "/v1/models"}),
        (200, "/healthz", {"method": "GET", "path": "/healthz"}),
    ],
)  # fmt: skip
def test_refusals_and_what_is_no_inference_are_counted_too(
    server: Running, status: int, endpoint: str, request_: dict[str, Any]
) -> None:
    def refused() -> None:
        assert raw.ask(server, **request_).status == status

    labels = {"endpoint": endpoint, "http_response_status_code": str(status)}
    assert grown(server, "homeport_requests_total", refused, **labels) == 1
    assert grown(server, "homeport_requests_total", refused) == 2  # itself, and the look before it


def test_tokens_and_money(server: Running) -> None:
    ask(server, "priced")
    ask(server, "priced", stream=True)
    labels = {**CHAT, "gen_ai_request_model": "priced"}
    numbers = read(server)
    assert numbers.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **labels) == 22
    assert numbers.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **labels) == 14
    assert numbers.sum("gen_ai_client_token_usage_bucket", gen_ai_token_type="output", le="4.0", **labels) == 0
    assert numbers.sum("gen_ai_client_token_usage_bucket", gen_ai_token_type="output", le="16.0", **labels) == 2
    far = {"gen_ai_request_model": "priced", "gen_ai_provider_name": "far"}
    assert numbers.sum("homeport_cached_input_tokens_total", **far) == 6
    assert numbers.sum("homeport_cost_usd_total", **far) == pytest.approx(2 * (11 * 1 + 7 * 10) / 1e6)


def test_answers_from_the_cache_save_and_are_nobodys(server: Running) -> None:
    def twice() -> None:
        for _ in range(2):
            assert (
                raw.ask(server, body={**raw.HELLO, "model": "priced"}, headers={"x-homeport-cache": "on"}).status == 200
            )

    labels = {"gen_ai_request_model": "priced"}
    before = read(server)
    twice()
    after = read(server)

    def difference(name: str, **more: str) -> float:
        return after.sum(name, **more) - before.sum(name, **more)

    assert difference("homeport_cache_requests_total", result="hit") == 1
    assert difference("homeport_cache_requests_total", result="miss") == 1
    dollars = pytest.approx((11 * 1 + 7 * 10) / 1e6)
    assert difference("homeport_saved_usd_total", **labels) == dollars
    assert difference("homeport_cost_usd_total", **labels) == dollars
    count = "gen_ai_server_request_duration_seconds_count"
    assert difference(count, gen_ai_provider_name="cache", **labels) == 1
    assert difference(count, gen_ai_provider_name="far", **labels) == 1
    assert after.sum("homeport_cache_entries") >= 1


def test_a_client_that_leaves_is_counted_with_what_it_has_used(server: Running) -> None:
    labels = {"gen_ai_request_model": "slow", "error_type": "499"}
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
    messages: Any = [{"role": "user", "content": "word " * 200}]
    with client, client.chat.completions.create(model="slow", messages=messages, stream=True) as stream:
        for _, _ in zip(range(3), stream, strict=False):
            pass
        assert read(server).sum("homeport_requests_in_flight") == 1
    assert until(lambda: read(server).sum("gen_ai_server_request_duration_seconds_count", **labels) == 1)
    numbers = read(server)
    assert numbers.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **labels) > 100
    assert 0 < numbers.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **labels) < 200
    assert numbers.sum("homeport_requests_in_flight") == 0


def test_failed_tries_are_told_by_what_follows(server: Running, fake: FakeUpstream) -> None:
    name = "homeport_failed_tries_total"

    def with_a_hiccup() -> None:
        fake.script.append(lambda visit: visit.send(whole(b'{"error": {"message": "again"}}', 500)))
        assert ask(server, "hiccup").status == 200

    assert grown(server, name, with_a_hiccup, gen_ai_provider_name="far", then="retry") == 1
    gone = {"gen_ai_provider_name": "nobody", "http_response_status_code": "503"}
    assert grown(server, name, lambda: ask(server, "gone-or-not"), then="fallback", **gone) == 1
    assert grown(server, name, lambda: ask(server, "gone"), then="none", **gone) == 1
    assert read(server).sum(
        "gen_ai_server_request_duration_seconds_count",
        gen_ai_request_model="gone-or-not",
        gen_ai_provider_name="far",
    )


def test_doors_of_upstreams_are_told_by_their_state(server: Running) -> None:
    for _ in range(6):
        ask(server, "gone")
    door = {"gen_ai_provider_name": "nobody", "door": "1"}
    assert until(lambda: read(server).sum("homeport_upstream_families", state="open", **door) == 1, 0.5)
    assert read(server).sum("homeport_upstream_families", state="closed", gen_ai_provider_name="far") >= 1


def test_what_limits_refuse_is_told_by_the_limit(server: Running) -> None:
    def too_often() -> None:
        assert ask(server, "narrow").status in (200, 429)
        assert ask(server, "narrow").status == 429

    assert grown(server, "homeport_limited_total", too_often, limit="requests") >= 1
    labels = {"gen_ai_request_model": "narrow", "http_response_status_code": "429"}
    assert read(server).sum("homeport_requests_total", **labels) >= 1


def test_clients_cannot_make_up_series(tmp_path: Path, fake: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "MOST_LEARNED", 2)
    settings = {"upstreams": {"far": {"base_url": fake.base_url, "retries": 0}}}
    no_such_model: Any = lambda visit: visit.send(whole(b'{"error": {"message": "no such model"}}', 404))  # noqa: E731
    fake.by_model.update({f"bad-{number}": no_such_model for number in range(20)})
    with running(tmp_path, settings) as server:
        for number in range(20):
            assert ask(server, f"bad-{number}").status == 404
        assert read(server).values("gen_ai_request_model") == {"other", "echo"}
        for number in range(4):
            assert ask(server, f"good-{number}").status == 200
        assert raw.ask(server, path="/v1/chat/completions/bad/path").status == 404
        numbers = read(server)
        assert numbers.values("gen_ai_request_model") == {"other", "echo", "good-0", "good-1"}
        assert numbers.sum("homeport_requests_total", gen_ai_request_model="other") == 22


def test_odd_names_stay_in_their_quotes_and_nothing_else_is_told(server: Running) -> None:
    odd = 'a "quoted\\" na\nme'
    assert ask(server, odd, messages=[{"role": "user", "content": "SECRET-PROMPT"}]).status == 200
    body = raw.ask(server, "GET", "/metrics").body
    assert odd in Numbers(body).values("gen_ai_request_model")
    assert b"SECRET" not in body
    assert KEY.encode() not in body


def test_stores_engines_and_the_process(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held: Any = server.app.held["echo"]
    monkeypatch.setattr(held._backends[0]._engine, "occupancy", lambda: (Occupancy("llama_cpp", 4, 3, 2, 1),))
    ask(server, "echo")
    with sqlite3.connect(server.data / "usage.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        ask(server, "echo")
        numbers = read(server)
        assert numbers.sum("homeport_ledger_rows_waiting") >= 1
        assert numbers.sum("homeport_journal_slots") >= 1
        database.execute("ROLLBACK")
    database.close()
    assert until(lambda: read(server).sum("homeport_ledger_rows_waiting") == 0)
    engine = {"gen_ai_request_model": "echo", "engine": "llama_cpp"}
    assert numbers.sum("homeport_engine_places", **engine) == 4
    assert numbers.sum("homeport_engine_places_busy", **engine) == 3
    assert numbers.sum("homeport_engine_places_batch", **engine) == 1
    assert numbers.sum("homeport_engine_waiting", **engine) == 2
    assert numbers.sum("homeport_model_ready", gen_ai_request_model="echo") == 1
    assert numbers.sum("homeport_store_up", store="database") == 1
    assert numbers.sum("homeport_store_up", store="ledger") == 1
    assert numbers.sum("homeport_ready") == 1
    assert numbers.sum("homeport_build_info") == 1
    assert numbers.sum("process_resident_memory_bytes") > 2**24
    assert numbers.sum("process_open_fds") > 3
    assert numbers.sum("process_cpu_seconds_total") > 0
    assert until(lambda: read(server).sum("homeport_event_loop_delay_seconds_count") > 0)


def test_rows_that_wait_on_disk_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.store.usage.MOST_WAITING", 1)
    with running(tmp_path) as server:
        with sqlite3.connect(server.data / "usage.db", isolation_level=None) as database:
            database.execute("BEGIN IMMEDIATE")
            for _ in range(4):
                assert ask(server, "echo").status == 200
            assert until(lambda: read(server).sum("homeport_ledger_spill_bytes") > 0)
            database.execute("ROLLBACK")
        database.close()
        assert until(lambda: read(server).sum("homeport_ledger_spill_bytes") == 0)


def test_embeddings_are_counted_under_their_name(server: Running) -> None:
    answer = raw.ask(server, path="/v1/embeddings", body={"model": "echo", "input": "abc"})
    assert answer.status == 200, answer.body
    labels = {"gen_ai_operation_name": "embeddings", "gen_ai_request_model": "echo"}
    numbers = read(server)
    assert numbers.sum("gen_ai_client_token_usage_count", gen_ai_token_type="input", **labels) == 1
    assert numbers.sum("gen_ai_client_token_usage_count", gen_ai_token_type="output", **labels) == 0


def test_redis_is_told(tmp_path: Path) -> None:
    def is_up(server: Running) -> float:
        return read(server).sum("homeport_store_up", store="redis")

    with redis_server() as redis, running(tmp_path, {"redis_url": redis.url}) as server:
        assert isinstance(redis, RedisServer)
        assert is_up(server) == 1
        redis.kill()
        assert until(lambda: is_up(server) == 0)
        assert read(server).sum("homeport_ready") == 0


def test_who_watches_and_fails_takes_nobody_down(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(server.app.books.ledger.watchers, "_ended", (broken,))
    assert ask(server, "echo").status == 200


@pytest.mark.parametrize(
    ("audience", "headers", "status"),
    [
        ("local", {}, 200),
        ("local", {"Host": "localhost:1"}, 200),
        ("local", {"Host": "evil.example"}, 401),  # a browser that was led here by a name
        ("local", {"X-Forwarded-For": "10.0.0.1"}, 401),
        ("local", {"X-Forwarded-Proto": "https"}, 401),
        ("local", {"Forwarded": "for=10.0.0.1"}, 401),
        ("local", {"Via": "1.1 proxy"}, 401),
        ("admin", {}, 401),
        ("admin", {"Authorization": f"Bearer {KEY}"}, 200),
        ("admin", {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("admin", {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ("local", {"Authorization": f"Bearer {TOKEN}", "Via": "1.1 proxy"}, 200),
        ("open", {"Host": "evil.example"}, 200),
        ("off", {}, 404),
        ("off", {"Authorization": f"Bearer {KEY}"}, 404),
    ],
)
def test_who_may_read_it(tmp_path: Path, audience: str, headers: dict[str, str], status: int) -> None:
    with running(tmp_path, {"telemetry": {"metrics": audience, "metrics_token": TOKEN}}) as server:
        answer = raw.ask(server, "GET", "/metrics", headers={"Authorization": None, **headers})
        assert answer.status == status
        if status == 200:
            assert b"homeport_build_info" in answer.body
        else:
            assert set(answer.error) == {"message", "type", "param", "code"}
        assert raw.ask(server, key=TOKEN).status == 401  # it is good for nothing else
        assert raw.ask(server, "GET", "/v1/organization/projects", key=TOKEN).status == 401


def test_a_projects_key_reads_no_metrics(tmp_path: Path) -> None:
    with running(tmp_path, {"telemetry": {"metrics": "admin"}}) as server:
        project = raw.ask(server, "GET", "/v1/organization/projects").json["data"][0]["id"]
        made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k"}).json["value"]
        assert until(lambda: raw.ask(server, key=made).status == 200)
        assert raw.ask(server, "GET", "/metrics", key=made).status == 403


def test_numbers_can_be_read_while_others_count(server: Running) -> None:
    asking = threading.Thread(target=lambda: [ask(server, "echo") for _ in range(30)])
    asking.start()
    while asking.is_alive():
        numbers = read(server)
        counted = numbers.sum("gen_ai_server_request_duration_seconds_count", gen_ai_request_model="echo")
        most = numbers.sum("gen_ai_server_request_duration_seconds_bucket", gen_ai_request_model="echo", le="+Inf")
        assert counted == most
    asking.join()


def test_a_histogram_counts_what_is_at_its_bound_below_it() -> None:
    seen = meters.Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        seen.observe(value)
    family = exposition.Family("x", "histogram", "X.")
    told = "".join(exposition.blocks([(family, [((), seen)])], open_metrics=False))
    assert 'x_bucket{le="1.0"} 2\nx_bucket{le="2.0"} 4\nx_bucket{le="+Inf"} 5\nx_sum 7.5\nx_count 5\n' in told
