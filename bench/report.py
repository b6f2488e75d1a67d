"""Figures become tables, and ratios are held against the goals of the performance design (section 6 and 7)."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import batches, embeddings, gateway, ingestion
from bench.batches import Batches
from bench.cache import Cache
from bench.cells import Cells
from bench.dashboard import First
from bench.diffusion import Diffusion
from bench.documents import Documents
from bench.embeddings import Embeddings
from bench.engine import Engine, Speed
from bench.files import PAGE, Files
from bench.gateway import CHUNKS, Gateway, medians
from bench.hanging_up import CLIENTS, HangingUp
from bench.hearing import LONG, TOGETHER, Hearing
from bench.ingestion import Ingestion
from bench.jobs import AT_ONCE, IN_ONE, Queues
from bench.retrieval import Retrieval
from bench.scene import LARGEST, Scenes
from bench.search import Found
from bench.soak import STEP, Soak
from bench.speaking import TOGETHER as SPOKEN_TOGETHER
from bench.speaking import Speaking, median_ratio
from bench.startup import Startup
from bench.usage import RATE, Usage
from bench.usage_page import Pages, table_rows

Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Goal:
    """One ratio and what it should be. rising: more is better. value: None when it could not be compared."""

    name: str
    value: float | None
    floor: float
    target: float | None = None
    stretch: float | None = None
    rising: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        """The best mark that is reached: stretch, target, floor, or MISSED."""
        if self.value is None:
            return "not compared"
        for mark, limit in (("stretch", self.stretch), ("target", self.target), ("floor", self.floor)):
            if limit is not None and (self.value >= limit if self.rising else self.value <= limit):
                return mark
        return "MISSED"


def per_core(cpu_us: float) -> float:
    """Requests per CPU second of the server, from its CPU microseconds per request."""
    return 1e6 / cpu_us if cpu_us > 0 else math.inf


def ratio(ours: float, theirs: float) -> float | None:
    """None where nothing was measured."""
    return ours / theirs if theirs and math.isfinite(ours) and math.isfinite(theirs) else None


def added(through: float, direct: float) -> float:
    """Latency that a proxy adds; at least the clock's microsecond, so that a ratio of two of them is defined."""
    return max(through - direct, 1.0)


def figures(rounds: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, float]]:
    """Contender -> medians of its rounds."""
    return {name: medians(list(samples)) for name, samples in rounds.items()}


def gateway_goals(found: Gateway) -> list[Goal]:
    scenarios = {name: figures(rounds) for name, rounds in found.rounds.items()}
    alone, many, large, streams, crowded = (
        scenarios[one.name] for one in (gateway.ALONE, gateway.MANY, gateway.LARGE, gateway.STREAMS, gateway.CROWDED)
    )
    goals = [
        Goal("plain: requests per core, of nginx's", _per_core_of(many), 0.30, 0.45, 0.60, rising=True, unit="x"),
        Goal("200 kB prompt: requests per core, of nginx's", _per_core_of(large), 0.25, 0.40, rising=True, unit="x"),
        Goal("256 streams: CPU per chunk, of nginx's", _cpu_of(crowded), 1.6, 1.3, 1.1, unit="x"),
        Goal("added latency, 1 connection, p50, of nginx's", _added_of(alone), 2.0, 1.3, 1.0, unit="x"),
        Goal("plain: requests per core, of LiteLLM's", _per_core_of(many, "litellm"), 100, 200, 300, True, "x"),
        Goal("streams: chunks per core, of LiteLLM's", _per_core_of(streams, "litellm"), 30, 45, 55, True, "x"),
        Goal("200 kB prompt: requests per core, of LiteLLM's", _per_core_of(large, "litellm"), 30, 50, 80, True, "x"),
        Goal("memory per open stream", found.memory["homeport"] / 1000, 20, 12, 6, unit=" kB"),
    ]
    wrong = sum(contenders["homeport"]["errors"] for contenders in scenarios.values())
    return [*goals, Goal("answers that were wrong or not whole", wrong, 0)]


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


def gateway_tables(found: Gateway) -> str:
    parts = [_scenario_table(name, figures(rounds)) for name, rounds in found.rounds.items()]
    memory = [
        [name, f"{taken / 1000:.1f}", f"{found.rss[name] / 1e6:.0f}"]
        for name, taken in found.memory.items()
        if name != "direct"
    ]
    parts.append("memory\n" + table(["", "kB per open stream", "MB after the run"], memory))
    parts += [f"{name} was not compared: {why}" for name, why in found.missing.items()]
    return "\n\n".join(parts)


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


def cache_goals(found: Cache) -> list[Goal]:
    rates = {name: per_core(one["cpu_us"]) for name, one in figures(found.rounds).items()}
    wrong = sum(one.errors for samples in found.rounds.values() for one in samples)
    return [
        Goal(
            "hits per core, kept in the process", rates.get("process"), 30_000, 50_000, 75_000, rising=True, unit="/s"
        ),
        Goal("hits per core, kept in Redis", rates.get("redis"), 10_000, 20_000, 30_000, rising=True, unit="/s"),
        Goal("hits that were wrong or not whole", wrong, 0),
    ]


def cache_table(found: Cache) -> str:
    rows = [
        [
            name,
            f"{one['rate']:,.0f}",
            f"{one['cpu_us']:.1f}",
            f"{per_core(one['cpu_us']):,.0f}",
            f"{one['whole_p50']:,.0f}",
        ]
        for name, one in figures(found.rounds).items()
    ]
    told = [f"{name} was not measured: {why}" for name, why in found.missing.items()]
    return "\n".join(
        ["cache hits, 64 connections", table(["", "hits/s", "CPU us/hit", "per core", "p50 us"], rows), *told]
    )


def soak_goals(found: Soak) -> list[Goal]:
    return [
        Goal("memory that 10,000 requests leave behind", found.slope / 1e6, 1.0, 0.1, unit=" MB"),
        Goal("answers that were wrong or not whole", found.errors, 0),
    ]


def soak_table(found: Soak) -> str:
    rows = [[f"{step * STEP:,}", f"{resident / 1e6:.1f}"] for step, resident in enumerate(found.resident)]
    return "soak\n" + table(["requests", "MB resident"], rows)


def hanging_up_goals(found: HangingUp) -> list[Goal]:
    return [
        Goal("slowest wave: until the upstream is left alone", max(found.seconds), 1.0, unit=" s"),
        Goal(f"memory that {CLIENTS:,} clients leave behind", found.slope / 1e6, 1.0, 0.1, unit=" MB"),
    ]


def hanging_up_table(found: HangingUp) -> str:
    rows = [
        [str(number), f"{seconds:.2f}", f"{resident / 1e6:.1f}"]
        for number, (seconds, resident) in enumerate(zip(found.seconds, found.resident, strict=True), 1)
    ]
    head = ["wave", "seconds until the upstream is left alone", "MB resident"]
    return f"{CLIENTS:,} clients hang up in the middle of their streams\n{table(head, rows)}"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The median over the rounds of ours / theirs: what slows a whole round down cancels out."""
    ratios = [found for one, other in zip(ours, theirs, strict=True) if (found := ratio(one, other)) is not None]
    return statistics.median(ratios) if ratios else None


def _paired_tokens(ours: Sequence[Speed], theirs: Sequence[Speed]) -> float | None:
    """Of tokens a second."""
    return paired([one.tokens_per_second for one in ours], [one.tokens_per_second for one in theirs])


def engine_goals(found: Engine) -> list[Goal]:
    return [
        Goal(
            f"local engine, {streams} at once: tokens/s, of the engine's",
            value and value * 100,
            97,
            rising=True,
            unit="%",
        )
        for streams, sources in found.rounds.items()
        for value in [_paired_tokens(sources["http"], sources["direct"])]
    ]


def engine_table(found: Engine) -> str:
    head = ["", "streams", "tokens/s", "of direct", "lowest to highest round", "first text ms", "CPU ms/token"]
    rows = []
    for streams, sources in found.rounds.items():
        for name, speeds in sources.items():
            each = [one.tokens_per_second for one in speeds]
            share = _paired_tokens(speeds, sources["direct"])
            row = [name, str(streams), f"{statistics.median(each):.1f}", "" if share is None else f"{share:.1%}"]
            row += [
                f"{min(each):.1f} to {max(each):.1f}",
                f"{statistics.median(one.first for one in speeds) * 1e3:.0f}",
            ]
            rows.append([*row, f"{statistics.median(one.cpu_ms for one in speeds):.2f}"])
    return f"local engine, a prompt of {found.prompt_tokens} tokens\n{table(head, rows)}"


def startup_goals(found: Startup) -> list[Goal]:
    return [
        Goal("homeport --version", found.version, 0.5, unit=" s"),
        Goal("import homeport.app", found.core, 0.5, unit=" s"),
        Goal("idle server without a model", found.idle.rss / 1e6, 120, 60, 45, unit=" MB"),
    ]


def startup_table(found: Startup) -> str:
    rows = [
        ["python alone", f"{found.python:.3f} s"],
        ["homeport --version", f"{found.version:.3f} s"],
        ["import homeport.app", f"{found.core:.3f} s"],
        ["serve to port answering, no model", f"{found.idle.port:.3f} s"],
        ["serve to /readyz, no model", f"{found.idle.ready:.3f} s"],
        ["resident, idle, no model", f"{found.idle.rss / 1e6:.0f} MB"],
    ]
    if found.model is not None:
        rows += [
            ["serve to port answering, default model", f"{found.model.port:.3f} s"],
            ["serve to /readyz, default model", f"{found.model.ready:.3f} s"],
            ["resident, idle, default model loaded", f"{found.model.rss / 1e6:.0f} MB"],
        ]
    return "start-up and rest\n" + table(["", "median"], rows)


def usage_goals(found: Usage) -> list[Goal]:
    """What is said of a million rows is not said of fewer."""
    slowest = max(statistics.median(taken) for taken in found.queries.values())
    late = found.delays["written"] - found.delays["passed on"]
    whole = found.rows >= 1_000_000
    return [
        Goal("usage rows a second, on top of a million", found.rate if whole else None, RATE, rising=True),
        Goal(f"delay of the event loop that {RATE:,} rows/s add, p99", late, 2.0, unit=" ms"),
        Goal("slowest question to a million rows", slowest if whole else None, 1.0, 0.5, 0.1, unit=" s"),
    ]


def usage_table(found: Usage) -> str:
    rows = [
        ["rows written a second", f"{found.rate:,.0f}"],
        ["CPU of a row", f"{found.cpu_us:.1f} us"],
        ["bytes of a row in the file", f"{found.bytes / found.rows:.0f}"],
        *([f"a timer is late while rows are {name}, p99", f"{late:.2f} ms"] for name, late in found.delays.items()),
        *([name, f"{statistics.median(taken) * 1e3:.1f} ms"] for name, taken in found.queries.items()),
    ]
    return f"usage, on top of {found.rows:,} rows\n" + table(["", "median"], rows)


def usage_page_goals(found: Pages) -> list[Goal]:
    """Of a page's data, on the slower database."""
    slowest = max(statistics.median(taken["now"]) for asked in found.by.values() for taken in asked.values())
    whole = found.rows >= 1_000_000
    return [Goal("slowest page of a million rows", slowest if whole else None, 0.6, 0.3, 0.1, unit=" s")]


def usage_page_table(found: Pages) -> str:
    heads = ["", *(f"{name}, {when}" for name in found.by for when in ("now", "before"))]
    return f"pages of the dashboard, over {found.rows:,} rows\n" + table(heads, table_rows(found))


def dashboard_goals(found: First) -> list[Goal]:
    return [
        Goal("first page of the dashboard", found.bytes / 1000, 200, 150, 100, unit=" KB"),
        Goal("first page ready, nothing cached", statistics.median(found.cold), 1.0, 0.5, 0.25, unit=" s"),
    ]


def dashboard_table(found: First) -> str:
    rows = [
        ["weighs", f"{found.bytes / 1000:.0f} KB in {found.requests} requests"],
        ["ready, nothing cached", f"{statistics.median(found.cold) * 1e3:.0f} ms"],
        ["ready, again", f"{statistics.median(found.warm) * 1e3:.0f} ms"],
    ]
    return "the dashboard's first page, in Chromium\n" + table(["", "median"], rows)


def files_goals(found: Files) -> list[Goal]:
    """Megabytes a second are of the machine's disk; memory and the list are ours."""
    return [
        Goal("memory that files of any size take", found.peak / 1e6, 50, 30, unit=" MB"),
        Goal(
            "a page at the end of a long list, of one at its beginning",
            ratio(found.last, found.first),
            1.5,
            1.1,
            unit="x",
        ),
    ]


def files_table(found: Files) -> str:
    sizes = {**found.megabytes, "content": 0}
    rows = [
        [f"{name}, {sizes[name]} MiB" if sizes[name] else f"{name}, of both", f"{statistics.median(rates):.0f} MiB/s"]
        for name, rates in found.rates.items()
    ]
    rows += [
        ["the server's memory, at most beyond what it held before", f"{found.peak / 1e6:.0f} MB"],
        [f"a page of {PAGE}, the first ones", f"{found.first:.2f} ms"],
        [f"a page of {PAGE}, the last ones", f"{found.last:.2f} ms"],
        ["a page of 10,000", f"{found.whole:.0f} ms"],
    ]
    return f"files; a list of {found.listed:,}\n" + table(["", "median"], rows)


def hearing_goals(found: Hearing) -> list[Goal]:
    """The language that is not told Homeport finds out by the way, faster-whisper by listening twice."""
    return [
        Goal(f"CPU of a transcription, of faster-whisper's{what}", _beside(found, what), 1.05, 1.0, unit="x")
        for what in ("", ", told")
    ] + [
        Goal("words of English that are wrong", _english(found), 5, 2, unit=" %"),
        Goal(f"memory that {LONG} minutes take", found.peak / 1e6, 100, 50, unit=" MB"),
    ]


def _beside(found: Hearing, what: str) -> float | None:
    pairs = zip(found.cpu[f"http{what}"], found.cpu[f"direct{what}"], strict=True)
    ratios = [one for one in (ratio(ours, theirs) for ours, theirs in pairs) if one is not None]
    return statistics.median(ratios) if ratios else None


def _english(found: Hearing) -> float | None:
    first = next(iter(found.errors), None)
    return None if first is None else 100 * first.wrong / first.words


def hearing_table(found: Hearing) -> str:
    wrong = [
        [f"{one.language}, {one.model}", str(one.recordings), str(one.words), f"{100 * one.wrong / one.words:.1f} %"]
        for one in found.errors
    ]
    speeds = [
        [
            f"{name}, {found.seconds:.0f} s",
            f"{statistics.median(cpu):.2f}",
            f"{statistics.median(cpu) / found.seconds:.3f}",
        ]
        for name, cpu in found.cpu.items()
    ]
    (at_once, one_by_one), (alone, beside) = found.together, found.chat
    rows = [
        [f"{TOGETHER} at once", f"{at_once:.1f} s"],
        [f"{TOGETHER} one by one", f"{one_by_one:.1f} s"],
        ["an answer of echo, alone", f"{alone:.1f} ms"],
        ["an answer of echo, beside them", f"{beside:.1f} ms"],
        [f"{LONG} minutes, the server's memory beyond what it held before", f"{found.peak / 1e6:.0f} MB"],
    ]
    return "\n\n".join(
        [
            "hearing\n" + table(["language", "recordings", "words", "wrong"], wrong),
            table(["", "CPU seconds", "of real time"], speeds),
            table(["", "median"], rows),
        ]
    )


def diffusion_goals(found: Diffusion) -> list[Goal]:
    """All that a picture takes, its prompt read and its file written, is laid on its steps."""
    ratio = statistics.median(found.cpu["http"]) / statistics.median(found.cpu["direct"])
    return [Goal("CPU of a diffusion step, of ONNX Runtime's alone", ratio, 1.25, 1.05, unit="x")]


def diffusion_table(found: Diffusion) -> str:
    rows = [
        ["seconds of a step", *(f"{statistics.median(found.wall[name]):.3f}" for name in ("http", "direct"))],
        ["CPU seconds of a step", *(f"{statistics.median(found.cpu[name]):.3f}" for name in ("http", "direct"))],
        ["peak beyond rest", f"{found.peak / 1e6:.0f} MB", ""],
        ["of it kept after a picture", f"{found.kept / 1e6:.0f} MB", ""],
    ]
    head = [f"{found.network / 1e6:.0f} MB of weights, 512x512, {found.steps} steps", "http", "ONNX Runtime alone"]
    return "diffusion\n" + table(head, rows)


def speaking_goals(found: Speaking) -> list[Goal]:
    goals: list[Goal] = []
    for name in found.cpu:
        goals += [
            Goal(f"CPU of speech by {name}, of the engine's", median_ratio(found.cpu[name]), 1.25, 1.05, unit="x"),
            Goal(f"words of {name} that are heard wrong", 100 * found.wrong[name] / found.words, 5, 2, unit=" %"),
        ]
    return goals


def speaking_table(found: Speaking) -> str:
    rows = [
        [
            name,
            f"{1000 * statistics.median(found.first[name]):.0f} ms",
            f"{statistics.median(cpu['http']) / found.seconds[name]:.3f}",
            f"{statistics.median(cpu['direct']) / found.seconds[name]:.3f}",
            f"{found.wrong[name]} of {found.words}",
            f"{found.together[name][0]:.2f} / {found.together[name][1]:.2f} s",
            f"{found.peak[name] / 1e6:.0f} MB",
        ]
        for name, cpu in found.cpu.items()
    ]
    head = ["", "first byte", "CPU, of real time", "the engine alone", "words wrong"]
    return "speaking\n" + table(
        [*head, f"{SPOKEN_TOGETHER} at once / one by one", f"peak of {found.characters} characters"], rows
    )


def images_goals(found: Scenes) -> list[Goal]:
    return [
        Goal(f"CPU of a drawing of {side} pixels, of the engine's", found.ratio(side), 2.0, 1.4, unit="x")
        for side in found.cpu
    ] + [
        Goal(f"CPU seconds of a drawing of {side} pixels", 1 / found.per_second(side), 0.15, 0.1, unit=" s")
        for side in found.cpu
    ]


def images_table(found: Scenes) -> str:
    rows = [
        [
            f"{side} x {side}",
            f"{found.per_second(side):.1f}",
            f"{statistics.median(found.wall[side]):.2f} s",
            f"{found.ratio(side):.2f}",
            f"{statistics.median(found.waits[side]):.0f} ms",
        ]
        for side in found.cpu
    ]
    head = [
        "scene-1",
        "pictures a CPU second",
        "one, of the wall",
        "CPU, of the engine alone",
        "longest that others waited",
    ]
    return (
        f"images\n{table(head, rows)}\n\n{LARGEST} x {LARGEST}: {found.peak / 1e6:.0f} MB beyond what was held before"
    )


def queue_table(found: Queues) -> str:
    """Medians of the rounds."""

    def cells(name: str, form: str, factor: float = 1.0) -> list[str]:
        return [
            format(statistics.median(getattr(one, name) for one in rounds) * factor, form)
            for rounds in found.by.values()
        ]

    rows = [
        ["enqueued a second, a transaction each", *cells("enqueued", ",.0f")],
        [f"enqueued a second, {IN_ONE} in a transaction", *cells("enqueued_together", ",.0f")],
        ["claimed and ended a second, one after the other", *cells("ended", ",.0f")],
        [f"claimed and ended a second, {AT_ONCE} at once by a worker", *cells("ended_at_once", ",.0f")],
        ["from commit to the handler's beginning, ms", *cells("begun_ms", ".1f")],
        ["of a core, with nothing to do", *cells("idle", ".2%")],
    ]
    return "queue\n" + table(["", *found.by], rows)


def search_table(found: Found) -> str:
    """A row for each size of each database."""
    rows = [
        [
            f"{name}, {one.chunks:,} chunks",
            *(f"{one.by[way].p50_ms:.1f} / {one.by[way].p99_ms:.1f}" for way in one.by),
            f"{one.first_ms:,.0f}",
            f"{one.memory / 1e6:,.0f}",
            f"{one.chunks / one.filling:,.0f}",
        ]
        for name, sizes in found.by.items()
        for one in sizes
    ]
    ways = [f"{way}, p50 / p99 ms" for sizes in found.by.values() for way in sizes[0].by][: len(rows[0]) - 4]
    return "search\n" + table(["", *ways, "first ms", "memory MB", "chunks put in a second"], rows)


def retrieval_table(found: Retrieval) -> str:
    rows = [
        [f"{name}, {way}", f"{one.recall:.3f}", f"{one.mrr:.3f}"]
        for name, ways in found.by.items()
        for way, one in ways.items()
    ]
    title = f"retrieval: {found.queries:,} queries, {found.documents:,} documents\n"
    return title + table(["", "recall@10", "MRR@10"], rows)


def batches_goals(found: Batches) -> list[Goal]:
    """Round by round. The best by hand is who leaves the least to a batch."""
    goals: list[Goal] = []
    for name, rates in found.rates.items():
        of = {clients: paired(rates[batches.BATCH], rates[str(clients)]) for clients in batches.CLIENTS}
        best = min((one for one in of.values() if one is not None), default=None)
        few = batches.CLIENTS[0]
        goals += [
            Goal(f"batch on {name}, of the best by hand", best, 0.8, 0.9, 1.0, rising=True, unit="x"),
            Goal(f"batch on {name}, of {few} clients", of[few], 0.9, 1.0, rising=True, unit="x"),
        ]
    return goals


def batches_table(found: Batches) -> str:
    """Medians of the rounds."""
    rows: list[list[str]] = []
    for name, lines in found.lines.items():
        shown = f"{name} on {found.engine}" if name == "model" else name
        taken = {source: f"{statistics.median(rates):,.1f}" for source, rates in found.rates[name].items()}
        rows.append([f"{shown}, a batch of {lines:,}", taken[batches.BATCH]])
        rows += [[f"{shown}, by hand, {clients} clients", taken[str(clients)]] for clients in sorted(batches.CLIENTS)]
    return "batches\n" + table(["", "lines a second"], rows)


def embeddings_goals(found: Embeddings) -> list[Goal]:
    goals: list[Goal] = []
    for engine, shapes in found.rounds.items():
        for shape, sources in shapes.items():
            rates = {source: [one.sentences for one in rounds] for source, rounds in sources.items()}
            ours = rates[embeddings.HTTP]
            bare = paired(ours, rates[embeddings.BARE])
            name = f"embeddings on {engine}, {shape}: sentences/s, of"
            goals.append(Goal(f"{name} the bare engine's", bare and bare * 100, 90, 95, rising=True, unit="%"))
            if embeddings.PEER in rates:
                peer = paired(ours, rates[embeddings.PEER])
                goals.append(Goal(f"{name} {embeddings.PEER}'s", peer, 0.9, 1.0, rising=True, unit="x"))
    return goals


def embeddings_table(found: Embeddings) -> str:
    """Medians of the rounds."""
    rows = []
    for engine, shapes in found.rounds.items():
        for shape, sources in shapes.items():
            bare = [one.sentences for one in sources[embeddings.BARE]]
            for name, rounds in sources.items():
                each = [one.sentences for one in rounds]
                share = paired(each, bare)
                row = [f"{engine}, {name}", shape, f"{statistics.median(each):,.0f}"]
                row += ["" if share is None else f"{share:.1%}", f"{min(each):,.0f} to {max(each):,.0f}"]
                rows.append([*row, f"{statistics.median(one.cpu_ms for one in rounds):.2f}"])
    head = ["", "at once x sentences", "sentences/s", "of bare", "lowest to highest round", "CPU ms/sentence"]
    tokens = ", ".join(f"{average:.1f} on {engine}" for engine, average in found.tokens.items())
    return f"embeddings; tokens of a sentence: {tokens}\n" + table(head, rows)


def cells_table(found: Cells) -> str:
    rows = [
        ["a Python without walls, begun and ended", f"{found.bare_ms:.0f}"],
        ["the first execution of a new cell", f"{found.cold_ms:.0f}"],
        ["the first one after a cell's end", f"{found.again_ms:.0f}"],
        [f"each of {found.together} new cells at once", f"{found.together_ms:.0f}"],
        ["an execution of a warm one", f"{found.warm_ms:.2f}"],
    ]
    return f"cells\n{table(['', 'ms'], rows)}"


def documents_table(found: Documents) -> str:
    """Of a second of a core."""
    rows = [
        [one.kind, f"{one.pages_a_second:,.0f}", f"{one.megabytes_a_second:.1f}", f"{one.start_ms:.0f}"]
        for one in found.reading
    ]
    read = table(["", "pages/s", "MB/s of text", "ms for a file of a page"], rows)
    rows = [[one.text, f"{one.tokens:,}", f"{one.tokens_a_second:,.0f}"] for one in found.cutting]
    cut = table(["into chunks", "tokens", "tokens/s"], rows)
    return f"documents: files of {found.pages:,} pages, of a core\n{read}\n\n{cut}"


def ingestion_goals(found: Ingestion) -> list[Goal]:
    """What goes beyond the vectors is ours; where the model is fast enough, it is what there is."""
    value = _share(found, ingestion.VECTORS)
    name = "ingestion: pages/s, of what the bare engine's vectors would allow"
    return [Goal(name, value and value * 100, 80, 90, rising=True, unit="%")]


def _share(found: Ingestion, name: str) -> float | None:
    """Of the seconds of the whole, what this alone takes."""
    whole = [one.seconds for one in found.rounds[ingestion.INGESTION]]
    return paired([one.seconds for one in found.rounds[name]], whole)


def ingestion_table(found: Ingestion) -> str:
    """Medians of the rounds."""
    rows = []
    for name, rounds in found.rounds.items():
        seconds = statistics.median(one.seconds for one in rounds)
        cpu = statistics.median(one.cpu for one in rounds)
        share = _share(found, name)
        row = [name, f"{found.pages / seconds:,.1f}", f"{seconds:.2f}", "" if share is None else f"{share:.0%}"]
        rows.append([*row, f"{cpu / found.pages * 1e3:.1f}"])
    title = f"ingestion: {found.files} files, {found.pages} pages, {found.chunks:,} chunks, {found.windows:,} windows"
    head = ["", "pages/s", "seconds", "of the whole", "CPU ms/page"]
    return f"{title}, {found.tokens:,} tokens\n{table(head, rows)}"


def goals_table(goals: Iterable[Goal]) -> str:
    rows = []
    for goal in goals:
        limits = [
            f"{limit:g}{goal.unit}" if limit is not None else "" for limit in (goal.floor, goal.target, goal.stretch)
        ]
        value = "-" if goal.value is None else f"{goal.value:.3g}{goal.unit}"
        rows.append([goal.name, value, *limits, goal.verdict])
    return table(["goal", "measured", "floor", "target", "stretch", "reached"], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads as text, too. The first column is words, the rest numbers."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([row(lines[0]), f"| {' | '.join(rule)} |", *map(row, lines[1:])])
