"""Moderations as programs use them: through the official SDK, on `echo`, to which a text is what it says it is, and by
an upstream."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.backends.moderation.categories import CATEGORIES
from homeport.wire.moderations import MOST_CHARACTERS, MOST_INPUTS
from tests import batches, openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_upstream import Visit, until, whole
from tests.server import Running
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/moderations"
IMAGE: Any = {"type": "image_url", "image_url": {"url": "https://example.com/one.png"}}


def flagged(result: Any) -> set[str]:
    return {name for name, value in result.categories.to_dict().items() if value and name in CATEGORIES}


def test_a_text_without_a_model(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input="this is violence/graphic")
    assert answer.id.startswith("modr-")
    assert answer.model == "echo"
    (result,) = answer.results
    assert result.flagged
    assert flagged(result) == {"violence/graphic"}
    assert result.category_scores.violence_graphic == 1.0
    assert result.category_scores.hate == 0.0


def test_the_answer_is_as_described(echo_server: Running) -> None:
    answer = raw.ask(echo_server, path=PATH, body={"input": ["hate", "flowers"]})
    assert answer.status == 200
    openapi.validate("CreateModerationResponse", answer.json)
    first, second = answer.json["results"]
    for result in (first, second):
        assert set(result) == {"flagged", "categories", "category_scores", "category_applied_input_types"}
        for table in ("categories", "category_scores", "category_applied_input_types"):
            assert set(result[table]) == set(CATEGORIES)
    assert (first["flagged"], second["flagged"]) == (True, False)


def test_texts_have_a_result_each_and_parts_one_together(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=["hate", "", "self-harm/intent"], model="omni-moderation-2024-09-26")
    assert [flagged(result) for result in answer.results] == [{"hate"}, set(), {"self-harm/intent"}]
    parts: Any = [{"type": "text", "text": "hate"}, {"type": "text", "text": "illicit"}]
    (together,) = client.moderations.create(input=parts).results
    assert flagged(together) == {"hate", "illicit"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": [IMAGE]}, "input[0]", "unsupported_value"),
        ({"input": [{"type": "text", "text": "a"}, IMAGE]}, "input[1]", "unsupported_value"),
        ({"input": []}, "input", "empty_array"),
        ({}, "input", "missing_required_parameter"),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "input", "invalid_value"),
        ({"input": ["a"] * (MOST_INPUTS + 1)}, "input", "array_above_max_length"),
        ({"input": "a" * (MOST_CHARACTERS + 1)}, "input", "string_above_max_length"),
        ({"input": 7}, "input", "invalid_type"),
    ],
)
def test_what_is_wrong_is_named(echo_server: Running, body: Any, param: str, code: str) -> None:
    answer = raw.ask(echo_server, path=PATH, body=body)
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)


def test_it_is_no_stream(echo_server: Running) -> None:
    assert raw.ask(echo_server, path=PATH, body={"input": "a", "stream": True}).status == 400


def test_the_names_of_openai_are_listed(client: openai.OpenAI) -> None:
    listed = {model.id for model in client.models.list()}
    assert {
        "omni-moderation-latest",
        "omni-moderation-2024-09-26",
        "text-moderation-latest",
        "text-moderation-stable",
    } <= listed


def test_a_batch_of_them(mine: openai.OpenAI) -> None:
    lines = [batches.line(at, {"input": text}, PATH) for at, text in enumerate(["hate", "flowers"])]
    batch = batches.run(mine, lines, PATH)
    assert batch.status == "completed", batch.errors
    assert batch.output_file_id is not None
    output = [json.loads(line) for line in mine.files.content(batch.output_file_id).text.splitlines()]
    found = {one["custom_id"]: one["response"]["body"]["results"][0]["flagged"] for one in output}
    assert found == {"request-0": True, "request-1": False}


def test_they_are_on_their_page_and_free(owning: Running) -> None:
    project = new_project(owning, "moderating")
    key = new_key(owning, project)
    with client_of(owning, key) as client:
        answer = client.moderations.with_raw_response.create(input="flowers", model="omni-moderation-latest")
    assert answer.status_code == 200

    def counted() -> list[int]:
        since = int(time.time()) - 86_400
        page = f"/v1/organization/usage/moderations?start_time={since}&project_ids[]={project}"
        found = raw.ask(owning, "GET", page).json["data"]
        return [one["input_tokens"] for bucket in found for one in bucket["results"] if one["num_model_requests"]]

    assert until(lambda: counted() == [len("flowers")])


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("moderations"), retries=0) as made:
        yield made


def test_an_upstream_sees_images_and_its_answer_is_passed_on(relay: Relay) -> None:
    scores = {"hate": 0.25, "of-its-own": 0.75}
    result = {"flagged": True, "categories": {"hate": False, "of-its-own": True}, "category_scores": scores}
    body = json.dumps({"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [result]}, indent=1).encode()
    relay.fake.script.append(lambda visit: visit.send(whole(body)))
    answer = raw.ask(relay.homeport, path=PATH, body={"input": [IMAGE]})
    assert answer.status == 200, answer.body
    assert answer.body == body
    visit = relay.fake.received[-1]
    assert visit.path == PATH
    assert visit.json == {"input": [IMAGE], "model": "omni-moderation-latest"}


def test_an_upstreams_nonsense_is_a_503(relay: Relay) -> None:
    def nonsense(visit: Visit) -> None:
        visit.send(whole(b'{"results": "none"}'))

    relay.fake.script.append(nonsense)
    assert raw.ask(relay.homeport, path=PATH, body={"input": "a"}).status == 503


def test_a_model_that_makes_vectors_of_another_kind_says_so(tmp_path: Path) -> None:
    """The heads are of one model's vectors; tests/local/test_moderation_model.py has that one."""
    from homeport.backends.engines.echo_vectors import EchoVectors
    from homeport.backends.moderation.classifier import Classifier
    from homeport.errors import NotFound

    async def ask() -> None:
        classifier = Classifier("other", EchoVectors())
        await classifier.start()
        with pytest.raises(NotFound, match="all-minilm-l6-v2"):
            await classifier.scores(["a"])

    import asyncio

    asyncio.run(ask())
