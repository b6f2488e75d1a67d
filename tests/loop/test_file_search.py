"""The tool that searches files: what a model may ask, what it is told, how much of it. What is found is a search's own
matter (tests/api/test_vector_store_search.py)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from homeport.control.owners import Owner
from homeport.control.vector_search import Found, Weights
from homeport.errors import InvalidRequest, NotFound
from homeport.gateway.counting import count_text
from homeport.loop.tools import file_search
from homeport.loop.tools.file_search import FileSearch, Options, queries_of
from homeport.loop.turns import Searched
from homeport.wire.vector_store_search import ComparisonFilter
from tests import clocks
from tests.loop.hosted import call

WHO = Owner("proj_1", "key_1")


def found(text: str, name: str = "a.txt", score: float = 0.5) -> Found:
    return Found(f"file-{name}", name, score, {"lang": "en"}, text, 0, None, 0, len(text))


class Search:
    """Finds what it is told to. asked: how it was."""

    def __init__(self, *finds: Found, refuses: Exception | None = None) -> None:
        self.finds = finds
        self.refuses = refuses
        self.asked: list[dict[str, Any]] = []

    async def find(self, who: Owner, store_ids: Sequence[str], queries: Sequence[str], **how: Any) -> Sequence[Found]:
        self.asked.append({"stores": store_ids, "queries": queries, **how})
        if self.refuses is not None:
            raise self.refuses
        return self.finds[: how["most"]]


class Stores:
    """looks: how often files are still on their way, when they are looked at."""

    def __init__(self, looks: int = 0) -> None:
        self.looks = looks
        self.looked: list[Sequence[str]] = []
        self.searched_ids: list[str] = []

    async def searched(self, who: Owner, store_id: str) -> None:
        self.searched_ids.append(store_id)

    async def in_progress(self, who: Owner, store_ids: Sequence[str]) -> bool:
        self.looked.append(store_ids)
        return len(self.looked) <= self.looks


def tool(search: Any, stores: Any = None, **more: Any) -> FileSearch:
    stores = Stores() if stores is None else stores
    options = {"store_ids": ["vs_1"], "model": "gpt-4o", **more}
    return FileSearch(WHO, search, stores, **options)


def called(made: FileSearch, arguments: Any = '{"queries": ["foxes"]}') -> tuple[str, Searched]:
    calling = call("file_search", arguments)
    asyncio.run(made.call(calling))
    assert calling.output is not None
    assert isinstance(calling.result, Searched)
    return calling.output, calling.result


def test_passages_stand_below_their_markers() -> None:
    search, stores = Search(found("foxes jump", "fox.txt", 0.9), found("dogs sleep", "dog.txt")), Stores()
    made = tool(search, stores, store_ids=["vs_1", "vs_2", "vs_1"], number=3)
    output, result = called(made, '{"queries": ["foxes", "foxes", " dogs\\n"]}')
    head, one, other = output.split("\n\n")
    assert head.endswith("for example: 【3:0†fox.txt】")
    assert (one, other) == ("【3:0†fox.txt】\nfoxes jump", "【3:1†dog.txt】\ndogs sleep")
    assert result.queries == ["foxes", "dogs"]
    assert [(one.marker, one.file_id, one.score, one.text, one.attributes) for one in result.passages] == [
        ("【3:0†fox.txt】", "file-fox.txt", 0.9, "foxes jump", {"lang": "en"}),
        ("【3:1†dog.txt】", "file-dog.txt", 0.5, "dogs sleep", {"lang": "en"}),
    ]
    (asked,) = search.asked
    assert asked["stores"] == ["vs_1", "vs_2"] == stores.searched_ids
    assert called(made)[1].passages[0].marker == "【4:0†fox.txt】"


def test_nothing_is_told_so() -> None:
    assert called(tool(Search()))[0] == file_search._NOTHING
    search = Search(found("x"))
    assert called(tool(search, store_ids=[]))[0] == file_search._NO_FILES
    assert called(tool(search), "{}")[0] == file_search._NO_QUERIES
    assert search.asked == []


@pytest.mark.parametrize(
    ("model", "asked", "most"),
    [("gpt-4o", None, 20), ("gpt-3.5-turbo-0125", None, 5), ("llama", None, 20), ("gpt-3.5-turbo", 7, 7)],
)
def test_how_many(model: str, asked: int | None, most: int) -> None:
    search = Search()
    called(tool(search, model=model, options=Options(most=asked)))
    assert search.asked[0]["most"] == most


@pytest.mark.parametrize(
    ("model", "context", "tokens"),
    [("gpt-4o", None, 16_000), ("gpt-3.5-turbo", None, 4_000), ("small", 2_000, 800)],
)
def test_no_more_tokens_than_there_is_room_for(model: str, context: int | None, tokens: int) -> None:
    passage = "some words about nothing " * 60
    output, result = called(
        tool(Search(*[found(passage)] * 50), model=model, context=context, options=Options(most=50))
    )
    each = count_text(model, f"【0:10†a.txt】\n{passage}\n\n")
    assert tokens // each - 1 <= len(result.passages) <= tokens // each + 1 < 50 or len(result.passages) == 50
    assert count_text(model, output) <= tokens + 100


def test_a_passage_that_is_too_long_is_cut() -> None:
    _, result = called(tool(Search(found("word " * 10_000)), context=1_000))
    (only,) = result.passages
    assert 300 <= count_text("gpt-4o", only.text) <= 400


def test_files_of_a_thread_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    clocks.own(monkeypatch, "loop.tools.file_search", sleep=sleep)
    stores = Stores(looks=3)
    made = tool(Search(), stores, store_ids=["vs_1", "vs_2"], awaited=["vs_2"])
    called(made)
    called(made)
    assert stores.looked == [["vs_2"]] * 4
    assert len(slept) == 3


def test_they_are_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += 10.0

    clocks.own(monkeypatch, "loop.tools.file_search", monotonic=lambda: now, sleep=sleep)
    search = Search(found("what is there"))
    output, _ = called(tool(search, Stores(looks=1000), awaited=["vs_1"]))
    assert output.endswith("what is there")
    assert now == 60.0


def test_a_query_that_cannot_be_is_the_models_to_mend() -> None:
    refusal = InvalidRequest("It has 9000 tokens, and may have 8192.", param="query[0]")
    output, result = called(tool(Search(refuses=refusal)))
    assert output == "This cannot be looked for: It has 9000 tokens, and may have 8192."
    assert result.passages == []


@pytest.mark.parametrize(
    "error",
    [InvalidRequest("Vector store 'vs_1' has expired.", param="vector_store_id"), NotFound("No vector store found")],
)
def test_a_store_that_is_gone_is_not(error: Exception) -> None:
    with pytest.raises(type(error)):
        called(tool(Search(refuses=error)))


@pytest.mark.parametrize(
    ("arguments", "queries"),
    [
        ('{"queries": ["a", "b"]}', ["a", "b"]),
        ('{"queries": "a"}', ["a"]),
        ('{"query": "a"}', ["a"]),
        ('["a", 5, "b"]', ["a", "b"]),
        ('"a"', ["a"]),
        ("what is a fox?", ["what is a fox?"]),
        ('{"queries": ["\\u0000", " ", "a\\u0000b"]}', ["a b"]),
        ("[" * 100_000, ["[" * 100_000]),
        ("", []),
        ("{}", []),
        ("5", []),
    ],
)
def test_queries_however_a_model_writes_them(arguments: str, queries: list[str]) -> None:
    assert queries_of(arguments) == queries


def test_no_more_queries_than_can_be() -> None:
    assert len(queries_of(json.dumps([str(number) for number in range(100)]))) == 16


def test_options_of_assistants() -> None:
    assert Options.of_assistant({"type": "file_search"}) == Options(None, "default_2024_08_21", 0.0)
    ranking = {"ranker": "auto", "score_threshold": 0.4}
    asked = {"type": "file_search", "file_search": {"max_num_results": 3, "ranking_options": ranking}}
    assert Options.of_assistant(asked) == Options(3, "default_2024_08_21", 0.4)


def test_options_of_responses() -> None:
    asked = {
        "type": "file_search",
        "vector_store_ids": ["vs_1"],
        "max_num_results": 3,
        "ranking_options": {"hybrid_search": {"embedding_weight": 1, "text_weight": 0}},
        "filters": {"type": "eq", "key": "lang", "value": "en"},
    }
    options = Options.of_response(asked, "tools[1]")
    assert options.filters == ComparisonFilter("eq", "lang", "en")
    assert options.weights == Weights(1, 0)
    search = Search()
    called(tool(search, options=options))
    assert search.asked[0]["filters"] == options.filters
    assert search.asked[0]["weights"] == options.weights
    with pytest.raises(InvalidRequest) as caught:
        Options.of_response({**asked, "filters": {"type": "like"}}, "tools[1]")
    assert caught.value.param == "tools[1].filters.type"
