"""From a file to what is found in it: read, cut, made vectors and searched, on each kind of database."""

import openai
import pytest

from tests.api.test_vector_store_search import client, searching, texts, url, with_vector
from tests.server import Running
from tests.stores import ended, upload

__all__ = ["client", "searching", "url", "with_vector"]

PLANETS = {
    "mercury.md": "# Mercury\n\nMercury is the smallest planet and the nearest to the sun.",
    "jupiter.md": "# Jupiter\n\nJupiter is the largest planet; its great red spot is a storm.",
    "火星.txt": "火星は太陽系の第四惑星である。",
}


def test_files_are_found_by_what_is_in_them(searching: Running, client: openai.OpenAI) -> None:
    store = client.vector_stores.create().id
    for name, content in PLANETS.items():
        file = client.vector_stores.files.create(store, file_id=upload(client, content, name)).id
        assert ended(client, store, file).status == "completed"
    for query, name in (
        ("storms", "jupiter.md"),
        ("which planet is near the sun?", "mercury.md"),
        ("惑星", "火星.txt"),
    ):
        found = client.vector_stores.search(store, query=query).data
        assert found[0].filename == name
        assert texts(found)[0].strip() == PLANETS[name].strip()


def test_a_query_that_is_too_long_is_a_400_of_the_query(searching: Running, client: openai.OpenAI) -> None:
    store = client.vector_stores.create().id
    file = client.vector_stores.files.create(store, file_id=upload(client, "some text")).id
    assert ended(client, store, file).status == "completed"
    with pytest.raises(openai.BadRequestError) as raised:
        client.vector_stores.search(store, query=["short", "word " * 100_000])
    assert raised.value.param is not None
    assert raised.value.param.startswith("query")
