"""A model that draws, held by the engine room of two workers: both draw with it, and serve each other's pictures."""

import base64
import http.client
import textwrap
import warnings
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import model_files
from tests.replicas.conftest import stores
from tests.replicas.house import housed
from tests.store.servers import PostgresServer, RedisServer

#: Connections that are opened to meet both workers: all of them find the same one once in 128 times.
FEW = 8


def test_both_draw_with_one_model(redis: RedisServer, postgres: PostgresServer, tmp_path: Path) -> None:
    pytest.importorskip("thorvg_python")
    settings = f"""
        [models.house]
        path = "{model_files.scene()}"
        engine = "scene"
        aliases = ["dall-e-2", "gpt-image-1"]
    """
    given = stores(postgres, redis)["redis_url"]
    with housed(tmp_path, workers=2, redis_url=given, settings=textwrap.dedent(settings)) as house:
        project = house.new_project()
        port = house.first.port

        def ask(what: str, **fields: Any) -> Any:
            """Over a connection of its own."""
            base_url = f"http://127.0.0.1:{port}/v1"
            with openai.OpenAI(base_url=base_url, api_key=project.key, max_retries=0) as client:
                found = getattr(client.images, what)(**fields)
                return list(found) if fields.get("stream") else found

        def seen(url: str) -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", url.partition(f":{port}")[2])
            answer = connection.getresponse()
            assert answer.status == 200
            body = answer.read()
            connection.close()
            return body

        wanted: Any = {"prompt": "a red apple", "size": "256x256", "extra_body": {"seed": 7}}
        answers = [ask("generate", model="dall-e-2", **wanted).data[0] for _ in range(FEW)]
        (picture,) = {seen(one.url) for one in answers}
        assert picture.startswith(b"\x89PNG")
        assert len({one.url for one in answers}) == FEW
        events = ask("generate", model="gpt-image-1", prompt="a red apple", stream=True)
        assert [one.type for one in events] == ["image_generation.completed"]
        assert base64.b64decode(events[0].b64_json).startswith(b"\x89PNG")
        edited = ask("edit", model="gpt-image-1", image=("a.png", picture), prompt="two bananas")
        assert edited.usage.input_tokens_details.image_tokens > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            varied = ask("create_variation", model="dall-e-2", image=("a.png", picture), n=2, size="256x256")
        assert len({seen(one.url) for one in varied.data}) == 2
        with pytest.raises(openai.BadRequestError, match="1x1"):
            ask("generate", model="dall-e-2", prompt="a red apple", size="1x1")
        rows = house.rows(project, FEW + 4)
        drawn = [row for row in rows if row["outcome"] == "completed"]
        images = sorted(row["images"] for row in drawn)  # two processes write them
        assert images == [1] * (FEW + 2) + [2]
        assert {(row["ran"], row["estimated"]) for row in drawn} == {("house", 0)}
