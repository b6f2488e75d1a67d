"""Answers that are given again, as programs see them: which requests get one, what it says, what it costs."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.errors import SettingsError
from homeport.gateway.semantic import Semantic
from homeport.settings import Semantic as SemanticSettings
from tests import model_files
from tests.api import raw
from tests.fake_upstream import STREAM_HEAD, Behaviour, Visit, chunked, event, events, plain_answer, until, whole
from tests.server import KEY, running
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

ON = {"x-homeport-cache": "on"}
#: How the upstream's failures are met is not the matter here.
ASKED_ONCE: Any = {"retries": 0, "failures": 0}
PRICE = {"input": "2", "cached_input": "0.5", "output": "8"}
COST = "0.0000735"  # of what the fake upstream counts


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """Without a word about the cache in the settings."""
    settings = {"prices": {"priced": PRICE}}
    with relaying(tmp_path_factory.mktemp("cache"), settings, lane=request.param, **ASKED_ONCE) as made:
        yield made


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}


def ask(relay: Relay, asked: Any, headers: dict[str, str] = ON, *, key: str = KEY) -> raw.Answer:
    return raw.ask(relay.homeport, body=asked, headers=dict(headers), key=key)


def told(answer: raw.Answer) -> str | None:
    return answer.headers.get("x-homeport-cache")


def is_quiet(relay: Relay, running: int = 0) -> bool:
    """So many requests use the cache just now."""
    cache = relay.homeport.app.cache
    assert cache is not None
    return cache.told()["running"] == running


def test_the_same_question_is_asked_once(relay: Relay) -> None:
    first, second = ask(relay, body("priced")), ask(relay, body("priced"))
    assert (told(first), told(second)) == ("miss", "hit")
    assert second.body == first.body
    assert int(second.headers["age"]) in (0, 1)
    assert "age" not in first.headers
    assert second.headers["x-homeport-original-request-id"] == first.headers["x-request-id"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(relay.fake.received_for("priced")) == 1
    assert (first.headers["x-homeport-cost"], second.headers["x-homeport-cost"]) == (COST, "0")
    receipt = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{second.headers['x-request-id']}").json
    assert (receipt["cache_hit"], receipt["total"], receipt["saved"]) == (True, "0", COST)


def test_the_sdk_asks_for_it(relay: Relay) -> None:
    with relay.client() as client:
        ask_with = client.chat.completions.with_raw_response
        given = [ask_with.create(**body("sdk"), extra_headers=ON) for _ in range(2)]
        assert [one.headers["x-homeport-cache"] for one in given] == ["miss", "hit"]
        assert given[0].parse() == given[1].parse()
        streams = [list(client.chat.completions.create(**body("sdk"), stream=True, extra_headers=ON)) for _ in range(2)]
        assert streams[0] == streams[1]
    assert len(relay.fake.received_for("sdk")) == 2


def test_unless_it_is_asked_for_nothing_happens(relay: Relay) -> None:
    for _ in range(2):
        answer = ask(relay, body("unasked"), {})
        assert not {"x-homeport-cache", "age"} & set(answer.headers)
    assert len(relay.fake.received_for("unasked")) == 2


def test_a_stream_is_given_again_as_it_was(relay: Relay) -> None:
    asked = body("streamed", stream=True, stream_options={"include_usage": True})
    first, second = ask(relay, asked), ask(relay, asked)
    assert (told(first), told(second)) == ("miss", "hit")
    assert second.body == first.body == b"".join(events(relay.fake.received_for("streamed")[0]))
    assert second.headers["content-type"] == first.headers["content-type"]
    rows = relay.rows("streamed", 2)
    assert [(row["cache_hit"], row["prompt_tokens"], row["completion_tokens"]) for row in rows] == [
        (0, 11, 7),
        (1, 11, 7),
    ]


def test_plain_answers_and_streams_are_apart(relay: Relay) -> None:
    for asked in (body("apart"), body("apart", stream=True), body("apart", stream=True, stream_options={})):
        assert told(ask(relay, asked)) == "miss"
    assert told(ask(relay, body("apart", stream=False))) == "hit"


SAME = [
    b'{"messages":[{"content":"hello","role":"user"}],"model":"MODEL","top_p":1,"seed":5}',
    b'{ "seed": 5.0e0, "model" : "MODEL", "top_p":1.0, "messages":[{"role":"user","content":"hell\\u006f"}] }',
    b'{"messages":[{"content":"no","content":"hello","role":"user"}],"model":"MODEL","top_p":1,"seed":5,"stop":null}',
    b'{"messages":[{"content":"hello","role":"user"}],"model":"MODEL","top_p":1,"seed":5,"user":"ann","metadata":{"a":"b"}}',
]


def test_how_it_is_written_and_who_asks_do_not_matter(relay: Relay) -> None:
    given = [ask(relay, one.replace(b"MODEL", b"written")) for one in SAME]
    assert [told(one) for one in given] == ["miss", "hit", "hit", "hit"]


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.0001},
    {"seed": 1},
    {"own_parameter": [1, 2]},
    {"own_parameter": [2, 1]},
    {"messages": [{"role": "user", "content": "hello "}]},
    {"messages": [{"role": "system", "content": "hello"}]},
    {"messages": [{"role": "user", "content": "e\u0301"}]},
    {"messages": [{"role": "user", "content": "\u00e9"}]},
    {"service_tier": "flex"},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
]


def test_every_parameter_matters(relay: Relay) -> None:
    for _ in range(2):
        given = {ask(relay, body("parameters", **fields)).headers["x-request-id"] for fields in DIFFERENT}
    assert len(given) == len(DIFFERENT)
    assert len(relay.fake.received_for("parameters")) == len(DIFFERENT)


def test_headers_that_are_passed_on_matter(relay: Relay) -> None:
    for tenant in ("blue", "green"):
        assert told(ask(relay, body("headers"), {**ON, "X-Tenant": tenant})) == "miss"
    assert told(ask(relay, body("headers"), {**ON, "X-Tenant": "blue"})) == "hit"


def test_what_cannot_be_compared_goes_past(relay: Relay) -> None:
    odd = json.dumps(body("odd")).encode()[:-1] + b', "own": 1e999}'
    assert [told(ask(relay, odd)) for _ in range(2)] == ["bypass"] * 2
    assert len(relay.fake.received_for("odd")) == 2


def test_what_is_stored_upstream_is_asked_every_time(relay: Relay) -> None:
    assert [told(ask(relay, body("stored", store=True))) for _ in range(2)] == ["bypass"] * 2
    assert told(ask(relay, body("stored", store=False))) == "miss"


@pytest.mark.parametrize(
    ("headers", "expected", "asked"),
    [
        ({"x-homeport-cache": "off"}, None, 1),
        ({"x-homeport-cache": "refresh"}, "refreshed", 1),
        ({"x-homeport-cache": "exact"}, "hit", 0),
        ({"x-homeport-cache": " On "}, "hit", 0),
        ({**ON, "cache-control": "no-store"}, "hit", 0),
        ({**ON, "cache-control": "no-cache"}, "refreshed", 1),
        ({**ON, "cache-control": "max-age=0"}, "refreshed", 1),
        ({"cache-control": "no-cache"}, None, 1),
        ({"cache-control": "no-store"}, None, 1),
        ({"cache-control": "max-age=600"}, "hit", 0),
        ({"cache-control": 'Max-Age=600, no-transform, own="1"'}, "hit", 0),
        ({"cache-control": "only-if-cached"}, "hit", 0),
        ({"cache-control": "max-age=much"}, None, 1),
    ],
)
def test_headers_of_the_request(relay: Relay, headers: dict[str, str], expected: str | None, asked: int) -> None:
    ask(relay, body("wishes"))
    before = len(relay.fake.received_for("wishes"))
    answer = ask(relay, body("wishes"), headers)
    assert told(answer) == expected
    assert len(relay.fake.received_for("wishes")) - before == asked


def test_refreshing_keeps_the_new_answer(relay: Relay) -> None:
    first = ask(relay, body("fresh"))
    second = ask(relay, body("fresh"), {"x-homeport-cache": "refresh"})
    third = ask(relay, body("fresh"))
    assert third.headers["x-homeport-original-request-id"] == second.headers["x-request-id"]
    assert told(first) == "miss"


def test_only_if_cached_asks_nobody(relay: Relay) -> None:
    answer = ask(relay, body("never"), {"cache-control": "only-if-cached"})
    assert (answer.status, answer.error["code"]) == (504, "not_cached")
    assert answer.headers["x-should-retry"] == "false"
    assert not relay.fake.received_for("never")
    assert ask(relay, body("never", store=True), {"cache-control": "only-if-cached"}).status == 504


def test_a_value_that_is_none_is_refused(relay: Relay) -> None:
    answer = ask(relay, body("m"), {"x-homeport-cache": "always"})
    assert answer.status == 400
    assert "'always'" in answer.error["message"]
    assert "'refresh'" in answer.error["message"]


def finish(reason: str | None) -> Behaviour:
    def send(visit: Visit) -> None:
        if visit.stream:
            chunks = [
                {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": one}]} for one in (None, reason)
            ]
            visit.send(STREAM_HEAD + b"".join(chunked(event(one)) for one in chunks) + chunked(b"data: [DONE]\n\n"))
            visit.send(b"0\r\n\r\n")
        else:
            answer = json.loads(plain_answer(visit))
            answer["choices"][0]["finish_reason"] = reason
            visit.send(whole(json.dumps(answer).encode()))

    return send


def one_of_two(visit: Visit) -> None:
    answer = json.loads(plain_answer(visit))
    answer["choices"].append({**answer["choices"][0], "index": 1, "finish_reason": None})
    visit.send(whole(json.dumps(answer).encode()))


NOT_KEPT: dict[str, Behaviour] = {
    "unfinished": finish(None),
    "filtered": finish("content_filter"),
    "of-its-own": finish("abort"),
    "one-of-two": one_of_two,
    "no-choices": lambda visit: visit.send(whole(b'{"choices": []}')),
    "refused": faults.status(400),
    "failed": faults.status(500),
    "cut": faults.cut_after(lambda visit: STREAM_HEAD + chunked(event({"choices": [{"delta": {"content": "x"}}]}))),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", NOT_KEPT)
def test_only_whole_and_good_answers_are_kept(relay: Relay, name: str, stream: bool) -> None:
    model = f"{name}-{stream}"
    relay.fake.by_model[model] = NOT_KEPT[name]
    for _ in range(2):
        assert told(ask(relay, body(model, stream=stream))) in ("miss", None)
    assert len(relay.fake.received_for(model)) >= 2
    assert is_quiet(relay)


@pytest.mark.parametrize("reason", ["length", "tool_calls"])
def test_other_good_endings_are_kept(relay: Relay, reason: str) -> None:
    for stream in (False, True):
        relay.fake.by_model[reason] = finish(reason)
        assert [told(ask(relay, body(reason, stream=stream))) for _ in range(2)] == ["miss", "hit"]


def test_fewer_choices_than_were_asked_for_are_not_kept(relay: Relay) -> None:
    assert [told(ask(relay, body("choices", n=2))) for _ in range(2)] == ["miss", "miss"]


def test_what_a_client_left_is_not_kept(relay: Relay) -> None:
    relay.fake.by_model["leaving"] = faults.quiet_after(faults.begun)
    with relay.client() as client:
        stream = client.chat.completions.create(**body("leaving"), stream=True, extra_headers=ON)
        next(stream)
        stream.close()
    assert relay.fake.received_for("leaving")[0].left.wait(60)
    del relay.fake.by_model["leaving"]
    assert told(ask(relay, body("leaving", stream=True))) == "miss"
    assert until(lambda: is_quiet(relay))


class Gate:
    """An upstream that answers in part, and goes on when it is opened."""

    def __init__(self, *, fail: int = 0) -> None:
        """fail: the first so many answers are a 500."""
        self.opened = threading.Event()
        self._fail = fail

    def __call__(self, visit: Visit) -> None:
        begun = faults.begun(visit) if visit.stream else b""
        if begun and not self._fail:
            visit.send(begun)
        assert self.opened.wait(60)
        if self._fail:
            self._fail -= 1
            visit.send(whole(b'{"error": {"message": "down"}}', 500))
        elif visit.stream:
            rest = (STREAM_HEAD + b"".join(map(chunked, events(visit))) + b"0\r\n\r\n")[len(begun) :]
            visit.send(rest)
        else:
            visit.send(whole(plain_answer(visit)))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_at_the_same_time_it_is_asked_once(relay: Relay, stream: bool) -> None:
    model, gate = f"priced-{stream}", Gate()
    relay.fake.by_model[model] = gate
    with ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(ask, relay, body(model, stream=stream)) for _ in range(12)]
        assert until(lambda: is_quiet(relay, 12))
        gate.opened.set()
        given = [one.result() for one in asking]
    assert len(relay.fake.received_for(model)) == 1
    assert len({one.body for one in given}) == 1
    assert sorted(map(str, map(told, given))) == ["hit"] * 11 + ["miss"]
    assert [sorted(row["cache_hit"] for row in relay.rows(model, 12))] == [[0] + [1] * 11]
    assert is_quiet(relay)


def test_who_comes_late_gets_a_stream_from_its_beginning_while_it_runs(relay: Relay) -> None:
    gate = relay.fake.by_model["late"] = Gate()
    with relay.client() as client, relay.client() as other:
        first = client.chat.completions.create(**body("late"), stream=True, extra_headers=ON)
        begun = next(first)
        second = other.chat.completions.create(**body("late"), stream=True, extra_headers=ON)
        assert second.response.headers["x-homeport-cache"] == "hit"
        assert next(second) == begun
        gate.opened.set()
        assert list(second) == list(first)
    assert len(relay.fake.received_for("late")) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_when_who_asked_leaves_the_others_get_all_of_it_and_one_pays(relay: Relay, stream: bool) -> None:
    model, gate = f"handed-on-{stream}", Gate()
    relay.fake.by_model[model] = gate
    with raw.connect(relay.homeport) as leaver, ThreadPoolExecutor(3) as pool:
        leaver.sendall(raw.request_bytes(body(model, stream=stream), extra="x-homeport-cache: on\r\n"))
        assert until(lambda: is_quiet(relay, 1))
        asking = [pool.submit(ask, relay, body(model, stream=stream)) for _ in range(3)]
        assert until(lambda: is_quiet(relay, 4))
        leaver.close()
        assert until(lambda: is_quiet(relay, 3))
        gate.opened.set()
        given = [one.result() for one in asking]
    assert [one.status for one in given] == [200] * 3
    assert len({one.body for one in given}) == 1
    assert len(relay.fake.received_for(model)) == 1
    assert not relay.fake.received_for(model)[0].left.is_set()
    rows = relay.rows(model, 4)
    assert sorted((row["outcome"], row["cache_hit"]) for row in rows) == [
        ("completed", 0),
        ("completed", 1),
        ("completed", 1),
        ("left", 1),
    ]
    (paid,) = (row for row in rows if not row["cache_hit"])
    assert (paid["backend"], paid["ran"], paid["completion_tokens"]) == ("far", f"{model}-2024", 7)
    assert told(ask(relay, body(model, stream=stream))) == "hit"


def test_when_all_have_left_the_upstream_is_left(relay: Relay) -> None:
    relay.fake.by_model["deserted"] = faults.quiet_after(faults.begun)
    with raw.connect(relay.homeport) as one, raw.connect(relay.homeport) as other:
        for each in (one, other):
            each.sendall(raw.request_bytes(body("deserted", stream=True), extra="x-homeport-cache: on\r\n"))
        assert until(lambda: is_quiet(relay, 2))
        assert until(lambda: bool(relay.fake.received_for("deserted")))
        one.close()
        assert until(lambda: is_quiet(relay, 1))
        assert not relay.fake.received_for("deserted")[0].left.is_set()
    assert relay.fake.received_for("deserted")[0].left.wait(60)
    rows = relay.rows("deserted", 2)
    assert sorted((row["outcome"], row["cache_hit"]) for row in rows) == [("left", 0), ("left", 1)]
    assert until(lambda: is_quiet(relay))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_when_it_fails_another_asks(relay: Relay, stream: bool) -> None:
    model, gate = f"fails-once-{stream}", Gate(fail=1)
    relay.fake.by_model[model] = gate
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, relay, body(model, stream=stream)) for _ in range(4)]
        assert until(lambda: is_quiet(relay, 4))
        gate.opened.set()
        given = [one.result() for one in asking]
    assert sorted(one.status for one in given) == [200, 200, 200, 500]
    assert len(relay.fake.received_for(model)) == 2


def test_a_fault_of_the_request_is_everybodys(relay: Relay) -> None:
    gate = threading.Event()

    def refuse(visit: Visit) -> None:
        assert gate.wait(60)
        faults.status(400)(visit)

    relay.fake.by_model["bad"] = refuse
    with ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(ask, relay, body("bad")) for _ in range(5)]
        assert until(lambda: is_quiet(relay, 5))
        gate.set()
        assert [one.result().status for one in asking] == [400] * 5
    assert len(relay.fake.received_for("bad")) == 1


def test_tokens_are_given_back(relay: Relay) -> None:
    asked = body("budgeted", max_tokens=100_000)
    left = "x-ratelimit-remaining-tokens"
    ask(relay, asked)
    remaining = [int(ask(relay, asked).headers[left]) for _ in range(3)]
    assert remaining[-1] >= remaining[0]
    assert "x-ratelimit-remaining-requests" in ask(relay, asked).headers


def test_the_operator_looks_and_clears(relay: Relay) -> None:
    ask(relay, body("cleared"))
    shown = raw.ask(relay.homeport, "GET", "/v1/homeport/cache").json
    assert shown["object"] == "homeport.cache"
    assert shown["entries"] > 0
    assert 0 < shown["bytes"] < shown["max_bytes"] == 64 * 2**20
    assert {"hits", "shared", "misses", "refreshed", "bypassed", "running"} <= set(shown)
    assert raw.ask(relay.homeport, "DELETE", "/v1/homeport/cache").json["deleted"] is True
    assert raw.ask(relay.homeport, "GET", "/v1/homeport/cache").json["entries"] == 0
    assert told(ask(relay, body("cleared"))) == "miss"
    key = new_key(relay, "no operator")
    assert raw.ask(relay.homeport, "DELETE", "/v1/homeport/cache", key=key).status == 403


def new_key(relay: Relay, project: str, **settings: Any) -> str:
    """Of a new project, or of the one that has this id."""
    if not project.startswith("proj_"):
        with openai.OpenAI(base_url=relay.homeport.base_url, api_key=KEY, admin_api_key=KEY) as admin:
            project = admin.admin.organization.projects.create(name=project).id
    path = f"/v1/homeport/projects/{project}/api_keys"
    made: str = raw.ask(relay.homeport, "POST", path, {"name": "k", **settings}).json["value"]
    return made


def test_projects_share_nothing_and_keys_of_one_do(relay: Relay) -> None:
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key=KEY, admin_api_key=KEY) as admin:
        blue = admin.admin.organization.projects.create(name="Blue").id
    keys = [
        new_key(relay, blue),
        new_key(relay, blue),
        new_key(relay, "Green"),
        new_key(relay, blue, models=["shared"]),
    ]
    assert [told(ask(relay, body("shared"), key=key)) for key in keys] == ["miss", "hit", "miss", "miss"]


def test_models_and_projects_of_the_settings(tmp_path: Path) -> None:
    settings = {"cache": {"models": ["gpt-*", "exact"], "by_request": False}}
    with relaying(tmp_path, settings) as relay:
        for model in ("gpt-4o", "exact"):
            assert [told(ask(relay, body(model), {})) for _ in range(2)] == ["miss", "hit"]
            assert told(ask(relay, body(model), {"x-homeport-cache": "off"})) == "bypass"
        assert [told(ask(relay, body("other"), {})) for _ in range(2)] == [None, None]
        assert [told(ask(relay, body("other"), ON)) for _ in range(2)] == ["bypass", "bypass"]


def test_a_fallbacks_answer_is_not_kept(tmp_path: Path) -> None:
    settings = {"cache": {"enabled": True}, "aliases": {"both": ["first", "second"]}}
    with relaying(tmp_path, settings, **ASKED_ONCE) as relay:
        relay.fake.by_model["first"] = faults.status(503)
        assert [told(ask(relay, body("both"), {})) for _ in range(2)] == ["miss", "miss"]
        del relay.fake.by_model["first"]
        assert [told(ask(relay, body("both"), {})) for _ in range(2)] == ["miss", "hit"]


def test_what_is_too_large_is_passed_on_and_not_kept(tmp_path: Path) -> None:
    """Also to two at once: as fast as the slower one reads, with nothing missing."""
    piece = event({"choices": [{"index": 0, "delta": {"content": "x" * 4000}, "finish_reason": None}]})
    last = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    gate = threading.Event()

    def large(visit: Visit) -> None:
        visit.send(STREAM_HEAD + chunked(piece))
        assert gate.wait(60)
        for _ in range(499):
            visit.send(chunked(piece))
        visit.send(chunked(last) + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with relaying(tmp_path, {"cache": {"enabled": True, "max_mb": 1}}) as relay:
        relay.fake.by_model["large"] = large
        with ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(ask, relay, body("large", stream=True), {}) for _ in range(2)]
            assert until(lambda: is_quiet(relay, 2))
            gate.set()
            given = [one.result().body for one in asking]
        assert given == [piece * 500 + last + b"data: [DONE]\n\n"] * 2
        assert len(relay.fake.received_for("large")) == 1
        assert told(ask(relay, body("large", stream=True), {})) == "miss"


VECTORS = {
    "how do I reset my password": (1.0, 0.0),
    "How can I reset my password?": (1.0, 0.1),
    "how do I not reset my password": (1.0, 0.0),
    "what is the sea made of": (0.0, 1.0),
}


def test_a_question_that_means_the_same_is_answered_and_labelled(tmp_path: Path) -> None:
    async def embed(text: str) -> Sequence[float]:
        return VECTORS[text]

    def question(text: str, **fields: Any) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}

    first, alike, negated, other = VECTORS
    with relaying(tmp_path, {"cache": {"enabled": True}}) as relay:
        cache = relay.homeport.app.cache
        assert cache is not None
        cache._semantic = Semantic(SemanticSettings(enabled=True), embed)
        asked = ask(relay, question(first), {})
        answer = ask(relay, question(alike), {})
        assert told(answer) == "semantic; similarity=0.995"
        assert answer.body == asked.body
        assert answer.headers["age"] in ("0", "1")
        assert answer.headers["x-homeport-original-request-id"] == asked.headers["x-request-id"]
        assert told(ask(relay, question(alike), {"x-homeport-cache": "exact"})) == "miss"
        assert told(ask(relay, question(negated), {})) == "miss"
        assert told(ask(relay, question(other), {})) == "miss"
        assert told(ask(relay, question(alike, max_tokens=5), {})) == "miss"
        assert told(ask(relay, question(first), {})) == "hit"
        assert [row["cache_hit"] for row in relay.rows("m", 7)] == [0, 1, 0, 0, 0, 0, 1]
        shown = raw.ask(relay.homeport, "GET", "/v1/homeport/cache").json
        assert (shown["hits"], shown["semantic"]) == (2, 1)


def test_the_vectors_come_from_a_model_of_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    models = {"echo": {"engine": "echo"}, "minilm": {"path": str(model_files.minilm()), "threads": 1}}
    settings = {"models": models, "cache": {"enabled": True, "semantic": {"enabled": True, "threshold": 0.9}}}

    def question(text: str) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": text}]}

    with relaying(tmp_path, settings) as relay:
        assert told(ask(relay, question("How do I reset my password?"), {})) == "miss"
        alike = told(ask(relay, question("how can I reset my password"), {})) or ""
        assert alike.startswith("semantic; similarity=0.9")
        assert told(ask(relay, question("How do I bake bread?"), {})) == "miss"
        assert told(ask(relay, question("How do I not reset my password?"), {})) == "miss"
        assert len(relay.fake.received_for("m")) == 3


@pytest.mark.parametrize(
    ("models", "semantic", "words"),
    [
        ({"other": {"path": "smollm2"}}, {}, "no model of this machine makes vectors"),
        ({"echo": {"engine": "echo"}}, {"model": "nobody"}, "'nobody' is no model of this machine that makes vectors"),
        ({"all-minilm-l6-v2": {}}, {}, "Run `homeport pull all-minilm-l6-v2`"),
    ],
)
def test_without_vectors_it_does_not_start(
    tmp_path: Path, smollm2_file: Path, models: dict[str, Any], semantic: dict[str, Any], words: str
) -> None:
    for model in models.values():
        if "path" in model:
            model["path"] = str(smollm2_file)
    settings = {"models": models, "cache": {"semantic": {"enabled": True, **semantic}}}
    with pytest.raises(SettingsError, match=words), running(tmp_path, settings):
        pass
