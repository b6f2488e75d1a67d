"""The log of usage: rows written in batches, what that takes from the event loop, and the usage page over all of them.

The rows are those of a month, in the order of time, of eight projects and three models, each with the lines of its
price. They are made before the clock runs; what is timed is the writing, with the sums by the hour that belong to it.
"""

import asyncio
import gc
import random
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from bench.report import Goal, table
from homeport import ids
from homeport.control.usage import Usage as Pages
from homeport.control.usage_pages import PAGES
from homeport.store.database import Database
from homeport.store.usage import BATCH_ROWS
from homeport.store.usage_rows import UsageRow, UsageRows
from homeport.store.usage_sums import UsageSums
from homeport.store.vector_store_usage import VectorStoreUsage
from homeport.wire.admin_usage import CompletionsParameters, CostsParameters

START = 1_730_419_200
DAYS = 30
DAY = 86_400
#: Rows a second beside which the event loop is watched.
RATE = 20_000
SECONDS = 3.0
PROJECTS, KEYS = 8, 24
MODELS = (("gpt-4o-2024-08-06", 2_500_000, 10_000_000), ("gpt-4o-mini-2024-07-18", 150_000, 600_000), ("llama", 0, 0))
_COMPLETIONS = next(page for page in PAGES if page.name == "completions")


@dataclass
class Usage:
    """rows: that are in the file, and its bytes. rate: rows a second that are written on top of them; cpu_us: of a row.

    delays: milliseconds that a timer of the event loop is late (99 of 100 are less), while rows are written at RATE and
    while the same rows are only passed on. queries: question -> seconds, one for each round.
    """

    rows: int
    bytes: int = 0
    rate: float = 0.0
    cpu_us: float = 0.0
    delays: dict[str, float] = field(default_factory=dict)
    queries: dict[str, list[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            ["rows written a second", f"{self.rate:,.0f}"],
            ["CPU of a row", f"{self.cpu_us:.1f} us"],
            ["bytes of a row in the file", f"{self.bytes / self.rows:.0f}"],
            *([f"a timer is late while rows are {name}, p99", f"{late:.2f} ms"] for name, late in self.delays.items()),
            *([name, f"{statistics.median(taken) * 1e3:.1f} ms"] for name, taken in self.queries.items()),
        ]
        return f"usage, on top of {self.rows:,} rows\n" + table(["", "median"], rows)

    def goals(self) -> list[Goal]:
        """What is said of a million rows is not said of fewer."""
        slowest = max(statistics.median(taken) for taken in self.queries.values())
        late = self.delays["written"] - self.delays["passed on"]
        whole = self.rows >= 1_000_000
        return [
            Goal("usage rows a second, on top of a million", self.rate if whole else None, RATE, rising=True),
            Goal(f"delay of the event loop that {RATE:,} rows/s add, p99", late, 2.0, unit=" ms"),
            Goal("slowest question to a million rows", slowest if whole else None, 1.0, 0.5, 0.1, unit=" s"),
        ]


def run(folder: Path, *, rows: int, rounds: int, seconds: float = SECONDS) -> Usage:
    """seconds: of rows at RATE that are written on top, as fast as it goes, and again while the loop is watched."""
    found = Usage(rows)
    file = folder / "usage.db"
    asyncio.run(_fill(file, rows))
    found.bytes = file.stat().st_size
    asyncio.run(_asked(file, found, rounds))
    asyncio.run(_written(file, found, round(RATE * seconds)))
    for name, write in (("passed on", False), ("written", True)):
        found.delays[name] = delay(file, seconds, write=write)
    gc.unfreeze()
    return found


def made(count: int, *, since: float = START, until: float = START + DAYS * DAY, seed: int = 7) -> Iterator[UsageRow]:
    """Rows in the order of time."""
    chance = random.Random(seed)
    for place in range(count):
        began = since + (until - since) * place / count
        key = chance.randrange(KEYS)
        model, input_pico, output_pico = chance.choice(MODELS)
        prompt, answer = chance.randrange(1, 4000), chance.randrange(1, 800)
        prices = (("input", prompt, input_pico), ("output", answer, output_pico))
        yield UsageRow(
            request_id=ids.request_id(),
            started_at=began,
            ended_at=began + 1.5,
            key_id=f"key_{key:016d}",
            project_id=f"proj_{key % PROJECTS:024d}",
            user_id=f"user-{key:024d}",
            endpoint="chat.completions",
            page="completions",
            model=model,
            ran=model,
            backend="somewhere",
            stream=place % 2 == 0,
            outcome="completed",
            status=200,
            input_tokens=prompt,
            output_tokens=answer,
            cost_pico=prompt * input_pico + answer * output_pico,
            price_lines=[
                (f"{model}, {name}", quantity, "tokens", Decimal(pico).scaleb(-12), quantity * pico)
                for name, quantity, pico in prices
            ],
            price_rule=f"{model}@2024-10-01 genai-prices 0.0.65",
            first_ms=120,
            total_ms=1500,
        )


def _opened(file: Path) -> Database:
    return Database(f"sqlite:///{file}", synchronous="NORMAL")


async def _fill(file: Path, count: int) -> None:
    database = _opened(file)
    store = UsageRows(database)
    await store.create()
    waiting = made(count)
    while batch := list(islice(waiting, 1000)):
        await store.write(batch)
    await store.close()
    await database.close()


def batches_of_now(count: int) -> list[list[UsageRow]]:
    """As they come when so many requests end: in the same hour. Out of the collector's sight, which has fewer of them
    to look at where requests come and go."""
    since = START + DAYS * DAY
    rows = list(made(count, since=since, until=since + count / RATE))
    gc.collect()
    gc.freeze()
    return [rows[start : start + BATCH_ROWS] for start in range(0, count, BATCH_ROWS)]


async def _written(file: Path, found: Usage, count: int) -> None:
    """As fast as it goes."""
    batches = batches_of_now(count)
    database = _opened(file)
    store = UsageRows(database)
    began, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        await store.write(batch)
    found.rate = count / (time.perf_counter() - began)
    found.cpu_us = (time.process_time() - cpu) / count * 1e6
    await store.close()
    await database.close()


async def _asked(file: Path, found: Usage, rounds: int) -> None:
    """The first round warms up and does not count."""
    database = _opened(file)
    for name, ask in _questions(Pages(UsageSums(database), VectorStoreUsage(database)), UsageRows(database)).items():
        taken = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            await ask()
            taken.append(time.perf_counter() - began)
        found.queries[name] = taken[1:]
    await database.close()


def _questions(pages: Pages, rows: UsageRows) -> dict[str, Callable[[], Awaitable[object]]]:
    month: dict[str, Any] = {"start_time": START, "end_time": START + DAYS * DAY}
    ragged: dict[str, Any] = {"start_time": START + 1234, "end_time": START + DAYS * DAY - 1234}
    week: dict[str, Any] = {"start_time": START + 7 * DAY, "end_time": START + 14 * DAY, "bucket_width": "1h"}
    day: dict[str, Any] = {"start_time": START + 7 * DAY, "end_time": START + 8 * DAY, "bucket_width": "1m"}

    def usage(**asked: Any) -> Callable[[], Awaitable[object]]:
        return lambda: pages.page(_COMPLETIONS, CompletionsParameters(**asked))

    def costs(**asked: Any) -> Callable[[], Awaitable[object]]:
        return lambda: pages.costs(CostsParameters(**asked))

    return {
        "30 days": usage(**month, limit=31),
        "30 days, by model and project": usage(**month, limit=31, group_by=["model", "project_id"]),
        "30 days that begin and end within an hour": usage(**ragged, limit=31),
        "30 days, one key": usage(**month, limit=31, api_key_ids=[f"key_{3:016d}"]),
        "7 days by the hour, by model": usage(**week, limit=168, group_by=["model"]),
        "1 day by the minute": usage(**day, limit=1440),
        "costs of 30 days, by line item": costs(**month, limit=31, group_by=["line_item"]),
        "spent by a project": lambda: rows.spent(since=START, project_id=f"proj_{3:024d}"),
    }


def delay(file: Path, seconds: float, *, write: bool) -> float:
    """Milliseconds that a timer is late beside a thread that takes RATE rows a second; 99 of 100 are less."""
    batches = batches_of_now(round(RATE * seconds))
    thread = threading.Thread(target=lambda: asyncio.run(_paced(file, batches, write=write)), name="bench-usage")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        thread.start()
        late = runner.run(_lateness(thread))
    thread.join()
    return statistics.quantiles(late, n=100)[98] * 1e3


async def _paced(file: Path, batches: Sequence[Sequence[UsageRow]], *, write: bool) -> None:
    database = _opened(file)
    store = UsageRows(database)
    began = time.perf_counter()
    for place, batch in enumerate(batches):
        due = began + place * BATCH_ROWS / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if write:
            await store.write(batch)
    await store.close()
    await database.close()


async def _lateness(thread: threading.Thread) -> list[float]:
    late = []
    while thread.is_alive():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)
    return late
