"""Prompts of drawings whose words only the model of embeddings knows, which lies beside: in one process, and in an
engine room."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from homeport import app
from homeport.backends.capabilities import Call
from homeport.settings import Settings
from tests import model_files
from tests.server import KEY, Running, running

SCENE = {"engine": "scene", "path": str(model_files.scene())}
MINILM = {"path": str(model_files.minilm()), "threads": 1}
STANDS = "a surgeon (a health worker stands for it)"


def drawn(server: Running, prompt: str) -> str | None:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        answer = client.images.generate(model="scene-1", prompt=prompt, size="256x256", response_format="b64_json")
    assert answer.data is not None
    return answer.data[0].revised_prompt


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {"scene-1": SCENE, "all-minilm-l6-v2": MINILM}
    with running(tmp_path_factory.mktemp("words"), {"models": models}) as one:
        yield one


def test_a_word_that_only_the_embeddings_know_is_drawn_and_said(server: Running) -> None:
    revised = drawn(server, "a surgeon next to a theremin")
    assert revised is not None
    assert STANDS in revised
    assert "'theremin'" in revised


def test_a_prompt_of_nothing_that_is_known_is_refused(server: Running) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        drawn(server, "a theremin")
    assert refused.value.param == "prompt"
    assert "theremin" in refused.value.message


def test_without_embeddings_words_are_known_by_themselves_alone(tmp_path: Path) -> None:
    with running(tmp_path, {"models": {"scene-1": SCENE}}) as server:
        revised = drawn(server, "a surgeon and a dog")
        assert revised is not None
        assert "'surgeon'" in revised
        with pytest.raises(openai.BadRequestError):
            drawn(server, "a surgeon")


def test_in_an_engine_room_too(tmp_path: Path) -> None:
    models = {"scene-1": SCENE, "all-minilm-l6-v2": MINILM}
    settings = msgspec.convert({"server": {"data": str(tmp_path)}, "models": models}, Settings)

    async def draw() -> Any:
        engines = app.build_engines(settings, models)
        await engines.start()
        try:
            body = {"model": "scene-1", "prompt": "a surgeon", "size": "256x256", "response_format": "b64_json"}
            answer = await engines.held["scene-1"].draw(
                Call("images.generations", "req_1", "scene-1", msgspec.json.encode(body))
            )
            return msgspec.json.decode(answer.first.data)
        finally:
            await engines.close()

    assert STANDS in asyncio.run(draw())["data"][0]["revised_prompt"]
