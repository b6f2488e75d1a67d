"""Responses as the lines of a batch."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests import talkers
from tests.api.responding import WEATHER
from tests.batches import content, counts, line, run
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

RESPONSES: Any = "/v1/responses"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("batches")) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def of(number: int, **more: Any) -> dict[str, Any]:
    return line(number, {"model": "batched", "input": f"line {number}", **more}, RESPONSES)


def test_a_batch_of_them(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["batched"] = talkers.turns(
        talkers.says("I look. ", talkers.call("nobody", {})), talkers.says("Done.")
    )
    relay.fake.script.append(faults.status(429, **{"retry-after-ms": "1"}))
    lines = [of(1, tools=[WEATHER]), of(2, tools=[WEATHER], store=False), of(3, background=True)]
    batch = run(client, lines, RESPONSES)
    assert (batch.status, counts(batch)) == ("completed", (3, 2, 1))
    assert batch.usage is not None
    assert batch.usage.total_tokens == 120
    bodies = {one["custom_id"]: one["response"]["body"] for one in content(client, batch.output_file_id)}
    first, second = bodies["request-1"], bodies["request-2"]
    assert [item["content"][0]["text"] for item in first["output"]] == ["I look. ", "Done."]
    assert client.responses.retrieve(first["id"]).output_text == "I look. Done."
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second["id"])
    (refused,) = content(client, batch.error_file_id)
    assert refused["response"]["body"]["error"]["param"] == "background"
    assert all(row["batch"] for row in relay.rows("batched", 4))
