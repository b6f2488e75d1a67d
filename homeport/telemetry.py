"""The part of the composition root that watches: what is counted and seen, under the names that it is shown by.

What the hot path counts is `gateway/meters.py`'s. Everything else is asked for when somebody looks, of those who know
it anyway. Names are OpenTelemetry's where it has one for the thing, in Prometheus' spelling.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from homeport import __version__, clock, process
from homeport.api.exposition import Buckets, Family, Samples
from homeport.backends.engine_room import Lent
from homeport.backends.held import Held
from homeport.gateway.cache import Cache
from homeport.gateway.meters import Histogram, Meters, Series
from homeport.store import journal

if TYPE_CHECKING:
    from homeport.books import Books
    from homeport.durable import Durable

PICO = 10**12
#: The event loop is looked at this often.
LOOK_SECONDS = 0.25
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

_MODEL, _PROVIDER = "gen_ai_request_model", "gen_ai_provider_name"
_BATCH = "homeport_batch"
_GEN_AI = ("gen_ai_operation_name", _MODEL, _PROVIDER, "error_type", _BATCH)
_STATUS = "http_response_status_code"

FAMILIES = (
    Family("gen_ai_server_request_duration_seconds", "histogram", "Of admitted requests, to their end.", _GEN_AI),
    Family("gen_ai_server_time_to_first_token_seconds", "histogram", "Of streams, to their first frame.", _GEN_AI),
    Family(
        "gen_ai_server_time_per_output_token_seconds",
        "histogram",
        "Of streams, after their first frame, by the tokens of the answer less one.",
        _GEN_AI,
    ),
    Family(
        "gen_ai_client_token_usage",
        "histogram",
        "Tokens of prompts (`input`) and of answers (`output`).",
        ("gen_ai_token_type", *_GEN_AI),
    ),
    Family(
        "homeport_requests",
        "counter",
        "Every request that was answered, refused ones too; 499: its client left.",
        ("endpoint", _MODEL, _STATUS),
    ),
    Family("homeport_requests_in_flight", "gauge", "Requests that are admitted and have not ended."),
    Family(
        "homeport_cached_input_tokens",
        "counter",
        "Of the tokens of prompts, those that the upstream or the engine read from its cache.",
        (_MODEL, _PROVIDER),
    ),
    Family("homeport_cost_usd", "counter", "US dollars, as the ledger has them.", (_MODEL, _PROVIDER)),
    Family(
        "homeport_batch_lines",
        "counter",
        "Of the requests that were admitted, the lines of batches; one counts as often as it is tried again.",
        (_MODEL, _STATUS),
    ),
    Family("homeport_saved_usd", "counter", "US dollars that answers from the cache would have cost.", (_MODEL,)),
    Family(
        "homeport_limited",
        "counter",
        "Requests that were refused with 429 here. limit: `requests`, `tokens`, ..., or `budget`.",
        ("limit",),
    ),
    Family(
        "homeport_failed_tries",
        "counter",
        "Times that a target failed before its first byte. then: `retry` it, `fallback` to the next, or `none`.",
        (_PROVIDER, _STATUS, "then"),
    ),
    Family(
        "homeport_upstream_families",
        "gauge",
        "Families of models by how a door of an upstream is for them: `closed` (well), `open`, `half_open` (its "
        "breaker), `resting` (as it has asked), `refused` (its key).",
        (_PROVIDER, "door", "state"),
    ),
    Family(
        "homeport_cache_requests",
        "counter",
        "What came of asking the cache: `hit`, `shared` with a request that ran, `semantic`, `partial`, `miss`, "
        "`refreshed`, `bypassed`.",
        ("result",),
    ),
    Family("homeport_cache_entries", "gauge", "Answers in the cache of this process."),
    Family("homeport_cache_bytes", "gauge", "Memory that they take."),
    Family("homeport_cache_max_bytes", "gauge", "Memory that they may take."),
    Family("homeport_ledger_rows_waiting", "gauge", "Rows of the ledger that wait in memory for the database."),
    Family("homeport_ledger_spill_bytes", "gauge", "Of the rows that wait on disk for it."),
    Family(
        "homeport_journal_slots", "gauge", "Slots of the journal that are taken: requests that run, rows that wait."
    ),
    Family("homeport_journal_max_slots", "gauge", "Slots that it may have: when all are taken, requests are refused."),
    Family(
        "homeport_store_up",
        "gauge",
        "1: it answered when it was asked last. store: `database`, `ledger` (where rows are written), `redis`.",
        ("store",),
    ),
    Family(
        "homeport_jobs",
        "counter",
        "Jobs of the queue in this process: `claimed`, `retried` (claimed again), `failed`, `given_up`, `lost`.",
        ("lane", "kind", "event"),
    ),
    Family("homeport_jobs_waiting", "gauge", "Jobs of all processes that wait, for a worker or their time.", ("lane",)),
    Family("homeport_jobs_running", "gauge", "Jobs of all processes that a worker has.", ("lane",)),
    Family(
        "homeport_jobs_oldest_seconds",
        "gauge",
        "Since when the one that waits longest could be begun.",
        ("lane",),
    ),
    Family("homeport_model_ready", "gauge", "1: the model of this machine answers.", (_MODEL,)),
    Family(
        "homeport_engine_places",
        "gauge",
        "Requests (of embeddings: inputs) that an engine takes at once; lines of batches, while these are more.",
        (_MODEL, "engine"),
    ),
    Family("homeport_engine_places_busy", "gauge", "Of them, those that it works on now.", (_MODEL, "engine")),
    Family("homeport_engine_places_batch", "gauge", "Of those, lines of batches.", (_MODEL, "engine")),
    Family(
        "homeport_engine_waiting", "gauge", "Requests that wait for a place; no lines of batches.", (_MODEL, "engine")
    ),
    Family(
        "homeport_engine_progress",
        "gauge",
        "Of the picture that is being drawn, the share that is done, 0 to 1; nothing while there is none.",
        (_MODEL, "engine"),
    ),
    Family(
        "homeport_engine_memory_bytes",
        "gauge",
        "Resident memory that an engine took when it was loaded; all of it where it is a process of its own.",
        (_MODEL, "engine"),
    ),
    Family("homeport_ready", "gauge", "1: /readyz says 200."),
    Family("homeport_event_loop_delay_seconds", "histogram", "How late the event loop is, four times a second."),
    Family("homeport_build_info", "gauge", "1.", ("version", "python_version")),
    Family("process_cpu_seconds", "counter", "User and system time."),
    Family("process_resident_memory_bytes", "gauge", "Resident memory."),
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory."),
    Family("process_open_fds", "gauge", "Open file descriptors."),
    Family("process_max_fds", "gauge", "The most that there may be."),
    Family("process_start_time_seconds", "gauge", "Unix time since which everything here is counted."),
)

_CLIENT_ERROR = 400


class Seen(NamedTuple):
    """What is looked at when somebody asks. ready: what /readyz would say."""

    held: Mapping[str, Held | Lent]
    upstreams: Sequence[Any]
    books: "Books"
    durable: "Durable"
    cache: Cache | None
    ready: Callable[[], bool]


class Numbers:
    """All families with what they are now, in their order. Those that have nothing to show are left out."""

    def __init__(self, meters: Meters, seen: Seen) -> None:
        self._meters = meters
        self._seen = seen
        self._delay = Histogram(DELAYS)
        self._started_at = clock.now()

    async def watch(self) -> None:
        """How late the event loop is, until cancelled."""
        while True:
            due = clock.monotonic() + LOOK_SECONDS
            await clock.sleep(LOOK_SECONDS)
            self._delay.observe(max(0.0, clock.monotonic() - due))

    def __call__(self) -> Iterator[tuple[Family, Samples]]:
        found: dict[str, Samples] = {
            **self._gen_ai(),
            **self._counted(),
            **self._of_upstreams(),
            **self._of_cache(),
            **self._of_books(),
            **self._of_jobs(),
            **_of_engines(self._seen.held),
            **self._of_process(),
        }
        return _shown(found)

    def _gen_ai(self) -> dict[str, Samples]:
        duration: dict[tuple[str, ...], Buckets] = {}
        first: dict[tuple[str, ...], Buckets] = {}
        per_token: dict[tuple[str, ...], Buckets] = {}
        tokens: dict[tuple[str, ...], Buckets] = {}
        for series in self._meters.series:
            labels = _gen_ai(series)
            duration[labels] = series.seconds
            for kept, histogram, more in (
                (first, series.first, ()),
                (per_token, series.per_token, ()),
                (tokens, series.input, ("input",)),
                (tokens, series.output, ("output",)),
            ):
                if any(histogram.counts):
                    kept[(*more, *labels)] = histogram
        return {
            "gen_ai_server_request_duration_seconds": duration.items(),
            "gen_ai_server_time_to_first_token_seconds": first.items(),
            "gen_ai_server_time_per_output_token_seconds": per_token.items(),
            "gen_ai_client_token_usage": tokens.items(),
        }

    def _counted(self) -> dict[str, Samples]:
        meters = self._meters
        requests: Counter[tuple[str, ...]] = Counter()
        cached: Counter[tuple[str, ...]] = Counter()
        cost: Counter[tuple[str, ...]] = Counter()
        lines: Counter[tuple[str, ...]] = Counter()
        saved: Counter[tuple[str, ...]] = Counter()
        for series in meters.series:
            kind = series.kind
            requests[kind.endpoint, kind.model, str(kind.status)] += sum(series.seconds.counts)
            if kind.batch:
                lines[kind.model, str(kind.status)] += sum(series.seconds.counts)
            cached[kind.model, kind.provider] += series.cached
            cost[kind.model, kind.provider] += series.cost
            saved[kind.model,] += series.saved
        for outside, count in meters.outside.items():
            requests[outside.endpoint or "unknown", outside.model, str(outside.status)] += count
        return {
            "homeport_requests": requests.items(),
            "homeport_batch_lines": lines.items(),
            "homeport_requests_in_flight": _alone(self._seen.books.ledger.watchers.running),
            "homeport_cached_input_tokens": _some(cached),
            "homeport_cost_usd": [(labels, pico / PICO) for labels, pico in _some(cost)],
            "homeport_saved_usd": [(labels, pico / PICO) for labels, pico in _some(saved)],
            "homeport_limited": [((limit,), count) for limit, count in meters.refused.items()],
            "homeport_failed_tries": [
                ((tries.provider, str(tries.status), tries.then), count) for tries, count in meters.tries.items()
            ],
        }

    def _of_upstreams(self) -> dict[str, Samples]:
        """Families of models are clients' to name, so they are counted and not told."""
        states = (state for upstream in self._seen.upstreams for state in upstream.states())
        families = Counter((one.upstream, str(one.door), one.state) for one in states)
        return {"homeport_upstream_families": families.items()}

    def _of_cache(self) -> dict[str, Samples]:
        if self._seen.cache is None:
            return {}
        told = self._seen.cache.told()
        results = {name: told[name] for name in ("shared", "semantic", "partial", "refreshed", "bypassed")}
        results |= {"hit": told["hits"] - told["shared"] - told["semantic"], "miss": told["misses"]}
        return {
            "homeport_cache_requests": [((result,), count) for result, count in results.items()],
            "homeport_cache_entries": _alone(told["entries"]),
            "homeport_cache_bytes": _alone(told["bytes"]),
            "homeport_cache_max_bytes": _alone(told["max_bytes"]),
        }

    def _of_books(self) -> dict[str, Samples]:
        health = self._seen.books.health()
        return {
            "homeport_ledger_rows_waiting": _alone(health.rows_waiting),
            "homeport_ledger_spill_bytes": _alone(health.spilled),
            "homeport_journal_slots": _alone(health.slots),
            "homeport_journal_max_slots": _alone(journal.MOST),
            "homeport_store_up": [((store,), int(up)) for store, up in health.up.items()],
        }

    def _of_jobs(self) -> dict[str, Samples]:
        depths = self._seen.durable.depths.items()
        counts = self._seen.durable.counts
        return {
            "homeport_jobs": [((event.lane, event.kind, event.what), count) for event, count in counts.items()],
            "homeport_jobs_waiting": [((lane,), depth.queued) for lane, depth in depths],
            "homeport_jobs_running": [((lane,), depth.running) for lane, depth in depths],
            "homeport_jobs_oldest_seconds": [((lane,), depth.oldest) for lane, depth in depths],
        }

    def _of_process(self) -> dict[str, Samples]:
        return {
            "homeport_ready": _alone(int(self._seen.ready())),
            "homeport_event_loop_delay_seconds": [((), self._delay)],
            **_of_process(self._started_at),
        }

    async def collect(self) -> Iterator[tuple[Family, Samples]]:
        return self()


class EngineNumbers:
    """Of a process that holds the models of this machine, and does nothing else."""

    def __init__(self, held: Mapping[str, Held]) -> None:
        self._held = held
        self._started_at = clock.now()

    def __call__(self) -> Iterator[tuple[Family, Samples]]:
        return _shown({**_of_engines(self._held), **_of_process(self._started_at)})


def _shown(found: Mapping[str, Samples]) -> Iterator[tuple[Family, Samples]]:
    return ((family, found[family.name]) for family in FAMILIES if found.get(family.name))


def _of_engines(held: Mapping[str, Held | Lent]) -> dict[str, Samples]:
    used = [((name, one.engine), one) for name, model in held.items() for one in model.occupancy()]
    return {
        "homeport_model_ready": [((name,), int(model.state == "ready")) for name, model in held.items()],
        "homeport_engine_places": [(labels, one.places) for labels, one in used],
        "homeport_engine_places_busy": [(labels, one.busy) for labels, one in used],
        "homeport_engine_places_batch": [(labels, one.lines) for labels, one in used],
        "homeport_engine_waiting": [(labels, one.waiting) for labels, one in used],
        "homeport_engine_progress": [(labels, one.progress) for labels, one in used if one.progress is not None],
        "homeport_engine_memory_bytes": [
            (labels, one.memory_bytes) for labels, one in used if one.memory_bytes is not None
        ],
    }


def _of_process(started_at: float) -> dict[str, Samples]:
    return {
        "homeport_build_info": [((__version__, platform.python_version()), 1)],
        "process_start_time_seconds": _alone(started_at),
        **{name: _alone(value) for name, value in process.seen().items()},
    }


def _gen_ai(series: Series) -> tuple[str, ...]:
    kind = series.kind
    error = str(kind.status) if kind.status >= _CLIENT_ERROR else ""
    return kind.operation, kind.model, kind.provider, error, "true" if kind.batch else ""


def _alone(value: float) -> Samples:
    return [((), value)]


def _some(counted: Mapping[tuple[str, ...], int]) -> Sequence[tuple[tuple[str, ...], int]]:
    return [(labels, count) for labels, count in counted.items() if count]
