"""The composition root: settings in, a wired application out. Nothing else builds things.

    settings -> backends -> router ------------------\
    database -> accounts -> keyring ------------------ StraightLine -> Exchange -> lane and routes
    journal -> ledger -> usage log; shared -> limits -/
    database -> changes -> the control plane ----------> the Admin API's routes
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from homeport import clock
from homeport.api import engine_room, metrics
from homeport.api.application import application, lane_routes
from homeport.api.azure import AzureDialect
from homeport.api.exchange import Exchange
from homeport.api.lane import LaneProtocol, lane_protocol
from homeport.api.models import Models
from homeport.api.openai import OpenAIDialect
from homeport.api.ops import Ops
from homeport.backends import models as model_files
from homeport.backends import registry
from homeport.backends.engine_room import EngineRoom, Kind, Lent
from homeport.backends.fetcher import Fetcher
from homeport.backends.held import MISSING, Held
from homeport.backends.upstreams.images import Images
from homeport.errors import SettingsError
from homeport.gateway import attempts
from homeport.gateway.access_log import AccessLog
from homeport.gateway.cache import Cache
from homeport.gateway.cache_policy import Policy
from homeport.gateway.configurations import Configurations
from homeport.gateway.entra import Entra
from homeport.gateway.kept import Store
from homeport.gateway.keyring import Keyring
from homeport.gateway.meters import Meters
from homeport.gateway.pipeline import Step, StraightLine
from homeport.gateway.recording import Played, Recorder
from homeport.gateway.recordings import Recordings
from homeport.gateway.rehearsal import Rehearsal
from homeport.gateway.retries import Retries
from homeport.gateway.routing import Router, Share, Target
from homeport.gateway.scrub import Scrub
from homeport.gateway.semantic import Semantic
from homeport.gateway.tracing import Tracing
from homeport.gateway.watching import Watcher, Watchers
from homeport.settings import (
    DEFAULT_ALIASES,
    DEFAULT_EMBEDDING_ALIASES,
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_MODEL,
    Fetch,
    Model,
    Settings,
    Upstream,
    admin_key,
    first_key,
)
from homeport.telemetry import Numbers, Seen

if TYPE_CHECKING:
    from homeport.books import Books

log = logging.getLogger("homeport")

#: A model of this machine: held here, or lent by the process that holds it.
Local = Held | Lent


@dataclass
class App:
    """What `homeport serve` runs, in this order: open() brings the databases up to date and reads keys and limits,
    start() loads the models (the port answers meanwhile), watch() keeps an eye on changes, close() lets go of all."""

    asgi: ASGIApp
    http: type[LaneProtocol]
    router: Router
    held: Mapping[str, Local]
    upstreams: Sequence[Any]
    books: "Books"
    cache: Cache | None
    recorder: Recorder | None
    ops: Ops
    numbers: Numbers | None
    tracing: Tracing | None
    room: EngineRoom | None

    async def open(
        self, preset: str | None = None, *, admin: str | None = None, refuse_without_key: str | None = None
    ) -> str | None:
        """preset, admin: keys that the operator chose, for everything and for the Admin API alone.

        Returns a newly made first key, to be shown once. Raises SettingsError, Unavailable.
        """
        return await self.books.open(preset, admin, refuse_without_key=refuse_without_key)

    async def join(self) -> None:
        """In place of open(), in a process beside one that has opened."""
        await self.books.join()

    async def start(self) -> None:
        for upstream in self.upstreams:
            await upstream.start()
        await _load(self.held)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.books.watch())
            if self.numbers is not None:
                group.create_task(self.numbers.watch())
            if self.room is not None:
                group.create_task(self.room.watch())

    def drain(self) -> None:
        self.ops.draining = True

    async def close(self) -> None:
        for backend in (*self.held.values(), *self.upstreams):
            await backend.close()
        if self.room is not None:
            await self.room.close()
        if self.cache is not None:
            await self.cache.close()
        if self.recorder is not None:
            log.info("%s", self.recorder.told())
        await self.books.close()
        if self.tracing is not None:
            await self.tracing.close()


@dataclass
class Engines:
    """What runs in the engine room: the models of this machine, and nothing else of Homeport."""

    asgi: ASGIApp
    http: type[LaneProtocol]
    held: Mapping[str, Held]

    async def start(self) -> None:
        await _load(self.held)

    async def watch(self) -> None:
        """Nothing of theirs changes by itself."""

    def drain(self) -> None:
        """Nobody else asks whether they are ready: their workers have ended before them."""

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
    else:
        log.warning("%s", held.reason)


def build_engines(settings: Settings, names: Iterable[str]) -> Engines:
    """names: of the models. Raises SettingsError."""
    models = local_models(settings)
    held = {name: _local(name, models[name], settings.data / "models") for name in names}
    http = engine_room.lane(held, largest_body=settings.server.max_body_mb * 2**20)
    return Engines(engine_room.application(held), http, held)


class Room(NamedTuple):
    """The engine room of another process: its socket, and the models that it holds, which may be none."""

    socket: Path
    models: Mapping[str, Kind]


def build(settings: Settings, *, room: Room | None = None) -> App:
    """room: where this process holds no model with weights.

    Raises SettingsError. Touches no network and loads no model.
    """
    from homeport.api import control  # with them comes SQLAlchemy, which `homeport --version` must not wait for
    from homeport.books import Books, TiersShown

    organization = settings.server.organization
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    books = Books(settings)
    engines = EngineRoom(room.socket) if room is not None and room.models else None
    held, upstreams, router = _backends(settings, room, engines)
    recorder = _recorder(settings, attempts.answer)
    ask = recorder.answer if recorder is not None else attempts.answer
    cache = _cache(settings, ask, books, held) if recorder is None else None
    meters = Meters([listed.id for listed in router.listed()]) if settings.telemetry.metrics != "off" else None
    access_log = AccessLog() if settings.server.access_log else None
    tracing = Tracing(settings.telemetry) if settings.telemetry.otlp_endpoint is not None else None
    watching: list[Watcher] = [one for one in (meters, access_log, tracing) if one is not None]
    watchers = books.ledger.watchers = Watchers(watching)
    answer = cache.answer if cache is not None else ask
    line = StraightLine(
        router=router,
        budgets=books.budgets,
        limits=books.limits,
        ledger=books.ledger,
        answer=Rehearsal(answer, allowed=settings.faults.allowed).answer,
    )
    exchange = Exchange(line, books.idempotency, organization=organization, watchers=watchers, tracing=tracing)
    keyring = Keyring(books.accounts.current)
    openai = OpenAIDialect(keyring)
    largest_body = settings.server.max_body_mb * 2**20
    entra = Entra(settings.entra, lambda name: books.accounts.current().caller(name))
    ops = Ops(lambda: {name: one.state for name, one in held.items()}, books.refusing)
    numbers = None
    if meters is not None:
        looked_at = Seen(held, tuple(upstreams.values()), books, cache, ready=lambda: not ops.not_ready())
        numbers = Numbers(meters, looked_at)
    asgi = application(
        exchange=exchange,
        openai=openai,
        azure=AzureDialect(keyring, entra),
        models=Models(router, keyring, created=int(clock.now())),
        ops=ops,
        control=[
            *control.routes(
                keyring,
                changes=books.changes,
                tiers=TiersShown(books.tiers, lambda: books.accounts.snapshot.tier, router),
                reached=books.reached,
                usage=books.usage,
                find=books.find,
                organization=organization,
                kept=cache,
            ),
            *_metrics(settings, keyring, numbers),
        ],
        organization=organization,
        largest_body=largest_body,
        watchers=watchers,
    )
    http = lane_protocol(
        exchange,
        lane_routes(openai),
        largest_body=largest_body,
        most_connections=settings.server.max_connections,
        behind_tls_proxy=settings.server.behind_tls_proxy,
    )
    return App(
        asgi, http, router, held, tuple(upstreams.values()), books, cache, recorder, ops, numbers, tracing, engines
    )


def _metrics(settings: Settings, keyring: Keyring, numbers: Numbers | None) -> Sequence[BaseRoute]:
    audience = settings.telemetry.metrics
    if numbers is None or audience == "off":
        return []
    if audience == "local" and settings.server.behind_tls_proxy:
        audience = "admin"  # the proxy may be on this machine, and then everybody comes from there
    token = settings.telemetry.metrics_token
    return metrics.routes(metrics.Metrics(keyring, numbers, audience=audience, token=token))


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
    able = _able(settings, held, "embed")
    name = settings.cache.semantic.model or next(iter(able), None)
    if name is None or name not in able:
        which = f"{name!r} is no model of this machine that makes" if name else "no model of this machine makes"
        raise SettingsError(f"cache.semantic: {which} vectors. Those that do: {', '.join(able) or 'none'}.")
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


def _backends(
    settings: Settings, room: Room | None, engines: EngineRoom | None
) -> tuple[dict[str, Local], dict[str, Any], Router]:
    """The models of this machine, the upstreams, and the way to them. In replay there is nothing behind a name."""
    if settings.recording.replay is not None and settings.recording.record is None:
        played = Played(Recordings(Path(settings.recording.replay).expanduser()))
        upstreams: dict[str, Any] = dict.fromkeys(settings.upstreams, played)
        return {}, upstreams, _router(settings, {}, upstreams, [Target("replay", played, "*", "homeport")])
    models = local_models(settings)
    folder = settings.data / "models"
    held: dict[str, Local] = {}
    for name, model in models.items():
        if room is None or model.engine == "echo":
            held[name] = _local(name, model, folder)
        elif engines is not None and name in room.models:
            held[name] = engines.model(name, room.models[name])
        else:
            held[name] = _missing(name)
    images = _images(settings.fetch) if any(one.inline_images for one in settings.upstreams.values()) else None
    upstreams = {name: _upstream(name, upstream, images) for name, upstream in settings.upstreams.items()}
    return held, upstreams, _router(settings, held, upstreams)


def local_models(settings: Settings) -> dict[str, Model]:
    """The models of this machine: those of the settings, or the default ones and `echo`."""
    defaults = {DEFAULT_MODEL: Model(), DEFAULT_EMBEDDING_MODEL: Model(), "echo": Model(engine="echo")}
    return settings.models or defaults


def heavy_models(settings: Settings) -> dict[str, Kind]:
    """Those with weights that are here. Raises SettingsError: one of them could not be loaded."""
    found: dict[str, Kind] = {}
    for name, model in local_models(settings).items():
        weights = _weights(name, model, settings.data / "models") if model.engine != "echo" else None
        if weights is not None:
            for engine in weights.engines:
                registry.check(engine)
            found[name] = weights.kind
    return found


class _Weights(NamedTuple):
    """engines: those that run the file, the preferred one first."""

    path: Path
    engines: Sequence[str]
    kind: Kind


def _weights(name: str, model: Model, folder: Path) -> _Weights | None:
    """None: the model was not pulled. Raises SettingsError."""
    if model.path is not None:
        path: Path | None = Path(model.path).expanduser()
        if path is not None and not path.is_file():
            raise SettingsError(f"models.{name}.path: there is no file {str(path)!r}.")
    else:
        path = model_files.find(name, folder)
    if path is None:
        return None
    if path.suffix == ".onnx" or model.engine == "onnx":
        if model.engine not in ("auto", "onnx") or path.suffix != ".onnx":
            raise SettingsError(f"models.{name}: the engine {model.engine!r} does not run {path.name!r}.")
        return _Weights(path, ("onnx",), "vectors")
    return _Weights(path, _engines_for(name, model), "text")


def _local(name: str, model: Model, folder: Path) -> Held:
    """A local model behind the protocols of what it can do, not loaded yet. Raises SettingsError."""
    if model.engine == "echo":
        echo = registry.engine_class("echo")(context_length=model.context_length, delay=model.delay)
        vectors = registry.load("homeport.backends.engines.echo_vectors:EchoVectors")(
            context_length=model.context_length, delay=model.delay
        )
        return Held(name, _local_text(name, echo), _local_embeddings(name, vectors))
    weights = _weights(name, model, folder)
    if weights is None:
        return _missing(name)
    engines = [_engine(engine, weights.path, model) for engine in weights.engines]
    if weights.kind == "vectors":
        return Held(name, _local_embeddings(name, engines[0]))
    if len(engines) == 1:
        return Held(name, _local_text(name, engines[0]))
    return Held(name, _local_text(name, registry.load("homeport.backends.engines.preferred:Preferred")(engines)))


def _missing(name: str) -> Held:
    return Held(name, None, missing=MISSING.format(name))


def _engines_for(name: str, model: Model) -> Sequence[str]:
    if model.engine != "auto":
        return (model.engine,)
    found = [engine for engine in ("openvino", "llama_cpp") if registry.installed(engine)]
    if "llama_cpp" not in found:
        registry.engine_class("llama_cpp")  # raises with the install line
    return found


def _engine(engine: str, path: Path, model: Model) -> Any:
    return registry.engine_class(engine)(
        path,
        context_length=model.context_length,
        parallel=model.parallel,
        threads=model.threads,
        queue=model.queue,
    )


def _local_text(name: str, engine: Any) -> Any:
    return registry.load("homeport.backends.generation:LocalText")(name, engine)


def _local_embeddings(name: str, engine: Any) -> Any:
    return registry.load("homeport.backends.local.embeddings:LocalEmbeddings")(name, engine)


def _images(settings: Fetch) -> Images:
    """One for all, as there is one set of rules. Raises SettingsError."""
    try:
        return Images(Fetcher(settings), settings)
    except ValueError as error:
        raise SettingsError(f"fetch: {error}") from None


def _upstream(name: str, upstream: Upstream, images: Images | None) -> Any:
    try:
        made = registry.load(registry.UPSTREAMS[upstream.kind])
        return made(name, upstream, images if upstream.inline_images else None)
    except ValueError as error:
        raise SettingsError(f"upstreams.{name}: {error}") from None


def _router(
    settings: Settings, held: Mapping[str, Local], upstreams: Mapping[str, Any], anything: Sequence[Target] = ()
) -> Router:
    """anything: targets for every name, after those of the settings. Raises SettingsError."""
    models = {name: Target("local", backend, name, "homeport", local=True) for name, backend in held.items()}
    wildcards: list[Target] = []
    retries = {name: _retries(upstream) for name, upstream in settings.upstreams.items()}

    def target(upstream: str, model: str) -> Target:
        return Target(upstream, upstreams[upstream], model, upstream, retries=retries[upstream])

    for name, upstream in settings.upstreams.items():
        for model in upstream.models:
            if model == "*":
                wildcards.append(target(name, model))
            else:
                models.setdefault(model, target(name, model))
    routes: dict[str, list[Share]] = {}
    for name, route in settings.routes.items():
        if name in settings.aliases:
            raise SettingsError(f"{name!r} is both an alias and a route. Put the alias's names into [routes.{name!r}].")
        for one in route.targets:
            if one.upstream is not None and one.upstream not in upstreams:
                raise SettingsError(f"routes.{name}: there is no upstream {one.upstream!r}. {_known(upstreams)}")
        routes[name] = [
            Share(target(one.upstream, one.model or name) if one.upstream else one.model or name, one.weight)
            for one in route.targets
        ]
    aliases = {alias: (to,) if isinstance(to, str) else to for alias, to in settings.aliases.items()}
    for name, model_settings in settings.models.items():
        for alias in model_settings.aliases:
            aliases.setdefault(alias, (name,))
    defaults = [
        *_defaults(DEFAULT_ALIASES, "chat", settings, held),
        *_defaults(DEFAULT_EMBEDDING_ALIASES, "embed", settings, held),
    ]
    return Router(models=models, aliases=aliases, routes=routes, wildcards=[*wildcards, *anything], defaults=defaults)


def _defaults(
    aliases: Sequence[str], capability: str, settings: Settings, held: Mapping[str, Local]
) -> list[tuple[str, str]]:
    """OpenAI's names for the first model of this machine that can do it."""
    able = _able(settings, held, capability)
    return [(alias, able[0]) for alias in aliases] if able else []


def _able(settings: Settings, held: Mapping[str, Local], capability: str) -> list[str]:
    """Models of this machine that can do it; those that only pretend (`echo`) last."""
    engines = {name: model.engine for name, model in local_models(settings).items()}
    able = [name for name, one in held.items() if _can(one, capability)]
    return sorted(able, key=lambda name: engines[name] == "echo")


def _can(held: Local, capability: str) -> bool:
    """Of a model that is not here: by its kind in the catalogue."""
    if held.state != "missing":
        return held.can(capability)
    entry = model_files.catalogue().get(held.name)
    return capability == ("embed" if entry is not None and entry.kind == "embeddings" else "chat")


def _retries(upstream: Upstream) -> Retries:
    return Retries(most=upstream.retries, longest=upstream.wait_seconds, within=upstream.retry_within_seconds)


def _known(upstreams: Mapping[str, Any]) -> str:
    return f"There are: {', '.join(upstreams)}." if upstreams else "There is none: set [upstreams.NAME]."
