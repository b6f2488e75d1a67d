"""A batch of many lines takes no more memory than one of few."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from homeport.control.files import LARGEST_BATCH_FILE
from tests.batches import CHAT, chat, counts, ended
from tests.replicas.house import housed
from tests.replicas.processes import KEY, Replica

#: As many as a batch may have, by hand: HOMEPORT_TEST_LINES=50000.
LINES = int(os.environ.get("HOMEPORT_TEST_LINES", "5000"))
#: Characters of a prompt, and of an answer: what grows with the lines would grow with these. All of them fit into the
#: largest file that a batch may have.
PROMPT, ANSWER = min(7_000, LARGEST_BATCH_FILE // LINES - 400), 400
MOST_MB = 64
PATIENCE = 1200.0


def peak_mb(replica: Replica) -> float:
    """Resident, since the process began."""
    assert replica.process is not None
    text = Path(f"/proc/{replica.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def parts(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield json.dumps(chat(number, text=f"{number} " + "x" * PROMPT, max_tokens=ANSWER)).encode() + b"\n"


def run(client: openai.OpenAI, file: Path, count: int) -> None:
    with file.open("wb") as out:
        out.writelines(parts(count))
    uploaded = client.files.create(file=file, purpose="batch").id
    batch = client.batches.create(input_file_id=uploaded, endpoint=CHAT, completion_window="24h")
    batch = ended(client, batch.id, PATIENCE)
    assert (batch.status, counts(batch)) == ("completed", (count, count, 0))
    with client.files.with_streaming_response.content(batch.output_file_id or "") as answer:
        for number, line in enumerate(answer.iter_lines()):
            assert line.startswith('{"id":"batch_req_')
            assert f'"custom_id":"request-{number}"' in line[:100]
    assert number == count - 1


@pytest.mark.timeout(1500)
def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    with housed(tmp_path) as house, openai.OpenAI(base_url=f"{house.first.url}/v1", api_key=KEY) as client:
        run(client, tmp_path / "few.jsonl", 200)
        few = peak_mb(house.first)
        run(client, tmp_path / "many.jsonl", LINES)
        grown = peak_mb(house.first) - few
    assert grown < MOST_MB, f"{few:.0f} MB, and {grown:.0f} MB more"
    print(f"{LINES} lines: {few:.0f} MB, and {grown:.0f} MB more")
