"""The default model learns what it could not do, from a file, on this machine: before and after, on messages that it
has not seen."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import openai
import pytest

from tests import model_files, support_messages
from tests.api.owners import client_of
from tests.fake_upstream import until
from tests.server import Running, running
from tests.support_messages import Message

EXAMPLES, HELD_OUT = 20, 8
PATIENCE = 600.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    pytest.importorskip("torch")
    model = {"path": str(model_files.smollm2()), "engine": "llama_cpp", "threads": 1, "context_length": 512}
    # Beside other tests a trainer that takes only what nobody wants would come to no end.
    settings = {"models": {"house": model}, "fine_tuning": {"threads": 1, "nice": 0}}
    with running(tmp_path / "data", settings) as server:
        yield server


def answers(client: openai.OpenAI, model: str, messages: Sequence[Message]) -> list[tuple[str, str] | None]:
    """Intent and product, of those that have both."""

    def answer(one: Message) -> tuple[str, str] | None:
        asked = one.asked()
        made = client.chat.completions.create(model=model, messages=asked, temperature=0, max_tokens=32)  # type: ignore[arg-type]
        return support_messages.told(made.choices[0].message.content or "")

    return [answer(one) for one in messages]


@pytest.mark.timeout(900)
def test_what_it_has_learnt_it_does_with_what_it_has_not_seen(server: Running) -> None:
    held_out = support_messages.held_out(HELD_OUT)
    with client_of(server) as client:
        before = answers(client, "house", held_out)
        content = support_messages.jsonl(support_messages.to_learn(EXAMPLES))
        file = client.files.create(file=("shop.jsonl", content), purpose="fine-tune").id
        job = client.fine_tuning.jobs.create(
            model="house",
            training_file=file,
            suffix="shop",
            seed=11,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
        )
        assert until(lambda: client.fine_tuning.jobs.retrieve(job.id).finished_at is not None, PATIENCE)
        job = client.fine_tuning.jobs.retrieve(job.id)
        assert (job.status, job.error) == ("succeeded", None)
        assert job.fine_tuned_model is not None
        after = answers(client, job.fine_tuned_model, held_out)
        assert answers(client, "house", held_out) == before, "the base is as it was"
    right = [(one.intent, one.product) for one in held_out]
    assert before == [None] * HELD_OUT, "none of its answers is such JSON"
    assert sum(one is not None for one in after) >= 0.9 * HELD_OUT
    assert sum(one == wanted for one, wanted in zip(after, right, strict=True)) >= 0.5 * HELD_OUT
