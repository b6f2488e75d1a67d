"""How the server is: `GET /v1/homeport/status`. OpenAI has no word for it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

Health = Literal["ok", "degraded", "unavailable"]
#: `cooling`: left alone for a moment by its circuit breaker, or as it has asked, or for some models only.
#: `unknown`: nobody has asked it since the start.
Backing = Literal["up", "cooling", "down", "unknown"]


class Figures(Struct):
    """Of the last `seconds`. error_rate: of requests, those that were answered with 5xx; null: there were none.
    failed_tries: before the first byte; a retry or a fallback may have made them good. Seconds: to the end, to the
    first token of streams; null: nothing was measured. requests, errors, failed_tries: null where one may not see how
    much others ask."""

    requests: int | None
    errors: int | None
    failed_tries: int | None
    error_rate: float | None
    seconds_p50: float | None
    seconds_p95: float | None
    first_token_seconds_p50: float | None


class Family(Struct):
    """Of models, by its name. state: of the circuit breaker (`closed`: well, `open`, `half_open`), or `resting` (as the
    upstream has asked), or `refused` (its key). seconds: until it is asked again."""

    family: str
    state: str
    seconds: float


class Door(Struct):
    """An address with a credential."""

    door: int
    base_url: str | None
    families: Sequence[Family]


class Upstream(Struct):
    """waiting: requests, for a connection or its rate limit; most_waiting: that may."""

    name: str
    kind: str
    state: Backing
    in_flight: int | None
    waiting: int | None
    most_waiting: int
    recent: Figures
    doors: Sequence[Door]


class Model(Struct):
    """Of this machine. engines: that run it, the preferred one first. weights_bytes: of its files; null: it
    has none. memory_bytes: resident, that its engines took when they were loaded, and all of those that are processes
    of their own; null: none is loaded, or the system does not tell. places: requests that it works on at once, and busy
    of them; null: any number. progress: of a picture that is being drawn."""

    id: str
    state: str
    reason: str | None
    engines: Sequence[str]
    capabilities: Sequence[str]
    weights_bytes: int | None
    memory_bytes: int | None
    places: int | None
    busy: int
    waiting: int
    most_waiting: int
    progress: float | None
    recent: Figures


class Answering(Struct):
    """backend: an upstream's name, or `local`."""

    backend: str
    model: str


class Name(Struct):
    """A model's name, and what answers to it, in this order. `*`: every other one."""

    id: str
    answers: Sequence[Answering]


class Process(Struct):
    """name: `worker-1`, `engines`; `server` where there is one process. memory_bytes: resident; null: the system does
    not tell."""

    name: str
    pid: int
    started_at: float
    memory_bytes: int | None
    cpu_seconds: float
    in_flight: int


class Server(Struct):
    """refused: by limits, of the last `seconds`. not_told: processes that were asked and did not answer."""

    version: str
    python: str
    started_at: float
    ready: bool
    workers: int
    in_flight: int | None
    recent: Figures
    refused: Mapping[str, int] | None
    processes: Sequence[Process]
    not_told: Sequence[str]


class Lane(Struct):
    """Of the queue. oldest_seconds: since when the one that waits longest could be begun."""

    lane: str
    waiting: int
    running: int
    oldest_seconds: float


class Store(Struct):
    """name: `database`, `ledger` (where requests are recorded), `redis`."""

    name: str
    kind: str
    up: bool


class Ledger(Struct):
    """Requests that are recorded and wait for the database: in memory, on disk; slots of the journal that are taken."""

    rows_waiting: int
    spill_bytes: int
    journal_slots: int
    journal_max_slots: int


class Disk(Struct):
    """Where the data folder is."""

    free_bytes: int
    total_bytes: int


class Incident(Struct):
    """A kind of failure. backend: who failed, `local` for a model of this machine; empty: Homeport itself. model: as it
    was asked for. status: of the error. first_at, last_at: unix seconds."""

    backend: str
    model: str
    status: int
    message: str
    count: int
    first_at: float
    last_at: float


class Problem(Struct):
    """what: `server`, `model`, `upstream`, `store`, `lane`, `disk` or `process`, and its name."""

    what: str
    name: str
    message: str


class Status(Struct):
    """What a project's key is not shown is null. seconds: that `recent` is of; null: nothing is counted."""

    status: Health
    problems: Sequence[Problem]
    seconds: float | None
    server: Server
    upstreams: Sequence[Upstream]
    models: Sequence[Model]
    names: Sequence[Name]
    stores: Sequence[Store]
    lanes: Sequence[Lane] | None
    ledger: Ledger | None
    disk: Disk | None
    incidents: Sequence[Incident] | None
    versions: Mapping[str, str]
    object: Literal["homeport.status"] = "homeport.status"
