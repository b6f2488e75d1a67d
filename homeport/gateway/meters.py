"""Numbers of what was done. On the hot path a request goes on a list; it is counted with others, or when somebody asks.

A request belongs to one series: endpoint, model, who answered, status, and whether it was the line of a batch.
Everything that is counted of it is in that series' one object, so the request costs one look-up. How the numbers are
shown is for `telemetry.py`.

Names come from clients, and series stay for good. So a model has a series of its own where its name stands in the
settings, or where it was answered at least once and is one of the first; every other name is `other`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from homeport.errors import HomeportError, InsufficientQuota, RateLimited
from homeport.gateway.endpoints import ENDPOINTS
from homeport.gateway.watching import Aside, status_of

if TYPE_CHECKING:
    from homeport.gateway.ledger import Ending, Entry
    from homeport.store.usage_row import UsageRow

#: Names that only lead to an upstream which takes any name, and that have series of their own.
MOST_LEARNED = 100
OTHER = "other"
#: Who answered, where nobody was asked.
CACHE = "cache"
#: Requests that wait to be counted, unless somebody looks before.
AT_ONCE = 64
OPERATIONS = {endpoint.name: endpoint.operation for endpoint in ENDPOINTS}

#: Upper bounds of buckets, inclusive. Source: OpenTelemetry's semantic conventions for generative AI, metrics.
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**power for power in range(14))


class Histogram:
    """counts: by bucket, the last one for what is above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Written out where it is hot."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Kind(NamedTuple):
    """What requests of a series have in common. provider: the upstream's name, `local`, `cache`, or empty."""

    endpoint: str
    operation: str
    model: str
    provider: str
    status: int
    batch: bool


class Series:
    """seconds: of all its requests. first, per_token: of streams. input, output: tokens, of what was counted; cached:
    of the prompts, read from a cache. cost, saved: picodollars."""

    __slots__ = ("cached", "cost", "first", "input", "kind", "output", "per_token", "saved", "seconds")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.seconds = Histogram(SECONDS)
        self.first = Histogram(FIRST_SECONDS)
        self.per_token = Histogram(TOKEN_SECONDS)
        self.input = Histogram(TOKENS)
        self.output = Histogram(TOKENS)
        self.cached = 0
        self.cost = 0
        self.saved = 0


class Outside(NamedTuple):
    """What requests without an entry are counted by. model: empty where nobody looked at it."""

    endpoint: str
    model: str
    status: int


class Tries(NamedTuple):
    provider: str
    status: int
    then: str


class Meters:
    """A Watcher. outside: requests without an entry. refused: by what limits have refused: `requests`, `tokens`, ... or
    `budget`. tries: of targets that have failed."""

    def __init__(self, names: Collection[str]) -> None:
        """names: that stand in the settings."""
        self._names = frozenset(names)
        self._learned: set[str] = set()
        self._found: dict[tuple[str, str, str, bool, int, bool], Series] = {}
        self._series: dict[Kind, Series] = {}
        self._ended: list[tuple[UsageRow, float, float | None]] = []
        self.outside: Counter[Outside] = Counter()
        self.refused: Counter[str] = Counter()
        self.tries: Counter[Tries] = Counter()

    @property
    def series(self) -> Iterable[Series]:
        self._count()
        return self._series.values()

    def ended(self, ending: "Ending", row: "UsageRow") -> None:
        started, first = ending.entry.started, ending.entry.first_at
        self._ended.append((row, ending.ended - started, first - started if first is not None else None))
        if len(self._ended) >= AT_ONCE:
            self._count()

    def _count(self) -> None:
        """Requests that have ended, in one go: one at a time was a microsecond dearer, of three."""
        found, ended = self._found, self._ended
        for row, seconds, first in ended:
            status = row.status
            series = found.get((row.endpoint, row.model, row.backend, row.cache_hit, status, row.batch))
            series = series or self._find(row)
            it = series.seconds
            it.counts[bisect_left(SECONDS, seconds)] += 1
            it.sum += seconds
            cached = row.cached_tokens
            prompt = (
                row.input_tokens + cached + row.cache_write_tokens + row.input_audio_tokens + row.input_image_tokens
            )
            answer = row.output_tokens + row.output_audio_tokens + row.output_image_tokens
            if prompt:
                it = series.input
                it.counts[bisect_left(TOKENS, prompt)] += 1
                it.sum += prompt
                series.cached += cached
            if answer:
                it = series.output
                it.counts[bisect_left(TOKENS, answer)] += 1
                it.sum += answer
            if first is not None and row.stream:
                it = series.first
                it.counts[bisect_left(FIRST_SECONDS, first)] += 1
                it.sum += first
                if answer > 1:
                    it, each = series.per_token, (seconds - first) / (answer - 1)
                    it.counts[bisect_left(TOKEN_SECONDS, each)] += 1
                    it.sum += each
            if row.cost_pico:
                series.cost += row.cost_pico
            if row.saved_pico:
                series.saved += row.saved_pico
        ended.clear()

    def aside(self, aside: Aside) -> None:
        self._count()  # in the order in which they ended: it teaches names
        model = self._shown(aside.model, answered=False) if aside.model else ""
        self.outside[Outside(aside.endpoint, model, aside.status)] += 1
        if isinstance(aside.error, InsufficientQuota):
            self.refused["budget"] += 1
        elif isinstance(aside.error, RateLimited):
            self.refused[aside.error.kind] += 1

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        self.tries[Tries(entry.target.name if entry.target is not None else "", status_of(error), then)] += 1

    def _find(self, row: "UsageRow") -> Series:
        """A name without a series of its own is not remembered: there may be any number of them."""
        model = self._shown(row.model, answered=row.status == 200)
        provider = CACHE if row.cache_hit else row.backend
        kind = Kind(row.endpoint, OPERATIONS.get(row.endpoint, row.endpoint), model, provider, row.status, row.batch)
        series = self._series.get(kind)
        if series is None:
            series = self._series[kind] = Series(kind)
        if model == row.model:
            self._found[row.endpoint, row.model, row.backend, row.cache_hit, row.status, row.batch] = series
        return series

    def _shown(self, model: str, *, answered: bool) -> str:
        if model in self._names or model in self._learned:
            return model
        if answered and len(self._learned) < MOST_LEARNED:
            self._learned.add(model)
            return model
        return OTHER
