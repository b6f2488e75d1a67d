"""Batches: lines a second, beside the same requests sent by hand, on `echo` and on the default model as it is served
where nothing else is chosen.

A batch is timed from its creation until its output file is there: validating, running, committing and writing are all
in it. By hand is the load generator with so many connections, each of which sends its next request when the last was
answered; the best of them is what a batch is held against. A round measures all, one after the other.

An engine keeps most of its places for who asks for an answer now, half a minute beyond the last of them
(backends/engines/admission.py): a batch of a model's begins when that is over, or it would be measured beside them.

What each side pays, of `echo`: the server has one core for all of it. By hand it reads and answers HTTP and checks the
key, and the client has the other core to itself. A batch has no client; in its place the server reads the file twice
(what is wrong with it; its lines), writes each answer to its database and to a file, both synced to the disk, and
answers whoever looks how far it is.
"""

import http.client
import json
import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import processes
from bench.loading import PATH, measure, request_file
from bench.processes import KEY, Served
from bench.report import Goal, paired, table
from bench.startup import with_model
from homeport.backends.engines.admission import LINGER
from homeport.settings import DEFAULT_MODEL

ECHO = """\
[models.echo]
engine = "echo"

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""
#: Connections by hand. The first is what a program with a few clients has.
CLIENTS = (16, 8, 32, 64)
#: Of each answer of the model: it is far from its end by then.
TOKENS = 32
#: Becomes the number of the request, by hand (load.c) and in a batch.
_NUMBER = "########"
BATCH = "batch"
#: Each look is a request that the server answers beside the batch, so it is looked seldom until the end is near.
_LOOK_SECONDS, _NEAR, _NEAR_SECONDS = 0.2, 0.9, 0.02
_BOUNDARY = "bench-4d0b7a"


@dataclass
class Batches:
    """lines: model -> of a batch. rates: model -> `batch`, or clients -> lines a second, of each round. engine: that
    the model has run on."""

    lines: dict[str, int] = field(default_factory=dict)
    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    engine: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Medians of the rounds."""
        rows: list[list[str]] = []
        for name, lines in self.lines.items():
            shown = f"{name} on {self.engine}" if name == "model" else name
            taken = {source: f"{statistics.median(rates):,.1f}" for source, rates in self.rates[name].items()}
            rows.append([f"{shown}, a batch of {lines:,}", taken[BATCH]])
            rows += [[f"{shown}, by hand, {clients} clients", taken[str(clients)]] for clients in sorted(CLIENTS)]
        return "batches\n" + table(["", "lines a second"], rows)

    def goals(self) -> list[Goal]:
        """Round by round. The best by hand is who leaves the least to a batch."""
        goals: list[Goal] = []
        for name, rates in self.rates.items():
            of = {clients: paired(rates[BATCH], rates[str(clients)]) for clients in CLIENTS}
            best = min((one for one in of.values() if one is not None), default=None)
            few = CLIENTS[0]
            goals += [
                Goal(f"batch on {name}, of the best by hand", best, 0.8, 0.9, 1.0, rising=True, unit="x"),
                Goal(f"batch on {name}, of {few} clients", of[few], 0.9, 1.0, rising=True, unit="x"),
            ]
        return goals


def run(folder: Path, model: Path | None, *, lines: int, model_lines: int, rounds: int) -> Batches:
    """model: the default model's GGUF; None: of echo alone. Raises NotStarted, NotBuilt."""
    found = Batches()
    with processes.homeport(folder / "echo", ECHO, core=processes.cores()[0]) as server:
        _measure(found, "echo", folder, server, lines, rounds)
    if model is not None:
        with processes.homeport(folder / "model", with_model(model, "auto")) as server:
            found.engine = _engine(server)
            _measure(found, "model", folder, server, model_lines, rounds)
    return found


def _engine(server: Served) -> str:
    """The one that answers. Raises NotStarted where an answer is shorter than it should be."""
    answer = _asked(server, "POST", PATH, json.dumps(_request("model", "a look")).encode())
    if answer["usage"]["completion_tokens"] != TOKENS:
        raise processes.NotStarted(f"the model answers with {answer['usage']}, not with {TOKENS} tokens")
    (model,) = _asked(server, "GET", "/v1/homeport/status")["models"]
    return str(model["engines"][0])


def _request(name: str, run: str) -> dict[str, Any]:
    """The model is asked nothing twice: it remembers what it has read."""
    if name == "echo":
        return {"model": name, "messages": [{"role": "user", "content": "Say hello to the harbour."}]}
    content = f"{_NUMBER}, {run}: tell a long story about a harbour, and about all the ships in it."
    messages = [{"role": "user", "content": content}]
    return {"model": DEFAULT_MODEL, "messages": messages, "max_tokens": TOKENS, "temperature": 0}


def _measure(found: Batches, name: str, folder: Path, server: Served, lines: int, rounds: int) -> None:
    found.lines[name] = lines
    rates = found.rates.setdefault(name, {})
    _batch(server, _upload(server, _request(name, "first"), 20))
    for number in range(rounds):
        file = _upload(server, _request(name, f"round {number}, batch"), lines)
        time.sleep(LINGER if name == "model" else 0)
        rates.setdefault(BATCH, []).append(lines / _batch(server, file))
        for clients in CLIENTS:
            request = request_file(folder, _request(name, f"round {number}, {clients} clients"))
            sample = measure(server, request, clients, most=lines, pinned=name == "echo")
            if sample.errors:
                raise processes.NotStarted(f"{sample.errors} of {lines} answers were wrong")
            rates.setdefault(str(clients), []).append(sample.rate)


def _upload(server: Served, request: Mapping[str, Any], lines: int) -> str:
    """The id of the input."""
    line = json.dumps({"custom_id": f"line-{_NUMBER}", "method": "POST", "url": PATH, "body": request})
    made = [line.replace(_NUMBER, f"{number:08}") for number in range(lines)]
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
        counts = batch["request_counts"]
        near = counts["completed"] >= _NEAR * counts["total"] > 0
        time.sleep(_NEAR_SECONDS if near else _LOOK_SECONDS)
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
