"""The composition root: settings in, a wired application out. Nothing else builds things.

    settings -> backends -> router ------------------\
    database -> accounts -> keyring ------------------ StraightLine -> Exchange -> lane and routes
    journal -> ledger -> usage log; shared -> limits -/
    database -> changes -> the control plane ----------> the Admin API's routes
    database -> queue -> worker -> StraightLine: durable.py
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from homeport import clock
from homeport.api import engine_room, metrics
from homeport.api import status as howitis
from homeport.api.application import application, lane_routes
from homeport.api.azure import AzureDialect
from homeport.api.exchange import Exchange
from homeport.api.images import MadeImages
from homeport.api.lane import LaneProtocol, lane_protocol
from homeport.api.models import Models
from homeport.api.openai import OpenAIDialect
from homeport.api.ops import Ops
from homeport.backends.engine_room import EngineRoom
from homeport.backends.held import Held
from homeport.backing import Local, Room, able, backing, local, local_models, weights
from homeport.errors import SettingsError
from homeport.gateway import attempts
from homeport.gateway.access_log import AccessLog
from homeport.gateway.cache import Cache
from homeport.gateway.cache_policy import Policy
from homeport.gateway.configurations import Configurations
from homeport.gateway.content_filter import ContentFilter
from homeport.gateway.entra import Entra
from homeport.gateway.image_addresses import Beginnings, ImageAddresses
from homeport.gateway.incidents import Incidents
from homeport.gateway.kept import Store
from homeport.gateway.keyring import Keyring
from homeport.gateway.meters import Meters
from homeport.gateway.pipeline import Step, StraightLine
from homeport.gateway.recent import Recent
from homeport.gateway.recording import Recorder
from homeport.gateway.recordings import Recordings
from homeport.gateway.rehearsal import Rehearsal
from homeport.gateway.routing import Router
from homeport.gateway.scrub import Scrub
from homeport.gateway.semantic import Semantic
from homeport.gateway.storing import Storing
from homeport.gateway.tracing import Tracing
from homeport.gateway.watching import Watcher, Watchers
from homeport.settings import Server, Settings, admin_key, first_key
from homeport.siblings import Gathering, Siblings
from homeport.status import EngineStatus, Status
from homeport.store import restoring
from homeport.telemetry import EngineNumbers, Numbers, Seen

if TYPE_CHECKING:
    from homeport.books import Books
    from homeport.durable import Durable
    from homeport.gateway.tuned import TunedModels

log = logging.getLogger("homeport")


@dataclass
class App:
    """What `homeport serve` runs, in this order: open() brings the databases up to date and reads keys and limits,
    start() loads the models (the port answers meanwhile), watch() keeps an eye on changes, close() lets go of all."""

    asgi: ASGIApp
    http: type[LaneProtocol]
    router: Router
    line: StraightLine
    held: Mapping[str, Local]
    upstreams: Sequence[Any]
    books: "Books"
    durable: "Durable"
    cache: Cache | None
    recorder: Recorder | None
    ops: Ops
    numbers: Numbers | None
    tracing: Tracing | None
    room: EngineRoom | None
    gathering: Gathering | None
    status: Status
    tuned: "TunedModels"
    has_dashboard: bool

    async def open(
        self, preset: str | None = None, *, admin: str | None = None, refuse_without_key: str | None = None
    ) -> str | None:
        """preset, admin: keys that the operator chose, for everything and for the Admin API alone.

        Returns a newly made first key, to be shown once. Raises SettingsError, Unavailable.
        """
        made = await self.books.open(preset, admin, refuse_without_key=refuse_without_key)
        await self.durable.open()
        return made

    async def join(self) -> None:
        """In place of open(), in a process beside one that has opened."""
        await self.books.join()
        await self.durable.join()

    async def enlist(self) -> None:
        """In place of open(), in a process that answers nobody and so makes no key."""
        await self.books.upgrade()
        await self.books.join()
        await self.durable.open()

    async def start(self) -> None:
        for upstream in self.upstreams:
            await upstream.start()
        await _load(self.held)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.books.watch())
            group.create_task(self.durable.watch())
            group.create_task(self.tuned.watch())
            group.create_task(self.status.watch())
            if self.numbers is not None:
                group.create_task(self.numbers.watch())
            if self.room is not None:
                group.create_task(self.room.watch())
            if self.gathering is not None:
                group.create_task(self.gathering.watch())

    def drain(self) -> None:
        self.ops.draining = True
        self.durable.drain()

    async def drained(self) -> None:
        await self.durable.drained()

    async def close(self) -> None:
        for backend in (*self.held.values(), *self.upstreams):
            await backend.close()
        if self.room is not None:
            await self.room.close()
        if self.cache is not None:
            await self.cache.close()
        if self.recorder is not None:
            log.info("%s", self.recorder.told())
        await self.durable.close()
        await self.books.close()
        if self.tracing is not None:
            await self.tracing.close()


@dataclass
class Engines:
    """What runs in the engine room: the models of this machine, and nothing else of Homeport."""

    asgi: ASGIApp
    http: type[LaneProtocol]
    held: Mapping[str, Held]
    gathering: Gathering | None = None
    status: EngineStatus | None = None

    async def start(self) -> None:
        await _load(self.held)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self.gathering is not None:
                group.create_task(self.gathering.watch())
            if self.status is not None:
                group.create_task(self.status.watch())

    def drain(self) -> None:
        """Nobody else asks whether they are ready: their workers have ended before them."""

    async def drained(self) -> None:
        """They do nothing by themselves."""

    async def close(self) -> None:
        for held in self.held.values():
            await held.close()


async def _load(models: Mapping[str, Local]) -> None:
    async with asyncio.TaskGroup() as group:
        for name, held in models.items():
            group.create_task(_load_one(name, held))


async def _load_one(name: str, held: Local) -> None:
    began = clock.monotonic()
    await held.start()
    if held.state == "ready":
        log.info("%s is ready after %.1f s", name, clock.monotonic() - began)
    elif held.state == "missing":
        log.info("%s", held.reason)  # whoever needs it is told so, and how to bring it
    else:
        log.warning("%s", held.reason)


def build_engines(settings: Settings, names: Iterable[str], siblings: Siblings | None = None) -> Engines:
    """names: of the models. Raises SettingsError."""
    models = local_models(settings)
    held: dict[str, Held] = {}
    for name in names:
        held[name] = local(name, models[name], settings, held)
    http = engine_room.lane(held, largest_body=settings.server.max_body_mb * 2**20)
    status = EngineStatus(held, siblings) if siblings is not None else None
    gathering = None
    if siblings is not None and settings.telemetry.metrics != "off":
        gathering = Gathering(EngineNumbers(held), siblings)
    return Engines(engine_room.application(held), http, held, gathering, status)


def build(settings: Settings, *, room: Room | None = None, siblings: Siblings | None = None) -> App:
    """room: where this process holds no model with weights. siblings: the others on its port, where there are.

    Raises SettingsError. Touches no network and loads no model.
    """
    from homeport.api import control  # with them comes SQLAlchemy, which `homeport --version` must not wait for
    from homeport.batching import Gateway
    from homeport.books import Books, TiersShown
    from homeport.durable import Durable
    from homeport.gateway.tuned import TunedModels
    from homeport.store.adapters import Adapters

    organization = settings.server.organization
    restoring.check(settings.data)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    books = Books(settings)
    watched = settings.telemetry.metrics != "off"
    held, upstreams, router, fetcher, engines, voices, descriptions, capabilities = backing(settings, room)
    recorder = _recorder(settings, attempts.answer)
    ask = recorder.answer if recorder is not None else attempts.answer
    cache = _cache(settings, ask, books, held) if recorder is None else None
    meters = Meters([listed.id for listed in router.listed()]) if watched else None
    access_log = AccessLog() if settings.server.access_log else None
    tracing = Tracing(settings.telemetry) if settings.telemetry.otlp_endpoint is not None else None
    incidents = Incidents()
    watching: list[Watcher] = [one for one in (meters, access_log, tracing, incidents) if one is not None]
    watchers = books.ledger.watchers = Watchers(watching)
    addresses = ImageAddresses(cache.answer if cache is not None else ask, Beginnings(settings.server))
    content_filter = ContentFilter(addresses.answer)
    storing = Storing(content_filter.answer)
    line = StraightLine(
        router=router,
        budgets=books.budgets,
        limits=books.limits,
        ledger=books.ledger,
        answer=Rehearsal(storing.answer, allowed=settings.faults.allowed).answer,
    )
    content_filter.line = line
    durable = Durable(
        settings,
        books.database,
        idempotency=books.idempotency,
        sessions=books.sessions,
        gateway=Gateway(line, router, books.limits, books.accounts.current, books.training_bills, upstreams),
        fetcher=fetcher,
        watched=watched,
    )
    addresses.images = durable.images
    storing.completions = durable.completions
    tuned = TunedModels(
        books.accounts.current,
        Adapters(durable.blobs, settings.data / "adapters"),
        books.accounts.load,
        held=held,
        through=router.through,
        organization=organization,
    )
    if held:  # in replay nobody answers but the recordings
        router.tuned = tuned
    exchange = Exchange(line, books.idempotency, organization=organization, watchers=watchers, tracing=tracing)
    responses = Exchange(
        durable.response_line, books.idempotency, organization=organization, watchers=watchers
    )  # its turns are traced, each by itself
    keyring = Keyring(books.accounts.current)
    openai = OpenAIDialect(keyring)
    largest_body = settings.server.max_body_mb * 2**20
    entra = Entra(settings.entra, lambda name: books.accounts.current().caller(name))
    ops = Ops(lambda: {name: one.state for name, one in held.items()}, books.refusing)
    looked_at = Seen(held, tuple(upstreams.values()), books, durable, cache, lambda: not ops.not_ready())
    numbers = Numbers(meters, looked_at) if meters is not None else None
    gathering = Gathering(numbers, siblings) if numbers is not None and siblings is not None else None
    status = Status(
        settings,
        looked_at,
        router,
        upstreams=upstreams,
        weights=weights(settings) if held else {},
        capabilities=capabilities,
        not_ready=ops.not_ready,
        recent=Recent(meters) if meters is not None else None,
        incidents=incidents,
        siblings=siblings,
    )
    asgi = application(
        exchange=exchange,
        responses=responses,
        openai=openai,
        azure=AzureDialect(keyring, entra),
        models=Models(
            router,
            openai,
            created=int(clock.now()),
            voices=voices,
            descriptions=descriptions,
            capabilities=capabilities,
            state=lambda name: (held[name].state, held[name].reason),
        ),
        ops=ops,
        control=[
            *control.routes(
                keyring,
                changes=books.changes,
                tiers=TiersShown(books.tiers, lambda: books.accounts.snapshot.tier, router),
                spent=books.spent,
                usage=books.usage,
                find=books.find,
                used=books.accounts.used,
                newest=books.newest,
                fullness=books.fullness(router),
                organization=organization,
                kept=cache,
                moderation=settings.moderation,
            ),
            *howitis.routes(keyring, status.collect),
            *_metrics(settings, keyring, gathering or numbers),
            *MadeImages(durable.images).routes(),
        ],
        owned=durable.operations(),
        idempotency=books.idempotency,
        organization=organization,
        largest_body=largest_body,
        staged=durable.blobs.staged,
        largest_file=lambda one: (settings.images if one.draws else settings.audio).max_file_mb * 2**20,
        references=durable.references,
        watchers=watchers,
    )
    if settings.dashboard.enabled:
        asgi = _dashboard(asgi, settings.server, keyring, books)
    http = lane_protocol(
        exchange,
        lane_routes(openai),
        largest_body=largest_body,
        most_connections=settings.server.max_connections,
        behind_tls_proxy=settings.server.behind_tls_proxy,
    )
    return App(
        asgi=asgi,
        http=http,
        router=router,
        line=line,
        held=held,
        upstreams=tuple(upstreams.values()),
        books=books,
        durable=durable,
        cache=cache,
        recorder=recorder,
        ops=ops,
        numbers=numbers,
        tracing=tracing,
        room=engines,
        gathering=gathering,
        status=status,
        tuned=tuned,
        has_dashboard=settings.dashboard.enabled,
    )


def _dashboard(api: ASGIApp, server: Server, keyring: Keyring, books: "Books") -> ASGIApp:
    from homeport.control.sign_ins import SignIns
    from homeport.dashboard.application import Dashboard  # with it come templates

    public = server.public_url or ""
    secure = server.tls_cert is not None or server.behind_tls_proxy or public.startswith("https:")
    sessions, sign_ins = books.sessions, SignIns(books.changes)
    return Dashboard(
        api, keyring=keyring, sessions=sessions, sign_ins=sign_ins, secure=secure, public_url=server.public_url
    )


def _metrics(settings: Settings, keyring: Keyring, numbers: Numbers | Gathering | None) -> Sequence[BaseRoute]:
    audience = settings.telemetry.metrics
    if numbers is None or audience == "off":
        return []
    if audience == "local" and settings.server.behind_tls_proxy:
        audience = "admin"  # the proxy may be on this machine, and then everybody comes from there
    token = settings.telemetry.metrics_token
    return metrics.routes(metrics.Metrics(keyring, numbers.collect, audience=audience, token=token))


def _cache(settings: Settings, ask: Step, books: "Books", held: Mapping[str, Local]) -> Cache | None:
    """The step before `ask`, unless the settings leave nothing for it to do. Raises SettingsError."""
    policy = Policy(settings.cache)
    if not policy.unasked and not policy.by_request:
        return None
    semantic = _semantic(settings, held) if settings.cache.semantic.enabled else None
    shared = books.shared if settings.redis_url is not None else None
    max_bytes = settings.cache.max_mb * 2**20
    store = Store(max_bytes=max_bytes, shared=shared, process_seconds=settings.cache.process_seconds)
    return Cache(ask, policy, store, Configurations(settings).of, semantic)


def _semantic(settings: Settings, held: Mapping[str, Local]) -> Semantic:
    """Raises SettingsError: there is no model that makes the vectors."""
    vectors = able(settings, held, "embed")
    name = settings.cache.semantic.model or next(iter(vectors), None)
    if name is None or name not in vectors:
        which = f"{name!r} is no model of this machine that makes" if name else "no model of this machine makes"
        raise SettingsError(f"cache.semantic: {which} vectors. Those that do: {', '.join(vectors) or 'none'}.")
    if held[name].state == "missing":
        raise SettingsError(f"cache.semantic: {held[name].reason}")
    return Semantic(settings.cache.semantic, held[name].vector)


def _recorder(settings: Settings, ask: Step) -> Recorder | None:
    """The step before `ask`, where answers are recorded or replayed. Raises SettingsError."""
    chosen = settings.recording
    if chosen.record is None and chosen.replay is None:
        return None
    known = [secret for one in settings.upstreams.values() for secret in (one.api_key, *one.api_keys, one.bearer_token)]
    try:
        scrub = Scrub([*known, first_key(), admin_key()], chosen.secrets)
    except re.error as error:
        raise SettingsError(f"recording.secrets: {error.pattern!r} is no regular expression: {error}.") from None
    if chosen.replay is not None and chosen.record is None and not Path(chosen.replay).expanduser().is_dir():
        raise SettingsError(
            f"There is no folder {chosen.replay!r} to replay. Record it first: --record {chosen.replay}"
        )
    record, replay = (Recordings(Path(one).expanduser()) if one else None for one in (chosen.record, chosen.replay))
    return Recorder(ask, scrub, record=record, replay=replay, ignore=chosen.ignore, speed=chosen.speed)
