"""The gateway's cost: Homeport before a fast upstream, beside nginx, the least that Python can do, LiteLLM and the
upstream alone, in one run.

Each round measures direct, nginx, bare, litellm, homeport, one after the other; a figure is the median of its rounds.
Every step of the straight line is on: key, limits, ledger with its usage log, routing.
"""

import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import processes
from bench.loading import Sample, command, measure, request_file
from bench.processes import Served
from bench.report import Goal, per_core, ratio, table

CHUNKS = 100


#: Contender -> figure -> its value.
Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Scenario:
    """chunks: of a stream, 0 for a plain answer; interval_us: between two of them. litellm: it is measured as well."""

    name: str
    connections: int
    chunks: int = 0
    interval_us: int = 0
    prompt: int = 400
    litellm: bool = False

    def body(self) -> dict[str, Any]:
        """prompt: characters. What the fake upstream is told stands first, as it looks nowhere else in a long body."""
        told: dict[str, Any] = {}
        if self.chunks:
            told = {"stream": True, "bench_chunks": self.chunks, "bench_interval_us": self.interval_us}
        words = "The quick brown fox jumps over the lazy dog. "
        messages = [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": (words * (self.prompt // len(words) + 1))[: self.prompt]},
        ]
        return {"model": "gpt-4o-mini", **told, "messages": messages, "temperature": 0.7, "max_tokens": 100}


ALONE = Scenario("plain, 1 connection", 1)
MANY = Scenario("plain, 64 connections", 64, litellm=True)
CROWD = Scenario("plain, 256 connections", 256)
LARGE = Scenario("200 kB prompt, 16 connections", 16, prompt=200_000, litellm=True)
STREAM = Scenario("stream, 1 connection", 1, chunks=CHUNKS)
STREAMS = Scenario("stream, 64 connections, a chunk every 5 ms", 64, chunks=CHUNKS, interval_us=5000, litellm=True)
CROWDED = Scenario("stream, 256 connections, a chunk every 5 ms", 256, chunks=CHUNKS, interval_us=5000)
SCENARIOS = (ALONE, MANY, CROWD, LARGE, STREAM, STREAMS, CROWDED)
#: Its streams are not held open by the thousand: it would take minutes.
NOT_FOR_MEMORY = "litellm"


@dataclass(frozen=True)
class Contenders:
    """Those that are compared. nginx, litellm: absent where they are not installed; `why` says so, by their names."""

    upstream: Served
    servers: Mapping[str, Served]
    why: Mapping[str, str] = field(default_factory=dict)

    def of(self, scenario: Scenario) -> Mapping[str, Served]:
        return {name: one for name, one in self.servers.items() if name != "litellm" or scenario.litellm}


@dataclass
class Gateway:
    """rounds: scenario -> contender -> one sample a round. memory: contender -> bytes per open stream.

    rss: contender -> bytes after the whole run. missing: contender -> why it was not compared.
    """

    rounds: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    rss: dict[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        parts = [_scenario_table(name, figures(rounds)) for name, rounds in self.rounds.items()]
        memory = [
            [name, f"{taken / 1000:.1f}", f"{self.rss[name] / 1e6:.0f}"]
            for name, taken in self.memory.items()
            if name != "direct"
        ]
        parts.append("memory\n" + table(["", "kB per open stream", "MB after the run"], memory))
        parts += [f"{name} was not compared: {why}" for name, why in self.missing.items()]
        return "\n\n".join(parts)

    def goals(self) -> list[Goal]:
        scenarios = {name: figures(rounds) for name, rounds in self.rounds.items()}
        alone, many, large, streams, crowded = (scenarios[one.name] for one in (ALONE, MANY, LARGE, STREAMS, CROWDED))
        goals = [
            Goal("plain: requests per core, of nginx's", _per_core_of(many), 0.30, 0.45, 0.60, rising=True, unit="x"),
            Goal(
                "200 kB prompt: requests per core, of nginx's", _per_core_of(large), 0.25, 0.40, rising=True, unit="x"
            ),
            Goal("256 streams: CPU per chunk, of nginx's", _cpu_of(crowded), 1.6, 1.3, 1.1, unit="x"),
            Goal("added latency, 1 connection, p50, of nginx's", _added_of(alone), 2.0, 1.3, 1.0, unit="x"),
            Goal("plain: requests per core, of LiteLLM's", _per_core_of(many, "litellm"), 100, 200, 300, True, "x"),
            Goal("streams: chunks per core, of LiteLLM's", _per_core_of(streams, "litellm"), 30, 45, 55, True, "x"),
            Goal(
                "200 kB prompt: requests per core, of LiteLLM's", _per_core_of(large, "litellm"), 30, 50, 80, True, "x"
            ),
            Goal("memory per open stream", self.memory["homeport"] / 1000, 20, 12, 6, unit=" kB"),
        ]
        wrong = sum(contenders["homeport"]["errors"] for contenders in scenarios.values())
        return [*goals, Goal("answers that were wrong or not whole", wrong, 0)]


@contextmanager
def contenders(folder: Path, *, litellm: str | None = None) -> Iterator[Contenders]:
    """All started. litellm: its executable. Raises NotBuilt; NotStarted when Homeport does not start."""
    processes.raise_file_limit()
    with ExitStack() as stack:
        upstream = stack.enter_context(processes.upstream(folder))
        servers = {"direct": upstream}
        why: dict[str, str] = {}
        peers = {
            "nginx": processes.nginx(folder, upstream.port),
            "bare": processes.bare(folder, upstream.port),
            "litellm": processes.litellm(folder, upstream.port, litellm),
        }
        for name, peer in peers.items():
            try:
                servers[name] = stack.enter_context(peer)
            except processes.NotStarted as error:
                why[name] = str(error)
        settings = processes.HOMEPORT.format(upstream=upstream.port)
        servers["homeport"] = stack.enter_context(processes.homeport(folder, settings, core=processes.cores()[0]))
        yield Contenders(upstream, servers, why)


def run(folder: Path, *, rounds: int, seconds: float, streams: int, litellm: str | None = None) -> Gateway:
    """seconds: of one measurement. streams: open at once when their memory is measured."""
    with contenders(folder, litellm=litellm) as compared:
        found = Gateway(missing=compared.why)
        for name, server in compared.servers.items():  # first: memory that an earlier load left behind is used again
            if name != NOT_FOR_MEMORY:
                found.memory[name] = memory_per_stream(folder, server, streams)
        for scenario in SCENARIOS:
            found.rounds[scenario.name] = one_scenario(folder, compared, scenario, rounds=rounds, seconds=seconds)
        found.rss = {name: server.rss() for name, server in compared.servers.items()}
    return found


def one_scenario(
    folder: Path, compared: Contenders, scenario: Scenario, *, rounds: int, seconds: float
) -> dict[str, list[Sample]]:
    """Rounds in the order A B C, A B C; a short run before them warms every contender up.

    Of paced streams the same number goes through every contender: in a fixed time only whole waves of them fit.
    """
    request = request_file(folder, scenario.body())
    pace = scenario.chunks * scenario.interval_us / 1e6
    most = scenario.connections * max(1, round(seconds / pace)) if pace else 0
    servers = compared.of(scenario)
    samples: dict[str, list[Sample]] = {name: [] for name in servers}
    for place in range(rounds + 1):
        for name, server in servers.items():
            taken = measure(
                server,
                request,
                scenario.connections,
                seconds=60 if most else seconds if place else min(seconds, 0.5),
                most=most,
                port=server.stream_port if scenario.chunks else server.port,
                helper=None if server is compared.upstream else compared.upstream,
            )
            if place:
                samples[name].append(taken)
    return samples


def memory_per_stream(folder: Path, server: Served, streams: int) -> float:
    """Resident bytes that one more open stream takes, over `streams` of them with a chunk every second.

    Some streams are opened and closed before, so that buffers made once do not count. Infinite when one of them fails.
    """
    waiting = Scenario("", streams, chunks=5, interval_us=1_000_000)
    warm = Scenario("", 32, chunks=2)
    measure(server, request_file(folder, warm.body()), 32, seconds=0.5, port=server.stream_port)
    before = server.rss()
    request = request_file(folder, waiting.body())
    arguments = command(server.stream_port, request, streams, seconds=60, most=streams)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        os.sched_setaffinity(process.pid, {processes.cores()[1]})
        most = before
        while process.poll() is None:
            most = max(most, server.rss())
            time.sleep(0.2)
        said = json.loads(process.communicate()[0])
    return (most - before) / streams if said["count"] == streams else math.inf


def medians(samples: list[Sample]) -> dict[str, float]:
    """Field -> its median over the rounds; errors -> their sum, because one is too many."""
    names = Sample.__dataclass_fields__
    found = {name: float(statistics.median(getattr(one, name) for one in samples)) for name in names}
    found["errors"] = float(sum(one.errors for one in samples))
    return found


def figures(rounds: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, float]]:
    """Contender -> medians of its rounds."""
    return {name: medians(list(samples)) for name, samples in rounds.items()}


def comparable(contenders: Figures, peer: str = "nginx") -> bool:
    """The peer was there, and neither it nor we gave a wrong answer: a ratio to something broken means nothing."""
    return peer in contenders and not any(contenders[name]["errors"] for name in ("direct", peer, "homeport"))


def _per_core_of(contenders: Figures, peer: str = "nginx") -> float | None:
    if not comparable(contenders, peer):
        return None
    return ratio(per_core(contenders["homeport"]["cpu_us"]), per_core(contenders[peer]["cpu_us"]))


def _cpu_of(contenders: Figures) -> float | None:
    return ratio(contenders["homeport"]["cpu_us"], contenders["nginx"]["cpu_us"]) if comparable(contenders) else None


def _added_of(contenders: Figures) -> float | None:
    if not comparable(contenders):
        return None
    direct = contenders["direct"]["whole_p50"]
    return ratio(added(contenders["homeport"]["whole_p50"], direct), added(contenders["nginx"]["whole_p50"], direct))


def added(through: float, direct: float) -> float:
    """Latency that a proxy adds; at least the clock's microsecond, so that a ratio of two of them is defined."""
    return max(through - direct, 1.0)


def _scenario_table(name: str, contenders: Figures) -> str:
    """Of a stream every request is CHUNKS chunks; latency is to the first byte there."""
    stream = name.startswith("stream")
    direct = contenders["direct"]
    direct50, direct99 = (
        (direct["first_p50"], direct["first_p99"]) if stream else (direct["whole_p50"], direct["whole_p99"])
    )
    head = ["", "streams/s" if stream else "requests/s", "CPU us/chunk" if stream else "CPU us/request", "per core"]
    head += ["p50 us", "p99 us", "added p50 us", "added p99 us", "measuring core busy", "errors"]
    rows = []
    for contender, one in contenders.items():
        cpu = one["cpu_us"] / (CHUNKS if stream else 1)
        p50, p99 = (one["first_p50"], one["first_p99"]) if stream else (one["whole_p50"], one["whole_p99"])
        own = contender == "direct"
        row = [contender, f"{one['rate']:,.0f}", "" if own else f"{cpu:.1f}", "" if own else f"{per_core(cpu):,.0f}"]
        row += [f"{p50:,.0f}", f"{p99:,.0f}"]
        row += ["", ""] if own else [f"{p50 - direct50:,.0f}", f"{p99 - direct99:,.0f}"]
        rows.append([*row, "" if own else f"{one['busy']:.0%}", f"{one['errors']:.0f}"])
    return f"{name}{' (latency: to the first byte)' if stream else ''}\n{table(head, rows)}"
