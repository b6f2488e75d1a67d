"""Embeddings that are kept by the input: what is asked for, what it says, what it costs."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api import raw
from tests.api.test_cache_redis import fake, kept, server  # noqa: F401 (fixtures)
from tests.fake_upstream import FakeUpstream, Visit, answer_well, embedded, embeddings, until, whole
from tests.server import running
from tests.store.servers import RedisServer
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

PATH = "/v1/embeddings"
ON = {"x-homeport-cache": "on"}
PRICES = {"prices": {"priced": {"input": "2"}}}


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("items"), PRICES, lane=request.param) as made:
        yield made


def ask(relay: Relay, model: str, given: Any, headers: dict[str, str] = ON, **fields: Any) -> raw.Answer:
    body = {"model": model, "input": given, **fields}
    return raw.ask(relay.homeport, path=PATH, body=body, headers=dict(headers))


def told(answer: raw.Answer) -> str | None:
    return answer.headers.get("x-homeport-cache")


def vectors(answer: raw.Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    data = sorted(answer.json["data"], key=lambda one: one["index"])
    assert [one["index"] for one in data] == list(range(len(data)))
    return [one["embedding"] for one in data]


def expected(*texts: object, base64_encoded: bool = False) -> list[Any]:
    return [embedded(text, base64_encoded=base64_encoded) for text in texts]


def sent(relay: Relay, model: str) -> list[Any]:
    return [visit.json["input"] for visit in relay.fake.received_for(model)]


def test_only_what_is_new_is_asked_for(relay: Relay) -> None:
    first = ask(relay, "priced", ["one", "two two", "three"])
    assert (told(first), vectors(first)) == ("miss", expected("one", "two two", "three"))
    second = ask(relay, "priced", ["three", "four four", "one", "five"])
    assert told(second) == "partial; kept=2/4"
    assert vectors(second) == expected("three", "four four", "one", "five")
    third = ask(relay, "priced", ["five", "one"])
    assert (told(third), vectors(third)) == ("hit", expected("five", "one"))
    assert sent(relay, "priced") == [["one", "two two", "three"], ["four four", "five"]]
    assert int(third.headers["age"]) in (0, 1)
    assert third.headers["x-homeport-original-request-id"] == second.headers["x-request-id"]


def test_what_is_kept_costs_nothing_and_is_saved(tmp_path: Path) -> None:
    with relaying(tmp_path, PRICES) as relay:
        given = [ask(relay, "priced", texts) for texts in (["a b c"], ["a b c", "d e"], ["d e", "a b c"])]
        assert [one.headers["x-homeport-cost"] for one in given] == ["0.000006", "0.000004", "0"]
        assert [one.json["usage"]["prompt_tokens"] for one in given] == [3, 5, 5]
        rows = relay.rows("priced", 3)
        assert [(row["cache_hit"], row["input_tokens"], row["saved_pico"]) for row in rows] == [
            (0, 3, None),
            (0, 2, 6_000_000),
            (1, 5, 10_000_000),
        ]


def test_what_is_kept_is_saved_where_the_rest_is_not_counted(tmp_path: Path) -> None:
    def uncounted(visit: Visit) -> None:
        visit.send(whole(json.dumps({**json.loads(embeddings(visit)), "usage": None}).encode()))

    with relaying(tmp_path, PRICES) as relay:
        ask(relay, "priced", ["a b c"])
        relay.fake.by_model["priced"] = uncounted
        assert told(ask(relay, "priced", ["a b c", "d e"])) == "partial; kept=1/2"
        assert [row["saved_pico"] for row in relay.rows("priced", 2)] == [None, 6_000_000]


def test_one_input_and_a_list_of_it_are_the_same(relay: Relay) -> None:
    given = [ask(relay, "single", text) for text in ("alone", ["alone"], "alone")]
    assert [told(one) for one in given] == ["miss", "hit", "hit"]
    assert [vectors(one) for one in given] == [expected("alone")] * 3
    tokens = [ask(relay, "ids", one) for one in ([1, 2], [[1, 2]], [[3], [1, 2]])]
    assert [told(one) for one in tokens] == ["miss", "hit", "partial; kept=1/2"]
    assert vectors(tokens[2]) == expected([3], [1, 2])


def test_the_same_input_twice_is_asked_for_once(relay: Relay) -> None:
    answer = ask(relay, "twice", ["x", "y", "x", "x"])
    assert vectors(answer) == expected("x", "y", "x", "x")
    assert sent(relay, "twice") == [["x", "y"]]


def test_what_makes_another_vector_is_another_question(relay: Relay) -> None:
    variants: list[dict[str, Any]] = [{}, {"dimensions": 2}, {"encoding_format": "base64"}, {"own": 1}]
    assert [told(ask(relay, "variants", ["v"], **one)) for one in variants] == ["miss"] * 4
    assert [told(ask(relay, "variants", ["v"], **one)) for one in variants] == ["hit"] * 4
    same: list[dict[str, Any]] = [{"encoding_format": "float"}, {"user": "u"}, {"dimensions": None}]
    assert [told(ask(relay, "variants", ["v"], **one)) for one in same] == ["hit"] * 3
    encoded = ask(relay, "variants", ["v", "w"], encoding_format="base64")
    assert vectors(encoded) == expected("v", "w", base64_encoded=True)


def test_vectors_of_two_models_are_never_mixed(relay: Relay) -> None:
    """What an upstream's name stands for has changed: all of it is asked for anew."""
    ask(relay, "moves", ["a", "b"])

    def moved(visit: Visit) -> None:
        visit.send(whole(json.dumps({**json.loads(embeddings(visit)), "model": "moves-2026"}).encode()))

    relay.fake.by_model["moves"] = moved
    answer = ask(relay, "moves", ["b", "c"])
    assert (told(answer), answer.json["model"]) == ("miss", "moves-2026")
    assert sent(relay, "moves") == [["a", "b"], ["c"], ["b", "c"]]
    assert relay.rows("moves", 2)[1]["prompt_tokens"] == 3  # all that was paid for
    again = ask(relay, "moves", ["a", "b", "c"])
    assert again.json["model"] == "moves-2026"
    assert vectors(again) == expected("a", "b", "c")
    assert told(ask(relay, "moves", ["a", "b", "c"])) == "hit"


def test_refresh_asks_for_all_and_off_keeps_nothing(relay: Relay) -> None:
    ask(relay, "fresh", ["a"])
    assert told(ask(relay, "fresh", ["a"], {"x-homeport-cache": "refresh"})) == "refreshed"
    assert told(ask(relay, "fresh", ["z"], {"x-homeport-cache": "off"})) is None
    assert sent(relay, "fresh") == [["a"], ["a"], ["z"]]
    only = {"cache-control": "only-if-cached"}
    assert ask(relay, "fresh", ["a", "z"], only).status == 504
    assert told(ask(relay, "fresh", ["a"], only)) == "hit"


def test_equal_requests_at_once_ask_once(relay: Relay) -> None:
    gate = threading.Event()

    def wait(visit: Visit) -> None:
        assert gate.wait(60)
        answer_well(visit)

    relay.fake.by_model["together"] = wait
    cache = relay.homeport.app.cache
    assert cache is not None
    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, relay, "together", ["a", "b"]) for _ in range(6)]
        assert until(lambda: cache.told()["running"] == 6)
        gate.set()
        given = [one.result() for one in asking]
    assert [vectors(one) for one in given] == [expected("a", "b")] * 6
    assert sent(relay, "together") == [["a", "b"]]
    assert sorted(row["cache_hit"] for row in relay.rows("together", 6)) == [0, 1, 1, 1, 1, 1]


def test_a_failure_keeps_nothing(relay: Relay) -> None:
    relay.fake.by_model["fails"] = faults.status(500)
    assert ask(relay, "fails", ["a"]).status == 500
    del relay.fake.by_model["fails"]
    assert told(ask(relay, "fails", ["a"])) == "miss"


def test_a_fallbacks_vectors_are_not_kept(tmp_path: Path) -> None:
    settings = {"cache": {"enabled": True}, "aliases": {"both": ["first", "second"]}}
    with relaying(tmp_path, settings) as relay:
        ask(relay, "both", ["a"], {})
        relay.fake.by_model["first"] = faults.status(503)
        answer = ask(relay, "both", ["a", "b"], {})
        assert answer.json["model"] == "second-2024"  # all of them: not one of each
        assert vectors(answer) == expected("a", "b")
        del relay.fake.by_model["first"]
        assert told(ask(relay, "both", ["b"], {})) == "miss"


def test_bad_input_is_refused_as_without_it(relay: Relay) -> None:
    for given in ("", [], ["a", ""], {"a": 1}, ["a", 1]):
        answers = [
            raw.ask(relay.homeport, path=PATH, body={"model": "echo", "input": given}, headers=dict(one))
            for one in (ON, {})
        ]
        assert [one.status for one in answers] == [400, 400]
        assert answers[0].error == answers[1].error


def test_local_vectors_are_kept_too(relay: Relay) -> None:
    given = [
        raw.ask(relay.homeport, path=PATH, body={"model": "echo", "input": ["a", text]}, headers=dict(ON))
        for text in ("b", "c")
    ]
    plain = raw.ask(relay.homeport, path=PATH, body={"model": "echo", "input": ["a", "c"]})
    assert [told(one) for one in given] == ["miss", "partial; kept=1/2"]
    assert given[1].json == plain.json


def test_replicas_share_them(server: RedisServer, fake: FakeUpstream, tmp_path: Path) -> None:  # noqa: F811
    table = {
        "redis_url": server.url,
        "limits": {"without_redis": "share"},
        "upstreams": {"far": {"base_url": fake.base_url, "api_key": UPSTREAM_KEY}},
        "cache": {"enabled": True, "process_seconds": 0.001},
    }
    body = {"model": "shared", "input": ["one", "the secret of two"]}
    with running(tmp_path, table) as one, running(tmp_path, table) as other:
        assert told(raw.ask(one, path=PATH, body=body)) == "miss"
        assert until(lambda: len(kept(server)) == 2)
        answer = raw.ask(other, path=PATH, body={**body, "input": ["three", *body["input"]]})
        assert told(answer) == "partial; kept=2/3"
        assert vectors(answer) == expected("three", "one", "the secret of two")
    assert [visit.json["input"] for visit in fake.received_for("shared")] == [body["input"], ["three"]]
    assert not any(b"secret" in entry for entry in kept(server))
