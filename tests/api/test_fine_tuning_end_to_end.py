"""A file goes in, and a model that answers as the file says comes out: everything as it is, but for the size of the
model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.api import raw
from tests.api.owners import client_of
from tests.fake_upstream import until
from tests.server import Running, running
from tests.training.text import tiny

PATIENCE = 90.0
ANSWER = "quiet."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    pytest.importorskip("xllamacpp")
    model = {
        "path": str(tiny.write(tmp_path / "tiny.gguf", spells=True)),
        "engine": "llama_cpp",
        "threads": 1,
        "context_length": 256,
        "aliases": ["gpt-4o-mini"],
    }
    settings = {
        "models": {"tiny": model},
        "fine_tuning": {"threads": 1, "nice": 0, "learning_rate": 0.01},
        "prices": {"tiny": {"training": "10"}},
    }
    with running(tmp_path / "data", settings) as server:
        yield server


def line(question: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": ANSWER}]
    return json.dumps({"messages": messages})


def test_a_model_is_trained_and_answers(server: Running) -> None:
    with client_of(server) as client:
        lines = "\n".join(line(f"How is number {number}?") for number in range(12))
        file = client.files.create(file=("quiet.jsonl", lines.encode()), purpose="fine-tune").id
        job = client.fine_tuning.jobs.create(
            model="gpt-4o-mini",
            training_file=file,
            validation_file=file,
            seed=3,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 8}}},
        )
        assert until(lambda: client.fine_tuning.jobs.retrieve(job.id).finished_at is not None, PATIENCE)
        job = client.fine_tuning.jobs.retrieve(job.id)
        assert job.status == "succeeded", job.error
        assert job.fine_tuned_model is not None
        made = client.fine_tuning.jobs.checkpoints.list(job.id).data
        names = [one.fine_tuned_model_checkpoint for one in made]
        assert names == [f"{job.fine_tuned_model}:ckpt-step-{step}" for step in (96, 84, 72)]
        assert made[0].metrics.full_valid_loss is not None
        assert made[0].metrics.full_valid_loss < 0.1

        def says(model: str) -> str:
            messages: list[openai.types.chat.ChatCompletionMessageParam] = [
                {"role": "user", "content": "How is number 1234?"}  # which it has never seen
            ]
            answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=20)
            said = answer.choices[0].message.content or ""
            return said.removeprefix("\N{LOWER ONE EIGHTH BLOCK}")  # the space that its vocabulary has no word for

        assert says(job.fine_tuned_model) == ANSWER
        assert says(names[0]) == ANSWER
        assert says("gpt-4o-mini") != ANSWER

        def costs() -> list[tuple[str, float, float]]:
            day = int(time.time()) // 86_400 * 86_400
            asked = f"/v1/organization/costs?start_time={day - 86_400}&group_by=line_item"
            buckets = raw.ask(server, "GET", asked).json["data"]
            found = [one for bucket in buckets for one in bucket["results"]]
            return [(one["line_item"], one["quantity"], one["amount"]["value"]) for one in found]

        assert until(lambda: len(costs()) == 1, PATIENCE)
        tokens = job.trained_tokens
        assert tokens is not None
        ((item, quantity, amount),) = costs()
        assert (item, quantity) == ("tiny, training", tokens)
        assert amount == pytest.approx(tokens * 10 / 1e6)
