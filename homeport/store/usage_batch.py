"""A batch of usage on its way to the database: values that it takes, and what they add up to by the hour."""

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from time import sleep
from typing import Any, NamedTuple, TypeVar

import msgspec

from homeport.store.usage_row import UsageRow

T = TypeVar("T")

HOUR = 3600
#: The columns of a row; `seq` is the database's.
FIELDS = UsageRow.__struct_fields__
#: Counted row by row and added up by the hour, beside the number of requests and the money.
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
#: What the hours are kept by, beside the hour. Of the model the one that ran: OpenAI's usage, too, has the snapshot.
GROUP = ("page", "project_id", "user_id", "key_id", "ran", "batch", "service_tier", "size", "endpoint")
WHOSE = ("project_id", "user_id", "key_id")
#: Beyond these an upstream's counts are nonsense, and sums of them more than the databases' integers hold.
MOST = 10**12
MOST_PICO = 10**16
#: What others have a say in.
NAMES = ("model", "ran", "backend", "service_tier", "size")
PIECE = 100

_LINES = FIELDS.index("price_lines")
_STARTED = FIELDS.index("started_at")
_COST = FIELDS.index("cost_pico")
_SAVED = FIELDS.index("saved_pico")
_LIST = FIELDS.index("list_pico")
_COUNTS = slice(FIELDS.index(COUNTS[0]), FIELDS.index(COUNTS[-1]) + 1)
_FLAGS = [FIELDS.index(name) for name in ("stream", "batch", "cache_hit", "estimated")]
_NAMES = [FIELDS.index(name) for name in NAMES]
_group = itemgetter(*(FIELDS.index(name) for name in GROUP))
_counts = itemgetter(*(FIELDS.index(name) for name in COUNTS), _COST, _SAVED, _LIST)
_whose = itemgetter(*(1 + GROUP.index(name) for name in WHOSE))

Line = tuple[str, int, str, Decimal, int]


class Ready(NamedTuple):
    """values: of FIELDS, the lines of the price as JSON, booleans as numbers."""

    values: Sequence[Any]
    lines: Sequence[Line]

    @property
    def request_id(self) -> str:
        found: str = self.values[0]
        return found


class Batch:
    def __init__(self, rows: Sequence[Ready]) -> None:
        self.rows = rows

    @classmethod
    def of(cls, rows: Sequence[UsageRow]) -> "Batch":
        ready: list[Ready] = []
        for piece in _pieces(rows, _Turns()):
            values = [*map(msgspec.structs.astuple, piece)]
            if _odd(values):
                piece = [*map(harmless, piece)]
                values = [*map(msgspec.structs.astuple, piece)]
            ready += map(_with_lines, map(list, values), map(_lines, piece))
        return cls(ready)

    @property
    def values(self) -> list[Sequence[Any]]:
        return [row.values for row in self.rows]

    def only(self, request_ids: Collection[str]) -> "Batch":
        """Those that the database took: of a request that is there twice the first."""
        if len(request_ids) == len(self.rows):
            return self
        taken = {row.request_id: row for row in reversed(self.rows)}
        return Batch([taken[request_id] for request_id in request_ids])

    def sums(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Rows of `usage_hours` and of `usage_costs`, in the order of their keys: two processes that add to the same
        hours wait for each other in one order."""
        turns = _Turns()
        groups: dict[tuple[Any, ...], list[Ready]] = {}
        for piece in _pieces(self.rows, turns):
            for row in piece:
                hour = int(row.values[_STARTED]) // HOUR * HOUR
                groups.setdefault((hour, *_group(row.values)), []).append(row)
        used = []
        money: dict[tuple[Any, ...], list[int]] = {}
        for key in sorted(groups):
            counted: list[Sequence[int]] = []
            whose = (key[0], *_whose(key))
            for piece in _pieces(groups[key], turns):
                counted.append(_counted(piece))
                for item, quantity, unit, _, pico in chain.from_iterable([row.lines for row in piece]):
                    sums = money.setdefault((*whose, item, unit), [0, 0])
                    sums[0] += quantity
                    sums[1] += pico
            used.append((*key, *map(sum, zip(*counted, strict=True))))
        return used, [(*key, *money[key]) for key in sorted(money)]


class _Turns:
    """Offers the interpreter to the other threads after each PIECE rows: the event loop shall not wait for a batch."""

    def __init__(self) -> None:
        self._rows = 0

    def took(self, rows: int) -> None:
        self._rows += rows
        if self._rows >= PIECE:
            self._rows = 0
            sleep(0)


def _pieces(rows: Sequence[T], turns: _Turns) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE]
        yield piece
        turns.took(len(piece))


def _counted(rows: Sequence[Ready]) -> Sequence[int]:
    """Requests, COUNTS, picodollars that they cost and saved, the requests whose cost nobody knows, picodollars at list
    price, and the requests that have none."""
    *counts, costs, saved, listed = zip(*[_counts(row.values) for row in rows], strict=True)
    money = [sum(filter(None, pico)) for pico in (costs, saved, listed)]
    return [len(rows), *map(sum, counts), *money[:2], costs.count(None), money[2], listed.count(None)]


def _with_lines(values: list[Any], lines: Sequence[Line] | None) -> Ready:
    if lines is not None:
        values[_LINES] = msgspec.json.encode(lines).decode()
    for place in _FLAGS:  # SQLite's driver is slow with booleans
        values[place] = int(values[place])
    return Ready(values, lines or ())


def _lines(row: UsageRow) -> Sequence[Line] | None:
    """Costs are sums of lines: a cost whose lines were lost (a journal has no room for many) is a line of its own."""
    if row.price_lines is None and row.cost_pico:
        return [(row.ran, 1, "requests", Decimal(row.cost_pico).scaleb(-12), row.cost_pico)]
    return row.price_lines


def _odd(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Some of it came from outside and is what no database takes. One odd row must not hold up those behind it."""
    columns = list(zip(*rows, strict=True))
    counts, picos = columns[_COUNTS], (*columns[_COST], *columns[_SAVED], *columns[_LIST])
    money = [pico for pico in picos if pico is not None]
    if min(map(min, counts)) < 0 or max(map(max, counts)) > MOST or max(money, default=0) > MOST_PICO:
        return True
    return not all("".join(columns[place]).isprintable() for place in _NAMES)


def harmless(row: UsageRow) -> UsageRow:
    """The nearest row that every database takes, and msgpack."""
    values = {name: _nearest(name, value) for name, value in msgspec.structs.asdict(row).items()}
    lines = _lines(row)
    return UsageRow(**values | {"price_lines": None if lines is None else [_nearest_line(line) for line in lines]})


def _nearest(name: str, value: Any) -> Any:
    """For a NUL or half a character in a name, or a number beyond measure."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "\ufffd")
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(value, 0), MOST_PICO if name.endswith("_pico") else MOST)
    return value


def _nearest_line(line: Line) -> Line:
    item, quantity, unit, price, pico = line
    return _nearest("item", item), _nearest("quantity", quantity), unit, price, _nearest("_pico", pico)
