"""Batches: lines a second, beside the same requests sent by hand, on `echo` and on the default model.

A batch is timed from its creation until its output file is there: validating, running, committing and writing are all
in it. By hand is the load generator with so many connections, each of which sends its next request when the last was
answered; the best of them is what a batch is held against. A round measures all, one after the other.

What each side pays, of `echo`: the server has one core for all of it. By hand it reads and answers HTTP and checks the
key, and the client has the other core to itself. A batch has no client; in its place the server reads the file twice
(what is wrong with it; its lines), writes each answer to its database and to a file, both synced to the disk, and
answers whoever looks how far it is.
"""

import asyncio
import http.client
import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import engine, processes
from bench.loading import PATH, measure, request_file
from bench.processes import KEY, Served
from bench.startup import with_model
from homeport.backends.engines.llama_cpp import LlamaCpp

ECHO = """\
[models.echo]
engine = "echo"

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""
#: Connections by hand. The first is what a program with a few clients has.
CLIENTS = (16, 8, 32, 64)
TOKENS = 32
BATCH = "batch"
#: Each look is a request that the server answers beside the batch.
_LOOK_SECONDS = 0.2
_BOUNDARY = "bench-4d0b7a"


@dataclass
class Batches:
    """lines: model -> of a batch. rates: model -> `batch`, or clients -> lines a second, of each round."""

    lines: dict[str, int] = field(default_factory=dict)
    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(folder: Path, model: Path | None, *, lines: int, model_lines: int, rounds: int) -> Batches:
    """model: the default model's GGUF; None: of echo alone. Raises NotStarted, NotBuilt."""
    found = Batches()
    request = {"model": "echo", "messages": [{"role": "user", "content": "Say hello to the harbour."}]}
    with processes.homeport(folder / "echo", ECHO, core=processes.cores()[0]) as server:
        _measure(found, "echo", folder, server, request, lines, rounds)
    if model is not None:
        with processes.homeport(folder / "model", with_model(model)) as server:
            _measure(found, "model", folder, server, asyncio.run(_request(model)), model_lines, rounds)
    return found


async def _request(model: Path) -> dict[str, Any]:
    """A request whose answer always has the same length."""
    one = LlamaCpp(model)
    await one.start()
    try:
        asked = await engine.asked(one, TOKENS)
    finally:
        await one.close()
    return {name: value for name, value in asked.items() if not name.startswith("stream")}


def _measure(
    found: Batches, name: str, folder: Path, server: Served, request: Mapping[str, Any], lines: int, rounds: int
) -> None:
    found.lines[name] = lines
    rates = found.rates.setdefault(name, {})
    by_hand = request_file(folder, request)
    file = _upload(server, request, lines)
    _batch(server, _upload(server, request, 20))
    for _ in range(rounds):
        rates.setdefault(BATCH, []).append(lines / _batch(server, file))
        for clients in CLIENTS:
            sample = measure(server, by_hand, clients, most=lines, pinned=name == "echo")
            if sample.errors:
                raise processes.NotStarted(f"{sample.errors} of {lines} answers were wrong")
            rates.setdefault(str(clients), []).append(sample.rate)


def _upload(server: Served, request: Mapping[str, Any], lines: int) -> str:
    """The id of the input."""
    made = [
        json.dumps({"custom_id": str(number), "method": "POST", "url": PATH, "body": request})
        for number in range(lines)
    ]
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
        "\n".join(made),
        f"\r\n--{_BOUNDARY}--\r\n",
    ]
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    return str(_asked(server, "POST", "/v1/files", "".join(parts).encode(), kind)["id"])


def _batch(server: Served, file: str) -> float:
    """Seconds until its output is there."""
    asked = {"input_file_id": file, "endpoint": PATH, "completion_window": "24h"}
    began = time.perf_counter()
    batch = _asked(server, "POST", "/v1/batches", json.dumps(asked).encode())
    while batch["output_file_id"] is None:
        if batch["status"] not in ("validating", "in_progress", "finalizing"):
            raise processes.NotStarted(f"a batch has {batch['status']}: {batch['errors']}")
        time.sleep(_LOOK_SECONDS)
        batch = _asked(server, "GET", f"/v1/batches/{batch['id']}")
    taken = time.perf_counter() - began
    counts = batch["request_counts"]
    if counts["failed"]:
        raise processes.NotStarted(f"{counts['failed']} of {counts['total']} lines were answered with an error")
    return taken


def _asked(server: Served, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)) as connection:
        connection.request(method, path, body, {"Authorization": f"Bearer {KEY}", "Content-Type": kind})
        response = connection.getresponse()
        answered = response.read()
    if response.status != 200:
        raise processes.NotStarted(f"the server answers {response.status}: {answered[:500]!r}")
    return json.loads(answered)
