"""Search of vector stores through the official SDK, on each kind of database. The vectors are `echo`'s: of words."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.store.tables import vector_stores
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.api.searched import add, complete, new_store
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer, pgvector_server

_numbers = count()


@pytest.fixture(scope="module")
def with_vector() -> Iterator[PostgresServer]:
    with pgvector_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "pgvector"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Of the database; None: a file."""
    name = f"searching_{next(_numbers)}"
    match request.param:
        case "postgresql":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            return postgres.create(name)
        case "pgvector":
            other: PostgresServer = request.getfixturevalue("with_vector")
            return other.create(name)
    return None


def settings(url: str | None, **more: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"vector_stores": {"embedding_model": "echo"}, **more}
    return chosen | ({"database_url": url} if url else {})


@pytest.fixture(scope="module")
def searching(url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("searching"), settings(url)) as server:
        yield server


@pytest.fixture(scope="module")
def client(searching: Running) -> Iterator[openai.OpenAI]:
    with client_of(searching) as made:
        yield made


def texts(found: Any) -> list[str]:
    return [one.content[0].text for one in found]


ANIMALS = ["the quick brown fox jumps", "a lazy dog sleeps all day", "cats and dogs are pets", "birds fly south"]
MACHINES = ["the engine XK-4711 has six cylinders", "a lathe turns metal", "pumps move water uphill"]


def test_the_best_chunk_comes_first(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS, machines=MACHINES)
    found = client.vector_stores.search(store, query="a lazy dog sleeps", max_num_results=3).data
    assert texts(found)[0] == ANIMALS[1]
    assert found[0].filename == "animals.txt"
    assert found[0].file_id.startswith("file-")
    assert len(found) == 3
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_words_in_other_forms_are_found(searching: Running, client: openai.OpenAI) -> None:
    """To `echo` a word in another form is another word: it is the other half that finds it."""
    store = new_store(searching, client, animals=ANIMALS, machines=MACHINES)
    assert texts(client.vector_stores.search(store, query="pumping"))[0] == MACHINES[2]
    assert texts(client.vector_stores.search(store, query="xk 4711"))[0] == MACHINES[0]


def test_the_answer_is_as_described(searching: Running, client: openai.OpenAI) -> None:
    store = client.vector_stores.create().id
    file = add(searching, client, store, ["page one", "page two"], attributes={"a": 1, "b": "x", "c": True}, pages=True)
    path = f"/v1/vector_stores/{store}/search"
    answer = raw.ask(searching, path=path, body={"query": "page two", "max_num_results": 1})
    assert answer.json == {
        "object": "vector_store.search_results.page",
        "search_query": ["page two"],
        "data": [
            {
                "file_id": file,
                "filename": "some.txt",
                "score": answer.json["data"][0]["score"],
                "attributes": {"a": 1, "b": "x", "c": True},
                "content": [{"type": "text", "text": "page two", "page": 2, "begins": 8, "ends": 16}],
            }
        ],
        "has_more": False,
        "next_page": None,
    }
    described = answer.json
    for name in ("page", "begins", "ends"):
        del described["data"][0]["content"][0][name]
    openapi.validate("VectorStoreSearchResultsPage", described)
    one = client.vector_stores.search(store, query="page two").data[0].content[0]
    assert one.model_extra == {"page": 2, "begins": 8, "ends": 16}


def test_a_list_of_queries_is_answered_once(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS, machines=MACHINES)
    found = client.vector_stores.search(store, query=["lazy dog", "lathe metal", "dog sleeps"])
    assert {*texts(found)[:3]} > {ANIMALS[1], MACHINES[1]}
    assert len({*texts(found)}) == len(found.data)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"type": "eq", "key": "year", "value": 2024}, {"b"}),
        ({"type": "ne", "key": "year", "value": 2024}, {"a", "c"}),
        ({"type": "in", "key": "kind", "value": ["x", "y"]}, {"a", "b"}),
        ({"type": "nin", "key": "kind", "value": ["x"]}, {"b", "c"}),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "gte", "key": "year", "value": 2020},
                    {"type": "or", "filters": [{"type": "eq", "key": "kind", "value": "x"}]},
                ],
            },
            {"a"},
        ),
        ({"type": "eq", "key": "year", "value": "2024"}, set()),
    ],
)
def test_filters_choose_the_files(searching: Running, client: openai.OpenAI, filters: Any, wanted: set[str]) -> None:
    store = client.vector_stores.create().id
    for name, attributes in {"a": {"year": 2020, "kind": "x"}, "b": {"year": 2024.0, "kind": "y"}, "c": None}.items():
        add(searching, client, store, [f"some text of {name}"], name=name, attributes=attributes)
    found = client.vector_stores.search(store, query="some text", filters=filters).data
    assert {one.filename for one in found} == wanted


def test_the_threshold_leaves_out_what_is_far(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS, machines=MACHINES)

    def found(threshold: float) -> list[str]:
        options: Any = {"score_threshold": threshold, "ranker": "auto"}
        return texts(client.vector_stores.search(store, query=ANIMALS[3], ranking_options=options))

    assert len(found(0)) == len(ANIMALS) + len(MACHINES)
    assert found(0.9) == [ANIMALS[3]]
    assert found(1.0) in ([], [ANIMALS[3]])


def test_a_question_is_rewritten_where_that_is_asked_for(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    path = f"/v1/vector_stores/{store}/search"
    query = 'What is it that the "lazy dog" does all day?'
    for wanted, searched in ((True, '"lazy dog" all day'), (False, query)):
        answer = raw.ask(searching, path=path, body={"query": query, "rewrite_query": wanted})
        assert answer.json["search_query"] == [searched]
        assert answer.json["data"][0]["content"][0]["text"] == ANIMALS[1]


def test_an_empty_store_has_nothing(searching: Running, client: openai.OpenAI) -> None:
    assert client.vector_stores.search(client.vector_stores.create().id, query="x").data == []


def test_what_is_not_completed_is_not_found(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    file = add(searching, client, store, ["a zebra"], status="in_progress")
    assert "a zebra" not in texts(client.vector_stores.search(store, query="zebra"))
    complete(searching, file)
    assert texts(client.vector_stores.search(store, query="zebra"))[0] == "a zebra"


def test_what_is_taken_out_is_gone_at_once(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    gone = add(searching, client, store, ["a zebra"])
    deleted = add(searching, client, store, ["another zebra"])
    assert len(client.vector_stores.search(store, query="zebra").data) == 6
    client.vector_stores.files.delete(gone, vector_store_id=store)
    assert "a zebra" not in texts(client.vector_stores.search(store, query="zebra"))
    client.files.delete(deleted)
    assert {*texts(client.vector_stores.search(store, query="zebra"))} == {*ANIMALS}


def test_other_projects_find_nothing(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    key = new_key(searching, new_project(searching, f"strangers {next(_numbers)}"))
    with client_of(searching, key) as stranger:
        with pytest.raises(openai.NotFoundError) as raised:
            stranger.vector_stores.search(store, query="dog")
        assert raised.value.param == "vector_store_id"
        own = stranger.vector_stores.create().id
        add(searching, stranger, own, ["a dog of strangers"])
        assert texts(stranger.vector_stores.search(own, query="dog")) == ["a dog of strangers"]


def test_a_search_is_booked_on_who_searches(searching: Running, client: openai.OpenAI) -> None:
    project = new_project(searching, f"booked {next(_numbers)}")
    with client_of(searching, new_key(searching, project)) as booked:
        store = booked.vector_stores.create().id
        add(searching, booked, store, ["a dog"])
        now = int(clock.now())

        def tokens() -> int:
            path = f"/v1/organization/usage/embeddings?start_time={now - 86_400}&project_ids[]={project}"
            page = raw.ask(searching, "GET", path).json
            return sum(one["input_tokens"] for bucket in page["data"] for one in bucket["results"])

        assert until(lambda: tokens() > 0)
        before = tokens()
        booked.vector_stores.search(store, query="dog")
        assert until(lambda: tokens() == before + len("dog"))


def test_a_key_needs_to_be_allowed_to(searching: Running, client: openai.OpenAI) -> None:
    project = new_project(searching, f"scoped {next(_numbers)}")
    for scopes, missing in ((["files.read"], "vector_stores.read"), (["vector_stores.read"], "model.request")):
        key = new_key(searching, project, scopes=scopes)
        with client_of(searching, new_key(searching, project)) as owner:
            store = owner.vector_stores.create().id
            add(searching, owner, store, ["a dog"])
        with client_of(searching, key) as narrow, pytest.raises(openai.PermissionDeniedError, match=missing):
            narrow.vector_stores.search(store, query="dog")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": []}, "query"),
        ({"query": ["a", " "]}, "query[1]"),
        ({"query": ["a"] * 33}, "query"),
        ({"query": 1}, "query"),
        ({"query": "a", "max_num_results": 0}, "max_num_results"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "ranking_options": {"score_threshold": 1.1}}, "ranking_options.score_threshold"),
        ({"query": "a", "ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
        ({"query": "a", "filters": {"type": "gt", "key": "a", "value": [1]}}, "filters.value"),
    ],
)
def test_what_is_wrong_is_a_400(searching: Running, client: openai.OpenAI, body: Any, param: str) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    answer = raw.ask(searching, path=f"/v1/vector_stores/{store}/search", body=body)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_an_unknown_member_is_named(searching: Running) -> None:
    answer = raw.ask(searching, path="/v1/vector_stores/vs_1/search", body={"query": "a", "top_k": 3})
    assert answer.status == 400
    assert "top_k" in answer.error["message"]


@pytest.mark.parametrize("url", ["postgresql", "pgvector"], indirect=True)
def test_two_replicas_agree_at_once(
    url: str | None, searching: Running, client: openai.OpenAI, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = new_store(searching, client, animals=ANIMALS)
    with running(tmp_path_factory.mktemp("replica"), settings(url)) as replica, client_of(replica) as other:
        file = ""
        for step in range(8):
            if step % 3 == 2:
                client.vector_stores.files.delete(file, vector_store_id=store)
            else:
                file = add(searching, client, store, [f"zebra number {step}", f"zebra {step} again"])
            here, there = (one.vector_stores.search(store, query=f"zebra {step}").data for one in (client, other))
            assert here == there
            assert (f"zebra number {step}" in texts(here)) is (step % 3 != 2)


def test_what_is_found_is_there_while_files_come_and_go(searching: Running, client: openai.OpenAI) -> None:
    """A chunk that is found was completed when its search began or later, and was not taken out before it began."""
    store = new_store(searching, client, animals=ANIMALS)
    gone: set[str] = set()
    begun: set[str] = set()
    done: set[str] = set()
    stop = Event()

    def come_and_go(writer: int) -> None:
        with client_of(searching) as mine:
            for step in range(8):
                name = f"zebra{writer}x{step}"
                file = add(searching, mine, store, [f"zebra {name}"], status="in_progress", name=name)
                begun.add(name)
                complete(searching, file)
                done.add(name)
                mine.vector_stores.files.delete(file, vector_store_id=store)
                gone.add(name)

    def search(_: int) -> int:
        searches = 0
        with client_of(searching) as mine:
            while not stop.is_set() or not searches:
                before = {*gone}
                there = {*done}
                found = {one.filename for one in mine.vector_stores.search(store, query="zebra", max_num_results=50)}
                after_gone = {*gone}
                assert not found & before
                assert found <= begun | {"animals.txt"}
                assert {"animals.txt"} <= found
                assert not found & {name for name in there - found if name not in after_gone}
                searches += 1
        return searches

    with ThreadPoolExecutor(4) as threads:
        searchers = [threads.submit(search, at) for at in range(2)]
        writers = [threads.submit(come_and_go, at) for at in range(2)]
        try:
            for one in writers:
                one.result(60)
        finally:
            stop.set()
        assert all(one.result(60) > 0 for one in searchers)


def test_a_model_that_answers_otherwise_is_said(searching: Running, client: openai.OpenAI) -> None:
    store = new_store(searching, client, animals=ANIMALS)

    async def change() -> None:
        async with searching.app.books.database.write() as connection:
            await connection.execute(sa.update(vector_stores).where(vector_stores.c.id == store).values(answered="old"))

    searching.begin(change()).result(10)
    answer = raw.ask(searching, path=f"/v1/vector_stores/{store}/search", body={"query": "dog"}, key=KEY)
    assert (answer.status, answer.error["code"]) == (500, "other_embedding_model")
    assert "'old'" in answer.error["message"]
