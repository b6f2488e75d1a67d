"""The part of the composition root that says how the server is: what this process sees of itself, and what all of its
siblings do, put together for `GET /v1/homeport/status`.

Nobody is asked but the siblings and the queue: everything else is known already, or is counted for /metrics.
"""

import asyncio
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from homeport import __version__, clock, process
from homeport.api import problems
from homeport.backends import registry
from homeport.backends.held import Held
from homeport.backends.text import Occupancy
from homeport.backing import Local, Weights, local_models
from homeport.errors import Unavailable
from homeport.gateway.incidents import MOST, Incidents
from homeport.gateway.recent import Recent, Recently, Sum, figures
from homeport.gateway.routing import Router, Target
from homeport.settings import Settings
from homeport.siblings import Round, Siblings
from homeport.store import journal
from homeport.telemetry import Seen
from homeport.wire import status as wire
from homeport.wire.models import made_from

_LOCAL = "local"
#: Distributions beside the engines' whose versions matter to whoever looks for a fault.
_LIBRARIES = ("uvicorn", "uvloop", "starlette", "sqlalchemy", "redis", "psycopg", "asyncpg")


class Way(msgspec.Struct, array_like=True):
    """Of an upstream: a door, for a family of models."""

    door: int
    family: str
    state: str
    seconds: float


class Asked(msgspec.Struct, array_like=True):
    """An upstream as a process sees it."""

    busy: int
    waiting: int
    most_waiting: int
    ways: Sequence[Way]


class Told(msgspec.Struct, array_like=True):
    """What a process tells of itself. engines: of the models that it holds. up: stores that it reaches."""

    process: wire.Process
    recently: Recently | None = None
    upstreams: Mapping[str, Asked] = {}
    engines: Mapping[str, Sequence[Occupancy]] = {}
    incidents: Sequence[wire.Incident] = ()
    up: Mapping[str, bool] = {}
    waiting: tuple[int, int, int] = (0, 0, 0)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode


class EngineStatus:
    """Of a process that holds the models of this machine, and does nothing else."""

    def __init__(self, held: Mapping[str, Held], siblings: Siblings) -> None:
        self._held = held
        self._name = siblings.name
        self._started_at = clock.now()
        self._round = Round(siblings, "status", self._tell)

    async def watch(self) -> None:
        """Until cancelled."""
        await self._round.watch()

    async def _tell(self) -> bytes:
        return _encode(Told(_process(self._name, self._started_at, 0), engines=_engines(self._held)))


class Status:
    def __init__(
        self,
        settings: Settings,
        seen: Seen,
        router: Router,
        *,
        upstreams: Mapping[str, Any],
        weights: Mapping[str, Weights | None],
        capabilities: Mapping[str, Sequence[str]],
        not_ready: Callable[[], Mapping[str, str]],
        recent: Recent | None,
        incidents: Incidents,
        siblings: Siblings | None,
    ) -> None:
        """upstreams, weights, capabilities: by name. not_ready: what /readyz says. recent: None where nothing is
        counted."""
        self._settings = settings
        self._seen = seen
        self._router = router
        self._upstreams = upstreams
        self._weights = weights
        self._capabilities = capabilities
        self._not_ready = not_ready
        self._recent = recent
        self._incidents = incidents
        self._round = Round(siblings, "status", self._tell) if siblings is not None else None
        self._started_at = clock.now()
        self._known: tuple[Mapping[str, int], Mapping[str, str]] | None = None

    async def watch(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._recent is not None:
                group.create_task(self._recent.watch())
            if self._round is not None:
                group.create_task(self._round.watch())

    async def collect(self) -> wire.Status:
        """Of all processes that answer."""
        told, silent = [self._told()], list[str]()
        if self._round is not None:
            packed = await self._round.ask()
            told += [_decode(one) for one in packed.values()]
            silent = [name for name in self._round.others if name not in packed]
        if self._known is None:
            self._known = await asyncio.to_thread(self._looked_up)
        sizes, versions = self._known
        all_of = _All(told)
        not_ready = self._not_ready()
        shown = wire.Status(
            status="ok",
            problems=(),
            seconds=all_of.seconds,
            server=self._server(all_of, not_ready, silent),
            upstreams=[self._upstream(name, all_of) for name in self._upstreams],
            models=[self._model(name, held, sizes, all_of) for name, held in self._seen.held.items()],
            names=self._names(),
            stores=self._stores(all_of),
            lanes=await self._lanes(),
            ledger=all_of.ledger,
            disk=await asyncio.to_thread(_disk, self._settings.data),
            incidents=all_of.incidents,
            versions=versions,
        )
        shown.problems = problems.found(shown, not_ready)
        if shown.problems:
            shown.status = "unavailable" if not_ready else "degraded"
        return shown

    async def _tell(self) -> bytes:
        return _encode(self._told())

    def _told(self) -> Told:
        seen, health = self._seen, self._seen.books.health()
        return Told(
            _process(
                self._round.name if self._round is not None else "server",
                self._started_at,
                seen.books.ledger.watchers.running,
            ),
            self._recent.recently() if self._recent is not None else None,
            {name: self._asked(name, upstream) for name, upstream in self._upstreams.items()},
            _engines(seen.held),
            self._incidents.latest,
            health.up,
            (health.rows_waiting, health.spilled, health.slots),
        )

    def _asked(self, name: str, upstream: Any) -> Asked:
        crowd = upstream.crowd()
        ways = [Way(one.door, one.family, one.state, one.seconds) for one in upstream.states()]
        return Asked(crowd.busy, crowd.waiting, self._settings.upstreams[name].queue, ways)

    def _server(self, all_of: "_All", not_ready: Mapping[str, str], silent: Sequence[str]) -> wire.Server:
        processes = [one.process for one in all_of.told]
        return wire.Server(
            version=__version__,
            python=platform.python_version(),
            started_at=min(one.started_at for one in processes),
            ready=not not_ready,
            workers=self._settings.server.workers if self._round is not None else 1,
            in_flight=sum(one.in_flight for one in processes),
            recent=all_of.figures(all_of.sums, all_of.tries.total()),
            refused=dict(all_of.refused),
            processes=processes,
            not_told=silent,
        )

    def _upstream(self, name: str, all_of: "_All") -> wire.Upstream:
        asked = [one.upstreams[name] for one in all_of.told if name in one.upstreams]
        recent = all_of.figures([one for one in all_of.sums if one.provider == name], all_of.tries[name])
        ways = _worst(way for one in asked for way in one.ways)
        addresses = self._upstreams[name].addresses()
        return wire.Upstream(
            name=name,
            kind=self._settings.upstreams[name].kind,
            state=_state(ways, recent),
            in_flight=sum(one.busy for one in asked),
            waiting=sum(one.waiting for one in asked),
            most_waiting=sum(one.most_waiting for one in asked),
            recent=recent,
            doors=[
                wire.Door(
                    number,
                    address,
                    [wire.Family(way.family, way.state, way.seconds) for way in ways if way.door == number],
                )
                for number, address in enumerate(addresses, 1)
            ],
        )

    def _model(self, name: str, held: Local, sizes: Mapping[str, int], all_of: "_All") -> wire.Model:
        used = [engine for one in all_of.told for engine in one.engines.get(name, ())]
        weights, settings = self._weights.get(name), local_models(self._settings)[name]
        sums = [one for one in all_of.sums if one.provider == _LOCAL and self._runs(one.model) == name]
        engines = weights.engines if weights is not None else [] if settings.engine == "auto" else [settings.engine]
        return wire.Model(
            id=name,
            state=held.state,
            reason=held.reason if held.state != "ready" else None,
            engines=engines,
            capabilities=self._capabilities.get(name, ()),
            weights_bytes=sizes.get(name),
            memory_bytes=_sum(one.memory_bytes for one in used),
            places=sum(one.places for one in used) or None,
            busy=sum(one.busy for one in used),
            waiting=sum(one.waiting for one in used),
            most_waiting=settings.queue,
            progress=next((one.progress for one in used if one.progress is not None), None),
            recent=all_of.figures(sums, None),
        )

    def _runs(self, asked: str) -> str | None:
        """The model of this machine that a name leads to."""
        name = asked if asked in self._table else made_from(asked) or asked
        return next((one.model for one in self._table.get(name, ()) if one.local), None)

    @property
    def _table(self) -> Mapping[str, Sequence[Target]]:
        return self._router.table()

    def _names(self) -> list[wire.Name]:
        found = [wire.Name(name, _answering(targets)) for name, targets in self._table.items()]
        if self._router.wildcards:
            found.append(wire.Name("*", _answering(self._router.wildcards)))
        return found

    def _stores(self, all_of: "_All") -> list[wire.Store]:
        database = "PostgreSQL" if self._settings.database_url is not None else "SQLite"
        kinds = {"database": database, "ledger": database, "redis": "Redis"}
        up: dict[str, bool] = {}
        for one in all_of.told:
            up |= {name: reached and up.get(name, True) for name, reached in one.up.items()}
        return [wire.Store(name, kinds[name], reached) for name, reached in up.items()]

    async def _lanes(self) -> list[wire.Lane] | None:
        """None: the database does not tell."""
        durable = self._seen.durable
        try:
            depths = {**dict.fromkeys(durable.depths, None), **await durable.queue.depths()}
        except Unavailable:
            return None
        return [
            wire.Lane(lane, 0, 0, 0.0) if depth is None else wire.Lane(lane, depth.queued, depth.running, depth.oldest)
            for lane, depth in sorted(depths.items())
        ]

    def _looked_up(self) -> tuple[Mapping[str, int], Mapping[str, str]]:
        """Bytes of weights, and versions: they stay as they are. In a thread."""
        sizes = {name: _bytes(one.path) for name, one in self._weights.items() if one is not None and one.path}
        return sizes, _versions()


class _All:
    """What all processes have told, added up."""

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = told
        counted = [one.recently for one in told if one.recently is not None]
        self.seconds = max((one.seconds for one in counted), default=None)
        self.sums: list[Sum] = [one for told in counted for one in told.sums]
        self.refused: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        for one in counted:
            self.refused.update(one.refused)
            self.tries.update(one.tries)

    def figures(self, sums: Sequence[Sum], failed_tries: int | None) -> wire.Figures:
        """Of some of the sums; nothing is known where nothing is counted."""
        return figures(sums, failed_tries) if self.seconds is not None else wire.Figures(*[None] * 7)

    @property
    def ledger(self) -> wire.Ledger:
        rows, spilled, slots = (sum(column) for column in zip(*(one.waiting for one in self.told), strict=True))
        processes = sum(1 for one in self.told if one.up)
        return wire.Ledger(rows, spilled, slots, processes * journal.MOST)

    @property
    def incidents(self) -> list[wire.Incident]:
        """The latest first; what several processes saw is one."""
        found: dict[tuple[str, str, int, str], wire.Incident] = {}
        for incident in (incident for one in self.told for incident in one.incidents):
            key = (incident.backend, incident.model, incident.status, incident.message)
            known = found.setdefault(key, incident)
            if known is not incident:
                known.count += incident.count
                known.first_at = min(known.first_at, incident.first_at)
                known.last_at = max(known.last_at, incident.last_at)
        return sorted(found.values(), key=lambda one: one.last_at, reverse=True)[:MOST]


#: The worst first.
_STATES = ("open", "refused", "resting", "half_open", "closed")


def _worst(ways: Iterable[Way]) -> list[Way]:
    """Of each door and family, as the process sees it that has had the worst of it."""
    found: dict[tuple[int, str], Way] = {}
    for way in ways:
        known = found.get((way.door, way.family))
        if known is None or _STATES.index(way.state) < _STATES.index(known.state):
            found[way.door, way.family] = way
    return [found[key] for key in sorted(found)]


def _state(ways: Sequence[Way], recent: wire.Figures) -> wire.Backing:
    blocked = sum(way.state in _STATES[:3] for way in ways)
    if ways and blocked == len(ways):
        return "down"
    if recent.failed_tries and recent.requests == recent.errors:
        return "down"  # nothing has come of it
    if any(way.state != "closed" for way in ways):
        return "cooling"
    return "up" if ways else "unknown"


def _answering(targets: Sequence[Target]) -> list[wire.Answering]:
    return [wire.Answering(_LOCAL if one.local else one.name, one.model) for one in targets]


def _process(name: str, started_at: float, in_flight: int) -> wire.Process:
    seen = process.seen()
    memory = seen.get("process_resident_memory_bytes")
    return wire.Process(
        name,
        os.getpid(),
        started_at,
        None if memory is None else int(memory),
        round(seen["process_cpu_seconds"], 3),
        in_flight,
    )


def _engines(held: Mapping[str, Local]) -> dict[str, Sequence[Occupancy]]:
    return {name: found for name, one in held.items() if (found := one.occupancy())}


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Of those that are known; None: none is."""
    known = [one for one in numbers if one is not None]
    return sum(known) if known else None


def _bytes(path: Path) -> int:
    """Of a model: a file, or the folder of which it is the one that is served."""
    together = path.suffix != ".gguf"
    files = path.parent.rglob("*") if together else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _disk(folder: Path) -> wire.Disk:
    usage = shutil.disk_usage(folder)
    return wire.Disk(usage.free, usage.total)


def _versions() -> dict[str, str]:
    """Of what is installed, engines first."""
    engines = dict.fromkeys(needs for _, needs, _ in registry.ENGINES.values() if needs is not None)
    distributions = metadata.packages_distributions()
    found = {"homeport": __version__, "python": platform.python_version()}
    for module in (*engines, *_LIBRARIES):
        for name in distributions.get(module, ())[:1]:
            found[name] = metadata.version(name)
    return found
