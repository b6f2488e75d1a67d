"""Lines of batches on the straight line: they let everybody else go first, cost half, and are told apart."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from decimal import Decimal
from typing import Any

import openai
import pytest

from homeport import ids
from homeport.backends.capabilities import Call, Frame
from homeport.errors import InsufficientQuota, ModelNotFound, RateLimited
from homeport.gateway.endpoints import CHAT, EMBEDDINGS, Endpoint
from homeport.gateway.keyring import Keyring
from homeport.wire.envelope import open_envelope
from tests.api import raw
from tests.fake_upstream import Visit, plain_answer, until, whole
from tests.server import KEY, Running
from tests.upstreams.homeports import Relay, relaying

HALF = {"input": "2", "output": "8", "half_in_batch": True}
#: The fake upstream says 11 tokens of prompt and 7 of answer.
COST, COST_OF_LINE = "0.000078", "0.000039"
LONG = "word " * 40


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings: dict[str, Any] = {
        "models": {
            "echo": {"engine": "echo"},
            "narrow": {"engine": "echo", "parallel": 8, "queue": 2, "delay": 0.02},
            "house": {"engine": "echo"},
            "endless": {"engine": "echo", "parallel": 4, "delay": 0.2},
            "steady": {"engine": "echo", "parallel": 4, "delay": 0.02},
        },
        "prices": {"priced": HALF, "house": {"input": "1", "output": "1", "half_in_batch": True}, "spent": HALF},
        "tiers": {"home": {"rare": {"max_requests_per_1_minute": 1}, "single": {"max_concurrent_requests": 2}}},
        "server": {"access_log": True},
    }
    with relaying(tmp_path_factory.mktemp("lines"), settings, connections=4, embedding_inputs=2) as made:
        yield made


def call_of(endpoint: Endpoint, body: dict[str, Any], *, batch: bool = True) -> Call:
    """As whoever runs a batch makes one of a line."""
    opened = open_envelope(json.dumps(body).encode())
    return Call(
        endpoint.name,
        ids.request_id(),
        opened.model,
        opened.body,
        max_tokens=opened.max_tokens,
        choices=opened.choices,
        background=batch,
        batch=batch,
        idempotency_key=b"batch_req_1" if batch else b"",
    )


def chat(model: str, text: str = "hello", **more: Any) -> Call:
    return call_of(CHAT, {"model": model, "messages": [{"role": "user", "content": text}], **more})


def begun(server: Running, call: Call, endpoint: Endpoint = CHAT, *, key: str = KEY) -> "Future[Frame]":
    principal = Keyring(server.app.books.accounts.current).principal(key.encode())
    return server.begin(server.app.line.plain(endpoint, principal, call))


def told(call: Call) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in b"".join(call.told).decode().splitlines())


def ended(lines: "list[Future[Frame]]") -> int:
    return sum(line.done() for line in lines)


def leave(lines: "list[Future[Frame]]") -> None:
    for line in lines:
        line.cancel()
    wait(lines, timeout=90)


def test_a_request_overtakes_a_hundred_lines(relay: Relay) -> None:
    """And two more find a place before them, and are not refused because of a queue that lines would have filled."""
    engine = relay.homeport.app.held["narrow"]
    lines = [begun(relay.homeport, chat("narrow", LONG)) for _ in range(100)]
    assert until(lambda: engine.occupancy()[0].lines == 8)
    with relay.client() as client:
        for _ in range(3):
            answer = client.chat.completions.create(model="narrow", messages=[{"role": "user", "content": "hello"}])
            assert answer.choices[0].message.content == "hello"
    assert ended(lines) < 50
    assert engine.occupancy()[0].waiting == 0
    leave(lines)
    assert until(lambda: engine.occupancy()[0].busy == 0)
    assert until(lambda: relay.homeport.app.books.ledger.watchers.running == 0)


def test_a_request_is_answered_while_no_line_has_ended(relay: Relay) -> None:
    """They have every place of the engine, each for minutes."""
    engine = relay.homeport.app.held["endless"]
    lines = [begun(relay.homeport, chat("endless", LONG * 20)) for _ in range(6)]
    assert until(lambda: engine.occupancy()[0].lines == 4)
    with relay.client() as client:
        answer = client.chat.completions.create(model="endless", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "hello"
    assert ended(lines) == 0
    leave(lines)
    assert until(lambda: engine.occupancy()[0].busy == 0)


def test_lines_that_were_sent_back_are_answered_and_charged_once(relay: Relay) -> None:
    engine = relay.homeport.app.held["steady"]
    texts = [f"line {number} {LONG}" for number in range(6)]
    lines = [begun(relay.homeport, chat("steady", text)) for text in texts]
    assert until(lambda: engine.occupancy()[0].lines == 4)
    request = begun(relay.homeport, call_of(CHAT, json.loads(chat("steady").body), batch=False))
    request.result(20)
    answers = [json.loads(line.result(20).data) for line in lines]
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == texts
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [len(text) for text in texts]
    rows = [row for row in relay.rows("steady", 7) if row["batch"]]
    assert sorted(row["output_tokens"] for row in rows) == [len(text) for text in texts]
    assert {row["outcome"] for row in rows} == {"completed"}


def test_a_request_gets_a_connection_before_the_lines_that_wait(relay: Relay) -> None:
    gate = threading.Event()

    def held(visit: Visit) -> None:
        gate.wait(20)
        visit.send(whole(plain_answer(visit)))

    relay.fake.by_model["held"] = held
    lines = [begun(relay.homeport, chat("held")) for _ in range(20)]
    assert until(lambda: len(relay.fake.received_for("held")) == 3)
    with relay.client() as client:
        client.chat.completions.create(model="far-away", messages=[{"role": "user", "content": "hello"}])
    assert len(relay.fake.received_for("held")) == 3
    assert ended(lines) == 0
    gate.set()
    assert [line.result(20).model for line in lines] == ["held-2024"] * 20


def test_a_line_costs_half_and_says_so_everywhere(relay: Relay) -> None:
    call = chat("priced", "of a batch")
    begun(relay.homeport, call).result(20)
    assert told(call) == {"x-homeport-cost": COST_OF_LINE}
    request = raw.ask(relay.homeport, body={**raw.HELLO, "model": "priced"})
    assert request.headers["x-homeport-cost"] == COST
    rows = relay.rows("priced", 2)
    assert [(row["batch"], row["cost_pico"]) for row in rows] == [(1, 39_000_000), (0, 78_000_000)]
    receipt = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{call.request_id}").json
    assert (receipt["batch"], receipt["total"]) == (True, COST_OF_LINE)
    assert receipt["lines"][0]["item"] == "batch | priced, input"
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url) as client:
        usage = client.admin.organization.usage.completions(
            start_time=receipt["created_at"] - 60, models=["priced-2024"], group_by=["batch"]
        )
    results = [result for bucket in usage.data for result in bucket.results]
    assert [(one.batch, one.num_model_requests) for one in results] == [(False, 1), (True, 1)]  # type: ignore[union-attr]


def test_a_model_of_this_machine_costs_half_where_its_operator_says_so(relay: Relay) -> None:
    line, request = chat("house"), call_of(CHAT, json.loads(chat("house").body), batch=False)
    for call in (line, request):
        begun(relay.homeport, call).result(20)
    whole_cost, half = (Decimal(told(call)["x-homeport-cost"]) for call in (request, line))
    assert half * 2 == whole_cost == Decimal("0.00001")


def test_a_budget_reserves_what_a_line_costs_at_most(relay: Relay) -> None:
    """A cent is 1250 tokens of answer, or 2500 in a batch, less what the prompt may be."""
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url) as client:
        project = client.admin.organization.projects.create(name="thrifty").id
    keys = f"/v1/homeport/projects/{project}/api_keys"
    key = raw.ask(relay.homeport, "POST", keys, {"name": "k"}).json
    limit = {"threshold_amount": 1, "currency": "USD", "interval": "total"}
    assert raw.ask(relay.homeport, "POST", f"{keys}/{key['id']}/spend_limit", limit).status == 200
    secret = key["value"]
    assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=secret).status == 200)
    begun(relay.homeport, chat("spent", max_tokens=2000), key=secret).result(20)
    with pytest.raises(InsufficientQuota):
        begun(
            relay.homeport, call_of(CHAT, json.loads(chat("spent", max_tokens=2000).body), batch=False), key=secret
        ).result(20)
    with pytest.raises(InsufficientQuota):
        begun(relay.homeport, chat("spent", max_tokens=3000), key=secret).result(20)


def test_lines_take_nothing_of_the_limits_a_minute(relay: Relay) -> None:
    for _ in range(5):
        call = chat("rare")
        begun(relay.homeport, call).result(20)
        assert not [name for name in told(call) if name.startswith("x-ratelimit")]
    assert raw.ask(relay.homeport, body={**raw.HELLO, "model": "rare"}).status == 200
    assert raw.ask(relay.homeport, body={**raw.HELLO, "model": "rare"}).status == 429
    begun(relay.homeport, chat("rare")).result(20)


def test_lines_leave_a_concurrent_request_to_others(relay: Relay) -> None:
    gate = threading.Event()

    def held(visit: Visit) -> None:
        gate.wait(20)
        visit.send(whole(plain_answer(visit)))

    relay.fake.by_model["single"] = held
    first = begun(relay.homeport, chat("single"))
    assert until(lambda: len(relay.fake.received_for("single")) == 1)
    with pytest.raises(RateLimited):
        begun(relay.homeport, chat("single")).result(20)
    asked = threading.Thread(target=raw.ask, args=(relay.homeport,), kwargs={"body": {**raw.HELLO, "model": "single"}})
    asked.start()
    assert until(lambda: len(relay.fake.received_for("single")) == 2)
    gate.set()
    asked.join(20)
    first.result(20)


def test_an_upstream_knows_a_line_by_its_name(relay: Relay) -> None:
    """However often it is sent; every piece of a long list has a name of its own. A request has none."""
    begun(relay.homeport, chat("named")).result(20)
    raw.ask(relay.homeport, body={**raw.HELLO, "model": "named"})
    assert [visit.headers.get("idempotency-key") for visit in relay.fake.received_for("named")] == ["batch_req_1", None]
    vectors = call_of(EMBEDDINGS, {"model": "pieces", "input": ["a", "b", "c", "d", "e"]})
    begun(relay.homeport, vectors, EMBEDDINGS).result(20)
    sent = {visit.headers["idempotency-key"]: visit.json["input"] for visit in relay.fake.received_for("pieces")}
    assert sent == {"batch_req_1-0": ["a", "b"], "batch_req_1-1": ["c", "d"], "batch_req_1-2": ["e"]}


def test_nobody_waits_with_a_line_but_its_answer_is_kept(relay: Relay) -> None:
    gate = threading.Event()

    def held(visit: Visit) -> None:
        if visit.headers.get("idempotency-key"):
            gate.wait(20)
        visit.send(whole(plain_answer(visit)))

    relay.fake.by_model["asked"] = held
    cached: dict[str, str | None] = {"x-homeport-cache": "on"}
    body = json.loads(chat("asked").body)
    first = chat("asked")
    first.cache = b"on", b""
    waiting = begun(relay.homeport, first)
    assert until(lambda: len(relay.fake.received_for("asked")) == 1)
    answer = raw.ask(relay.homeport, body=body, headers=cached)
    assert (answer.status, answer.headers["x-homeport-cache"]) == (200, "miss")
    gate.set()
    waiting.result(20)
    again = chat("asked")
    again.cache = b"on", b""
    begun(relay.homeport, again).result(20)
    assert told(again)["x-homeport-cache"] == "hit"
    assert len(relay.fake.received_for("asked")) == 2


def test_whoever_watches_can_tell_lines_from_requests(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    line = chat("watched")
    with caplog.at_level("INFO", logger="homeport.access"):
        begun(relay.homeport, line).result(20)
        raw.ask(relay.homeport, body={**raw.HELLO, "model": "watched"})
        refused = begun(relay.homeport, chat("gpt-4-0314"))
        with pytest.raises(ModelNotFound):
            refused.result(20)
        numbers = raw.ask(relay.homeport, "GET", "/metrics").body.decode()
    of = 'gen_ai_operation_name="chat",gen_ai_request_model="watched",gen_ai_provider_name="far"'
    for labels in (of, of + ',homeport_batch="true"'):
        assert f"gen_ai_server_request_duration_seconds_count{{{labels}}} 1" in numbers
    assert 'homeport_batch_lines_total{gen_ai_request_model="watched",http_response_status_code="200"} 1' in numbers
    logged = [vars(record)["fields"] for record in caplog.records if record.name == "homeport.access"]
    assert [(one["model"], one["status"], one["batch"]) for one in logged if "batch" in one and one["model"]] == [
        ("watched", 200, True),
        ("watched", 200, False),
        ("gpt-4-0314", 404, True),
    ]
