"""A model that hears, held by the engine room of two workers: both hear with it, and the ledger knows how long."""

import textwrap
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


def test_both_hear_with_one_model(redis: RedisServer, postgres: PostgresServer, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    settings = f"""
        [models.ears]
        path = "{model_files.moonshine()}"
        engine = "moonshine"
        threads = 1
        aliases = ["whisper-1"]
    """
    file = model_files.recording("jfk")
    given = stores(postgres, redis)["redis_url"]
    with housed(tmp_path, workers=2, redis_url=given, settings=textwrap.dedent(settings)) as house:
        project = house.new_project()

        def hear(**fields: Any) -> Any:
            base_url = f"http://127.0.0.1:{house.first.port}/v1"
            with openai.OpenAI(base_url=base_url, api_key=project.key, max_retries=0) as client:
                found = client.audio.transcriptions.create(model="whisper-1", file=file, **fields)
                return list(found) if fields.get("stream") else found

        (text,) = {hear().text for _ in range(FEW)}
        assert "ask not what your country can do for you" in text.lower()
        assert hear(response_format="text").strip() == text
        events = hear(stream=True)
        assert events[-1].type == "transcript.text.done"
        assert events[-1].text.lower() == text.lower()
        file = tmp_path / "a.wav"
        file.write_bytes(b"no sound at all")
        with pytest.raises(openai.BadRequestError, match="Invalid file format"):
            hear()
        rows = house.rows(project, FEW + 3)
        heard = [row for row in rows if row["outcome"] == "completed"]
        assert {(row["milliseconds"], row["ran"], row["estimated"]) for row in heard} == {(11_000, "ears", 0)}
        assert len(heard) == FEW + 2
