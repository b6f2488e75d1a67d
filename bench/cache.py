"""Answers out of the cache: kept in the process, and kept in Redis with nothing in the process.

The same question is asked over and over; a short run before fills the cache. That it was the cache that answered is
checked: the upstream's CPU does not move, and every answer is marked.
"""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import processes
from bench.gateway import MANY, figures
from bench.loading import PATH, Sample, measure, request_file
from bench.processes import Served
from bench.report import Goal, per_core, table

CACHE = """
[cache]
enabled = true
"""
#: An answer stays in the process for as long as it takes to look at it once more: Redis answers nearly every request.
ONLY_REDIS = """
max_mb = 1
process_seconds = 0.000001
"""


@dataclass
class Cache:
    """rounds: where it is kept -> one sample a round."""

    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            [
                name,
                f"{one['rate']:,.0f}",
                f"{one['cpu_us']:.1f}",
                f"{per_core(one['cpu_us']):,.0f}",
                f"{one['whole_p50']:,.0f}",
            ]
            for name, one in figures(self.rounds).items()
        ]
        told = [f"{name} was not measured: {why}" for name, why in self.missing.items()]
        return "\n".join(
            ["cache hits, 64 connections", table(["", "hits/s", "CPU us/hit", "per core", "p50 us"], rows), *told]
        )

    def goals(self) -> list[Goal]:
        rates = {name: per_core(one["cpu_us"]) for name, one in figures(self.rounds).items()}
        wrong = sum(one.errors for samples in self.rounds.values() for one in samples)
        return [
            Goal(
                "hits per core, kept in the process",
                rates.get("process"),
                30_000,
                50_000,
                75_000,
                rising=True,
                unit="/s",
            ),
            Goal("hits per core, kept in Redis", rates.get("redis"), 10_000, 20_000, 30_000, rising=True, unit="/s"),
            Goal("hits that were wrong or not whole", wrong, 0),
        ]


def run(folder: Path, *, rounds: int, seconds: float) -> Cache:
    """seconds: of one measurement."""
    processes.raise_file_limit()
    found = Cache()
    with ExitStack() as stack:
        upstream = stack.enter_context(processes.upstream(folder))
        settings = processes.HOMEPORT.format(upstream=upstream.port) + CACHE
        servers = {"process": stack.enter_context(_homeport(folder / "process", settings))}
        try:
            url = stack.enter_context(processes.redis(folder))
            servers["redis"] = stack.enter_context(
                _homeport(folder / "redis", f'redis_url = "{url}"\n{settings}{ONLY_REDIS}')
            )
        except processes.NotStarted as error:
            found.missing["redis"] = str(error)
        request = request_file(folder, MANY.body())
        for place in range(rounds + 1):
            for name, server in servers.items():
                _check(server, request)
                taken = measure(server, request, MANY.connections, seconds=seconds if place else 0.5)
                if place:
                    found.rounds.setdefault(name, []).append(taken)
    return found


@contextmanager
def _homeport(folder: Path, settings: str) -> Iterator[Served]:
    folder.mkdir()
    with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
        yield server


def _check(server: Served, request: Path) -> None:
    """Ask twice: the second answer is a hit. Raises NotStarted."""
    body = request.read_bytes().partition(b"\r\n\r\n")[2]
    headers = {"authorization": f"Bearer {processes.KEY}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        for _ in range(2):
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            answer.read()
    finally:
        connection.close()
    if answer.getheader("x-homeport-cache") != "hit":
        raise processes.NotStarted("the second of two equal requests was not answered by the cache")
