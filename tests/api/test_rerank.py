"""`/v1/rerank`, passed on to an upstream; and search of vector stores with models that rewrite and re-rank."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.api.owners import client_of
from tests.api.searched import add
from tests.fake_upstream import Visit, reranked, whole
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/rerank"
TEXTS = ["a dog barks", "the cat sleeps", "a cat and a dog"]
ASKED: dict[str, Any] = {"model": "ranker", "query": "cat dog", "documents": TEXTS}


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    chosen = {"embedding_model": "echo", "rewrite_model": "rewriter", "reranker": "ranker"}
    settings = {"vector_stores": chosen, "prices": {"ranker": {"input": "2"}}}
    with relaying(tmp_path_factory.mktemp("rerank"), settings, lane=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with client_of(relay.homeport) as made:
        yield made


def test_it_is_passed_on_untouched_and_booked(relay: Relay) -> None:
    sent = json.dumps(ASKED | {"own": [1.50]}, indent=3).encode()
    answer = raw.ask(relay.homeport, path=PATH, body=sent)
    visit = relay.fake.received[-1]
    assert (visit.path, visit.body, answer.body) == (PATH, sent, reranked(visit))
    assert [one["index"] for one in answer.json["results"]] == [2, 0, 1]
    row = relay.rows("ranker")[-1]
    assert (row["endpoint"], row["ran"], row["prompt_tokens"], row["output_tokens"]) == ("rerank", "ranker-2024", 17, 0)
    assert row["cost_pico"] == 17 * 2_000_000


def test_what_is_no_ranking_is_an_error(relay: Relay) -> None:
    relay.fake.script.append(lambda visit: visit.send(whole(b'{"results": [{"index": "first"}]}')))
    assert raw.ask(relay.homeport, path=PATH, body=ASKED).status == 503


def test_a_model_of_another_kind_says_so(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, path=PATH, body={**ASKED, "model": "echo"})
    assert answer.status == 404
    assert "v1/rerank" in answer.error["message"]


def store_of(relay: Relay, client: openai.OpenAI) -> str:
    store = client.vector_stores.create().id
    add(relay.homeport, client, store, ["cat dog cat dog", *TEXTS, "cat dog bird"])
    return store


def test_what_is_found_is_in_the_rerankers_order(relay: Relay, client: openai.OpenAI) -> None:
    store = store_of(relay, client)
    relay.fake.by_model["ranker"] = ranked([0.1, 0.9, 0.5])
    found = client.vector_stores.search(store, query="cat dog", ranking_options={"score_threshold": 0.3}).data
    visit = relay.fake.received_for("ranker")[-1]
    assert visit.json["query"] == "cat dog"
    first, second, third, *_ = visit.json["documents"]
    assert [(one.content[0].text, one.score) for one in found] == [(second, 0.9), (third, 0.5)]
    del first


def test_scores_that_are_none_become_some(relay: Relay, client: openai.OpenAI) -> None:
    store = store_of(relay, client)
    relay.fake.by_model["ranker"] = ranked([-8.0, 8.0, 0.0])
    found = client.vector_stores.search(store, query="cat dog", max_num_results=2).data
    assert [one.score for one in found] == pytest.approx([0.99966, 0.5], abs=1e-4)


def test_without_a_reranker_the_order_stays(relay: Relay, client: openai.OpenAI) -> None:
    store = store_of(relay, client)
    plain = client.vector_stores.search(store, query="cat dog", ranking_options={"ranker": "none"}).data
    asked = len(relay.fake.received_for("ranker"))
    assert plain[0].content[0].text == "cat dog cat dog"
    for broken in (b"{}", b'{"results": []}', b"no"):
        relay.fake.by_model["ranker"] = partial(answer_with, broken)
        assert client.vector_stores.search(store, query="cat dog").data == plain
    assert len(relay.fake.received_for("ranker")) > asked


def test_a_model_rewrites_the_query(relay: Relay, client: openai.OpenAI) -> None:
    store = store_of(relay, client)
    relay.fake.by_model["ranker"] = ranked([1.0])
    relay.fake.by_model["rewriter"] = said("  bird\n ")
    asked = {"query": "Which animals fly?", "rewrite_query": True}
    answer = raw.ask(relay.homeport, path=f"/v1/vector_stores/{store}/search", body=asked)
    assert answer.json["search_query"] == ["bird"]
    messages = relay.fake.received_for("rewriter")[-1].json["messages"]
    assert messages[-1] == {"role": "user", "content": "Which animals fly?"}
    assert relay.rows("rewriter")[-1]["endpoint"] == "chat.completions"


def ranked(scores: list[float]) -> Any:
    """Of the first texts; others have the least."""

    def answer(visit: Visit) -> None:
        count = len(visit.json["documents"])
        given = [*scores, *[min(scores) - 0.01] * count][:count]
        results = [{"index": at, "relevance_score": score} for at, score in enumerate(given)]
        visit.send(whole(json.dumps({"results": results}).encode()))

    return answer


def answer_with(body: bytes, visit: Visit) -> None:
    visit.send(whole(body))


def said(text: str) -> Any:
    def answer(visit: Visit) -> None:
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
        visit.send(whole(json.dumps(body).encode()))

    return answer
