"""What a run of an assistant costs beside the bare chat call that it makes, and many of them at once.

All on `echo`, whose answer costs next to nothing: what is left is Homeport's. `chat` is the same question asked by
`POST /v1/chat/completions`; `polled` a thread and its run in one request (`POST /v1/threads/runs`), looked at as often
as `openai-poll-after-ms` says, and then its messages, as the SDK's `create_and_poll` does; `streamed` the same with
`stream: true`, read to its end. A round does some of each, in turns.

A run is rows and commits (run, job, step, message, events) where a chat is none: it cannot be free. Kept connections,
one client.
"""

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

from bench import processes
from bench.processes import KEY, NotStarted, Served
from bench.report import Goal, table

SETTINGS = """\
[models.echo]
engine = "echo"

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""
WAYS = ("chat", "polled", "streamed")
_QUESTION = {"role": "user", "content": "Say hello to the harbour."}


@dataclass
class Runs:
    """seconds, cpu: way -> of one, of each round (medians of wall clock, means of the server's CPU). together: wall
    seconds of so many streamed runs that began at once; slowest: of one of them. memory: bytes that they took beyond
    what the server held before, at the most."""

    each: int
    at_once: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    together: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    memory: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [[way, f"{1000 * median(self.seconds[way]):.1f}", f"{1000 * median(self.cpu[way]):.2f}"] for way in WAYS]
        together = [
            [
                f"{self.at_once:,}",
                f"{median(self.together):.2f}",
                f"{median(self.slowest):.2f}",
                f"{self.at_once / median(self.together):,.0f}",
                f"{self.memory / 1e6:,.0f}",
            ]
        ]
        return "\n\n".join(
            [
                "runs\n" + table(["one after the other, on echo", "wall ms", "CPU ms"], rows),
                table(["at once, streamed", "seconds", "the slowest", "runs/s", "MB beyond before"], together),
            ]
        )

    def goals(self) -> list[Goal]:
        """Of what is added by a run; a second of the old service's polling is what people are used to."""
        added = {way: median(self.seconds[way]) - median(self.seconds["chat"]) for way in WAYS}
        return [
            Goal("added by a streamed run to its chat call", 1000 * added["streamed"], 100, 30, 10, unit=" ms"),
            Goal("added by a polled run to its chat call", 1000 * added["polled"], 250, 150, unit=" ms"),
            Goal(f"{self.at_once} runs at once, the slowest", median(self.slowest), 10, 5, 2, unit=" s"),
        ]


def run(folder: Path, *, rounds: int, each: int, at_once: int) -> Runs:
    """each: of every way in a round. Raises NotStarted."""
    found = Runs(each, at_once)
    with processes.homeport(folder, SETTINGS, core=processes.cores()[0]) as server:
        client = _Client(server)
        assistant = client.asked("POST", "/v1/assistants", {"model": "echo", "instructions": "Be kind."})["id"]
        ways: dict[str, Callable[[], None]] = {
            "chat": client.chat,
            "polled": lambda: client.polled(assistant),
            "streamed": lambda: client.streamed(assistant),
        }
        for way in ways.values():
            way()
        for _ in range(rounds):
            for name, way in ways.items():
                seconds, cpu = _timed(server, way, each)
                found.seconds.setdefault(name, []).append(seconds)
                found.cpu.setdefault(name, []).append(cpu)
        before = server.peak()
        for _ in range(rounds):
            together, slowest = _together(server, assistant, at_once)
            found.together.append(together)
            found.slowest.append(slowest)
        found.memory = max(0, server.peak() - before)
    return found


def _timed(server: Served, way: Callable[[], None], count: int) -> tuple[float, float]:
    """Median of wall seconds, mean of CPU seconds."""
    taken = []
    before = server.cpu()
    for _ in range(count):
        began = time.perf_counter()
        way()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), (server.cpu() - before) / count


def _together(server: Served, assistant: str, count: int) -> tuple[float, float]:
    """Wall seconds of all, and of the slowest."""

    def one(client: _Client) -> float:
        began = time.perf_counter()
        client.streamed(assistant)
        return time.perf_counter() - began

    clients = [_Client(server) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        began = time.perf_counter()
        taken = list(threads.map(one, clients))
        return time.perf_counter() - began, max(taken)


class _Client:
    """One kept connection."""

    def __init__(self, server: Served) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=120)

    def chat(self) -> None:
        self.asked("POST", "/v1/chat/completions", {"model": "echo", "messages": [_QUESTION]})

    def polled(self, assistant: str) -> None:
        asked = {"assistant_id": assistant, "thread": {"messages": [_QUESTION]}}
        run = self.asked("POST", "/v1/threads/runs", asked)
        path = f"/v1/threads/{run['thread_id']}"
        while run["status"] in ("queued", "in_progress"):
            time.sleep(self.after / 1000)
            run = self.asked("GET", f"{path}/runs/{run['id']}")
        if run["status"] != "completed":
            raise NotStarted(f"a run has {run['status']}: {run['last_error']}")
        self.asked("GET", f"{path}/messages")

    def streamed(self, assistant: str) -> None:
        asked = {"assistant_id": assistant, "thread": {"messages": [_QUESTION]}, "stream": True}
        answered = self._sent("POST", "/v1/threads/runs", asked)
        if b"event: thread.run.completed" not in answered or not answered.endswith(b"data: [DONE]\n\n"):
            raise NotStarted(f"a stream ends with {answered[-300:]!r}")

    def asked(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self._sent(method, path, body))

    def _sent(self, method: str, path: str, body: Any) -> bytes:
        headers = {
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
            "OpenAI-Beta": "assistants=v2",
        }
        self._connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        response = self._connection.getresponse()
        answered = response.read()
        self.after = int(response.headers.get("openai-poll-after-ms") or 1000)
        if response.status != 200:
            raise NotStarted(f"{path} answers {response.status}: {answered[:500]!r}")
        return answered
