"""A fine-tuned model whose base the engine room of two workers holds: both bring its adapter, and it answers as one."""

import asyncio
import textwrap
from pathlib import Path

import openai
import pytest

from homeport.store.blobs import Blobs
from homeport.store.database import Database
from homeport.store.folder import Folder
from tests import adapters, tuned
from tests.fake_upstream import until
from tests.replicas.conftest import stores
from tests.replicas.house import housed
from tests.store.servers import PostgresServer, RedisServer
from tests.training.text import tiny

#: Connections that are opened to meet both workers: all of them find the same one once in 128 times.
FEW = 8


def test_both_answer_with_one_model(redis: RedisServer, postgres: PostgresServer, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    base = tiny.write(tmp_path / "tiny.gguf", spells=True)
    adapter = adapters.write(tmp_path / "adapter.gguf", base, seed=1)
    settings = f"""
        [models.tiny]
        path = "{base}"
        engine = "llama_cpp"
        threads = 1
        parallel = 2
    """
    given = stores(postgres, redis)["redis_url"]
    with housed(tmp_path, workers=2, redis_url=given, settings=textwrap.dedent(settings)) as house:
        project, data = house.new_project(), house.first.data

        async def added() -> str:
            database, bucket = Database(f"sqlite:///{data / 'state.db'}"), Folder(data / "blobs")
            try:
                return await tuned.store(
                    Blobs(database, bucket, bucket.staging), adapter.read_bytes(), project=project.id
                )
            finally:
                await database.close()

        name = asyncio.run(added())
        bias = {str(token): value for token, value in adapters.ASCII.items()}

        def say(model: str) -> tuple[str, str | None]:
            """In a connection of its own. Its name and text."""
            with openai.OpenAI(base_url=f"{house.first.url}/v1", api_key=project.key, max_retries=0) as client:
                answer = client.chat.completions.create(
                    model=model,
                    messages=[{"role": "user", "content": "hi"}],
                    temperature=0,
                    max_tokens=8,
                    logit_bias=bias,
                )
                return answer.model, answer.choices[0].message.content

        def known() -> bool:
            with openai.OpenAI(base_url=f"{house.first.url}/v1", api_key=project.key, max_retries=0) as client:
                return name in {one.id for one in client.models.list()}

        assert until(lambda: all(known() for _ in range(FEW)))
        answers = {say(name) for _ in range(FEW)}
        ((ran, text),) = answers
        assert ran == name
        assert say("tiny") != ("tiny", text)
        assert say(name) == (name, text)
        assert [path.read_bytes() for path in (data / "adapters").iterdir()] == [adapter.read_bytes()]
        rows = house.rows(project, FEW + 2)
        assert {(row["model"], row["ran"], row["outcome"]) for row in rows} == {
            (model, model, "completed") for model in (name, "tiny")
        }
