"""Embeddings of an upstream: passed on untouched, and lists that are too long for it in pieces."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api import raw
from tests.fake_upstream import Visit, answer_well, embedded, embeddings, until, whole
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

PATH = "/v1/embeddings"


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The upstream takes three inputs at once."""
    settings = {"aliases": {"nick": "far-name"}, "prices": {"priced": {"input": "2"}}}
    with relaying(tmp_path_factory.mktemp("embed"), settings, lane=request.param, embedding_inputs=3) as made:
        yield made


def ask(relay: Relay, model: str, given: Any, **fields: Any) -> raw.Answer:
    return raw.ask(relay.homeport, path=PATH, body={"model": model, "input": given, **fields})


def vectors(answer: raw.Answer) -> list[Any]:
    return [one["embedding"] for one in sorted(answer.json["data"], key=lambda one: one["index"])]


def test_it_is_passed_on_untouched(relay: Relay) -> None:
    sent = b'{ "model":"m", "input" : ["\\u00e9 \xc3\xa9"], "own": 1.50, "encoding_format":"float" }'
    answer = raw.ask(relay.homeport, path=PATH, body=sent)
    visit = relay.fake.received[-1]
    assert (visit.path, visit.body) == ("/v1/embeddings", sent)
    assert answer.body == embeddings(visit)
    (row,) = relay.rows("m")
    assert (row["endpoint"], row["ran"], row["prompt_tokens"], row["output_tokens"]) == ("embeddings", "m-2024", 2, 0)


def test_the_sdk_reads_it(relay: Relay) -> None:
    with relay.client() as client:
        answer = client.embeddings.create(model="nick", input=["hello there", "x"])
    assert [one.embedding for one in sorted(answer.data, key=lambda one: one.index)] == [
        embedded(text, base64_encoded=False) for text in ("hello there", "x")
    ]
    assert relay.fake.received[-1].json["model"] == "far-name"


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(
    "given", [[f"text {n}" for n in range(8)], [[n, n] for n in range(8)]], ids=["texts", "tokens"]
)
def test_a_long_list_goes_in_pieces(relay: Relay, given: list[Any], encoding: str) -> None:
    model = f"pieces-{encoding}-{type(given[0]).__name__}"
    answer = ask(relay, model, given, encoding_format=encoding, user="u", dimensions=4)
    sent = relay.fake.received_for(model)
    assert sorted(len(one.json["input"]) for one in sent) == [2, 3, 3]
    assert all(
        (one.json["user"], one.json["dimensions"], one.json["encoding_format"]) == ("u", 4, encoding) for one in sent
    )
    assert all(one.headers["authorization"] == f"Bearer {UPSTREAM_KEY}" for one in sent)
    assert [one["index"] for one in answer.json["data"]] == list(range(8))
    assert vectors(answer) == [embedded(one, base64_encoded=encoding == "base64") for one in given]
    assert answer.json["usage"] == {"prompt_tokens": 16, "total_tokens": 16}
    assert answer.json["model"] == f"{model}-2024"
    assert [row["prompt_tokens"] for row in relay.rows(model)] == [16]


def test_more_than_openai_takes_goes_too(relay: Relay) -> None:
    answer = ask(relay, "many", ["x"] * 3000)
    assert len(answer.json["data"]) == 3000
    assert len(relay.fake.received_for("many")) == 1000


def test_pieces_are_cut_by_tokens_too(tmp_path: Path) -> None:
    with relaying(tmp_path, embedding_tokens=100) as relay:
        ask(relay, "long", ["x" * 120, "y" * 60, "z" * 60, "w" * 900, "v"])
        cut = [[one[0] for one in visit.json["input"]] for visit in relay.fake.received]
        assert sorted(cut) == [["v"], ["w"], ["x", "y"], ["z"]]
        ask(relay, "ids", [[1] * 60, [2] * 40, [3]])
        assert sorted(len(one.json["input"]) for one in relay.fake.received_for("ids")) == [1, 2]


def test_only_what_failed_is_asked_again(tmp_path: Path) -> None:
    """Of nine inputs in three pieces one fails once."""
    failed = threading.Event()

    def fails_once(visit: Visit) -> None:
        if "text 4" in visit.json["input"] and not failed.is_set():
            failed.set()
            faults.status(500)(visit)
        else:
            answer_well(visit)

    with relaying(tmp_path, retries=2, embedding_inputs=3) as relay:
        relay.fake.by_model["shaky"] = fails_once
        given = [f"text {n}" for n in range(9)]
        answer = ask(relay, "shaky", given)
        assert vectors(answer) == [embedded(one, base64_encoded=False) for one in given]
        asked = [tuple(one.json["input"]) for one in relay.fake.received]
        assert sorted(asked) == sorted([*[tuple(given[at : at + 3]) for at in (0, 3, 6)], tuple(given[3:6])])
        assert [row["prompt_tokens"] for row in relay.rows("shaky")] == [18]


def test_a_refusal_of_a_piece_is_the_answer(relay: Relay) -> None:
    relay.fake.by_model["picky"] = faults.status(400)
    answer = ask(relay, "picky", ["a"] * 20)
    assert answer.status == 400
    assert answer.error["type"] == "its_own_type"
    assert len(relay.fake.received_for("picky")) <= 4  # none is begun after a failure


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer | {"data": answer["data"][1:]},
        lambda answer: answer | {"data": [one | {"index": 0} for one in answer["data"]]},
        lambda answer: answer | {"data": [*answer["data"], answer["data"][0]]},
        lambda answer: answer | {"data": None},
        lambda answer: {"object": "list"},
        lambda answer: [],
    ],
)
@pytest.mark.parametrize("count", [2, 5])
def test_an_answer_that_is_none_is_refused(relay: Relay, spoil: Any, count: int) -> None:
    relay.fake.by_model["wrong"] = lambda visit: visit.send(
        whole(json.dumps(spoil(json.loads(embeddings(visit)))).encode())
    )
    answer = ask(relay, "wrong", ["a"] * count)
    assert (answer.status, answer.error["code"]) == (503, "upstream_malformed")


def test_what_is_no_text_is_no_answer(relay: Relay) -> None:
    relay.fake.by_model["torn"] = lambda visit: visit.send(whole(embeddings(visit).replace(b"-2024", b"-\xff24")))
    answer = ask(relay, "torn", ["a"])
    assert (answer.status, answer.error["code"]) == (503, "upstream_malformed")


def test_leaving_ends_every_piece(relay: Relay) -> None:
    relay.fake.by_model["slow"] = faults.silence
    sent = raw.request_bytes({"model": "slow", "input": ["a"] * 30}, path=PATH)
    with raw.connect(relay.homeport) as connection:
        connection.sendall(sent)
        assert until(lambda: len(relay.fake.received_for("slow")) == 4)
    assert all(visit.left.wait(60) for visit in relay.fake.received_for("slow"))
    (row,) = relay.rows("slow")
    assert (row["outcome"], row["cost_pico"]) == ("left", None)


def test_many_at_once(relay: Relay) -> None:
    with ThreadPoolExecutor(8) as pool, relay.client() as client:
        given = list(
            pool.map(
                lambda n: client.embeddings.create(model=f"p{n % 3}", input=[f"{n} {k}" for k in range(7)]), range(24)
            )
        )
    for number, answer in enumerate(given):
        assert [one.embedding for one in answer.data] == [
            embedded(f"{number} {k}", base64_encoded=False) for k in range(7)
        ]


def test_azures_deployments_take_them(tmp_path: Path) -> None:
    with relaying(tmp_path) as relay:
        base = relay.fake.url
        azure = {"kind": "azure", "base_url": base, "api_key": "k", "models": ["embedder"]}
        with relaying(tmp_path / "two", {"upstreams": {"blue": azure}}) as other:
            answer = ask(other, "embedder", "hello")
            assert answer.status == 200
    visit = relay.fake.received[-1]
    assert visit.path == "/openai/deployments/embedder/embeddings?api-version=2024-10-21"
    assert visit.headers["api-key"] == "k"


def test_it_has_a_price(relay: Relay) -> None:
    assert ask(relay, "priced", ["one two three"]).headers["x-homeport-cost"] == "0.000006"
