"""The part of the composition root that answers: models of this machine, upstreams, and the way from names to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from homeport.backends import models as model_files
from homeport.backends import registry
from homeport.backends.engine_room import EngineRoom, Kind, Lent
from homeport.backends.fetcher import Fetcher
from homeport.backends.held import MISSING, Held
from homeport.backends.upstreams.images import Images
from homeport.errors import SettingsError
from homeport.gateway.recording import Played
from homeport.gateway.recordings import Recordings
from homeport.gateway.retries import Retries
from homeport.gateway.routing import Router, Share, Target
from homeport.settings import (
    DEFAULT_ALIASES,
    DEFAULT_EMBEDDING_ALIASES,
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_MODEL,
    Fetch,
    Model,
    Settings,
    Upstream,
)

#: Places of an engine with weights, unless the settings say otherwise.
PARALLEL = 16
#: A model of this machine: held here, or lent by the process that holds it.
Local = Held | Lent


class Room(NamedTuple):
    """The engine room of another process: its socket, and the models that it holds, which may be none."""

    socket: Path
    models: Mapping[str, Kind]


class Backing(NamedTuple):
    """held: models of this machine. engines: the room that lends them, where it does."""

    held: Mapping[str, Local]
    upstreams: Mapping[str, Any]
    router: Router
    engines: EngineRoom | None = None


def backing(settings: Settings, room: Room | None = None) -> Backing:
    """What stands behind every name. In replay that is nothing.

    room: where this process holds no model with weights. Raises SettingsError.
    """
    if settings.recording.replay is not None and settings.recording.record is None:
        played = Played(Recordings(Path(settings.recording.replay).expanduser()))
        nobody: dict[str, Any] = dict.fromkeys(settings.upstreams, played)
        return Backing({}, nobody, _router(settings, {}, nobody, [Target("replay", played, "*", "homeport")]))
    engines = EngineRoom(room.socket) if room is not None and room.models else None
    held: dict[str, Local] = {}
    for name, model in local_models(settings).items():
        if room is None or model.engine == "echo":
            held[name] = local(name, model, settings.data / "models")
        elif engines is not None and name in room.models:
            held[name] = engines.model(name, room.models[name])
        else:
            held[name] = _missing(name)
    images = _images(settings.fetch) if any(one.inline_images for one in settings.upstreams.values()) else None
    upstreams = {name: _upstream(name, upstream, images) for name, upstream in settings.upstreams.items()}
    return Backing(held, upstreams, _router(settings, held, upstreams), engines)


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


def local(name: str, model: Model, folder: Path) -> Held:
    """A local model behind the protocols of what it can do, not loaded yet. Raises SettingsError."""
    if model.engine == "echo":
        like = {
            "context_length": model.context_length,
            "delay": model.delay,
            "parallel": model.parallel,
            "queue": model.queue,
        }
        echo = registry.engine_class("echo")(**like)
        vectors = registry.load("homeport.backends.engines.echo_vectors:EchoVectors")(**like)
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
    return Held(name, missing=MISSING.format(name))


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
        parallel=model.parallel or PARALLEL,
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
    found = able(settings, held, capability)
    return [(alias, found[0]) for alias in aliases] if found else []


def able(settings: Settings, held: Mapping[str, Local], capability: str) -> list[str]:
    """Models of this machine that can do it; those that only pretend (`echo`) last."""
    engines = {name: model.engine for name, model in local_models(settings).items()}
    found = [name for name, one in held.items() if _can(one, capability)]
    return sorted(found, key=lambda name: engines[name] == "echo")


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
