"""Rows of usage made up from a seed, and what they add up to by plain Python: what the databases are compared with."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from homeport.store.usage_rows import UsageRow

#: A Friday, 00:00 UTC.
START = 1_730_419_200
HOUR, DAY = 3600, 86_400
#: Key -> its project and user; the last one is nobody's.
KEYS = {
    "key_a": ("proj_blue", "user-ann"),
    "key_b": ("proj_blue", "user-bob"),
    "key_c": ("proj_red", "user-ann"),
    "key_d": ("proj_red", ""),
}
ENDPOINTS = {
    "chat.completions": "completions",
    "completions": "completions",
    "embeddings": "embeddings",
    "moderations": "moderations",
    "images.generations": "images",
    "images.edits": "images",
    "images.variations": "images",
    "audio.speech": "audio_speeches",
    "audio.transcriptions": "audio_transcriptions",
}
COUNTS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "images",
    "characters",
    "milliseconds",
)


def row(place: int = 0, **changed: Any) -> UsageRow:
    """One that is priced; `place` makes its id."""
    fields: dict[str, Any] = {
        "request_id": f"req_{place:032x}",
        "started_at": START + 0.25,
        "ended_at": START + 1.5,
        "key_id": "key_a",
        "project_id": "proj_blue",
        "user_id": "user-ann",
        "endpoint": "chat.completions",
        "page": "completions",
        "model": "gpt-4o",
        "ran": "gpt-4o-2024-08-06",
        "outcome": "completed",
        "status": 200,
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_pico": 350_000_000,
        "price_lines": lines(("gpt-4o, input", 100, 2_500_000), ("gpt-4o, output", 10, 10_000_000)),
    }
    return UsageRow(**fields | changed)


def lines(*wanted: tuple[str, int, int], unit: str = "tokens") -> list[tuple[str, int, str, Decimal, int]]:
    """Line item, quantity, picodollars a unit."""
    return [(item, quantity, unit, Decimal(pico).scaleb(-12), quantity * pico) for item, quantity, pico in wanted]


def rows(count: int, *, days: int = 3, seed: int = 7) -> list[UsageRow]:
    """Spread over whole days from START, some in the same second, some on the very edge of an hour."""
    chance = random.Random(seed)
    return [_row(chance, place, days) for place in range(count)]


def _row(chance: random.Random, place: int, days: int) -> UsageRow:
    key = chance.choice([*KEYS])
    project, user = KEYS[key]
    endpoint = chance.choice([*ENDPOINTS, "chat.completions"])
    began = START + chance.choice(
        [chance.randrange(days * DAY), chance.randrange(days * 24) * HOUR, chance.uniform(0, days * DAY)]
    )
    counts = {name: chance.choice([0, chance.randrange(5000)]) for name in COUNTS}
    family = chance.choice(["gpt-4o", "gpt-4o-mini"])
    unit = {"images": "images", "audio_speeches": "characters", "audio_transcriptions": "seconds"}
    priced = chance.random() < 0.8
    line = lines(
        (f"{family}, input", counts["input_tokens"], 2_500_001),
        (f"{family}, output", counts["output_tokens"], 10_000_003),
        unit=unit.get(ENDPOINTS[endpoint], "tokens"),
    )
    made = row(
        place,
        started_at=float(began),
        ended_at=began + chance.uniform(0, 60),
        key_id=key,
        project_id=project,
        user_id=user,
        endpoint=endpoint,
        page=ENDPOINTS[endpoint],
        model=family,
        ran=f"{family}-2024-08-06",
        batch=chance.random() < 0.3,
        service_tier=chance.choice(["default", "flex"]),
        size=chance.choice(["1024x1024", "hd 1024x1024", "1024x1792"]) if ENDPOINTS[endpoint] == "images" else "",
        cost_pico=sum(pico for *_, pico in line) if priced else None,
        price_lines=line if priced else None,
        list_pico=chance.choice([None, chance.randrange(10**12)]),
        outcome=chance.choice(["completed", "completed", "completed", "failed", "left"]),
        **counts,
    )
    if not priced or chance.random() < 0.8:
        return made
    return msgspec.structs.replace(made, cache_hit=True, cost_pico=0, saved_pico=made.cost_pico, price_lines=None)


def between(rows: Iterable[UsageRow], start: float, end: float, **only: Any) -> list[UsageRow]:
    """Those that began in [start, end) and have these values."""
    chosen = [one for one in rows if start <= one.started_at < end]
    return [one for one in chosen if all(getattr(one, name) == value for name, value in only.items())]


def summed(
    rows: Iterable[UsageRow], key: Callable[[UsageRow], tuple[Any, ...]], counts: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, int]]:
    """Key -> requests and counts."""
    found: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(("requests", *counts), 0))
    for one in rows:
        sums = found[key(one)]
        sums["requests"] += 1
        for name in counts:
            sums[name] += getattr(one, name)
    return dict(found)


def spending(
    rows: Iterable[UsageRow], key: Callable[[UsageRow, str, str], tuple[Any, ...]]
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Key (of a row, a line item and its unit) -> quantity and picodollars."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for one in rows:
        for item, quantity, unit, _, pico in one.price_lines or ():
            before = found.get(key(one, item, unit), (0, 0))
            found[key(one, item, unit)] = (before[0] + quantity, before[1] + pico)
    return found
